from __future__ import annotations

import json
import stat
from datetime import timedelta
from io import StringIO

import pytest
from allauth.mfa.models import Authenticator
from django.core.management import CommandError, call_command
from jsonschema import Draft202012Validator

from approvals import demo as approvals_demo
from approvals.models import ActionRequest, Ask
from approvals.services.submit import submit
from governance import clock, demo
from governance.catalogue import CATALOGUE
from governance.catalogue_tryton import CATALOGUE_ON_TRYTON
from governance.models import (
    ActionType,
    Agent,
    AgentCredential,
    Appointment,
    AuditEvent,
    ContactChannel,
    DecisionCell,
    DemoClock,
    MatrixRow,
    PathWindow,
    Person,
    PolicyVersion,
    RosterShift,
    Seal,
)
from governance.policy_check import check
from governance.services import tokens
from tests.factories import PersonFactory
from tests.factors import code_now

pytestmark = pytest.mark.django_db

PINNED = {
    "finance_manager", "senior_accountant", "controller", "cfo", "ceo", "resource_owner", "oncall",
    "oncall_manager", "operator", "compliance", "compliance_2", "head_of_compliance", "auditor",
    "second_reviewer", "policy_admin", "second_admin",
}  # fmt: skip


@pytest.fixture(autouse=True)
def own_var(settings, tmp_path):
    settings.VAR = tmp_path


@pytest.fixture
def seed(django_capture_on_commit_callbacks):
    """Run the command, with what it does on commit; return what it printed."""

    def run(*options):
        out = StringIO()
        with django_capture_on_commit_callbacks(execute=True):
            call_command("seed_demo", *options, stdout=out)
        return out.getvalue()

    return run


@pytest.fixture
def demo_file(seed, tmp_path):
    def run(*options):
        path = tmp_path / "demo.json"
        seed("--write-demo-file", str(path), "--url", "http://127.0.0.1:8000", *options)
        return path

    return run


# --- The file and the log-ins -----------------------------------------------------------------


def test_the_demo_file_has_the_pinned_shape_and_is_private(demo_file):
    path = demo_file("--speed", "60")

    facts = json.loads(path.read_text())
    assert set(facts) == {"url", "users", "agents", "target", "clock"}
    assert facts["url"] == "http://127.0.0.1:8000"
    assert {user["username"] for user in facts["users"]} == PINNED
    factors = {user["username"] for user in facts["users"] if user.pop("totp", None)}
    approvers = {"ceo", "cfo", "controller", "finance_manager", "senior_accountant"}
    assert factors == approvers | {"policy_admin", "second_admin"}
    assert all(set(user) == {"username", "password", "roles"} for user in facts["users"])
    assert [agent["name"] for agent in facts["agents"]] == ["ap-agent"]
    assert facts["target"] == {"url": None, "token": None}
    assert facts["clock"] == {"speed": 60.0}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_codes_of_the_demo_file_are_those_of_its_people(demo_file):
    path = demo_file("--speed", "60")

    secrets = {user["username"]: user.get("totp") for user in json.loads(path.read_text())["users"]}
    for factor in Authenticator.objects.filter(type="totp"):
        assert factor.wrap().validate_code(code_now(secrets[factor.user.username]))


def test_a_demo_whose_second_factors_were_lost_gets_new_ones(demo_file):
    first = json.loads(demo_file("--speed", "60").read_text())
    Authenticator.objects.update(data={"secret": "of another key"})

    again = json.loads(demo_file("--speed", "60").read_text())

    def secret(facts):
        return next(user["totp"] for user in facts["users"] if user["username"] == "cfo")

    assert secret(again) != secret(first)
    assert (
        Authenticator.objects.get(user__username="cfo")
        .wrap()
        .validate_code(code_now(secret(again)))
    )


def test_everybody_has_the_password_that_was_printed(seed):
    printed = seed()

    password = demo._kept().password
    assert password in printed
    assert all(person.check_password(password) for person in Person.objects.all())


def test_the_token_opens_all_actions_in_all_departments(demo_file):
    facts = json.loads(demo_file().read_text())

    token = facts["agents"][0]["token"]
    credential = AgentCredential.objects.get(prefix=tokens.prefix_of(token))
    assert tokens.is_good(credential, token, now=clock.real_now())
    assert set(credential.actions) == {entry["key"] for entry in CATALOGUE}
    assert "accounts-payable" in credential.departments
    assert set(credential.scopes) == {"submit", "read", "withdraw", "urgent", "violations"}


# --- People and policy ------------------------------------------------------------------------


