"""The demo's organisation: people, policy, catalogue and one agent. Source: DESIGN 8.

Seeded in one transaction and with its events, so that the record of a demo
begins where the demo does. People are roles, not persons.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NamedTuple

from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import generate_totp_secret
from cryptography.fernet import InvalidToken
from django.conf import settings
from django.contrib.auth.hashers import check_password, make_password
from django.core.management import call_command
from django.db import connection, transaction
from django.db.migrations.recorder import MigrationRecorder

from governance import actors, catalogue, catalogue_tryton, cel, ledger_triggers
from governance.catalogue import TARGET
from governance.definitions import digest_of, document_of
from governance.drafting import names as naming
from governance.drafting.book import book_of
from governance.ladder import DEFAULT_WINDOWS
from governance.ledger import Act
from governance.models import (
    ActionType,
    Agent,
    AgentCredential,
    Appointment,
    ContactChannel,
    DemoClock,
    Department,
    MatrixDelegate,
    MatrixRow,
    Person,
    PolicyCheck,
    PolicyVersion,
    Role,
    RosterShift,
)
from governance.services import tokens
from governance.services.policy.drafts import fill
from governance.vocabulary import Chain, Duty, Scope

SEEDER = "seed_demo"  # the actor, in the record
ROSTER_FOR = timedelta(days=91)
# A demo whose undoing was never rehearsed can be looked at for so long. Its first drill takes that back.
FIRST_DRILL_WITHIN = timedelta(days=30)
AGENT = "ap-agent"
# On nobody's route, so that whoever is asked may answer: an agent's owner may not.
AGENT_OWNER = "second_admin"
POLICY_EDITOR, POLICY_ACTIVATOR = "policy_admin", "second_admin"

DEPARTMENTS = {
    "accounts-payable": "Accounts payable",
    "procurement": "Procurement",
    "sales": "Sales",
    "finance": "Finance",
    "operations": "Operations",
    "compliance": "Compliance",
}
ASKED_IN = ("accounts-payable", "procurement", "sales", "finance")  # where the agent may ask
ROLES = {
    "finance_manager": "Finance manager",
    "senior_accountant": "Senior accountant",
    Duty.CONTROLLER.value: "Controller",
    "cfo": "Chief financial officer",
    "ceo": "Chief executive officer",
    "executive": "Executive",
    "resource_owner": "Resource owner",
    "oncall": "On call",
    "oncall_manager": "Manager of those on call",
    Duty.OPERATOR.value: "Operator",
    Duty.COMPLIANCE.value: "Compliance",
    "head_of_compliance": "Head of compliance",
    Duty.AUDITOR.value: "Auditor",
    "reviewer": "Reviewer",
    Duty.POLICY_ADMIN.value: "Policy administrator",
}


class Seat(NamedTuple):
    """One person of the demo. Managers come before those who report to them."""

    username: str
    name: str
    department: str
    manager: str  # "" = nobody
    roles: tuple[str, ...]
    limit: int | None = None  # USD


SEATS = (
    Seat("ceo", "Chief Executive Officer", "finance", "", ("ceo", "executive"), 100_000_000),
    Seat("cfo", "Chief Financial Officer", "finance", "ceo", ("cfo", "executive"), 1_000_000),
    # Of the CFO's line nobody is on the way up to the CFO's own override of a critical process.
    Seat("controller", "Controller", "finance", "ceo", ("controller",), 100_000),
    Seat("finance_manager", "Finance Manager", "accounts-payable", "controller", ("finance_manager",), 25_000),
    Seat("senior_accountant", "Senior Accountant", "accounts-payable", "controller", ("senior_accountant",), 25_000),
    Seat("resource_owner", "Resource Owner", "sales", "cfo", ("resource_owner",)),
    Seat("oncall_manager", "On-call Manager", "operations", "cfo", ("oncall_manager",)),
    Seat("oncall", "On-call Engineer", "operations", "oncall_manager", ("oncall",)),
    Seat("operator", "Operator", "operations", "oncall_manager", ("operator",)),
    Seat("head_of_compliance", "Head of Compliance", "compliance", "ceo", ("compliance", "head_of_compliance")),
    Seat("compliance", "Compliance Officer", "compliance", "head_of_compliance", ("compliance",)),
    Seat("compliance_2", "Second Compliance Officer", "compliance", "head_of_compliance", ("compliance",)),
    Seat("auditor", "Auditor", "compliance", "ceo", ("auditor", "reviewer")),
    Seat("second_reviewer", "Second Reviewer", "compliance", "ceo", ("auditor", "reviewer")),
    Seat("policy_admin", "Policy Administrator", "operations", "cfo", ("policy_admin",)),
    Seat("second_admin", "Second Administrator", "operations", "cfo", ("policy_admin",)),
)  # fmt: skip


class Band(NamedTuple):
    """One row of the matrix: [low, high) in USD, or no amount at all. Names are role keys."""

    department: str
    action: str
    low: int | None
    high: int | None
    approver: str
    delegates: tuple[str, ...]
    quorum: int = 1


# Nobody decides on a million or more: such a request is refused for want of a route, and says so.
MATRIX = (
    Band("accounts-payable", "vendor_payment", 0, 25_000, "finance_manager", ("senior_accountant", "controller")),
    Band("accounts-payable", "vendor_payment", 25_000, 100_000, "controller", ("cfo",)),
    Band("accounts-payable", "vendor_payment", 100_000, 1_000_000, "cfo", ("ceo",)),
    Band("procurement", "purchase_order", 0, 25_000, "finance_manager", ("senior_accountant", "controller")),
    Band("procurement", "purchase_order", 25_000, 100_000, "controller", ("cfo",)),
    Band("procurement", "purchase_order", 100_000, 1_000_000, "executive", ("controller",), quorum=2),
    Band("sales", "sales_order", 0, 25_000, "finance_manager", ("senior_accountant", "controller")),
    Band("sales", "sales_order", 25_000, 100_000, "controller", ("cfo",)),
    Band("sales", "sales_order", 100_000, 1_000_000, "cfo", ("ceo",)),
    Band("sales", "customer_update", None, None, "controller", ("finance_manager", "senior_accountant")),
    Band("finance", "revenue_recognition", 0, 100_000, "controller", ("finance_manager", "senior_accountant")),
    Band("finance", "revenue_recognition", 100_000, 1_000_000, "ceo", ("cfo",)),
    # Whatever else the agent may ask for: its credential takes each action in each department.
    *(
        band
        for department in ASKED_IN
        for band in (
            Band(department, "", 0, 1_000_000, "cfo", ("ceo",)),
            Band(department, "", None, None, "cfo", ("ceo",)),
        )
    ),
)  # fmt: skip
ERP_MATRIX = (  # for what only the ERP takes
    Band("accounts-payable", "supplier_invoice", 0, 25_000, "senior_accountant", ("finance_manager", "controller")),
    Band("accounts-payable", "supplier_invoice", 25_000, 100_000, "controller", ("cfo",)),
    Band("accounts-payable", "supplier_invoice", 100_000, 1_000_000, "cfo", ("ceo",)),
)  # fmt: skip
EXECUTIVE = "cfo"  # nobody who reviews reports to them
OFFICES = (
    (Appointment.Office.DEPARTMENT_HEAD, "accounts-payable", "controller"),
    (Appointment.Office.DEPARTMENT_HEAD, "procurement", "cfo"),
    (Appointment.Office.DEPARTMENT_HEAD, "sales", "cfo"),
    (Appointment.Office.DEPARTMENT_HEAD, "finance", "cfo"),
    (Appointment.Office.RESOURCE_OWNER, "", "resource_owner"),
    (Appointment.Office.COMPLIANCE, "", "compliance"),
    (Appointment.Office.COMPLIANCE, "", "compliance_2"),
    (Appointment.Office.HEAD_OF_COMPLIANCE, "", "head_of_compliance"),
    (Appointment.Office.REVIEWER, "", "auditor"),
    (Appointment.Office.REVIEWER, "", "second_reviewer"),
    (Appointment.Office.EXECUTIVE, "", "ceo"),
    (Appointment.Office.EXECUTIVE, "", "cfo"),
)


class Rule(NamedTuple):
    """One check of the policy, in CEL."""

    key: str
    name: str
    action: str
    reads: str
    expression: str
    on_break: str


RULES = (
    Rule(
        "line-totals",
        "The lines come to the amount of the order",
        "sales_order",
        PolicyCheck.Reads.PAYLOAD,
        "total(payload.lines.map(line, line.amount.minor)) == payload.amount.minor"
        " && payload.lines.all(line, line.amount.currency == payload.amount.currency)",
        "The lines do not come to the amount of the order.",
    ),
    Rule(
        "credit-limit",
        "Open orders stay within the customer's credit limit",
        "sales_order",
        PolicyCheck.Reads.TARGET,
        # What is entered of this order is among the open ones already.
        "facts.open_orders - done.minor + total(payload.lines.map(line, line.amount.minor))"
        " <= facts.credit_limit",
        "With this order the customer's open orders pass the credit limit.",
    ),
)
SCOPES = (Scope.SUBMIT, Scope.READ, Scope.WITHDRAW, Scope.URGENT, Scope.VIOLATIONS)


class Keys(NamedTuple):
    """What opens the demo. Kept in VAR, readable by its owner, since the database holds hashes only."""

    password: str  # of everybody
    token: str  # of the agent
    totp: dict[str, str]  # by user name, of those with a second factor: its secret, in base 32


def has_erp() -> bool:
    """Whether a real ERP runs beside the demo's own target, and takes what an ERP has."""
    return catalogue_tryton.TARGET in settings.TARGETS


