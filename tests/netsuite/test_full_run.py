"""A payment in NetSuite, from submission to its undoing: paid once and credited once, wherever it breaks off."""

from __future__ import annotations

import contextlib
from datetime import timedelta

import pytest

from approvals.models import ActionRequest, Case
from approvals.services.orders import order_rollback
from rollback.audits import OUTSIDE
from rollback.connectors.netsuite.records import external_id
from rollback.models import Direction, Recovery, Unit
from rollback.runner import run_all
from rollback.services.hands import Hands
from tests.approvals.asking import answer, credential_of, submit
from tests.factories import PersonFactory, RoleFactory, RosterShiftFactory
from tests.netsuite.actions import PAYMENT, fields
from tests.netsuite.contract import cites
from tests.netsuite.double import JOBS
from tests.rollback.carrying import whole_record
from tests.rollback.ledger_target import Killed

__all__ = ["whole_record"]  # a fixture

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("whole_record")]

S = ActionRequest.State
U = Unit.State
MINUTE = timedelta(minutes=1)
AS_A_JOB = {**PAYMENT, "respond_async": True}


@pytest.fixture(params=[PAYMENT, AS_A_JOB], ids=["at once", "as a job"])
def config(request):
    return request.param


@pytest.fixture
def company_on_netsuite(company, netsuite, vendor, bill, config, timeline):
    """The company of the story, whose vendor payments are made in NetSuite."""
    made = fields(config=config, vendor=vendor, bill=bill)
    made["example"] = {**company.vendor_payment.example, **made["example"]}
    for name, value in made.items():
        setattr(company.vendor_payment, name, value)
    company.vendor_payment.resource_key = "netsuite:vendorBill:{/bill}"
    company.vendor_payment.schema = {"type": "object"}
    company.vendor_payment.title = "Pay {amount} for bill {/bill}"
    company.vendor_payment.save()
    RosterShiftFactory(
        target="netsuite",
        person=PersonFactory(username="oncall"),
        starts_at=timeline.now - timedelta(hours=1),
        ends_at=timeline.now + timedelta(hours=23),
    )
    return company


@pytest.fixture
def operator(db):
    return PersonFactory(username="operator", roles=[RoleFactory(key="operator")])


class Run:
    """One worker after another, on the clock of the test."""

    def __init__(self, timeline):
        self.timeline = timeline
        self.dies = []  # (point, direction): once each
        self.meanwhile = None  # called before the next send, once

    @property
    def hands(self):
        return Hands(
            worker="one",
            now=lambda: self.timeline.now,
            technical=lambda seconds: timedelta(seconds=seconds),
            chance=lambda: 0.5,
            at=self._at,
        )

    def _at(self, point, unit):
        if (point, unit.direction) in self.dies:
            self.dies.remove((point, unit.direction))
            raise Killed
        if self.meanwhile is not None and point == "before_send":
            call, self.meanwhile = self.meanwhile, None
            call()

    def until(self, request, state):
        """Carry on, as workers would who come and go, until a request is in a state."""
        for _ in range(12):
            with contextlib.suppress(Killed):  # the next one finds what it left
                run_all(self.hands)
            found = now_(request)
            if found.state == state:
                return found
            clocks = [found.lease_until, found.next_attempt_at]
            later = [each for each in clocks if each and each > self.timeline.now]
            self.timeline.now = min(later, default=self.timeline.now + timedelta(seconds=1))
        pytest.fail(f"it is {found.state}: {[str(each) for each in Case.objects.all()]}")


@pytest.fixture
def run(timeline):
    return Run(timeline)


def now_(request):
    return ActionRequest.objects.get(pk=request.pk)


@pytest.fixture
def asked(company_on_netsuite, timeline):
    company = company_on_netsuite
    request, _ = submit(
        credential=credential_of(company),
        policy=company.policy.pk,
        idempotency_key="key-1",
        body=company.vendor_payment.example,
        now=timeline.now,
    )
    return request


@pytest.fixture
def approved(asked, company, timeline):
    timeline.now += MINUTE
    return answer(asked, company.finance_manager, now=timeline.now)


@pytest.fixture
def take_back(company_on_netsuite, operator, timeline):
    """Have two people order that it be undone."""

    def order(request):
        timeline.now += MINUTE
        for person in (operator, company_on_netsuite.controller):
            order_rollback(ref=request.ref, actor=person, reason="Wrong", now=timeline.now)
        timeline.sweep()
        return now_(request)

    return order


@pytest.fixture(autouse=True)
def effects_are_checkpoints(netsuite, timeline):
    """What stands in NetSuite under our external ids is what we have checkpoints of; our own audit agrees."""
    yield
    netsuite.run_jobs()  # nothing comes later that we do not know of
    doubt = Unit.objects.filter(state__in=(U.SENT, U.UNKNOWN)).values_list("key", flat=True)
    unanswered = {external_id(key) for key in doubt}
    theirs = {external for _, external in netsuite.books.external} - unanswered
    receipts = Unit.objects.filter(receipt__isnull=False).values_list("receipt", flat=True)
    assert theirs == {receipt["data"]["external_id"] for receipt in receipts} - unanswered
    audit = OUTSIDE["effects_without_a_checkpoint"]
    assert list(audit(timeline.now + timedelta(days=1))) == []


def books_of(netsuite, vendor):
    return netsuite.books.paid(vendor), netsuite.books.owed(vendor)


