"""Whether the web process of this machine can serve: exit 0 if `/readyz` says so. For probes inside a container."""

from __future__ import annotations

import http.client
import os
import sys
from urllib.parse import urlsplit

PATIENCE_S = 5


def main() -> int:
    """Ask as the host that the product answers to; print what was said if it is not ready."""
    site = urlsplit(os.environ.get("SITE_URL", "http://127.0.0.1:8000"))
    port = int(os.environ.get("PORT", "8000"))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request("GET", "/readyz", headers={"Host": site.netloc})
        answer = connection.getresponse()
        said = answer.read(500).decode(errors="replace").strip()
    except OSError as problem:
        said, ready = str(problem), False
    else:
        ready = answer.status == http.client.OK
    finally:
        connection.close()
    if not ready:
        sys.stderr.write(f"{said}\n")
    return 0 if ready else 1


if __name__ == "__main__":
    sys.exit(main())
