"""Requests that want the same record: who is held, who goes on, and what follows when one of them ends.

The case hangs from the newcomer that found others there, and its path asks
whoever owns the record. Every function here is called with the Resource locked,
by which all that want the record come one after the other. Source: DESIGN 2.2,
"Conflict".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet

from approvals import notifying
from approvals.models import OPEN, ActionRequest, Ask, Case, ConflictParty, Step
from approvals.services import asking, endings, interruptions
from approvals.services.asking import subject_of
from approvals.services.escalate import Climb
from approvals.services.gather import climbs
from approvals.services.writes import Writes
from governance import ladder, tables
from governance.ledger import Act
from governance.routing import hindrance
from governance.tables import Policy
from governance.vocabulary import ExceptionType, Level, Path

S = ActionRequest.State
P = ConflictParty.Role
R = ConflictParty.Ruling
WANTING = tuple(each for each in OPEN if each != S.BLOCKED)  # besides whatever has the key


def wanting(resource: int) -> QuerySet[ActionRequest]:
    """Return the requests that a newcomer for this record collides with."""
    live: QuerySet[ActionRequest] = ActionRequest.objects.filter(
        Q(state__in=WANTING) | Q(holds_key=True),
        resource=resource,
    )
    return live


def look_afresh(climb: Climb) -> bool:
    """A request for a record was blocked, and is no longer: it comes as if just now. Returns whether others want it.

    Its Resource is locked.
    """
    request = climb.request
    if request.resource_id is None:
        return False
    live = wanting(request.resource_id).exclude(pk=request.pk)
    locked = live.select_for_update(no_key=True, of=("self",)).select_related(
        "agent", "action_type"
    )
    others = list(locked.order_by("pk"))
    if others and request.resource is not None:
        owner = climb.policy.owner_of(request.resource.key)
        climb.call_in(replace(climb.offices, owner=() if owner is None else (owner,)))
        meet(climb, others)
    return bool(others)


def wait_of(policy: Policy, *, critical: bool) -> timedelta:
    """Return how long a conflict may last: the sum of its windows.

    Args:
        critical: the newcomer that carries it is of a critical process.
    """
    rungs = ladder.rungs(Path.CONFLICT, critical=critical)
    return sum((policy.windows[Path.CONFLICT, rung] for rung in rungs), timedelta(0))


# --- Arriving ---


def meet(newcomer: Climb, others: Sequence[ActionRequest]) -> None:
    """A request came for a record that these want: hold it, and those of them that have not begun.

    It joins the case that is open; otherwise it carries one of its own.

    Args:
        newcomer: nobody was asked about it yet.
        others: locked, with agent and action type, oldest first; at least one.
    """
    if newcomer.request.state != S.HELD:
        interruptions.hold(newcomer, by=newcomer.request.ref)
    joined = Case.objects.filter(
        request__in=[each.pk for each in others],
        exception=ExceptionType.CONFLICT,
        state=Case.State.OPEN,
    ).first()
    if joined is None:
        _carry(newcomer, others)
        return
    carrying = [each for each in others if each.pk == joined.request_id]
    (carrier,) = climbs(carrying, newcomer.writes, now=newcomer.now, after=newcomer.act)
    _join(newcomer, joined, carrier)
    carrier.settle()


def _carry(newcomer: Climb, others: Sequence[ActionRequest]) -> None:
    now, writes, ref = newcomer.now, newcomer.writes, newcomer.request.ref
    stopped = climbs(
        [each for each in others if _may_be_held(each)], writes, now=now, after=newcomer.act
    )
    newcomer.beside = frozenset(_behind(others))
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    interruptions.disagree(
        newcomer,
        f"{others[0].ref}{more} wants the same record.",
        facts={"others": [each.ref for each in others]},
    )
    case = newcomer.case
    if case is None:
        raise ValueError(f"{ref} came into a conflict that has no case")
    newcomer.party = _party(newcomer, case, P.CARRIER)
    wait = wait_of(newcomer.policy, critical=newcomer.critical)
    for climb in stopped:
        climb.request.held_once = True  # by a newcomer: it is not stopped a second time
        interruptions.hold(climb, by=ref)
        climb.party = _party(climb, case, P.EARLIER, until=now + wait)
        climb.settle()
        _tell(climb, "held")
    held = {climb.request.pk for climb in stopped}
    writes.parties += [  # further on, or stopped before: nothing stops them
        ConflictParty(case=case, request=each, role=P.EARLIER, joined_at=now)
        for each in others
        if each.pk not in held
    ]


def _join(newcomer: Climb, case: Case, carrier: Climb) -> None:
    """It joins the case that another one carries; whoever was asked is told, or passed over if it is theirs."""
    now = newcomer.now
    until = now + wait_of(newcomer.policy, critical=carrier.critical)
    newcomer.party = _party(newcomer, case, P.NEWCOMER, until=until)
    newcomer.act.record(newcomer.request, "conflict.joined", carrier=carrier.request.ref)
    carrier.act.record(carrier.request, "conflict.joined", by=newcomer.request.ref)
    carrier.beside |= frozenset(_behind([newcomer.request]))
    asked = {ask.person_id for ask in carrier.asks if ask.due_at}
    subject, history = subject_of(carrier.request), carrier.history
    found = (
        hindrance(
            carrier.people.by_pk[pk], subject=subject, history=history, now=now, deciding=False
        )
        for pk in sorted(asked)
    )
    gone = [each for each in found if each is not None]
    if gone:
        asking.pass_over(carrier, gone)
    staying = asked - {each.person for each in gone}
    notifying.told(carrier.writes, staying, carrier.request, carrier.people, what="joined", now=now)


def _may_be_held(request: ActionRequest) -> bool:
    """Whether a newcomer stops it: it has not begun, and none has stopped it before."""
    begun = request.lease_until is not None
    return request.state in (S.PENDING, S.APPROVED) and not begun and not request.held_once


def _behind(requests: Iterable[ActionRequest]) -> set[int]:
    """Return the owners of the agents that ask for these, and those they act for."""
    pairs = ((each.agent.owner_id, each.on_behalf_of_id) for each in requests)
    return {person for pair in pairs for person in pair if person is not None}


def _party(
    climb: Climb, case: Case, role: ConflictParty.Role, *, until: datetime | None = None
) -> ConflictParty:
    # One that was blocked meanwhile comes back to the case it had left.
    before = ConflictParty.objects.filter(case=case.pk, request=climb.request.pk)
    party = before.first() if climb.was == S.BLOCKED and case.pk is not None else None
    if party is not None:
        party.joined_at, party.left_at = climb.now, None
        party.was_held, party.held_until = True, until
        climb.writes.changed_parties.append(party)
        return party
    party = ConflictParty(
        case=case,
        request=climb.request,
        role=role,
        joined_at=climb.now,
        was_held=True,
        held_until=until,
    )
    climb.writes.parties.append(party)
    return party


def _tell(climb: Climb, what: str) -> None:
    """Tell those who were asked about it before."""
    notifying.told(
        climb.writes, climb.everybody_asked, climb.request, climb.people, what=what, now=climb.now
    )


# --- Waiting long enough ---


def run_out(climb: Climb) -> bool:
    """The clock of a held request ran out: climb its case's path, or let go of it. Always true."""
    if climb.step is not None:
        climb.run_out()
        return True
    party = _party_of(climb)
    until = _until(party.case) if party.case.state == Case.State.OPEN else None
    if party.ruling:
        endings.expire(climb, "queue")
    elif until is not None and until > climb.now:
        # The path began a rung late: whoever is asked has their time, and nobody goes past them.
        party.held_until = until
        climb.writes.changed_parties.append(party)
        climb.act.record(climb.request, "conflict.prolonged", until=until)
        return True
    elif party.role == P.EARLIER:
        go_on(climb)
    else:
        endings.expire(climb, "silence")
    leave(climb, party)
    return True


