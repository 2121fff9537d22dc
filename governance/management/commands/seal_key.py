"""`manage.py seal_key`: what seals and evidence packs are checked with."""

from __future__ import annotations

import base64
from typing import Any

from django.core.management.base import BaseCommand

from governance import seals


class Command(BaseCommand):
    help = "Print the public halves of the keys that seal and have sealed: their names, and base64."

    def handle(self, *args: Any, **options: Any) -> None:
        for key in seals.trusted_keys().values():
            self.stdout.write(f"{key.id} {base64.b64encode(key.public).decode()}")
