"""The product's settings, with time as the trials tell it and nothing that has to survive a power cut."""

from __future__ import annotations

from governance.settings import *  # noqa: F403 - what is tried is the product as it is
from governance.settings import DATABASES, RECOURSE_SWEEPS

DEMO_CLOCK = False  # `now` is given to everything, and moves when nothing else is left to do
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A worker is killed here, never the machine.
    _options = DATABASES["default"]["OPTIONS"]
    _options["init_command"] = _options["init_command"].replace(
        "synchronous=FULL", "synchronous=OFF"
    )
# These hand something to the worker that has no part in what a request does: no worker is there
# to take it, and after a while the clock would do it itself.
FOR_OTHERS = ("call_the_courier", "call_for_seal", "call_for_audit", "call_for_policy_check")
RECOURSE_SWEEPS = [name for name in RECOURSE_SWEEPS if not name.endswith(FOR_OTHERS)]