def targets() -> tuple[str, ...]:
    """Return what the demo acts on."""
    return (TARGET, catalogue_tryton.TARGET) if has_erp() else (TARGET,)


def action_types() -> tuple[dict[str, Any], ...]:
    """Return the demo's action types, as data."""
    return catalogue_tryton.CATALOGUE_ON_TRYTON if has_erp() else catalogue.CATALOGUE


def whose() -> Literal["bare", "empty", "demo", "other"]:
    """Say whether the database is without our tables, nobody's yet, a demo's, or somebody's."""
    if DemoClock._meta.db_table not in connection.introspection.table_names():
        return "bare"
    if DemoClock.objects.exists():
        return "demo"
    return "other" if Person.objects.exists() or PolicyVersion.objects.exists() else "empty"


def wipe() -> None:
    """Drop our tables and make them anew, ledger and all. Only a database marked as a demo's.

    Raises RuntimeError for any other.
    """
    if whose() != "demo":
        raise RuntimeError("this database is not marked as a demo's")
    tables = connection.introspection.django_table_names(only_existing=True, include_views=False)
    cascade = " CASCADE" if connection.vendor == "postgresql" else ""
    with connection.schema_editor() as editor:
        ledger_triggers.remove(editor)
        for table in [*tables, MigrationRecorder.Migration._meta.db_table]:
            editor.execute(f"DROP TABLE {connection.ops.quote_name(table)}{cascade}")
    call_command("migrate", interactive=False, verbosity=0)
    settings.SEAL_EXPORT.unlink(missing_ok=True)  # seals of what is gone


