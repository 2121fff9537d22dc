"""The life of an action type's version: one administrator asks, another confirms, and the gates are asked twice.

One change of a version waits at a time, with a clock of its own, and ends visibly.
What must hold before a version may be used is not known here: the caller hands in
the gates, which are asked under the lock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils.module_loading import import_string
from django_fsm import can_proceed

from governance import actors, audits, signs, stepup, wording
from governance.errors import AlreadyDecided, NotFound, NotNow, NotYours, TooLate, Unprocessable
from governance.events import Event
from governance.ledger import Act
from governance.models import ActionChange, ActionType, Person
from governance.services.actions.standing import administrators, is_administrator, require_admin
from governance.stepup import Presence
from governance.vocabulary import Chain
from governance.wake import wake_clock

S = ActionChange.State
T = ActionType.State
CONFIRM_WITHIN = timedelta(hours=72)  # as for changes of people: a weekend loses nothing
REASON_LENGTH = 300
NOTHING = "Nothing was changed."
DONE = {
    T.TESTED: "action_type.tested",
    T.PRODUCTION: "action_type.promoted",
    T.RETIRED: "action_type.retired",
}

# (version, what it becomes) -> of each gate that is not met, the sentence that says what is missing
Gates = Callable[[ActionType, str], Sequence[str]]


class NotReady(Unprocessable):
    """A gate is not met. The sentences say what is missing."""

    problem, title = "not-ready", "Something is missing"


def matter_of(change: int) -> str:
    """Return what a second factor is given for, to confirm a change."""
    return f"action-change-{change}"


@transaction.atomic
def ask_for_change(
    *, key: str, version: int, becomes: str, actor: Person, reason: str, gates: Gates, now: datetime
) -> ActionChange:
    """Ask for a version to be tested, put into production or retired. It holds once another confirms it.

    Raises:
        NotYours: no policy administrator.
        NotFound: there is no such version.
        NotNow: its state does not allow it, or one waits already.
        NotReady: a gate is not met.
        Unprocessable: no reason, or nobody could confirm it. `field` says where.
    """
    require_admin(actor)
    found = _locked(key).get(version)
    if found is None:
        raise NotFound(f"There is no version {version} of {key}.")
    reason = wording.plain(reason, REASON_LENGTH)
    if not reason:
        raise Unprocessable("Say why. Whoever confirms it reads this.", field="reason")
    _require_possible(found, becomes)
    waiting = _open_changes(key).filter(action_type=found).first()
    if waiting is not None:
        raise NotNow(
            f"A change of {found} waits already, asked for by {waiting.asked_by}."
            " Have it confirmed, refused or withdrawn first."
        )
    _require_ready(found, becomes, gates, now)
    may = list(administrators().exclude(pk=actor.pk).order_by("pk").values_list("pk", flat=True))
    if not may:
        raise Unprocessable(
            "There is no second policy administrator who may confirm this. Nothing was asked for.",
            field="reason",
        )
    change: ActionChange = ActionChange.objects.create(
        action_type=found,
        becomes=becomes,
        reason=reason,
        asked_by=actor,
        asked_at=now,
        due_at=now + CONFIRM_WITHIN,
    )
    act = Act(now=now, actor=actors.person(actor))
    act.record_named(
        Chain.ACTIONS,
        "action_change.asked",
        **_facts(change),
        was=found.state,
        due_at=change.due_at,
    )
    text = (
        f"{actor} asks that {_words(change)}, which you may confirm. Their reason: {reason}"
        f" It lapses in {wording.span(CONFIRM_WITHIN)}."
    )
    signs.tell(may, text=text, page=page_of(found), now=now)
    act.write()
    wake_clock(change.due_at)
    return change


def confirm_change(
    *, change: int, actor: Person, presence: Presence | None, gates: Gates, now: datetime
) -> ActionChange:
    """Agree to a change that another asked for. It holds from now on; the gates are asked once more.

    What goes into production takes the place of the version that is there, in the
    same transaction. What is in flight goes on with the version it has.

    Args:
        change: primary key.
        presence: a second factor for `matter_of(change)`.

    Raises:
        NotFound: there is none.
        AlreadyDecided: it has ended.
        TooLate: its time was over; the next sweep ends it.
        NotYours: no policy administrator, or the one who asked.
        NoSecondFactor, StepUpNeeded: they have not shown that it is them.
        NotReady: a gate is not met now. The change waits on.
        NotNow: whoever asked is no administrator any more. It ends out of date.
    """
    require_admin(actor)
    stepup.required(presence, actor=actor, matter=matter_of(change), thing="change", so=NOTHING)
    found: ActionChange = _confirm(change, actor, gates, now)
    if found.state == S.STALE:  # said after the end of it was stored
        raise NotNow(f"{found.note} The change is out of date. {NOTHING}")
    return found


@transaction.atomic
def refuse_change(*, change: int, actor: Person, note: str, now: datetime) -> ActionChange:
    """Say no to a change that another asked for. Raises as `confirm_change`, and Unprocessable without a note."""
    found, _ = _waiting(change, now)
    _second_or_refuse(found, actor)
    note = wording.plain(note, REASON_LENGTH)
    if not note:
        raise Unprocessable("Say why not. Whoever asked for it reads this.", field="note")
    found.refuse()
    return _ended_alone(found, "action_change.refused", actor=actor, note=note, now=now)


@transaction.atomic
def withdraw_change(*, change: int, actor: Person, now: datetime) -> ActionChange:
    """Take back what one asked for oneself. Raises NotFound, AlreadyDecided, TooLate, NotYours."""
    found, _ = _waiting(change, now)
    if found.asked_by_id != actor.pk:
        raise NotYours("Whoever asked for it takes it back. Others refuse it.")
    found.withdraw()
    return _ended_alone(found, "action_change.withdrawn", actor=actor, now=now)


@transaction.atomic
def lapse_change(change: ActionChange, *, now: datetime) -> None:
    """End a change whose time is over. The caller has claimed its row.

    Raises ValueError for one whose time is not over: a defect of the caller.
    """
    if change.due_at is None or now < change.due_at:
        raise ValueError(f"change {change.pk} has time until {change.due_at}")
    text = f"Nobody confirmed in time that {_words(change)}, so it lapsed."
    signs.alarm(kind="actions.lapsed", key=f"change {change.pk}", text=text, now=now)
    change.lapse()
    _ended_alone(change, "action_change.lapsed", actor=None, now=now)


@transaction.atomic
def set_aside(*, key: str, version: int, actor: Person, now: datetime) -> ActionType:
    """Retire a version that no agent could ever ask for: one administrator is enough.

    Raises:
        NotYours: no policy administrator.
        NotFound: there is no such version.
        NotNow: it is or was in production; or a change of it waits.
    """
    require_admin(actor)
    found = _locked(key).get(version)
    if found is None:
        raise NotFound(f"There is no version {version} of {key}.")
    if found.state not in (T.DRAFT, T.TESTED):
        raise NotNow(
            f"{found} is {found.get_state_display().lower()}: setting it aside is for versions that"
            f" never went into production. {NOTHING}"
        )
    if _open_changes(key).filter(action_type=found).exists():
        raise NotNow(f"A change of {found} waits: have it ended first. {NOTHING}")
    was = found.state
    found.retire()
    found.save(update_fields=["state"])
    act = Act(now=now, actor=actors.person(actor))
    act.record_named(
        Chain.ACTIONS, "action_type.retired", action=key, version=version, was=was, by=None
    )
    act.write()
    return found


def is_second(change: ActionChange, person: Person) -> bool:
    """Whether somebody may confirm or refuse an open change, as far as who they are goes."""
    return change.asked_by_id != person.pk and is_administrator(person)


def page_of(action_type: ActionType) -> str:
    """Return the path of a version's page."""
    return f"/actions/{action_type.key}/{action_type.version}/"


