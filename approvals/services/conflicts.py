"""Requests that want the same record: who is held, who goes on, and what follows when one of them ends.

The case hangs from the newcomer that found others there, and its path asks
whoever owns the record. Every function here is called with the Resource locked,
by which all that want the record come one after the other. Source: DESIGN 2.2,
"Conflict".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet

from approvals import notifying
from approvals.models import OPEN, ActionRequest, Ask, Case, ConflictParty
from approvals.services import endings
from approvals.services.escalate import Climb, subject_of
from approvals.services.gather import climbs
from approvals.services.writes import Writes
from governance import actors, ladder
from governance.routing import hindrance
from governance.tables import Policy
from governance.vocabulary import ExceptionType, Path

S = ActionRequest.State
P = ConflictParty.Role
R = ConflictParty.Ruling


def wanting(resource: int) -> QuerySet[ActionRequest]:
    """Return the requests that a newcomer for this record collides with."""
    live: QuerySet[ActionRequest] = ActionRequest.objects.filter(
        Q(state__in=[each for each in OPEN if each != S.BLOCKED]) | Q(holds_key=True),
        resource=resource,
    )
    return live


def wait_of(policy: Policy) -> timedelta:
    """Return how long a conflict may last: the sum of its windows."""
    rungs = ladder.rungs(Path.CONFLICT)
    return sum((policy.windows[Path.CONFLICT, rung] for rung in rungs), timedelta(0))


# --- Arriving ---


def meet(newcomer: Climb, others: Sequence[ActionRequest]) -> None:
    """A request came for a record that these want: hold it, and those of them that have not begun.

    It joins the case that is open; otherwise it carries one of its own.

    Args:
        newcomer: nobody was asked about it yet.
        others: locked, oldest first; at least one.
    """
    if newcomer.request.state != S.HELD:
        newcomer.hold()
    joined = Case.objects.filter(
        request__in=[each.pk for each in others],
        exception=ExceptionType.CONFLICT,
        state=Case.State.OPEN,
    ).first()
    if joined is None:
        _carry(newcomer, others)
    else:
        carrier = next(each for each in others if each.pk == joined.request_id)
        _join(newcomer, joined, carrier)


def _carry(newcomer: Climb, others: Sequence[ActionRequest]) -> None:
    now, writes = newcomer.now, newcomer.writes
    stopped = climbs(
        [each for each in others if _may_be_held(each)], writes, actor=newcomer.act.actor, now=now
    )
    newcomer.beside = frozenset(_behind(others))
    first = others[0]
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    newcomer.disagree(
        f"{first.ref}{more} wants the same record.",
        facts={"others": [each.ref for each in others]},
    )
    case = newcomer.case
    if case is None:
        raise ValueError(f"{newcomer.request.ref} came into a conflict that has no case")
    newcomer.party = _party(writes, newcomer, case, P.CARRIER, held=True)
    until = now + wait_of(newcomer.policy)
    for climb in stopped:
        climb.hold()
        climb.party = _party(writes, climb, case, P.EARLIER, held=True, until=until)
        climb.settle()
        _tell(climb, "held")
    for each in others:
        if not any(climb.request is each for climb in stopped):
            _go_by(writes, case, each, now)


def _join(newcomer: Climb, case: Case, carrier: ActionRequest) -> None:
    now, writes = newcomer.now, newcomer.writes
    newcomer.party = _party(
        writes, newcomer, case, P.NEWCOMER, held=True, until=now + wait_of(newcomer.policy)
    )
    newcomer.act.record(newcomer.request, "conflict.joined", carrier=carrier.ref)
    (climb,) = climbs([carrier], writes, actor=newcomer.act.actor, now=now)
    climb.act.record(carrier, "conflict.joined", by=newcomer.request.ref)
    climb.beside |= frozenset(_behind([newcomer.request]))
    asked = [ask for ask in climb.asks if ask.due_at]
    found = [
        hindrance(
            climb.people.by_pk[ask.person_id],
            subject=subject_of(climb.request), history=climb.history, now=now, deciding=False,
        )
        for ask in asked
    ]  # fmt: skip
    gone = [each for each in found if each is not None]
    if gone:
        climb.pass_over(gone)
    staying = {ask.person_id for ask in asked} - {each.person for each in gone}
    notifying.told(writes, staying, carrier, climb.people, what="joined", now=now)
    climb.settle()


def _may_be_held(request: ActionRequest) -> bool:
    """Whether a newcomer stops it: it has not begun, and none has stopped it before."""
    begun = request.lease_until is not None
    return request.state in (S.PENDING, S.APPROVED) and not begun and not request.held_once


def _behind(requests: Iterable[ActionRequest]) -> set[int]:
    """Return the owners of the agents that ask for these, and those they act for."""
    pairs = ((each.agent.owner_id, each.on_behalf_of_id) for each in requests)
    return {person for pair in pairs for person in pair if person is not None}


def _party(
    writes: Writes,
    climb: Climb,
    case: Case,
    role: ConflictParty.Role,
    *,
    held: bool,
    until: datetime | None = None,
) -> ConflictParty:
    party = ConflictParty(
        case=case,
        request=climb.request,
        role=role,
        joined_at=climb.now,
        was_held=held,
        held_until=until,
    )
    writes.parties.append(party)
    return party


def _tell(climb: Climb, what: str) -> None:
    """Tell those who were asked about it before."""
    notifying.told(
        climb.writes, climb.everybody_asked, climb.request, climb.people, what=what, now=climb.now
    )


def _go_by(writes: Writes, case: Case, request: ActionRequest, now: datetime) -> None:
    """It is further on, or was held before: a party that nothing stops."""
    writes.parties.append(ConflictParty(case=case, request=request, role=P.EARLIER, joined_at=now))


# --- Waiting long enough ---


def run_out(climb: Climb) -> bool:
    """The clock of a held request ran out: climb its case's path, or let go of it. Always true."""
    if climb.step is not None:
        climb.run_out()
        return True
    party = climb.party
    if party is None:
        raise ValueError(f"{climb.request.ref} is held, and no conflict holds it")
    if party.ruling == R.QUEUED:
        endings.expire(climb, "queue")
    elif party.role == P.EARLIER:
        go_on(climb)
    else:
        endings.expire(climb, "silence")
    leave(climb, party)
    return True


