"""A draft: begun as a copy of what is in force, then edited part by part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Max

from governance import actors, decision_tree
from governance.drafting import Mistake, NotRight, parts, rows, sheet
from governance.drafting.rows import RowParts
from governance.errors import NotFound
from governance.ladder import DEFAULT_WINDOWS
from governance.ledger import Act
from governance.models import (
    Appointment,
    DecisionCell,
    MatrixDelegate,
    MatrixRow,
    PathWindow,
    Person,
    PolicyCheck,
    PolicyVersion,
)
from governance.models.policy import NEVER_IN_FORCE
from governance.services.policy.editing import (
    Editing,
    editing,
    locked_draft,
    require_admin,
    require_revision,
)
from governance.vocabulary import Chain

MOST_RULES = 200


@transaction.atomic
def start_draft(*, actor: Person, now: datetime) -> PolicyVersion:
    """Begin a draft from the active version, with all its parts; without one, from the tables of the house.

    Raises NotYours.
    """
    require_admin(actor)
    # The last version's lock keeps two who begin at once from taking the same number.
    PolicyVersion.objects.select_for_update(no_key=True).order_by("-number").first()
    active = PolicyVersion.objects.filter(state=PolicyVersion.State.ACTIVE).first()
    number = PolicyVersion.objects.aggregate(last=Max("number"))["last"] or 0
    draft: PolicyVersion = PolicyVersion.objects.create(
        number=number + 1, based_on=active, created_at=now, edited_by=actor, edited_at=now
    )
    draft.editors.add(actor)
    if active is None:
        fill(draft)
    else:
        _copy(active, draft)
    act = Act(now=now, actor=actors.person(actor))
    act.record_named(
        Chain.POLICY,
        "policy.drafted",
        number=draft.number,
        based_on=None if active is None else active.number,
    )
    act.write()
    return draft


def fill(draft: PolicyVersion) -> None:
    """Give an empty version the windows and the 45 answers that the product comes with."""
    PathWindow.objects.bulk_create(
        PathWindow(version=draft, path=path, level=level, window=window)
        for (path, level), window in DEFAULT_WINDOWS.items()
    )
    DecisionCell.objects.bulk_create(
        DecisionCell(
            version=draft, exception=exception, severity=severity, impact=impact,
            response=rule.response, source=rule.source,
        )
        for exception, severity, impact, rule in decision_tree.cells()
    )  # fmt: skip


def _copy(active: PolicyVersion, draft: PolicyVersion) -> None:
    draft.queue_cap = active.queue_cap
    draft.save(update_fields=["queue_cap"])
    parts_of: tuple[Any, ...] = (PathWindow, DecisionCell, PolicyCheck, Appointment)
    for model in parts_of:
        found = list(model.objects.filter(version=active).order_by("pk"))
        for each in found:
            each.pk, each.version = None, draft
        model.objects.bulk_create(found)
    _insert_rows(
        draft,
        {
            row.number: rows.of(row)
            for row in MatrixRow.objects.filter(version=active).prefetch_related("delegates")
        },
    )


def discard(*, number: int, revision: int, actor: Person, now: datetime) -> PolicyVersion:
    """Put a draft away for good, as its author sees it. It stays to be read; its number is not used again.

    Raises NotYours, NotFound, NotADraft, EditedMeanwhile: as every edit.
    """
    require_admin(actor)
    with transaction.atomic():
        draft = locked_draft(number)
        require_revision(draft, revision)
        draft.discard()
        draft.discarded_at, draft.discarded_by = now, actor
        draft.save(update_fields=["state", "discarded_at", "discarded_by"])
        act = Act(now=now, actor=actors.person(actor))
        act.record_named(
            Chain.POLICY,
            "policy.discarded",
            number=number,
            revision=revision,
            editors=[actors.person(each) for each in draft.editors.order_by("username")],
        )
        act.write()
    return draft


# --- The matrix ---


def save_row(
    *,
    number: int,
    revision: int,
    actor: Person,
    row: int | None,
    cells: Mapping[str, str],
    now: datetime,
) -> int:
    """Store a row of a draft's matrix, as it was typed, and return its number.

    Args:
        number: the draft's.
        revision: of the draft, as its author saw it.
        row: the row's number; None for a new one, which takes the next.
        cells: by `governance.drafting.rows.FIELDS`; what is left out is empty.

    Raises:
        NotRight: cells to be mended, each named; or it would cover what another row covers.
        NotFound: there is no such draft, or no such row any more.
        NotYours, NotADraft, EditedMeanwhile: see `editing`.
    """
    with editing(number=number, revision=revision, actor=actor, now=now) as draft:
        there = _rows_of(draft)
        if row is None:
            row = max(there, default=0) + 1
            if len(there) >= sheet.MOST_ROWS:
                raise NotRight([Mistake(row, "", f"At most {sheet.MOST_ROWS:,} rows.")])
        elif row not in there:
            raise NotFound(f"There is no row {row} in draft {number} any more.")
        _put_rows(draft, there, rows.read_several({row: cells}, draft.names, there=there))
        return row


def save_rows(
    *,
    number: int,
    revision: int,
    actor: Person,
    cells: Mapping[int, Mapping[str, str]],
    now: datetime,
) -> None:
    """Store several rows as they were typed, all or none: one may begin where another now ends.

    Args:
        cells: of each row, by its number, as of `save_row`; the number after the last
            is that of a new row.

    Raises as `save_row`.
    """
    with editing(number=number, revision=revision, actor=actor, now=now) as draft:
        there = _rows_of(draft)
        new = max(there, default=0) + 1
        for row in cells:
            if row not in there and row != new:
                raise NotFound(f"There is no row {row} in draft {number} any more.")
        if new in cells and len(there) >= sheet.MOST_ROWS:
            raise NotRight([Mistake(new, "", f"At most {sheet.MOST_ROWS:,} rows.")])
        _put_rows(draft, there, rows.read_several(cells, draft.names, there=there))


def remove_row(*, number: int, revision: int, actor: Person, row: int, now: datetime) -> None:
    """Take a row out of a draft's matrix. Raises as `save_row`."""
    with editing(number=number, revision=revision, actor=actor, now=now) as draft:
        gone, _ = MatrixRow.objects.filter(version=draft.version, number=row).delete()
        if not gone:
            raise NotFound(f"There is no row {row} in draft {number} any more.")


