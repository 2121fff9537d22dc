"""L4: one executive overrides what came before, in person, and owes a review for it from that instant.

`decide`, `ruling` and the answers to a failure sign through here, so that no way
over the top of the ladder leaves less behind. Source: DESIGN 2.2.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from approvals.models import Review, Step
from approvals.services.escalate import Climb
from approvals.services.reviews import open_review
from governance import stepup
from governance.errors import Unprocessable
from governance.models import Person
from governance.stepup import Presence
from governance.vocabulary import Level


class Override(NamedTuple):
    """What a decision keeps of having overridden others: its fields by these names."""

    is_bypass: bool = False
    review: Review | None = None
    reauthenticated_at: datetime | None = None


NOTHING_OVERRIDDEN = Override()


def sign(
    climb: Climb,
    step: Step,
    *,
    actor: Person,
    presence: Presence | None,
    note: str,
    harmless: bool,
    replaced: int = 1,
) -> Override:
    """Return what a decision on this step overrides, and open the review of it in the same transaction.

    Below L4, and where it only refuses or undoes, nothing is.

    Args:
        presence: the second factor that the actor gave for this request a moment ago, if they did.
        note: the justification.
        harmless: it refuses, or has what was done undone.
        replaced: how many signatures of others this one stands for.

    Raises:
        NoSecondFactor, StepUpNeeded: the actor was not there, in person, for this request.
        Unprocessable: no justification.
    """
    if step.level < Level.L4 or harmless:
        return NOTHING_OVERRIDDEN
    if not note:
        raise Unprocessable(
            "Say why the others could not be waited for. Whoever reviews this reads it first. "
            "Your decision was not recorded."
        )
    given = stepup.required(presence, actor=actor, matter=climb.request.ref)
    review = open_review(
        climb.writes,
        climb.act,
        climb.request,
        Review.Kind.BYPASS,
        note,
        bypasser=actor.pk,
        replaced=replaced,
    )
    return Override(True, review, given.at)
