"""What these pages share: who may look and who may change, and one version or 404."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseBase

from governance.context import SEE_ACTIONS
from governance.models import ActionType, Person
from governance.vocabulary import Duty

if TYPE_CHECKING:
    from django_htmx.middleware import HtmxDetails

LAST_NUMBER = 2**31 - 1
View = Callable[..., HttpResponseBase]


class ActionsRequest(HttpRequest):
    """A request of somebody who is logged in."""

    user: Person
    htmx: HtmxDetails


def may_look(person: Person) -> bool:
    return person.is_superuser or person.has_duty(*SEE_ACTIONS)


def may_change(person: Person) -> bool:
    return person.has_duty(Duty.POLICY_ADMIN)


def for_readers(view: View) -> View:
    """Let in who administers policies, audits or operates."""

    @wraps(view)
    def looked(request: ActionsRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not may_look(request.user):
            raise PermissionDenied("Administrators, auditors and operators see the catalogue.")
        return view(request, *args, **kwargs)

    return looked


def for_admins(view: View) -> View:
    """Let in who administers policies."""

    @wraps(view)
    def looked(request: ActionsRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not may_change(request.user):
            raise PermissionDenied("Policy administrators change the catalogue.")
        return view(request, *args, **kwargs)

    return looked


def versions_or_404(key: str) -> list[ActionType]:
    """Return all versions of an action type, the last first."""
    # PostgreSQL takes no NUL, not even to look for it.
    rows = ActionType.objects.filter(key=key) if key.isprintable() else ActionType.objects.none()
    found = list(rows.select_related("entered_by").order_by("-version"))
    if not found:
        raise Http404("no such action type")
    return found


def version_or_404(key: str, version: int) -> ActionType:
    if version > LAST_NUMBER:
        raise Http404("no such version")
    for each in versions_or_404(key):
        if each.version == version:
            return each
    raise Http404("no such version")


def current(versions: list[ActionType]) -> ActionType:
    """Return the version in production, or else the last one that is not retired, or else the last."""
    states = ActionType.State
    production = next((each for each in versions if each.state == states.PRODUCTION), None)
    living = next((each for each in versions if each.state != states.RETIRED), None)
    return production or living or versions[0]
