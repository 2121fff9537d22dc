"""The policy is checked again when what it rests on has changed, and a new hole is told of."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django_q.models import OrmQ

from approvals.models import Alert, Notice
from approvals.sweeps import tell_of_alerts
from governance import clock, policy_watch
from governance.models import (
    Absence,
    AuditEvent,
    Heartbeat,
    Person,
    PolicyFinding,
    PolicyVersion,
    RosterShift,
)
from tests.approvals.asking import ask_for_payment
from tests.factories import (
    MONDAY_9AM,
    AbsenceFactory,
    AgentCredentialFactory,
    ContactChannelFactory,
    PersonFactory,
    PolicyFindingFactory,
    PolicySignatureFactory,
    PolicyVersionFactory,
    RoleFactory,
    RosterShiftFactory,
    with_every_office,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def whole(company):
    return with_every_office(company)


def everybody_goes(days=30):
    for person in Person.objects.filter(limit_amount__isnull=False):
        AbsenceFactory(person=person, starts_at=MONDAY_9AM + timedelta(days=days))


def standing():
    return list(policy_watch.standing_holes())


def test_a_hole_that_an_absence_makes_is_a_row_an_event_and_an_alert(whole):
    policy_watch.watch(now=MONDAY_9AM)
    assert not standing()

    everybody_goes()
    policy_watch.watch(now=MONDAY_9AM)

    (hole,) = [each for each in standing() if each.key.startswith("timeout")]
    assert "nobody can decide on Vendor payment requests" in hole.sentence
    assert hole.since == MONDAY_9AM + timedelta(days=30)
    assert Alert.objects.filter(kind="policy.hole", key=f"1|{hole.key}", closed_at=None).exists()
    assert AuditEvent.objects.filter(chain="policy", kind="hole.found").count() == len(standing())


def test_when_it_is_mended_the_alert_closes_by_itself(whole):
    everybody_goes()
    policy_watch.watch(now=MONDAY_9AM)

    Absence.objects.update(cancelled_at=MONDAY_9AM)
    policy_watch.watch(now=MONDAY_9AM + timedelta(minutes=1))

    assert not standing()
    assert not Alert.objects.filter(kind="policy.hole", closed_at=None).exists()
    assert PolicyFinding.objects.filter(weight="hole").exclude(gone_at=None).exists()
    assert AuditEvent.objects.filter(kind="hole.gone").exists()


def test_a_hole_that_stands_is_told_once(whole):
    everybody_goes()
    policy_watch.watch(now=MONDAY_9AM)
    before = Alert.objects.count(), PolicyFinding.objects.count()

    PersonFactory()  # something changed, and not this
    policy_watch.watch(now=MONDAY_9AM + timedelta(minutes=1))

    assert (Alert.objects.count(), PolicyFinding.objects.count()) == before


def test_policy_administrators_are_told_beside_the_operators(whole):
    admin = PersonFactory(roles=[RoleFactory(key="policy_admin")])
    channel = ContactChannelFactory(person=admin)
    everybody_goes()
    policy_watch.watch(now=MONDAY_9AM)

    tell_of_alerts(now=MONDAY_9AM)

    assert Notice.objects.filter(channel=channel).exists()


CHANGES = {
    "an absence": lambda whole: AbsenceFactory(),
    "a cancelled absence": lambda whole: Absence.objects.update(cancelled_at=MONDAY_9AM),
    "a limit": lambda whole: Person.objects.filter(pk=whole.cfo.pk).update(limit_amount=5),
    "a manager": lambda whole: Person.objects.filter(pk=whole.ceo.pk).update(
        manager=whole.agent_owner
    ),
    "an account": lambda whole: Person.objects.filter(pk=whole.ceo.pk).update(is_active=False),
    "a role": lambda whole: whole.cfo.roles.clear(),
    "a shift": lambda whole: RosterShiftFactory(),
    "a shorter shift": lambda whole: RosterShift.objects.update(
        ends_at=MONDAY_9AM + timedelta(hours=1)
    ),
    "an agent's owner": lambda whole: type(whole.agent).objects.update(owner=whole.cfo),
    "what an agent may ask": lambda whole: AgentCredentialFactory(
        agent=whole.agent, actions=["refund"]
    ),
    "an action type": lambda whole: type(whole.vendor_payment).objects.update(state="retired"),
    "another version in force": lambda whole: PolicyVersion.objects.update(state="superseded"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_whatever_it_rests_on_changes_the_stamp(whole, what):
    AbsenceFactory()
    RosterShiftFactory()
    before = policy_watch.stamp_of(MONDAY_9AM)

    CHANGES[what](whole)

    assert policy_watch.stamp_of(MONDAY_9AM) != before


def test_nothing_is_checked_again_while_nothing_changed(whole):
    policy_watch.watch(now=MONDAY_9AM)
    again = MONDAY_9AM + timedelta(minutes=1)

    with CaptureQueriesContext(connection) as caught:
        policy_watch.watch(now=again)

    assert not any("governance_matrixrow" in each["sql"] for each in caught)
    assert Heartbeat.objects.get(name=policy_watch.SIGN).beat_at == again


def test_another_day_is_looked_at_afresh(whole):
    assert policy_watch.stamp_of(MONDAY_9AM) == policy_watch.stamp_of(
        MONDAY_9AM + timedelta(hours=1)
    )

    assert policy_watch.stamp_of(MONDAY_9AM) != policy_watch.stamp_of(
        MONDAY_9AM + timedelta(days=1)
    )


def test_a_version_that_still_routes_open_requests_is_checked_in_its_rows(whole):
    ask_for_payment(whole)
    PolicyVersion.objects.filter(pk=whole.policy.pk).update(state="superseded")
    PolicyVersionFactory(number=2, state="active", activated_at=MONDAY_9AM)
    Person.objects.filter(limit_amount__isnull=False).update(is_active=False)

    policy_watch.watch(now=clock.now())

    text = Alert.objects.get(kind="policy.hole", key__startswith="1|timeout").text
    assert text.startswith("Policy 1, by which open requests are still routed: ")


def test_what_stands_of_a_version_that_routes_nothing_any_more_is_closed(whole):
    old = PolicyFindingFactory(version=PolicyVersionFactory(number=9))

    policy_watch.watch(now=MONDAY_9AM)

    old.refresh_from_db()
    assert old.gone_at == MONDAY_9AM


def test_a_hole_that_was_signed_stands_without_an_alert(whole):
    everybody_goes()
    holes = policy_watch.check(whole.policy, now=MONDAY_9AM).holes
    PolicySignatureFactory(
        version=whole.policy, holes=[[each.key, each.sentence] for each in holes[1:]]
    )

    policy_watch.watch(now=MONDAY_9AM)

    assert len(standing()) == len(holes) > 1
    assert [each.key for each in Alert.objects.all()] == [f"1|{holes[0].key}"]


def test_the_worker_is_called_once_a_minute():
    now = clock.now()
    assert policy_watch.call_for_policy_check(now=now) == 1
    assert policy_watch.call_for_policy_check(now=now + timedelta(seconds=59)) == 0

    OrmQ.objects.all().delete()

    assert policy_watch.call_for_policy_check(now=now + timedelta(seconds=61)) == 1


def test_status_is_bad_while_a_hole_stands(client, whole):
    PolicyFindingFactory(version=whole.policy)

    policy = client.get("/status").json()["policy"]

    assert (policy["ok"], policy["holes"]) == (False, 1)


# --- check_policy ---


def run(*options):
    out = StringIO()
    call_command("check_policy", *options, stdout=out)
    return out.getvalue()


def test_the_command_prints_worst_cases_of_what_passes(whole):
    printed = run()

    assert "Policy 1: 0\u00a0holes" in printed
    assert "rejection: 4 (medium/high, high/medium, high/high); 6 (low/" in printed


def test_the_command_fails_on_a_hole_and_prints_its_sentence(whole):
    Person.objects.filter(limit_amount__isnull=False).update(is_active=False)
    out = StringIO()

    with pytest.raises(CommandError, match="hole"):
        call_command("check_policy", stdout=out)

    assert "Hole: At any time: nobody can decide on Vendor payment requests" in out.getvalue()


def test_the_command_takes_a_draft_by_its_number_and_answers_in_json(whole):
    PolicyVersionFactory(number=2)
    out = StringIO()

    with pytest.raises(CommandError):
        call_command("check_policy", "--version", "2", "--json", stdout=out)

    document = json.loads(out.getvalue())
    assert document["proved"] is False
    assert [each["version"] for each in document["versions"]] == [2]
    assert {"key", "sentence", "since", "until"} <= document["versions"][0]["holes"][0].keys()


def test_the_command_knows_no_version_that_is_not_there(db):
    with pytest.raises(CommandError, match="no policy 99"):
        run("--version", "99")
    with pytest.raises(CommandError, match="No policy is active"):
        run()
