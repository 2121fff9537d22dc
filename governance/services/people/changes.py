"""Changes of people that take two: one administrator asks, another confirms.

One that is open has a clock of its own and ends visibly: confirmed, refused,
withdrawn, lapsed, or out of date because what it would have changed moved.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from governance import actors, signs, wording
from governance.errors import AlreadyDecided, NotFound, NotNow, NotYours, TooLate, Unprocessable
from governance.ledger import Act
from governance.models import Agent, PeopleChange, Person
from governance.services.people import saying
from governance.services.people.kinds import KINDS, Subject, shift_rows, span, written
from governance.services.people.standing import administrators, is_administrator
from governance.vocabulary import Chain
from governance.wake import wake_clock

S = PeopleChange.State
K = PeopleChange.Kind
CONFIRM_WITHIN = timedelta(hours=72)  # a weekend between asking and confirming loses nothing
REASON_LENGTH = 300
PAGE = "/people/"


@transaction.atomic
def ask_for_change(
    *,
    kind: str,
    actor: Person,
    becomes: Any,
    reason: str,
    now: datetime,
    person: int | None = None,
    agent: int | None = None,
    target: str = "",
    seen: str = "",
    take_out: Sequence[dict[str, str]] = (),
) -> PeopleChange:
    """Ask for a change. Nothing of it holds before a second administrator confirms it.

    Args:
        becomes: the value asked for, as `kinds` has it; of a roster the shifts to put in.
        person, agent, target: whose; primary keys, and a connector's key. One of them.
        seen: the value that the actor saw, as `kinds.written` writes it: a change of what has
            moved since is refused. "" where none was shown.
        take_out: shifts of the roster that end or go.

    Raises:
        NotYours: no administrator.
        NotFound: no such person or agent.
        NotNow: one waits already; or the value is not what the actor saw.
        Unprocessable: it changes nothing, must not be, or nobody could confirm it. `field` says where.
    """
    if not is_administrator(actor):
        raise NotYours("Administrators ask for changes of people. Nothing was changed.")
    reason = wording.plain(reason, REASON_LENGTH)
    if not reason:
        raise Unprocessable("Say why. Whoever confirms it reads this.", field="reason")
    subject = _locked(_subject(person, agent, target))
    how = KINDS[kind]
    present = how.read(subject, list(take_out))
    if kind == K.SHIFTS:
        _check_taken_out(target, take_out, now)
    elif seen and seen != written(present):
        raise NotNow("This was changed since you opened the page. Nothing was asked for.")
    if present == becomes:
        raise Unprocessable("Change something: this is how it is now.", field="reason")
    _nothing_waits(kind, subject)
    how.check(subject, present, becomes, now)
    change: PeopleChange = PeopleChange(
        kind=kind,
        person=subject.person,
        agent=subject.agent,
        target=subject.target,
        was=present,
        becomes=becomes,
        reason=reason,
        asked_by=actor,
        asked_at=now,
        due_at=now + CONFIRM_WITHIN,
    )
    may = [each.pk for each in _may_confirm(change)]
    if not may:
        raise Unprocessable(
            "There is no second administrator who may confirm this: none who asks for it, and "
            "nobody whom it is about. Nothing was asked for.",
            field="reason",
        )
    change.save()
    act = Act(now=now, actor=actors.person(actor))
    act.record_named(Chain.PEOPLE, "change.asked", **_facts(change), due_at=change.due_at)
    until = wording.span(CONFIRM_WITHIN)
    text = (
        f"{actor} asks for a change that you may confirm: {saying.words(change)} "
        f"Their reason: {reason} It lapses in {until}."
    )
    signs.tell(may, text=text, page=PAGE, now=now)
    act.write()
    wake_clock(change.due_at)
    return change


def confirm_change(*, change: int, actor: Person, now: datetime) -> PeopleChange:
    """Agree to a change that somebody else asked for. It holds from now on.

    Args:
        change: primary key.

    Raises:
        NotFound: there is none.
        AlreadyDecided: it has ended.
        TooLate: its time was over; the next sweep ends it.
        NotYours: no administrator, or the one who asked, or somebody whom it is about.
        NotNow: what it would have changed is another by now. It ends out of date.
    """
    found: PeopleChange = _confirm(change, actor, now)
    if found.state == S.STALE:  # said after the end of it was stored
        raise NotNow(f"{found.note} The change is out of date, and nothing was changed.")
    return found


@transaction.atomic
def refuse_change(*, change: int, actor: Person, note: str, now: datetime) -> PeopleChange:
    """Say no to a change that somebody else asked for. Raises as `confirm_change`, and Unprocessable without a note."""
    found = _waiting(change, now)
    _second_or_refuse(found, actor)
    note = wording.plain(note, REASON_LENGTH)
    if not note:
        raise Unprocessable("Say why not. Whoever asked for it reads this.", field="note")
    found.refuse()
    return _ended(found, "change.refused", actor=actor, note=note, now=now)


@transaction.atomic
def withdraw_change(*, change: int, actor: Person, now: datetime) -> PeopleChange:
    """Take back what one asked for oneself. Raises NotFound, AlreadyDecided, NotYours."""
    found = _waiting(change, now)
    if found.asked_by_id != actor.pk:
        raise NotYours("Whoever asked for it takes it back. Others refuse it.")
    found.withdraw()
    return _ended(found, "change.withdrawn", actor=actor, now=now)


@transaction.atomic
def lapse_change(change: PeopleChange, *, now: datetime) -> None:
    """End a change whose time is over. The caller has claimed its row.

    Raises ValueError for one whose time is not over: a defect of the caller.
    """
    if change.due_at is None or now < change.due_at:
        raise ValueError(f"change {change.pk} has time until {change.due_at}")
    text = f"Nobody confirmed a change of people in time, so it lapsed: {saying.words(change)}"
    signs.alarm(kind="people.lapsed", key=f"change {change.pk}", text=text, now=now)
    change.lapse()
    _ended(change, "change.lapsed", actor=None, now=now)


def is_second(change: PeopleChange, person: Person) -> bool:
    """Whether an administrator may confirm or refuse an open change: another's, that does not name them."""
    return change.asked_by_id != person.pk and person.username not in _named(change)


