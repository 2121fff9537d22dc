"""The door for HTTP servers that speak WSGI. The Procfile's `web` enters here."""

from __future__ import annotations

import os

from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.db import connections

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "governance.settings")

application = get_wsgi_application()
# `clock`, `worker` and every command are checked by Django before they start; servers are not.
# Raises SystemCheckError, whose text says what is wrong: nothing is served then.
call_command("check", verbosity=0)
connections.close_all()  # those of the threads that serve are their own
