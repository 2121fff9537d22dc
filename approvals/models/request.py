"""One request by an agent to perform one action, and everything its life depends on."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from django.db import models
from django.db.models import Q
from django_fsm import FSMField, transition

from approvals.models.resource import Resource
from governance.models import (
    ActionType,
    Agent,
    AgentCredential,
    Department,
    MatrixRow,
    Person,
    PolicyVersion,
)
from governance.models.states import Stateful, known_states
from governance.vocabulary import Impact, Severity

REF_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford: nothing that is misread on the phone


def new_ref() -> str:
    """Return a fresh reference: 60 random bits, readable aloud. "R-7K2M-9XQ4-B3TD"."""
    letters = [secrets.choice(REF_ALPHABET) for _ in range(12)]
    return "R-" + "-".join("".join(letters[i : i + 4]) for i in (0, 4, 8))


class State(models.TextChoices):
    """Where a request is. The order is the order of DESIGN 3."""

    PENDING = "pending"
    HELD = "held"
    BLOCKED = "blocked"
    APPROVED = "approved"
    EXECUTING = "executing"
    TROUBLED = "troubled"
    ROLLING_BACK = "rolling_back", "Rolling back"
    COMPLETED = "completed"
    COMPLETED_MANUALLY = "completed_manually", "Completed by hand"
    REJECTED = "rejected"
    DENIED = "denied"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    ROLLED_BACK = "rolled_back", "Rolled back"
    STRANDED = "stranded"


S = State
OPEN = (S.PENDING, S.HELD, S.BLOCKED, S.APPROVED, S.EXECUTING, S.TROUBLED, S.ROLLING_BACK)
WITH_KEY = (S.APPROVED, S.EXECUTING, S.TROUBLED, S.ROLLING_BACK, S.STRANDED)
WITHOUT_EFFECTS = (S.REJECTED, S.DENIED, S.EXPIRED, S.WITHDRAWN, S.ROLLED_BACK)
ENDED = tuple(state for state in State if state not in OPEN)


class ActionRequest(Stateful, models.Model):
    """One action an agent asks leave to perform.

    Transitions change fields on this row and nothing else: no queries, no
    notices, no clock. A service calls them, under the row's lock.
    """

    State = State
    objects: ClassVar[models.Manager[ActionRequest]] = models.Manager()

    ref = models.CharField(max_length=16, unique=True, default=new_ref, editable=False)
    # Found by `request_of_agent`.
    agent = models.ForeignKey(Agent, models.PROTECT, db_index=False, related_name="requests")
    credential = models.ForeignKey(AgentCredential, models.PROTECT, related_name="+")
    idempotency_key = models.CharField(max_length=200)
    body_hash = models.CharField(max_length=64)  # of the body as sent, to know a replay

    # What was asked. The digest covers it; nothing below changes after submission.
    action_type = models.ForeignKey(ActionType, models.PROTECT, related_name="requests")
    department = models.ForeignKey(Department, models.PROTECT, related_name="+")
    payload = models.JSONField()
    title = models.CharField(max_length=300)
    amount = models.DecimalField(max_digits=20, decimal_places=4, null=True, blank=True)
    currency = models.CharField(max_length=3, blank=True)  # ISO 4217
    counterparty = models.CharField(max_length=200, blank=True)
    resource = models.ForeignKey(
        Resource, models.PROTECT, null=True, blank=True, related_name="requests"
    )
    business_key = models.CharField(max_length=400)
    generation = models.PositiveIntegerField(
        default=0
    )  # earlier requests of this key that ever had effects
    severity = models.CharField(max_length=6, choices=Severity.choices)
    impact = models.CharField(max_length=6, choices=Impact.choices)
    on_behalf_of = models.ForeignKey(
        Person, models.PROTECT, null=True, blank=True, related_name="+"
    )
    digest = models.CharField(max_length=64)  # SHA-256 over RFC 8785
    # Of what the record says of values that evidence leaves out; "" = asked for before there were any.
    salt = models.CharField(max_length=64, blank=True)
    justification = models.TextField(blank=True)
    source_run_id = models.CharField(max_length=200, blank=True)
    source_url = models.CharField(max_length=500, blank=True)
    callback_url = models.CharField(max_length=500, blank=True)
    needed_by = models.DateTimeField(null=True, blank=True)
    supersedes = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="+")
    basis_digest = models.CharField(max_length=64, blank=True)  # the target's record at submission
    # When the worker is to read the target for it; put off before each try. None: nothing to read.
    read_due_at = models.DateTimeField(null=True, blank=True)
    read_tries = models.PositiveSmallIntegerField(default=0)

    # How it was routed.
    policy = models.ForeignKey(PolicyVersion, models.PROTECT, related_name="requests")
    matrix_row = models.ForeignKey(MatrixRow, models.PROTECT, related_name="+")
    routed_amount = models.DecimalField(
        max_digits=20, decimal_places=4, null=True, blank=True
    )  # the 24 h sum
    quorum = models.PositiveSmallIntegerField(default=1)
    person_present = models.BooleanField(default=False)

    # Where it is.
    state = FSMField(default=State.PENDING, choices=State.choices, protected=True)
    state_seq = models.PositiveIntegerField(default=0)  # numbers the webhooks
    due_at = models.DateTimeField(null=True, blank=True)  # written by approvals.due.set_due alone
    submitted_at = models.DateTimeField()
    approved_at = models.DateTimeField(null=True, blank=True)
    # Since when it may begin: its approval, or the end of what held or blocked it after that.
    ready_at = models.DateTimeField(null=True, blank=True)
    blocked_from = models.CharField(max_length=12, blank=True)  # the state it goes on in
    ended_at = models.DateTimeField(null=True, blank=True)
    end_reason = models.CharField(max_length=40, blank=True)  # "silence", "refused", "queue"
    has_effects = models.BooleanField(default=False)
    had_effects = models.BooleanField(default=False)  # ever; never taken back
    holds_key = models.BooleanField(default=False)
    held_once = models.BooleanField(default=False)  # by a newcomer, at most once in its life
    parked_until = models.DateTimeField(null=True, blank=True)  # a sweep failed on it, and said so

    # The one lease: who may act on the target now, forward or undo.
    lease_until = models.DateTimeField(null=True, blank=True)
    run_token = models.UUIDField(null=True, blank=True)
    run_deadline = models.DateTimeField(null=True, blank=True)
    next_attempt_at = models.DateTimeField(null=True, blank=True)

    # The head of its chain in the ledger.
    chain_length = models.PositiveIntegerField(default=0)
    chain_hash = models.CharField(max_length=64, default="")

    class Meta:
        constraints = [
            known_states("request_known_state", State.values),
            # 1. Nothing open is without a clock; nothing ended still has one.
            models.CheckConstraint(
                name="request_open_has_a_clock",
                condition=Q(state__in=OPEN, due_at__isnull=False, ended_at__isnull=True)
                | Q(state__in=ENDED, due_at__isnull=True, ended_at__isnull=False),
            ),
            # 3. One request at a time may act on a record.
            models.UniqueConstraint(
                name="request_one_holder_a_resource",
                fields=["resource"],
                condition=Q(holds_key=True),
            ),
            models.CheckConstraint(
                name="request_holds_its_key_while_it_may_act",
                condition=Q(
                    holds_key=True, resource__isnull=False, state__in=[*WITH_KEY, S.BLOCKED]
                )
                | Q(holds_key=False, resource__isnull=True)
                | (Q(holds_key=False) & ~Q(state__in=WITH_KEY)),
            ),
            # 4. Nothing half done is called undone.
            models.CheckConstraint(
                name="request_ended_without_effects",
                condition=Q(has_effects=False) | ~Q(state__in=WITHOUT_EFFECTS),
            ),
            models.CheckConstraint(
                name="request_effects_are_remembered",
                condition=Q(has_effects=False) | Q(had_effects=True),
            ),
            # 5. One request a key, one live request an effect.
            models.UniqueConstraint(
                name="request_idempotency_key_once", fields=["agent", "idempotency_key"]
            ),
            models.UniqueConstraint(
                name="request_one_live_effect",
                fields=["business_key"],
                condition=~Q(state__in=WITHOUT_EFFECTS),
            ),
            # 6. One run at a time: lease and token come and go together, and never without a
            # deadline. The deadline of an undo outlives a lease: it is kept between attempts.
            models.CheckConstraint(
                name="request_lease_is_whole",
                condition=Q(lease_until__isnull=True, run_token__isnull=True)
                | Q(lease_until__isnull=False, run_token__isnull=False, run_deadline__isnull=False),
            ),
            models.CheckConstraint(
                name="request_amount_has_a_currency",
                # isnull as well as >: a CHECK that comes to NULL lets the row pass.
                condition=Q(amount__isnull=True, currency="")
                | (Q(amount__isnull=False, amount__gt=0) & ~Q(currency="")),
            ),
            models.CheckConstraint(name="request_quorum", condition=Q(quorum__gte=1)),
            # What is blocked knows where it stood, and nothing else does.
            models.CheckConstraint(
                name="request_blocked_from_where_it_stood",
                condition=Q(
                    state=S.BLOCKED,
                    blocked_from__in=[S.PENDING, S.HELD, S.APPROVED, S.EXECUTING, S.TROUBLED],
                )
                | (~Q(state=S.BLOCKED) & Q(blocked_from="")),
            ),
        ]
        indexes = [
            # approvals.sweeps.climb_due_steps
            models.Index(
                name="request_due_pending", fields=["due_at"], condition=Q(state=S.PENDING)
            ),
            # approvals.sweeps.end_lapsed_approvals
            models.Index(
                name="request_due_approved", fields=["due_at"], condition=Q(state=S.APPROVED)
            ),
            # approvals.sweeps, of what is being done or undone
            models.Index(
                name="request_due_underway",
                fields=["due_at"],
                condition=Q(state__in=[S.BLOCKED, S.EXECUTING, S.TROUBLED, S.ROLLING_BACK]),
            ),
            # approvals.sweeps.end_holds
            models.Index(name="request_due_held", fields=["due_at"], condition=Q(state=S.HELD)),
            # rollback.selectors.runnable: leases that ran out, attempts that are due
            models.Index(
                name="request_lease", fields=["lease_until"], condition=Q(lease_until__isnull=False)
            ),
            models.Index(
                name="request_next_attempt",
                fields=["next_attempt_at"],
                condition=Q(next_attempt_at__isnull=False),
            ),
            # rollback.selectors.to_read
            models.Index(
                name="request_to_read",
                fields=["read_due_at"],
                condition=Q(read_due_at__isnull=False),
            ),
            # approvals.selectors.open_requests, by keyset
            models.Index(
                name="request_open", fields=["due_at", "id"], condition=Q(due_at__isnull=False)
            ),
            # the agent's own list, by cursor
            models.Index(name="request_of_agent", fields=["agent", "-id"]),
            models.Index(name="request_of_agent_in_state", fields=["agent", "state", "-id"]),
            # earlier requests of the same effect, for the generation in a unit's key
            models.Index(name="request_of_business_key", fields=["business_key"]),
            # sums to one counterparty within 24 h
            models.Index(
                name="request_to_counterparty",
                fields=["counterparty", "currency", "submitted_at"],
                condition=~Q(counterparty=""),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.ref} ({self.state})"

    @property
    def chain_name(self) -> str:
        """The name of its chain in the ledger."""
        return self.ref

    @property
    def is_open(self) -> bool:
        return self.state in OPEN

    @property
    def next_try_at(self) -> datetime | None:
        """When it is tried again by itself; None where its path is over before."""
        at = self.next_attempt_at
        if at is None or self.due_at is None or self.state != S.TROUBLED:
            return at
        return at if at <= self.due_at else None

    # --- The one lease ---

    def lease(self, *, token: UUID, until: datetime, deadline: datetime) -> None:
        """Give one worker leave to act on the target, until then. A deadline that runs is kept."""
        self.run_token, self.lease_until = token, until
        self.run_deadline = self.run_deadline or deadline
        self.next_attempt_at = None

    def let_go(self, *, keep_deadline: bool = False) -> None:
        """Take the lease back. Its holder writes nothing more."""
        self.run_token = self.lease_until = None
        if not keep_deadline:
            self.run_deadline = None

    # --- Deciding ---

    @transition(state, source=S.PENDING, target=S.APPROVED)
    def approve(self, *, now: datetime) -> None:
        """People with the authority said yes; it may run."""
        self.approved_at = self.ready_at = now
        self.holds_key = self.resource_id is not None
        self.state_seq += 1

    @transition(state, source=[S.PENDING, S.HELD], target=S.REJECTED)
    def reject(self, *, now: datetime, reason: str = "rejected") -> None:
        """A no that is final, or a ruling against it."""
        self._end(now, reason)

    @transition(
        state,
        source=[S.PENDING, S.HELD, S.BLOCKED, S.APPROVED, S.EXECUTING, S.TROUBLED],
        target=S.EXPIRED,
    )
    def expire(self, *, now: datetime, reason: str) -> None:
        """Nobody decided, nobody began, or it may not begin as it was approved: silence never approves."""
        self._end(now, reason)

    @transition(
        state, source=[S.PENDING, S.HELD, S.APPROVED, S.BLOCKED, S.TROUBLED], target=S.WITHDRAWN
    )
    def withdraw(self, *, now: datetime) -> None:
        """The agent no longer asks."""
        self._end(now, "withdrawn")

    # --- Interruptions ---

    @transition(state, source=[S.PENDING, S.APPROVED, S.BLOCKED], target=S.HELD)
    def hold(self) -> None:
        """Another live request wants the same record; its owner is asked."""
        self.holds_key = False
        self.blocked_from = ""
        self.state_seq += 1

    @transition(state, source=[S.HELD, S.BLOCKED], target=S.PENDING)
    def wait_again(self) -> None:
        """The interruption is over; it waits on where it stood."""
        self.holds_key = False
        self.blocked_from = ""
        self.state_seq += 1

    @transition(state, source=[S.HELD, S.BLOCKED], target=S.APPROVED)
    def be_ready_again(self, *, now: datetime) -> None:
        """The interruption is over, and it had been approved before. Who was present for it is gone by then."""
        self.holds_key = self.resource_id is not None
        self.blocked_from = ""
        if not self.person_present:
            self.ready_at = now
        self.state_seq += 1

    @transition(
        state, source=[S.PENDING, S.HELD, S.APPROVED, S.EXECUTING, S.TROUBLED], target=S.BLOCKED
    )
    def block(self) -> None:
        """A rule forbids it; compliance is asked. It keeps the key it had."""
        self.blocked_from = self.state
        self.state_seq += 1

    @transition(state, source=S.BLOCKED, target=S.DENIED)
    def deny(self, *, now: datetime, reason: str = "denied") -> None:
        """Compliance said no, or said nothing, and nothing of it is in the target."""
        self._end(now, reason)

    # --- Doing and undoing ---

    @transition(state, source=[S.APPROVED, S.TROUBLED, S.BLOCKED], target=S.EXECUTING)
    def begin(self) -> None:
        """A worker took it."""
        self.blocked_from = ""
        self.read_due_at = None  # a run reads for itself
        self.state_seq += 1

    @transition(state, source=[S.APPROVED, S.EXECUTING, S.BLOCKED], target=S.TROUBLED)
    def fail(self) -> None:
        """It could not begin or go on, or is unblocked and had not; a retry or a person is next."""
        self.blocked_from = ""
        self.state_seq += 1

    @transition(state, source=S.EXECUTING, target=S.COMPLETED)
    def complete(self, *, now: datetime) -> None:
        """Every unit is done and checkpointed."""
        self._end(now, "done")

    @transition(state, source=[S.TROUBLED, S.STRANDED], target=S.COMPLETED_MANUALLY)
    def complete_by_hand(self, *, now: datetime) -> None:
        """A person finished it and gave the target's reference."""
        self._end(now, "by_hand")

    @transition(
        state,
        source=[S.EXECUTING, S.TROUBLED, S.BLOCKED, S.COMPLETED, S.COMPLETED_MANUALLY],
        target=S.ROLLING_BACK,
    )
    def roll_back(self) -> None:
        """What was done is being undone."""
        self.holds_key = self.resource_id is not None
        self.blocked_from = ""
        self.ended_at = None
        self.end_reason = ""
        self.state_seq += 1

    @transition(state, source=[S.ROLLING_BACK, S.STRANDED], target=S.ROLLED_BACK)
    def finish_rollback(self, *, now: datetime) -> None:
        """Nothing of it is left in the target."""
        self._end(now, "undone")

    @transition(state, source=S.ROLLING_BACK, target=S.STRANDED)
    def strand(self, *, now: datetime) -> None:
        """Half done, not undone, and nobody answered. It keeps its key."""
        self._end(now, "stranded")
        self.holds_key = self.resource_id is not None

    def _end(self, now: datetime, reason: str) -> None:
        self.ended_at = now
        self.end_reason = reason
        self.due_at = None
        self.holds_key = False
        self.next_attempt_at = self.read_due_at = None
        self.blocked_from = ""
        self.let_go()
        self.state_seq += 1


class CounterpartySum(models.Model):
    """The row whose lock makes sums to one counterparty within 24 h come one after the other."""

    owner = models.ForeignKey(Person, models.PROTECT, related_name="+")  # of the agents that ask
    counterparty = models.CharField(max_length=200)
    currency = models.CharField(max_length=3)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                name="counterparty_sum_once", fields=["owner", "counterparty", "currency"]
            ),
        ]

    def __str__(self) -> str:
        return f"{self.owner_id} to {self.counterparty} in {self.currency}"
