"""What was given up, in somebody's hands: a message out of tries, a task that failed or kills its worker.

It is tried anew or put aside, each by a person, each in the record. Neither is
lost by waiting: the rows that tasks and messages speak of stand.
"""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django_q.models import Failure
from django_q.tasks import async_task

from approvals.locks import lock_request
from approvals.models import ActionRequest, Notice
from approvals.services.alerts import close_in
from governance import actors, bulk, courier
from governance.errors import AlreadyDecided, NotFound, NotNow, NotYours
from governance.ledger import Act
from governance.models import Person, TaskAttempt
from governance.vocabulary import Chain, Duty
from governance.wake import wake_clock

MAY = (Duty.OPERATOR, Duty.POLICY_ADMIN)
NOTHING = "Nothing was changed."


def may_tend(person: Person) -> bool:
    """Whether somebody may send, run or put aside what was given up."""
    return person.is_superuser or person.has_duty(*MAY)


@transaction.atomic
def send_again(*, notice: int, actor: Person, now: datetime) -> Notice:
    """Try a message that was out of tries anew, from its first try. What is no longer true is dropped then.

    A webhook goes under the number and id it had: a receiver that got it after
    all knows it again.

    Args:
        notice: primary key.

    Raises:
        NotYours: neither an operator nor a policy administrator.
        NotFound: there is no such message.
        AlreadyDecided: it is not out of tries: somebody was faster.
    """
    found, request = _given_up(notice, actor)
    found.state, found.attempts, found.next_attempt_at = Notice.State.WAITING, 0, now
    _end(found, request, "notice.sent_again", actor, now)
    wake_clock(now)
    return found


@transaction.atomic
def put_aside(*, notice: int, actor: Person, now: datetime) -> Notice:
    """Let a message that was out of tries be: whoever it was for has been told otherwise. Raises as `send_again`."""
    found, request = _given_up(notice, actor)
    found.state = Notice.State.DROPPED
    _end(found, request, "notice.put_aside", actor, now)
    return found


@transaction.atomic
def run_again(*, task: str, actor: Person, now: datetime) -> None:
    """Queue anew what a task that failed was to do. What it does stands in rows, so doing it twice is safe.

    Args:
        task: the queue's id.

    Raises:
        NotYours: neither an operator nor a policy administrator.
        NotFound: there is no such task among the failed ones.
        NotNow: it is no task of ours, or the queue still brings it.
    """
    name = _given_up_task(task, actor)
    if not courier.is_task(name):
        raise NotNow(f"{name} is no task of Recourse: it is not run from here. {NOTHING}")
    async_task(name, save=False)
    _end_task(task, name, "task.run_again", actor, now)


@transaction.atomic
def put_task_aside(*, task: str, actor: Person, now: datetime) -> None:
    """Let a task that failed be: the sweeps have found its work, or there is none. Raises as `run_again`."""
    _end_task(task, _given_up_task(task, actor), "task.put_aside", actor, now)


# --- Inside ---


def _require(actor: Person) -> None:
    if not may_tend(actor):
        raise NotYours(f"Operators and policy administrators look after what failed. {NOTHING}")


def _given_up(pk: int, actor: Person) -> tuple[Notice, ActionRequest | None]:
    _require(actor)
    seen = Notice.objects.filter(pk=pk).values_list("request__ref", flat=True)
    refs = list(seen)
    if not refs:
        raise NotFound("There is no such message.")
    request = lock_request(refs[0]) if refs[0] is not None else None
    rows = Notice.objects.select_related("person").select_for_update(no_key=True, of=("self",))
    found: Notice = rows.get(pk=pk)
    if found.state != Notice.State.FAILED:
        state = found.get_state_display().lower()
        raise AlreadyDecided(f"Someone was faster: this message is {state} by now. {NOTHING}")
    return found, request


def _end(
    notice: Notice, request: ActionRequest | None, event: str, actor: Person, now: datetime
) -> None:
    notice.save(update_fields=["state", "attempts", "next_attempt_at"])
    act = Act(now=now, actor=actors.person(actor))
    facts = {"notice": notice.pk, "kind": notice.kind, "via": notice.via}
    if request is not None:
        act.record(request, event, **facts)
        bulk.save_alike(ActionRequest, [request], ["chain_length", "chain_hash"])
    else:
        act.record_named(Chain.SYSTEM, event, **facts)
    close_in(act, kind="notice.failed", key=f"notice {notice.pk}")
    alerts = Notice.objects.filter(state=Notice.State.FAILED, kind=Notice.Kind.ALERT)
    if notice.kind == Notice.Kind.ALERT and not alerts.exists():
        close_in(act, kind="notice.failed", key="alerts")
    act.write()


def _given_up_task(task: str, actor: Person) -> str:
    _require(actor)
    attempt = TaskAttempt.objects.select_for_update().filter(pk=task).first()
    failed = Failure.objects.filter(pk=task).values_list("func", flat=True).first()
    if attempt is None and failed is None:
        raise NotFound("There is no such task among those that failed.")
    if attempt is not None and not courier.is_given_up(attempt):
        raise NotNow(f"The queue still brings this task, or a worker has it. {NOTHING}")
    return attempt.name if attempt is not None else str(failed)


def _end_task(task: str, name: str, event: str, actor: Person, now: datetime) -> None:
    TaskAttempt.objects.filter(pk=task).delete()
    Failure.objects.filter(pk=task).delete()
    act = Act(now=now, actor=actors.person(actor))
    for kind in courier.ALERTS:
        close_in(act, kind=kind, key=task)
    act.record_named(Chain.SYSTEM, event, task=task, name=name)
    act.write()
