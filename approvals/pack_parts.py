"""What an evidence pack tells of asking and deciding: the request, who said what, the review."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from approvals.digests import covered_by
from approvals.models import ActionRequest, Decision, Review
from governance import actors, canonical, commitments, ledger
from governance.errors import Unprocessable
from governance.evidence.page import shown, shown_instant
from governance.evidence.parts import Head, Part, Section, Subject, fact
from governance.evidence.rules import action_part, policy_part
from governance.models import AuditEvent, Person

TEXT = 2_000  # characters of what somebody wrote, on the page
TOLD = (
    "These are rows as they stood when the pack was made. Nothing holds them against the events, "
    "which tell how it came to this."
)


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
    """Return what was asked, which `verify.py` holds against the first event, and apart from it what rows tell."""
    hidden = request.action_type.redacted_in("payload")
    plain = commitments.without(request.payload, hidden)
    covered = _covered(request, plain if hidden and not request.salt else None)
    told = {
        "state": str(request.state),
        "end_reason": request.end_reason,
        "approved_at": _instant(request.approved_at),
        "ended_at": _instant(request.ended_at),
        "had_effects": request.had_effects,
        "routed_amount": None if request.routed_amount is None else str(request.routed_amount),
        "quorum": request.quorum,
        "source": {"run_id": request.source_run_id, "url": request.source_url},
    }
    content = {
        "ref": request.ref,
        "title": request.title,
        "digest": request.digest,
        "covered": covered,
        "hidden": list(hidden),
        "salted": bool(request.salt),
        "justification": request.justification,
        "submitted_at": ledger.instant(request.submitted_at),
        "told": told,
    }
    asked = {**covered, "payload": plain}
    facts = [
        ("Submitted", _shown_instant(request.submitted_at)),
        ("Justification", shown(request.justification, TEXT) or "none"),
        *((_words(name), shown(value)) for name, value in asked.items()),
        ("Digest", request.digest),
    ]
    head = ("Field", "Value")
    return Part(
        file="request.json",
        content=content,
        sections=[
            Section("What was asked", "", head, facts),
            Section("Where it stands", TOLD, head, _rows(told), is_told=True),
        ],
        head=_end(request),
    )


def _end(request: ActionRequest) -> Head:
    """Return where the chain ends by the request's own row, which moved with each event."""
    beginning = ledger.genesis(request.ref)
    return Head(request.chain_length, request.chain_hash if request.chain_length else beginning)


def _covered(request: ActionRequest, instead: Any) -> dict[str, Any]:
    """Return what the digest covers.

    Args:
        instead: of the payload, of a request from before there were salts. Then nobody
            but us can tell whether the digest is of it, and so it is looked at here.
    """
    try:
        found = covered_by(request)
    except (
        Unprocessable
    ):  # no agent could have sent this, and its words may quote what is kept back
        return {"unreadable": "What is stored could not have been asked for: the row was changed."}
    if instead is None:
        return found
    if canonical.digest(found) != request.digest:
        return {"unreadable": "What is stored does not give the digest."}
    return found | {"payload": instead}


def _decisions(request: ActionRequest) -> Part:
    rows = Decision.objects.filter(request=request).select_related("person", "step")
    events = list(AuditEvent.objects.filter(chain=request.ref, kind="step.decided").order_by("seq"))
    found = [_decision(row, events) for row in rows.order_by("at", "pk")]
    lines = [
        (
            shown_instant(each["at"]), shown(each["actor"]), f"L{each['level']} {each['path']}",
            each["verdict"], shown(each["note"], TEXT), str((each["event"] or ["", "none"])[1]),
        )
        for each in found
    ]  # fmt: skip
    head = ("When", "Who", "Asked on", "Said", "Note", "Event")
    return Part(
        file="decisions.json",
        content=found,
        sections=[Section("Decisions", "", head, lines)],
    )


