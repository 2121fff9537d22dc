"""Effects that nothing here accounts for: kept as a list is read, settled by a unit of ours or by a person."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from django.db import transaction

from approvals.services import dead_letters
from governance import actors, wording
from governance.errors import AlreadyDecided, NotFound, NotYours, Unprocessable
from governance.ledger import Act
from governance.models import Person
from governance.vocabulary import Chain
from rollback.connectors.base import Page
from rollback.models import Bookmark, Stray, Unit
from rollback.models.listing import NOTE

PROBLEM = 300  # characters
NOTHING = "Nothing was changed."
AUDIT = "audit"  # who finds them


@transaction.atomic
def turn(
    mark: Bookmark, page: Page, found: Sequence[Stray], again: Sequence[int], *, now: datetime
) -> bool:
    """Keep what a page showed, and move the bookmark behind it: both or neither.

    Args:
        again: primary keys of units, which the other audit is to ask their target about again.

    Returns whether the list went on; not if another round was faster, which has then
    kept what stands there.
    """
    rows = Bookmark.objects.filter(pk=mark.pk, after=mark.after)
    if not rows.select_for_update(no_key=True, of=("self",)).exists():
        return False
    _keep(mark.target, found, now)
    Unit.objects.filter(pk__in=again).update(audited_at=None)
    goes_on = page.after != mark.after
    if goes_on or not page.more:
        rows.update(after=page.after, problem="", read_at=now)
    else:
        rows.update(problem="it says that there is more, and tells the same again")
    return goes_on


def _keep(target: str, found: Sequence[Stray], now: datetime) -> None:
    keys = [each.key for each in found]
    known = set(Stray.objects.filter(target=target, key__in=keys).values_list("key", flat=True))
    fresh = [each for each in found if each.key not in known]
    if not fresh:
        return
    Stray.objects.bulk_create(fresh)
    act = Act(now=now, actor=AUDIT)
    for each in fresh:
        act.record_named(
            Chain.SYSTEM, "stray.found", target=target, key=each.key, reference=each.reference,
            said_at=each.said_at,
        )  # fmt: skip
    act.write()


def note_silence(mark: Bookmark, said: str) -> None:
    """Keep why a list could not be read."""
    Bookmark.objects.filter(pk=mark.pk).update(problem=wording.plain(said, PROBLEM))


def note_circle(mark: Bookmark, *, since: datetime) -> None:
    """Keep that a list leads back to where it was, and so has not gone on since then."""
    rows = Bookmark.objects.filter(pk=mark.pk, after=mark.after)
    rows.update(problem="it goes round: it leads back to where it was", read_at=since)


@transaction.atomic
def be_accounted_for(strays: Iterable[int], *, now: datetime) -> None:
    """Settle those for which units of ours have checkpoints by now. Safe to run again.

    Args:
        strays: primary keys.
    """
    rows = Stray.objects.filter(pk__in=strays, settled_at__isnull=True).order_by("pk")
    act = Act(now=now, actor=AUDIT)
    for stray in rows.select_for_update(no_key=True, of=("self",)):
        stray.settled_at = now
        stray.save(update_fields=["settled_at"])
        act.record_named(Chain.SYSTEM, "stray.settled", **_facts(stray))
    act.write()


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
    # A browser sends each line end as two characters, and counts it as one.
    note = note.replace("\r\n", "\n").strip()
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
    act.record_named(Chain.SYSTEM, "stray.settled", **_facts(found), note=note)
    act.write()
    return found


def _facts(stray: Stray) -> dict[str, str]:
    return {"target": stray.target, "key": stray.key, "reference": stray.reference}
