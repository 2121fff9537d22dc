"""Whoever is asked about a failure says how it goes on: tried again now, undone, or finished by hand.

The same for what could not be undone by itself. Source: DESIGN 2.2, "System failure".
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction

from approvals import notifying, undoing
from approvals.locks import lock_request
from approvals.models import ActionRequest, Ask, Claim, Decision, Order
from approvals.services import bypass, conflicts, decide, endings
from approvals.services.escalate import Climb
from approvals.services.gather import climbs
from approvals.services.writes import Writes
from governance import actors
from governance.errors import AlreadyDecided, DigestChanged, NotNow, NotYours, Unprocessable
from governance.ladder import BEGIN_WITHIN, UNDO_WITHIN
from governance.models import Person
from governance.routing import MENDS
from governance.stepup import Presence
from governance.vocabulary import Path, Verdict
from governance.wake import wake_clock

S = ActionRequest.State
ANSWERS = (Verdict.RETRY, Verdict.ROLL_BACK, Verdict.BY_HAND)
HARMLESS = frozenset({Verdict.ROLL_BACK})  # silence would come to the same, so it overrides nobody
VERDICTS = {
    Path.SYSTEM_FAILURE: ANSWERS,
    Path.UNDO: (Verdict.RETRY, Verdict.BY_HAND),
}
# How long the worker may ask the target what became of open intents before the person says so.
ASKED_FIRST = timedelta(minutes=5)
IN_DOUBT = ("sent", "unknown")  # states of units whose outcome nobody knows yet
NOTHING_STORED = "Your decision was not recorded."


@transaction.atomic
def mend(
    *,
    ref: str,
    actor: Person,
    verdict: str,
    digest: str,
    now: datetime,
    note: str = "",
    via: str = Decision.Via.PAGE,
    presence: Presence | None = None,
) -> ActionRequest:
    """Answer a step on the paths of a system failure or of an undo.

    "retry" has the next attempt made at once; where it fails, the path's next
    rung is asked. "roll_back" undoes what was done, and needs nobody's second
    signature: silence would come to the same. "by_hand" takes it over, from
    whoever has it now if somebody does: nothing is tried by itself until it is
    given back.

    Args:
        presence: the second factor that the actor gave for this request a moment ago, if
            they did. At L4 all but rolling back takes one, and a note, and is reviewed.

    Raises:
        NoSecondFactor, StepUpNeeded: there is none where one is needed.
        AlreadyDecided, TooLate, NotYours: as for a decision.
        NotNow: another answer comes first: somebody has it in hand, or a rollback is ordered.
        DigestChanged: the digest is not the request's.
        Unprocessable: no such verdict here; or no justification where others are overridden.
    """
    note = decide.checked_note(note)
    request = lock_request(ref, and_resource=True)
    writes = Writes()
    (climb,) = climbs([request], writes, actor=actors.person(actor), now=now)
    if not Ask.objects.filter(
        step__request=request, person=actor, path__in=MENDS, asked_at__isnull=False
    ).exists():
        raise NotYours(f"You are not asked how this goes on. {NOTHING_STORED}")
    step = decide.step_of(climb, actor, now)
    path = Path(step.path)
    if path not in MENDS:
        raise NotNow(f"Nobody asks how this goes on. {NOTHING_STORED}")
    if verdict not in VERDICTS[path]:
        raise Unprocessable(f"Say {' or '.join(VERDICTS[path])}. {NOTHING_STORED}")
    if digest != request.digest:
        raise DigestChanged(
            "This is not what the page showed you. Open the request again and look before you decide."
        )
    decide.still_may(climb, actor, deciding=False)
    why = why_not(request, climb.claim, actor, verdict)
    if why is not None:
        kind = AlreadyDecided if _has_it(climb.claim, actor) else NotNow
        raise kind(f"{why} {NOTHING_STORED}")
    override = bypass.sign(
        climb, step, actor=actor, presence=presence, note=note, harmless=verdict in HARMLESS
    )
    decision = Decision(
        step=step, request=request, person=actor, verdict=verdict, note=note, digest=digest,
        via=via, at=now, **override._asdict(),
    )  # fmt: skip
    climb.decisions = [*climb.decisions, decision]
    writes.decisions.append(decision)
    climb.act.record(
        request, "step.decided", path=path, level=step.level, verdict=verdict, digest=digest,
        note=note, via=via, bypass=decision.is_bypass,
        reauthenticated_at=decision.reauthenticated_at,
    )  # fmt: skip
    if verdict == Verdict.BY_HAND:
        _take_in_hand(climb, actor)
    elif verdict == Verdict.RETRY:
        _try_now(climb, actor, note)
    elif request.has_effects:
        endings.undo(climb, reason=note or f"The {actor} ordered it.", by=actor)
    else:
        climb.close_step(answered=True)
        endings.expire(climb, "target")
    climb.settle()
    conflicts.save(writes, now=now)
    wake_clock(now)
    return request


def why_not(
    request: ActionRequest, claim: Claim | None, person: Person, verdict: str
) -> str | None:
    """Return why this answer cannot be given now by somebody who is asked, or None if it can.

    Args:
        claim: the one that is open.
    """
    if _has_it(claim, person):
        return "You have it in hand. Finish it, or give it back first."
    if claim is not None and verdict != Verdict.BY_HAND:
        return (
            f"The {claim.person} has it in hand, so nothing else is done with it until they give it"
            " back, or you take it over."
        )
    order = undoing.open_rollback(request) if claim is None else None  # it waits for the hand
    if request.state == S.TROUBLED and order is not None and not undoing.waits_for_second(order):
        return "It is ordered to be rolled back, and that comes first."
    return None


def _has_it(claim: Claim | None, person: Person) -> bool:
    return claim is not None and claim.person_id == person.pk


def _is_leased(climb: Climb) -> bool:
    """Whether a call may be under way, whose answer is taken first."""
    until = climb.request.lease_until
    return until is not None and until > climb.now


def _begins(climb: Climb) -> datetime:
    until = climb.request.lease_until
    return until if until is not None and until > climb.now else climb.now


def _try_now(climb: Climb, actor: Person, note: str) -> None:
    """Have it attempted at once, or as soon as the call under way is over, within a time of its own."""
    request = climb.request
    within = UNDO_WITHIN if request.state == S.ROLLING_BACK else BEGIN_WITHIN
    climb.close_step(answered=True)
    request.next_attempt_at = _begins(climb)
    request.run_deadline = request.next_attempt_at + within
    if _is_leased(climb):
        _order(climb, Order.Kind.RETRY, actor, note)


def _order(
    climb: Climb, kind: Order.Kind, actor: Person, note: str, due_at: datetime | None = None
) -> None:
    """Leave word for the runner. One order of a kind stands at a time, and this takes its place."""
    endings.close_orders(climb, kind, Order.Outcome.JOINED)
    climb.writes.orders.append(
        Order(
            request=climb.request, kind=kind, reason=note, ordered_by=actor, ordered_at=climb.now,
            case=climb.case, due_at=due_at,
        )
    )  # fmt: skip
    climb.act.record(climb.request, "order.placed", order=kind, due_at=due_at)


def _take_in_hand(climb: Climb, actor: Person) -> None:
    """From here on a person may write to the target, and nothing is sent by itself.

    The step keeps its clock: at its end the next rung is asked, and may take over.
    """
    request, before = climb.request, climb.claim
    if before is not None:
        endings.close_claim(climb, before)
        notifying.told(
            climb.writes, {before.person_id}, request, climb.people, what="taken_over",
            now=climb.now, by=str(actor),
        )  # fmt: skip
    claim = Claim(
        request=request,
        case=climb.case,
        person=actor,
        claimed_at=climb.now,
        units=before.units if before is not None else [],
        taken_over_from=before,
    )
    claim.save(force_insert=True)
    climb.claim = claim
    climb.act.record(
        request, "claim.taken",
        taken_over_from=climb.username(before.person_id) if before is not None else None,
    )  # fmt: skip
    # What the person does in the target before they say so must not be called nothing.
    request.has_effects = request.had_effects = True
    if not _is_leased(climb):
        request.let_go()  # a worker that fell silent has no more to say
    request.next_attempt_at = None
    open_intents = request.units.filter(state__in=IN_DOUBT).exists()
    if _is_leased(climb) or open_intents:
        request.next_attempt_at = _begins(climb)
        _order(
            climb, Order.Kind.BY_HAND, actor, "",
            due_at=request.next_attempt_at + ASKED_FIRST,
        )  # fmt: skip
