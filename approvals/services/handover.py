"""Somebody who is asked gives it to somebody else: once, never back, and the clock runs on."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from django.db import transaction

from approvals.locks import lock_request
from approvals.models import ActionRequest, Ask, Step
from approvals.services import asking, decide
from approvals.services.asking import subject_of
from approvals.services.escalate import Handed
from approvals.services.gather import climbs
from approvals.services.writes import Writes
from governance import actors, tables
from governance.errors import NotNow, Unprocessable
from governance.models import Person
from governance.routing import GIVES_LEAVE, Candidate, History, People, Subject, hindrance
from governance.tables import Policy
from governance.vocabulary import Level
from governance.wake import wake_clock

NOTE_LENGTH = 200  # it is shown in one line, wherever it says why somebody is asked
NOT_HANDED = "It was not handed over; you are still asked."


@transaction.atomic
def hand_over(*, ref: str, actor: Person, to: str, now: datetime, note: str = "") -> ActionRequest:
    """Have somebody else asked in place of `actor`, on the same clock.

    Args:
        to: user name of somebody whom the department's rows of the matrix lead to.
        note: why; they read it first.

    Raises:
        AlreadyDecided, TooLate, NotYours: as for a decision.
        NotNow: it was handed to the actor, or may not be handed over on this step.
        Unprocessable: nobody of that name, or somebody who may not decide on it.
    """
    note = note.strip()
    if len(note) > NOTE_LENGTH:
        raise Unprocessable(f"A note has at most {NOTE_LENGTH} characters. {NOT_HANDED}")
    request = lock_request(ref, and_resource=True)
    writes = Writes()
    (climb,) = climbs([request], writes, actor=actors.person(actor), now=now)
    step = decide.step_of(climb, actor, now)
    own = next(ask for ask in climb.asks if ask.person_id == actor.pk)
    why = why_not(step, own, climb.handed)
    if why is not None:
        raise NotNow(f"{why} {NOT_HANDED}")
    people = whom_the_department_knows(request, climb.policy, now=now)
    subject, history = subject_of(request), climb.history
    out = climb.handed.by | {ask.person_id for ask in climb.asks if ask.asked_at}
    found = candidates(people, subject=subject, history=history, out=out, now=now)
    chosen = next((each for each in found if each.username == to), None)
    if chosen is None:
        raise Unprocessable(_why_not_them(to, people, subject, history, out, now))
    climb.people = People({**climb.people.by_pk, **people.by_pk}, climb.people.holders)
    asking.hand_over(climb, own, chosen, note)
    climb.settle()
    writes.save()
    wake_clock(request.due_at)
    return request


def why_not(step: Step, own: Ask, handed: Handed) -> str | None:
    """Return why an open ask may not be handed over, or None if it may.

    Args:
        handed: who handed this request over before, and to whom, on any step.
    """
    if step.path not in GIVES_LEAVE:
        return "Only the question whether something may be done is handed over."
    if step.level >= Level.L4:
        return "An emergency is not handed over."
    if own.person_id in handed.to:
        return "It was handed over to you, so it goes no further."
    return None


def whom_the_department_knows(request: ActionRequest, policy: Policy, *, now: datetime) -> People:
    """Return everybody whom the matrix rows of the request's department lead to, and those above them."""
    rows = [row for row in policy.rows.values() if row.department == request.department_id]
    return tables.people_for(rows, now=now)


def candidates(
    people: People,
    *,
    subject: Subject,
    history: History,
    out: Collection[int],
    now: datetime,
) -> list[Candidate]:
    """Return to whom it may be handed over: who may decide on it and can be reached.

    Args:
        out: who may not take it: they were asked on this step, or handed the request over before.
    """
    return sorted(
        (
            each
            for pk, each in people.by_pk.items()
            if pk not in out
            and each.reachable
            and hindrance(each, subject=subject, history=history, now=now) is None
        ),
        key=lambda each: each.name,
    )


def _why_not_them(
    username: str,
    people: People,
    subject: Subject,
    history: History,
    out: Collection[int],
    now: datetime,
) -> str:
    found = next((each for each in people.by_pk.values() if each.username == username), None)
    if found is None:
        return f"Choose somebody who may decide on this. {NOT_HANDED}"
    obstacle = hindrance(found, subject=subject, history=history, now=now)
    why = "cannot be reached" if obstacle is None else obstacle.why
    if found.pk in out:
        why = "was asked already"
    return f"The {found.name} {why}. {NOT_HANDED}"
