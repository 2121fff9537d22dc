"""The admin: a way to look at rows, never to change them. Changes go through services.

Other packages' models are taken out, except those that say how log-ins and tasks went:
theirs could be edited, and some hold secrets.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from axes.models import AccessAttempt, AccessLog
from django.contrib import admin
from django.db.models import ForeignKey, Model
from django.http import HttpRequest
from django_q.models import Failure, Schedule, Success

from governance import models

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:  # Django's own class takes no parameter
    _ModelAdmin = admin.ModelAdmin

# Never shown, on whichever model they stand: hashes of secrets, and addresses that hold one.
SECRET = frozenset({"password", "digest", "address", "get_parameters", "post_parameters"})
SHOWN = 8  # columns of a list


class ReadOnlyAdmin(_ModelAdmin):
    """Rows to look at, for superusers alone. Every ModelAdmin of this product is one."""

    actions = None
    list_per_page = 50
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return bool(request.user.is_active and getattr(request.user, "is_superuser", False))

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)


def look_at(*found: type[Model], secret: Iterable[str] = SECRET) -> None:
    """Have these models shown, without the fields that are secret."""
    hidden = frozenset(secret)
    for model in found:
        fields = [field for field in model._meta.concrete_fields if field.name not in hidden]
        columns = {
            "exclude": tuple(sorted(hidden & {field.name for field in model._meta.fields})),
            "list_display": ["__str__", *(field.name for field in fields if not field.primary_key)][
                :SHOWN
            ],
            "list_select_related": [
                field.name for field in fields if isinstance(field, ForeignKey)
            ],
            "ordering": ["-pk"],
        }
        admin.site.register(model, type(f"{model.__name__}Admin", (ReadOnlyAdmin,), columns))


for _model in list(admin.site._registry):
    admin.site.unregister(_model)
look_at(AccessAttempt, AccessLog, Failure, Schedule, Success)
look_at(
    models.Absence,
    models.ActionChange,
    models.ActionType,
    models.Agent,
    models.AgentCredential,
    models.Appointment,
    models.AuditEvent,
    models.ChainHead,
    models.ContactChannel,
    models.DecisionCell,
    models.Department,
    models.Heartbeat,
    models.MatrixDelegate,
    models.MatrixRow,
    models.Measure,
    models.PathWindow,
    models.PeopleChange,
    models.Person,
    models.PersonalToken,
    models.PolicyCheck,
    models.PolicyFinding,
    models.PolicySignature,
    models.PolicyVersion,
    models.Role,
    models.RosterShift,
    models.Seal,
    models.Uncounted,
    models.WeeklyRollup,
    models.Verification,
)