@transaction.atomic
def _confirm(pk: int, actor: Person, now: datetime) -> PeopleChange:
    found = _waiting(pk, now)
    _second_or_refuse(found, actor)
    subject = _locked(Subject(found.person, found.agent, found.target))
    how = KINDS[found.kind]
    stale = _why_stale(found, subject, now)
    if stale:
        found.go_stale()
        return _ended(found, "change.outdated", actor=actor, note=stale, now=now)
    how.write(subject, found.was, found.becomes, now)
    found.confirm()
    return _ended(found, "change.confirmed", actor=actor, now=now)


def _why_stale(change: PeopleChange, subject: Subject, now: datetime) -> str:
    """Say why what was asked for no longer fits what there is; "" if it does."""
    how = KINDS[change.kind]
    if how.read(subject, change.was) != change.was:
        return "This was changed since it was asked for."
    if not is_administrator(change.asked_by):
        return "Whoever asked for this is no administrator any more."
    try:
        how.check(subject, change.was, change.becomes, now)
    except Unprocessable as refused:
        return refused.detail
    return ""


def _waiting(pk: int, now: datetime) -> PeopleChange:
    """Lock all open changes, and return one of them that has time left.

    All, in one order: two that together would make a circle of the reporting line
    are then confirmed one after the other, and the second sees what the first did.
    """
    open_ = PeopleChange.objects.filter(state=S.OPEN).order_by("pk")
    held: dict[int, PeopleChange] = {
        each.pk: each for each in open_.select_for_update(no_key=True, of=("self",))
    }
    found = held.get(pk)
    if found is None:
        ended = PeopleChange.objects.filter(pk=pk).first()
        if ended is None:
            raise NotFound("There is no such change.")
        by = f" by {ended.ended_by}" if ended.ended_by else ""
        raise AlreadyDecided(
            f"Someone was faster: this was {ended.get_state_display().lower()}{by} "
            f"at {ended.ended_at:%H:%M:%S} UTC. Nothing was changed now."
        )
    if found.due_at is None or found.due_at <= now:
        raise TooLate("The time for this was over, so it lapses. Ask for it anew.")
    return found


