"""What the environment may say to Recourse, read once and checked once.

Every variable is listed here and in README.md, "In production". An unset
variable takes the demo's value where that is harmless, and stops the start in
production where it is not.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any, Literal

import environ
from django.core.exceptions import ImproperlyConfigured

ROOT = Path(__file__).resolve().parent.parent
env: Any = environ.Env()
environ.Env.read_env(ROOT / ".env")

Profile = Literal["demo", "production"]


def profile() -> Profile:
    """`demo` (the default: answers on loopback names only) or `production`."""
    value: str = env.str("RECOURSE_PROFILE", default="demo")
    if value == "demo":
        return "demo"
    if value == "production":
        return "production"
    raise ImproperlyConfigured(f"RECOURSE_PROFILE is {value!r}; say demo or production.")


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
