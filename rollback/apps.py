from __future__ import annotations

from django.apps import AppConfig


class RollbackConfig(AppConfig):
    name = "rollback"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from rollback import checks  # models must be there first

        checks.install()
