"""Effects that nothing here accounts for: kept as a list is read, settled by a unit of ours or by a person."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db import transaction

from approvals.services import dead_letters
from governance import actors, wording
from governance.errors import AlreadyDecided, NotFound, NotYours, Unprocessable
from governance.ledger import Act
from governance.models import Person
from governance.vocabulary import Chain
from rollback.connectors.base import Page
from rollback.models import Bookmark, Stray
from rollback.models.listing import NOTE

PROBLEM = 300  # characters
NOTHING = "Nothing was changed."


@transaction.atomic
def turn(mark: Bookmark, page: Page, found: Iterable[Stray], *, now: datetime) -> bool:
    """Keep what a page showed, and move the bookmark behind it: both or neither.

    Returns whether the list went on; not if another round was faster.
    """
    Stray.objects.bulk_create(found, ignore_conflicts=True)
    goes_on = page.after != mark.after
    changes = {"after": page.after, "problem": ""}
    rows = Bookmark.objects.filter(pk=mark.pk, after=mark.after)
    if goes_on or not page.more:
        return rows.update(**changes, read_at=now) == 1 and goes_on
    rows.update(problem="it says that there is more, and tells the same again")
    return False


def note_silence(mark: Bookmark, said: str) -> None:
    """Keep why a list could not be read."""
    Bookmark.objects.filter(pk=mark.pk).update(problem=wording.plain(said, PROBLEM))


def be_accounted_for(strays: Iterable[int], *, now: datetime) -> None:
    """Settle those for which units of ours account by now. Safe to run again.

    Args:
        strays: primary keys.
    """
    Stray.objects.filter(pk__in=strays, settled_at__isnull=True).update(settled_at=now)


@transaction.atomic
def settle(*, stray: int, actor: Person, note: str, now: datetime) -> Stray:
    """Take a person's word for what became of an effect. Its finding is gone with the next round.

    Args:
        stray: primary key.
        note: what they found and did; for auditors.

    Raises:
        NotYours: neither an operator nor a policy administrator.
        NotFound: there is no such effect.
        AlreadyDecided: it is settled.
        Unprocessable: without words, or with too many.
    """
    if not dead_letters.may_tend(actor):
        raise NotYours(f"Operators and policy administrators see to effects of no unit. {NOTHING}")
    note = note.strip()
    if not note or len(note) > NOTE:
        raise Unprocessable(f"Say what became of it, in {NOTE} characters at most. {NOTHING}")
    found = Stray.objects.select_for_update(no_key=True, of=("self",)).filter(pk=stray).first()
    if found is None:
        raise NotFound("There is no such effect.")
    if found.settled_at is not None:
        raise AlreadyDecided(f"Someone was faster: it is settled. {NOTHING}")
    found.settled_at, found.settled_by, found.note = now, actor, note
    found.save(update_fields=["settled_at", "settled_by", "note"])
    act = Act(now=now, actor=actors.person(actor))
    act.record_named(
        Chain.SYSTEM, "stray.settled", stray=found.pk, target=found.target, key=found.key,
        reference=found.reference, note=note,
    )  # fmt: skip
    act.write()
    return found
