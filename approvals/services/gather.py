"""Loads what a climb needs, for one request or for a batch, in a fixed number of queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from django.db.models import Model, Q, prefetch_related_objects

from approvals.models import (
    OPEN,
    ActionRequest,
    Ask,
    Case,
    Claim,
    ConflictParty,
    Decision,
    Order,
    Review,
    Step,
)
from approvals.services.escalate import Climb, Handed
from approvals.services.writes import Writes
from governance import tables
from governance.ledger import Act
from governance.models import ActionType, Agent
from governance.reads import GivenKeys, Read, ReadObjects, together
from governance.routing import Offices
from governance.vocabulary import Path

HELD = ActionRequest.State.HELD
BLOCKED = ActionRequest.State.BLOCKED
REQUESTS = GivenKeys("requests")
read_waiting: ReadObjects[Step] = ReadObjects(
    lambda: Step.objects.filter(request__among=REQUESTS, state=Step.State.WAITING)
)
read_asks: ReadObjects[Ask] = ReadObjects(  # of the steps that wait
    lambda: Ask.objects.filter(
        step__request__among=REQUESTS, step__state=Step.State.WAITING
    ).order_by("pk")
)
read_asked = Read(  # of all steps
    lambda: (
        Ask.objects.filter(step__request__among=REQUESTS, asked_at__isnull=False)
        .order_by("pk")
        .values_list("step__request", "path", "person", "pk", "handed_over_from")
    )
)
read_open_cases: ReadObjects[Case] = ReadObjects(
    lambda: Case.objects.filter(request__among=REQUESTS, state=Case.State.OPEN).order_by("pk")
)
read_decisions: ReadObjects[Decision] = ReadObjects(
    lambda: Decision.objects.filter(request__among=REQUESTS).order_by("pk")
)
read_action_types: ReadObjects[ActionType] = ReadObjects(
    lambda: ActionType.objects.filter(pk__among=GivenKeys("action_types"))
)
read_agents: ReadObjects[Agent] = ReadObjects(
    lambda: Agent.objects.filter(pk__among=GivenKeys("agents"))
)


def climbs(
    requests: Sequence[ActionRequest],
    writes: Writes,
    *,
    now: datetime,
    actor: str = "",
    after: Act | None = None,
) -> list[Climb]:
    """Return a climb for each of these requests, in their order, each with an act of its own.

    The requests are locked. Their action types and agents are loaded if they are
    not. Their acts are already with `writes`.

    Args:
        actor: who moves them.
        after: or the act by which others move them: its actor and its cause are theirs.
    """
    waiting, asks_now, asked_ever, open_cases, decided, types, agents = together(
        read_waiting, read_asks, read_asked, read_open_cases, read_decisions,
        read_action_types, read_agents,
        requests=[request.pk for request in requests],
        action_types={each.action_type_id for each in requests if not _has(each, "action_type")},
        agents={each.agent_id for each in requests if not _has(each, "agent")},
    )  # fmt: skip
    _give(requests, "action_type", types)
    _give(requests, "agent", agents)
    steps: dict[int, Step] = {step.request_id: step for step in waiting}
    by_pk = {step.pk: step for step in waiting}
    asks: dict[int, list[Ask]] = defaultdict(list)  # of the waiting step, by request
    for ask in asks_now:
        ask.step = by_pk[ask.step_id]
        asks[ask.step.request_id].append(ask)
    asked: dict[int, list[tuple[str, int]]] = defaultdict(list)  # (path, person) of all, by request
    handed: dict[int, list[tuple[int, int, int | None]]] = defaultdict(list)
    first: dict[int, list[int]] = defaultdict(
        list
    )  # who was asked first, or took it over from them
    given = {before for *_, before in asked_ever}
    for request_id, path, person, pk, before in asked_ever:
        asked[request_id].append((path, person))
        handed[request_id].append((pk, person, before))
        if path == Path.APPROVAL and pk not in given:
            first[request_id].append(person)
    # One open case speaks at a time; of several the last one opened.
    cases: dict[int, list[Case]] = defaultdict(list)
    for case in open_cases:
        cases[case.request_id].append(case)
    decisions: dict[int, list[Decision]] = defaultdict(list)
    for decision in decided:
        decisions[decision.request_id].append(decision)
    policies = {request.policy_id: tables.policy(request.policy_id) for request in requests}
    used, on_call, signers, claims = _underway(requests, policies, now)
    prefetch_related_objects([each for each in requests if each.state == HELD], "resource")
    offices = {
        each.pk: offices_of(each, policies[each.policy_id], on_call[each.pk]) for each in requests
    }
    held = _held(requests)
    debtors = (
        in_debt(now) if any(each.action_type.is_critical for each in requests) else frozenset()
    )
    people = tables.people_for(
        {policies[each.policy_id].rows[each.matrix_row_id] for each in requests},
        also={person for pairs in asked.values() for _, person in pairs}
        | {ask.person_id for each in asks.values() for ask in each}
        | {decision.person_id for each in decisions.values() for decision in each}
        | {person for each in signers.values() for person in each}
        | {claim.person_id for claim in claims.values()}
        | {
            person
            for each in offices.values()
            for person in (
                *each.head,
                *each.on_call,
                *each.owner,
                *each.executives,
                *each.reviewers,
                *each.compliance,
                *each.head_of_compliance,
            )
        },
        now=now,
    )
    found = []
    for request in requests:
        act = Act(now=now, actor=actor)
        if after is not None:
            act = Act(
                now=now, actor=after.actor, on_behalf_of=after.on_behalf_of, cause=after.cause
            )
        writes.acts.append(act)
        found.append(
            Climb(
                request=request,
                policy=policies[request.policy_id],
                people=people,
                act=act,
                writes=writes,
                step=steps.get(request.pk),
                asks=asks[request.pk],
                case=cases[request.pk][-1] if cases[request.pk] else None,
                beneath=cases[request.pk][:-1],
                decisions=decisions[request.pk],
                first_asked=tuple(first[request.pk]),
                everybody_asked={person for _, person in asked[request.pk]},
                used=used[request.pk],
                handed=Handed.of(handed[request.pk]),
                party=held[request.pk].party,
                beside=held[request.pk].beside,
                paused=held[request.pk].paused,
                offices=offices[request.pk],
                signers=signers[request.pk],
                debtors=debtors if request.action_type.is_critical else frozenset(),
                claim=claims.get(request.pk),
            )
        )
    return found


def _has(request: ActionRequest, relation: str) -> bool:
    return relation in request._state.fields_cache


def _give(requests: Sequence[ActionRequest], relation: str, objects: Sequence[Model]) -> None:
    """Have requests share the objects they point to: a batch is of few action types and agents."""
    by_pk = {each.pk: each for each in objects}
    for request in requests:
        if not _has(request, relation):
            setattr(request, relation, by_pk[getattr(request, f"{relation}_id")])


def offices_of(
    request: ActionRequest, policy: tables.Policy, on_call: Iterable[int] = ()
) -> Offices:
    """Return whom the request's policy names for it beside the matrix, and who is on call."""
    head = policy.heads.get(request.department_id)
    owner = None
    if request.state == HELD and request.resource is not None:
        owner = policy.owner_of(request.resource.key)
    blocked = request.state == BLOCKED
    return Offices(
        head=() if head is None else (head,),
        on_call=tuple(on_call),
        owner=() if owner is None else (owner,),
        **_at_the_top(request, policy),
        compliance=policy.compliance if blocked else (),
        head_of_compliance=policy.head_of_compliance if blocked else (),
    )


