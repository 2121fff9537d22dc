"""How it came to this: who asked, who was silent, and with whom it is now."""

from __future__ import annotations

from datetime import datetime

from approvals.models import ActionRequest, ConflictParty, Step
from approvals.story.reading import Reading
from approvals.story.states import ended_word
from approvals.story.words import did, listed, passed_over_because, so_it_stands, the, upper_first
from governance import wording
from governance.models import Person
from governance.vocabulary import ExceptionType, Level, Path, Verdict

S = ActionRequest.State
NOTE_SHOWN = 600  # characters of an objection; the chain has all of it


def lead(reading: Reading) -> str:
    """Say in a sentence or two who asks, and how it came to those asked now."""
    request = reading.request
    behalf = (
        f", on behalf of {the([request.on_behalf_of], reading.reader)}"
        if request.on_behalf_of
        else ""
    )
    asks = f"{request.agent.name} asks for this in {request.department.name.lower()}{behalf}."
    if not reading.packet.steps:
        return asks
    return f"{asks} {_how_it_went(reading)}"


def _how_it_went(reading: Reading) -> str:
    request = reading.request
    carried_out = _how_it_is_carried_out(reading)
    if carried_out:
        return carried_out
    if request.state == S.HELD:
        return held_words(reading)
    silence = _silence(reading)
    if reading.step is not None:
        who = reading.who_is_asked
        if not who:
            return silence
        are = "are" if who.startswith("you") or " and " in who else "is"
        if reading.step.path == Path.REJECTION:
            role = "as alternate" if reading.step.level == Level.L2 else "as management"
            return f"{_noes(reading)} {upper_first(who)} {are} asked {role}."
        if not silence:
            return f"{upper_first(who)} {are} the first asked."
        if reading.step.level == Level.L1 and reading.step.path == Path.TIMEOUT:
            return f"{silence}, so {who} {are} asked again."
        role = {Level.L2: " as delegate", Level.L3: " as management"}.get(
            Level(reading.step.level), ""
        )
        return f"{silence}, so {who} {are} asked{role}."
    last = reading.packet.decisions[-1] if reading.packet.decisions else None
    no = reading.packet.noes[-1] if reading.packet.noes else None
    if request.state == S.REJECTED and request.end_reason == "refused" and request.ended_at:
        return (
            "Several requests wanted its record, and the ruling on them refused this one. It was"
            f" closed at {reading.at(request.ended_at)}."
        )
    if request.state == S.REJECTED and no is not None and request.ended_at not in (None, no.at):
        stands = so_it_stands(reading.packet).removesuffix(".")
        return f"{_noes(reading)} {stands}, so it was closed at {reading.at(request.ended_at)}."
    if request.state in (S.APPROVED, S.REJECTED) and last is not None:
        who = the([last.person], reading.reader)
        words = f"{upper_first(who)} {did(last)} it at {reading.at(last.at)}."
        return f"{silence}. {words}" if silence else words
    if request.state == S.EXPIRED and request.end_reason == "lapsed" and last is not None:
        who = the([last.person], reading.reader)
        return f"{upper_first(who)} approved it at {reading.at(last.at)}, and nothing began it in time."
    if request.state == S.EXPIRED and request.end_reason == "basis_changed" and request.ended_at:
        return (
            "It was held after its approval, and its record may have changed since, so what was"
            f" approved may no longer be what would be done. It was closed at {reading.at(request.ended_at)}."
        )
    if request.state == S.EXPIRED and request.end_reason == "queue" and request.ended_at:
        return (
            "It was let wait for its record, and those before it were not done in time. It was"
            f" closed at {reading.at(request.ended_at)}."
        )
    if request.state == S.EXPIRED and request.ended_at:
        return f"Nobody decided, so it was closed at {reading.at(request.ended_at)}."
    if request.ended_at:
        return f"{ended_word(request)} at {reading.at(request.ended_at)}."
    return f"It is {request.get_state_display().lower()}."