def take_matrix(*, number: int, revision: int, actor: Person, text: str, now: datetime) -> int:
    """Put the rows of a file in the place of a draft's matrix, all or none, and return how many there are.

    Raises NotRight with the line of each mistake; otherwise as `save_row`.
    """
    with editing(number=number, revision=revision, actor=actor, now=now) as draft:
        there = _rows_of(draft)
        found = sheet.read(text, draft.names, there=there)
        gone = there.keys() - found.keys()
        MatrixRow.objects.filter(version=draft.version, number__in=gone).delete()
        _put_rows(draft, there, found)
        return len(found)


def _rows_of(draft: Editing) -> dict[int, RowParts]:
    found = MatrixRow.objects.filter(version=draft.version).prefetch_related("delegates")
    return {row.number: rows.of(row) for row in found}


def _put_rows(draft: Editing, there: Mapping[int, RowParts], found: Mapping[int, RowParts]) -> None:
    differ = {row: parts for row, parts in found.items() if there.get(row) != parts}
    MatrixRow.objects.filter(version=draft.version, number__in=differ).delete()
    _insert_rows(draft.version, differ)


def _insert_rows(version: PolicyVersion, found: Mapping[int, RowParts]) -> None:
    made = MatrixRow.objects.bulk_create(
        MatrixRow(
            version=version,
            number=number,
            department_id=row.department,
            action=row.action,
            currency=row.currency,
            amount_from=row.amount_from,
            amount_to=row.amount_to,
            approver_role_id=row.approver.role,
            approver_person_id=row.approver.person,
            quorum=row.quorum,
            executive_id=row.executive,
        )
        for number, row in sorted(found.items())
    )
    MatrixDelegate.objects.bulk_create(
        MatrixDelegate(row=row, position=place, role_id=each.role, person_id=each.person)
        for row in made
        for place, each in enumerate(found[row.number].delegates, start=1)
    )


# --- Windows and cells ---


def save_windows(
    *, number: int, revision: int, actor: Person, windows: Mapping[str, str], now: datetime
) -> None:
    """Store how long each rung waits, and how long a queued party is held.

    Args:
        windows: a length of time by each key of `parts.WINDOWS`, and by `parts.CAP`.

    Raises NotRight, key by key; otherwise as `save_row`.
    """
    found = parts.read_windows(windows)
    with editing(number=number, revision=revision, actor=actor, now=now) as draft:
        draft.version.queue_cap = found.pop(parts.CAP)
        for key, window in found.items():
            path, level = parts.WINDOWS[key]
            PathWindow.objects.update_or_create(
                version=draft.version, path=path, level=level, defaults={"window": window}
            )


