"""How paths and actions end: closed, told, and seen by whoever has to see it. Silence never approves.

Each function takes a `Climb`, moves its locked request in memory and leaves the
rows with its `Writes`; the caller settles and saves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from approvals import notifying
from approvals.models import ActionRequest, Case, Claim, Order, Review
from approvals.services import alerts
from approvals.services.reviews import open_review
from governance import ladder
from governance.models import Person
from governance.vocabulary import Level, Path, Verdict

if TYPE_CHECKING:
    from approvals.services.escalate import Climb


MENDED = (Verdict.RETRY, Verdict.BY_HAND)


def end_of_path(climb: Climb, path: Path) -> None:
    """Nobody is left to ask: end what has no effects, undo what has, strand what cannot be undone."""
    climb.step = None
    if path == Path.UNDO:
        _strand_once_free(climb)
    elif path == Path.REJECTION:
        reject(climb, "rejected_in_silence")
        climb.writes.alerts.append(alerts.rejected(climb.request, now=climb.now))
    elif path == Path.POLICY_VIOLATION:
        deny(climb, "denied_in_silence")
    elif path != Path.SYSTEM_FAILURE:
        expire(climb, "silence")
    elif climb.claim is not None:
        _strand_once_free(climb)  # what its person did in the target, nobody knows
    elif climb.request.has_effects:
        undo(climb, reason="The target did not take it in time, so what was done is undone.")
    else:
        expire(climb, "target")
    _say_that_nobody_overrode(climb, path)


def _say_that_nobody_overrode(climb: Climb, path: Path) -> None:
    """Tell compliance that the last rung of a critical process was silent as well, or had nobody to ask."""
    # An executive who had it tried again, or has it in hand, did answer.
    answered = any(each.is_bypass and each.verdict in MENDED for each in climb.decisions)
    if Level.L4 in ladder.rungs(path, critical=climb.critical) and not answered:
        climb.writes.alerts.append(alerts.bypass_expired(climb.request, now=climb.now))


# Why an approval ended without anything done: how people are told, and which alert says so.
EXPIRED_FOR = {
    "silence": ("expired", alerts.expired),
    "target": ("failed", alerts.failed),
    "queue": ("queued_in_vain", alerts.queued_in_vain),
    "basis_changed": ("basis_changed", alerts.basis_changed),
}


def expire(climb: Climb, reason: str) -> None:
    """Nothing was done, and nothing will be.

    Args:
        reason: a key of EXPIRED_FOR.
    """
    request = climb.request
    request.let_go()
    request.expire(now=climb.now, reason=reason)
    climb.act.record(request, "request.expired", reason=reason)
    climb.resolve_case(Case.Outcome.EXPIRED)
    what, alert = EXPIRED_FOR[reason]
    _tell(climb, what)
    climb.writes.alerts.append(alert(request, now=climb.now))


def reject(climb: Climb, what: str, *, by: int | None = None, **facts: Any) -> None:
    """Somebody said no, and nobody may say otherwise any more; or a ruling went against it.

    Args:
        what: how people are told, a key of `approvals.channels.words.TOLD`.
        by: whose no or ruling ends it, if one does; they know.
        facts: JSON, for the record.
    """
    climb.request.reject(now=climb.now, reason="refused" if what == "refused" else "rejected")
    climb.act.record(climb.request, "request.rejected", how=what, **facts)
    climb.resolve_case(Case.Outcome.REJECTED)
    _tell(climb, what, but=by)


def deny(
    climb: Climb, what: str, *, by: int | None = None, outcome: Case.Outcome = Case.Outcome.DENIED
) -> None:
    """Compliance said no, or said nothing. What was done is undone first; the case keeps why.

    What somebody has in hand is stranded: nothing is undone by itself beside them.

    Args:
        what: how people are told, a key of `approvals.channels.words.TOLD`.
        by: whose answer ends it, if one does; they know.
        outcome: of the case: denied, or a change requested.
    """
    request = climb.request
    climb.close_step(answered=by is not None)
    climb.resolve_case(outcome)
    climb.go_back_to_case()
    climb.act.record(request, "request.denied", how=what, has_effects=request.has_effects)
    if climb.claim is not None:
        # Somebody may have done something by hand that our record does not know of yet.
        climb.give_up_paused()
        strand(climb)
        return
    if request.has_effects:
        climb.give_up_paused()
        undo(climb, reason="It broke a rule, so what was done is undone.")
    else:
        request.let_go()
        request.deny(now=climb.now, reason=str(outcome))
    _tell(climb, what, but=by)
    if by is None:
        climb.writes.alerts.append(alerts.denied(request, now=climb.now))


def complete(climb: Climb) -> None:
    """Every unit is done and checkpointed."""
    request = climb.request
    recovered = climb.case is not None
    climb.close_step(answered=True)
    request.complete(now=climb.now)
    climb.act.record(request, "request.completed")
    climb.resolve_case(Case.Outcome.RECOVERED)
    if recovered:
        _tell(climb, "recovered")
    else:
        notifying.state_changed(climb.writes, request, now=climb.now)


def undo(
    climb: Climb, *, reason: str, order: Order | None = None, by: Person | None = None
) -> None:
    """What was done is to be undone: by the end of a path, or because somebody ordered it.

    Args:
        order: the standing order that this obeys. None: the path's end needs
            nobody's, so it takes over the one that stands, or writes its own.
        by: who was asked on the path, and answered so. It needs nobody else's
            word: their silence would have come to the same.
    """
    request = climb.request
    # At a path's end not before the target wants to be asked again; what somebody orders begins at once.
    not_before = request.next_attempt_at if order is None and by is None else None
    if order is None:
        order = _standing_order(climb)
    climb.close_step(answered=by is not None)
    close_orders(climb, Order.Kind.RETRY, Order.Outcome.JOINED)
    request.roll_back()
    begins = max(climb.now, not_before or climb.now)
    if request.lease_until is not None and request.lease_until > climb.now:
        begins = max(begins, request.lease_until)  # a call may be under way: its answer first
    else:
        request.let_go()
    request.next_attempt_at = begins
    request.run_deadline = begins + ladder.UNDO_WITHIN
    climb.act.record(request, "request.rolling_back", reason=reason)
    if order is None:
        climb.writes.orders.append(
            Order(
                request=request,
                kind=Order.Kind.ROLL_BACK,
                reason=reason,
                ordered_by=by,
                ordered_at=climb.now,
                case=climb.case,
            )
        )
    notifying.state_changed(climb.writes, request, now=climb.now)


def _standing_order(climb: Climb) -> Order | None:
    """Return the order that stands, if it counts; one that waits for a second person is joined to this end."""
    standing = Order.objects.filter(
        request=climb.request, kind=Order.Kind.ROLL_BACK, closed_at__isnull=True
    ).first()
    if standing is None or not standing.needs_second or standing.confirmed_at is not None:
        return standing
    standing.outcome, standing.closed_at = Order.Outcome.JOINED, climb.now
    standing.save(update_fields=["outcome", "closed_at"])
    climb.act.record(climb.request, "rollback.joined", order=standing.reason)
    return None


def undone(climb: Climb) -> None:
    """Nothing of it is left in the target."""
    request = climb.request
    climb.close_step(answered=False)
    request.has_effects = False
    request.finish_rollback(now=climb.now)
    climb.act.record(request, "request.rolled_back")
    close_orders(climb, Order.Kind.ROLL_BACK, Order.Outcome.CARRIED_OUT)
    close_orders(climb, Order.Kind.RETRY, Order.Outcome.NOTHING_TO_DO)
    if climb.case is not None:
        climb.writes.alerts.append(alerts.undone(request, now=climb.now))
    climb.resolve_case(Case.Outcome.ROLLED_BACK)
    _tell(climb, "rolled_back")


def _strand_once_free(climb: Climb) -> None:
    request = climb.request
    if request.lease_until is not None and request.lease_until > climb.now:
        # A reversal may be in the call. Its answer is taken first; then this is looked at again.
        request.run_deadline = request.lease_until
    else:
        strand(climb)


def strand(climb: Climb) -> None:
    """Half done, not undone, nobody answered: red everywhere, and somebody owes a clean-up."""
    request = climb.request
    if request.state != ActionRequest.State.ROLLING_BACK:
        request.roll_back()
        notifying.state_changed(climb.writes, request, now=climb.now)
    request.strand(now=climb.now)
    climb.act.record(request, "request.stranded")
    for kind in (Order.Kind.ROLL_BACK, Order.Kind.RETRY, Order.Kind.BY_HAND):
        close_orders(climb, kind, Order.Outcome.FAILED)
    if climb.claim is not None:
        close_claim(climb, climb.claim)
    climb.resolve_case(Case.Outcome.STRANDED)
    why = "It was half done, could not be undone, and nobody answered."
    if climb.claim is not None:
        why = "Somebody had it in hand and did not say in time what came of it."
    open_review(climb.writes, climb.act, request, Review.Kind.CLEANUP, why)
    climb.writes.alerts.append(alerts.stranded(request, now=climb.now))
    _tell(climb, "stranded")


def close_claim(climb: Climb, claim: Claim) -> None:
    """Nobody has it in hand any more. The caller says in the record why."""
    claim.closed_at = climb.now
    claim.save()


def by_hand(climb: Climb, *, nothing_left: bool) -> None:
    """A person has settled it in the target, and whoever had to confirm that did.

    The caller has brought units and claim up to date.

    Args:
        nothing_left: nothing of it is in the target; otherwise all of it is.
    """
    request = climb.request
    was_undoing = request.state == ActionRequest.State.ROLLING_BACK
    climb.close_step(answered=True)
    close_orders(climb, Order.Kind.BY_HAND, Order.Outcome.JOINED)
    if nothing_left:
        if not was_undoing:
            request.roll_back()
            notifying.state_changed(climb.writes, request, now=climb.now)
        request.has_effects = False
        request.finish_rollback(now=climb.now)
        climb.act.record(request, "request.rolled_back", by_hand=True)
        close_orders(climb, Order.Kind.ROLL_BACK, Order.Outcome.CARRIED_OUT)
        climb.resolve_case(Case.Outcome.ROLLED_BACK)
        _tell(climb, "undone_by_hand")
        return
    request.complete_by_hand(now=climb.now)
    climb.act.record(request, "request.completed_manually")
    climb.resolve_case(Case.Outcome.BY_HAND)
    _tell(climb, "done_by_hand")


def _tell(climb: Climb, what: str, *, but: int | None = None) -> None:
    """Tell everybody who was asked, decided or signed an order, and the agent."""
    deciders = {each.person_id for each in climb.decisions}
    people = (climb.everybody_asked | deciders | climb.signers) - {but}
    notifying.told(climb.writes, people, climb.request, climb.people, what=what, now=climb.now)
    notifying.state_changed(climb.writes, climb.request, now=climb.now)


def close_orders(climb: Climb, kind: Order.Kind, outcome: Order.Outcome) -> bool:
    """Close the order of this kind that stands. Returns whether one did."""
    standing = Order.objects.filter(request=climb.request, kind=kind, closed_at__isnull=True)
    closed = bool(standing.update(outcome=outcome, closed_at=climb.now))
    if closed:
        climb.act.record(climb.request, "order.closed", order=kind, outcome=outcome)
    return closed
