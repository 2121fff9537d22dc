"""The list of whoever has a request in hand: unit by unit, settled, given back, confirmed by a second person."""

from __future__ import annotations

from datetime import datetime, tzinfo
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from approvals import story, undoing
from approvals.channels.words import zone_of
from approvals.models import ActionRequest, Claim
from approvals.packets import packet_of
from approvals.views.edge import HtmxRequest, read_number, visible_or_404
from governance import clock, wording
from governance.errors import NotNow, Refused, Unprocessable
from rollback.services import by_hand

TEMPLATE = "rollback/by_hand.html"
S = ActionRequest.State
SAVED = "The list is kept. Nothing has ended: finish it, or give it back."
BACK = "You gave it back. Whoever is asked says how it goes on."
WAITS = "It is finished once a second person has confirmed it. They have been told."
ENDED = "It has ended, as you said."


@require_http_methods(["GET", "HEAD", "POST"])
def by_hand_page(request: HtmxRequest, ref: str) -> HttpResponse:
    """Show the list, or take what is said on it. 422 for a form to mend, 403 or 409 for a refusal."""
    found = visible_or_404(request.user, ref)
    if request.method != "POST":
        return render(request, TEMPLATE, _context(request, found))
    try:
        words = _take(request, found)
    except Refused as refusal:
        more = {"refusal": refusal, "mend": isinstance(refusal, Unprocessable)}
        context = _context(request, visible_or_404(request.user, ref), typed=True) | more
        return render(request, TEMPLATE, context, status=refusal.status)
    messages.success(request, words)
    has_it = undoing.open_claim(found)
    if has_it is not None and has_it.person_id == request.user.pk:
        return redirect("rollback:by-hand", ref=ref)
    return redirect("approvals:request", ref=ref)


def _take(request: HtmxRequest, found: ActionRequest) -> str:
    """Do what the form says, and return the answer to it. Raises Refused."""
    form = request.POST
    common: dict[str, Any] = {"ref": found.ref, "actor": request.user, "now": clock.now()}
    shown = form.get("shown", "")
    match form.get("act", ""):
        case "note":
            by_hand.note(**common, said=_said(request), shown=shown)
            return SAVED
        case "finish":
            claim = by_hand.settle(
                **common, said=_said(request), shown=shown,
                reference=form.get("target_reference", ""), words=form.get("note", ""),
            )  # fmt: skip
            return WAITS if claim.closed_at is None else ENDED
        case "confirm":
            by_hand.confirm(**common, shown=shown)
            return "Confirmed. It has ended."
        case "give_back":
            if "shown" in form and _said(request):
                by_hand.note(**common, said=_said(request), shown=shown)
            by_hand.give_back(**common, words=form.get("note", ""))
            return BACK
    raise NotNow("This form says nothing that can be done. Open the list again.")


def _said(request: HtmxRequest) -> list[dict[str, object]]:
    fields = [name for name in request.POST if name.startswith("state-")]
    numbers = (read_number(name.removeprefix("state-")) for name in fields)
    return [
        {
            "n": n,
            "state": request.POST.get(f"state-{n}", ""),
            "reference": request.POST.get(f"reference-{n}", ""),
        }
        for n in numbers
        if n is not None
    ]


def _context(request: HtmxRequest, found: ActionRequest, *, typed: bool = False) -> dict[str, Any]:
    now, reader = clock.now(), request.user
    claim = undoing.open_claim(found)
    items = by_hand.items_of(found, claim) if claim is not None else []
    told = story.tell(packet_of(found, now=now), reader=reader, now=now, zone=zone_of(reader))
    said = {each["n"]: each for each in _said(request)} if typed else {}
    mine = claim is not None and claim.person_id == reader.pk
    underway = found.state in (S.TROUBLED, S.ROLLING_BACK)
    until = by_hand.asked_first_until(found, now)
    return {
        "request_": found,
        "title": story.title_of(found),
        "pill": story.state_pill(found),
        "claim": claim,
        "person": wording.plain(str(claim.person), 60) if claim is not None else "",
        "items": [
            {
                "n": item.n,
                "name": wording.plain(item.name, 200),
                "recorded": RECORDED[item.recorded],
                "state": said.get(item.n, {}).get("state", item.state),
                "reference": said.get(item.n, {}).get("reference", item.reference),
                "words": Claim.Said(item.state).label,
            }
            for item in items
        ],
        "is_mine": mine and underway and until is None,
        "has_it": mine,
        "asked_until": until,
        "asked_words": _asked_words(until, now, zone_of(reader)) if until is not None else "",
        "why_not": _why_not_second(found, claim, request),
        "is_undoing": found.state == S.ROLLING_BACK,
        "shown": by_hand.stamp_of(claim, items) if claim is not None else "",
        "reference": request.POST.get("target_reference", "") if typed else claim.target_reference if claim else "",
        "note": request.POST.get("note", "") if typed else claim.note if claim else "",
        "silence": f"{told.nothing_head} {' '.join(told.nothing)}" if told.nothing else "",
        "now": now,
        "zone": zone_of(reader),
        "here": "inbox",
    }  # fmt: skip


def _asked_words(until: datetime, now: datetime, zone: tzinfo) -> str:
    return (
        "What became of units that were sent and not answered is asked of it first. Open this page again"
        f" in a moment; at {wording.at(until, now=now, zone=zone)} at the latest the list is open."
    )


RECORDED = {
    by_hand.DONE: "Our record: it is in the target.",
    by_hand.NOT_DONE: "Our record: it is not in the target.",
    by_hand.UNKNOWN: "Our record: no answer came, so it may be in the target.",
}


def _why_not_second(found: ActionRequest, claim: Claim | None, request: HtmxRequest) -> str:
    """Return why the reader may not confirm what waits for a second person; nothing where they may."""
    if claim is None or claim.finished_at is None:
        return ""
    return by_hand.why_not_second(found, request.user, now=clock.now()) or ""
