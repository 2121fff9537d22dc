"""The staircase: rungs that are past, the one that waits, those to come, and the end."""

from __future__ import annotations

from collections.abc import Sequence

from approvals.models import ActionRequest, Ask, Step
from approvals.story.ahead import drawn_path, why_no_bypass
from approvals.story.reading import Reading
from approvals.story.shapes import Ahead, Rung
from approvals.story.silence import passed_on
from approvals.story.states import ended_word
from approvals.story.words import did, listed, so_often, the, upper_first
from governance import wording
from governance.ladder import AUTOMATIC, DEFAULT_WINDOWS
from governance.routing import GIVES_LEAVE, MENDS
from governance.vocabulary import Level, Path, Verdict

S = ActionRequest.State


def rungs(reading: Reading) -> tuple[Rung, ...]:
    """Return every rung of the drawn ladder, lowest first, and the end."""
    path = drawn_path(reading.packet)
    # Oldest first: of two paths that came to a level, the later one stands there.
    by_level = {
        Level(step.level): step
        for step in reading.packet.steps
        if (step.path == path if path not in GIVES_LEAVE else step.path in GIVES_LEAVE)
    }
    ahead = {rung.level: rung for rung in reading.ahead}
    found = []
    for level in Level:
        step = by_level.get(level)
        if step is not None:
            found.append(_rung_of(reading, step))
        elif level in ahead:
            found.append(_rung_not_reached(reading, ahead[level]))
        elif path in MENDS and (level == Level.L0 or (path, level) not in DEFAULT_WINDOWS):
            continue
        elif path == Path.CONFLICT and level < Level.L2:
            found.append(_shut(level, "Left out", "A conflict goes to the owner of the record"))
        elif path == Path.POLICY_VIOLATION and level < Level.L2:
            found.append(_shut(level, "Left out", "A violation goes to compliance"))
        elif path == Path.POLICY_VIOLATION and level == Level.L4:
            found.append(_shut(level, "Never", "A violation is never bypassed"))
        elif path == Path.REJECTION and level == Level.L1:
            found.append(_shut(level, "Left out", "After a no the same people are not asked again"))
        elif path == Path.REJECTION and level == Level.L2:
            found.append(_shut(level, "Left out", "The no went to L3 at once"))
        elif path == Path.REJECTION and level == Level.L4:
            found.append(_shut(level, "Never", "A no is never bypassed"))
        elif level == Level.L4 and not reading.request.action_type.is_critical:
            found.append(_shut(level, "Not open", why_no_bypass(reading.request.action_type)))
        else:
            found.append(_shut(level, "Not reached", ""))
    return (*found, _end_rung(reading))


def rungs_words(reading: Reading) -> str:
    """Say which policy drew the ladder, the zone of its times, and when it ends at worst."""
    path = wording.SIGNS[drawn_path(reading.packet)].word
    parts = [f"{path} path, policy {reading.packet.policy.number}"]
    parts.append(f"all times {wording.zone_word(reading.now, reading.zone)}")
    if reading.ends_at is not None:
        parts.append(f"worst case ends {reading.at(reading.ends_at)}")
    return " · ".join(parts)


def _rung_of(reading: Reading, step: Step) -> Rung:
    asks = reading.packet.asks.get(step.pk, ())
    asked = [ask.person for ask in asks if ask.asked_at and not ask.passed_over_at]
    automatic = (Path(step.path), Level(step.level)) in AUTOMATIC
    names = "Tried again by itself" if automatic else listed([str(person) for person in asked])
    top = f"L{step.level}"
    if step.state == Step.State.WAITING and step.due_at is not None:
        if any(person.pk == reading.reader.pk for person in asked):
            others = [str(person) for person in asked if person.pk != reading.reader.pk]
            names = f"You, {reading.reader}" + (f" and {listed(others)}" if others else "")
        share = wording.share_left(step.due_at, step.opened_at, reading.now)
        left = passed_on(reading) if reading.over else wording.span(step.due_at - reading.now)
        return Rung("here", top, "", names, left, step.opened_at, step.due_at, share=share)
    if step.state == Step.State.PASSED_OVER:
        why = next(
            (
                f"{ask.person} {ask.passed_over_reason}"
                for ask in asks
                if ask.pk not in reading.packet.given_away
            ),
            "Nobody can be asked",
        )
        return Rung("shut", top, "user-x", "Passed over", wording.plain(why, 120), step.opened_at)
    icon, end = _how_it_ended(reading, step, asks)
    return Rung("past", top, icon, names, end, step.opened_at, step.closed_at)