def _second_or_refuse(change: PeopleChange, actor: Person) -> None:
    if not is_administrator(actor):
        raise NotYours("Administrators confirm changes of people. Nothing was changed.")
    if change.asked_by_id == actor.pk:
        raise NotYours("You asked for this: a second person confirms it. Nothing was changed.")
    if not is_second(change, actor):
        raise NotYours("This is about you: somebody else confirms it. Nothing was changed.")


def _may_confirm(change: PeopleChange) -> Iterable[Person]:
    return [each for each in administrators().order_by("pk") if is_second(change, each)]


def _named(change: PeopleChange) -> set[str]:
    subject = Subject(change.person, change.agent, change.target)
    return KINDS[change.kind].named(subject, change.was, change.becomes)


def _subject(person: int | None, agent: int | None, target: str) -> Subject:
    found = Subject(
        Person.objects.filter(pk=person).first() if person is not None else None,
        Agent.objects.filter(pk=agent).first() if agent is not None else None,
        target,
    )
    if person is not None and found.person is None:
        raise NotFound("There is no such person.")
    if agent is not None and found.agent is None:
        raise NotFound("There is no such agent.")
    return found


def _locked(subject: Subject) -> Subject:
    """Return the subject read again under the lock on its row."""
    person, agent = subject.person, subject.agent
    if person is not None:
        person = Person.objects.select_for_update(no_key=True, of=("self",)).get(pk=person.pk)
    if agent is not None:
        agent = Agent.objects.select_for_update(no_key=True, of=("self",)).get(pk=agent.pk)
    return Subject(person, agent, subject.target)


def _nothing_waits(kind: str, subject: Subject) -> None:
    """Refuse a second change of the same thing. Of a roster several may wait."""
    if kind == K.SHIFTS:
        return
    waiting = PeopleChange.objects.filter(
        state=S.OPEN, kind=kind, person=subject.person, agent=subject.agent
    ).first()
    if waiting is not None:
        raise NotNow(
            f"A change of this waits already: {saying.words(waiting)} "
            "Have it confirmed, refused or withdrawn first."
        )


def _check_taken_out(target: str, shifts: Sequence[dict[str, str]], now: datetime) -> None:
    for each in shifts:
        if not shift_rows(target, each):
            raise NotNow("This shift is not there any more. Nothing was asked for.")
        if span(each)[1] <= now:
            raise NotNow("This shift is over, and stays on record. Nothing was asked for.")


def _ended(
    change: PeopleChange, kind: str, *, actor: Person | None, now: datetime, note: str = ""
) -> PeopleChange:
    """Store the end of a change, record it, and tell whoever asked for it and whom it changed."""
    change.due_at, change.ended_at, change.ended_by, change.note = None, now, actor, note
    change.save()
    act = Act(now=now, actor=actors.person(actor) if actor is not None else actors.CLOCK)
    facts = {"note": note} if note else {}
    act.record_named(
        Chain.PEOPLE, kind, asked_by=actors.person(change.asked_by), **_facts(change), **facts
    )
    concerned = {change.asked_by_id}
    if change.state == S.CONFIRMED:
        concerned |= set(
            Person.objects.filter(username__in=_named(change)).values_list("pk", flat=True)
        )
    text = f"{saying.ended(change)} {saying.words(change)}"
    told = concerned - {actor.pk if actor is not None else None}
    signs.tell({pk for pk in told if pk is not None}, text=text, page=PAGE, now=now)
    act.write()
    return change


def _facts(change: PeopleChange) -> dict[str, Any]:
    facts: dict[str, Any] = {"change": change.pk, "what": change.kind}
    if change.person is not None:
        facts["person"] = actors.person(change.person)
    if change.agent is not None:
        facts["agent"] = actors.agent(change.agent)
    if change.target:
        facts["target"] = change.target
    return facts | {"was": change.was, "becomes": change.becomes, "reason": change.reason}
