"""Requests by the hundred thousand: copies of one that the product made, by set-based SQL.

Whatever the product writes for a request is copied, so that the rows are valid and stay so when
a column is added. Only the hashes of their events are those of the original.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import ForeignKey, Model

from approvals.models import ActionRequest, Ask, Case, Notice, Resource, Step
from approvals.services.close import withdraw
from approvals.services.submit import submit
from approvals.sweeps import climb_due_steps
from governance import bulk, clock
from governance.catalogue import CATALOGUE
from governance.metrics import folding, keeping
from governance.metrics.weeks import week_of
from governance.models import (
    Absence,
    AgentCredential,
    AuditEvent,
    Measure,
    Person,
    PolicyVersion,
)

AMOUNTS = ("12000.00", "41900.00", "250000.00")  # one for each band of the matrix
SPREAD = timedelta(days=30)  # over which the others run out


def original(*, climbed: bool, amount: str = AMOUNTS[0], now: datetime | None = None) -> int:
    """Submit one request, let it climb to L1 if `climbed`, and return its key."""
    now = now or clock.now()
    body = deepcopy(next(e["example"] for e in CATALOGUE if e["key"] == "vendor_payment"))
    body["payload"] |= {
        "amount": {"value": amount, "currency": "USD"},
        "invoice": f"O{now:%H%M%S%f}",
        "vendor": f"Vendor {now:%H%M%S%f} {amount}",
    }
    taken = submit(
        credential=AgentCredential.objects.select_related("agent").get(),
        policy=PolicyVersion.objects.get(state=PolicyVersion.State.ACTIVE).pk,
        idempotency_key=f"original-{now.isoformat()}-{amount}",
        body=body,
        now=now,
    ).request
    if climbed and taken.due_at is not None:
        climb_due_steps(now=taken.due_at)
    _put_off(taken.pk)
    return taken.pk


def ended(*, climbed: bool) -> int:
    """Submit one request, take it back, once others were asked as well if `climbed`, and return its key."""
    pk = original(climbed=False, now=clock.now() - timedelta(hours=3))
    request = ActionRequest.objects.get(pk=pk)
    for _ in range(2 if climbed else 0):  # L1, which asks the same people, and L2
        at = clock.now()
        ActionRequest.objects.filter(pk=pk).update(due_at=at)
        Step.objects.filter(request=pk, state=Step.State.WAITING).update(due_at=at)
        climb_due_steps(now=at)
    withdraw(ref=request.ref, agent=request.agent, now=clock.now())
    return pk


def counted(pk: int, count: int) -> None:
    """Count the last `count` requests as the worker would, over thirteen weeks; one in five escalated.

    Args:
        pk: of one that climbed and ended: each is counted for what this one is.
    """
    chain = ActionRequest.objects.values_list("ref", flat=True).get(pk=pk)
    own = folding.measures_of(AuditEvent.objects.filter(chain=chain).order_by("seq"))
    first = max(ActionRequest.objects.order_by("-pk").values_list("pk", flat=True)[:1]) - count
    now = clock.now()
    sums = keeping.Sums()

    def rows() -> Iterator[folding.Counted]:
        for number in range(count):
            at = now - timedelta(weeks=13) * number / count
            for measure in own:
                timed = measure.seconds is not None
                outcome = "hit" if timed or number % 5 == 0 else "miss"
                row = measure._replace(
                    chain=f"C{first + number + 1}", request=f"C{first + number + 1}", at=at,
                    week=week_of(at), outcome=outcome,
                    seconds=number * 37 % 20_000 if timed else None,
                )  # fmt: skip
                sums.add(row)
                yield row

    with transaction.atomic():
        bulk.insert_rows(Measure, keeping.COLUMNS, rows())
        sums.save()


def _put_off(pk: int) -> None:
    """Keep an original out of what is measured: nothing of it is due while the benchmark runs."""
    later = clock.now() + 2 * SPREAD
    ActionRequest.objects.filter(pk=pk).update(due_at=later)
    Step.objects.filter(request=pk, state=Step.State.WAITING).update(due_at=later)
    Ask.objects.filter(step__request=pk, due_at__isnull=False).update(
        due_at=later, next_ping_at=None
    )


def away(username: str) -> None:
    """Have somebody away for a month, so that the first delegate is passed over."""
    person, now = Person.objects.get(username=username), clock.now()
    Absence.objects.create(
        person=person, starts_at=now, ends_at=now + SPREAD, set_by=person, set_at=now
    )


@transaction.atomic
def copies(pk: int, count: int, *, due_at: datetime, every: timedelta = timedelta(0)) -> None:
    """Add `count` copies of a request that waits; the first is due at `due_at`, each next one `every` later."""
    request = ActionRequest.objects.get(pk=pk)
    base: dict[type[Model], int] = {}
    rows = _rows_of(request)
    with connection.cursor() as cursor:
        _trust(cursor)
        _number(cursor, count)
        for model, pks in rows.items():
            base[model] = _last_key(cursor, model)
            for place, own in enumerate(pks):
                changes = _changes(model, rows, base, place, due_at, every)
                columns = [field.column for field in model._meta.concrete_fields]
                values = ", ".join(changes.get(name, f'o."{name}"') for name in columns)
                names = ", ".join(f'"{name}"' for name in columns)
                cursor.execute(
                    f"INSERT INTO {model._meta.db_table} ({names})"
                    f" SELECT {values} FROM {model._meta.db_table} o CROSS JOIN bench_numbers"
                    f" WHERE o.id = {own}"
                )
            _go_on_after(cursor, model, base[model] + count * len(pks))
        cursor.execute("DROP TABLE bench_numbers")


def analyse() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _rows_of(request: ActionRequest) -> dict[type[Model], Sequence[int]]:
    """Return the keys of a request's rows by model, parents before children."""
    own = {"request": request}
    found: dict[type[Model], Any] = {
        Resource: Resource.objects.filter(pk=request.resource_id),
        ActionRequest: ActionRequest.objects.filter(pk=request.pk),
        Case: Case.objects.filter(**own),
        Step: Step.objects.filter(**own),
        Ask: Ask.objects.filter(step__request=request),
        Notice: Notice.objects.filter(**own),
        AuditEvent: AuditEvent.objects.filter(chain=request.ref),
    }
    return {
        model: list(rows.order_by("pk").values_list("pk", flat=True))
        for model, rows in found.items()
    }