def _decision(row: Decision, events: list[AuditEvent]) -> dict[str, Any]:
    """Return a decision, and take its event out of those given.

    What the event says too is checked against it, name by name; what it does not, the row tells.
    """
    said = {
        "path": str(row.step.path),
        "level": row.step.level,
        "verdict": str(row.verdict),
        "note": row.note,
        "digest": row.digest,
        "severity": str(row.severity),
        "via": str(row.via),
        "bypass": row.is_bypass,
        "reauthenticated_at": _instant(row.reauthenticated_at),
        **(row.details if isinstance(row.details, dict) else {"details": row.details}),
    }
    event = _taken(events, actor=_actor(row.person), at=row.at, verdict=str(row.verdict))
    facts = {} if event is None or not isinstance(event.facts, dict) else event.facts
    always = ("path", "level", "verdict", "note", "digest")
    return {
        "event": None if event is None else [event.chain, event.seq],
        "actor": _actor(row.person),
        "at": ledger.instant(row.at),
        **{name: value for name, value in said.items() if name in facts or name in always},
        "told": {
            name: value for name, value in said.items() if name not in facts and name not in always
        },
    }


def _taken(
    events: list[AuditEvent], *, actor: str, at: datetime, verdict: str
) -> AuditEvent | None:
    """Take the event of a decision out of those given: each is of one."""
    for each in events:
        if (each.actor, each.at, fact(each, "verdict")) == (actor, at, verdict):
            events.remove(each)
            return each
    return None


def _review(review: Review) -> Part:
    """Return the review as its opening and its closing recorded it, and apart from that what the row tells."""
    opened = {
        "event": _place(review, "review.opened", review.opened_at),
        "kind": str(review.kind),
        "reason": review.reason,
        "replaced": review.signatures_replaced,
        "at": ledger.instant(review.opened_at),
    }
    closed = None if review.closed_at is None else _closed(review, review.closed_at)
    told = {
        "asked": _actor_or_none(review.asked),
        "due_at": _instant(review.due_at),
        "said": review.details,
    }
    content = {
        "review": review.pk,
        "opened": opened,
        "closed": closed,
        "told": told,
    }
    head = ("Field", "Value")
    return Part(
        file="review.json",
        content=content,
        sections=[
            Section("The review, as it was opened", "", head, _rows(opened)),
            Section(
                "What was found", "" if closed else "It stands open.", head, _rows(closed or {})
            ),
            Section("Whom it waits for", TOLD, head, _rows(told), is_told=True),
        ],
    )


def _closed(review: Review, at: datetime) -> dict[str, Any]:
    found = {
        "event": _place(review, "review.closed", at),
        "kind": str(review.kind),
        "finding": str(review.state),
        "at": ledger.instant(at),
    }
    if review.kind != Review.Kind.CLEANUP:
        return found | {
            "actor": _actor_or_none(review.closed_by),
            "note": review.finding,
            "roll_back": review.orders_rollback,
        }
    return found | {
        "actor": _actor_or_none(review.second_person),
        "said_by": "" if review.closed_by is None else actors.person(review.closed_by),
        "outcome": review.details.get("outcome") if isinstance(review.details, dict) else None,
        "reference": review.target_reference,
    }


def _place(review: Review, kind: str, at: datetime) -> list[Any] | None:
    """Return where the event stands by which a review was opened or closed."""
    events = AuditEvent.objects.filter(chain=review.request.ref, kind=kind, at=at).order_by("seq")
    event = next((each for each in events if fact(each, "review") == review.kind), None)
    return None if event is None else [event.chain, event.seq]


def _rows(fields: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (_words(name), shown_instant(value) if name.endswith("at") else shown(value, TEXT))
        for name, value in fields.items()
        if value not in (None, "", {}) and name != "event"
    ]


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _actor(person: Person) -> str:
    """Return somebody as the record writes them, which cuts long names."""
    return actors.person(person)[: ledger.NAME_LENGTH]


def _actor_or_none(person: Person | None) -> str | None:
    return None if person is None else _actor(person)


def _instant(at: Any) -> str | None:
    return None if at is None else ledger.instant(at)


def _shown_instant(at: Any) -> str:
    return shown_instant(ledger.instant(at))
