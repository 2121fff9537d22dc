"""Mail backends that behave badly."""

from __future__ import annotations

from django.core.mail.backends.base import BaseEmailBackend


class Away(BaseEmailBackend):
    """Nobody listens."""

    def send_messages(self, email_messages):
        raise ConnectionRefusedError(111, "Connection refused")
