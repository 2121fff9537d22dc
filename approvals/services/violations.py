"""A request breaks a rule: it is stopped where it stands, or if it is too late for that, somebody looks at it.

Rules of the policy say so themselves, agents and people report it. What compliance
makes of it is `approvals.services.compliance`. Source: DESIGN 2.2, "Violation".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from django.db import transaction
from django.db.models import Count, Q, QuerySet

from approvals import notifying
from approvals.checks import Asked, Broken
from approvals.locks import lock_request
from approvals.models import ActionRequest, Case, Order, Review, Violation, Waiver
from approvals.services import conflicts, endings, interruptions
from approvals.services.escalate import Climb
from approvals.services.gather import climbs
from approvals.services.reviews import open_review
from approvals.services.writes import Writes
from governance import actors, cel, tables, wording
from governance.errors import NotFound, NotYours, Unprocessable
from governance.models import Agent, Person
from governance.routing import SIGNATURES
from governance.vocabulary import Duty, ExceptionType
from governance.wake import wake_clock

S = ActionRequest.State
TEXT_LENGTH = 1000
REASON_LENGTH = 300
NOTHING_STORED = "Nothing was recorded."


class Became(StrEnum):
    """What a report led to, as its reporter is told."""

    BLOCKED = "blocked"
    STOPPING = "stopping"  # a worker is at it, and stops after the unit it is at
    JOINED = "joined"  # compliance is asked already
    REVIEW = "review"  # it has ended with effects, or is being undone: somebody looks at it
    RECORDED = "recorded"  # it has ended, and nothing of it is in the target
    WAIVED = "waived"  # compliance has let this very rule pass for it


class Reported(NamedTuple):
    request: ActionRequest
    became: Became


def asked_of(request: ActionRequest) -> Asked:
    """Return what a rule may know of a request; its action type, agent and department are loaded."""
    return Asked(
        action=request.action_type.key,
        department=request.department.key,
        severity=str(request.severity),
        impact=str(request.impact),
        amount=None
        if request.amount is None
        else cel.minor(request.amount.normalize(), request.currency),
        currency=request.currency,
        counterparty=request.counterparty,
        agent=request.agent.name,
    )


def waived(request: ActionRequest) -> frozenset[tuple[str, int]]:
    """Return the (key, revision) of the rules that two people let pass for exactly what was asked."""
    signed = Waiver.objects.filter(request=request.pk, digest=request.digest)
    enough = signed.values("check_key", "check_revision").annotate(
        people=Count("person", distinct=True)
    )
    found = enough.filter(people__gte=SIGNATURES).values_list("check_key", "check_revision")
    return frozenset((str(key), int(revision)) for key, revision in found)


@transaction.atomic
def report(
    *,
    ref: str,
    by: Person | Agent,
    now: datetime,
    any_request: bool = False,
    check: str = "",
    text: str = "",
) -> Reported:
    """Report that a request breaks a rule of the policy, or say in a sentence what is wrong with it.

    Saying the same again while compliance is asked changes nothing.

    Args:
        by: an agent whose credential covers it, or somebody of compliance or an auditor.
        any_request: an agent may report on requests of others.
        check: key of a rule, of the active policy or the request's.
        text: a sentence; at least one of the two.

    Raises:
        NotFound: there is no such request, or the agent may not know of it.
        NotYours: a person who is neither of compliance nor an auditor.
        Unprocessable: neither a rule nor a sentence, or no such rule.
    """
    text = wording.plain(text.strip(), TEXT_LENGTH)
    if not (check or text):
        raise Unprocessable(f"Name the rule, or say in a sentence what is wrong. {NOTHING_STORED}")
    if isinstance(by, Person) and not may_report(by):
        raise NotYours(f"Compliance and auditors report violations. {NOTHING_STORED}")
    request = lock_request(ref, and_resource=True)
    if isinstance(by, Agent) and request.agent_id != by.pk and not any_request:
        raise NotFound(f"There is no request {ref}.")
    writes = Writes()
    actor = actors.agent(by) if isinstance(by, Agent) else actors.person(by)
    (climb,) = climbs([request], writes, actor=actor, now=now)
    rule = _rule(climb, check)
    violation = Violation(
        request=request,
        check_key=check,
        check_revision=rule.revision if rule else 0,
        check_name=rule.name if rule else "",
        expression_hash=rule.expression_hash if rule else "",
        text=text or (rule.on_break if rule else ""),
        by_agent=by if isinstance(by, Agent) else None,
        by_person=by if isinstance(by, Person) else None,
        at=now,
    )
    if rule is not None and (rule.key, rule.revision) in waived(request):
        became = _keep(climb, [violation], Became.WAIVED)
    elif _is_said_already(violation, climb):
        return Reported(request, Became.JOINED)
    else:
        became = take_in(climb, [violation])
    climb.settle()
    conflicts.save(writes, now=now)
    wake_clock(now)
    return Reported(request, became)


def may_report(person: Person) -> bool:
    """Whether a person reports violations: compliance and auditors do."""
    return person.is_active and person.has_duty(Duty.COMPLIANCE, Duty.AUDITOR)


def found_broken(climb: Climb, broken: Iterable[Broken]) -> Became | None:
    """Rules of the policy do not hold: take it in. Returns what it led to; None where nothing is new."""
    rows = still_broken(climb, broken)
    if not rows:
        return None
    new = [row for row in rows if not _is_said_already(row, climb)]
    return take_in(climb, new) if new else Became.JOINED


def still_broken(climb: Climb, broken: Iterable[Broken]) -> list[Violation]:
    """Return a report, not stored, of each broken rule that was not let pass for this request."""
    broken = list(broken)
    if not broken:
        return []
    passed = waived(climb.request) if not climb.request._state.adding else frozenset()
    return [
        _of_rule(climb, each)
        for each in broken
        if (each.check.key, each.check.revision) not in passed
    ]


def take_in(climb: Climb, found: Sequence[Violation]) -> Became:
    """Stop a locked request for these reports, or have somebody look at it where nothing can be stopped."""
    request = climb.request
    if not request.is_open or request.state == S.ROLLING_BACK:
        if request.has_effects:
            return _review(climb, found)
        return _keep(climb, found, Became.RECORDED)
    if request.state == S.BLOCKED:
        return _join(climb, found)
    leased = request.lease_until is not None and request.lease_until > climb.now
    if request.state == S.EXECUTING and leased:
        return _stop(climb, found)
    block(climb, found)
    return Became.BLOCKED


def block(climb: Climb, found: Sequence[Violation] = ()) -> None:
    """Block a request that no worker goes on with: open the case that these hang from, and ask compliance.

    What was reported while a worker had the lease hangs from it too.
    """
    waiting = [] if climb.request._state.adding else list(_waiting(climb.request))
    interruptions.block(climb)
    if waiting:
        endings.close_orders(climb, Order.Kind.BLOCK, Order.Outcome.CARRIED_OUT)
    ask_anew(climb, [*waiting, *found])


def _waiting(request: ActionRequest) -> QuerySet[Violation]:
    """Return the reports for which a run was to stop, oldest first."""
    rows = Violation.objects.filter(request=request, case__isnull=True, settled_at__isnull=True)
    return rows.order_by("pk")


def ask_anew(climb: Climb, found: Sequence[Violation]) -> None:
    """Open a case for these reports on a blocked request. No rung is asked twice, so a second one enters higher.

    Args:
        found: some of them may be stored already.
    """
    more = f" And {len(found) - 1} more." if len(found) > 1 else ""
    reason = f"{wording.plain(found[0].text, REASON_LENGTH - 40)}{more}"
    case = interruptions.ask_compliance(climb, reason, {"broken": [_told(each) for each in found]})
    for each in found:
        each.case = case
        (climb.writes.violations if each.pk is None else climb.writes.taken_in).append(each)


def _rule(climb: Climb, key: str) -> tables.Check | None:
    if not key:
        return None
    active = tables.active_policy()
    policies = [climb.policy] if active is None else [active, climb.policy]
    for policy in policies:
        for each in policy.checks:
            if each.key == key and each.action in ("", climb.request.action_type.key):
                return each
    raise Unprocessable(
        f"No rule for this action has the key {wording.plain(key, 60)}. {NOTHING_STORED}"
    )


def _of_rule(climb: Climb, broken: Broken) -> Violation:
    check = broken.check
    return Violation(
        request=climb.request,
        check_key=check.key,
        check_revision=check.revision,
        check_name=check.name,
        expression_hash=check.expression_hash,
        text=wording.plain(broken.text, TEXT_LENGTH) or check.name,
        facts=list(broken.values),
        at=climb.now,
    )


def _is_said_already(violation: Violation, climb: Climb) -> bool:
    """Whether the same was said of it and is not settled: by the same rule, or in the same words by the same."""
    if climb.request._state.adding:
        return False
    open_still = Q(case__isnull=True) | Q(case__state=Case.State.OPEN)
    said = Violation.objects.filter(
        open_still,
        request=climb.request.pk,
        settled_at__isnull=True,
        check_key=violation.check_key,
    )
    if violation.check_key:
        said = said.filter(check_revision=violation.check_revision)
    else:
        said = said.filter(
            text=violation.text, by_agent=violation.by_agent_id, by_person=violation.by_person_id
        )
    return bool(said.exists())


def _join(climb: Climb, found: Sequence[Violation]) -> Became:
    case = climb.case
    if case is None or case.exception != ExceptionType.POLICY_VIOLATION:
        raise ValueError(f"{climb.request.ref} is blocked, and no violation says why")
    for each in found:
        each.case = case
        climb.act.record(climb.request, "violation.joined", **_told(each))
    climb.writes.violations += found
    asked = {ask.person_id for ask in climb.asks if ask.due_at}
    notifying.told(
        climb.writes, asked, climb.request, climb.people, what="violation_joined", now=climb.now
    )
    return Became.JOINED


def _stop(climb: Climb, found: Sequence[Violation]) -> Became:
    """A worker has the lease: it reads the order before its next unit, and stops."""
    for each in found:
        climb.act.record(climb.request, "violation.reported", **_told(each))
    climb.writes.violations += found
    standing = Order.objects.filter(
        request=climb.request, kind=Order.Kind.BLOCK, closed_at__isnull=True
    )
    if not standing.exists():
        climb.writes.orders.append(
            Order(
                request=climb.request,
                kind=Order.Kind.BLOCK,
                reason=found[0].text,
                ordered_at=climb.now,
            )
        )
    return Became.STOPPING


def _review(climb: Climb, found: Sequence[Violation]) -> Became:
    """Nothing can be stopped any more, and something of it is in the target: somebody independent looks at it."""
    request = climb.request
    for each in found:
        each.settled_at = climb.now
        climb.act.record(request, "violation.reported", state=request.state, **_told(each))
    climb.writes.violations += found
    _open_review(climb, found[0].text)
    return Became.REVIEW


def _open_review(climb: Climb, reason: str) -> None:
    """Have it looked at, unless somebody has to already; compliance is told."""
    request, kind = climb.request, Review.Kind.VIOLATION
    if not Review.objects.filter(request=request, kind=kind, state=Review.State.OPEN).exists():
        open_review(climb.writes, climb.act, request, kind, reason)
        policy = climb.policy
        climb.call_in(
            replace(
                climb.offices,
                compliance=policy.compliance,
                head_of_compliance=policy.head_of_compliance,
            )
        )
        told = {*policy.compliance, *policy.head_of_compliance}
        notifying.told(
            climb.writes, told, request, climb.people, what="violation_after", now=climb.now
        )


def _keep(climb: Climb, found: Sequence[Violation], became: Became) -> Became:
    for each in found:
        each.settled_at = climb.now
        climb.act.record(
            climb.request,
            "violation.recorded",
            became=became,
            state=climb.request.state,
            **_told(each),
        )
    climb.writes.violations += found
    return became


def _told(violation: Violation) -> dict[str, object]:
    """Return a report as the record and the case keep it."""
    return {
        "check": violation.check_key,
        "revision": violation.check_revision,
        "expression": violation.expression_hash,
        "text": violation.text,
        "values": violation.facts,
    }


def obey(climb: Climb) -> None:
    """No worker has the lease any more: block it for what was reported meanwhile, and close the order to stop."""
    request = climb.request
    if request.is_open and request.state != S.ROLLING_BACK:
        block(climb)
        return
    # It ended, or is being undone: what is left is to look at it.
    found = list(_waiting(request))
    endings.close_orders(climb, Order.Kind.BLOCK, Order.Outcome.CARRIED_OUT)
    _waiting(request).update(settled_at=climb.now)
    if request.has_effects:
        _open_review(climb, found[0].text)


def settle_reports(climb: Climb) -> None:
    """A case of a violation is over: nothing is left to do about what was reported in it."""
    if isinstance(climb.case, Case) and climb.case.pk is not None:
        Violation.objects.filter(case=climb.case, settled_at__isnull=True).update(
            settled_at=climb.now
        )
