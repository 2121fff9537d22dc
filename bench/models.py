"""The row that the floor inserts: what a submission sends, and no more."""

from __future__ import annotations

from django.db import models


class Submission(models.Model):
    idempotency_key = models.CharField(max_length=200, unique=True)
    action = models.CharField(max_length=60)
    department = models.CharField(max_length=60)
    justification = models.TextField()
    payload = models.JSONField()

    def __str__(self) -> str:
        return self.idempotency_key
