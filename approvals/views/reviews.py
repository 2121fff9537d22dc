"""The queue of reviews, one review's page, and what reviewers say there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_POST, require_safe

from approvals import selectors, story
from approvals.channels.words import zone_of
from approvals.forms import FindingForm, SettledForm
from approvals.models import Order, Review
from approvals.packets import packet_of, packets_of
from approvals.services import cleanups, findings
from approvals.services import reviews as services
from approvals.story.reading import Reading
from approvals.story.review import due_words, path_of, tell_review, whose
from approvals.undoing import circle_of, moot, open_rollback
from approvals.views.edge import HtmxRequest, cursor_of, read_cursor, visible_or_404
from governance import clock, wording
from governance.errors import Refused, Unprocessable
from governance.vocabulary import Duty

PAGE = 50
CLOSED_SHOWN = 10


@require_safe
def review_queue(request: HtmxRequest) -> HttpResponse:
    """List the open reviews this person may see by time left, and the last ones closed."""
    person, now = request.user, clock.now()
    oversees = person.is_superuser or person.has_duty(Duty.AUDITOR, Duty.COMPLIANCE)
    seen = selectors.reviews_seen_by(person)
    if not oversees and not seen.exists():
        raise PermissionDenied("Auditors, compliance, and whoever was asked, see reviews.")
    rows = selectors.open_reviews(person, after=read_cursor(request.GET.get("after", "")))
    found = list(rows[: PAGE + 1])
    closed = list(
        seen.exclude(state=Review.State.OPEN).order_by("-closed_at", "-pk")[:CLOSED_SHOWN]
    )
    shown = found[:PAGE]
    packets = {
        packet.request.pk: packet
        for packet in packets_of(list({each.request_id: each.request for each in shown + closed}.values()), now=now)
    }  # fmt: skip

    def row(review: Review) -> dict[str, Any]:
        packet = packets[review.request_id]
        told = tell_review(Reading(packet, person, now, zone_of(person)), review)
        override = next((each for each in packet.decisions if each.review_id == review.pk), None)
        return {
            "review": review,
            "title": story.title_of(review.request),
            "kind": told.kind,
            "path": path_of(packet, review)[0],
            "who": override.person if override is not None else None,
            "reason": wording.plain(review.reason, 200),
            "overdue": due_words(review, now),
            "whose": whose(review, person),
            "was_others": review.times_overdue > 0,
        }

    last = shown[-1] if shown else None
    more = len(found) > PAGE and last is not None and last.due_at is not None
    overdue = [each for each in shown if due_words(each, now)]
    context = {
        "here": "reviews",
        "now": now,
        "rows": [row(each) for each in shown],
        "closed": [row(each) for each in closed],
        "count": wording.capped(len(found), PAGE),
        "mine": sum(1 for each in shown if each.asked_id == person.pk),
        "overdue": overdue,
        "first_overdue": row(overdue[0]) if overdue else None,
        "more": cursor_of(last.due_at, last.pk)
        if more and last is not None and last.due_at is not None
        else "",
    }
    return render(request, "approvals/reviews.html", context)


@require_safe
def review_page(request: HtmxRequest, pk: int) -> HttpResponse:
    """Everything about one review: the chain, what was executed, the policy of that day, the finding."""
    return _page(request, _found(request, pk))


@require_POST
def review_find(request: HtmxRequest, pk: int) -> HttpResponse:
    """Record a finding. 422 for a form to mend, 403 or 409 for a refusal."""
    review, form = _found(request, pk), FindingForm(request.POST)

    def call(given: dict[str, Any]) -> None:
        findings.record_finding(review=pk, actor=request.user, now=clock.now(), **given)

    return _take(request, review, form, call, "Your finding is recorded.")


@require_POST
def review_confirm(request: HtmxRequest, pk: int) -> HttpResponse:
    """Confirm, as the second reviewer, the rollback that a finding ordered."""
    review = _found(request, pk)

    def call(given: dict[str, Any]) -> None:
        findings.confirm_rollback(review=pk, actor=request.user, now=clock.now())

    return _take(
        request,
        review,
        forms.Form(request.POST),
        call,
        "Confirmed. It begins as soon as the record is free.",
    )


@require_POST
def review_settle(request: HtmxRequest, pk: int) -> HttpResponse:
    """Say what became by hand of what was stranded. It counts once a second person says so too."""
    review, form = _found(request, pk), SettledForm(request.POST)

    def call(given: dict[str, Any]) -> None:
        cleanups.say_settled(review=pk, actor=request.user, now=clock.now(), **given)

    return _take(
        request, review, form, call, "Kept. A second person looks at the target and confirms it."
    )


@require_POST
def review_settled(request: HtmxRequest, pk: int) -> HttpResponse:
    """Confirm what somebody else said became of it."""
    review = _found(request, pk)
    said_at = _instant(request.POST.get("said_at", ""))

    def call(given: dict[str, Any]) -> None:
        if said_at is None:
            raise Unprocessable("Open the review again: this form has lost what it is about.")
        cleanups.confirm_settled(review=pk, actor=request.user, now=clock.now(), said_at=said_at)

    return _take(
        request,
        review,
        forms.Form(request.POST),
        call,
        "Confirmed. It is settled, and its record is free.",
    )


@require_POST
def spot_check_open(request: HtmxRequest, ref: str) -> HttpResponse:
    """Have a completed request looked at."""
    visible_or_404(request.user, ref)
    reason = request.POST.get("reason", "")
    try:
        review = services.open_spot_check(
            ref=ref, actor=request.user, reason=reason, now=clock.now()
        )
    except Refused as refusal:
        messages.error(request, refusal.detail)
        return redirect("approvals:request", ref=ref)
    messages.success(request, f"A spot check of {ref} is open.")
    return redirect("approvals:review", pk=review.pk)


def _instant(text: str) -> datetime | None:
    try:
        return parse_datetime(text)
    except ValueError:
        return None


def _found(request: HtmxRequest, pk: int) -> Review:
    """Return a review this person may see, or may sign as a second; to others it does not exist."""
    found = selectors.reviews_seen_by(request.user).filter(pk=pk).first()
    if found is None:
        found = (
            Review.objects.filter(pk=pk, kind=Review.Kind.CLEANUP)
            .select_related(
                "request__action_type",
                "request__agent",
                "request__department",
                "asked",
                "closed_by",
            )
            .first()
        )
        if found is None or request.user.pk not in circle_of(found.request).signers:
            raise Http404("no such review")
    return found


def _take(
    request: HtmxRequest,
    review: Review,
    form: forms.Form,
    call: Callable[[dict[str, Any]], None],
    words: str,
) -> HttpResponse:
    if not form.is_valid():
        return _page(request, review, form=form, status=422)
    try:
        call(form.cleaned_data)
    except Refused as refusal:
        fresh = _found(request, review.pk)
        return _page(request, fresh, form=form, refusal=refusal, status=refusal.status)
    messages.success(request, words)
    return redirect("approvals:review", pk=review.pk)


def _page(
    request: HtmxRequest,
    review: Review,
    *,
    form: forms.Form | None = None,
    refusal: Refused | None = None,
    status: int = 200,
) -> HttpResponse:
    person, now = request.user, clock.now()
    packet = packet_of(review.request, now=now)
    reading = Reading(packet, person, now, zone_of(person))
    circle = services.around(review.request, now=now, also={person.pk})
    is_open = review.state == Review.State.OPEN
    cleanup = review.kind == Review.Kind.CLEANUP
    why_not = None
    if is_open and cleanup:
        why_not = cleanups.why_not_settle(review, person.pk, circle_of(review.request))
    elif is_open:
        why_not = services.why_not_find(review, person, circle)
    order = open_rollback(review.request)
    waits = order is not None and order.review_id == review.pk and order.confirmed_by_id is None
    path, level = path_of(packet, review)
    context = {
        "here": "reviews",
        "now": now,
        "review": review,
        "request_": review.request,
        "told": tell_review(reading, review),
        "story": story.tell(packet, reader=person, now=now, zone=zone_of(person)),
        "path": path,
        "level": level,
        "form": form,
        "refusal": refusal,
        "is_open": is_open,
        "cleanup": cleanup,
        "why_not": why_not,
        "overdue": due_words(review, now),
        "whose": whose(review, person),
        "order": order if waits and order is not None and order.needs_second else None,
        "why_not_second": findings.why_not_confirm(review, person, circle) if waits else None,
        "said_by_me": review.closed_by_id == person.pk,
        "said": review.details if is_open and review.said_at is not None else None,
        "said_outcome": {each.value: each.label for each in cleanups.OUTCOMES}.get(
            review.details.get("outcome", ""), ""
        ),
        "may_take_evidence": selectors.reviews_seen_by(person).filter(pk=review.pk).exists(),
        "may_roll_back": moot(review.request) != Order.Outcome.NOTHING_TO_DO,
    }
    return render(request, "approvals/review.html", context, status=status)
