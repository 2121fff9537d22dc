"""Print the code that an authenticator app would show now for somebody of the running demo.

python -m tools.code cfo
"""

from __future__ import annotations

import argparse
import base64
import hmac
import json
import struct
import time
from pathlib import Path

from tools.processes import ROOT

PERIOD_S = 30


def code_of(secret: str, *, at: float) -> str:
    """Return the six digits of RFC 6238 for a secret in base 32 at a real instant, in seconds."""
    counter = struct.pack(">Q", int(at) // PERIOD_S)
    digest = hmac.digest(base64.b32decode(secret), counter, "sha1")
    start = digest[-1] & 0x0F
    (number,) = struct.unpack(">I", digest[start : start + 4])
    return f"{(number & 0x7FFFFFFF) % 1_000_000:06d}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.code", description=__doc__)
    parser.add_argument("username")
    parser.add_argument("--demo-file", type=Path, default=ROOT / ".demo.json")
    options = parser.parse_args()
    users = {user["username"]: user for user in json.loads(options.demo_file.read_text())["users"]}
    secret = users.get(options.username, {}).get("totp")
    if secret is None:
        print(f"{options.username} has no second factor in {options.demo_file}.")
        return 1
    print(code_of(secret, at=time.time()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
