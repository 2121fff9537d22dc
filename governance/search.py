"""Search in the record: by person, request, kind and time, the newest first.

Pages go by keyset on (at, id). Each condition has an index that gives the newest first
(`AuditEvent.Meta`); a request's chain is short. So a page costs the same at any length.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import Max, QuerySet

from governance.ledger import instant
from governance.models import AuditEvent

BATCH = 1000  # of an export: one query each


class Cursor(NamedTuple):
    """The last event of a page."""

    at: datetime
    pk: int


@dataclass(frozen=True)
class Search:
    """What to look for. An empty part asks for nothing."""

    who: str = ""  # as AuditEvent.actor has it: "person:auditor", "agent:ap-agent", "clock"
    chain: str = ""  # a request's ref, or a named chain
    kind: str = ""
    since: datetime | None = None  # from here on
    until: datetime | None = None  # up to here, without it
    up_to: int | None = None  # id; later ones do not belong to it

    @property
    def is_empty(self) -> bool:
        return self == Search()

    def page(self, after: Cursor | None, limit: int) -> list[AuditEvent]:
        """Return at most `limit` events behind `after`, the newest first, with their seals. One query."""
        return list(self._page(after, limit))

    def every(self) -> Iterator[AuditEvent]:
        """Yield all events found, the newest first; flat memory, a query for each thousand."""
        after: Cursor | None = None
        while batch := self.page(after, BATCH):
            yield from batch
            after = Cursor(batch[-1].at, batch[-1].pk)

    def last_id(self) -> int:
        """Return the id of the newest event there is, found or not; 0 if there is none."""
        return AuditEvent.objects.aggregate(last=Max("pk"))["last"] or 0

    def bounded(self, up_to: int) -> Search:
        return replace(self, up_to=up_to)

    def as_facts(self) -> dict[str, Any]:
        """Return what was asked for, as the record keeps it."""
        parts = {
            "who": self.who,
            "chain": self.chain,
            "kind": self.kind,
            "since": instant(self.since) if self.since else "",
            "until": instant(self.until) if self.until else "",
        }
        return {name: value for name, value in parts.items() if value}

    def _page(self, after: Cursor | None, limit: int) -> QuerySet[AuditEvent]:
        rows = AuditEvent.objects.select_related("sealed").order_by("-at", "-pk")
        if not self.who.startswith("person:"):
            return self._narrowed(rows, after, actor=self.who)[:limit]
        # The page is among the first of what they did and the first of what was done for them, each
        # from its own index. Asked for at once, all of both would be read and sorted.
        # Said twice: so the database sees that the partial indexes hold all of it.
        did, was_done = (
            AuditEvent.objects.filter(
                pk__in=self._narrowed(
                    AuditEvent.objects.order_by("-at", "-pk"),
                    after,
                    **{f"{field}__startswith": "person:", field: self.who},
                ).values("pk")[:limit]
            )
            .order_by()
            .values("pk")
            for field in ("actor", "on_behalf_of")
        )
        return rows.filter(pk__in=did.union(was_done))[:limit]

    def _narrowed(
        self, rows: QuerySet[AuditEvent], after: Cursor | None, **who: str
    ) -> QuerySet[AuditEvent]:
        rows = rows.filter(**{name: value for name, value in who.items() if value})
        if after is not None:
            rows = rows.filter(at__lte=after.at).exclude(at=after.at, pk__gte=after.pk)
        if self.chain:
            rows = rows.filter(chain=self.chain)
        if self.kind:
            rows = rows.filter(kind=self.kind)
        if self.since is not None:
            rows = rows.filter(at__gte=self.since)
        if self.until is not None:
            rows = rows.filter(at__lt=self.until)
        if self.up_to is not None:
            rows = rows.filter(pk__lte=self.up_to)
        return rows