def test_reporting_lines_end_at_the_ceo_without_a_circle(seed):
    seed()

    for person in Person.objects.all():
        line = [person]
        while line[-1].manager:
            line.append(line[-1].manager)
            assert len(line) < 6
        assert line[-1].username == "ceo"
    assert Person.objects.get(username="senior_accountant").manager.username == "controller"
    assert Person.objects.get(username="auditor").manager.username == "ceo"


def test_everybody_is_reached_by_mail(seed):
    seed()

    assert ContactChannel.objects.filter(confirmed_at__isnull=False).count() == len(PINNED)


def test_the_policy_is_whole(seed):
    seed()

    policy = PolicyVersion.objects.get(state=PolicyVersion.State.ACTIVE)
    assert DecisionCell.objects.filter(version=policy).count() == 45
    assert PathWindow.objects.filter(version=policy).count() == 17
    assert policy.activated_by not in policy.editors.all()
    offices = set(policy.appointments.values_list("office", flat=True))
    assert offices == set(Appointment.Office.values)
    assert all(row.delegates.exists() and row.executive for row in MatrixRow.objects.all())


def test_the_agents_owner_is_on_nobodys_route(seed):
    seed()

    owner = Agent.objects.get().owner
    on_routes = Person.objects.filter(roles__key__in=[b.approver for b in demo.MATRIX])
    assert owner not in on_routes
    assert not Person.objects.filter(manager=owner).exists()


# --- The catalogue ----------------------------------------------------------------------------


@pytest.fixture
def with_erp(settings):
    """As `make demo TARGET=tryton` has it: the ERP is there beside the demo's own target."""
    where = {"url": "http://127.0.0.1:9/erp/", "user": "recourse", "password": "secret"}
    settings.TARGETS = {**settings.TARGETS, "tryton": where}
    return where


@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry["key"])
def test_each_schema_is_valid_closed_and_takes_its_example(entry):
    Draft202012Validator.check_schema(entry["schema"])
    validator = Draft202012Validator(entry["schema"])

    payload = entry["example"]["payload"]
    assert validator.is_valid(payload)
    assert not validator.is_valid({**payload, "more": 1})


@pytest.mark.parametrize(
    "value", ["-1.00", "NaN", "1e3", "12000.00\n", " 1", "", "01.00", "1.00000"]
)
def test_what_is_no_decimal_is_off_the_schema(value):
    entry = CATALOGUE[0]
    payload = {**entry["example"]["payload"], "amount": {"value": value, "currency": "USD"}}

    assert not Draft202012Validator(entry["schema"]).is_valid(payload)


@pytest.mark.parametrize("key", [entry["key"] for entry in CATALOGUE])
def test_each_example_is_routed_and_asks_somebody(seed, key):
    seed()

    submitted = submit(
        credential=AgentCredential.objects.select_related("agent").get(),
        policy=PolicyVersion.objects.get().pk,
        idempotency_key="one",
        body=ActionType.objects.get(key=key).example,
        now=clock.now(),
    )

    assert submitted.request.state == ActionRequest.State.PENDING
    assert Ask.objects.filter(step__request=submitted.request, due_at__isnull=False).count() == 1


def test_the_storys_payment_asks_the_finance_manager_for_five_minutes(seed):
    seed()
    payment = ActionType.objects.get(key="vendor_payment")

    assert (payment.sla, payment.severity, payment.impact) == (
        timedelta(minutes=5),
        "low",
        "medium",
    )
    assert payment.example["payload"]["amount"] == {"value": "12000.00", "currency": "USD"}
    assert demo.MATRIX[0].approver == "finance_manager"
    assert demo.MATRIX[0].delegates[0] == "senior_accountant"


def test_orders_from_50_000_dollars_are_of_high_impact(seed):
    seed()

    bands = ActionType.objects.get(key="purchase_order").impact_bands
    assert bands == [{"from": "50000.00", "currency": "USD", "impact": "high"}]
    assert ActionType.objects.get(is_critical=True).key == "revenue_recognition"


# --- Requests ---------------------------------------------------------------------------------


def test_requests_are_submitted_when_asked_for_and_only_once(seed):
    seed()
    assert ActionRequest.objects.count() == 0

    seed("--with-requests")
    seed("--with-requests")

    assert ActionRequest.objects.count() == len(approvals_demo.REQUESTS)
    assert Ask.objects.values("person").distinct().count() > 2


# --- Again, and where it must not -------------------------------------------------------------


def test_seeding_twice_changes_nothing(seed):
    first = seed("--speed", "60")
    events = AuditEvent.objects.count()

    again = seed()

    assert again == first
    assert AuditEvent.objects.count() == events
    assert Person.objects.count() == len(PINNED)


