"""What goes over the wire: the documents the API answers with, and the forms it takes.

The serializers state the contract for the schema; the functions make the
documents. A test holds one against the other.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string
from rest_framework import serializers

from approvals import digests
from approvals.models import ActionRequest, Claim, Order, Question, Review, Step
from approvals.services import mending, submission, violations
from approvals.services.orders import Ordered
from approvals.services.submission import Malformed
from approvals.services.violations import Became, Reported
from governance import commitments
from governance.models import ActionType
from governance.vocabulary import Impact, Severity
from governance.vocabulary import Verdict as Verdicts

S = ActionRequest.State
# What an agent is told instead of names, notes and other parties.
REASONS = {
    S.PENDING: "waiting", S.HELD: "conflict", S.BLOCKED: "policy", S.APPROVED: "waiting",
    S.EXECUTING: "target", S.TROUBLED: "target", S.ROLLING_BACK: "target",
}  # fmt: skip
VERDICT_FIELDS = {"verdict", "note", "digest", "severity"}
REF_LISTS = ("order", "refuse")
REPORT_FIELDS = {"check", "reason"}
RULING_FIELDS = {"verdict", "note", "digest", *REF_LISTS}
MENDING_FIELDS = {"verdict", "note", "digest"}


def accepted(request: ActionRequest, url: str) -> dict[str, Any]:
    """Return the answer to a submission; with what whoever computes the digest again needs besides the body."""
    hidden = request.action_type.redacted_in("payload")
    salts = commitments.salts_for_sender(hidden, salt=request.salt)
    return {
        "ref": request.ref,
        "state": request.state,
        "digest": request.digest,
        "due_at": request.due_at,
        "url": url,
        **({"digest_salts": salts} if salts else {}),
    }


def row(request: ActionRequest) -> dict[str, Any]:
    """Return one line of a list."""
    return {
        "ref": request.ref,
        "action": request.action_type.key,
        "state": request.state,
        "due_at": request.due_at,
        "submitted_at": request.submitted_at,
        "ended_at": request.ended_at,
    }


def for_agent(request: ActionRequest) -> dict[str, Any]:
    """Return what an agent may know of its own request: never names, notes or other parties."""
    questions = [question(each) for each in request.questions.order_by("pk")]
    amount = (
        request.amount
    )  # of the row: a payload that was changed does not keep its agent from reading
    money = None if amount is None else submission.in_units(amount, request.currency)
    return {
        "ref": request.ref,
        "state": request.state,
        "reason": REASONS.get(S(request.state), "ended"),
        "end_reason": request.end_reason,
        "digest": request.digest,
        "digest_covers": digests.named_by(request, money),
        "due_at": request.due_at,
        "needed_by": request.needed_by,
        "result": _result(request),
        "questions": questions,
    }


def question(asked: Question) -> dict[str, Any]:
    """Return a question as the agent reads it: never by whom it was asked."""
    return {
        "id": asked.pk,
        "text": asked.text,
        "asked_at": asked.asked_at,
        "answer": asked.answer,
        "answered_at": asked.answered_at,
    }


def for_people(request: ActionRequest) -> dict[str, Any]:
    """Return the whole story of a request. A fixed number of queries."""
    steps = request.steps.order_by("pk").prefetch_related("asks__person", "decisions__person")
    claims = request.claims.select_related("person", "second_person").order_by("pk")
    orders = request.orders.select_related("ordered_by", "confirmed_by").order_by("pk")
    return {
        "ref": request.ref,
        "action": request.action_type.key,
        "title": request.title,
        "state": request.state,
        "end_reason": request.end_reason,
        "digest": request.digest,
        "due_at": request.due_at,
        "submitted_at": request.submitted_at,
        "ended_at": request.ended_at,
        "policy_version": request.policy.number,
        "severity": request.severity,
        "impact": request.impact,
        "has_effects": request.has_effects,
        "steps": [_step(each) for each in steps],
        "cases": [
            {
                "type": case.exception,
                "severity": case.severity,
                "impact": case.impact,
                "response": case.response,
                "source": case.source,
                "opened_at": case.opened_at,
                "outcome": case.outcome or None,
            }
            for case in request.cases.order_by("pk")
        ],
        "runs": _runs(request),
        "claims": [_claim(each) for each in claims],
        "orders": [_order(each) for each in orders],
        "reviews": [
            _review(each)
            for each in request.reviews.order_by("pk").select_related("asked", "closed_by")
        ],
    }


def _review(review: Review) -> dict[str, Any]:
    return {
        "id": review.pk,
        "kind": review.kind,
        "state": review.state,
        "opened_at": review.opened_at,
        "due_at": review.due_at if review.closed_at is None else None,
        "times_overdue": review.times_overdue,
        "asked": review.asked.username if review.asked is not None else None,
        "signatures_replaced": review.signatures_replaced,
        "finding": review.finding,
        "orders_rollback": review.orders_rollback,
        "closed_by": review.closed_by.username
        if review.closed_by is not None and review.closed_at is not None
        else None,
        "closed_at": review.closed_at,
    }


def _step(step: Step) -> dict[str, Any]:
    asks = sorted(step.asks.all(), key=lambda ask: (ask.position, ask.pk))
    return {
        "path": step.path,
        "level": step.level,
        "state": step.state,
        "opened_at": step.opened_at,
        "due_at": step.due_at,
        "asked": [
            {
                "person": ask.person.username,
                "reason": ask.why,
                "delivered_at": ask.delivered_at,
                "seen_at": ask.seen_at,
            }
            for ask in asks
            if ask.asked_at is not None
        ],
        "passed_over": [
            {"person": ask.person.username, "reason": ask.passed_over_reason}
            for ask in asks
            if ask.passed_over_at is not None
        ],
        "decisions": [
            {
                "person": each.person.username,
                "verdict": each.verdict,
                "note": each.note,
                "severity": each.severity or None,
                "digest": each.digest,
                "at": each.at,
            }
            for each in step.decisions.all()
        ],
    }


def _claim(claim: Claim) -> dict[str, Any]:
    return {
        "person": claim.person.username,
        "claimed_at": claim.claimed_at,
        "units": claim.units,
        "target_reference": claim.target_reference,
        "finished_at": claim.finished_at,
        "second_person": claim.second_person.username if claim.second_person else None,
        "given_back_at": claim.given_back_at,
        "closed_at": claim.closed_at,
    }


def _order(order: Order) -> dict[str, Any]:
    return {
        "kind": order.kind,
        "ordered_by": order.ordered_by.username if order.ordered_by else None,
        "ordered_at": order.ordered_at,
        "reason": order.reason,
        "needs_second": order.needs_second,
        "due_at": order.due_at if order.confirmed_by is None else None,
        "confirmed_by": order.confirmed_by.username if order.confirmed_by else None,
        "confirmed_at": order.confirmed_at,
        "outcome": order.outcome or None,
    }


def _runs(request: ActionRequest) -> list[dict[str, Any]]:
    # Rows of the package above, by the name settings gives: no import goes upwards.
    runs: list[dict[str, Any]] = import_string(settings.RECOURSE_RUNS)(request)
    return runs


def _result(request: ActionRequest) -> list[dict[str, Any]] | None:
    done = request.units.filter(direction="forward", receipt__isnull=False).order_by("position")
    # Its own number for what it made, and nothing else of what the target answered.
    return [
        {"n": unit.position, "reference": (unit.receipt or {}).get("reference")} for unit in done
    ] or None


def action(action_type: ActionType) -> dict[str, Any]:
    """Return one entry of the catalogue."""
    return {
        "key": action_type.key,
        "version": action_type.version,
        "name": action_type.name,
        "severity": action_type.severity,
        "impact": action_type.impact,
        "financial": action_type.is_financial,
        "critical_process": action_type.is_critical,
        "reversal": action_type.reversal,
        "sla_seconds": int(action_type.sla.total_seconds()),
        "schema": action_type.schema,
        "example": action_type.example,
        "redacted": list(action_type.redacted_in("payload")),
    }


def verdict(body: object) -> dict[str, Any]:
    """Return the arguments of `decide`, of `rule` or of `mend`, by the verdict in a body.

    Raises Malformed, naming every field at fault.
    """
    if not isinstance(body, dict):
        raise Malformed("The body is not a JSON object.")
    known = RULING_FIELDS if body.get("verdict") == Verdicts.RULE else VERDICT_FIELDS
    if body.get("verdict") in mending.ANSWERS:
        known = MENDING_FIELDS
    errors = {str(name)[:60]: "Unknown field." for name in body.keys() - known}
    given = {name: value for name, value in body.items() if value is not None}
    for name in known & given.keys():
        if name in REF_LISTS:
            fits = isinstance(given[name], list) and all(isinstance(e, str) for e in given[name])
            errors |= {} if fits else {name: "A list of refs."}
        elif not isinstance(given[name], str):
            errors[name] = "Text."
    errors |= {name: "Required." for name in ("verdict", "digest") if not given.get(name)}
    if errors:
        raise Malformed("Mend these fields and send it again.", errors=errors)
    if known is RULING_FIELDS:
        return {name: given.get(name, []) for name in REF_LISTS} | given
    return given


def reason(body: object) -> str:
    """Return the reason in a body, "" where none is given. Raises Malformed, naming every field at fault."""
    if not isinstance(body, dict):
        raise Malformed("The body is not a JSON object.")
    errors = {str(name)[:60]: "Unknown field." for name in body.keys() - {"reason"}}
    found = body.get("reason")
    if found is not None and not isinstance(found, str):
        errors["reason"] = "Text."
    if errors:
        raise Malformed("Mend these fields and send it again.", errors=errors)
    return found or ""


def text(body: object) -> str:
    """Return the text in a body. Raises Malformed, naming every field at fault."""
    if not isinstance(body, dict):
        raise Malformed("The body is not a JSON object.")
    errors = {str(name)[:60]: "Unknown field." for name in body.keys() - {"text"}}
    found = body.get("text")
    if not isinstance(found, str) or not found:
        errors["text"] = "Text, and some of it."
    if errors:
        raise Malformed("Mend these fields and send it again.", errors=errors)
    return str(found)


def report(body: object) -> tuple[str, str]:
    """Return the key of a rule and the sentence in a body, "" for what is not there. Raises Malformed."""
    if not isinstance(body, dict):
        raise Malformed("The body is not a JSON object.")
    errors = {str(name)[:60]: "Unknown field." for name in body.keys() - REPORT_FIELDS}
    given = {name: body.get(name) for name in REPORT_FIELDS if body.get(name) is not None}
    errors |= {name: "Text." for name, value in given.items() if not isinstance(value, str)}
    if len(str(given.get("reason", ""))) > violations.TEXT_LENGTH:
        errors["reason"] = f"At most {violations.TEXT_LENGTH:,} characters."
    if errors:
        raise Malformed("Mend these fields and send it again.", errors=errors)
    return str(given.get("check", "")), str(given.get("reason", ""))


# What a reporter is told: nobody's name, no note, no other request.
BECAME = {
    Became.BLOCKED: "It is blocked, and compliance is asked.",
    Became.STOPPING: "It is being carried out. It stops after the unit it is at; then compliance is asked.",
    Became.JOINED: "Compliance is asked about it already. Your report was added.",
    Became.REVIEW: "It has effects and cannot be stopped any more. Somebody independent looks at it.",
    Became.RECORDED: "It has ended, and nothing of it is in the target. Your report was recorded.",
    Became.WAIVED: "Compliance has let this rule pass for it. Your report was recorded.",
}


def reported(answer: Reported, *, own: bool) -> dict[str, Any]:
    """Return the answer to a report. Of somebody else's request an agent reads no state."""
    return {
        "ref": answer.request.ref,
        "outcome": str(answer.became),
        "detail": BECAME[answer.became],
        "state": str(answer.request.state) if own else None,
    }


