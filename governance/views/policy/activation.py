"""What the check finds in a version, the names under it, and its coming into force."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from time import perf_counter
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from governance import clock, stepup
from governance.drafting import names as naming
from governance.drafting import shown
from governance.drafting.book import EMPTY, book_of
from governance.drafting.found import by_row
from governance.drafting.proving import Proof, prove
from governance.errors import Refused
from governance.models import PolicyVersion
from governance.policy_check import WorstCase, check
from governance.second_factor import AgainForm
from governance.services import policy as services
from governance.views.policy.edge import (
    PolicyRequest,
    for_editors,
    for_readers,
    frame_of,
    may_edit,
    revision_of,
    version_or_404,
)

SHOWN = 50  # holes, and warnings


@require_safe
@for_readers
def version_check(request: PolicyRequest, number: int) -> HttpResponse:
    """Check a version over the people as they are now; for htmx what was found is the whole answer."""
    context = checked(request, version_or_404(number), now=clock.now())
    template = "policy/parts/proof.html" if request.htmx else "policy/check.html"
    return render(request, template, context)


def checked(request: PolicyRequest, version: PolicyVersion, *, now: datetime) -> dict[str, Any]:
    """Return what the check finds, and who may go on from there.

    What was found of a draft that was edited meanwhile is of neither revision, and
    is not shown: `edited`.
    """
    began = perf_counter()
    if version.state == PolicyVersion.State.DRAFT:
        proof = prove(version, now=now)
    else:
        report = check(version, now=now)
        proof = Proof(report, version.number, (), report.holes)
    edited = PolicyVersion.objects.get(pk=version.pk).revision != version.revision
    editors = set(version.editors.values_list("pk", flat=True))
    needed = {each.key for each in proof.kept}
    signers = [
        each.person
        for each in version.signatures.select_related("person").order_by("signed_at", "pk")
        if needed <= {key for key, _ in each.holes}
    ]
    return frame_of(request, version) | {
        "proof": proof,
        "edited": edited,
        "found_by_row": {}
        if edited or version.state != PolicyVersion.State.DRAFT
        else by_row(proof),
        "places": bool(request.htmx),
        "shown": SHOWN,
        "worst": worst_of(proof.report.worst_cases),
        "took_ms": round((perf_counter() - began) * 1000),
        "checked_at": now,
        "signers": signers,
        "is_editor": request.user.pk in editors,
        "has_signed": request.user in signers,
        "may_activate": may_edit(request.user) and request.user.pk not in editors and not proof.new,
    }


def worst_of(cases: Iterable[WorstCase]) -> list[WorstCase]:
    """Return of each row and exception the class that may take longest, the longest request first."""
    found: dict[tuple[str, str, int, str], WorstCase] = {}
    for case in cases:
        key = case.department, case.action, case.row, case.exception
        if key not in found or case.length > found[key].length:
            found[key] = case
    longest = sorted(found.values(), key=lambda case: (-case.length, case.row, case.exception))
    return longest[:SHOWN]


@require_POST
@for_editors
def draft_sign(request: PolicyRequest, number: int) -> HttpResponse:
    """Put one's name to the holes that stay. 409 where the list has changed."""
    version = version_or_404(number)
    now = clock.now()
    try:
        services.sign(
            number=number,
            revision=revision_of(request),
            actor=request.user,
            digest=request.POST.get("digest", ""),
            now=now,
        )
    except Refused as refusal:
        context = checked(request, version_or_404(number), now=now) | {"refusal": refusal}
        return render(request, "policy/check.html", context, status=refusal.status)
    messages.success(request, f"You signed the holes of draft {version.number}.")
    return redirect("governance:policy-check", number=number)


@require_http_methods(["GET", "HEAD", "POST"])
@for_editors
def draft_activate(request: PolicyRequest, number: int) -> HttpResponse:
    """Ask for a code beside what comes into force; with the right one, put it into force."""
    version = version_or_404(number)
    if version.state != PolicyVersion.State.DRAFT:
        return redirect("governance:policy-version", number=number)
    if not stepup.has_factor(request.user):
        return redirect("mfa_index")
    if request.method != "POST":
        return _ask(request, version, AgainForm(user=request.user))
    form = AgainForm(user=request.user, data=request.POST)
    if not form.is_valid():
        return _ask(request, version, form, status=422)
    form.save()
    matter = services.matter_of(number)
    stepup.keep(request, matter=matter)
    try:
        services.activate(
            number=number,
            revision=revision_of(request),
            actor=request.user,
            presence=stepup.presence_of(request, matter=matter),
            now=clock.now(),
        )
    except Refused as refusal:
        fresh = version_or_404(number)
        form = AgainForm(user=request.user)
        return _ask(request, fresh, form, refusal=refusal, status=refusal.status)
    messages.success(
        request, f"Version {number} is in force. What is open keeps the version it has."
    )
    return redirect("governance:policy-version", number=number)


def _ask(
    request: PolicyRequest,
    version: PolicyVersion,
    form: Any,
    *,
    refusal: Refused | None = None,
    status: int = 200,
) -> HttpResponse:
    names = naming.load()
    base = version.based_on
    parts = shown.differences(
        EMPTY if base is None else book_of(base, names), book_of(version, names), names
    )
    context = frame_of(request, version) | {
        "form": form,
        "refusal": refusal,
        "fresh_for": stepup.FRESH_FOR,
        "parts": parts,
        "count": shown.count(parts),
        "editors": list(version.editors.order_by("name")),
    }
    return render(request, "policy/activate.html", context, status=status)
