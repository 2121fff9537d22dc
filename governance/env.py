"""What the environment may say to Recourse, read once and checked once.

Every variable is listed here and in README.md, "In production". An unset
variable takes the demo's value where that is harmless, and stops the start in
production where it is not.
"""

from __future__ import annotations

import base64
import os
import re
import secrets
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path
from posixpath import normpath
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

ROOT = Path(__file__).resolve().parent.parent
env: Any = environ.Env()
# Set by us alone, for a process of ours that is given all that it may see.
ALONE = "RECOURSE_ALONE"


def read_file(path: Path) -> None:
    """Take from a file what the environment does not say; in a process that stands alone, nothing."""
    if ALONE not in os.environ:
        environ.Env.read_env(path)


read_file(ROOT / ".env")

KEY_LENGTH = 32  # bytes of either half of an Ed25519 key
Profile = Literal["demo", "production"]


def profile() -> Profile:
    """`demo` (the default: answers on loopback names only) or `production`."""
    value: str = env.str("RECOURSE_PROFILE", default="demo")
    if value == "demo":
        return "demo"
    if value == "production":
        return "production"
    raise ImproperlyConfigured(f"RECOURSE_PROFILE is {value!r}; say demo or production.")


def log_format() -> Literal["text", "json"]:
    """How lines of the log look: for people, or one JSON object each, which is production's default."""
    usual = "text" if profile() == "demo" else "json"
    value: str = env.str("LOG_FORMAT", default=usual)
    if value == "text":
        return "text"
    if value == "json":
        return "json"
    raise ImproperlyConfigured(f"LOG_FORMAT is {value!r}; say text or json.")


def required(name: str, *, why: str) -> str:
    """Return a variable that production cannot start without."""
    value: str = env.str(name, default="")
    if not value:
        raise ImproperlyConfigured(f"{name} is not set. {why}")
    return value