def _until(case: Case) -> datetime | None:
    """Return when the path of an open case is over, if nobody answers; None if nothing waits."""
    step = Step.objects.filter(case=case, state=Step.State.WAITING).first()
    if step is None or step.due_at is None:
        return None
    windows = tables.policy(case.request.policy_id).windows
    critical = case.request.action_type.is_critical
    rungs = ladder.rungs(Path.CONFLICT, critical=critical)
    above = [rung for rung in rungs if rung > Level(step.level)]
    ahead = sum((windows[Path.CONFLICT, rung] for rung in above), timedelta(0))
    due_at: datetime = step.due_at
    return due_at + ahead


# --- Ruling ---


def rule(
    parties: Sequence[Climb], *, order: Sequence[str], queue_cap: timedelta, by: int, note: str
) -> None:
    """Put the requests that are held in order; those not in it are refused. The case is resolved.

    The first goes on as soon as nobody has the record, which may be at once; the
    others each after the one before.

    Args:
        parties: all that the case holds, the one that carries it first.
        order: refs.
        by: primary key of whoever rules.
    """
    carrier = parties[0].request.ref
    for climb in parties:
        party, ref = _party_of(climb), climb.request.ref
        if ref not in order:
            party.ruling = R.REFUSED
            endings.reject(climb, "refused", by=by, carrier=carrier, note=note)
            leave(climb, party)
        else:
            place = order.index(ref)
            party.ruling = R.QUEUED if place else R.FIRST
            party.position, party.held_until = place, climb.now + queue_cap
            climb.writes.changed_parties.append(party)
            climb.act.record(
                climb.request, "conflict.ordered", place=place, carrier=carrier, note=note
            )