@transaction.atomic
def seed(*, speed: float | None, now: datetime, real_now: datetime) -> Keys:
    """Seed the demo, or bring a seeded one to this speed; return what opens it.

    Run again it changes nothing, except for what was asked: another speed goes
    on from the same business instant, and keys that VAR has lost are replaced.

    Args:
        speed: business seconds in a real one. None: as it is; 1 for a new demo.
        now: business time.
        real_now: the wall's. Business time begins there.
    """
    running = DemoClock.objects.select_for_update().first()
    if running is None:
        DemoClock.objects.create(
            pk=1, real_start=real_now, business_start=real_now, speed=speed or 1.0
        )
        return _seed_all(now=real_now, real_now=real_now)
    if speed is not None and speed != running.speed:
        elapsed = (real_now - running.real_start) * running.speed
        running.business_start, running.real_start = running.business_start + elapsed, real_now
        running.speed = speed
        running.save()
    return _keys_again(now=now, real_now=real_now)


def _seed_all(*, now: datetime, real_now: datetime) -> Keys:
    act = Act(now=now, actor=SEEDER)
    password = secrets.token_hex(8)
    people = _people(act, password, now)
    totp = _second_factors(act, people.values())
    _policy(act, people, now)
    _catalogue(act, now)
    for target in targets():
        RosterShift.objects.create(
            target=target, person=people["oncall"], starts_at=now, ends_at=now + ROSTER_FOR
        )
        act.record_named(
            Chain.PEOPLE, "shift.entered", target=target, person="oncall", until=now + ROSTER_FOR
        )
    agent = Agent.objects.create(name=AGENT, owner=people[AGENT_OWNER])
    act.record_named(Chain.PEOPLE, "agent.entered", agent=AGENT, owner=AGENT_OWNER)
    keys = Keys(password, _issue(act, agent, real_now), totp)
    act.write()
    return _keep(keys)


