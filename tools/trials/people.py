"""The people who are asked when a failure does not mend itself, and what they do about it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django.db.models import QuerySet

from approvals.models import ActionRequest, Ask, Claim, Order, Step
from approvals.services.mending import IN_DOUBT, mend
from governance.models import Person
from governance.routing import MENDS
from governance.vocabulary import Verdict
from rollback.models import Direction, Unit
from rollback.services import by_hand
from tools.trials.life import Moment

S = ActionRequest.State
LOOKS_FOR = timedelta(minutes=1)
AT_MOST = 3  # times that somebody is asked in one run
REFERENCE = "looked up and finished by hand"

# (unit, direction) -> the target's reference: looks whether the target has done it, and does it
# as a person would, without any key of ours, if it has not.
Finish = Callable[[Unit, str], str]


def see_through(
    ref: str,
    moment: Moment,
    finish: Finish,
    go_on: Callable[[Callable[[ActionRequest], bool]], None],
) -> int:
    """Go on until it has ended, with whoever is asked answering. Returns how often somebody was.

    Args:
        go_on: has worker and clock go on until what it is given is true of the request, or it has ended.
    """
    asked = 0
    while True:
        go_on(_is_asked)
        request = ActionRequest.objects.get(ref=ref)
        if not _is_asked(request) or asked == AT_MOST:
            return asked
        asked += 1
        moment.now += LOOKS_FOR
        if not request.units.filter(state__in=IN_DOUBT).exists():
            _say(request, Verdict.RETRY, moment)
            continue
        _say(request, Verdict.BY_HAND, moment)
        go_on(_was_answered)
        _finish_by_hand(ref, moment, finish)


def _is_asked(request: ActionRequest) -> bool:
    """Whether somebody is asked how a failure goes on."""
    return _asks(request).exists()


def _was_answered(request: ActionRequest) -> bool:
    """Whether the target is no longer asked what became of it, for whoever has it in hand."""
    asked = Order.objects.filter(request=request, kind=Order.Kind.BY_HAND, closed_at=None)
    return not asked.exists()


def _say(request: ActionRequest, verdict: Verdict, moment: Moment) -> None:
    asked = _asks(request).order_by("pk").first()
    if asked is None:
        raise LookupError(f"nobody is asked about {request.ref}")
    mend(
        ref=request.ref, actor=asked.person, verdict=verdict, digest=request.digest, now=moment.now
    )


def _finish_by_hand(ref: str, moment: Moment, finish: Finish) -> None:
    """Have them look at each unit in the target, do there what is missing, and say so; and a second confirm it."""
    request = ActionRequest.objects.get(ref=ref)
    moment.now += LOOKS_FOR
    claim = Claim.objects.get(request=request, closed_at=None)
    undoing = request.state == S.ROLLING_BACK
    said: list[dict[str, object]] = []
    for unit in Unit.objects.filter(request=request, direction=Direction.FORWARD).order_by(
        "position"
    ):
        reference = finish(unit, Direction.UNDO if undoing else Direction.FORWARD)
        state = by_hand.NOT_DONE if undoing else by_hand.DONE
        said.append({"n": unit.position, "state": state, "reference": "" if undoing else reference})
    by_hand.settle(
        ref=ref, actor=claim.person, said=said, reference=REFERENCE, shown=_shown(request, claim),
        now=moment.now,
    )  # fmt: skip
    request = ActionRequest.objects.get(ref=ref)
    if request.action_type.is_financial:
        claim = Claim.objects.get(pk=claim.pk)
        by_hand.confirm(
            ref=ref, actor=_second(request, moment), shown=_shown(request, claim), now=moment.now
        )


def _asks(request: ActionRequest) -> QuerySet[Ask]:
    return Ask.objects.filter(
        step__request=request, step__state=Step.State.WAITING, step__path__in=MENDS,
        due_at__isnull=False,
    )  # fmt: skip


def _shown(request: ActionRequest, claim: Claim) -> str:
    return by_hand.stamp_of(claim, by_hand.items_of(request, claim))


def _second(request: ActionRequest, moment: Moment) -> Person:
    for person in Person.objects.filter(is_active=True).order_by("pk"):
        if by_hand.why_not_second(request, person, now=moment.now) is None:
            return person
    raise LookupError(f"nobody may be the second person for {request.ref}")
