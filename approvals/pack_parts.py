"""What an evidence pack tells of asking and deciding: the request, who said what, the review."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from approvals.digests import covered_by, digest_of
from approvals.models import ActionRequest, Decision, Review
from governance import actors, commitments, ledger
from governance.errors import Unprocessable
from governance.evidence.page import shown, shown_instant
from governance.evidence.parts import Claim, Part, Section, Standing, Subject, claim_of
from governance.evidence.rules import action_part, policy_part
from governance.models import AuditEvent

TEXT = 2_000  # characters of what somebody wrote, on the page


def subject_of_request(request: ActionRequest) -> Subject:
    return Subject(kind="request", ref=request.ref, title=shown(request.title, TEXT))


def subject_of_review(review: Review) -> Subject:
    kind = review.get_kind_display().capitalize()
    title = f"{kind} review {review.pk} of: {shown(review.request.title, TEXT)}"
    return Subject(kind="review", ref=review.request.ref, title=title, review=review.pk)


def parts(subject: Subject) -> Iterator[Part]:
    """Yield the request, the decisions, the review if it is about one, and the rules it was routed by."""
    request = ActionRequest.objects.select_related(
        "action_type", "agent", "department", "policy", "matrix_row", "on_behalf_of", "resource"
    ).get(ref=subject.ref)
    yield _request(request)
    yield _decisions(request)
    if subject.review is not None:
        yield _review(Review.objects.get(pk=subject.review, request=request))
    yield policy_part(request.policy, request.matrix_row.number)
    yield action_part(request.action_type)


def _request(request: ActionRequest) -> Part:
    hidden = request.action_type.redacted_in("payload")
    covered = _covered(request)
    if hidden and not request.salt:
        covered |= {"payload": commitments.without(request.payload, hidden)}
    state = request.get_state_display().lower()
    content = {
        "ref": request.ref,
        "title": request.title,
        "digest": request.digest,
        "covered": covered,
        "hidden": list(hidden),
        "salted": bool(request.salt),
        "event": [request.ref, 1],
        "justification": request.justification,
        "state": str(request.state),
        "end_reason": request.end_reason,
        "submitted_at": ledger.instant(request.submitted_at),
        "approved_at": _instant(request.approved_at),
        "ended_at": _instant(request.ended_at),
        "had_effects": request.had_effects,
        "routed_amount": None if request.routed_amount is None else str(request.routed_amount),
        "quorum": request.quorum,
        "source": {"run_id": request.source_run_id, "url": request.source_url},
    }
    facts = [
        ("State", f"{state}, {request.end_reason}" if request.end_reason else state),
        ("Submitted", _shown_instant(request.submitted_at)),
        ("Ended", _shown_instant(request.ended_at) if request.ended_at else "not yet"),
        ("Justification", shown(request.justification, TEXT) or "none"),
        *((name.replace("_", " ").capitalize(), shown(value)) for name, value in covered.items()),
        ("Digest", request.digest),
    ]
    return Part(
        file="request.json",
        content=content,
        sections=[Section("What was asked", "", ("Field", "Value"), facts)],
        claims=[
            _asked(request, hidden),
            Claim(
                "Where the request stands now",
                Standing.STATED,
                "it is the row's; the events tell how it came there",
            ),
        ],
    )


def _covered(request: ActionRequest) -> dict[str, Any]:
    try:
        return covered_by(request)
    except Unprocessable as problem:  # no agent could have sent this: the row was changed
        return {"unreadable": problem.detail}


def _digest(request: ActionRequest) -> str:
    try:
        return digest_of(request)
    except Unprocessable:
        return "none"


def _asked(request: ActionRequest, hidden: tuple[str, ...]) -> Claim:
    what = "What was asked: action, payload, amount, record"
    if hidden and not request.salt and _digest(request) == request.digest:
        why = f"{len(hidden)} fields are left out, so that its digest cannot be computed from this"
        return Claim(what, Standing.STATED, why)
    first = AuditEvent.objects.filter(chain=request.ref, seq=1).first()
    recorded = first.facts.get("digest", "") if first is not None else ""
    return claim_of(what, [(recorded, _digest(request))], where="the first event")


def _decisions(request: ActionRequest) -> Part:
    rows = list(
        Decision.objects.filter(request=request).select_related("person", "step").order_by("at", "pk")
    )  # fmt: skip
    events = AuditEvent.objects.filter(chain=request.ref, kind="step.decided").order_by("seq")
    found = [_decision(row, _event_of(row, events)) for row in rows]
    lines = [
        (
            shown_instant(each["at"]), each["actor"], f"L{each['level']} {each['path']}",
            each["verdict"], shown(each["note"], TEXT), str((each["event"] or ["", "none"])[1]),
        )
        for each in found
    ]  # fmt: skip
    claims = []
    if lines:
        proven = all(each["event"] for each in found)
        why = "each is an event of the record" if proven else "of some there is no event"
        standing = Standing.PROVEN if proven else Standing.CONTRADICTED
        claims.append(Claim("Who decided what, when, and of which digest", standing, why))
    head = ("When", "Who", "Asked on", "Said", "Note", "Event")
    return Part(
        file="decisions.json",
        content=found,
        sections=[Section("Decisions", "", head, lines)],
        claims=claims,
    )


def _decision(row: Decision, event: AuditEvent | None) -> dict[str, Any]:
    """Return a decision; what its event says too is checked against it, name by name."""
    return {
        "event": None if event is None else [event.chain, event.seq],
        "actor": actors.person(row.person),
        "at": ledger.instant(row.at),
        "path": str(row.step.path),
        "level": row.step.level,
        "verdict": str(row.verdict),
        "note": row.note,
        "digest": row.digest,
        "via": str(row.via),
        "bypass": row.is_bypass,
        "reauthenticated_at": _instant(row.reauthenticated_at),
        "details": row.details,
    }


def _event_of(row: Decision, events: Iterable[AuditEvent]) -> AuditEvent | None:
    actor, verdict = actors.person(row.person), str(row.verdict)
    return next(
        (
            each
            for each in events
            if (each.at, each.actor, each.facts.get("verdict")) == (row.at, actor, verdict)
        ),
        None,
    )


def _review(review: Review) -> Part:
    names = {
        "asked": review.asked,
        "closed_by": review.closed_by,
        "second_person": review.second_person,
    }
    people = {name: None if who is None else actors.person(who) for name, who in names.items()}
    content = {
        "review": review.pk,
        "kind": str(review.kind),
        "state": str(review.state),
        "reason": review.reason,
        "finding": review.finding,
        "orders_rollback": review.orders_rollback,
        "signatures_replaced": review.signatures_replaced,
        "target_reference": review.target_reference,
        "details": review.details,
        "opened_at": ledger.instant(review.opened_at),
        "due_at": _instant(review.due_at),
        "closed_at": _instant(review.closed_at),
        **people,
    }
    rows = [
        (name.replace("_", " ").capitalize(), shown(value, TEXT))
        for name, value in content.items()
        if value not in (None, "", {})
    ]
    claim = Claim(
        "The review, as it stands",
        Standing.STATED,
        "it is the row's; its opening, reminders and finding are events of the record",
    )
    section = Section("The review", "", ("Field", "Value"), rows)
    return Part(file="review.json", content=content, sections=[section], claims=[claim])


def _instant(at: Any) -> str | None:
    return None if at is None else ledger.instant(at)


def _shown_instant(at: Any) -> str:
    return shown_instant(ledger.instant(at))
