"""One of several requests that somebody approves together. Each is decided by itself, on its own digest."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from approvals.locks import lock_request
from approvals.models import ActionRequest, Decision, Step
from approvals.services.decide import decide
from governance.errors import NotNow
from governance.models import ActionType, Person
from governance.vocabulary import Impact, Path, Verdict

MOST = 50  # at once


def why_alone(request: ActionRequest) -> str | None:
    """Return why a request is never decided together with others, or None if it may be.

    Whether it still waits for its first answer is looked at under the lock.
    """
    if request.person_present:
        if request.action_type.reversal != ActionType.Reversal.NONE:
            return "Its undo was not rehearsed lately, so it takes a person present."
        return "It cannot be undone, so it takes a person present."
    if request.impact == Impact.HIGH:
        return "Its impact is high, so it is decided by itself."
    return None


@transaction.atomic
def approve_one_of_several(
    *, ref: str, actor: Person, digest: str, now: datetime, note: str = ""
) -> ActionRequest:
    """Approve one request of those selected, if it still waits for its first answer.

    A transaction for each, so that what is refused of one keeps none of the others.

    Raises:
        NotNow: it is never decided together with others, or is on another path by now.
        whatever `decide` raises.
    """
    request = lock_request(ref, and_resource=True)
    alone = why_alone(request)
    if alone is not None:
        raise NotNow(f"{alone} Your decision on it was not recorded.")
    waiting = Step.objects.filter(request=request, state=Step.State.WAITING).first()
    if waiting is not None and waiting.path != Path.APPROVAL:
        raise NotNow(
            "Something has happened since: look at it by itself. Your decision on it was not recorded."
        )
    return decide(
        ref=ref, actor=actor, verdict=Verdict.APPROVE, digest=digest, note=note, now=now,
        via=Decision.Via.BULK,
    )  # fmt: skip
