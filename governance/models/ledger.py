"""The record: events in chains, and the seals over them. Rows are added, never changed.

`governance.ledger` and `governance.seals` write here and nothing else does. The
database refuses UPDATE, DELETE and TRUNCATE of events and seals: see
`governance.ledger_triggers`.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class AuditEvent(models.Model):
    """One thing that happened, linked to the event before it in its chain."""

    chain = models.CharField(max_length=40)  # a request's ref, or a name from vocabulary.Chain
    seq = models.PositiveIntegerField()  # 1, 2, 3 within the chain, without a gap
    kind = models.CharField(max_length=60)  # one of governance.events: step.expired
    actor = models.CharField(
        max_length=120
    )  # "person:12 Finance Manager", "agent:ap-agent", "clock"
    on_behalf_of = models.CharField(max_length=120, blank=True)
    facts = models.JSONField(default=dict)
    cause = models.UUIDField()  # the same for all events of one act
    at = models.DateTimeField()
    prev_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        constraints = [
            # Two events cannot both be the next one, whatever their writers held.
            models.UniqueConstraint(name="event_one_per_place", fields=["chain", "seq"]),
            models.CheckConstraint(name="event_seq_from_one", condition=Q(seq__gte=1)),
        ]
        # Each for one search of governance.search, which reads the newest first. What a submission
        # writes, an agent writes, and of two kinds: it pays for the first alone, whose end it is.
        indexes = [
            models.Index(name="event_newest", fields=["at", "id"]),
            models.Index(
                name="event_by_person",
                fields=["actor", "at", "id"],
                condition=Q(actor__startswith="person:"),
            ),
            models.Index(
                name="event_for_person",
                fields=["on_behalf_of", "at", "id"],
                condition=Q(on_behalf_of__startswith="person:"),
            ),
            models.Index(
                name="event_by_kind",
                fields=["kind", "at", "id"],
                condition=~Q(kind="request.submitted") & ~Q(kind="step.opened"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.chain} {self.seq}: {self.kind}"


class ChainHead(models.Model):
    """How long a chain without a row of its own is, so that a cut tail shows.

    One row for each name in `vocabulary.Chain`, and one, `seals`, for the seals.
    A request's chain has its head on the request.
    """

    name = models.CharField(max_length=40, primary_key=True)
    length = models.PositiveBigIntegerField()
    last_hash = models.CharField(max_length=64)

    def __str__(self) -> str:
        return f"{self.name}, {self.length} long"


class Verification(models.Model):
    """One reading of the whole ledger, and what it found. Written at its end, never changed."""

    asked_by = models.CharField(max_length=120)  # as AuditEvent.actor: "clock", "person:auditor"
    begun_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    events = models.PositiveBigIntegerField()  # read, as are the next two
    chains = models.PositiveBigIntegerField()
    seals = models.PositiveBigIntegerField()
    found = models.PositiveIntegerField()  # places where the record does not hold
    findings = models.JSONField(default=list, blank=True)  # the first of them: [chain, seq, what]

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="verification_begins_first", condition=Q(begun_at__lte=models.F("ended_at"))
            ),
        ]
        indexes = [models.Index(name="verification_last", fields=["ended_at"])]

    def __str__(self) -> str:
        return f"{self.events} events read at {self.ended_at:%d %b %H:%M}, {self.found} findings"


class Seal(models.Model):
    """A signature over all events that were committed and not sealed before."""

    number = models.PositiveBigIntegerField(primary_key=True)  # 1, 2, 3 without a gap
    root = models.CharField(max_length=64)  # RFC 6962 Merkle root of the events' hashes
    size = models.PositiveIntegerField()  # how many events
    prev_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)
    key_id = models.CharField(max_length=16)  # start of the public key's SHA-256
    signature = models.CharField(max_length=128)  # Ed25519, hex
    sealed_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(name="seal_number_from_one", condition=Q(number__gte=1)),
            models.CheckConstraint(name="seal_of_something", condition=Q(size__gte=1)),
        ]

    def __str__(self) -> str:
        return f"Seal {self.number} of {self.size} events"


class SealedEvent(models.Model):
    """Which seal covers an event, and as which leaf.

    A row, not a range of ids or instants: an id is handed out before its
    transaction commits, so a range signed now can gain an event later.
    """

    event = models.OneToOneField(
        AuditEvent, models.PROTECT, primary_key=True, related_name="sealed"
    )
    seal = models.ForeignKey(
        Seal,
        models.PROTECT,
        related_name="sealed_events",
        db_index=False,  # event_one_per_leaf begins with it
    )
    position = models.PositiveIntegerField()  # of the leaf, from 0

    class Meta:
        constraints = [
            models.UniqueConstraint(name="event_one_per_leaf", fields=["seal", "position"]),
        ]

    def __str__(self) -> str:
        return f"Leaf {self.position} of seal {self.seal_id}"
