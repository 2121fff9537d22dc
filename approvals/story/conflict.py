"""Requests that want the same record, side by side, and what each ruling would lead to."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import permutations
from typing import Any
from urllib.parse import unquote

from approvals.models import ActionRequest, Case, ConflictParty
from approvals.story.payload import facts_of, paragraphs, title_of
from approvals.story.reading import Reading
from approvals.story.shapes import Choice, Compared, Conflict, Side
from approvals.story.words import listed, upper_first
from approvals.templating import at_pointer, exact
from governance import wording
from governance.vocabulary import ExceptionType, Path

S = ActionRequest.State
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
BY_CHOICE = 2  # held requests up to which every ruling is offered in words
ORDINALS = ("First", "Second", "Third")
REFUSED = "refuse"


def conflict_of(reading: Reading, visible: Collection[int]) -> Conflict | None:
    """Return the conflict that a request carries, or carried; None where it is not about that.

    Only for whoever was asked to rule on it, or may see every party anyway: it
    shows what the others ask for.
    """
    packet = reading.packet
    cases = [each for each in packet.cases if each.exception == ExceptionType.CONFLICT]
    if not packet.parties or not cases:
        return None
    rulers = {
        ask.person_id
        for step in packet.steps
        if step.path == Path.CONFLICT
        for ask in packet.asks.get(step.pk, ())
        if ask.asked_at
    }
    others = {party.request_id for party in packet.parties} - {reading.request.pk}
    if reading.reader.pk not in rulers and not others <= set(visible):
        return None
    is_open = cases[-1].state == Case.State.OPEN
    parties = packet.parties
    seen = {*visible, reading.request.pk}
    sides = tuple(
        _side(reading, party, _letter(place), is_visible=party.request_id in seen)
        for place, party in enumerate(parties)
    )
    step = reading.step
    can_rule = (
        reading.mine is not None
        and step is not None
        and step.path == Path.CONFLICT
        and not reading.over
    )
    held = [side for side in sides if side.is_held]
    resource = reading.request.resource
    return Conflict(
        record=wording.plain(unquote(resource.key), 120) if resource is not None else "",
        sides=sides,
        fields=_compared([party.request for party in parties], _states(reading)),
        read_at=max((each.read_at for each in packet.reads), default=None),
        choices=_choices(held, sides) if can_rule and len(held) <= BY_CHOICE else (),
        places=_places(len(held)) if can_rule and len(held) > BY_CHOICE else (),
        is_open=is_open,
        can_rule=can_rule,
    )


def _letter(place: int) -> str:
    """Return A to Z, then AA and on."""
    more, last = divmod(place, len(LETTERS))
    return (_letter(more - 1) if more else "") + LETTERS[last]


def _side(reading: Reading, party: ConflictParty, letter: str, *, is_visible: bool) -> Side:
    request = party.request
    is_held = request.state == S.HELD and party.was_held and party.left_at is None
    return Side(
        letter=letter,
        ref=request.ref,
        title=title_of(request),
        agent=wording.plain(request.agent.name, 80),
        asked_at=request.submitted_at,
        stands=_stands(reading, party),
        is_held=is_held,
        is_ahead=not is_held and (request.is_open or request.holds_key),
        is_visible=is_visible,
        if_on=_if_on(request),
        digest_short=f"{request.digest[:4]} … {request.digest[-4:]}",
    )


def _stands(reading: Reading, party: ConflictParty) -> str:
    request = party.request
    if party.ruling == ConflictParty.Ruling.QUEUED and request.state == S.HELD:
        return "waits for the one before it"
    if request.state == S.HELD and request.approved_at is not None:
        return f"approved at {reading.at(request.approved_at)}, held before it began"
    if request.state == S.HELD:
        return "held, not decided yet"
    return str(request.get_state_display()).lower()


def _if_on(request: ActionRequest) -> str:
    if request.approved_at is not None:
        if request.basis_digest:
            return "may begin as it was approved, if its record is as it was when it was asked for"
        return "ends, as its record may have changed since its approval, and may be asked for anew"
    return "goes to its own approver"


def _states(reading: Reading) -> dict[str, Any]:
    """Return what the worker last read of the target, by record."""
    return {each.record: each.state for each in reading.packet.reads}


def _now(request: ActionRequest, states: Mapping[str, Any]) -> dict[str, str]:
    """Return what the record says of the facts that an action type shows, by their labels."""
    found = {}
    for fact in request.action_type.shown_facts:
        if "now" in fact:
            record = exact(fact["now"]["record"], request.payload)
            value = (
                at_pointer(states.get(record), fact["now"]["pointer"]) if record in states else None
            )
            found[str(fact["label"])] = "" if value is None else wording.plain(str(value), 200)
    return found


def _compared(requests: Sequence[ActionRequest], states: Mapping[str, Any]) -> tuple[Compared, ...]:
    """Return every fact that one of them shows, in the order in which they come, then why each is wanted.

    Args:
        states: of the target's records, as they were read last.
    """
    record = {label: value for each in requests for label, value in _now(each, states).items()}
    told = [
        {fact.label: "" if fact.missing else fact.value for fact in facts_of(each)}
        for each in requests
    ]
    amounts = [
        wording.money(each.amount, each.currency) if each.amount is not None else ""
        for each in requests
    ]
    found = [("Amount", amounts)] if any(amounts) else []
    for label in dict.fromkeys(label for each in told for label in each):
        found.append((label, [each.get(label, "") for each in told]))
    compared = [
        Compared(label, tuple(values), len(set(values)) > 1, record.get(label, ""))
        for label, values in found
    ]
    what = tuple(title_of(each) for each in requests)
    why = tuple(" ".join(paragraphs(each.justification)) for each in requests)
    return (Compared("What", what, False), *compared, Compared("Why", why, False))


def _choices(held: Sequence[Side], sides: Sequence[Side]) -> tuple[Choice, ...]:
    """Return every ruling on one or two requests, each with what it leads to."""
    others = [side.letter for side in sides if side.is_ahead]
    end = "end" if len(others) > 1 else "ends"
    after = f"{listed(others)} {end}" if others else ""
    found = []
    for count in range(len(held), -1, -1):
        for order in permutations(held, count):
            found.append(_choice(order, [each for each in held if each not in order], after))
    # What lets one of them go on, then both in order, then none.
    return tuple(sorted(found, key=lambda each: (each.value.startswith("|"), "," in each.value)))


def _choice(order: Sequence[Side], refused: Sequence[Side], after: str) -> Choice:
    value = f"{','.join(each.ref for each in order)}|{','.join(each.ref for each in refused)}"
    names = [each.letter for each in refused]
    are = "are" if len(names) > 1 else "is"
    if not order:
        words = "Neither" if len(names) > 1 else f"{names[0]} is rejected"
        both = "Both are" if len(names) > 1 else "It is"
        return Choice(
            value, words, f"{both} rejected; the record stays as it is", "Reject " + listed(names)
        )
    first, *later = order
    when = f"As soon as {after}, {first.letter}" if after else first.letter
    then = f"{when} {first.if_on}"
    if later:
        words = f"{first.letter} goes on, then {later[0].letter}"
        then += f"; {later[0].letter} {later[0].if_on} when {first.letter} has ended"
        button = f"Let {first.letter} go on, then {later[0].letter}"
    elif refused:
        words = f"{first.letter} goes on, {listed(names)} {are} rejected"
        button = f"Let {first.letter} go on, reject {listed(names)}"
    else:
        words = f"{first.letter} goes on"
        button = f"Let {first.letter} go on"
    return Choice(value, words, upper_first(then), button)


def _places(count: int) -> tuple[tuple[str, str], ...]:
    words = [ORDINALS[n] if n < len(ORDINALS) else f"Number {n + 1}" for n in range(count)]
    return (*((str(n), word) for n, word in enumerate(words, start=1)), (REFUSED, "Rejected"))