def ordered(answer: Ordered) -> dict[str, Any]:
    """Return the answer to an order: what stands now, and what it waits for."""
    order = answer.order
    return {
        "ref": answer.request.ref,
        "state": answer.request.state,
        "detail": answer.words,
        "order": {name: value for name, value in _order(order).items() if name != "kind"},
    }


# --- The contract, for /api/schema/ ---


class Problem(serializers.Serializer[Any]):
    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()


class Source(serializers.Serializer[Any]):
    run_id = serializers.CharField(required=False, max_length=200)
    url = serializers.URLField(required=False, max_length=500)


class Submission(serializers.Serializer[Any]):
    action = serializers.CharField(max_length=60)
    payload = serializers.DictField()
    department = serializers.CharField(max_length=60)
    severity = serializers.ChoiceField(Severity.choices, required=False)
    impact = serializers.ChoiceField(Impact.choices, required=False)
    justification = serializers.CharField(required=False, max_length=4000)
    on_behalf_of = serializers.CharField(required=False, max_length=254)
    needed_by = serializers.DateTimeField(required=False)
    supersedes = serializers.CharField(required=False, max_length=16)
    source = Source(required=False)  # type: ignore[assignment] # a field's name, not DRF's attribute
    callback_url = serializers.URLField(required=False, max_length=500)