def _changes(
    model: type[Model], rows: dict[type[Model], Sequence[int]], base: dict[type[Model], int],
    place: int, due_at: datetime, every: timedelta,
) -> dict[str, str]:  # fmt: skip
    """Return what differs from the original, by column, as SQL over `o` and `n`."""
    each = len(rows[model])
    changes = {"id": f"{base[model]} + (n - 1) * {each} + {place + 1}"}
    for field in model._meta.concrete_fields:
        parent = field.related_model
        if isinstance(field, ForeignKey) and parent in base and parent is not model:
            # The same parent's copy: its place among the original's rows is kept.
            cases = " ".join(
                f"WHEN {pk} THEN {base[parent]} + (n - 1) * {len(rows[parent])} + {number + 1}"
                for number, pk in enumerate(rows[parent])
            )
            changes[field.column] = (
                f"CASE o.{field.column} {cases} END" if cases else f"o.{field.column}"
            )
    unique = (
        f"'-' || {base[ActionRequest] if ActionRequest in base else base[Resource]} || '-' || n"
    )
    if model is ActionRequest:
        changes["ref"] = f"'C' || ({changes['id']})"
        changes |= {name: f"o.{name} || {unique}" for name in ("idempotency_key", "business_key")}
    if model is AuditEvent:
        changes["chain"] = f"'C' || ({base[ActionRequest]} + n)"
    if model is Resource:
        changes["key"] = f"o.key || '-' || ({changes['id']})"
    if model in (ActionRequest, Step, Ask):
        waits = "o.state = 'waiting'" if model is Step else "o.due_at IS NOT NULL"
        changes["due_at"] = f"CASE WHEN {waits} THEN {_later(due_at, every)} ELSE o.due_at END"
    if model is Ask:
        changes["next_ping_at"] = "NULL"
    if model is Notice:  # long since delivered
        changes |= {
            "state": "'delivered'",
            "next_attempt_at": "NULL",
            "delivered_at": "o.created_at",
        }
    return changes


def _later(due_at: datetime, every: timedelta) -> str:
    """Return the SQL of an instant that grows with `n`."""
    seconds = f"(n - 1) * {every.total_seconds()}"
    if connection.vendor == "postgresql":
        return f"'{due_at.isoformat()}'::timestamptz + ({seconds}) * interval '1 second'"
    start = f"'{due_at:%Y-%m-%d %H:%M:%S.%f}'"
    return f"strftime('%Y-%m-%d %H:%M:%f', {start}, ({seconds}) || ' seconds')"


def _trust(cursor: Any) -> None:
    """Leave out the checks of foreign keys, where we may: a copy points where its original's copies are."""
    if connection.vendor == "postgresql":
        cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        if cursor.fetchone()[0]:
            cursor.execute("SET LOCAL session_replication_role = replica")


def _number(cursor: Any, count: int) -> None:
    series = (
        f"SELECT n FROM generate_series(1, {count}) n"
        if connection.vendor == "postgresql"
        else f"WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count}) SELECT n FROM s"
    )
    cursor.execute(f"CREATE TEMPORARY TABLE bench_numbers AS {series}")


def _last_key(cursor: Any, model: type[Model]) -> int:
    cursor.execute(f"SELECT coalesce(max(id), 0) FROM {model._meta.db_table}")
    last: int = cursor.fetchone()[0]
    return last


def _go_on_after(cursor: Any, model: type[Model], last: int) -> None:
    """Have the table give its own keys after ours. SQLite sees by itself."""
    if last and connection.vendor == "postgresql":
        cursor.execute(
            "SELECT setval(pg_get_serial_sequence(%s, 'id'), %s)", [model._meta.db_table, last]
        )