def _second_factors(act: Act, people: Iterable[Person]) -> dict[str, str]:
    """Give a second factor to who approves amounts or activates policies. Returns the secrets by user name."""
    admins = {seat.username for seat in SEATS if Duty.POLICY_ADMIN in seat.roles}
    given = {
        each: generate_totp_secret()
        for each in people
        if each.limit_amount is not None or each.username in admins
    }
    Authenticator.objects.filter(user__in=given).delete()
    for person, secret in given.items():
        Authenticator.objects.create(
            user=person,
            type=Authenticator.Type.TOTP,
            data={"secret": get_adapter().encrypt(secret)},
        )
        who = actors.person(person)
        act.record_named(Chain.PEOPLE, "second_factor.added", person=who)
    return {person.username: secret for person, secret in given.items()}


def _people(act: Act, password: str, now: datetime) -> dict[str, Person]:
    departments = {
        key: Department.objects.create(key=key, name=name) for key, name in DEPARTMENTS.items()
    }
    roles = {key: Role.objects.create(key=key, name=name) for key, name in ROLES.items()}
    act.record_named(Chain.PEOPLE, "departments.entered", departments=list(departments))
    act.record_named(Chain.PEOPLE, "roles.entered", roles=list(roles))
    hashed = make_password(password)  # once: it takes half a second, and all share it
    people: dict[str, Person] = {}
    for seat in SEATS:
        person = people[seat.username] = Person.objects.create(
            username=seat.username,
            password=hashed,
            name=seat.name,
            email=f"{seat.username}@example.com",
            department=departments[seat.department],
            manager=people[seat.manager] if seat.manager else None,
            limit_amount=None if seat.limit is None else Decimal(seat.limit),
            limit_currency="" if seat.limit is None else "USD",
            date_joined=now,
        )
        person.roles.set(roles[key] for key in seat.roles)
        ContactChannel.objects.create(
            person=person, kind=ContactChannel.Kind.EMAIL, address=person.email, confirmed_at=now
        )
        act.record_named(
            Chain.PEOPLE, "person.entered", person=actors.person(person), name=seat.name,
            department=seat.department, manager=seat.manager or None, roles=list(seat.roles),
            limit=None if seat.limit is None else f"{seat.limit}.00 USD", channels=["email"],
        )  # fmt: skip
    return people


def _policy(act: Act, people: dict[str, Person], now: datetime) -> None:
    departments = {each.key: each for each in Department.objects.all()}
    roles = {each.key: each for each in Role.objects.all()}
    version = PolicyVersion.objects.create(number=1, created_at=now)
    version.editors.add(people[POLICY_EDITOR])
    matrix = (*MATRIX, *ERP_MATRIX) if has_erp() else MATRIX
    offices = [
        *OFFICES,
        *((Appointment.Office.ONCALL_FALLBACK, target, "operator") for target in targets()),
    ]
    for number, band in enumerate(matrix, start=1):
        row = MatrixRow.objects.create(
            version=version,
            number=number,
            department=departments[band.department],
            action=band.action,
            currency="" if band.low is None else "USD",
            amount_from=band.low,
            amount_to=band.high,
            approver_role=roles[band.approver],
            quorum=band.quorum,
            executive=people[EXECUTIVE],
        )
        MatrixDelegate.objects.bulk_create(
            MatrixDelegate(row=row, position=place, role=roles[key])
            for place, key in enumerate(band.delegates, start=1)
        )
    fill(version)
    Appointment.objects.bulk_create(
        Appointment(version=version, office=office, scope=scope, person=people[username])
        for office, scope, username in offices
    )
    PolicyCheck.objects.bulk_create(
        PolicyCheck(version=version, expression_hash=cel.checked(rule.expression), **rule._asdict())
        for rule in RULES
    )
    version.activate()
    version.activated_at, version.activated_by = now, people[POLICY_ACTIVATOR]
    version.save()
    book = book_of(version, naming.load())
    act.record_named(
        Chain.POLICY, "policy.activated", number=1, by=actors.person(people[POLICY_ACTIVATOR]),
        editors=[actors.person(people[POLICY_EDITOR])], rows=len(matrix),
        windows=len(DEFAULT_WINDOWS), appointments=len(offices),
        checks=[[rule.key, cel.hash_of(rule.expression)] for rule in RULES],
        content=book.digest(),
    )  # fmt: skip