# --- Inside ---


@transaction.atomic
def _confirm(pk: int, actor: Person, gates: Gates, now: datetime) -> ActionChange:
    found, versions = _waiting(pk, now)
    _second_or_refuse(found, actor)
    act = Act(now=now, actor=actors.person(actor))
    if not is_administrator(found.asked_by):
        found.go_stale()
        note = "Whoever asked for this is no policy administrator any more."
        return _ended(found, "action_change.outdated", act, actor=actor, note=note)
    version = versions[found.action_type.version]
    _require_possible(version, found.becomes)
    _require_ready(version, found.becomes, gates, now)
    was, before = version.state, None
    if found.becomes == T.PRODUCTION:
        before = next((each for each in versions.values() if each.state == T.PRODUCTION), None)
    if before is not None:
        _give_way(before, version, act, actor)
    _move(version, found.becomes)
    found.confirm()
    act.record_named(
        Chain.ACTIONS,
        DONE[T(found.becomes)],
        action=version.key,
        version=version.version,
        was=was,
        asked_by=actors.person(found.asked_by),
        by=actors.person(actor),
        instead_of=None if before is None else before.version,
    )
    found.action_type = version
    return _ended(found, "action_change.confirmed", act, actor=actor)


def _move(version: ActionType, becomes: str) -> None:
    {T.TESTED: version.pass_tests, T.PRODUCTION: version.promote, T.RETIRED: version.retire}[
        T(becomes)
    ]()
    version.save(update_fields=["state"])


def _give_way(before: ActionType, to: ActionType, act: Act, actor: Person) -> None:
    """Retire the version in production, and end what waited about it."""
    before.retire()
    before.save(update_fields=["state"])
    act.record_named(
        Chain.ACTIONS, "action_type.retired", action=before.key, version=before.version,
        was=T.PRODUCTION, by=to.version,
    )  # fmt: skip
    for change in _open_changes(before.key).filter(action_type=before):
        change.go_stale()
        _store_end(change, actor=actor, note=f"Version {to.version} took its place.", now=act.now)
        act.record_named(
            Chain.ACTIONS, "action_change.outdated", **_facts(change), note=change.note
        )


