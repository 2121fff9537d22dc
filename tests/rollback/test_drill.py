"""Drills as rows: who may ask for one, who has it in hand, how it is judged and signed, what follows from it."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django_q.models import OrmQ

from approvals import auditing
from approvals.models import Alert, Finding
from governance.canonical import digest
from governance.errors import NotFound, NotNow, NotYours
from governance.ladder import DRILL_COUNTS_FOR
from governance.models import ActionType, AuditEvent
from rollback import audits, evidence
from rollback.driller import drill_all, go_on
from rollback.models import Drill
from rollback.rehearsal.house import Silent
from rollback.rehearsal.play import DIFFERS, NOT_RUN, NOT_UNDONE
from rollback.rehearsal.points import points_of
from rollback.services import drill as drills
from tests.factories import AlertFactory, PersonFactory, RoleFactory
from tests.rollback.rehearsing import KINDS, PlayHouse, asked, entry, in_production, real, taken

pytestmark = pytest.mark.django_db

TICK = timedelta(microseconds=1)
M = timedelta(minutes=1)
Outcome = Drill.Outcome


@pytest.fixture(autouse=True)
def somewhere(settings):
    """A sandbox is configured. Nothing here calls it."""
    settings.SANDBOXES = {"demo": {"url": "http://sandbox.example", "token": "of-the-sandbox"}}


@pytest.fixture
def kind(timeline):
    return in_production()


def through(kind, timeline, house=None):
    """Have it drilled from beginning to end."""
    asked(kind, timeline)
    return go_on(taken(timeline), house or PlayHouse(), now=lambda: timeline.now, technical=real)


def due_of(kind):
    return ActionType.objects.get(pk=kind.pk).drill_due_at


def alerts():
    """The alerts about drills that stand."""
    return Alert.objects.filter(kind__startswith="drill.", closed_at__isnull=True)


def events():
    rows = AuditEvent.objects.filter(chain="actions", kind__startswith="drill.").order_by("seq")
    return [(each.kind, each.facts) for each in rows]


# --- Asking ---


def test_an_operator_asks_and_the_record_says_so(kind, timeline):
    operator = PersonFactory(username="op", roles=[RoleFactory(key="operator")])

    drill = asked(kind, timeline, actor=operator)

    assert (drill.is_open, drill.units, drill.points, drill.target) == (True, 1, 3, "demo")
    assert drill.sandbox == "http://sandbox.example"
    assert drill.due_at == timeline.now + timedelta(minutes=30)
    [(kind_of_event, facts)] = events()
    assert kind_of_event == "drill.started"
    assert (facts["action"], facts["drill"]) == ("vendor_payment", drill.pk)
    assert AuditEvent.objects.get(kind="drill.started").actor == "person:op"


def test_what_opens_a_sandbox_is_in_no_drill(kind, timeline, settings):
    settings.SANDBOXES = {"demo": {"url": "https://user:opens@sandbox.example/api/?key=opens"}}

    drill = asked(kind, timeline)

    assert drill.sandbox == "https://sandbox.example/api"


@pytest.mark.parametrize("role", ["auditor", "policy_admin", "controller", "compliance", ""])
def test_nobody_else_does(kind, timeline, role):
    person = PersonFactory(roles=[RoleFactory(key=role)] if role else [])

    with pytest.raises(NotYours):
        asked(kind, timeline, actor=person)
    assert not Drill.objects.exists()


def test_a_disabled_operator_does_not(kind, timeline):
    person = PersonFactory(is_active=False, roles=[RoleFactory(key="operator")])

    with pytest.raises(NotYours):
        asked(kind, timeline, actor=person)


def test_asked_for_again_it_is_the_same_drill(kind, timeline):
    assert asked(kind, timeline).pk == asked(kind, timeline).pk
    assert len(events()) == 1


@pytest.mark.parametrize(
    ("over", "says"),
    [
        ({"reversal": "none"}, "has no reversal"),
        ({"connector_config": {"target": "sap"}}, "TARGET_SAP_SANDBOX_URL is not set"),
        ({"reversal_code": "magic"}, "Its reversal “magic” is not in the configuration"),
        ({"connector": "abacus"}, "There is no connector “abacus”"),
    ],
)
def test_what_cannot_be_drilled_says_what_is_missing(timeline, over, says):
    kind = in_production(**over)

    with pytest.raises(NotNow, match=says):
        asked(kind, timeline)
    assert not Drill.objects.exists()


def test_what_is_retired_is_not_drilled(kind, timeline):
    kind.retire()
    kind.save()

    with pytest.raises(NotNow, match="is retired"):
        asked(kind, timeline)


def test_what_is_not_there_is_not_drilled(timeline):
    with pytest.raises(NotFound):
        drills.ask(action_type=4711, now=timeline.now, technical=real)


# --- Passing, and what follows ---


def test_one_that_passes_counts_for_ninety_days(kind, timeline):
    drill = through(kind, timeline)

    assert (drill.passed, drill.outcome, drill.said) == (True, Outcome.PASSED, "")
    assert [each["outcome"] for each in drill.evidence] == ["passed"] * 3
    assert due_of(kind) == timeline.now + DRILL_COUNTS_FOR
    names = [name for name, _ in events()]
    assert names == ["drill.started", *["drill.rehearsed"] * 3, "drill.passed"]
    assert events()[-1][1]["evidence"] == drill.evidence_hash


def test_each_point_is_recorded_with_the_digest_of_its_evidence(kind, timeline):
    drill = through(kind, timeline, PlayHouse(after_send_1=DIFFERS))

    told = [facts for name, facts in events() if name == "drill.rehearsed"]
    assert [(each["point"], each["of"]) for each in told] == [(1, 3), (2, 3), (3, 3)]
    assert [each["outcome"] for each in told] == [each["outcome"] for each in drill.evidence]
    assert [each["evidence"] for each in told] == [digest(each) for each in drill.evidence]


@pytest.mark.parametrize(
    ("outcome", "is_refuted"), [(DIFFERS, True), (NOT_UNDONE, True), (NOT_RUN, False)]
)
def test_one_that_fails_is_told_and_counts_against_it_where_it_shows_something(
    kind, timeline, outcome, is_refuted
):
    through(kind, timeline)
    was = due_of(kind)
    timeline.now += timedelta(days=1)

    drill = through(kind, timeline, PlayHouse(after_send_1=outcome))

    assert (drill.passed, drill.outcome, drill.said) == (False, outcome, "As it was told.")
    assert due_of(kind) == (timeline.now if is_refuted else was)
    assert Alert.objects.get(kind="drill.failed", key="vendor_payment").closed_at is None
    names = [name for name, _ in events()]
    points = ["drill.rehearsed"] * len(drill.evidence)
    assert names[-len(points) - 2 :] == ["drill.started", *points, "drill.failed"]


def test_the_gravest_of_what_was_found_is_the_outcome_and_all_of_it_is_kept(kind, timeline):
    drill = through(kind, timeline, PlayHouse(before_send_1=DIFFERS, after_send_1=NOT_UNDONE))

    assert drill.outcome == Outcome.NOT_UNDONE
    assert [each["outcome"] for each in drill.evidence] == [DIFFERS, NOT_UNDONE, "passed"]


def test_what_differs_is_named(kind, timeline):
    difference = {
        "record": "demo:ap-balance", "field": "/balance", "before": "10.00", "after": "22.00",
        "why": "It is not as it was.",
    }  # fmt: skip
    found = entry(points_of(1)[2], DIFFERS, differences=[difference])

    drill = through(kind, timeline, PlayHouse(end_1=found))

    assert drill.said == "demo:ap-balance/balance was 10.00 and is 22.00. It is not as it was."
    assert drill.said in Alert.objects.get(kind="drill.failed").text


def test_a_rehearsal_that_does_not_come_to_its_failure_ends_the_drill(kind, timeline):
    house = PlayHouse(before_send_1=Silent("The process that rehearses ended."))

    drill = through(kind, timeline, house)

    assert (drill.outcome, drill.said) == (Outcome.NOT_RUN, "The process that rehearses ended.")
    assert len(house.played) == 1


def test_one_that_passes_again_ends_the_alerts(kind, timeline):
    through(kind, timeline, PlayHouse(end_1=DIFFERS))
    timeline.sweep()
    assert set(alerts().values_list("kind", flat=True)) == {"drill.failed", "drill.overdue"}

    through(kind, timeline)

    assert not alerts().exists()


def test_what_was_changed_meanwhile_is_not_what_was_rehearsed(kind, timeline):
    house = PlayHouse()
    house.meanwhile = lambda: ActionType.objects.update(reversal_code="another")

    drill = through(kind, timeline, house)

    assert (drill.outcome, due_of(kind)) == (Outcome.NOT_RUN, None)
    assert "was changed while it was rehearsed" in drill.said


# --- In hand ---


def test_it_is_in_one_hand_at_a_time(kind, timeline):
    asked(kind, timeline)

    assert taken(timeline) is not None
    assert taken(timeline) is None


def test_a_dead_workers_drill_is_taken_over_where_it_stood(kind, timeline):
    asked(kind, timeline)
    dead = taken(timeline)
    drills.keep(dead, entry(dead.left[0]), now=timeline.now, technical=real)
    timeline.now += real(drills.LEASE_S) - TICK
    assert taken(timeline) is None
    timeline.now += TICK

    heir = taken(timeline)

    assert heir.left == points_of(1)[1:]
    with pytest.raises(drills.Lost):
        drills.keep(dead, entry(dead.left[1]), now=timeline.now, technical=real)
    with pytest.raises(drills.Lost):
        drills.finish(dead, now=timeline.now)
    with pytest.raises(drills.Lost):
        drills.hand_back(dead)
    drill = go_on(heir, PlayHouse(), now=lambda: timeline.now, technical=real)
    assert (drill.passed, len(drill.evidence)) == (True, 3)


def test_a_worker_whose_drill_was_lost_leaves_it_alone(kind, timeline):
    asked(kind, timeline)
    slow, house = taken(timeline), PlayHouse()
    house.meanwhile = lambda: Drill.objects.update(token=None)

    assert go_on(slow, house, now=lambda: timeline.now, technical=real) is None
    assert Drill.objects.get().evidence == []


def test_what_is_enough_for_one_worker_goes_on_with_the_next(kind, timeline):
    asked(kind, timeline)
    house, asked_times = PlayHouse(), iter([False, False, True, True])

    drill_all(house, now=lambda: timeline.now, technical=real, enough=lambda: next(asked_times))

    drill = Drill.objects.get()
    assert (drill.is_open, drill.lease_until, len(drill.evidence)) == (True, None, 1)
    assert drill_all(house, now=lambda: timeline.now, technical=real, enough=lambda: False) == 1
    assert Drill.objects.get().passed
    assert house.played == points_of(1)


def test_one_that_never_ends_fails_at_its_time(kind, timeline):
    asked(kind, timeline)
    slow = taken(timeline)
    drills.keep(slow, entry(slow.left[0]), now=timeline.now, technical=real)
    due_at = Drill.objects.get().due_at
    assert drills.give_up(slow.drill.pk, due_at - TICK) == 0

    assert drills.give_up(slow.drill.pk, due_at) == 1

    drill = Drill.objects.get()
    assert (drill.outcome, drill.ended_at) == (Outcome.GIVEN_UP, due_at)
    assert drill.said == "It did not end in time: 1 of 3 points were rehearsed."
    assert evidence.flaw_of(drill) == ""
    assert drills.give_up(slow.drill.pk, due_at + TICK) == 0
    with pytest.raises(drills.Lost):
        drills.finish(slow, now=due_at)


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_of_two_workers_at_once_one_has_it(race, timeline):
    kind = in_production()
    asked(kind, timeline)

    found = race(lambda: taken(timeline), lambda: taken(timeline))

    assert [each is None for each in sorted(found, key=lambda each: each is None)] == [False, True]


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_of_two_who_ask_at_once_both_get_the_same_drill(race, timeline):
    kind = in_production()

    found = race(lambda: asked(kind, timeline), lambda: asked(kind, timeline))

    assert len({each.pk for each in found}) == 1
    assert Drill.objects.count() == 1


# --- The schedule ---


def test_a_quarter_after_it_passed_it_is_drilled_again_two_weeks_before_it_lapses(kind, timeline):
    through(kind, timeline)
    start = timeline.now
    timeline.go_to(start + timedelta(days=76) - TICK)
    assert Drill.objects.count() == 1

    timeline.go_to(start + timedelta(days=76))

    drill = Drill.objects.latest("pk")
    assert (Drill.objects.count(), drill.is_open, drill.asked_by) == (2, True, None)
    timeline.sweep()
    assert Drill.objects.count() == 2


def test_one_that_was_never_drilled_is_drilled_at_once(kind, timeline):
    timeline.sweep()

    assert Drill.objects.get().action_type == kind


@pytest.mark.parametrize("state", ["draft", "retired"])
def test_what_nobody_uses_is_not_drilled_by_itself(kind, timeline, state):
    ActionType.objects.update(state=state)

    timeline.sweep()

    assert not Drill.objects.exists()


def test_what_failed_is_tried_again_a_day_later(kind, timeline):
    through(kind, timeline, PlayHouse(end_1=DIFFERS))
    start = timeline.now
    timeline.go_to(start + timedelta(days=1) - TICK)
    assert Drill.objects.count() == 1

    timeline.go_to(start + timedelta(days=1))

    assert Drill.objects.count() == 2


def test_the_sweep_ends_what_does_not_end(kind, timeline):
    asked(kind, timeline)

    timeline.go_to(Drill.objects.get().due_at)

    assert Drill.objects.get(outcome=Outcome.GIVEN_UP).passed is False


def test_the_worker_is_called_for_what_waits_and_not_for_what_is_in_hand(kind, timeline):
    def calls():
        return [each.func() for each in OrmQ.objects.all()].count("rollback.tasks.run_drills")

    asked(kind, timeline)
    taken(timeline)
    timeline.sweep()
    assert calls() == 0

    timeline.now += real(drills.LEASE_S)
    timeline.sweep()

    assert calls() == 1


def under_another_key(key, **over):
    """A payment of the demo, in production under a key of its own."""
    kind = in_production(**over)
    ActionType.objects.filter(pk=kind.pk).update(key=key)
    kind.refresh_from_db()
    return kind


def test_what_cannot_be_drilled_takes_no_turn_of_what_can(timeline):
    for n in range(30):
        config = {**KINDS["vendor_payment"]["connector_config"], "target": "sap"}
        under_another_key(f"sap_payment_{n}", connector_config=config)
    able = in_production()

    timeline.sweep()

    assert [each.action_type for each in Drill.objects.all()] == [able]


def test_what_evidence_could_not_name_is_not_drilled_and_keeps_none_from_it(timeline):
    """A script may store what the page does not take: a number that RFC 8785 has no form for."""
    schema = {**KINDS["vendor_payment"]["schema"], "maxProperties": 2**53}
    strange = under_another_key("strange", schema=schema)
    able = in_production()

    timeline.sweep()

    assert [each.action_type for each in Drill.objects.all()] == [able]
    assert "The evidence could not name its definition" in drills.why_not(strange)


# --- Overdue ---


def retire(kind):
    ActionType.objects.filter(pk=kind.pk).update(state="retired")


def test_what_was_refuted_is_not_said_to_be_late(kind, timeline):
    through(kind, timeline)
    timeline.now += timedelta(days=1)
    through(kind, timeline, PlayHouse(end_1=NOT_UNDONE))

    timeline.sweep()

    text = Alert.objects.get(kind="drill.overdue").text
    assert text.startswith(
        "A drill of vendor_payment v1 showed that its undo does not work, so each"
    )


def test_what_only_ever_failed_has_not_passed_yet(kind, timeline):
    through(kind, timeline, PlayHouse(end_1=NOT_RUN))

    timeline.sweep()

    assert "has passed yet" in Alert.objects.get(kind="drill.overdue").text


def test_the_next_version_ends_no_alert_about_the_one_in_production(kind, timeline):
    through(kind, timeline, PlayHouse(end_1=NOT_UNDONE))
    timeline.sweep()
    following = ActionType(**KINDS["vendor_payment"], version=2, created_at=timeline.now)
    following.pass_tests()
    following.save()

    through(following, timeline)

    assert sorted(each.kind for each in alerts()) == ["drill.failed", "drill.overdue"]


@pytest.mark.parametrize("passes", [True, False], ids=["replaced", "withdrawn"])
def test_alerts_end_with_the_version_they_are_about(kind, timeline, passes):
    through(kind, timeline, PlayHouse(end_1=NOT_UNDONE))
    timeline.sweep()
    assert alerts().count() == 2, "control"

    retire(kind)
    if passes:
        in_production(version=2, drill_due_at=timeline.now + timedelta(days=80))
    timeline.sweep()

    assert not alerts().exists()


def test_overdue_is_an_alert_from_the_instant_on(kind, timeline):
    through(kind, timeline)
    due_at = due_of(kind)
    Drill.objects.update(started_at=due_at)  # so that the schedule leaves it alone
    timeline.go_to(due_at - TICK)
    assert not alerts().exists()

    timeline.go_to(due_at)

    alert = alerts().get()
    assert (alert.kind, alert.key) == ("drill.overdue", "vendor_payment")
    assert "has passed for 90 days, so each request for it takes somebody present" in alert.text


def test_without_a_sandbox_the_alert_says_what_is_missing(kind, timeline, settings):
    settings.SANDBOXES = {}

    timeline.sweep()

    assert not Drill.objects.exists()
    assert "TARGET_DEMO_SANDBOX_URL is not set" in Alert.objects.get(kind="drill.overdue").text


@pytest.mark.parametrize("over", [{"is_financial": False}, {"reversal": "none"}])
def test_what_needs_no_drill_is_never_overdue(timeline, settings, over):
    settings.SANDBOXES = {}
    in_production(**over)

    timeline.sweep()

    assert not alerts().exists()


# --- Signed ---


def test_what_was_signed_verifies(kind, timeline):
    through(kind, timeline)

    assert evidence.flaw_of(Drill.objects.select_related("action_type").get()) == ""
    assert list(audits.drills_altered(timeline.now)) == []


@pytest.mark.parametrize(
    "change",
    [
        {"passed": True, "outcome": "passed"},
        {"said": ""},
        {"sandbox": "http://elsewhere.example"},
        {"target": "sap"},
        {"points": 1},
        {"definition": "0" * 64},
        {"evidence": []},
        {"evidence_hash": "0" * 64},
        {"signature": "0" * 128},
        {"signature": "no hex"},
        {"key_id": "0" * 16},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_was_altered_is_found(kind, timeline, change):
    through(kind, timeline, PlayHouse(end_1=DIFFERS))

    Drill.objects.update(**change)

    (found,) = audits.drills_altered(timeline.now)
    assert found.key.startswith(f"drill {Drill.objects.get().pk} ")


def test_what_was_altered_stands_behind_any_number_of_other_drills_until_somebody_looked(
    kind, timeline, monkeypatch
):
    through(kind, timeline)
    Drill.objects.update(signature="0" * 128)
    ((key, *_),) = audits.drills_altered(timeline.now)
    monkeypatch.setattr(audits, "SHOWN", 0)
    assert list(audits.drills_altered(timeline.now)) == []

    assert [each.key for each in audits.drills_altered.again([key], timeline.now)] == [key]


@pytest.mark.parametrize("seen", [True, False])
def test_a_drill_that_is_gone_is_a_finding_of_its_own_until_somebody_has_seen_it(
    kind, timeline, seen
):
    standing = Finding.objects.filter(audit="drills_altered", cleared_at=None)
    through(kind, timeline)
    Drill.objects.update(signature="0" * 128)
    now, pk = timeline.now, Drill.objects.get().pk
    auditing.run(now=now, outside=False)
    first = standing.get()
    if seen:  # and deleted before the next round
        Alert.objects.update(acknowledged_at=now)
    Drill.objects.all().delete()

    auditing.run(now=now + M, outside=False)

    gone = standing.get()
    first.refresh_from_db()
    assert first.cleared_at == now + M
    assert (gone.key, gone.text) == (f"drill {pk} gone", f"Drill {pk} is gone.")
    assert (gone.alert.text, gone.alert.acknowledged_at) == (gone.text, None)
    auditing.run(now=now + 2 * M, outside=False)
    assert standing.get() == gone
    Alert.objects.filter(pk=gone.alert_id).update(acknowledged_at=now)
    auditing.run(now=now + 3 * M, outside=False)
    assert not standing.exists()


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({"signature": "0" * 128}, {"signature": "1" * 128}),
        ({"points": 1}, {"points": 2}),
        ({"key_id": "0" * 16}, {"evidence": [{"no": 1.5}]}),
        ({"evidence": [{"no": 1.5}]}, {"evidence": [{"no": 2.5}]}),
    ],
)
def test_what_was_acknowledged_is_found_anew_once_it_is_altered_again(kind, timeline, first, then):
    through(kind, timeline)
    Drill.objects.update(**first)
    (found,) = audits.drills_altered(timeline.now)
    AlertFactory(kind="audit.drills_altered", key=found.key, acknowledged_at=timeline.now)
    assert list(audits.drills_altered(timeline.now)) == []

    Drill.objects.update(**then)

    (again,) = audits.drills_altered(timeline.now)
    assert again.key != found.key
    assert list(audits.drills_altered.again([found.key], timeline.now)) == [again]


def test_one_figure_in_the_evidence_is_found(kind, timeline):
    record = {"record": "demo:ap-balance", "before": {"balance": "10.00"}, "left": {}, "after": {}}
    through(kind, timeline, PlayHouse(end_1=entry(points_of(1)[2], DIFFERS, records=[record])))
    drill = Drill.objects.get()
    altered = json.loads(json.dumps(drill.evidence).replace("10.00", "10.01"))

    Drill.objects.update(evidence=altered)

    assert [each.text for each in audits.drills_altered(timeline.now)] == [
        f"Drill {drill.pk} of vendor_payment v1 was edited: its content does not give its hash."
    ]


def test_what_no_database_and_no_canonical_form_holds_is_signed_all_the_same(kind, timeline):
    strange = {"nul": "\0", "float": 0.1, "large": 2**70, "lone": "\ud800", "ключ": None}
    record = {"record": "r", "before": strange, "left": {"lines": ["x" * 100] * 300}, "after": None}

    through(kind, timeline, PlayHouse(end_1=entry(points_of(1)[2], records=[record])))

    drill = Drill.objects.select_related("action_type").get()
    assert evidence.flaw_of(drill) == ""
    (kept,) = drill.evidence[2]["records"]
    assert kept["before"]["large"] == str(2**70)
    assert kept["left"].keys() == {"too_long", "sha256"}


def test_an_action_type_that_counts_for_longer_than_its_drills_say_is_found(kind, timeline):
    through(kind, timeline)
    assert list(audits.drill_due_at_differs(timeline.now)) == []

    ActionType.objects.update(drill_due_at=due_of(kind) + TICK)

    (found,) = audits.drill_due_at_differs(timeline.now)
    assert found.text == "vendor_payment v1 counts as rehearsed, and its drills say otherwise."


def test_so_is_one_whose_drills_all_failed(kind, timeline):
    through(kind, timeline, PlayHouse(end_1=DIFFERS))

    ActionType.objects.update(drill_due_at=timeline.now + TICK)

    assert len(list(audits.drill_due_at_differs(timeline.now))) == 1


def test_so_is_one_that_was_refuted_after_it_had_passed(kind, timeline):
    through(kind, timeline)
    due_at = due_of(kind)
    timeline.now += timedelta(days=1)
    through(kind, timeline, PlayHouse(end_1=NOT_UNDONE))
    assert list(audits.drill_due_at_differs(timeline.now)) == []

    ActionType.objects.update(drill_due_at=due_at)

    assert len(list(audits.drill_due_at_differs(timeline.now))) == 1


def test_one_that_could_not_be_run_ends_no_word_of_the_last_that_passed(kind, timeline):
    through(kind, timeline)
    timeline.now += timedelta(days=1)
    through(kind, timeline, PlayHouse(end_1=NOT_RUN))

    assert due_of(kind) > timeline.now
    assert list(audits.drill_due_at_differs(timeline.now)) == []
