"""What was given up is sent or run again, or put aside: by a person, and in the record."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django_q.models import Failure, OrmQ

from approvals.models import Alert, Notice
from approvals.notifications import deliver_due
from approvals.selectors import dead_letters, dead_tasks
from approvals.services.alerts import sound
from approvals.services.dead_letters import (
    put_aside,
    put_task_aside,
    run_again,
    send_again,
)
from governance import actors
from governance.courier import DIED
from governance.errors import AlreadyDecided, NotFound, NotNow, NotYours
from governance.models import AuditEvent
from tests.approvals.asking import ask_for_payment
from tests.approvals.outside import receiver
from tests.factories import (
    MONDAY_9AM,
    FailureFactory,
    NoticeFactory,
    PersonFactory,
    RoleFactory,
    TaskAttemptFactory,
)

pytestmark = pytest.mark.django_db

M = timedelta(minutes=1)
LATER = MONDAY_9AM + 60 * M


@pytest.fixture(params=["operator", "policy_admin"])
def admin(request):
    return PersonFactory(roles=[RoleFactory(key=request.param)])


@pytest.fixture
def operator(db):
    return PersonFactory(roles=[RoleFactory(key="operator")])


def dead(**over):
    return NoticeFactory(
        **{"state": "failed", "attempts": 8, "next_attempt_at": None, "last_error": "No."} | over
    )


def test_a_webhook_out_of_tries_is_sent_again_under_its_number_and_its_alert_closes(
    company, admin, settings
):
    settings.CALLBACKS_MAY_BE_PRIVATE = True
    with receiver() as hook:
        request = ask_for_payment(company)
        request.callback_url = hook.url()
        request.save(update_fields=["callback_url"])
        facts = {"state": "pending", "reason": "waiting"}
        letter = dead(request=request, ask=None, person=None, via="webhook", kind="state",
                      number=1, facts=facts)  # fmt: skip
        sound(
            by="clock", kind="notice.failed", key=f"notice {letter.pk}", text="No.", now=MONDAY_9AM
        )
        assert list(dead_letters()) == [letter]

        again = send_again(notice=letter.pk, actor=admin, now=LATER)
        deliver_due(now=LATER)

        assert (again.attempts, len(hook.got)) == (0, 1)
        assert hook.ids == [f"msg_{request.ref}_1"]
    letter.refresh_from_db()
    assert letter.state == Notice.State.DELIVERED
    assert list(dead_letters()) == []
    assert Alert.objects.get(kind="notice.failed").closed_at == LATER
    event = AuditEvent.objects.get(kind="notice.sent_again")
    assert (event.chain, event.actor) == (request.ref, actors.person(admin))


def test_it_is_tried_anew_as_often_as_at_first(operator):
    letter = dead(ask=None, request=None, person=operator, kind="alert", via="email")

    send_again(notice=letter.pk, actor=operator, now=LATER)

    letter.refresh_from_db()
    assert (letter.state, letter.attempts, letter.next_attempt_at) == ("waiting", 0, LATER)


def test_what_is_put_aside_is_not_tried_and_is_in_the_record(admin):
    letter = dead()

    put_aside(notice=letter.pk, actor=admin, now=LATER)

    letter.refresh_from_db()
    assert (letter.state, letter.next_attempt_at) == ("dropped", None)
    assert deliver_due(now=LATER) == 0
    assert AuditEvent.objects.get(kind="notice.put_aside").facts["notice"] == letter.pk


def test_the_one_alert_of_alerts_stands_until_none_of_them_is_dead(operator):
    letters = [dead(ask=None, request=None, person=operator, kind="alert") for _ in range(2)]
    sound(by="clock", kind="notice.failed", key="alerts", text="No.", now=MONDAY_9AM)

    put_aside(notice=letters[0].pk, actor=operator, now=LATER)
    assert Alert.objects.get().closed_at is None

    put_aside(notice=letters[1].pk, actor=operator, now=LATER)
    assert Alert.objects.get().closed_at == LATER


@pytest.mark.parametrize("do", [send_again, put_aside])
def test_who_comes_second_changes_nothing(operator, do):
    letter = dead(state="delivered", attempts=1)

    with pytest.raises(AlreadyDecided, match="delivered by now"):
        do(notice=letter.pk, actor=operator, now=LATER)
    with pytest.raises(NotFound):
        do(notice=letter.pk + 1, actor=operator, now=LATER)


def test_others_look_after_nothing(company):
    letter, task = dead(), FailureFactory()

    for duty in ("auditor", "compliance", ""):
        other = PersonFactory(roles=[RoleFactory(key=duty)] if duty else [])
        for do in (send_again, put_aside):
            with pytest.raises(NotYours):
                do(notice=letter.pk, actor=other, now=LATER)
        for do in (run_again, put_task_aside):
            with pytest.raises(NotYours):
                do(task=task.pk, actor=other, now=LATER)

    assert Notice.objects.get().state == "failed"
    assert Failure.objects.count() == 1


def given_up(**over):
    facts = {"name": "approvals.tasks.audit", "attempts": 3, "last_error": "ValueError: no"}
    return TaskAttemptFactory(**facts | over)


def test_a_task_that_was_given_up_is_queued_again_and_forgotten(admin):
    task = given_up()
    FailureFactory(id=task.pk, func=task.name)
    sound(by="clock", kind="task.failed", key=task.pk, text="No.", now=MONDAY_9AM)
    assert [each.task for each in dead_tasks(limit=9)] == [task.pk]

    run_again(task=task.pk, actor=admin, now=LATER)

    assert OrmQ.objects.get().func() == "approvals.tasks.audit"
    assert dead_tasks(limit=9) == []
    assert Failure.objects.count() == 0
    assert Alert.objects.get().closed_at == LATER
    assert AuditEvent.objects.get(kind="task.run_again").facts["task"] == task.pk


def test_a_task_that_kills_its_worker_is_put_aside(operator):
    task = given_up(attempts=6, last_error=DIED, dropped_at=MONDAY_9AM)
    sound(by="clock", kind="task.dropped", key=task.pk, text="No.", now=MONDAY_9AM)

    put_task_aside(task=task.pk, actor=operator, now=LATER)

    assert dead_tasks(limit=9) == []
    assert OrmQ.objects.count() == 0
    assert Alert.objects.get().closed_at == LATER


@pytest.mark.parametrize(
    "over", [{"attempts": 2}, {"last_error": DIED}, {"last_error": "", "worker": "here/1"}]
)
def test_what_the_queue_still_brings_is_left_to_it(operator, over):
    task = given_up(**over)

    assert dead_tasks(limit=9) == []
    with pytest.raises(NotNow, match="still brings"):
        run_again(task=task.pk, actor=operator, now=LATER)


@pytest.mark.parametrize("func", ["os.system", "governance.clock.now", "approvals.tasks.nothing"])
def test_only_what_is_a_task_of_ours_is_queued(operator, func):
    task = FailureFactory(func=func)

    with pytest.raises(NotNow, match="no task of Recourse"):
        run_again(task=task.pk, actor=operator, now=LATER)

    assert OrmQ.objects.count() == 0