# --- Writing, and what follows ---


def save(writes: Writes, *, now: datetime) -> None:
    """Write what was moved, and see to those who waited for what ended by it: one transaction."""
    writes.save()
    follow(writes, now=now)


def follow(writes: Writes, *, now: datetime, new: ActionRequest | None = None) -> bool:
    """See to those who waited for what ended by these writes, which are in the database.

    Args:
        new: a request that was inserted with them.

    Returns whether anybody moved. Objects of requests that did are as they were.
    """
    moved = [(was, each) for was, requests in writes.moved.items() for each in requests]
    if new is not None:
        moved.append(("", new))
    ended = {
        each.resource_id
        for was, each in moved
        if each.resource_id is not None and each.state != was and not _still_wants(each)
    }
    if not ended:
        return False
    held = ActionRequest.objects.filter(state=S.HELD, resource__in=ended)
    found = sorted(set(held.values_list("resource_id", flat=True)))
    # Of a sweep's batch no one act is the cause of it all.
    after = writes.acts[0]
    if len(moved) > 1 and len({act.cause for act in writes.acts}) > 1:
        after = Act(now=now, actor=after.actor)
    return sum(see_to(resource, now=now, after=after) for resource in found) > 0


def _still_wants(request: ActionRequest) -> bool:
    """Whether others wait for it: what is blocked without the key left its conflict."""
    return request.is_open and (request.state != S.BLOCKED or request.holds_key)


def see_to(resource: int, *, now: datetime, after: Act) -> int:
    """Have everyone whom a conflict over this record need not hold any longer go on or end.

    Args:
        after: the act by which that came.

    Returns how many moved.
    """
    moved = 0
    while count := _see_to_once(resource, now, after):
        moved += count
    return moved


def _see_to_once(resource: int, now: datetime, after: Act) -> int:
    """Move those who move whatever the others do; if there are none, whoever is next."""
    held = ActionRequest.objects.filter(resource=resource, state=S.HELD).order_by("pk")
    writes = Writes()
    locked = held.select_for_update(no_key=True, of=("self",))
    waiting = climbs(list(locked), writes, now=now, after=after)
    moved = [climb for climb in waiting if _is_let_go(climb)] or _next(waiting, resource)
    for climb in moved:
        climb.settle()
    writes.save()
    return len(moved)


def _is_let_go(climb: Climb) -> bool:
    """Let go of it if its conflict ended without a ruling and it has nothing to wait for. Returns whether it did."""
    party = _party_of(climb)
    case = party.case
    if case.state == Case.State.OPEN or case.outcome == Case.Outcome.RULED:
        return False
    if party.role == P.EARLIER:
        go_on(climb)
    elif case.outcome == Case.Outcome.EXPIRED:
        endings.expire(climb, "silence")
    else:
        return False
    leave(climb, party)
    return True


