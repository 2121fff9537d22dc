"""What happens if nobody answers: who is asked next and when, and what it comes to."""

from __future__ import annotations

from approvals.models import ActionRequest, ConflictParty
from approvals.story.reading import Reading
from approvals.story.shapes import Ahead
from approvals.story.words import listed, upper_first
from governance import ladder
from governance.vocabulary import Level, Path

S = ActionRequest.State
EARLIER = ConflictParty.Role.EARLIER

# Who comes next on the paths of a failure and of an undo. Rosters are read when the rung opens.
ON_CALL = {
    Level.L2: "whoever is on call",
    Level.L3: "the manager of whoever is on call",
    Level.L4: "an executive",
}


def nothing_head(reading: Reading) -> str:
    """Begin the sentence that `nothing` goes on with."""
    if reading.request.state == S.APPROVED:
        return "If nothing begins it,"
    if reading.is_automatic:
        return "If no attempt succeeds,"
    if reading.request.state == S.HELD and reading.mine is None:
        return "Then" if reading.step is None else "If nobody rules,"
    return "If you do nothing," if reading.mine else "If nobody answers,"


def nothing(reading: Reading) -> tuple[str, ...]:
    """Say what happens then, in at most three steps; the first goes on after `nothing_head`."""
    step, request = reading.step, reading.request
    if step is None or step.due_at is None or reading.ends_at is None:
        if request.state == S.APPROVED and request.due_at:
            return (_not_begun(reading),)
        if request.state == S.HELD and reading.packet.holder is not None:
            earlier = not reading.packet.holder.ruling and reading.packet.holder.role == EARLIER
            goes_on = earlier and request.approved_at is None
            return (
                ("it goes on where it stood.",)
                if goes_on
                else (f"it ends, and {reading.nothing_done}.",)
            )
        return _how_it_ends(reading)
    opening = [rung for rung in reading.ahead if rung.opens]
    end = reading.at(reading.ends_at)
    closes = "the no stands" if step.path == Path.REJECTION else "it closes"
    if step.path == Path.CONFLICT:
        closes = "it closes, whoever was first goes on,"
    if step.path == Path.POLICY_VIOLATION:
        closes = "it is denied"
        if request.has_effects:
            return _undone_at_the_end(reading, opening, end)
    if not opening:
        return (f"{closes} at {end} and {reading.nothing_done}.",)
    said = []
    for n, rung in enumerate(opening[:2]):
        who = _who_next(reading, rung)
        when = reading.at(rung.since)
        said.append(f"{who} at {when}." if n == 0 else f"Then {who} at {when}.")
    said.append(f"If nobody decides by {end}, {closes} and {reading.nothing_done}.")
    return tuple(said)


def _undone_at_the_end(reading: Reading, opening: list[Ahead], end: str) -> tuple[str, ...]:
    said = [f"{_who_next(reading, rung)} at {reading.at(rung.since)}." for rung in opening[:1]]
    denied = f"it is denied at {end}, and what was done is undone."
    return (*said, f"Then {denied}" if said else denied)


def _not_begun(reading: Reading) -> str:
    due_at = reading.request.due_at
    when = reading.at(due_at) if due_at is not None else ""
    if reading.request.person_present:
        return f"it ends at {when} and {reading.nothing_done}."
    return f"that is a system failure at {when}, and it is tried again."


def _how_it_ends(reading: Reading) -> tuple[str, ...]:
    """Say what silence comes to where the question is not whether it may be done."""
    step, request = reading.step, reading.request
    if step is None or step.due_at is None:
        return ()
    when = reading.at(step.due_at)
    rungs = ladder.rungs(Path(step.path), critical=request.action_type.is_critical)
    higher = [level for level in rungs if level > step.level]
    if higher:
        return (f"{ON_CALL[higher[0]]} is asked at {when}.",)
    if step.path == Path.UNDO:
        return (f"it is stranded at {when}: half done, and for people to clean up.",)
    if request.has_effects:
        return (f"what was done is undone from {when} on.",)
    return (f"it ends at {when} and {reading.nothing_done}.",)


def passed_on(reading: Reading) -> str:
    """Say what a clock says at zero."""
    if reading.request.state == S.APPROVED:
        return "Lapsed" if reading.request.person_present else "Not begun in time"
    if reading.is_automatic:
        return "Out of tries"
    if reading.request.state == S.HELD and reading.step is None:
        return "Held no longer"
    rung = reading.next_rung
    if rung is None:
        return f"Closed, {reading.nothing_done}" if reading.ends_at else "Passed on"
    if set(rung.people) <= {ask.person_id for ask in reading.packet.asked}:
        who = _names_ahead(reading, rung)
        return f"{upper_first(who)} {'are' if who.startswith('you') or len(rung.people) > 1 else 'is'} asked again"
    return f"Passed on to {_names_ahead(reading, rung)}"


def _who_next(reading: Reading, rung: Ahead) -> str:
    now_asked = {ask.person_id for ask in reading.packet.asked}
    who = _names_ahead(reading, rung)
    are = "are" if who.startswith("you") or len(rung.people) > 1 else "is"
    return f"{who} {are} asked{' again' if set(rung.people) <= now_asked else ''}"


def _names_ahead(reading: Reading, rung: Ahead) -> str:
    names = [
        "you" if pk == reading.reader.pk else f"the {name}"
        for pk, name in zip(rung.people, rung.names, strict=True)
    ]
    return listed(sorted(names, key=lambda name: name != "you"))