def test_another_speed_goes_on_from_the_same_instant(seed):
    seed("--speed", "60")
    before = DemoClock.objects.get()
    DemoClock.objects.update(real_start=before.real_start - timedelta(hours=1))

    seed("--speed", "10")

    after = DemoClock.objects.get()
    assert after.speed == 10
    hours_60 = after.business_start - before.business_start
    assert timedelta(hours=60) <= hours_60 < timedelta(hours=62)
    assert clock.real_now() - after.real_start < timedelta(minutes=2)


def test_keys_that_were_lost_are_replaced_and_the_old_ones_end(seed, tmp_path):
    seed()
    old = demo._kept()
    (tmp_path / "demo_keys.json").unlink()

    seed()

    new = demo._kept()
    assert new.password != old.password
    assert new.token != old.token
    assert AgentCredential.objects.filter(disabled_at__isnull=True).count() == 1
    kinds = set(AuditEvent.objects.values_list("kind", flat=True))
    assert {"passwords.replaced", "credentials.disabled"} <= kinds


def test_what_was_seeded_is_in_the_record_and_sealed(seed):
    seed()

    chains = set(AuditEvent.objects.values_list("chain", flat=True))
    assert chains == {"people", "policy", "actions"}
    assert AuditEvent.objects.filter(kind="person.entered").count() == len(PINNED)
    assert Seal.objects.get().size == AuditEvent.objects.count()


@pytest.mark.parametrize("option", [[], ["--fresh"]])
def test_somebody_elses_data_is_left_alone(seed, option):
    PersonFactory()

    with pytest.raises(CommandError, match="no demo wrote"):
        seed(*option)

    assert Person.objects.count() == 1


def test_production_is_never_seeded(seed, settings):
    settings.DEMO = False

    with pytest.raises(CommandError, match="not the demo profile"):
        seed()

    assert Person.objects.count() == 0


def test_only_a_demos_tables_are_dropped():
    PersonFactory()

    with pytest.raises(RuntimeError, match="not marked"):
        demo.wipe()


@pytest.mark.parametrize("speed", ["0", "-1", "inf", "nan"])
def test_time_goes_forward(seed, speed):
    with pytest.raises(CommandError, match="--speed"):
        seed(f"--speed={speed}")


# --- With the ERP -----------------------------------------------------------------------------


def test_an_erp_takes_what_an_erp_has_and_leaves_the_rest_to_the_demos_target(with_erp, seed):
    seed()

    targets = {each.key: each.connector_config["target"] for each in ActionType.objects.all()}
    assert targets == {
        "vendor_payment": "tryton",
        "supplier_invoice": "tryton",
        "sales_order": "tryton",
        "customer_update": "tryton",
        "purchase_order": "demo",
        "revenue_recognition": "demo",
    }


def test_the_demo_file_has_the_erp_beside_the_pinned_target(with_erp, demo_file):
    facts = json.loads(demo_file().read_text())

    assert set(facts) == {"url", "users", "agents", "target", "clock", "erp"}
    assert facts["target"] == {"url": None, "token": None}
    assert facts["erp"] == with_erp


def test_keys_of_the_erp_speak_of_no_other_target(with_erp, seed):
    seed()

    for action in ActionType.objects.filter(connector="tryton"):
        keys = [action.resource_key, action.business_key, *action.snapshot_plan]
        assert [key for key in keys if not key.startswith("tryton:")] == []


@pytest.mark.parametrize("key", [entry["key"] for entry in CATALOGUE_ON_TRYTON])
def test_each_example_on_the_erp_is_routed_and_asks_somebody(with_erp, seed, key):
    seed()

    submitted = submit(
        credential=AgentCredential.objects.select_related("agent").get(),
        policy=PolicyVersion.objects.get().pk,
        idempotency_key="one",
        body=ActionType.objects.get(key=key).example,
        now=clock.now(),
    )

    assert submitted.request.state == ActionRequest.State.PENDING
    assert Ask.objects.filter(step__request=submitted.request).exists()


def test_somebody_is_on_call_for_the_erp(with_erp, seed):
    seed()

    fallbacks = Appointment.objects.filter(office=Appointment.Office.ONCALL_FALLBACK)
    assert sorted(fallbacks.values_list("scope", flat=True)) == ["demo", "tryton"]
    assert sorted(RosterShift.objects.values_list("target", flat=True)) == ["demo", "tryton"]


def test_with_the_erp_the_policy_has_no_hole(with_erp, seed):
    seed()

    found = check(PolicyVersion.objects.get(), now=clock.now())

    assert found.holes == ()


def test_log_ins_are_told_once_on_the_screen_or_in_a_file_of_their_owner(seed, tmp_path):
    path = tmp_path / "demo.json"
    on_screen = seed()
    said = seed("--write-demo-file", str(path))

    facts = json.loads(path.read_text())
    for secret in (facts["users"][0]["password"], facts["agents"][0]["token"]):
        assert secret in on_screen
        assert secret not in said
