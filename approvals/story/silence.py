"""What happens if nobody answers: who is asked next and when, and what it comes to."""

from __future__ import annotations

from approvals.models import ActionRequest, ConflictParty
from approvals.story.reading import Reading
from approvals.story.shapes import Ahead
from approvals.story.words import listed, upper_first
from governance.routing import MENDS
from governance.vocabulary import Path

S = ActionRequest.State
EARLIER = ConflictParty.Role.EARLIER
CLOSES = {
    Path.REJECTION: "the no stands",
    Path.SYSTEM_FAILURE: "it ends",
    Path.POLICY_VIOLATION: "it is denied",
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
        return ()
    opening = [rung for rung in reading.ahead if rung.opens]
    end = reading.at(reading.ends_at)
    closes, leaves = how_it_ends(reading)
    if not opening:
        return (f"{closes} at {end}{leaves}.",)
    said = []
    for n, rung in enumerate(opening[:2]):
        who = _who_next(reading, rung)
        when = reading.at(rung.since)
        said.append(f"{who} at {when}." if n == 0 else f"Then {who} at {when}.")
    decides = "answers" if step.path in MENDS else "decides"
    said.append(f"If nobody {decides} by {end}, {closes}{leaves}.")
    return tuple(said)


def how_it_ends(reading: Reading) -> tuple[str, str]:
    """Return what the silence of everybody asked comes to, and what that leaves in the target."""
    path = Path(reading.step.path) if reading.step is not None else Path.APPROVAL
    failed = path in (Path.SYSTEM_FAILURE, Path.POLICY_VIOLATION)
    if path == Path.UNDO or (failed and reading.packet.claim is not None):
        return "it is stranded", ": half done, and for people to clean up"
    closes = CLOSES.get(path, "it closes")
    if failed and reading.request.has_effects:
        return closes, ", and what was done is undone"
    if path == Path.CONFLICT:
        return closes, f", whoever was first goes on, and {reading.nothing_done}"
    return closes, f" and {reading.nothing_done}"


def _not_begun(reading: Reading) -> str:
    due_at = reading.request.due_at
    when = reading.at(due_at) if due_at is not None else ""
    if reading.request.person_present:
        return f"it ends at {when} and {reading.nothing_done}."
    return f"that is a system failure at {when}, and it is tried again."


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
        return _at_the_end(reading) if reading.ends_at else "Passed on"
    if set(rung.people) <= {ask.person_id for ask in reading.packet.asked}:
        who = _names_ahead(reading, rung)
        return f"{upper_first(who)} {'are' if who.startswith('you') or len(rung.people) > 1 else 'is'} asked again"
    return f"Passed on to {_names_ahead(reading, rung)}"


def _at_the_end(reading: Reading) -> str:
    closes, leaves = how_it_ends(reading)
    if closes == "it is stranded":
        return "Stranded, for people to clean up"
    return "Over, and undone now" if "undone" in leaves else f"Closed, {reading.nothing_done}"


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
