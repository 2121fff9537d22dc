"""The door for HTTP servers that speak ASGI. Nothing in the Procfile needs it yet."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "governance.settings")

application = get_asgi_application()
