"""What is half done and could not be undone is settled by hand: by two people, with the target's reference."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.utils.module_loading import import_string

from approvals import notifying
from approvals.models import ActionRequest, Review
from approvals.services import conflicts
from approvals.services.alerts import close_alert
from approvals.services.reviews import NOTHING_STORED, checked_words, lock_review
from approvals.services.writes import Writes
from approvals.undoing import Circle, circle_of
from governance import actors, tables
from governance.errors import AlreadyDecided, NotNow, NotYours, Unprocessable
from governance.ledger import Act
from governance.models import Person

S = ActionRequest.State
OUTCOMES = (S.ROLLED_BACK, S.COMPLETED_MANUALLY)
REFERENCE_LENGTH = 200


@transaction.atomic
def say_settled(
    *,
    review: int,
    actor: Person,
    outcome: str,
    reference: str,
    note: str,
    now: datetime,
) -> Review:
    """Say what became of a stranded request in the target. It counts once a second person says so too.

    Said again, by anybody who may, it replaces what was said before.

    Args:
        outcome: `rolled_back`, nothing of it is left; or `completed_manually`, all of it is
            there. That answers for every unit that was sent.
        reference: the target's, of what was done by hand.

    Raises:
        NotFound, AlreadyDecided, NotNow: there is no such cleanup, or it is closed.
        NotYours: the actor may not.
        Unprocessable: no outcome, reference or note.
    """
    if outcome not in OUTCOMES:
        raise Unprocessable(f"Say {' or '.join(OUTCOMES)}. {NOTHING_STORED}")
    note = checked_words(note, why="Say what was done by hand.")
    reference = checked_words(reference, why="Give the target's reference.")
    if len(reference) > REFERENCE_LENGTH:
        raise Unprocessable(
            f"A reference has at most {REFERENCE_LENGTH} characters. {NOTHING_STORED}"
        )
    request, found = lock_review(review)
    circle = circle_of(request)
    _may(found, actor, circle)
    found.closed_by, found.said_at, found.target_reference = actor, now, reference
    found.details = {"outcome": outcome, "note": note}
    found.save(update_fields=["closed_by", "said_at", "target_reference", "details"])
    act = Act(now=now, actor=actors.person(actor))
    writes = Writes(acts=[act])
    act.record(request, "cleanup.said", outcome=outcome, reference=reference, note=note)
    seconds = {
        pk for pk in circle.signers if why_not_settle(found, pk, circle, second=True) is None
    }
    people = tables.people_for((), also=seconds, now=now)
    notifying.told(writes, seconds, request, people, what="cleanup_second", now=now)
    request.save(update_fields=["chain_length", "chain_hash"])
    writes.save()
    return found


@transaction.atomic
def confirm_settled(*, review: int, actor: Person, now: datetime, said_at: datetime) -> Review:
    """Say, as the second person, that it is as the first one said. The request ends so, and frees its record.

    Args:
        said_at: of the word that the actor was shown.

    Raises:
        NotFound, AlreadyDecided: there is no such cleanup, or it is closed.
        NotNow: nobody has said anything yet, or something else than was shown.
        NotYours: the actor may not, or said it.
    """
    request, found = lock_review(review)
    circle = circle_of(request)
    _may(found, actor, circle, second=True)
    if found.said_at is None or found.said_at != said_at:
        raise NotNow(f"Something else was said meanwhile. Look at it first. {NOTHING_STORED}")
    act = Act(now=now, actor=actors.person(actor))
    writes = Writes(acts=[act])
    found.clean_up()
    found.second_person, found.closed_at, found.remind_at = actor, now, None
    found.finding = found.details["note"]
    found.save()
    was = request.state
    settle = import_string(settings.RECOURSE_SETTLE)  # what sends units is above this package
    units = settle(
        request,
        done=found.details["outcome"] == S.COMPLETED_MANUALLY,
        reference=found.target_reference,
        now=now,
    )
    if found.details["outcome"] == S.ROLLED_BACK:
        request.has_effects = False
        request.finish_rollback(now=now)
    else:
        request.complete_by_hand(now=now)
    act.record(
        request, "review.closed", review=found.kind, opened_at=found.opened_at, finding=found.state,
        outcome=request.state, reference=found.target_reference, units=units,
        said_by=actors.person(found.closed_by) if found.closed_by is not None else "",
    )  # fmt: skip
    told = circle.deciders | {found.closed_by_id or actor.pk}
    people = tables.people_for((), also=told, now=now)
    notifying.told(writes, told - {actor.pk}, request, people, what="cleaned_up", now=now)
    notifying.state_changed(writes, request, now=now)
    close_alert(kind="request.stranded", key=request.ref, now=now)
    close_alert(kind="review.overdue", key=request.ref, now=now)
    writes.move(request, was=was)
    conflicts.save(writes, now=now)
    return found


def why_not_settle(
    review: Review, person: int, circle: Circle, *, second: bool = False
) -> str | None:
    """Return why somebody may not say that it is settled, said to them, or None if they may."""
    if person in (circle.owner, circle.on_behalf_of):
        return "You stand behind the agent that asked, so others clean up."
    if person not in circle.signers and person != review.asked_id:
        return (
            "A cleanup is done by operators, by the controller or the head of"
            f" {circle.department}, by the head of compliance, or by whoever reviews it."
        )
    if second and person == review.closed_by_id:
        return "You said it, so somebody else must say it too."
    return None


def _may(review: Review, actor: Person, circle: Circle, *, second: bool = False) -> None:
    if review.kind != Review.Kind.CLEANUP:
        raise NotNow(f"This review ends with a finding. {NOTHING_STORED}")
    if review.state != Review.State.OPEN:
        raise AlreadyDecided(f"This cleanup is closed. {NOTHING_STORED}")
    why = "This account is disabled." if not actor.is_active else None
    why = why or why_not_settle(review, actor.pk, circle, second=second)
    if why is not None:
        raise NotYours(f"{why} {NOTHING_STORED}")
