"""What whoever is asked about a failure may answer, each with what it leads to and why it may not be given."""

from __future__ import annotations

from dataclasses import dataclass, replace

from approvals.models import ActionRequest, Claim, Step
from approvals.packets import Packet
from approvals.services.mending import HARMLESS, VERDICTS, why_not
from approvals.story.words import nothing_done, upper_first
from governance import ladder, wording
from governance.models import Person
from governance.routing import MENDS
from governance.vocabulary import Level, Path, Verdict


@dataclass(frozen=True, slots=True)
class Option:
    """One answer. `question`: it asks once more, with these words. `overrides`: with a code, and reviewed."""

    verdict: str
    head: str
    words: str
    button: str
    icon: str
    why_not: str = ""
    question: str = ""
    overrides: bool = False


@dataclass(frozen=True, slots=True)
class Mending:
    """The answers offered to one reader, and the list if they have it in hand."""

    options: tuple[Option, ...]
    is_mine: bool  # the reader has it in hand
    held_by: str  # or who has: "the On-call Engineer"


def mending_of(packet: Packet, reader: Person) -> Mending | None:
    """Return the answers offered to somebody who is asked, or who has it in hand; None to others."""
    request, step = packet.request, packet.waiting
    states = ActionRequest.State
    if request.state not in (states.TROUBLED, states.ROLLING_BACK):
        return None
    claim = packet.claim
    asked = any(ask.person_id == reader.pk for ask in packet.asked)
    is_mine = claim is not None and claim.person_id == reader.pk
    if is_mine:
        return Mending((), True, "")
    if step is None or step.path not in MENDS or not asked:
        return None
    if_it_fails = _if_it_fails(request, step)
    options = [
        _option(request, verdict, claim, reader, if_it_fails)
        for verdict in VERDICTS[Path(step.path)]
    ]
    if step.level == Level.L4:
        options = [_at_the_top(request, option) for option in options]
    return Mending(tuple(options), False, _the(claim))


def _option(
    request: ActionRequest,
    verdict: Verdict,
    claim: Claim | None,
    reader: Person,
    if_it_fails: str,
) -> Option:
    why = why_not(request, claim, reader, verdict) or ""
    undoing_it = request.state == ActionRequest.State.ROLLING_BACK
    match verdict:
        case Verdict.RETRY if undoing_it:
            return Option(
                verdict, "Try the undo now",
                "What is undone stays undone. Each reversal has its own key, so none is done twice."
                f" {if_it_fails}",
                "Try the undo now", "rotate-ccw", why,
            )  # fmt: skip
        case Verdict.RETRY:
            return Option(
                verdict, "Go on from where it stopped",
                "What is done stays. The rest is sent, each unit under its own key, so that nothing is"
                f" done twice. {if_it_fails}",
                "Try it again now", "rotate-ccw", why,
            )  # fmt: skip
        case Verdict.ROLL_BACK if request.has_effects:
            return Option(
                verdict, "Undo what was done",
                "Reverses it, the last unit first. It needs no second signature: if nobody"
                " answers, the same happens.",
                "Roll it back", "undo-2", why, f"Undo what was done of {_thing(request)}?",
            )  # fmt: skip
        case Verdict.ROLL_BACK:
            return Option(
                verdict, "End it",
                f"Nothing of it is in the target. It ends, and {nothing_done(request.action_type)}.",
                "End it", "x", why, f"End {_thing(request)} without doing it?",
            )  # fmt: skip
    return Option(
        verdict, "Take it over by hand" if claim is not None else "Finish it by hand",
        "Opens a list of its units. You say what you did in the target; nothing is sent by itself"
        " until you finish it or give it back.",
        f"Take it over from {_the(claim)}" if claim is not None else "Open the list",
        "hand", why,
    )  # fmt: skip


def _if_it_fails(request: ActionRequest, step: Step) -> str:
    """Say what comes after another attempt that fails."""
    path, critical = Path(step.path), request.action_type.is_critical
    if ladder.next_rung(path, Level(step.level), critical=critical) is not None:
        return "If it fails, the next rung is asked."
    if path == Path.UNDO:
        return "If it fails, no rung is left, and people have to clean it up."
    return "If it fails, no rung is left, and what was done is undone."


def _at_the_top(request: ActionRequest, option: Option) -> Option:
    """Return an answer as L4 gives it: it overrides others, or says that it does not."""
    if option.verdict in HARMLESS:
        return replace(option, words=f"{option.words} It overrides nobody, so it takes no code.")
    act = "try it again" if option.verdict == Verdict.RETRY else "take it in hand"
    return replace(
        option,
        button=f"Bypass and {act}",
        question=f"{upper_first(act)}, over the heads of others: {_thing(request)}?",
        overrides=True,
    )


def _the(claim: Claim | None) -> str:
    return f"the {wording.plain(str(claim.person), 60)}" if claim is not None else ""


def _thing(request: ActionRequest) -> str:
    words = request.action_type.name.lower().split()
    of = f" of {wording.money(request.amount, request.currency)}" if request.amount else ""
    return f"the {words[-1] if words else 'action'}{of}"
