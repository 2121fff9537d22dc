"""The door for HTTP servers that speak ASGI. Nothing in the Procfile needs it yet."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application
from django.core.management import call_command
from django.db import connections

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "governance.settings")

application = get_asgi_application()
# `clock`, `worker` and every command are checked by Django before they start; servers are not.
# Raises SystemCheckError, whose text says what is wrong: nothing is served then.
call_command("check", verbosity=0)
connections.close_all()  # those of the threads that serve are their own
