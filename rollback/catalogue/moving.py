"""A version moves on: asked for, confirmed with a second factor, refused, withdrawn, or set aside."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from governance import clock, stepup
from governance.errors import Refused
from governance.models import ActionChange
from governance.second_factor import AgainForm
from governance.services import actions as services
from rollback.catalogue import shown
from rollback.catalogue.edge import LAST_NUMBER, ActionsRequest, for_admins, version_or_404
from rollback.catalogue.facts import facts_of, gates_at
from rollback.catalogue.views import frame_of, version_page
from rollback.readiness import gates

S = ActionChange.State


@require_POST
@for_admins
def ask(request: ActionsRequest, key: str, version: int) -> HttpResponse:
    """Ask that a version becomes tested, goes into production or is retired. The page says why not."""
    found = version_or_404(key, version)
    now = clock.now()
    try:
        services.ask_for_change(
            key=key,
            version=version,
            becomes=request.POST.get("becomes", ""),
            actor=request.user,
            reason=request.POST.get("reason", ""),
            gates=gates_at(now),
            now=now,
        )
    except Refused as refusal:
        typed = {"reason": request.POST.get("reason", "")[:300], "form": "ask"}
        return version_page(request, found, status=refusal.status, refusal=refusal, typed=typed)
    messages.success(request, "Asked for. It holds once a second administrator has confirmed it.")
    return redirect("rollback:action-version", key=key, version=version)


@require_POST
@for_admins
def set_aside(request: ActionsRequest, key: str, version: int) -> HttpResponse:
    """Retire a version that never went into production."""
    found = version_or_404(key, version)
    try:
        services.set_aside(key=key, version=version, actor=request.user, now=clock.now())
    except Refused as refusal:
        return version_page(request, found, status=refusal.status, refusal=refusal)
    messages.success(request, f"Version {version} is set aside. It stays to be read.")
    return redirect("rollback:action-version", key=key, version=version)


@require_POST
@for_admins
def end(request: ActionsRequest, pk: int) -> HttpResponse:
    """Refuse a change, or withdraw one's own."""
    change = change_or_404(pk)
    now = clock.now()
    note = request.POST.get("note", "")
    try:
        if request.POST.get("verdict") == "withdraw":
            services.withdraw_change(change=pk, actor=request.user, now=now)
            messages.success(request, "Withdrawn. All stays as it was.")
        else:
            services.refuse_change(change=pk, actor=request.user, note=note, now=now)
            messages.success(
                request, "Refused. All stays as it was, and whoever asked for it is told."
            )
    except Refused as refusal:
        typed = {"note": note[:300], "form": "refuse"}
        fresh = version_or_404(change.action_type.key, change.action_type.version)
        return version_page(request, fresh, status=refusal.status, refusal=refusal, typed=typed)
    return _to_version(change)


@require_http_methods(["GET", "HEAD", "POST"])
@for_admins
def confirm(request: ActionsRequest, pk: int) -> HttpResponse:
    """Ask for a code beside what would hold; with the right one, have it hold."""
    change = change_or_404(pk)
    if change.state != S.OPEN or change.asked_by_id == request.user.pk:
        return _to_version(change)
    if not stepup.has_factor(request.user):
        return redirect("mfa_index")
    if request.method != "POST":
        return _ask_for_code(request, change, AgainForm(user=request.user))
    form = AgainForm(user=request.user, data=request.POST)
    if not form.is_valid():
        return _ask_for_code(request, change, form, status=422)
    form.save()
    matter = services.matter_of(pk)
    stepup.keep(request, matter=matter)
    now = clock.now()
    try:
        services.confirm_change(
            change=pk,
            actor=request.user,
            presence=stepup.presence_of(request, matter=matter),
            gates=gates_at(now),
            now=now,
        )
    except Refused as refusal:
        fresh = change_or_404(pk)
        form = AgainForm(user=request.user)
        return _ask_for_code(request, fresh, form, refusal=refusal, status=refusal.status)
    messages.success(
        request, f"Confirmed: {shown.change_words(change).lower()}. It holds from now on."
    )
    return _to_version(change)


def change_or_404(pk: int) -> ActionChange:
    rows = ActionChange.objects.select_related("action_type__entered_by", "asked_by", "ended_by")
    found: ActionChange | None = rows.filter(pk=pk).first() if pk <= LAST_NUMBER else None
    if found is None:
        raise Http404("no such change")
    return found


def _to_version(change: ActionChange) -> HttpResponse:
    version = change.action_type
    return redirect(reverse("rollback:action-version", args=[version.key, version.version]))


def _ask_for_code(
    request: ActionsRequest,
    change: ActionChange,
    form: Any,
    *,
    refusal: Refused | None = None,
    status: int = 200,
) -> HttpResponse:
    version = change.action_type
    found = gates(facts_of(version), now=clock.now())
    before = (
        version.__class__.objects.filter(key=version.key, state=version.State.PRODUCTION)
        .exclude(pk=version.pk)
        .first()
    )
    context = frame_of(request, version) | {
        "change": change,
        "words": shown.change_words(change),
        "follows": shown.BECOMES[version.State(change.becomes)][1],
        "form": form,
        "refusal": refusal,
        "fresh_for": stepup.FRESH_FOR,
        "gates": [each for each in found if change.becomes in each.before],
        "instead_of": before if change.becomes == version.State.PRODUCTION else None,
    }
    return render(request, "actions/confirm.html", context, status=status)