def _how_it_is_carried_out(reading: Reading) -> str:
    """Say what came after the approval; nothing where nothing did."""
    request, ended = reading.request, reading.request.ended_at
    approved = _approved(reading)
    match request.state:
        case S.EXECUTING:
            return f"{approved} It is being carried out now.".strip()
        case S.TROUBLED:
            why = _trouble(reading) or "It could not go on."
            return f"{approved} {why}{_asked_now(reading)}".strip()
        case S.BLOCKED:
            return f"{approved} {_forbidden(reading)}{_asked_now(reading)}".strip()
        case S.DENIED if ended:
            how = "asked for a change" if request.end_reason == "change_requested" else "denied it"
            return (
                f"{approved} {_forbidden(reading)} Compliance {how} at {reading.at(ended)}.".strip()
            )
        case S.ROLLING_BACK:
            return f"{approved} What was done of it is being undone.{_asked_now(reading)}".strip()
        case S.COMPLETED if ended:
            return f"{approved} It was carried out at {reading.at(ended)}.".strip()
        case S.COMPLETED_MANUALLY if ended:
            return f"{approved} A person finished it by hand at {reading.at(ended)}.".strip()
        case S.ROLLED_BACK if ended:
            return f"{approved} It was undone at {reading.at(ended)}, and nothing of it is left.".strip()
        case S.STRANDED if ended:
            return (
                f"{approved} It was half done, could not be undone, and nobody answered by"
                f" {reading.at(ended)}. People have to clean it up."
            ).strip()
        case S.EXPIRED if ended and request.end_reason == "target":
            return (
                f"{approved} The target did not take it in time, and nothing was done. It was"
                f" closed at {reading.at(ended)}."
            ).strip()
    return ""


def held_words(reading: Reading) -> str:
    """Say why it is held, and what it waits for."""
    holder, step = reading.packet.holder, reading.step
    if step is not None:
        others = listed(
            [
                each.request.ref
                for each in reading.packet.parties
                if each.role == ConflictParty.Role.EARLIER
            ]
        )
        who = reading.who_is_asked
        are = "are" if who.startswith("you") or " and " in who else "is"
        asked = f" {upper_first(who)} {are} asked which of them goes on." if who else ""
        return f"It came while {others} wanted the same record.{asked}"
    if holder is None:
        return "It waits for its record."
    if holder.ruling:
        place = holder.position or 0
        before = "the request" if place == 1 else f"the {place} requests"
        ahead = f"{before} before it {'have' if place > 1 else 'has'} ended"
        ahead = ahead if place else "what has its record now has ended"
        return f"The owner of its record lets it go on when {ahead}."
    return (
        f"{holder.case.request.ref} wants the same record, so neither goes on until the owner of the"
        " record rules on them."
    )


def _approved(reading: Reading) -> str:
    yes = [each for each in reading.packet.decisions if each.verdict == Verdict.APPROVE]
    if not yes:
        return ""
    who = upper_first(the([yes[-1].person], reading.reader))
    return f"{who} approved it at {reading.at(yes[-1].at)}."


def _trouble(reading: Reading) -> str:
    cases = [
        each for each in reading.packet.cases if each.exception == ExceptionType.SYSTEM_FAILURE
    ]
    reason = wording.plain(cases[-1].reason, 300) if cases else ""
    return reason if not reason or reason.endswith(".") else f"{reason}."


def _forbidden(reading: Reading) -> str:
    """Say what rule it breaks, in the words of the case."""
    cases = [
        each for each in reading.packet.cases if each.exception == ExceptionType.POLICY_VIOLATION
    ]
    reason = wording.plain(cases[-1].reason, 300) if cases else "A rule forbids it."
    return reason if reason.endswith(".") else f"{reason}."