# --- Ruling ---


def rule(parties: Sequence[Climb], *, order: Sequence[str], queue_cap: timedelta) -> None:
    """Put the requests that are held in order; those not in it are refused. The case is resolved.

    The first goes on as soon as nobody has the record, which may be at once; the
    others each after the one before.

    Args:
        parties: all that the case holds.
        order: refs.
    """
    for climb in parties:
        party = climb.party
        if party is None:
            raise ValueError(f"{climb.request.ref} is in no conflict")
        ref = climb.request.ref
        if ref not in order:
            party.ruling = R.REFUSED
            endings.reject(climb, "refused")
            leave(climb, party)
        else:
            place = order.index(ref)
            party.ruling = R.QUEUED if place else R.FIRST
            party.position, party.held_until = place, climb.now + queue_cap
            climb.writes.changed_parties.append(party)
            climb.act.record(climb.request, "conflict.ordered", place=place)


# --- Writing, and what follows ---


def save(writes: Writes, *, now: datetime, new: ActionRequest | None = None) -> None:
    """Write what was moved, and see to those who waited for what ended by it: one transaction.

    Args:
        new: a request that is inserted by it.
    """
    ended = {
        request.resource_id
        for was, requests in writes.moved.items()
        if was in OPEN
        for request in requests
        if request.resource_id is not None and not request.is_open
    }
    if new is not None and new.resource_id is not None and not new.is_open:
        ended.add(new.resource_id)
    writes.save()
    if not ended:
        return
    held = ActionRequest.objects.filter(state=S.HELD, resource__in=ended)
    for resource in sorted(set(held.values_list("resource_id", flat=True))):
        see_to(resource, now=now)