def _catalogue(act: Act, now: datetime) -> None:
    for entry in action_types():
        action = ActionType(**entry, created_at=now)
        if action.reversal != ActionType.Reversal.NONE:
            action.drill_due_at = now + FIRST_DRILL_WITHIN
        action.pass_tests()
        action.promote()
        action.save()
        act.record_named(
            Chain.ACTIONS, "action_type.entered", action=action.key, version=action.version,
            state=action.state, reversal=action.reversal, drill_due_at=action.drill_due_at,
            definition=digest_of(document_of(action)),
        )  # fmt: skip


# --- Keys -------------------------------------------------------------------------------------


def _issue(act: Act, agent: Agent, real_now: datetime) -> str:
    actions = [entry["key"] for entry in action_types()]
    token, _ = tokens.issue_agent_token(
        agent,
        departments=ASKED_IN,
        actions=actions,
        scopes=[scope.value for scope in SCOPES],
        now=real_now,
        act=act,
    )
    return token


def _keys_again(*, now: datetime, real_now: datetime) -> Keys:
    """Return the keys that VAR has, replacing those that do not open this database."""
    act = Act(now=now, actor=SEEDER)
    kept = _kept()
    password, token, totp = kept
    people = Person.objects.filter(username__in=[seat.username for seat in SEATS])
    hashes = set(people.values_list("password", flat=True))  # one, unless somebody changed theirs
    if not (password and all(check_password(password, hashed) for hashed in hashes)):
        password = secrets.token_hex(8)
        people.update(password=make_password(password))
        act.record_named(
            Chain.PEOPLE, "passwords.replaced", people=sorted(p.username for p in people)
        )
    if not _are_good(totp):
        totp = _second_factors(act, people)
    agent = Agent.objects.get(name=AGENT)
    live = AgentCredential.objects.filter(agent=agent, disabled_at__isnull=True)
    if not any(tokens.is_good(row, token, now=real_now) for row in live):
        act.record_named(
            Chain.PEOPLE, "credentials.disabled", agent=AGENT, prefixes=[row.prefix for row in live]
        )
        live.update(disabled_at=real_now)
        token = _issue(act, agent, real_now)
    act.write()
    return _keep(Keys(password, token, totp))


def _are_good(totp: dict[str, str]) -> bool:
    """Whether these secrets, and no others, are those of the people of the demo who were given one."""
    kept = Authenticator.objects.filter(type=Authenticator.Type.TOTP, user__username__in=totp)
    try:
        found = {
            each.user.username: get_adapter().decrypt(each.data["secret"])
            for each in kept.select_related("user")
        }
    except InvalidToken:  # of another SECRET_KEY, which VAR has lost
        return False
    return bool(totp) and found == totp


def _file() -> Path:
    return settings.VAR / "demo_keys.json"


def _kept() -> Keys:
    try:
        return Keys(**json.loads(_file().read_text()))
    except (OSError, ValueError, TypeError):
        return Keys("", "", {})


def _keep(keys: Keys) -> Keys:
    transaction.on_commit(lambda: write_private(_file(), json.dumps(keys._asdict())))
    return keys


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)


def facts(keys: Keys, *, url: str) -> dict[str, Any]:
    """Return the demo file of DESIGN 8. The target is null where none was started with it; `erp` is there with one."""
    target = settings.TARGETS.get(TARGET, {})
    erp = settings.TARGETS.get(catalogue_tryton.TARGET, {})
    return {
        "url": url,
        "users": [
            {"username": seat.username, "password": keys.password, "roles": list(seat.roles)}
            | ({"totp": keys.totp[seat.username]} if seat.username in keys.totp else {})
            for seat in SEATS
        ],
        "agents": [{"name": AGENT, "token": keys.token}],
        "target": {name: target.get(name) or None for name in ("url", "token")},
        "clock": {"speed": DemoClock.objects.values_list("speed", flat=True).get()},
    } | ({"erp": {name: erp[name] for name in ("url", "user", "password")}} if has_erp() else {})
