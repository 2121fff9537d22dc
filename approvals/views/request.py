"""The page of one request, and the decision on it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.db.models import Exists, OuterRef
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from approvals import selectors, story
from approvals.channels.words import zone_of
from approvals.forms import (
    ComplianceForm,
    DecisionForm,
    HandOverForm,
    MendForm,
    QuestionForm,
    RulingForm,
)
from approvals.models import ActionRequest, Ask, Notice, Review
from approvals.packets import Packet, packet_of
from approvals.services import handover, sums
from approvals.services.asking import subject_of
from approvals.services.decide import decide
from approvals.services.evidence import may_take
from approvals.services.handover import hand_over
from approvals.services.mending import mend
from approvals.services.questions import ask_agent
from approvals.services.reviews import COMPLETED, may_see
from approvals.services.ruling import rule
from approvals.services.seen import see_request
from approvals.story.mend import mending_of
from approvals.story.review import KIND_WORDS, due_words, whose
from approvals.templating import at_pointer
from approvals.views.confirming import confirm_first
from approvals.views.edge import HtmxRequest, rail_of, visible_or_404
from governance import clock, wording
from governance.errors import DigestChanged, NotFound, Refused, Unprocessable
from governance.models import Person
from governance.routing import Candidate
from governance.stepup import StepUpNeeded, presence_of
from governance.vocabulary import Duty, Path, Verdict

RELATED = 5
SUMMED_SHOWN = 20  # of the requests in a sum
MENDED = {
    Verdict.RETRY: "Recorded. It is tried at once, unless a call is under way.",
    Verdict.ROLL_BACK: "Recorded. What was done is undone now; where nothing was done, it has ended.",
    Verdict.BY_HAND: "You have it in hand. Nothing is sent by itself until you finish it or give it back.",
}
PLACES = 99  # the place in the lane is said up to here


@require_safe
def request_page(request: HtmxRequest, ref: str) -> HttpResponse:
    """Everything about one request. htmx is given what may have changed meanwhile."""
    found = visible_or_404(request.user, ref)
    if request.htmx and not request.htmx.history_restore_request:
        return _now(request, found)
    return render(request, "approvals/request.html", _page(request, found))


@require_POST
def request_decide(request: HtmxRequest, ref: str) -> HttpResponse:
    """Take a verdict. 422 for a form to mend, 403 or 409 for a refusal: each says what holds now."""
    found = visible_or_404(request.user, ref)
    own = open_ask(found, request.user)
    form = DecisionForm(request.POST)
    if not form.is_valid():
        return answer(request, found, form=form, status=422)
    try:
        decide(
            ref=ref,
            actor=request.user,
            now=clock.now(),
            presence=presence_of(request, matter=ref),
            **form.cleaned_data,
        )
    except StepUpNeeded:
        return confirm_first(request, ref, "decide", form.cleaned_data)
    except Refused as refusal:
        return answer(request, found, form=form, refusal=refusal, status=refusal.status)
    did = story.DID[form.cleaned_data["verdict"]]
    return stored(request, found, own, f"You {did} {found.ref}: {story.title_of(found)}.")


def stored(request: HtmxRequest, found: ActionRequest, own: Ask | None, words: str) -> HttpResponse:
    """Answer a verdict that was stored: with what comes next, or the page anew."""
    following = selectors.next_ask(request.user, after=own)
    if not request.htmx:
        messages.success(request, words)
        return redirect("approvals:request", ref=found.ref)
    title = story.title_of(following.step.request) if following is not None else ""
    rail = rail_of(request.user, clock.now())
    return answer(
        request, found, stored=True, following=following, following_title=title, rail=rail
    )


@require_POST
def request_hand_over(request: HtmxRequest, ref: str) -> HttpResponse:
    """Have somebody else asked instead. 422 for a form to mend, 403 or 409 for a refusal."""
    found = visible_or_404(request.user, ref)
    own = open_ask(found, request.user)
    form = HandOverForm(request.POST)
    if not form.is_valid():
        return answer(request, found, hand_over_form=form, status=422)
    try:
        hand_over(ref=ref, actor=request.user, now=clock.now(), **form.cleaned_data)
    except Refused as refusal:
        return answer(request, found, hand_over_form=form, refusal=refusal, status=refusal.status)
    return stored(request, found, own, f"You handed {found.ref} over.")


@require_POST
def request_ask(request: HtmxRequest, ref: str) -> HttpResponse:
    """Put a question to the agent. 422 for a form to mend, 403 or 409 for a refusal."""
    found = visible_or_404(request.user, ref)
    form = QuestionForm(request.POST)
    if not form.is_valid():
        return answer(request, found, question_form=form, status=422)
    try:
        ask_agent(ref=ref, actor=request.user, text=form.cleaned_data["question"], now=clock.now())
    except Refused as refusal:
        return answer(request, found, question_form=form, refusal=refusal, status=refusal.status)
    words = f"You asked {found.agent.name}. You are told when it answers; the clock runs on."
    if not request.htmx:
        messages.success(request, words)
        return redirect("approvals:request", ref=found.ref)
    return answer(request, found, asked_words=words)


@require_POST
def request_rule(request: HtmxRequest, ref: str) -> HttpResponse:
    """Take a ruling on a conflict. 422 for a form to mend, 403 or 409 for a refusal."""
    found = visible_or_404(request.user, ref)
    own = open_ask(found, request.user)
    shown = [name.removeprefix("place-") for name in request.POST if name.startswith("place-")]
    form = RulingForm(request.POST, held=shown)
    if not form.is_valid():
        return answer(request, found, form=form, status=422)
    try:
        rule(
            ref=ref,
            actor=request.user,
            now=clock.now(),
            presence=presence_of(request, matter=ref),
            **form.cleaned_data,
        )
    except StepUpNeeded:
        return confirm_first(request, ref, "rule", form.cleaned_data)
    except Refused as refusal:
        return answer(request, found, form=form, refusal=refusal, status=refusal.status)
    return stored(request, found, own, f"You ruled on {found.ref} and what wants the same record.")


@require_POST
def request_mend(request: HtmxRequest, ref: str) -> HttpResponse:
    """Take how a failure goes on. 422 for a form to mend, 403 or 409 for a refusal."""
    found = visible_or_404(request.user, ref)
    form = MendForm(request.POST)
    if not form.is_valid():
        return answer(request, found, form=form, status=422)
    try:
        mend(
            ref=ref,
            actor=request.user,
            now=clock.now(),
            presence=presence_of(request, matter=ref),
            **form.cleaned_data,
        )
    except StepUpNeeded:
        return confirm_first(request, ref, "mend", form.cleaned_data)
    except Refused as refusal:
        return answer(request, found, form=form, refusal=refusal, status=refusal.status)
    return mended(request, found, Verdict(form.cleaned_data["verdict"]))


def mended(request: HtmxRequest, found: ActionRequest, verdict: Verdict) -> HttpResponse:
    """Answer what somebody said of a failure, and was stored: with the page, or the list that is theirs now."""
    messages.success(request, MENDED[verdict])
    if verdict == Verdict.BY_HAND:
        return redirect("rollback:by-hand", ref=found.ref)
    return redirect("approvals:request", ref=found.ref)


@require_POST
def request_seen(request: HtmxRequest, ref: str) -> HttpResponse:
    """Keep that somebody who is asked looked. The page sends this; no GET does."""
    visible_or_404(request.user, ref)
    see_request(ref=ref, actor=request.user, now=clock.now())
    return HttpResponse(status=204)


def _now(request: HtmxRequest, found: ActionRequest) -> HttpResponse:
    """Answer a page that asks whether anything changed since the event it knows last."""
    context = _context(request, found)
    told = context["story"]
    over = told.due_at is not None and told.due_at <= context["now"]
    if request.GET.get("known") == str(found.chain_length) and not over:
        return HttpResponse(status=204)
    # Where somebody may be typing, the form stays, and what is said above it changes.
    typing = request.GET.get("form") == "1"
    context |= {"clock_oob": typing, "aside_oob": not typing}
    # The panel looks after itself; it is brought where the page has none yet, or one too many.
    context["slot_oob"] = (request.GET.get("execution") == "1") != told.has_execution
    return render(request, "approvals/request.html#now", context)


def answer(
    request: HtmxRequest,
    found: ActionRequest,
    *,
    form: DecisionForm | MendForm | RulingForm | ComplianceForm | None = None,
    refusal: Refused | None = None,
    status: int = 200,
    **more: Any,
) -> HttpResponse:
    """Answer a decision with what holds now: in place for htmx, else as a whole page."""
    fresh = visible_or_404(request.user, found.ref)
    whole = not request.htmx
    context = (_page if whole else _context)(request, fresh)
    # What was typed stays. A form that may still be sent is offered again, except when what it
    # is about has changed: then the page must be looked at anew.
    changed = isinstance(refusal, DigestChanged | NotFound)
    sent = form or more.get("hand_over_form") or more.get("report_form")
    typed = sent.data.get("note", "")[: 2 * story.REASON_LENGTH] if sent is not None else ""
    context |= {
        "form": form,
        "refusal": refusal,
        "typed": typed,
        "offer_form": _may_answer(context["story"]) and not changed,
        "mend": isinstance(refusal, Unprocessable),
        "reload": changed,
        "in_place": not whole,
        "slot_oob": context["story"].has_execution,
        **more,
    }
    template = "approvals/request.html" if whole else "approvals/request.html#decided"
    return render(request, template, context, status=status)


def _context(request: HtmxRequest, found: ActionRequest) -> dict[str, Any]:
    """Return what the page and each of its parts draw from."""
    now = clock.now()
    packet = packet_of(found, now=now)
    parties = [party.request_id for party in packet.parties]
    visible = selectors.visible_to(request.user).filter(pk__in=parties) if parties else None
    told = story.tell(
        packet,
        reader=request.user,
        now=now,
        zone=zone_of(request.user),
        visible=() if visible is None else set(visible.values_list("pk", flat=True)),
    )
    return {
        "request_": found,
        "story": told,
        "now": now,
        "offer_form": _may_answer(told),
        "reviews": _reviews(found, request.user, now),
        "may_take_evidence": may_take(request.user),
        "may_spot_check": found.state in COMPLETED and request.user.has_duty(Duty.AUDITOR),
        "mending": mending_of(packet, request.user),
        "others": _to_hand_over_to(packet, request.user, now),
        "may_ask": told.may_ask,
        "unanswered": sum(each.answered_at is None for each in packet.questions),
        "summed": _summed(found, request.user),
        "placing": [
            (side, request.POST.get(f"place-{side.ref}", ""))
            for side in (told.conflict.sides if told.conflict is not None else ())
            if side.is_held
        ],
        "chosen": (request.POST or request.GET).get("verdict", ""),
        "in_place": bool(request.htmx),
        "here": "inbox",
    }


def _reviews(found: ActionRequest, person: Person, now: datetime) -> list[dict[str, Any]]:
    """Return what stands on the page of each review: what it is, where it is, and whether it may be opened."""
    rows = Review.objects.filter(request=found).select_related("asked").order_by("pk")
    visible = (
        set(rows.filter(may_see(person)).values_list("pk", flat=True)) if rows else frozenset()
    )
    return [
        {
            "pk": each.pk,
            "kind": KIND_WORDS[Review.Kind(each.kind)],
            "state": each.get_state_display(),
            "may_see": each.pk in visible,
            "overdue": due_words(each, now) if each.state == Review.State.OPEN else "",
            "due_at": each.due_at if each.state == Review.State.OPEN else None,
            "whose": _with(each, person) if each.state == Review.State.OPEN else "",
        }
        for each in rows
    ]


def _with(review: Review, person: Person) -> str:
    name = whose(review, person)
    return {"You": "you", "Nobody": "nobody"}.get(name, f"the {name}")


def _may_answer(told: story.Story) -> bool:
    return (
        told.can_decide
        or (told.conflict is not None and told.conflict.can_rule)
        or (told.breach is not None and told.breach.can_rule)
    )


def _summed(found: ActionRequest, person: Person) -> dict[str, Any] | None:
    """Return by which sum it was routed, and which requests are in it; None where it stood for itself."""
    if found.routed_amount is None or found.routed_amount == found.amount:
        return None
    others = list(sums.summed_with(found).values_list("pk", "ref", "amount"))
    amounts = [amount for *_, amount in others if amount is not None]
    whole = sum(amounts, found.amount or Decimal(0)) == found.routed_amount
    first = [pk for pk, *_ in others[:SUMMED_SHOWN]]
    visible = set(selectors.visible_to(person).filter(pk__in=first).values_list("pk", flat=True))
    links = [ref for pk, ref, _ in others if pk in visible]
    return {
        "total": wording.money(found.routed_amount, found.currency),
        # What was counted then is told only if it still comes to that: an agent may have another owner.
        "number": len(others) + 1 if whole else None,
        "name": _counterparty(found),
        "links": links,
        "hidden": len(others) - len(links),
    }


def _counterparty(found: ActionRequest) -> str:
    """Return the counterparty as the agent wrote it; the column is folded, for looking it up."""
    pointer = found.action_type.counterparty_pointer
    name = at_pointer(found.payload, pointer) if pointer else None
    return wording.plain(str(name or found.counterparty), 120)


def _to_hand_over_to(packet: Packet, person: Person, now: datetime) -> list[Candidate]:
    """Return to whom this person may hand over what they are asked; nobody where they may not."""
    step = packet.waiting
    own = next((ask for ask in packet.asked if ask.person_id == person.pk), None)
    if step is None or own is None or handover.why_not(step, own, packet.handed) is not None:
        return []
    people = handover.whom_the_department_knows(packet.request, packet.policy, now=now)
    return handover.candidates(
        people,
        subject=subject_of(packet.request),
        history=packet.history,
        out=packet.handed.by | {ask.person_id for ask in packet.asks[step.pk] if ask.asked_at},
        now=now,
    )


def _page(request: HtmxRequest, found: ActionRequest) -> dict[str, Any]:
    """Return what only the whole page needs besides."""
    person = request.user
    own = open_ask(found, person)
    return _context(request, found) | {
        "crumb": _crumb(own),
        "related": _related(found, person),
        "counterparty": _counterparty(found),
        "unseen": bool(own is not None and own.seen_at is None) or _told_of(found, person),
    }


def open_ask(found: ActionRequest, person: Person) -> Ask | None:
    return Ask.objects.filter(step__request=found, person=person, due_at__isnull=False).first()


def _told_of(found: ActionRequest, person: Person) -> bool:
    return Notice.objects.filter(
        request=found, person=person, via=Notice.Via.INBOX, seen_at__isnull=True
    ).exists()


def _crumb(own: Ask | None) -> dict[str, str] | None:
    """Say which lane it is in and at which place, to somebody who is asked."""
    if own is None or own.due_at is None:
        return None
    path = Path(own.path)
    places = selectors.places_in_lane(own, most=PLACES)
    return {
        "lane": wording.SIGNS[path].words,
        "url": f"{reverse('approvals:inbox')}#lane-{path}",
        "place": f"{places[0]} of {wording.capped(places[1], PLACES)}" if places else "",
    }


def _related(found: ActionRequest, person: Person) -> list[dict[str, Any]]:
    """Return the last requests to the same counterparty that this person may see."""
    if not found.counterparty:
        return []
    same = selectors.visible_to(person).filter(counterparty=found.counterparty)
    own = Ask.objects.filter(step__request=OuterRef("pk"), person=person, due_at__isnull=False)
    rows = same.exclude(pk=found.pk).annotate(is_mine=Exists(own)).order_by("-pk")[:RELATED]
    return [
        {
            "request": row,
            "title": story.title_of(row),
            "pill": story.state_pill(row, is_mine=row.is_mine),
        }
        for row in rows
    ]