def see_to(resource: int, *, now: datetime) -> int:
    """Have everyone whom a conflict over this record need not hold any longer go on or end. Returns how many."""
    moved = 0
    while changed := _see_to_once(resource, now):
        moved += changed
    return moved


def _see_to_once(resource: int, now: datetime) -> int:
    held = ActionRequest.objects.select_for_update(no_key=True, of=("self",)).filter(
        resource=resource, state=S.HELD
    )
    writes = Writes()
    waiting = climbs(list(held.order_by("pk")), writes, actor=actors.CLOCK, now=now)
    for climb in waiting:
        party = climb.party
        if party is None:
            raise ValueError(f"{climb.request.ref} is held, and no conflict holds it")
        if _move(climb, party):
            leave(climb, party)
            climb.settle()
            writes.save()
            return 1
    return 0


def leave(climb: Climb, party: ConflictParty) -> None:
    """It waits for this conflict no longer."""
    party.left_at = climb.now
    climb.writes.changed_parties.append(party)
    if climb.party is party:
        climb.party = None


def _move(climb: Climb, party: ConflictParty) -> bool:
    """Have one held request go on or end, if nothing keeps it. Returns whether it did."""
    case = party.case
    if case.state == Case.State.OPEN:
        return party.role == P.CARRIER and _is_alone(climb, party)
    if case.outcome == Case.Outcome.RULED:
        return not _before(party) and go_on(climb)
    if party.role == P.EARLIER:
        return go_on(climb)
    if case.outcome == Case.Outcome.EXPIRED:
        endings.expire(climb, "silence")
        return True
    return _arrive_again(climb, party)


def _is_alone(climb: Climb, party: ConflictParty) -> bool:
    """The others have ended or left before anybody ruled: nothing is left to rule on."""
    if _live(party.case_id, but=party).exists():
        return False
    climb.close_step(answered=False)
    climb.resolve_case(Case.Outcome.LEFT)
    climb.case = None
    return go_on(climb)


def _live(case: int, *, but: ConflictParty) -> QuerySet[ConflictParty]:
    """Return the other parties that still want the record."""
    wants = Q(request__state__in=OPEN) | Q(request__holds_key=True)
    return ConflictParty.objects.filter(wants, case=case, left_at__isnull=True).exclude(pk=but.pk)


def _before(party: ConflictParty) -> bool:
    """Whether somebody is before it in the queue, or has the key."""
    wants = Q(request__state__in=OPEN) | Q(request__holds_key=True)
    ahead = Q(ruling="") | Q(ruling=R.FIRST) | Q(ruling=R.QUEUED, position__lt=party.position or 0)
    others = ConflictParty.objects.filter(wants, ahead, case=party.case_id).exclude(pk=party.pk)
    holders = ActionRequest.objects.filter(resource=party.request.resource_id, holds_key=True)
    return bool(others.exists() or holders.exists())


def go_on(climb: Climb) -> bool:
    """It is held no longer: it waits where it stood, or ends if what was approved may have changed."""
    request = climb.request
    if request.approved_at is not None:
        # Its record is not known to be as it was when people said yes to it.
        endings.expire(climb, "basis_changed")
    else:
        asks = (
            []
            if climb.paused is None
            else list(Ask.objects.filter(step=climb.paused).order_by("pk"))
        )
        climb.wait_again(asks)
    return True


def _arrive_again(climb: Climb, party: ConflictParty) -> bool:
    """The newcomer that carried the case has left: this one is treated as if it had come just now."""
    request = climb.request
    if request.resource_id is None:
        raise ValueError(f"{request.ref} is in a conflict over no record")
    others = list(
        wanting(request.resource_id).exclude(pk=request.pk).select_related("agent").order_by("pk")
    )
    newcomers = ConflictParty.objects.filter(
        case=party.case_id, role=P.NEWCOMER, left_at__isnull=True
    )
    fellows = set(newcomers.values_list("request_id", flat=True))
    # The other newcomers of that case come after it.
    before = [each for each in others if each.pk not in fellows]
    if not before:
        return go_on(climb)
    meet(climb, before)
    return True