def _at_the_top(request: ActionRequest, policy: tables.Policy) -> dict[str, tuple[int, ...]]:
    """Return the executives and reviewers of a critical process; of others nobody."""
    if not request.action_type.is_critical:
        return {}
    executives = policy.executives_for(policy.rows[request.matrix_row_id])
    return {"executives": executives, "reviewers": policy.reviewers}


def in_debt(now: datetime) -> frozenset[int]:
    """Return who has a review of a bypass of their own that is past its due time."""
    overdue = Q(review__times_overdue__gt=0) | Q(review__due_at__lte=now)
    found = Decision.objects.filter(overdue, is_bypass=True, review__state=Review.State.OPEN)
    return frozenset(found.values_list("person_id", flat=True))


def look_all_the_way_up(climb: Climb, *, owner: tuple[int, ...] = ()) -> None:
    """Read everybody whom the ladder of a new request may lead to, where those first named do not decide.

    Args:
        owner: of the record, where a conflict leads to them.
    """
    climb.offices = replace(offices_of(climb.request, climb.policy), owner=owner)
    if climb.critical:
        climb.debtors = in_debt(climb.now)
    also = (*climb.offices.owner, *climb.offices.executives, *climb.offices.reviewers)
    climb.people = tables.people_for([climb.row], also=also, now=climb.now)


