"""What opens a target, by the name of the variable that holds it: for calls that people read."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from django.conf import settings

from governance.env import target_variable


def address(target: str) -> str:
    """Return where a target is, without a slash at its end; the variable in braces where it is not set.

    A name and a password in the address are left out.
    """
    url = settings.TARGETS.get(target, {}).get("url", "")
    return bare(url) if url else variable(target, "url")


def bare(url: str) -> str:
    """Return an address without a slash at its end, and without what may open it: name, password and query."""
    parts = urlsplit(url)
    netloc = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, netloc, parts.path, "", "")).rstrip("/")


def variable(target: str, what: str) -> str:
    """Return the variable that holds this of a target, in braces: "{TARGET_DEMO_TOKEN}"."""
    return f"{{{target_variable(target, what)}}}"
