"""Who would get this: what is said of a request that nobody made is what becomes of one that somebody makes."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from zoneinfo import ZoneInfo

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from approvals.models import Ask, Step
from governance.errors import NoRoute, NotFound, Unprocessable
from governance.models import Person, PolicyVersion
from governance.vocabulary import ExceptionType, Impact, Severity
from governance.who_decides import document, who_decides
from tests.approvals.asking import add_check, answer, ask_for_payment
from tests.factories import (
    MONDAY_9AM,
    AbsenceFactory,
    AppointmentFactory,
    PersonFactory,
    PolicyVersionFactory,
    RoleFactory,
    with_every_office,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def whole(company):
    return with_every_office(company)


def asked(at=MONDAY_9AM, **changes):
    dullest = {
        "action": "vendor_payment",
        "department": "accounts-payable",
        "amount": Decimal("12000.00"),
        "currency": "USD",
        "at": at,
    }
    return who_decides(**dullest | changes)


def people(rung):
    return [each.username for each in rung.asked]


def test_the_ladder_is_the_one_a_real_request_climbs(whole, timeline):
    AbsenceFactory(person=whole.senior_accountant, starts_at=MONDAY_9AM + timedelta(minutes=30))
    said = asked(agent=whole.agent.name)

    request = ask_for_payment(whole)
    timeline.advance(days=1)

    climbed = [
        (step.path, step.level, step.opened_at, step.due_at)
        for step in Step.objects.filter(request=request).order_by("pk")
    ]
    assert climbed == [(e.path, e.level, e.opens_at, e.due_at) for e in said.rungs]
    for step, rung in zip(
        Step.objects.filter(request=request).order_by("pk"), said.rungs, strict=True
    ):
        asks = Ask.objects.filter(step=step).order_by("position", "pk")
        assert [a.person.username for a in asks if a.asked_at] == people(rung)
        # Two words of an absence differ: a real one is said at its own instant.
        assert [a.person.username for a in asks if not a.asked_at] == [
            each.username for each in rung.passed_over
        ]
        assert [a.why for a in asks if a.asked_at] == [each.why for each in rung.asked]
    request.refresh_from_db()
    assert (request.state, request.ended_at) == ("expired", said.ends_at)


def fails(company):
    """Approved, and begun by nobody in half an hour."""
    request = ask_for_payment(company)
    answer(request, company.finance_manager, now=MONDAY_9AM)
    return request, MONDAY_9AM + timedelta(minutes=30)


def is_refused(company):
    request = ask_for_payment(company)
    answer(request, company.finance_manager, "reject", note="No.", severity="low", now=MONDAY_9AM)
    return request, MONDAY_9AM


def meets_another(company):
    ask_for_payment(company)
    return ask_for_payment(company, key="key-2", instalment=2), MONDAY_9AM


def breaks_a_rule(company):
    add_check(company, "payload.terms != 'Net 30'")
    return ask_for_payment(company), MONDAY_9AM


@pytest.mark.parametrize(
    ("happens", "exception"),
    [
        (fails, ExceptionType.SYSTEM_FAILURE),
        (is_refused, ExceptionType.REJECTION),
        (meets_another, ExceptionType.CONFLICT),
        (breaks_a_rule, ExceptionType.POLICY_VIOLATION),
    ],
)
def test_so_is_the_ladder_of_every_other_exception(whole, timeline, happens, exception):
    whole.vendor_payment.is_critical = True
    whole.vendor_payment.save()
    for executive in (whole.finance_manager, whole.ceo):
        AppointmentFactory(version=whole.policy, office="executive", person=executive)
    AbsenceFactory(
        person=whole.senior_accountant, starts_at=MONDAY_9AM - timedelta(days=1),
        ends_at=MONDAY_9AM + timedelta(days=9),
    )  # fmt: skip

    request, at = happens(whole)
    said = asked(at=at, exception=exception, agent=whole.agent.name)
    timeline.advance(days=2)

    climbed = Step.objects.filter(request=request, path=said.path).order_by("pk")
    assert [(e.level, e.opened_at, e.due_at, e.needed) for e in climbed] == [
        (e.level, e.opens_at, e.due_at, e.needed) for e in said.rungs
    ]
    for step, rung in zip(climbed, said.rungs, strict=True):
        asks = list(Ask.objects.filter(step=step).order_by("position", "pk"))
        assert [a.person.username for a in asks if a.asked_at] == people(rung)
        assert {a.person.username for a in asks if not a.asked_at} == {
            each.username for each in rung.passed_over
        }


def test_an_absence_counts_at_the_instant_of_its_rung(whole):
    AbsenceFactory(person=whole.senior_accountant, starts_at=MONDAY_9AM + timedelta(minutes=35))

    first, again, instead, above = asked().rungs

    assert people(first) == people(again) == ["finance_manager"]
    assert (instead.due_at, people(instead)) == (None, [])
    (passed,) = instead.passed_over
    assert (passed.username, passed.code) == ("senior_accountant", "away")
    assert (above.opens_at, people(above)) == (MONDAY_9AM + timedelta(minutes=35), ["controller"])


def test_the_owner_of_the_agent_and_whom_it_acts_for_are_passed_over(whole):
    whole.agent.owner = whole.finance_manager
    whole.agent.save()

    found = asked(agent="ap-agent", on_behalf_of="senior_accountant")

    codes = {each.username: each.code for rung in found.rungs for each in rung.passed_over}
    assert codes == {"finance_manager": "owner", "senior_accountant": "on_behalf"}


def test_it_acts_for_nobody_for_whom_a_real_request_could_not(whole):
    away = PersonFactory(username="gone", is_active=False)

    with pytest.raises(NotFound):
        asked(on_behalf_of=away.username)
    assert asked(on_behalf_of="CFO@example.com") == asked(on_behalf_of="cfo")


@pytest.mark.parametrize(
    ("exception", "first"),
    [
        (ExceptionType.REJECTION, ["senior_accountant"]),
        (ExceptionType.POLICY_VIOLATION, 2),
        (ExceptionType.CONFLICT, 1),
    ],
)
def test_every_exception_has_its_own_ladder(whole, exception, first):
    rungs = asked(exception=exception).rungs

    assert people(rungs[0]) == first or len(people(rungs[0])) == first


def test_a_system_failure_is_tried_again_before_anybody_is_asked(whole):
    again, on_call, *_ = asked(exception=ExceptionType.SYSTEM_FAILURE).rungs

    assert again.automatic
    assert people(again) == []
    assert on_call.asked[0].why.startswith("one on call for the target")


def test_severity_and_impact_choose_the_rung_and_are_never_lowered(whole):
    found = asked(severity=Severity.HIGH, impact=Impact.LOW)

    assert (found.severity, found.impact) == (Severity.HIGH, Impact.MEDIUM)
    assert [rung.level for rung in found.rungs] == [0, 2, 3]


def test_a_critical_process_has_an_executive_at_its_end(whole):
    whole.vendor_payment.is_critical = True
    whole.vendor_payment.save()

    assert asked().rungs[-1].level == 4


def test_what_cannot_be_undone_is_not_tried_again_by_itself(whole):
    whole.vendor_payment.reversal = "none"
    whole.vendor_payment.reversal_code = ""
    whole.vendor_payment.save()

    on_call, *_ = asked(exception=ExceptionType.SYSTEM_FAILURE).rungs

    assert (on_call.level, on_call.automatic, on_call.opens_at) == (2, False, MONDAY_9AM)


def test_what_was_not_rehearsed_lately_is_not_tried_again_by_itself(whole):
    whole.vendor_payment.drill_due_at = MONDAY_9AM
    whole.vendor_payment.save()

    on_call, *_ = asked(exception=ExceptionType.SYSTEM_FAILURE).rungs

    assert (on_call.level, on_call.automatic) == (2, False)


def test_a_first_no_that_is_final_ends_it_at_once(whole):
    whole.vendor_payment.first_no_is_final = True
    whole.vendor_payment.save()

    found = asked(exception=ExceptionType.REJECTION)

    assert (found.rungs, found.ends_at, found.ends) == ((), MONDAY_9AM, "it ends rejected")
    assert not found.stalls


def test_whoever_approved_it_does_not_override_its_failure(whole):
    """What fails in a target was approved before: by whoever is asked first."""
    whole.vendor_payment.is_critical = True
    whole.vendor_payment.save()
    AppointmentFactory(version=whole.policy, office="executive", person=whole.finance_manager)
    AppointmentFactory(version=whole.policy, office="executive", person=whole.cfo)

    top = asked(exception=ExceptionType.SYSTEM_FAILURE).rungs[-1]

    assert (top.level, people(top)) == (4, ["cfo"])
    assert ("finance_manager", "chain") in [(e.username, e.code) for e in top.passed_over]


def test_absences_are_read_as_far_ahead_as_the_longest_ladder_takes(whole):
    whole.vendor_payment.sla = timedelta(days=40)
    whole.vendor_payment.save()
    AbsenceFactory(
        person=whole.senior_accountant,
        starts_at=MONDAY_9AM + timedelta(days=35),
        ends_at=MONDAY_9AM + timedelta(days=60),
    )

    instead = asked().rungs[2]

    assert [(each.username, each.code) for each in instead.passed_over] == [
        ("senior_accountant", "away")
    ]


def test_instants_are_in_utc_wherever_the_question_was_asked(whole):
    berlin = MONDAY_9AM.astimezone(ZoneInfo("Europe/Berlin"))

    assert document(asked(at=berlin)) == document(asked())


def test_a_draft_may_be_asked(whole):
    PolicyVersionFactory(number=2)

    with pytest.raises(NoRoute):
        asked(version=2)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"action": "refund"}, NotFound),
        ({"department": "sales"}, NotFound),
        ({"agent": "nobody"}, NotFound),
        ({"on_behalf_of": "nobody"}, NotFound),
        ({"version": 99}, NotFound),
        ({"amount": Decimal(100_000)}, NoRoute),
        ({"amount": None}, Unprocessable),
        ({"amount": Decimal("0.001")}, Unprocessable),
        ({"amount": Decimal("NaN")}, Unprocessable),
        ({"amount": Decimal("1e400")}, Unprocessable),
        ({"amount": Decimal("1e-999999999999999999")}, Unprocessable),
    ],
)
def test_what_cannot_be_routed_is_refused_in_a_sentence(whole, changes, refusal):
    with pytest.raises(refusal, match=r"\.$"):
        asked(**changes)


def test_without_a_policy_nobody_decides(whole):
    PolicyVersion.objects.update(state="superseded")

    with pytest.raises(NoRoute):
        asked()


def test_it_takes_the_same_queries_whoever_is_there(whole):
    def queries():
        with CaptureQueriesContext(connection) as caught:
            asked()
        return len(caught)

    before = queries()
    for person in Person.objects.all():
        AbsenceFactory(person=person, starts_at=MONDAY_9AM + timedelta(days=3))
        PersonFactory(manager=person)

    assert queries() == before


# --- The command and the API ---

AT = "2026-03-02T09:00:00+00:00"
QUERY = {
    "action": "vendor_payment",
    "department": "accounts-payable",
    "amount": "12000.00",
    "currency": "USD",
    "at": AT,
    "on_behalf_of": "finance_manager",
}


@pytest.fixture
def operator(client):
    person = PersonFactory(roles=[RoleFactory(key="policy_admin")])
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


def command(*options):
    out = StringIO()
    call_command("who_decides", "vendor_payment", "accounts-payable", *options, stdout=out)
    return out.getvalue().replace("\u00a0", " ")


def test_function_command_and_api_say_the_same(whole, operator):
    found = document(asked(on_behalf_of="finance_manager"))

    over_http = operator.get("/api/v1/who-decides/", QUERY)
    printed = command(
        "--amount", "12000.00", "--at", AT, "--on-behalf-of", "finance_manager", "--json"
    )

    assert over_http.status_code == 200
    assert over_http.json() == json.loads(printed) == json.loads(json.dumps(found))


def test_the_command_prints_each_rung_with_its_people(whole):
    printed = command(
        "--amount", "12000.00", "--at", "2026-03-02T09:00", "--on-behalf-of", "finance_manager"
    )

    assert "not Finance Manager (finance_manager): is the person the agent acts for" in printed
    assert "09:00  L2 timeout: asked until 11:00" in printed
    assert printed.rstrip().endswith("then it expires")


@pytest.mark.parametrize(
    "options",
    [
        ("--amount", "many"),
        ("--amount", "1", "--at", "tomorrow"),
        ("--amount", "1", "--agent", "x"),
        ("--amount", "1", "--agent", "\udcff"),  # a byte that is no UTF-8, as the shell hands it on
    ],
)
def test_the_command_says_what_it_cannot_read(whole, options):
    with pytest.raises(CommandError):
        command(*options)


def test_only_those_who_look_after_the_policy_are_told(whole, client, api):
    client.force_login(whole.cfo, backend="django.contrib.auth.backends.ModelBackend")

    assert client.get("/api/v1/who-decides/", QUERY).status_code == 403
    assert api(whole.agent).get("/api/v1/who-decides/", QUERY).status_code == 403


@pytest.mark.parametrize(
    ("changes", "at_fault"),
    [
        ({"amount": "-1"}, "amount"),
        ({"amount": "1e400"}, "amount"),
        ({"at": "noon"}, "at"),
        ({"exception": "boredom"}, "exception"),
        ({"policy_version": "0"}, "policy_version"),
        ({"colour": "red"}, "colour"),
        ({"currency": ""}, "currency"),
    ],
)
def test_parameters_at_fault_are_named(whole, operator, changes, at_fault):
    answer = operator.get("/api/v1/who-decides/", QUERY | changes)

    assert answer.status_code == 422
    assert at_fault in answer.json()["errors"]


def test_a_parameter_that_is_said_twice_is_at_fault(whole, operator):
    """Which of the two was meant nobody knows, and the page and the caller might each guess another."""
    answer = operator.get("/api/v1/who-decides/", QUERY | {"amount": ["1.00", "12000.00"]})

    assert answer.status_code == 422
    assert answer.json()["errors"] == {"amount": "Say it once."}


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"])
def test_a_time_beyond_every_calendar_is_refused_at_its_parameter(whole, operator, at):
    answer = operator.get("/api/v1/who-decides/", QUERY | {"at": at})

    assert (answer.status_code, answer.json()["field"]) == (422, "at")