@cites("N12", "N14", "N15")
def test_a_payment_is_asked_for_approved_made_and_taken_back(
    netsuite, vendor, bill, approved, run, take_back
):
    assert approved.state == S.APPROVED
    assert books_of(netsuite, vendor) == (0, 12000)

    done = run.until(approved, S.COMPLETED)

    assert books_of(netsuite, vendor) == (12000, 0)
    unit = Unit.objects.get(direction=Direction.FORWARD)
    assert unit.receipt["reference"] == f"vendorPayment {unit.receipt['data']['id']}"
    snapshots = {each.record: each for each in done.snapshots.all()}
    of_bill = snapshots[f"netsuite:vendorBill:{bill}"]
    of_vendor = snapshots[f"netsuite:vendor:{vendor}"]
    assert (of_bill.before["amountRemaining"], of_bill.after["amountRemaining"]) == ("12000", "0")
    assert (of_vendor.before["balance"], of_vendor.after["balance"]) == ("12000", "0")

    ordered = take_back(done)
    assert ordered.state == S.ROLLING_BACK
    run.until(ordered, S.ROLLED_BACK)

    assert books_of(netsuite, vendor) == (12000, -12000)
    assert Recovery.objects.get().state == Recovery.State.SUCCEEDED
    assert len(netsuite.books.made) == 3, "the bill, one payment, one credit"


@pytest.mark.parametrize(
    "point",
    ["before_send", "after_send", "reset_before", "reset_after", "token_lost", "token_expired", "429"],
)  # fmt: skip
@pytest.mark.parametrize("direction", [Direction.FORWARD, Direction.UNDO])
def test_wherever_it_breaks_off_it_is_paid_once_and_credited_once(
    netsuite, vendor, approved, run, take_back, point, direction
):
    path = "vendorPayment" if direction == Direction.FORWARD else "vendorCredit"

    def break_it():
        match point:
            case "before_send" | "after_send":
                run.dies.append((point, direction))
            case "token_lost":
                netsuite.tokens.expire()
                netsuite.fail("reset_after", method="POST", path="token")
            case "token_expired":
                netsuite.tokens.expire()
            case "429":
                netsuite.fail(
                    "answer", method="POST", path=path, status=429, headers={"Retry-After": "5"}
                )
            case _:
                netsuite.fail(point, method="POST", path=path)

    if direction == Direction.FORWARD:
        break_it()
    done = run.until(approved, S.COMPLETED)
    assert books_of(netsuite, vendor) == (12000, 0)
    if direction == Direction.UNDO:
        break_it()
    run.until(take_back(done), S.ROLLED_BACK)

    assert books_of(netsuite, vendor) == (12000, -12000)
    assert [type_ for type_, _ in netsuite.books.made] == [
        "vendorBill", "vendorPayment", "vendorCredit",
    ]  # fmt: skip


@pytest.mark.parametrize("config", [AS_A_JOB], indirect=True)
@cites("N8", "N9")
def test_a_job_under_way_is_waited_for_by_whoever_comes_next(netsuite, vendor, approved, run):
    """It takes longer than a call: the next attempt is told of it by its key, and nothing is paid twice."""
    netsuite.fail("answer", path=JOBS, status=503)

    run_all(run.hands)
    assert Unit.objects.get(direction=Direction.FORWARD).state == U.UNKNOWN
    run.until(approved, S.COMPLETED)

    assert len(netsuite.jobs) == 1
    assert books_of(netsuite, vendor) == (12000, 0)


@pytest.mark.parametrize("config", [AS_A_JOB], indirect=True)
@cites("N9")
def test_an_undo_does_not_take_for_undone_what_a_job_may_still_do(
    netsuite, approved, run, timeline, take_back
):
    """Nothing is found under its external id, for the job is waiting. Only a person can say."""
    netsuite.fail("answer", method="GET", path=JOBS, status=503, times=50)
    run_all(run.hands)
    assert now_(approved).state == S.TROUBLED

    ordered = take_back(now_(approved))
    for _ in range(4):
        timeline.now += MINUTE
        run_all(run.hands)

    assert now_(ordered).state == S.ROLLING_BACK
    assert Unit.objects.get(direction=Direction.FORWARD).state in (U.SENT, U.UNKNOWN)
    netsuite.run_jobs()
    assert netsuite.books.made[-1][0] == "vendorPayment", "it was done after all"


@cites("N18")
def test_a_bill_that_somebody_changed_after_it_was_looked_at_is_not_paid(
    netsuite, vendor, bill, approved, run
):
    run.meanwhile = lambda: netsuite.books.touch("vendorBill", bill, memo="disputed")

    run_all(run.hands)

    assert books_of(netsuite, vendor) == (0, 12000)
    assert now_(approved).state == S.TROUBLED
    assert "has changed since it was looked at" in Case.objects.get().facts["said"]


@pytest.mark.parametrize("config", [PAYMENT], indirect=True)
@cites("N16")
def test_what_it_refuses_is_told_in_its_words_and_asked_of_a_person(
    netsuite, vendor, bill, approved, run
):
    netsuite.fail(
        "answer", method="POST", path="vendorPayment", status=400,
        body=b'{"o:errorDetails": [{"detail": "The period is closed.", "o:errorCode": "USER_ERROR"}]}',
    )  # fmt: skip

    run_all(run.hands)

    assert now_(approved).state == S.TROUBLED
    assert "The period is closed." in Case.objects.get().facts["said"]
    assert not now_(approved).has_effects
