"""What must hold after every step, whatever happened."""

from __future__ import annotations

import io
import json
import zipfile
from collections import defaultdict

from django.db.models import Max

from approvals import auditing
from approvals.models import ActionRequest, Ask, Case, Decision, Review, Step
from approvals.pack_parts import subject_of_request, subject_of_review
from governance.evidence import build, name_of
from governance.models import AuditEvent
from governance.routing import GIVES_LEAVE
from governance.vocabulary import Level, Verdict
from rollback.audits import AUDITS as OF_RUNS
from rollback.models import Unit
from tests.machine.replay import replay

RUNGS_AT_MOST = 18
# Whether clock and worker are alive is not asked: here they work when they are told to.
HELD = (
    "due_at_differs",
    "held_by_nothing",
    "failures_without_a_case",
    "asks_out_of_step",
    "ended_with_open_parts",
    "chains_broken",
)
HELD_BY_RUNS = ("runs_without_a_lease", "effects_differ")


def everything(world) -> None:
    """Raise AssertionError with what does not hold."""
    audits_are_clean(world)
    nothing_happened_twice(world)
    rungs_and_deciders()
    the_record_says_the_same(world)


def audits_are_clean(world) -> None:
    found = [each for name in HELD for each in auditing.all_audits()[name](world.now)]
    found += [each for name in HELD_BY_RUNS for each in OF_RUNS[name](world.now)]
    assert found == []


def nothing_happened_twice(world) -> None:
    """What the target did under our keys, against our checkpoints, both ways."""
    target = world.target
    if target.gives.native_keys or target.gives.lookup:
        twice = [key for key, times in target.times.items() if times > 1]
        assert not twice, f"done twice: {twice}"
    units = {unit.key: unit for unit in Unit.objects.select_related("request")}
    for key in target.done.keys() - target.taken_back:
        unit = units[key]
        answered = unit.state in (Unit.State.DONE, Unit.State.REVERSED)
        assert answered or unit.request.is_open or unit.request.state == "stranded", (
            f"{unit.request} has ended, and {key} was done and is {unit.state}"
        )
    for unit in units.values():
        if unit.state in (Unit.State.DONE, Unit.State.REVERSED) and not unit.by_hand:
            assert unit.key in target.done, (
                f"{unit.key} is {unit.state}, and the target knows nothing"
            )


def packs_contradict_nothing(world) -> None:
    """What rows say of whatever has happened is what events say: no pack calls us forgers of our own record."""
    subjects = [subject_of_request(each) for each in ActionRequest.objects.order_by("pk")]
    reviews = Review.objects.select_related("request").order_by("pk")
    for subject in [*subjects, *map(subject_of_review, reviews)]:
        packed = build(subject, by="person:auditor", now=world.now)
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            claims = json.loads(archive.read(f"{name_of(subject)}/pack.json"))["claims"]
        found = [each for each in claims if each["standing"] == "contradicted"]
        assert found == [], f"{subject}: {found}"


def rungs_and_deciders() -> None:
    """No rung twice, not too many, and nobody decided who was excluded."""
    rungs = defaultdict(list)
    for request, path, level in Step.objects.values_list("request", "path", "level"):
        rungs[request].append((path, level))
    for stood in rungs.values():
        assert len(stood) == len(set(stood)) <= RUNGS_AT_MOST
    decisions = Decision.objects.order_by("pk").select_related(
        "request__agent", "request__action_type", "person", "step"
    )
    by_request = defaultdict(list)
    for each in decisions:
        by_request[each.request].append(each)
    for request, given in by_request.items():
        people = [each.person for each in given]
        assert request.agent.owner not in people
        assert request.on_behalf_of not in people
        leave = [each for each in given if each.step.path in GIVES_LEAVE]
        assert len({each.person_id for each in leave}) == len(leave), f"twice on {request}"
        bypasses = [each for each in given if each.is_bypass]
        at_the_top = {(each.step_id, each.person_id) for each in bypasses}
        assert len(at_the_top) == len({step for step, _ in at_the_top}), (
            f"two overrode on {request}"
        )
        assert len({each.review_id for each in bypasses}) == len(bypasses), "a review each"
        harmless = (Verdict.REJECT, Verdict.ROLL_BACK)
        for each in given:
            assert (
                each.is_bypass
                or each.step.level < Level.L4
                or each.verdict in harmless
                or (each.verdict == Verdict.RULE and not each.details["order"])
            ), f"{each} overrode others, and nobody reviews it"
        for each in bypasses:
            assert each.review_id is not None
            before = {ask.person_id for ask in asked_on(request) if ask.step_id != each.step_id}
            assert request.action_type.is_critical
            assert each.person_id not in before, f"{each} stood on an earlier rung"
        lowest = request.routed_amount
        for each in leave:
            if lowest is not None:
                assert each.person.limit_amount >= lowest, f"{each} is below {lowest}"
            if each.verdict == Verdict.REJECT and each.person.limit_amount is not None:
                lowest = max(lowest or 0, each.person.limit_amount)


def asked_on(request):
    return Ask.objects.filter(step__request=request, asked_at__isnull=False)


def the_record_says_the_same(world) -> None:
    """Each chain to which something was added, gone through from its first event, comes to the rows that are there."""
    added = AuditEvent.objects.filter(pk__gt=world.read_up_to, chain__startswith="R-")
    requests = list(ActionRequest.objects.filter(ref__in=added.values("chain")))
    world.read_up_to = AuditEvent.objects.aggregate(last=Max("pk"))["last"]
    chains = defaultdict(list)
    refs = [request.ref for request in requests]
    for event in AuditEvent.objects.filter(chain__in=refs).order_by("chain", "seq"):
        chains[event.chain].append(event)
    cases, decisions, steps = defaultdict(list), defaultdict(list), defaultdict(set)
    for case in Case.objects.filter(request__in=requests):
        cases[case.request_id].append((case.exception, case.outcome))
    for each in Decision.objects.filter(request__in=requests).select_related("person", "step"):
        row = (f"person:{each.person.username}", each.step.path, each.step.level, each.verdict)
        decisions[each.request_id].append(row)
    rungs = Step.objects.filter(request__in=requests)
    for request, path, level in rungs.values_list("request", "path", "level"):
        steps[request].add((path, level))
    for request in requests:
        told = replay(chains[request.ref])
        assert told.state == request.state, f"{request}, and its record says {told.state}"
        assert sorted(told.cases) == sorted(cases[request.pk]), request.ref
        assert sorted(told.decisions) == sorted(decisions[request.pk]), request.ref
        assert told.rungs == steps[request.pk], request.ref