def _next(waiting: Sequence[Climb], resource: int) -> list[Climb]:
    """Move those who may move as things stand, and return them."""
    # Newcomers whose carrier has left are treated as if they had come just now, oldest first.
    again = [climb for climb in waiting if _has_lost_its_carrier(climb)]
    carrier = next((each for each in waiting if each.case is not None and _carries(each)), None)
    if again and carrier is not None:
        return _join_again(again, carrier)
    if again:
        return [_arrive_again(again, resource)]
    for climb in waiting:
        party = _party_of(climb)
        if party.case.state == Case.State.OPEN:
            if party.role != P.CARRIER or _others_of(party).exists():
                continue
            climb.close_step(answered=False)
            climb.resolve_case(Case.Outcome.LEFT)
            climb.go_back_to_case()
        elif party.case.outcome != Case.Outcome.RULED or _is_preceded(party, resource):
            continue
        go_on(climb)
        leave(climb, party)
        return [climb]
    return []


def _carries(climb: Climb) -> bool:
    party = _party_of(climb)
    return party.role == P.CARRIER and party.case.state == Case.State.OPEN


def _has_lost_its_carrier(climb: Climb) -> bool:
    party = _party_of(climb)
    over = party.case.state != Case.State.OPEN and party.case.outcome != Case.Outcome.RULED
    return over and party.role != P.EARLIER


def _join_again(again: Sequence[Climb], carrier: Climb) -> list[Climb]:
    moved = [carrier]
    case = _party_of(carrier).case
    for climb in again:
        if carrier.step is None:
            break  # nobody is left who may rule on them all; those left are looked at again
        leave(climb, _party_of(climb))
        _join(climb, case, carrier)
        moved.append(climb)
    return moved


def _arrive_again(again: Sequence[Climb], resource: int) -> Climb:
    first = again[0]
    others = wanting(resource).exclude(pk__in=[each.request.pk for each in again])
    locked = others.select_for_update(no_key=True, of=("self",)).select_related(
        "agent", "action_type"
    )
    before = list(locked.order_by("pk"))
    leave(first, _party_of(first))
    if before:
        _carry(first, before)
    else:
        go_on(first)
    return first


def _others_of(party: ConflictParty) -> QuerySet[ConflictParty]:
    """Return the other parties that still want the record, whether or not they wait for the case."""
    wants = Q(request__state__in=WANTING) | Q(request__holds_key=True)
    return ConflictParty.objects.filter(wants, case=party.case_id).exclude(pk=party.pk)


def _is_preceded(party: ConflictParty, resource: int) -> bool:
    """Whether somebody is before it in the queue, or has the key."""
    wants = Q(request__state__in=WANTING) | Q(request__holds_key=True)
    ahead = Q(ruling="") | Q(ruling=R.FIRST) | Q(ruling=R.QUEUED, position__lt=party.position or 0)
    others = ConflictParty.objects.filter(wants, ahead, case=party.case_id).exclude(pk=party.pk)
    holders = ActionRequest.objects.filter(resource=resource, holds_key=True)
    return bool(others.exists() or holders.exists())


def go_on(climb: Climb) -> None:
    """It is held no longer: it waits where it stood, or may begin as it was approved.

    Whether the record is as it was at submission is asked of the target right before
    anything is done (`rollback.services.before`). Where it was not known then, it ends.
    """
    request = climb.request
    if request.approved_at is not None:
        at_once = climb.party is not None and climb.party.joined_at == climb.now
        if (at_once or request.basis_digest) and not _is_taken(request):
            interruptions.be_ready_again(climb)
        else:
            endings.expire(climb, "basis_changed")
        return
    stood = climb.paused
    asks = [] if stood is None else list(Ask.objects.filter(step=stood).order_by("pk"))
    interruptions.wait_again(climb, asks)


def _is_taken(request: ActionRequest) -> bool:
    same = ActionRequest.objects.filter(resource=request.resource_id, holds_key=True)
    return bool(same.exclude(pk=request.pk).exists())


def leave(climb: Climb, party: ConflictParty) -> None:
    """It waits for this conflict no longer."""
    party.left_at = climb.now
    climb.writes.changed_parties.append(party)
    if climb.party is party:
        climb.party = None


def _party_of(climb: Climb) -> ConflictParty:
    if climb.party is None:
        raise ValueError(f"{climb.request.ref} is held, and no conflict holds it")
    return climb.party