class Accepted(serializers.Serializer[Any]):
    ref = serializers.CharField()
    state = serializers.ChoiceField(S.choices)
    digest = serializers.CharField()
    due_at = serializers.DateTimeField(allow_null=True)
    url = serializers.CharField()
    digest_salts = serializers.DictField(
        child=serializers.CharField(),
        required=False,
        help_text="By JSON pointer, where evidence leaves fields of the payload out. In place of each, "
        'the digest covers {"sha256": SHA-256 of [salt, pointer, value] as RFC 8785 writes it}.',
    )


class RequestRow(serializers.Serializer[Any]):
    ref = serializers.CharField()
    action = serializers.CharField()
    state = serializers.ChoiceField(S.choices)
    due_at = serializers.DateTimeField(allow_null=True)
    submitted_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)


class RequestPage(serializers.Serializer[Any]):
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = RequestRow(many=True)


class QuestionShape(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    text = serializers.CharField()
    asked_at = serializers.DateTimeField()
    answer = serializers.CharField(allow_blank=True)
    answered_at = serializers.DateTimeField(allow_null=True)


class RequestForAgent(serializers.Serializer[Any]):
    ref = serializers.CharField()
    state = serializers.ChoiceField(S.choices)
    reason = serializers.ChoiceField(["waiting", "conflict", "policy", "target", "ended"])
    end_reason = serializers.CharField(allow_blank=True)
    digest = serializers.CharField(
        help_text="SHA-256 of `digest_covers` with the `payload` as you sent it, as RFC 8785 writes it; "
        "where the submission was answered with `digest_salts`, with their digests in its place."
    )
    digest_covers = serializers.DictField(help_text="What the digest covers besides the payload.")
    due_at = serializers.DateTimeField(allow_null=True)
    needed_by = serializers.DateTimeField(allow_null=True)
    result = serializers.ListField(
        child=serializers.DictField(),
        allow_null=True,
        help_text="What was done: for each unit its number and the target's reference.",
    )
    questions = QuestionShape(many=True)


class AskedShape(serializers.Serializer[Any]):
    person = serializers.CharField()
    reason = serializers.CharField()
    delivered_at = serializers.DateTimeField(allow_null=True)
    seen_at = serializers.DateTimeField(allow_null=True)


class PassedOverShape(serializers.Serializer[Any]):
    person = serializers.CharField()
    reason = serializers.CharField()


class DecisionShape(serializers.Serializer[Any]):
    person = serializers.CharField()
    verdict = serializers.ChoiceField(Verdicts.choices)
    note = serializers.CharField(allow_blank=True)
    severity = serializers.ChoiceField(Severity.choices, allow_null=True)
    digest = serializers.CharField()
    at = serializers.DateTimeField()


class StepShape(serializers.Serializer[Any]):
    path = serializers.CharField()
    level = serializers.IntegerField()
    state = serializers.ChoiceField(Step.State.choices)
    opened_at = serializers.DateTimeField()
    due_at = serializers.DateTimeField(allow_null=True)
    asked = AskedShape(many=True)
    passed_over = PassedOverShape(many=True)
    decisions = DecisionShape(many=True)


class CaseShape(serializers.Serializer[Any]):
    type = serializers.CharField()
    severity = serializers.ChoiceField(Severity.choices)
    impact = serializers.ChoiceField(Impact.choices)
    response = serializers.CharField()
    source = serializers.CharField()  # type: ignore[assignment] # a field's name, not DRF's attribute
    opened_at = serializers.DateTimeField()
    outcome = serializers.CharField(allow_null=True)


class UnitShape(serializers.Serializer[Any]):
    n = serializers.IntegerField()
    key = serializers.CharField()
    state = serializers.CharField()


class RunShape(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(["forward", "undo"])
    state = serializers.CharField()
    units = UnitShape(many=True)


class ClaimUnitShape(serializers.Serializer[Any]):
    n = serializers.IntegerField()
    state = serializers.ChoiceField(Claim.Said.choices)
    reference = serializers.CharField(allow_blank=True)


class ClaimShape(serializers.Serializer[Any]):
    person = serializers.CharField()
    claimed_at = serializers.DateTimeField()
    units = ClaimUnitShape(many=True)
    target_reference = serializers.CharField(allow_blank=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    second_person = serializers.CharField(allow_null=True)
    given_back_at = serializers.DateTimeField(allow_null=True)
    closed_at = serializers.DateTimeField(allow_null=True)


class ReviewShape(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    kind = serializers.CharField()
    state = serializers.CharField()
    opened_at = serializers.DateTimeField()
    due_at = serializers.DateTimeField(allow_null=True)
    times_overdue = serializers.IntegerField()
    asked = serializers.CharField(allow_null=True)
    signatures_replaced = serializers.IntegerField()
    finding = serializers.CharField()
    orders_rollback = serializers.BooleanField()
    closed_by = serializers.CharField(allow_null=True)
    closed_at = serializers.DateTimeField(allow_null=True)


class OrderShape(serializers.Serializer[Any]):
    ordered_by = serializers.CharField(allow_null=True)
    ordered_at = serializers.DateTimeField()
    reason = serializers.CharField(allow_blank=True)
    needs_second = serializers.BooleanField()
    due_at = serializers.DateTimeField(allow_null=True)
    confirmed_by = serializers.CharField(allow_null=True)
    confirmed_at = serializers.DateTimeField(allow_null=True)
    outcome = serializers.ChoiceField(Order.Outcome.choices, allow_null=True)


class OrderOfKindShape(OrderShape):
    kind = serializers.ChoiceField(Order.Kind.choices)


class RequestForPeople(serializers.Serializer[Any]):
    """What a person reads. An agent reads the shorter document of `request_withdraw`."""

    ref = serializers.CharField()
    action = serializers.CharField()
    title = serializers.CharField()
    state = serializers.ChoiceField(S.choices)
    end_reason = serializers.CharField(allow_blank=True)
    digest = serializers.CharField()
    due_at = serializers.DateTimeField(allow_null=True)
    submitted_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)
    policy_version = serializers.IntegerField()
    severity = serializers.ChoiceField(Severity.choices)
    impact = serializers.ChoiceField(Impact.choices)
    has_effects = serializers.BooleanField()
    steps = StepShape(many=True)
    cases = CaseShape(many=True)
    runs = RunShape(many=True)
    claims = ClaimShape(many=True)
    orders = OrderOfKindShape(many=True)
    reviews = ReviewShape(many=True)


class Verdict(serializers.Serializer[Any]):
    verdict = serializers.ChoiceField(
        [
            "approve",
            "reject",
            "rule",
            "deny",
            "waive",
            "change_requested",
            "retry",
            "roll_back",
            "by_hand",
        ]
    )
    digest = serializers.CharField()
    note = serializers.CharField(required=False, allow_blank=True, max_length=4000)
    severity = serializers.ChoiceField(Severity.choices, required=False)
    order = serializers.ListField(
        child=serializers.CharField(), required=False
    )  # refs, of a ruling
    refuse = serializers.ListField(child=serializers.CharField(), required=False)


class Report(serializers.Serializer[Any]):
    """The key of a rule, or a sentence; at least one of the two."""

    check = serializers.CharField(required=False, max_length=60)
    reason = serializers.CharField(required=False, max_length=violations.TEXT_LENGTH)


class ReportedShape(serializers.Serializer[Any]):
    ref = serializers.CharField()
    outcome = serializers.ChoiceField([str(each) for each in Became])
    detail = serializers.CharField()
    state = serializers.ChoiceField(S.choices, allow_null=True)


class Reason(serializers.Serializer[Any]):
    """Needed for an order, and kept with a confirmation."""

    reason = serializers.CharField(required=False, allow_blank=True, max_length=2000)


class Text(serializers.Serializer[Any]):
    """Plain text, shown as it stands: a question has at most 1000 characters, an answer 4000."""

    text = serializers.CharField(max_length=4000)


class RollbackShape(serializers.Serializer[Any]):
    ref = serializers.CharField()
    state = serializers.ChoiceField(S.choices)
    detail = serializers.CharField()
    order = OrderShape()


class ActionShape(serializers.Serializer[Any]):
    key = serializers.CharField()
    version = serializers.IntegerField()
    name = serializers.CharField()
    severity = serializers.ChoiceField(Severity.choices)
    impact = serializers.ChoiceField(Impact.choices)
    financial = serializers.BooleanField()
    critical_process = serializers.BooleanField()
    reversal = serializers.CharField()
    sla_seconds = serializers.IntegerField()
    schema = serializers.DictField()
    example = serializers.DictField()
    redacted = serializers.ListField(
        child=serializers.CharField(),
        help_text="JSON pointers of what evidence leaves out of the payload: see `digest_salts`.",
    )
