"""What requests compete for."""

from __future__ import annotations

from django.db import models


class Resource(models.Model):
    """One record in a target, by its key ("demo:vendor-bill:V-2207/INV-88213"). Locked before any request."""

    key = models.CharField(max_length=300, unique=True)

    def __str__(self) -> str:
        return self.key