def _asked_now(reading: Reading) -> str:
    who = reading.who_is_asked
    if not who:
        return ""
    are = "are" if who.startswith("you") or " and " in who else "is"
    return f" {upper_first(who)} {are} asked."


def _noes(reading: Reading) -> str:
    """Say who said no, when, and in their own words, before anything else."""
    said = []
    for no in reading.packet.noes:
        note = wording.plain(no.note, NOTE_SHOWN)
        words = f": “{note}”" if note else ", without a note."
        said.append(
            f"{upper_first(the([no.person], reading.reader))} said no at {reading.at(no.at)}{words}"
        )
    return " ".join(said)


def _silence(reading: Reading) -> str:
    """Say who did not answer before, without a full stop: "The Finance Manager was asked at …"."""
    asked: dict[tuple[int, ...], list[Step]] = {}
    people: dict[tuple[int, ...], list[Person]] = {}
    gone: list[str] = []
    for step in reading.packet.steps:
        if step.state == Step.State.EXPIRED:
            silent = _silent_on(reading, step)
            if silent:
                key = tuple(person.pk for person in silent)
                asked.setdefault(key, []).append(step)
                people[key] = silent
        elif step.state == Step.State.PASSED_OVER:
            gone += [
                f"{the([ask.person], reading.reader)} {passed_over_because(ask, reading.reader)}"
                for ask in reading.packet.asks.get(step.pk, ())
            ][:2]
    said = []
    for key, steps in asked.items():
        who = the(people[key], reading.reader)
        was = "were" if who.startswith("you") or len(key) > 1 else "was"
        has = "have" if was == "were" else "has"
        times = " and again at ".join(reading.at(step.opened_at) for step in steps)
        said.append(f"{who} {was} asked at {times} and {has} not answered")
    return upper_first(", ".join([*dict.fromkeys(gone), *said]))


def silent_before(reading: Reading) -> list[str]:
    """Say who was silent before whoever is asked now, and for how long; or what failed, or is broken."""
    step = reading.step
    if step is None:
        return []
    if step.path in (Path.SYSTEM_FAILURE, Path.POLICY_VIOLATION):
        failed = step.path == Path.SYSTEM_FAILURE
        why = _trouble(reading) if failed else _forbidden(reading)
        return [wording.plain(why, 120).removesuffix(".")] if why else []
    if step.path == Path.REJECTION and reading.packet.noes:
        last = reading.packet.noes[-1]
        who = "you" if last.person_id == reading.reader.pk else str(last.person)
        return [f"{who} said no at {reading.at(last.at)}"]
    if step.path == Path.TIMEOUT and step.level == Level.L1:
        first = reading.first_step
        was_silent = [] if first is None else _silent_on(reading, first)
        if first is not None and first.state == Step.State.EXPIRED and reading.reader in was_silent:
            return [f"you did not answer in {wording.span(first.window)}"]
    silent: dict[int, Person] = {}
    since: datetime | None = None
    for each in reading.packet.steps:
        if each.state != Step.State.EXPIRED or each.pk == step.pk:
            continue
        for person in _silent_on(reading, each):
            silent[person.pk] = person
            since = since or each.opened_at
    if silent and since is not None:
        names = listed([str(person) for person in silent.values()])
        return [f"{names} silent for {wording.span(step.opened_at - since)}"]
    gone = [
        f"{ask.person} {ask.passed_over_reason}"
        for each in reading.packet.steps
        if each.state == Step.State.PASSED_OVER
        for ask in reading.packet.asks.get(each.pk, ())
    ]
    return [wording.plain(gone[0], 120)] if gone else []


def _silent_on(reading: Reading, step: Step) -> list[Person]:
    decided = {each.person_id for each in reading.packet.decisions if each.step_id == step.pk}
    return [
        ask.person
        for ask in reading.packet.asks.get(step.pk, ())
        if ask.asked_at and not ask.passed_over_at and ask.person_id not in decided
    ]
