"""The page that asks for a second factor, and takes the decision that waits for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from approvals import story
from approvals.channels.words import zone_of
from approvals.forms import DecisionForm
from approvals.models import ActionRequest
from approvals.packets import packet_of
from approvals.services.decide import decide
from approvals.services.mending import mend
from approvals.services.ruling import rule
from approvals.story.mend import mending_of
from approvals.views.confirming import Draft, draft_for, forget_draft
from approvals.views.edge import HtmxRequest, visible_or_404
from approvals.views.request import answer, mended
from governance import clock, stepup
from governance.errors import Refused
from governance.second_factor import AgainForm
from governance.vocabulary import Verdict

CALLS: dict[str, Callable[..., ActionRequest]] = {"decide": decide, "rule": rule, "mend": mend}


@require_http_methods(["GET", "HEAD", "POST"])
def request_step_up(request: HtmxRequest, ref: str) -> HttpResponse:
    """Ask for a code beside what it is for; with the right one, take the decision that waits."""
    found = visible_or_404(request.user, ref)
    draft = draft_for(request, ref)
    if draft is None:
        return redirect("approvals:request", ref=ref)
    if not stepup.has_factor(request.user):
        forget_draft(request)
        return redirect("mfa_index")
    if request.method != "POST":
        return _ask(request, found, draft, AgainForm(user=request.user))
    form = AgainForm(user=request.user, data=request.POST)
    if not form.is_valid():
        return _ask(request, found, draft, form, status=422)
    form.save()
    stepup.keep(request, matter=ref)
    return _take(request, found, draft)


def _take(request: HtmxRequest, found: ActionRequest, draft: Draft) -> HttpResponse:
    """Take the decision as it was made. A refusal is shown on the request's page, with what was typed."""
    presence = stepup.presence_of(request, matter=found.ref)
    try:
        CALLS[draft.call](
            ref=found.ref,
            actor=request.user,
            now=clock.now(),
            presence=presence,
            **draft.given,
        )
    except stepup.StepUpNeeded as refusal:  # a recovery code: it does not stand for the factor
        form = AgainForm(user=request.user)
        return _ask(request, found, draft, form, refusal=refusal, status=refusal.status)
    except Refused as refusal:
        forget_draft(request)
        typed = DecisionForm(draft.given)
        typed.is_valid()
        chosen = draft.given.get("verdict", "")
        return answer(
            request, found, form=typed, refusal=refusal, status=refusal.status, chosen=chosen
        )
    forget_draft(request)
    if draft.call == "mend":
        return mended(request, found, Verdict(draft.given["verdict"]))
    did = story.DID[draft.given.get("verdict", Verdict.RULE)]
    messages.success(request, f"You {did} {found.ref}: {story.title_of(found)}.")
    return redirect("approvals:request", ref=found.ref)


def _ask(
    request: HtmxRequest,
    found: ActionRequest,
    draft: Draft,
    form: Any,
    *,
    refusal: Refused | None = None,
    status: int = 200,
) -> HttpResponse:
    now = clock.now()
    packet = packet_of(found, now=now)
    told = story.tell(packet, reader=request.user, now=now, zone=zone_of(request.user))
    mending = mending_of(packet, request.user)
    chosen = [
        option
        for option in (mending.options if mending is not None else ())
        if option.verdict == draft.given.get("verdict")
    ]
    context = {
        "story": told,
        "follows": chosen[0].words if chosen else "",
        "draft": draft,
        "form": form,
        "refusal": refusal,
        "fresh_for": stepup.FRESH_FOR,
        "now": now,
    }
    return render(request, "approvals/step_up.html", context, status=status)
