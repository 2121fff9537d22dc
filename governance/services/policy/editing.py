"""What every edit of a draft has in common: who may, the lock, the revision, and the record."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from governance import actors, wording
from governance.drafting import names as naming
from governance.drafting.book import book_of
from governance.drafting.names import Names
from governance.errors import NotFound, NotYours, Refused
from governance.ledger import Act
from governance.models import Person, PolicyVersion
from governance.vocabulary import Chain, Duty


class EditedMeanwhile(Refused):
    """Somebody else changed the draft since its author looked at it."""

    problem, title = "edited-meanwhile", "Somebody was faster"


class NotADraft(Refused):
    """The version is, or was, in force; or it was discarded."""

    problem, title = "not-a-draft", "Not a draft"


@dataclass(frozen=True)
class Editing:
    """A draft under its lock."""

    version: PolicyVersion
    names: Names


def require_admin(actor: Person) -> None:
    """Raise NotYours unless they administer policies, as the database has them now."""
    live = Person.objects.filter(pk=actor.pk, is_active=True, roles__key=Duty.POLICY_ADMIN)
    if not live.exists():
        raise NotYours("Policy administrators change who decides. Nothing was stored.")


def locked_draft(number: int) -> PolicyVersion:
    """Lock and return a draft, inside a transaction. Raises NotFound and NotADraft."""
    rows = PolicyVersion.objects.select_for_update(no_key=True)
    version: PolicyVersion | None = rows.filter(number=number).first()
    if version is None:
        raise NotFound(f"There is no version {number}.")
    if version.state == PolicyVersion.State.DISCARDED and version.discarded_at is not None:
        raise NotADraft(
            f"{version.discarded_by} discarded draft {number}{_clock(version.discarded_at, version.discarded_by)}."
            " Begin another to change something. Nothing was stored."
        )
    if version.state != PolicyVersion.State.DRAFT:
        raise NotADraft(
            f"Version {number} is no draft any more, and what was in force never changes."
            " Begin a draft to change something. Nothing was stored."
        )
    return version


def require_revision(version: PolicyVersion, revision: int) -> None:
    """Raise EditedMeanwhile unless the draft is as its author saw it."""
    if version.revision == revision:
        return
    who = f"{version.edited_by}" if version.edited_by_id else "Somebody"
    at = _clock(version.edited_at, version.edited_by)
    raise EditedMeanwhile(
        f"{who} changed draft {version.number}{at}, after you opened it. Nothing of yours was stored."
        " Look at the draft as it is now, then make your change again."
    )


def _clock(at: datetime | None, who: Person | None) -> str:
    """Say the time of somebody's act on their own clock: " at 09:45:12 EST"."""
    if at is None or who is None:
        return ""
    clock = wording.at(at, now=at, zone=who.zone, seconds=True)
    return f" at {clock} {wording.zone_word(at, who.zone)}"


@contextmanager
def editing(*, number: int, revision: int, actor: Person, now: datetime) -> Iterator[Editing]:
    """Lock a draft for one edit; at the end record what changed, who did it, and count the revision.

    An edit that changes nothing leaves no trace. Signatures were given for what
    stood there, so they go with the first change.

    Raises:
        NotYours, NotFound, NotADraft: who, and what.
        EditedMeanwhile: the draft is not the one its author saw.
    """
    require_admin(actor)
    with transaction.atomic():
        version = locked_draft(number)
        require_revision(version, revision)
        names = naming.load()
        before = book_of(version, names)
        yield Editing(version, names)
        changes = before.changes_to(book_of(version, names))
        if not changes:
            return
        version.editors.add(actor)
        version.signatures.all().delete()
        version.revision += 1
        version.edited_by, version.edited_at = actor, now
        version.save(update_fields=["revision", "edited_by", "edited_at", "queue_cap"])
        act = Act(now=now, actor=actors.person(actor))
        act.record_named(
            Chain.POLICY,
            "policy.edited",
            number=version.number,
            revision=version.revision,
            changes=[each.fact() for each in changes],
        )
        act.write()