def _locked(key: str) -> dict[int, ActionType]:
    """Lock every version of an action type, in order, and return them by number.

    All of them: a version that goes into production retires another, and of two that go
    at once the second sees what the first did.
    """
    rows = ActionType.objects.filter(key=key).order_by("pk")
    return {each.version: each for each in rows.select_for_update(no_key=True, of=("self",))}


def _open_changes(key: str) -> Any:
    rows = ActionChange.objects.filter(action_type__key=key, state=S.OPEN).order_by("pk")
    return rows.select_related("action_type", "asked_by")


def _waiting(pk: int, now: datetime) -> tuple[ActionChange, dict[int, ActionType]]:
    """Lock the versions, then the open changes of their key; return one of these that has time left."""
    asked = ActionChange.objects.select_related("action_type", "ended_by").filter(pk=pk).first()
    if asked is None:
        raise NotFound("There is no such change.")
    versions = _locked(asked.action_type.key)
    held = _open_changes(asked.action_type.key).select_for_update(no_key=True, of=("self",))
    found: ActionChange | None = next((each for each in held if each.pk == pk), None)
    if found is None:
        ended = ActionChange.objects.select_related("ended_by").get(pk=pk)
        by = f" by {ended.ended_by}" if ended.ended_by else ""
        raise AlreadyDecided(
            f"Someone was faster: this was {ended.get_state_display().lower()}{by} "
            f"at {ended.ended_at:%H:%M:%S} UTC. Nothing was changed now."
        )
    if found.due_at is None or found.due_at <= now:
        raise TooLate("The time for this was over, so it lapses. Ask for it anew.")
    return found, versions


def _require_possible(version: ActionType, becomes: str) -> None:
    """Raise NotNow unless the version may become this from where it is. By two people nothing else is done."""
    move = {T.TESTED: version.pass_tests, T.PRODUCTION: version.promote, T.RETIRED: version.retire}
    known = move.get(T(becomes)) if becomes in T.values else None
    unused = becomes == T.RETIRED and version.state != T.PRODUCTION
    if known is None or unused or not can_proceed(known):
        raise NotNow(
            f"{version} is {version.get_state_display().lower()}, and cannot be made"
            f" {becomes if becomes in T.values else 'that'} from there. {NOTHING}"
        )


def _require_ready(version: ActionType, becomes: str, gates: Gates, now: datetime) -> None:
    if becomes == T.RETIRED:
        return
    missing = list(gates(version, becomes))
    standing: int = import_string(settings.RECOURSE_OPEN_FINDINGS)()
    # Whatever the gates look at: nothing is promoted over a finding, nor while nobody looks for any.
    held = audits.why_held(findings=standing, looked_at=audits.last_round(), now=now)
    if held and not missing:
        missing = [held]
    if missing:
        raise NotReady(f"{' '.join(missing)} {NOTHING}", missing=missing)


def _second_or_refuse(change: ActionChange, actor: Person) -> None:
    require_admin(actor)
    if change.asked_by_id == actor.pk:
        raise NotYours(f"You asked for this: a second person confirms it. {NOTHING}")


def _ended_alone(
    change: ActionChange, kind: str, *, actor: Person | None, now: datetime, note: str = ""
) -> ActionChange:
    act = Act(now=now, actor=actors.person(actor) if actor is not None else actors.CLOCK)
    return _ended(change, kind, act, actor=actor, note=note)


def _ended(
    change: ActionChange, kind: str, act: Act, *, actor: Person | None, note: str = ""
) -> ActionChange:
    """Store the end of a change, record it after what else the act did, and tell whoever asked for it."""
    _store_end(change, actor=actor, note=note, now=act.now)
    facts = {"note": note} if note else {}
    act.record_named(
        Chain.ACTIONS, kind, asked_by=actors.person(change.asked_by),
        **_facts(change), **facts,
    )  # fmt: skip
    if actor is None or change.asked_by_id != actor.pk:
        by = f" by {actor}" if actor is not None else ""
        text = f"{Event(kind).verb.capitalize()}{by}: that {_words(change)}. {note}".strip()
        signs.tell([change.asked_by_id], text=text, page=page_of(change.action_type), now=act.now)
    act.write()
    return change


def _store_end(change: ActionChange, *, actor: Person | None, note: str, now: datetime) -> None:
    change.due_at, change.ended_at, change.ended_by, change.note = None, now, actor, note
    change.save()


def _facts(change: ActionChange) -> dict[str, Any]:
    return {
        "change": change.pk,
        "action": change.action_type.key,
        "version": change.action_type.version,
        "becomes": change.becomes,
        "reason": change.reason,
    }


def _words(change: ActionChange) -> str:
    what = {
        T.TESTED: "is marked as tested",
        T.PRODUCTION: "goes into production",
        T.RETIRED: "is retired",
    }
    version = change.action_type
    return f"version {version.version} of {version.name} {what[T(change.becomes)]}"