def _how_it_ended(reading: Reading, step: Step, asks: Sequence[Ask]) -> tuple[str, str]:
    own = [each for each in reading.packet.decisions if each.step_id == step.pk]
    if step.state == Step.State.ANSWERED and own:
        last = own[-1]
        several = sum(ask.asked_at is not None for ask in asks) > 1
        who = f" by {the([last.person], reading.reader)}" if several else ""
        return (
            "check" if last.verdict == Verdict.APPROVE else "x"
        ), f"{upper_first(did(last))}{who}"
    if step.state == Step.State.EXPIRED and (Path(step.path), Level(step.level)) in AUTOMATIC:
        return "hourglass", f"No success in {wording.span(step.window)}"
    if step.state == Step.State.EXPIRED:
        pings = max((ask.pings for ask in asks), default=0)
        if pings:
            return "hourglass", f"Pinged {so_often(pings)}, no answer"
        return "hourglass", f"No answer in {wording.span(step.window)}"
    if step.state == Step.State.SUSPENDED:
        return "pause", "Paused; its time is kept"
    return "circle-dashed", "Ended with the request"


def _rung_not_reached(reading: Reading, rung: Ahead) -> Rung:
    top = f"L{rung.level:d}"
    if not rung.opens:
        who = "Left out" if rung.reason.startswith("Left out") else "Not open"
        return _shut(rung.level, who, upper_first(rung.reason.removeprefix("Left out: ")))
    names = listed(
        [
            "You" if pk == reading.reader.pk else name
            for pk, name in zip(rung.people, rung.names, strict=True)
        ]
    )
    if rung is not reading.next_rung:
        unless = "nobody has answered"
    elif reading.is_automatic:
        unless = "no attempt succeeds"
    else:
        unless = "you do not answer" if reading.mine else "nobody answers"
    end = f"Asked at {reading.at(rung.since)} if {unless}"
    return Rung("next", top, "", names, end, window=rung.window)


def _shut(level: Level, who: str, end: str) -> Rung:
    return Rung("shut", f"L{level:d}", "lock", who, end)


def _end_rung(reading: Reading) -> Rung:
    request = reading.request
    nothing = upper_first(reading.nothing_done)
    after_a_no = drawn_path(reading.packet) == Path.REJECTION
    if request.state == S.HELD and reading.step is not None:
        words = f"{nothing}; whoever was first goes on"
        return Rung("end", "End", "circle-dashed", "Closed as expired", words, reading.ends_at)
    if request.state == S.BLOCKED and reading.step is not None:
        words = "What was done is undone" if request.has_effects else nothing
        return Rung("end", "End", "circle-dashed", "Denied", words, reading.ends_at)
    if request.state == S.PENDING:
        return Rung(
            "end",
            "End",
            "circle-dashed",
            f"Closed as {'rejected' if after_a_no else 'expired'}",
            f"{nothing}; {'the no stands' if after_a_no else 'silence never approves'}",
            reading.ends_at,
        )
    if request.state == S.APPROVED:
        late = reading.nothing_done if request.person_present else "it is a system failure"
        by = f"Begins by {reading.at(request.due_at)}, else {late}" if request.due_at else ""
        return Rung("end", "End", "circle-check", "Approved", by, request.approved_at)
    if reading.step is not None and reading.step.path in MENDS:
        if reading.step.path == Path.UNDO or reading.packet.claim is not None:
            who, words = "Stranded", "Half done; people clean it up"
        elif request.has_effects:
            who, words = "Rolled back", "What was done is undone"
        else:
            who, words = "Closed as expired", nothing
        return Rung("end", "End", "circle-dashed", who, words, reading.ends_at)
    words = ended_word(request)
    good = request.state in (S.COMPLETED, S.COMPLETED_MANUALLY)
    icon = "circle-check" if good else "circle-dashed"
    quiet = good or request.is_open or request.has_effects or request.had_effects
    end = "" if quiet else nothing
    return Rung("end", "End", icon, words, end, request.ended_at)
