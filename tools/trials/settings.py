"""The product's settings, with time as the trials tell it and nothing that has to survive a power cut."""

from __future__ import annotations

from governance.settings import *  # noqa: F403 - what is tried is the product as it is
from governance.settings import DATABASES, LOGGING, RECOURSE_SWEEPS

DEMO_CLOCK = False  # `now` is given to everything, and moves when nothing else is left to do
# A sweep says itself how far it is.
LOGGING = {**LOGGING, "loggers": {"recourse": {"level": "WARNING"}, "httpx2": {"level": "WARNING"}}}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A worker is killed here, never the machine.
    _options = DATABASES["default"]["OPTIONS"]
    _options["init_command"] = _options["init_command"].replace(
        "synchronous=FULL", "synchronous=OFF"
    )
# These hand something to the worker that has no part in what a request does: no worker is there
# to take it, and after a while the clock would do it itself.
RECOURSE_SWEEPS = [
    name
    for name in RECOURSE_SWEEPS
    if ".call_for_" not in name and not name.endswith(".call_the_courier")
]
