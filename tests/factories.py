"""Builders for rows. Defaults make the dullest valid row; a test says what matters."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import factory
from django_q.models import Failure
from factory.django import DjangoModelFactory

from approvals.models import (
    ENDED,
    ActionRequest,
    Alert,
    Ask,
    Case,
    Claim,
    ConflictParty,
    CounterpartySum,
    Decision,
    Finding,
    Notice,
    Order,
    Question,
    RecordRead,
    Resource,
    Review,
    Step,
    Violation,
    Waiver,
)
from approvals.models.request import WITH_KEY
from governance import decision_tree
from governance.ladder import DEFAULT_WINDOWS
from governance.metrics.weeks import week_of
from governance.models import (
    Absence,
    ActionChange,
    ActionType,
    Agent,
    AgentCredential,
    Appointment,
    AuditEvent,
    ChainHead,
    ContactChannel,
    DecisionCell,
    DemoClock,
    Department,
    Heartbeat,
    MatrixDelegate,
    MatrixRow,
    Measure,
    Metric,
    MetricsMark,
    PathWindow,
    PeopleChange,
    Person,
    PersonalToken,
    PolicyCheck,
    PolicyFinding,
    PolicySignature,
    PolicyVersion,
    Role,
    RosterShift,
    Seal,
    SealedEvent,
    TaskAttempt,
    Uncounted,
    Verification,
    WeeklyRollup,
)
from governance.vocabulary import (
    ExceptionType,
    Impact,
    Level,
    Path,
    Response,
    RuleSource,
    Severity,
    Verdict,
)
from rollback.models import Bookmark, Direction, Drill, Recovery, Run, Snapshot, Stray, Unit

MONDAY_9AM = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def sha256(text: object) -> str:
    """Return a digest that looks like the real one and is the same in every run."""
    return hashlib.sha256(str(text).encode()).hexdigest()


# --- People and agents ------------------------------------------------------------------------


class DepartmentFactory(DjangoModelFactory):
    class Meta:
        model = Department

    key = factory.Sequence(lambda n: f"department-{n}")
    name = factory.Sequence(lambda n: f"Department {n}")


class RoleFactory(DjangoModelFactory):
    class Meta:
        model = Role

    key = factory.Sequence(lambda n: f"role-{n}")
    name = factory.Sequence(lambda n: f"Role {n}")


class PersonFactory(DjangoModelFactory):
    """Somebody without a limit, a manager or a channel; `roles=[role, ...]` gives them roles."""

    class Meta:
        model = Person
        skip_postgeneration_save = True

    username = factory.Sequence(lambda n: f"person{n}")
    name = factory.LazyAttribute(lambda person: person.username.replace("_", " ").title())

    @factory.post_generation
    def roles(self, create, extracted):
        if create and extracted:
            self.roles.add(*extracted)


class ContactChannelFactory(DjangoModelFactory):
    """A confirmed e-mail address that has never refused."""

    class Meta:
        model = ContactChannel

    person = factory.SubFactory(PersonFactory)
    kind = ContactChannel.Kind.EMAIL
    address = factory.LazyAttribute(lambda channel: f"{channel.person.username}@example.com")
    confirmed_at = MONDAY_9AM


class AbsenceFactory(DjangoModelFactory):
    class Meta:
        model = Absence

    person = factory.SubFactory(PersonFactory)
    starts_at = MONDAY_9AM
    ends_at = factory.LazyAttribute(lambda absence: absence.starts_at + timedelta(days=1))
    set_by = factory.SelfAttribute("person")
    set_at = factory.SelfAttribute("starts_at")


class RosterShiftFactory(DjangoModelFactory):
    class Meta:
        model = RosterShift

    target = "demo"
    person = factory.SubFactory(PersonFactory)
    starts_at = MONDAY_9AM
    ends_at = factory.LazyAttribute(lambda shift: shift.starts_at + timedelta(hours=8))


class AgentFactory(DjangoModelFactory):
    class Meta:
        model = Agent

    name = factory.Sequence(lambda n: f"agent-{n}")
    owner = factory.SubFactory(PersonFactory)


class PeopleChangeFactory(DjangoModelFactory):
    """A limit of $50,000 that somebody asked for, and that waits for a second person."""

    class Meta:
        model = PeopleChange

    kind = PeopleChange.Kind.LIMIT
    person = factory.SubFactory(PersonFactory)
    becomes = factory.Dict({"amount": "50000", "currency": "USD"})
    reason = "Took over from a colleague."
    asked_by = factory.SubFactory(PersonFactory)
    asked_at = MONDAY_9AM
    due_at = factory.LazyAttribute(lambda change: change.asked_at + timedelta(hours=72))


class AgentCredentialFactory(DjangoModelFactory):
    """A row only: no token opens it. `api` in conftest issues real ones."""

    class Meta:
        model = AgentCredential

    agent = factory.SubFactory(AgentFactory)
    prefix = factory.Sequence(lambda n: f"agent-{n:010}")
    digest = factory.LazyAttribute(lambda token: sha256(token.prefix))
    created_at = MONDAY_9AM
    departments = factory.List(["accounts-payable"])
    actions = factory.List(["vendor_payment"])


class PersonalTokenFactory(DjangoModelFactory):
    """A row only: no token opens it."""

    class Meta:
        model = PersonalToken

    person = factory.SubFactory(PersonFactory)
    prefix = factory.Sequence(lambda n: f"own-{n:012}")
    digest = factory.LazyAttribute(lambda token: sha256(token.prefix))
    created_at = MONDAY_9AM


# --- The catalogue and the policy -------------------------------------------------------------


class ActionTypeFactory(DjangoModelFactory):
    """In production, one unit, may be undone, competes with nothing."""

    class Meta:
        model = ActionType

    key = factory.Sequence(lambda n: f"action_{n}")
    state = ActionType.State.PRODUCTION
    name = "Vendor payment"
    title = "Pay {amount} to {/vendor}"
    schema = factory.Dict({"type": "object"})
    example = factory.Dict({})
    amount_pointer = "/amount"
    business_key = "{/vendor}/{/invoice}"
    connector = "demo"
    reversal = ActionType.Reversal.COMPENSATE
    reversal_code = "credit_memo"
    created_at = MONDAY_9AM
    drill_due_at = MONDAY_9AM + timedelta(days=3650)  # rehearsed, and due in no test


class ActionChangeFactory(DjangoModelFactory):
    """A tested version that somebody asked to put into production, and that waits for a second person."""

    class Meta:
        model = ActionChange

    action_type = factory.SubFactory(ActionTypeFactory, state=ActionType.State.TESTED)
    becomes = ActionType.State.PRODUCTION
    reason = "The drills have passed."
    asked_by = factory.SubFactory(PersonFactory)
    asked_at = MONDAY_9AM
    due_at = factory.LazyAttribute(lambda change: change.asked_at + timedelta(hours=72))


class PolicyVersionFactory(DjangoModelFactory):
    """A draft without parts."""

    class Meta:
        model = PolicyVersion

    number = factory.Sequence(lambda n: n + 1000)  # out of the way of those a test numbers itself
    created_at = MONDAY_9AM


class ActivePolicyFactory(PolicyVersionFactory):
    """The active version; the one there is, if there is one."""

    class Meta:
        model = PolicyVersion
        django_get_or_create = ("state",)

    state = PolicyVersion.State.ACTIVE
    activated_at = MONDAY_9AM


class PolicySignatureFactory(DjangoModelFactory):
    class Meta:
        model = PolicySignature

    version = factory.SubFactory(PolicyVersionFactory)
    person = factory.SubFactory(PersonFactory)
    signed_at = MONDAY_9AM


class MatrixRowFactory(DjangoModelFactory):
    """One approver by role, for any action, for amounts in dollars from nothing upwards."""

    class Meta:
        model = MatrixRow

    version = factory.SubFactory(PolicyVersionFactory)
    number = factory.Sequence(lambda n: n + 1000)  # out of the way of those a test numbers itself
    department = factory.SubFactory(DepartmentFactory)
    currency = "USD"
    amount_from = Decimal(0)
    approver_role = factory.SubFactory(RoleFactory)


class MatrixDelegateFactory(DjangoModelFactory):
    class Meta:
        model = MatrixDelegate

    row = factory.SubFactory(MatrixRowFactory)
    position = factory.Sequence(lambda n: n + 1)
    role = factory.SubFactory(RoleFactory)


class PathWindowFactory(DjangoModelFactory):
    class Meta:
        model = PathWindow

    version = factory.SubFactory(PolicyVersionFactory)
    path = Path.TIMEOUT
    level = Level.L1
    window = factory.LazyAttribute(lambda row: DEFAULT_WINDOWS[Path(row.path), Level(row.level)])


class DecisionCellFactory(DjangoModelFactory):
    class Meta:
        model = DecisionCell

    version = factory.SubFactory(PolicyVersionFactory)
    exception = ExceptionType.TIMEOUT
    severity = Severity.LOW
    impact = Impact.LOW
    response = Response.ASK_AGAIN_EXTENDED
    source = RuleSource.RUNBOOK


class PolicyCheckFactory(DjangoModelFactory):
    class Meta:
        model = PolicyCheck

    version = factory.SubFactory(PolicyVersionFactory)
    key = factory.Sequence(lambda n: f"check-{n}")
    name = "Terms are known"
    reads = PolicyCheck.Reads.PAYLOAD
    expression = "has(payload.terms)"
    expression_hash = factory.LazyAttribute(lambda check: sha256(check.expression))
    on_break = "The payment names no terms."


class PolicyFindingFactory(DjangoModelFactory):
    """A hole that stands."""

    class Meta:
        model = PolicyFinding

    version = factory.SubFactory(ActivePolicyFactory)
    weight = PolicyFinding.Weight.HOLE
    key = factory.Sequence(lambda n: f"timeout|department-{n}")
    about = "path"
    sentence = "At any time: nobody can decide on it."
    found_at = MONDAY_9AM


class AppointmentFactory(DjangoModelFactory):
    class Meta:
        model = Appointment

    version = factory.SubFactory(PolicyVersionFactory)
    office = Appointment.Office.REVIEWER
    person = factory.SubFactory(PersonFactory)


# --- The clock and the record -----------------------------------------------------------------


class DemoClockFactory(DjangoModelFactory):
    class Meta:
        model = DemoClock

    pk = 1
    real_start = MONDAY_9AM
    business_start = MONDAY_9AM
    speed = 60.0


class HeartbeatFactory(DjangoModelFactory):
    class Meta:
        model = Heartbeat

    name = factory.Sequence(lambda n: f"process-{n}")
    beat_at = MONDAY_9AM


class TaskAttemptFactory(DjangoModelFactory):
    class Meta:
        model = TaskAttempt

    task = factory.Sequence(lambda n: f"task-{n}")
    name = "approvals.tasks.deliver"
    first_at = MONDAY_9AM
    last_at = factory.SelfAttribute("first_at")


class FailureFactory(DjangoModelFactory):
    """What the task queue keeps of a task that raised an error."""

    class Meta:
        model = Failure

    id = factory.Sequence(lambda n: f"failed-{n}")
    name = factory.SelfAttribute("id")
    func = "approvals.tasks.deliver_notices"
    hook = "none"  # its form asks for one
    started = MONDAY_9AM
    stopped = MONDAY_9AM
    success = False
    attempt_count = 1


class AuditEventFactory(DjangoModelFactory):
    """A row only: it links to nothing. `governance.ledger` writes real chains."""

    class Meta:
        model = AuditEvent

    chain = factory.Sequence(lambda n: f"chain-{n}")
    seq = 1
    kind = "step.expired"
    actor = "clock"
    cause = factory.LazyFunction(uuid4)
    at = MONDAY_9AM
    prev_hash = factory.LazyAttribute(lambda event: sha256(event.chain))
    hash = factory.LazyAttribute(lambda event: sha256(event.prev_hash))


class ChainHeadFactory(DjangoModelFactory):
    class Meta:
        model = ChainHead

    name = factory.Sequence(lambda n: f"chain-{n}")
    length = 0
    last_hash = factory.LazyAttribute(lambda head: sha256(head.name))


class VerificationFactory(DjangoModelFactory):
    class Meta:
        model = Verification

    asked_by = "clock"
    begun_at = MONDAY_9AM
    ended_at = factory.SelfAttribute("begun_at")
    events = 6
    chains = 3
    seals = 1
    found = 0


class SealFactory(DjangoModelFactory):
    """A row only: its signature is none. `governance.seals` makes real ones."""

    class Meta:
        model = Seal

    number = factory.Sequence(lambda n: n + 1)
    root = factory.LazyAttribute(lambda seal: sha256(f"root {seal.number}"))
    size = 1
    prev_hash = factory.LazyAttribute(lambda seal: sha256(f"seal {seal.number - 1}"))
    hash = factory.LazyAttribute(lambda seal: sha256(f"seal {seal.number}"))
    key_id = "0" * 16
    signature = "0" * 128
    sealed_at = MONDAY_9AM


class SealedEventFactory(DjangoModelFactory):
    class Meta:
        model = SealedEvent

    event = factory.SubFactory(AuditEventFactory)
    seal = factory.SubFactory(SealFactory)
    position = factory.Sequence(lambda n: n)


class MeasureFactory(DjangoModelFactory):
    class Meta:
        model = Measure

    chain = factory.Sequence(lambda n: f"R-{n}")
    seq = 2
    at = MONDAY_9AM
    week = factory.LazyAttribute(lambda measure: week_of(measure.at))
    metric = Metric.ESCALATION
    outcome = Measure.Outcome.MISS
    request = factory.SelfAttribute("chain")
    department = "accounts-payable"
    action = "vendor_payment"
    path = "approval"


class WeeklyRollupFactory(DjangoModelFactory):
    class Meta:
        model = WeeklyRollup

    week = factory.Sequence(lambda n: week_of(MONDAY_9AM) - timedelta(weeks=n))
    metric = Metric.ESCALATION
    by = WeeklyRollup.By.ALL


class UncountedFactory(DjangoModelFactory):
    class Meta:
        model = Uncounted

    chain = factory.Sequence(lambda n: f"R-{n}")
    why = "event 2 was edited: its content does not give its hash"
    found_at = MONDAY_9AM


class MetricsMarkFactory(DjangoModelFactory):
    class Meta:
        model = MetricsMark
        django_get_or_create = ("id",)

    id = 1


# --- Waiting and deciding ---------------------------------------------------------------------


class ResourceFactory(DjangoModelFactory):
    class Meta:
        model = Resource

    key = factory.Sequence(lambda n: f"demo:vendor-bill:V-{n}")


class RequestFactory(DjangoModelFactory):
    """Pending, $12,000 to a vendor, competing with nothing. Give it a `state`: the rest fits it."""

    class Meta:
        model = ActionRequest

    class Params:
        window = timedelta(minutes=5)

    agent = factory.SubFactory(AgentFactory)
    credential = factory.SubFactory(AgentCredentialFactory, agent=factory.SelfAttribute("..agent"))
    idempotency_key = factory.Sequence(lambda n: f"key-{n}")
    body_hash = factory.LazyAttribute(lambda request: sha256(request.idempotency_key))
    action_type = factory.SubFactory(ActionTypeFactory)
    department = factory.SubFactory(DepartmentFactory)
    payload = factory.Dict({"vendor": "Northfield Packaging Supply"})
    title = "Pay $12,000.00 to Northfield Packaging Supply"
    amount = Decimal("12000.00")
    currency = "USD"
    business_key = factory.Sequence(lambda n: f"vendor_payment:INV-{n}")
    severity = Severity.LOW
    impact = Impact.MEDIUM
    digest = factory.LazyAttribute(lambda request: sha256(request.business_key))
    policy = factory.SubFactory(ActivePolicyFactory)
    matrix_row = factory.SubFactory(
        MatrixRowFactory,
        version=factory.SelfAttribute("..policy"),
        department=factory.SelfAttribute("..department"),
    )
    routed_amount = factory.SelfAttribute("amount")
    state = ActionRequest.State.PENDING
    submitted_at = MONDAY_9AM
    due_at = factory.LazyAttribute(
        lambda request: None if request.state in ENDED else request.submitted_at + request.window
    )
    approved_at = factory.LazyAttribute(
        lambda request: request.submitted_at if request.state in WITH_KEY else None
    )
    ended_at = factory.LazyAttribute(
        lambda request: request.submitted_at + request.window if request.state in ENDED else None
    )
    holds_key = factory.LazyAttribute(
        lambda request: request.resource is not None and request.state in WITH_KEY
    )
    blocked_from = factory.LazyAttribute(
        lambda request: "pending" if request.state == ActionRequest.State.BLOCKED else ""
    )
    resource = None
    had_effects = factory.SelfAttribute("has_effects")
    has_effects = False


class CounterpartySumFactory(DjangoModelFactory):
    class Meta:
        model = CounterpartySum

    owner = factory.SubFactory(PersonFactory)
    counterparty = "Northfield Packaging Supply"
    currency = "USD"


class ReviewFactory(DjangoModelFactory):
    class Meta:
        model = Review

    request = factory.SubFactory(RequestFactory)
    kind = Review.Kind.SPOT_CHECK
    opened_at = MONDAY_9AM
    due_at = factory.LazyAttribute(lambda review: review.opened_at + timedelta(hours=48))


class CaseFactory(DjangoModelFactory):
    """An open timeout case."""

    class Meta:
        model = Case

    request = factory.SubFactory(RequestFactory)
    exception = ExceptionType.TIMEOUT
    severity = factory.SelfAttribute("request.severity")
    impact = factory.SelfAttribute("request.impact")
    response = Response.ASK_AGAIN
    source = RuleSource.OURS
    reason = "The first approver did not answer in time."
    highest_level = Level.L1
    opened_at = MONDAY_9AM


class StepFactory(DjangoModelFactory):
    """The first ask, waiting, half an hour long. Give it a `state` and its clock fits it."""

    class Meta:
        model = Step

    request = factory.SubFactory(RequestFactory, window=factory.SelfAttribute("..window"))
    path = Path.APPROVAL
    level = Level.L0
    state = Step.State.WAITING
    window = timedelta(minutes=30)
    began = Step.Began.SUBMITTED
    opened_at = factory.SelfAttribute("request.submitted_at")
    due_at = factory.LazyAttribute(
        lambda step: None if step.state == Step.State.SUSPENDED else step.opened_at + step.window
    )
    remaining = factory.LazyAttribute(
        lambda step: step.window if step.state == Step.State.SUSPENDED else None
    )
    closed_at = factory.LazyAttribute(
        lambda step: (
            None
            if step.state in (Step.State.WAITING, Step.State.SUSPENDED)
            else step.opened_at + step.window
        )
    )


class AskFactory(DjangoModelFactory):
    """Somebody asked, who has not answered."""

    class Meta:
        model = Ask

    step = factory.SubFactory(StepFactory)
    person = factory.SubFactory(PersonFactory)
    path = factory.SelfAttribute("step.path")
    why = "approver for vendor payments"
    asked_at = factory.SelfAttribute("step.opened_at")
    due_at = factory.SelfAttribute("step.due_at")


class DecisionFactory(DjangoModelFactory):
    class Meta:
        model = Decision

    step = factory.SubFactory(StepFactory)
    request = factory.SelfAttribute("step.request")
    person = factory.SubFactory(PersonFactory)
    verdict = Verdict.APPROVE
    digest = factory.SelfAttribute("request.digest")
    via = Decision.Via.PAGE
    at = factory.SelfAttribute("step.opened_at")


class QuestionFactory(DjangoModelFactory):
    class Meta:
        model = Question

    step = factory.SubFactory(StepFactory)
    request = factory.SelfAttribute("step.request")
    person = factory.SubFactory(PersonFactory)
    text = "Is the goods receipt in?"
    asked_at = factory.SelfAttribute("step.opened_at")


class ConflictPartyFactory(DjangoModelFactory):
    class Meta:
        model = ConflictParty

    case = factory.SubFactory(CaseFactory, exception=ExceptionType.CONFLICT, response=Response.HOLD)
    request = factory.SubFactory(RequestFactory)
    role = ConflictParty.Role.EARLIER
    joined_at = MONDAY_9AM


class WaiverFactory(DjangoModelFactory):
    class Meta:
        model = Waiver

    case = factory.SubFactory(
        CaseFactory, exception=ExceptionType.POLICY_VIOLATION, response=Response.ASK_COMPLIANCE
    )
    request = factory.SelfAttribute("case.request")
    check_key = "terms-are-known"
    check_revision = 1
    digest = factory.SelfAttribute("request.digest")
    person = factory.SubFactory(PersonFactory)
    at = MONDAY_9AM


class ViolationFactory(DjangoModelFactory):
    """A rule that does not hold, found by the policy itself."""

    class Meta:
        model = Violation

    request = factory.SubFactory(RequestFactory)
    check_key = "terms-are-known"
    check_revision = 1
    text = "The payment names no terms."
    at = MONDAY_9AM


class RecordReadFactory(DjangoModelFactory):
    class Meta:
        model = RecordRead

    request = factory.SubFactory(RequestFactory)
    record = "demo:customer:C-1042"
    read_at = MONDAY_9AM


class OrderFactory(DjangoModelFactory):
    class Meta:
        model = Order

    request = factory.SubFactory(RequestFactory)
    kind = Order.Kind.ROLL_BACK
    ordered_by = factory.SubFactory(PersonFactory)
    ordered_at = MONDAY_9AM


class ClaimFactory(DjangoModelFactory):
    class Meta:
        model = Claim

    request = factory.SelfAttribute("case.request")
    case = factory.SubFactory(
        CaseFactory, exception=ExceptionType.SYSTEM_FAILURE, response=Response.ONCALL
    )
    person = factory.SubFactory(PersonFactory)
    claimed_at = MONDAY_9AM


class AlertFactory(DjangoModelFactory):
    class Meta:
        model = Alert

    kind = "request.expired"
    key = factory.Sequence(lambda n: f"R-{n}")
    text = "Nobody decided, and it is closed."
    raised_at = MONDAY_9AM


class FindingFactory(DjangoModelFactory):
    class Meta:
        model = Finding

    audit = "overdue_clocks"
    key = factory.Sequence(lambda n: f"R-{n}")
    text = "It was due and did not move."
    alert = factory.SubFactory(AlertFactory)
    found_at = MONDAY_9AM


class NoticeFactory(DjangoModelFactory):
    """An e-mail to somebody who was asked, about to be tried for the first time."""

    class Meta:
        model = Notice

    kind = Notice.Kind.ASKED
    via = Notice.Via.EMAIL
    state = Notice.State.WAITING
    ask = factory.SubFactory(AskFactory)
    request = factory.LazyAttribute(lambda notice: notice.ask and notice.ask.step.request)
    person = factory.LazyAttribute(lambda notice: notice.ask and notice.ask.person)
    created_at = MONDAY_9AM
    next_attempt_at = factory.LazyAttribute(
        lambda notice: notice.created_at if notice.state == Notice.State.WAITING else None
    )


# --- Doing and undoing ------------------------------------------------------------------------


class RunFactory(DjangoModelFactory):
    class Meta:
        model = Run

    request = factory.SubFactory(RequestFactory, state=ActionRequest.State.EXECUTING)
    direction = Direction.FORWARD
    attempt = 1
    token = factory.LazyFunction(uuid4)
    worker = "worker-1"
    started_at = MONDAY_9AM


class UnitFactory(DjangoModelFactory):
    """Planned and not sent. Give it state `done` or `reversed` and it has its checkpoint."""

    class Meta:
        model = Unit

    request = factory.SubFactory(RequestFactory, state=ActionRequest.State.EXECUTING)
    direction = Direction.FORWARD
    position = 0
    key = factory.LazyAttribute(
        lambda unit: f"{unit.request.business_key}~0/{unit.direction}/{unit.position}"
    )
    name = "Payment"
    body = factory.Dict({})
    state = Unit.State.PLANNED
    done_at = factory.LazyAttribute(
        lambda unit: MONDAY_9AM if unit.state in (Unit.State.DONE, Unit.State.REVERSED) else None
    )
    receipt = factory.LazyAttribute(lambda unit: {"id": unit.key} if unit.done_at else None)


class SnapshotFactory(DjangoModelFactory):
    class Meta:
        model = Snapshot

    request = factory.SubFactory(RequestFactory, state=ActionRequest.State.EXECUTING)
    record = "vendor-ledger:V-2207"
    before = factory.Dict({"balance": "0.00"})
    taken_at = MONDAY_9AM


class RecoveryFactory(DjangoModelFactory):
    """Ordered, and lapsing in four hours. Give it a `state` and its instants fit it."""

    class Meta:
        model = Recovery

    request = factory.SubFactory(RequestFactory, state=ActionRequest.State.COMPLETED)
    reason = "Paid twice."
    state = Recovery.State.ORDERED
    ordered_at = MONDAY_9AM
    due_at = factory.LazyAttribute(
        lambda recovery: (
            recovery.ordered_at + timedelta(hours=4) if _is_open(recovery.state) else None
        )
    )
    ended_at = factory.LazyAttribute(
        lambda recovery: None if _is_open(recovery.state) else recovery.ordered_at
    )


def _is_open(state):
    return state in (Recovery.State.ORDERED, Recovery.State.PLANNED, Recovery.State.RUNNING)


class DrillFactory(DjangoModelFactory):
    """Under way. Say `ended_at` and `passed`, and sign it, for one that has ended."""

    class Meta:
        model = Drill

    action_type = factory.SubFactory(ActionTypeFactory)
    target = "sandbox"
    started_at = MONDAY_9AM
    units, points = 1, 3
    due_at = factory.LazyAttribute(
        lambda drill: None if drill.ended_at else drill.started_at + timedelta(minutes=30)
    )
    ended_at = None


class BookmarkFactory(DjangoModelFactory):
    """In a list that was read to its end on Monday."""

    class Meta:
        model = Bookmark

    target = "demo"
    name = factory.Sequence(lambda n: f"/operations?list={n}")
    read_at = MONDAY_9AM


class StrayFactory(DjangoModelFactory):
    """Found, and nobody has seen to it."""

    class Meta:
        model = Stray

    target = "demo"
    key = factory.Sequence(lambda n: f"demo:northwind:inv-{n}:~0/1")
    reference = "PAY-1007"
    found_at = MONDAY_9AM


# --- A small organisation ---------------------------------------------------------------------

RUN_TOKEN = UUID("00000000-0000-4000-8000-000000000001")

VENDOR_PAYMENT_SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["vendor", "invoice", "terms", "payment_date", "amount"],
    "additionalProperties": False,
    "properties": {
        "vendor": {"type": "string", "minLength": 1, "maxLength": 120},
        "invoice": {"type": "string", "minLength": 1, "maxLength": 60},
        "instalment": {"type": "integer", "minimum": 1},
        "terms": {"type": "string", "maxLength": 120},
        "payment_date": {"type": "string", "format": "date"},
        "amount": {
            "type": "object",
            "required": ["value", "currency"],
            "additionalProperties": False,
            "properties": {"value": {"type": "string"}, "currency": {"type": "string"}},
        },
    },
}
VENDOR_PAYMENT_BODY = {
    "action": "vendor_payment",
    "department": "accounts-payable",
    "severity": "low",
    "impact": "medium",
    "justification": "The invoice matches the purchase order and the goods receipt.",
    "payload": {
        "vendor": "Northfield Packaging Supply",
        "invoice": "INV-88213",
        "terms": "Net 30",
        "payment_date": "2026-03-02",
        "amount": {"value": "12000.00", "currency": "USD"},
    },
}


@dataclass(frozen=True)
class Company:
    """A small organisation in which a vendor payment can be asked for and decided."""

    accounts_payable: Department
    finance_manager: Person
    senior_accountant: Person
    controller: Person
    cfo: Person
    ceo: Person
    agent_owner: Person
    agent: Agent
    policy: PolicyVersion
    row: MatrixRow
    vendor_payment: ActionType

    @property
    def people(self) -> tuple[Person, ...]:
        """Everyone who may be asked, from the first to the last."""
        return (
            self.finance_manager,
            self.senior_accountant,
            self.controller,
            self.cfo,
            self.ceo,
        )

    def body(self, **changes):
        """Return a valid body for POST /api/v1/requests/, with keys of the payload changed.

        `body(invoice="INV-2", amount="500.00")` is another payment, of $500.
        """
        payload = {**VENDOR_PAYMENT_BODY["payload"], **changes}
        if "amount" in changes:
            payload["amount"] = {"value": changes["amount"], "currency": "USD"}
        return {**VENDOR_PAYMENT_BODY, "payload": payload}


def small_company() -> Company:
    """Build the organisation of the product's story, and nothing beside it.

    Finance Manager and Senior Accountant may decide up to $25,000, the
    Controller up to $100,000, the CFO up to $1,000,000; the CEO has no limit set
    and so decides nothing with an amount. Everyone is reached by e-mail.
    """

    def person(username, *, limit=None, manager=None, name=""):
        role = RoleFactory(key=username, name=name or username.replace("_", " ").capitalize())
        one = PersonFactory(
            username=username,
            name=name or username.replace("_", " ").title(),
            email=f"{username}@example.com",
            department=accounts_payable,
            manager=manager,
            limit_amount=None if limit is None else Decimal(limit),
            limit_currency="" if limit is None else "USD",
            roles=[role],
        )
        ContactChannelFactory(person=one)
        return one

    accounts_payable = DepartmentFactory(key="accounts-payable", name="Accounts payable")
    ceo = person("ceo", name="CEO")
    cfo = person("cfo", limit=1_000_000, manager=ceo, name="CFO")
    controller = person("controller", limit=100_000, manager=cfo)
    finance_manager = person("finance_manager", limit=25_000, manager=controller)
    senior_accountant = person("senior_accountant", limit=25_000, manager=controller)
    owner = person("agent_owner")

    policy = PolicyVersionFactory(
        number=1, state=PolicyVersion.State.ACTIVE, activated_at=MONDAY_9AM
    )
    PathWindow.objects.bulk_create(
        PathWindow(version=policy, path=path, level=level, window=window)
        for (path, level), window in DEFAULT_WINDOWS.items()
    )
    DecisionCell.objects.bulk_create(
        DecisionCell(
            version=policy,
            exception=exception,
            severity=severity,
            impact=impact,
            response=rule.response,
            source=rule.source,
        )
        for exception, severity, impact, rule in decision_tree.cells()
    )
    row = MatrixRowFactory(
        version=policy,
        number=14,
        department=accounts_payable,
        action="vendor_payment",
        amount_to=Decimal(100_000),
        approver_role=Role.objects.get(key="finance_manager"),
    )
    MatrixDelegateFactory(row=row, position=1, role=Role.objects.get(key="senior_accountant"))
    return Company(
        accounts_payable=accounts_payable,
        finance_manager=finance_manager,
        senior_accountant=senior_accountant,
        controller=controller,
        cfo=cfo,
        ceo=ceo,
        agent_owner=owner,
        agent=AgentFactory(name="ap-agent", owner=owner),
        policy=policy,
        row=row,
        vendor_payment=ActionTypeFactory(
            key="vendor_payment",
            shown_facts=[
                {"label": "Vendor", "pointer": "/vendor"},
                {"label": "Invoice", "pointer": "/invoice"},
                {"label": "Terms", "pointer": "/terms"},
                {"label": "Payment date", "pointer": "/payment_date"},
            ],
            schema=VENDOR_PAYMENT_SCHEMA,
            example=VENDOR_PAYMENT_BODY,
            resource_key="demo:vendor-bill:{/vendor}/{/invoice}",
            business_key="{/vendor}/{/invoice}/{/instalment}",
            reversal_words="A credit memo is issued against the payment.",
            sla=timedelta(minutes=5),
            impact=Impact.MEDIUM,
            is_financial=True,
        ),
    )


def with_every_office(company: Company) -> Company:
    """Have every office of the small company's policy held, so that nothing in it can stall."""
    office = Appointment.Office
    policy = company.policy

    def holds(which, scope="", **fields):
        person = PersonFactory(manager=company.ceo, **fields)
        AppointmentFactory(version=policy, office=which, scope=scope, person=person)

    head = company.cfo
    AppointmentFactory(
        version=policy, office=office.DEPARTMENT_HEAD, scope="accounts-payable", person=head
    )
    holds(office.RESOURCE_OWNER)
    holds(office.ONCALL_FALLBACK, "demo", roles=[RoleFactory(key="operator")])
    holds(office.COMPLIANCE)
    holds(office.COMPLIANCE)
    holds(office.HEAD_OF_COMPLIANCE)
    holds(office.REVIEWER)
    company.vendor_payment.connector_config = {"target": "demo"}
    company.vendor_payment.save()
    AgentCredentialFactory(agent=company.agent)
    return company