class Held(NamedTuple):
    """What matters of a request that a conflict holds."""

    party: ConflictParty | None = None  # it, in the case that holds it
    beside: frozenset[int] = frozenset()  # who may not act on another party
    paused: Step | None = None


def _held(requests: Sequence[ActionRequest]) -> dict[int, Held]:
    """Read what matters of those that are held or blocked. Of others, none of it is read."""
    found: dict[int, Held] = defaultdict(Held)
    held = {each.pk for each in requests if each.state in (HELD, BLOCKED)}
    if not held:
        return found
    paused = {
        step.request_id: step
        for step in Step.objects.filter(request__in=held, state=Step.State.SUSPENDED)
    }
    waiting = ConflictParty.objects.filter(request__in=held, was_held=True, left_at__isnull=True)
    parties = list(waiting.select_related("case__request"))
    for pk, step in paused.items():
        found[pk] = Held(paused=step)
    behind = _behind({party.case_id for party in parties})
    for party in parties:
        others = (people for pk, people in behind[party.case_id].items() if pk != party.request_id)
        beside = frozenset(person for people in others for person in people)
        found[party.request_id] = Held(party, beside, paused.get(party.request_id))
    return found


def _behind(cases: set[int]) -> dict[int, dict[int, set[int]]]:
    """Return by case and party, of those that still want the record, who stands behind it.

    That is: the owner of the agent that asks, and whom it acts for.
    """
    found: dict[int, dict[int, set[int]]] = {case: {} for case in cases}
    wants = Q(request__state__in=OPEN) | Q(request__holds_key=True)
    parties = ConflictParty.objects.filter(wants, case__in=cases, left_at__isnull=True)
    for case, request, *people in parties.values_list(
        "case", "request", "request__agent__owner", "request__on_behalf_of"
    ):
        found[case][request] = {person for person in people if person is not None}
    return found


class Underway(NamedTuple):
    """What matters of requests past their approval, by their primary keys."""

    used: dict[int, frozenset[tuple[str, int]]]  # the rungs it stood on
    on_call: dict[int, Sequence[int]]  # for its target
    signers: dict[int, frozenset[int]]  # of orders on it
    claims: dict[int, Claim]  # that are open


def _underway(
    requests: Sequence[ActionRequest], policies: Mapping[int, tables.Policy], now: datetime
) -> Underway:
    """Read what matters past an approval. While a request waits for its own, none of it is read."""
    used: dict[int, frozenset[tuple[str, int]]] = defaultdict(frozenset)
    on_call: dict[int, Sequence[int]] = defaultdict(tuple)
    signers: dict[int, frozenset[int]] = defaultdict(frozenset)
    underway = [each for each in requests if each.state != ActionRequest.State.PENDING]
    if not underway:
        return Underway(used, on_call, signers, {})
    rungs = Step.objects.filter(request__in=[each.pk for each in underway])
    for pk, path, level in rungs.values_list("request", "path", "level"):
        used[pk] |= {(path, level)}
    on_call.update(on_call_for(underway, policies, now=now))
    orders = Order.objects.filter(request__in=[each.pk for each in underway])
    for pk, *signed in orders.values_list("request", "ordered_by", "confirmed_by"):
        signers[pk] |= {person for person in signed if person is not None}
    claims = Claim.objects.filter(
        request__in=[each.pk for each in underway], closed_at__isnull=True
    )
    return Underway(used, on_call, signers, {claim.request_id: claim for claim in claims})


def on_call_for(
    requests: Iterable[ActionRequest], policies: Mapping[int, tables.Policy], *, now: datetime
) -> dict[int, tuple[int, ...]]:
    """Return by request who is on call for its target now, then who answers where nobody is."""
    targets = {each: target_of(each) for each in requests}
    shifts = tables.on_call(set(targets.values()), now=now)
    found = {}
    for each, target in targets.items():
        found[each.pk] = policies[each.policy_id].on_call_for(target, shifts[target])
    return found


def target_of(request: ActionRequest) -> str:
    """Return the key of the target that a request writes to, "" if its action type names none."""
    return str(request.action_type.connector_config.get("target", ""))
