"""What these pages share: who may read and who may edit, one version or 404, what every page of a version shows."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseBase

from governance.context import SEE_POLICY
from governance.models import Person, PolicyVersion
from governance.vocabulary import Duty

if TYPE_CHECKING:
    from django_htmx.middleware import HtmxDetails

LAST_NUMBER = 2**31 - 1
View = Callable[..., HttpResponseBase]


class PolicyRequest(HttpRequest):
    """A request of somebody who is logged in."""

    user: Person
    htmx: HtmxDetails


def may_read(person: Person) -> bool:
    return person.is_superuser or person.has_duty(*SEE_POLICY)


def may_edit(person: Person) -> bool:
    return person.has_duty(Duty.POLICY_ADMIN)


def for_readers(view: View) -> View:
    """Let in who administers or audits policies."""

    @wraps(view)
    def looked(request: PolicyRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not may_read(request.user):
            raise PermissionDenied("Policy administrators and auditors see who decides.")
        return view(request, *args, **kwargs)

    return looked


def for_editors(view: View) -> View:
    """Let in who administers policies."""

    @wraps(view)
    def looked(request: PolicyRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not may_edit(request.user):
            raise PermissionDenied("Policy administrators change who decides.")
        return view(request, *args, **kwargs)

    return looked


def version_or_404(number: int) -> PolicyVersion:
    rows = PolicyVersion.objects.select_related(
        "based_on", "activated_by", "edited_by", "discarded_by"
    )
    version: PolicyVersion | None = (
        rows.filter(number=number).first() if number <= LAST_NUMBER else None
    )
    if version is None:
        raise Http404("no such version")
    return version


def revision_of(request: PolicyRequest) -> int:
    """Return the revision that a form names; one that never was for anything else."""
    text = request.POST.get("revision", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1


def frame_of(request: PolicyRequest, version: PolicyVersion) -> dict[str, Any]:
    """Return what every page of a version shows around its matter."""
    is_draft = version.state == PolicyVersion.State.DRAFT
    return {
        "here": "policy",
        "version": version,
        "revision": version.revision,
        "is_draft": is_draft,
        "is_discarded": version.state == PolicyVersion.State.DISCARDED,
        "may_edit": is_draft and may_edit(request.user),
        "base": version.based_on,
        "version_word": str(version.number),
    }