def save_cells(
    *, number: int, revision: int, actor: Person, responses: Mapping[str, str], now: datetime
) -> None:
    """Store what answers exceptions; a cell that differs from the decision tree becomes `local`.

    Args:
        responses: by keys of `parts.CELLS`; cells that are left out stay as they are.

    Raises NotRight, key by key; otherwise as `save_row`.
    """
    found = parts.read_cells(responses)
    with editing(number=number, revision=revision, actor=actor, now=now) as draft:
        for cell in DecisionCell.objects.filter(version=draft.version):
            key = "/".join((cell.exception, cell.severity, cell.impact))
            response = found.get(key)
            if response is not None and response != cell.response:
                cell.response = response
                cell.source = parts.source_of(parts.CELLS[key], response)
                cell.save(update_fields=["response", "source"])


# --- Offices ---


def save_offices(
    *,
    number: int,
    revision: int,
    actor: Person,
    heads: Mapping[str, str],
    owners: Sequence[tuple[str, str]],
    fallbacks: Mapping[str, str],
    several: Mapping[str, str],
    now: datetime,
) -> None:
    """Store who holds every office: see `parts.read_offices`. Raises NotRight, and as `save_row`."""
    with editing(number=number, revision=revision, actor=actor, now=now) as draft:
        found = parts.read_offices(
            heads=heads, owners=owners, fallbacks=fallbacks, several=several, names=draft.names
        )
        _put_offices(draft.version, found)


def _put_offices(version: PolicyVersion, found: Iterable[parts.Holder]) -> None:
    """Put them in anew: executives and reviewers are asked in the order of their entry."""
    Appointment.objects.filter(version=version).delete()
    Appointment.objects.bulk_create(
        Appointment(version=version, office=each.office, scope=each.scope, person_id=each.person)
        for each in found
    )


# --- Rules ---


def save_rule(
    *,
    number: int,
    revision: int,
    actor: Person,
    key: str | None,
    typed: Mapping[str, str],
    now: datetime,
) -> str:
    """Store a rule and return its key. A changed one is a new revision, so that no old waiver silences it.

    Args:
        key: of the rule as it stands; None for a new one.
        typed: see `parts.RULE_FIELDS`. A rule keeps its key.

    Raises NotRight, field by field; otherwise as `save_row`.
    """
    with editing(number=number, revision=revision, actor=actor, now=now) as draft:
        there = PolicyCheck.objects.filter(version=draft.version)
        if key is not None and not there.filter(key=key).exists():
            raise NotFound(f"There is no rule {key} in draft {number} any more.")
        found = parts.read_rule({**typed, **({"key": key} if key else {})}, draft.names)
        if key is None and there.filter(key=found.key).exists():
            raise NotRight([Mistake(None, "key", "Another rule has this key.")])
        if key is None and there.count() >= MOST_RULES:
            raise NotRight([Mistake(None, "key", f"At most {MOST_RULES} rules.")])
        PolicyCheck.objects.update_or_create(
            version=draft.version,
            key=found.key,
            defaults={**found._asdict(), "revision": _revision_of(draft.version, found)},
        )
        return found.key


def remove_rule(*, number: int, revision: int, actor: Person, key: str, now: datetime) -> None:
    """Take a rule out of a draft. Raises as `save_row`."""
    with editing(number=number, revision=revision, actor=actor, now=now) as draft:
        gone, _ = PolicyCheck.objects.filter(version=draft.version, key=key).delete()
        if not gone:
            raise NotFound(f"There is no rule {key} in draft {number} any more.")


def _revision_of(draft: PolicyVersion, found: parts.RuleParts) -> int:
    """Return the revision of the same rule in a version that was in force, or else the next one."""
    before = (
        PolicyCheck.objects.filter(key=found.key)
        .exclude(version__state__in=NEVER_IN_FORCE)
        .order_by("-revision", "-version__number")
    )
    last = before.first()
    if last is None:
        return 1
    same = before.filter(
        expression_hash=found.expression_hash, action=found.action, reads=found.reads
    ).filter(revision=last.revision)
    return last.revision if same.exists() else last.revision + 1
