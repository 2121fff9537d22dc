"""What whoever is asked about a failure may answer, each with what it leads to and why it may not be given."""

from __future__ import annotations

from dataclasses import dataclass

from approvals import undoing
from approvals.models import ActionRequest, Claim
from approvals.packets import Packet
from approvals.services.mending import VERDICTS, why_not
from approvals.story.words import nothing_done
from governance import wording
from governance.models import Person
from governance.routing import MENDS
from governance.vocabulary import Path, Verdict


@dataclass(frozen=True, slots=True)
class Option:
    """One answer. `question`: it asks once more, with these words."""

    verdict: str
    head: str
    words: str
    button: str
    icon: str
    why_not: str = ""
    question: str = ""


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
    claim = undoing.open_claim(request)
    asked = any(ask.person_id == reader.pk for ask in packet.asked)
    is_mine = claim is not None and claim.person_id == reader.pk
    if is_mine:
        return Mending((), True, "")
    if step is None or step.path not in MENDS or not asked:
        return None
    options = tuple(
        _option(request, verdict, claim, reader) for verdict in VERDICTS[Path(step.path)]
    )
    return Mending(options, False, _the(claim))


def _option(
    request: ActionRequest, verdict: Verdict, claim: Claim | None, reader: Person
) -> Option:
    why = why_not(request, claim, reader, verdict) or ""
    undoing_it = request.state == ActionRequest.State.ROLLING_BACK
    match verdict:
        case Verdict.RETRY if undoing_it:
            return Option(
                verdict, "Try the undo now",
                "What is undone stays undone. Each reversal has its own key, so none is done twice."
                " If it fails, the next rung is asked.",
                "Try the undo now", "rotate-ccw", why,
            )  # fmt: skip
        case Verdict.RETRY:
            return Option(
                verdict, "Go on from where it stopped",
                "What is done stays. The rest is sent, each unit under its own key, so that nothing is"
                " done twice. If it fails, the next rung is asked.",
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


def _the(claim: Claim | None) -> str:
    return f"the {wording.plain(str(claim.person), 60)}" if claim is not None else ""


def _thing(request: ActionRequest) -> str:
    words = request.action_type.name.lower().split()
    of = f" of {wording.money(request.amount, request.currency)}" if request.amount else ""
    return f"the {words[-1] if words else 'action'}{of}"
