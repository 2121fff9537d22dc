"""The small words every part of a story is put together from: people, verbs, plurals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from approvals.models import ActionRequest, Ask, Decision
from approvals.packets import Packet
from approvals.services.decide import DID
from governance import wording
from governance.ladder import BEGIN_WITHIN, BEGIN_WITHIN_PERSON_PRESENT
from governance.models import ActionType, Person
from governance.vocabulary import Verdict

NAMES_SHOWN = 4


def nothing_done(action: ActionType) -> str:
    """Say what silence leads to: "nothing is paid"."""
    return (
        "nothing is paid" if action.name.lower().endswith("payment") else "nothing is carried out"
    )


def so_it_stands(packet: Packet) -> str:
    """Say why a no stands that was not the last word asked for."""
    no = packet.noes[-1]
    yes = any(each.verdict == Verdict.APPROVE and each.at >= no.at for each in packet.decisions)
    return "Too few said yes after that." if yes else "Nobody said otherwise."


def begin_within(request: ActionRequest) -> timedelta:
    """Return how long an approval holds before it must have begun."""
    return BEGIN_WITHIN_PERSON_PRESENT if request.person_present else BEGIN_WITHIN


def did(decision: Decision) -> str:
    """Say what somebody did: "approved"."""
    if decision.is_bypass:
        return f"overrode others and {DID.get(Verdict(decision.verdict), 'answered')}"
    return DID.get(
        Verdict(decision.verdict), f"answered {decision.get_verdict_display().lower()} to"
    )


def the(people: Iterable[Person | None], reader: Person) -> str:
    """Name people in a sentence, the reader first: "you and the Controller"."""
    present = [person for person in people if person is not None]
    names = [
        "you" if each.pk == reader.pk else f"the {wording.plain(str(each), 120)}"
        for each in present
    ]
    return listed(sorted(names, key=lambda name: name != "you"))


def asked_names(asks: Sequence[Ask], reader: Person) -> str:
    """Name those asked, the reader first: "you and Controller"."""
    names = [
        "you" if ask.person_id == reader.pk else wording.plain(str(ask.person), 120) for ask in asks
    ]
    return listed(sorted(names, key=lambda name: name != "you"))


def listed(names: Sequence[str]) -> str:
    """Join names into a phrase, and count those beyond `NAMES_SHOWN`."""
    shown = list(names[:NAMES_SHOWN])
    if len(names) > NAMES_SHOWN:
        shown.append(f"{len(names) - NAMES_SHOWN} more")
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def passed_over_because(ask: Ask, reader: Person) -> str:
    """Say why somebody was passed over, to themselves in the second person."""
    reason = wording.plain(ask.passed_over_reason, 300)
    return to_you(reason) if ask.person_id == reader.pk else reason


def to_you(reason: str) -> str:
    """Turn a reason said of somebody to that person: "is away" is "are away"."""
    for third, second in (
        ("is ", "are "),
        ("has ", "have "),
        ("owns ", "own "),
        ("stands ", "stand "),
    ):
        if reason.startswith(third):
            return second + reason.removeprefix(third)
    return reason


def role_words(why: str) -> str:
    """Say as what somebody is asked, to stand inside a sentence: "the approver for …", "one on call for …"."""
    said = wording.plain(why, 300).rstrip(".")
    return said if said.startswith("one ") else f"the {said}"


def upper_first(text: str) -> str:
    """Begin a sentence, and leave the rest as it is written."""
    return text[:1].upper() + text[1:]


def plural_of(name: str) -> str:
    """Say the name of an action type in the plural."""
    if name.endswith("y") and name[-2:-1] not in "aeiou":
        return f"{name[:-1]}ies"
    return name if name.endswith("s") else f"{name}s"


def so_often(count: int) -> str:
    """Say how many times: "once", "3 times"."""
    return "once" if count == 1 else f"{count} times"
