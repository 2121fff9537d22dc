"""Loads what a climb needs, for one request or for a batch, in a fixed number of queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from approvals.models import ActionRequest, Ask, Case, Decision, Order, Step
from approvals.services.escalate import Climb
from approvals.services.writes import Writes
from governance import tables
from governance.ledger import Act
from governance.reads import GivenKeys, ReadObjects
from governance.vocabulary import Path

REQUESTS = GivenKeys("requests")
read_waiting: ReadObjects[Step] = ReadObjects(
    lambda: Step.objects.filter(request__in=REQUESTS, state=Step.State.WAITING)
)
read_asks: ReadObjects[Ask] = ReadObjects(
    lambda: Ask.objects.filter(step__request__in=REQUESTS).select_related("step").order_by("pk")
)
read_open_cases: ReadObjects[Case] = ReadObjects(
    lambda: Case.objects.filter(request__in=REQUESTS, state=Case.State.OPEN).order_by("pk")
)
read_decisions: ReadObjects[Decision] = ReadObjects(
    lambda: Decision.objects.filter(request__in=REQUESTS).order_by("pk")
)


def climbs(
    requests: Sequence[ActionRequest], writes: Writes, *, actor: str, now: datetime
) -> list[Climb]:
    """Return a climb for each of these requests, in their order, each with an act of its own.

    The requests are locked, with `action_type` and `agent` loaded. Their acts
    are already with `writes`.
    """
    ids = [request.pk for request in requests]
    steps = {step.request_id: step for step in read_waiting(requests=ids)}
    asks: dict[int, list[Ask]] = defaultdict(list)  # of the waiting step, by request
    asked: dict[int, list[tuple[str, int]]] = defaultdict(list)  # (path, person) of all, by request
    for ask in read_asks(requests=ids):
        request_id = ask.step.request_id
        waiting = steps.get(request_id)
        if waiting is not None and ask.step_id == waiting.pk:
            ask.step = waiting
            asks[request_id].append(ask)
        if ask.asked_at is not None:
            asked[request_id].append((ask.path, ask.person_id))
    # One open case speaks at a time; of several the last one opened.
    cases = {case.request_id: case for case in read_open_cases(requests=ids)}
    decisions: dict[int, list[Decision]] = defaultdict(list)
    for decision in read_decisions(requests=ids):
        decisions[decision.request_id].append(decision)
    policies = {request.policy_id: tables.policy(request.policy_id) for request in requests}
    used, on_call, signers = _underway(requests, policies, now)
    people = tables.people_for(
        {policies[each.policy_id].rows[each.matrix_row_id] for each in requests},
        also={person for pairs in asked.values() for _, person in pairs}
        | {ask.person_id for each in asks.values() for ask in each}
        | {decision.person_id for each in decisions.values() for decision in each}
        | {person for each in (*on_call.values(), *signers.values()) for person in each},
        now=now,
    )
    found = []
    for request in requests:
        act = Act(now=now, actor=actor)
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
                case=cases.get(request.pk),
                decisions=decisions[request.pk],
                first_asked=tuple(p for path, p in asked[request.pk] if path == Path.APPROVAL),
                everybody_asked={person for _, person in asked[request.pk]},
                used=used[request.pk],
                on_call=on_call[request.pk],
                signers=signers[request.pk],
            )
        )
    return found


class Underway(NamedTuple):
    """What matters of requests past their approval, by their primary keys."""

    used: dict[int, frozenset[tuple[str, int]]]  # the rungs it stood on
    on_call: dict[int, list[int]]  # for its target
    signers: dict[int, frozenset[int]]  # of orders on it


def _underway(
    requests: Sequence[ActionRequest], policies: Mapping[int, tables.Policy], now: datetime
) -> Underway:
    """Read what matters past an approval. While a request waits for its own, none of it is read."""
    used: dict[int, frozenset[tuple[str, int]]] = defaultdict(frozenset)
    on_call: dict[int, list[int]] = defaultdict(list)
    signers: dict[int, frozenset[int]] = defaultdict(frozenset)
    underway = [each for each in requests if each.state != ActionRequest.State.PENDING]
    if not underway:
        return Underway(used, on_call, signers)
    rungs = Step.objects.filter(request__in=[each.pk for each in underway])
    for pk, path, level in rungs.values_list("request", "path", "level"):
        used[pk] |= {(path, level)}
    targets = {each.pk: target_of(each) for each in underway}
    shifts = tables.on_call(set(targets.values()), now=now)
    for each in underway:
        fallback = policies[each.policy_id].on_call_fallback.get(targets[each.pk])
        named = [*shifts[targets[each.pk]], *([fallback] if fallback is not None else [])]
        on_call[each.pk] = list(dict.fromkeys(named))
    orders = Order.objects.filter(request__in=[each.pk for each in underway])
    for pk, *signed in orders.values_list("request", "ordered_by", "confirmed_by"):
        signers[pk] |= {person for person in signed if person is not None}
    return Underway(used, on_call, signers)


def target_of(request: ActionRequest) -> str:
    """Return the key of the target that a request writes to, "" if its action type names none."""
    return str(request.action_type.connector_config.get("target", ""))
