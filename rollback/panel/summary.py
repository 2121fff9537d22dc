"""In two sentences: what is in the target, what is not, what is in doubt, and what happens next."""

from __future__ import annotations

from approvals import undoing
from approvals.models import ActionRequest, Ask
from governance import wording
from governance.models import ActionType
from rollback.models import Unit
from rollback.panel.reading import Reading, name_of, worth
from rollback.panel.shapes import Told

S = ActionRequest.State
U = Unit.State
ASKED_SHOWN = 3


def summary(reading: Reading) -> Told:
    """Say how it stands."""
    match reading.request.state:
        case S.APPROVED:
            return Told(
                "info",
                "It begins within seconds.",
                "Nothing has been sent to the target yet. If another request holds the same record,"
                " this one waits for it.",
            )
        case S.EXECUTING:
            return Told("info", _written(reading), _at_work(reading))
        case S.TROUBLED:
            return Told("bad", _written(reading), f"{_doubt(reading)} {_next(reading)}")
        case S.BLOCKED:
            return Told(
                "warn",
                _written(reading),
                "Compliance is asked. Nothing more is sent until they have answered.",
            )
        case S.COMPLETED:
            return Told("good", _written(reading), _checkpoints(reading))
        case S.COMPLETED_MANUALLY:
            return Told("good", "A person finished it by hand.", _written(reading))
        case S.ROLLING_BACK:
            return Told("warn", _undone_so_far(reading), _next(reading))
        case S.ROLLED_BACK:
            return Told("good", "Nothing of it is left in the target.")
        case S.STRANDED:
            return Told(
                "bad",
                f"It could not be undone, and nobody answered. {_written(reading)}",
                "It keeps its record, so that nothing else writes there, until two people have"
                " cleaned up and given the reference in the target.",
            )
    return Told("info", "Nothing of it is in the target.", "It ended before anything was done.")


def limits(reading: Reading) -> str:
    """Say what an undo cannot do, where it can do nothing."""
    if reading.request.action_type.reversal == ActionType.Reversal.NONE:
        return "This action has no reversal: people undo it by hand in the target."
    return ""


def _written(reading: Reading) -> str:
    """Say how much is in the target, in units and in money."""
    total = len(reading.forward)
    there = [unit for unit in reading.forward if unit.state == U.DONE]
    if not total:
        return "Nothing has been sent to the target."
    if not there:
        none = "It is not" if total == 1 else f"None of {wording.plural(total, 'unit')} is"
        return f"{none} in the target."
    money, whole = worth(there), worth(reading.forward)
    if len(there) == total:
        every = "It is" if total == 1 else f"All {wording.plural(total, 'unit')} are"
        return f"{every} in the target{f', {money}' if money else ''}."
    of = f", {money} of {whole}" if money and whole else ""
    are = "is" if len(there) == 1 else "are"
    return f"{len(there)} of {wording.plural(total, 'unit')} {are} in the target{of}."


def _checkpoints(reading: Reading) -> str:
    if not reading.forward:
        return ""
    return "Its checkpoint is kept." if len(reading.forward) == 1 else "Each has its checkpoint."


def _at_work(reading: Reading) -> str:
    current, order = reading.current, reading.order
    at = f"The worker is at unit {current.position}. " if current else ""
    if order is not None and not undoing.waits_for_second(order):
        return f"{at}A rollback is ordered: it stops there, and what is done is undone."
    return f"{at}Each unit is sent under its own key, so that none is done twice."


def _undone_so_far(reading: Reading) -> str:
    there, undone = reading.in_target, reading.reversed
    total = wording.plural(len(there) + len(undone), "unit")
    if not there:
        return f"{len(undone)} of {total} undone."
    money = worth(there)
    are = "is" if len(there) == 1 else "are"
    left = f"{len(there)} {are} still in the target{f', {money}' if money else ''}"
    return f"{len(undone)} of {total} undone; {left}."


def _doubt(reading: Reading) -> str:
    doubtful = [str(unit.position) for unit in reading.forward if unit.state in (U.UNKNOWN, U.SENT)]
    if not doubtful:
        return "Nothing was written twice, and nothing is half written."
    units = f"unit {doubtful[0]}" if len(doubtful) == 1 else f"units {' and '.join(doubtful)}"
    return (
        f"Whether {units} arrived is not known: the target is asked before anything is sent again."
    )


def _next(reading: Reading) -> str:
    """Say what happens next, and when."""
    request, asked = reading.request, _asked(reading)
    if request.lease_until is not None:
        return f"A worker is at it now. {asked}".strip()
    if request.next_try_at is not None:
        return f"The next attempt is at {reading.at_seconds(request.next_try_at)}. {asked}".strip()
    if asked:
        return f"No automatic attempt is planned. {asked}"
    return f"It moves on at {reading.at(request.due_at)}." if request.due_at else ""


def _asked(reading: Reading) -> str:
    """Say who is asked, and until when."""
    asks = list(
        Ask.objects.filter(step__request=reading.request, due_at__isnull=False)
        .select_related("person")
        .order_by("position", "pk")[:ASKED_SHOWN]
    )
    if not asks or asks[0].due_at is None:
        return ""
    names = [
        "you" if ask.person_id == reading.reader.pk else f"the {name_of(ask.person)}"
        for ask in asks
    ]
    who = " and ".join(names)
    are = "is" if len(names) == 1 and names[0] != "you" else "are"
    return f"{who[:1].upper()}{who[1:]} {are} asked until {reading.at(asks[0].due_at)}."
