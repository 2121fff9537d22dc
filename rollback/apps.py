from __future__ import annotations

from django.apps import AppConfig


class RollbackConfig(AppConfig):
    name = "rollback"
    default_auto_field = "django.db.models.BigAutoField"
