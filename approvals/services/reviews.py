"""Duties with a clock that silence never closes. Source: DESIGN 2.2."""

from __future__ import annotations

from datetime import timedelta

from approvals.models import ActionRequest, Review
from approvals.services.writes import Writes
from governance.ledger import Act

DUE_WITHIN = timedelta(hours=48)
REMIND_AFTER = timedelta(hours=24)


def open_review(
    writes: Writes, act: Act, request: ActionRequest, kind: Review.Kind, reason: str
) -> Review:
    """Have somebody independent look at what was done. The request's row is locked by the caller."""
    review: Review = Review(
        request=request,
        kind=kind,
        reason=reason,
        opened_at=act.now,
        due_at=act.now + DUE_WITHIN,
        remind_at=act.now + REMIND_AFTER,
    )
    writes.reviews.append(review)
    act.record(request, "review.opened", review=kind, due_at=review.due_at)
    return review