def local_secret(path: Path) -> str:
    """Return the secret kept in `path`, made on first use and readable by its owner alone.

    For the demo only: production is given its secrets, it never makes them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        fresh = path.with_suffix(f".{secrets.token_hex(4)}")
        fresh.touch(mode=0o600)
        fresh.write_text(secrets.token_urlsafe(48))
        try:
            path.hardlink_to(fresh)  # two processes starting at once keep the first one's secret
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_text()


def seal_key() -> str:
    """Return the Ed25519 seed that seals the ledger, 32 bytes in base64: `SEAL_KEY`, or what `SEAL_KEY_FILE` holds."""
    found = secret("SEAL_KEY")
    if not found:
        why = "Seals of the ledger are signed with it."
        raise ImproperlyConfigured(f"Neither SEAL_KEY nor SEAL_KEY_FILE is set. {why}")
    return _key("SEAL_KEY", found)


def retired_seal_keys() -> list[str]:
    """Return the public halves of earlier seal keys, in base64, from `SEAL_RETIRED_KEYS`."""
    found: list[str] = env.list("SEAL_RETIRED_KEYS", default=[])
    return [_key("SEAL_RETIRED_KEYS", each) for each in found]


def _key(name: str, text: str) -> str:
    """Return the text of a key. What it says stays out of the message: it may be the secret half."""
    try:
        length = len(base64.b64decode(text, validate=True))
    except ValueError:
        length = 0
    if length != KEY_LENGTH:
        raise ImproperlyConfigured(f"{name} holds what is not {KEY_LENGTH} bytes in base64.")
    return text


def seal_file(default: Path) -> Path:
    """Return the file of exported seals: `seals.jsonl` in the folder that `SEAL_EXPORT` names.

    What ends in ".jsonl" is the file itself; blank is as if it were not set.
    """
    found = Path(env.str("SEAL_EXPORT", default="") or default)
    return found if found.suffix == ".jsonl" else found / "seals.jsonl"


DEFAULT_PORTS = {"http": 80, "https": 443}
# What may be told of a target besides its address: all in the environment, nothing in the database.
PLAIN = ("USER", "CLIENT_ID", "CERTIFICATE_ID")
SECRET = ("TOKEN", "PASSWORD", "PRIVATE_KEY")  # or the path of a file that holds it: `_FILE`


def targets(keys: Iterable[str]) -> dict[str, dict[str, str]]:
    """Read where each target is and what opens it: `TARGET_<KEY>_URL` and what PLAIN and SECRET name.

    Returns {key: {"url": ..., "token": ..., "user": ...}}; what is not set is "".
    Credentials come from here alone, never from the database. A target without
    an address stays listed: calls to it fail, and say so.
    """
    return {key: _target(key) for key in keys}


def sandboxes(keys: Iterable[str]) -> dict[str, dict[str, str]]:
    """Read where each target's sandbox is: `TARGET_<KEY>_SANDBOX_URL` and what else opens it, as for targets.

    A target without one is left out. What is rehearsed there must not reach the
    target itself, so the two addresses differ.
    """
    found = {key: _target(key, "SANDBOX") for key in keys}
    # Of any target: what is one's sandbox may be another's production.
    names = [target_variable(key, "url") for key in found]
    real = {_place(name): name for name in names if env.str(name, default="")}
    for key, sandbox in found.items():
        name = target_variable(key, "sandbox_url")
        if sandbox["url"] and _place(name) in real:
            raise ImproperlyConfigured(f"{name} is {real[_place(name)]} itself.")
    return {key: sandbox for key, sandbox in found.items() if sandbox["url"]}


def _place(name: str) -> tuple[str, int | None, str]:
    """Return what all spellings share of the address that a variable holds: host, port, path. With or without TLS."""
    try:
        parts = urlsplit(env.str(name))
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError as problem:
        raise ImproperlyConfigured(f"{name} is no address: {problem}.") from problem
    if host == "localhost" or host.endswith(".localhost") or _is_loopback(host):
        host = "localhost"
    path = normpath(f"/{unquote(parts.path).strip('/')}")
    return host, None if port == DEFAULT_PORTS.get(parts.scheme) else port, path


def _is_loopback(host: str) -> bool:
    try:
        found = ip_address(host)
    except ValueError:  # a name
        return False
    found = getattr(found, "ipv4_mapped", None) or found
    return found.is_loopback or found.is_unspecified


def target_variable(key: str, what: str = "") -> str:
    """Return the name of the variable that tells `what` of a target: "TARGET_DEMO_TOKEN"."""
    return "_".join(["TARGET", key.upper().replace("-", "_"), *([what.upper()] if what else [])])


def _target(key: str, of: str = "") -> dict[str, str]:
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,59}", key):
        raise ImproperlyConfigured(f"RECOURSE_TARGETS names {key!r}; use small letters and digits.")
    name = target_variable(key, of)
    url: str = env.str(f"{name}_URL", default="")
    if url and not url.startswith(("http://", "https://")):
        raise ImproperlyConfigured(f"{name}_URL must begin with https:// or http://.")
    plain = {each.lower(): env.str(f"{name}_{each}", default="") for each in PLAIN}
    hidden = {each.lower(): secret(f"{name}_{each}") for each in SECRET}
    for each in ("token", "password"):
        if not hidden[each].isascii() or not hidden[each].isprintable():
            raise ImproperlyConfigured(
                f"{name}_{each.upper()} is no single line of plain characters."
            )
    return {"url": url, **plain, **hidden}


def secret(name: str) -> str:
    """Return a secret: the variable's value, or what stands in the file that `<name>_FILE` names; else "".

    Raises ImproperlyConfigured if that file cannot be read.
    """
    path: str = env.str(f"{name}_FILE", default="")
    if not path:
        found: str = env.str(name, default="")
        return found
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise ImproperlyConfigured(f"{name}_FILE cannot be read: {problem}.") from problem
