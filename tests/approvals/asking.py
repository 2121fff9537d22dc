"""Short ways to say what tests of the waiting and the deciding say all the time."""

from __future__ import annotations

from approvals.services.decide import decide
from approvals.services.submit import submit
from governance.models import AuditEvent, Role
from governance.tables import policy
from tests.factories import (
    MONDAY_9AM,
    AgentCredentialFactory,
    AppointmentFactory,
    ContactChannelFactory,
    MatrixDelegateFactory,
    PersonFactory,
    PolicyCheckFactory,
    RoleFactory,
)


def body(
    company, *, invoice="INV-88213", amount="12000.00", currency="USD", instalment=None, **over
):
    """Return a valid submission of a vendor payment; `over` replaces its outer fields."""
    example = company.vendor_payment.example
    payload = {
        **example["payload"],
        "invoice": invoice,
        "amount": {"value": amount, "currency": currency},
        **({"instalment": instalment} if instalment else {}),
    }
    return {**example, "payload": payload, **over}


def credential_of(company):
    found = company.agent.credentials.first()
    return found or AgentCredentialFactory(agent=company.agent)


def ask_for_payment(company, *, now=MONDAY_9AM, key="key-1", policy=None, **over):
    """Submit a vendor payment, routed by the company's policy unless it is said by which, and return it as stored."""
    inner = {
        name: over.pop(name)
        for name in ("invoice", "amount", "currency", "instalment")
        if name in over
    }
    taken, created = submit(
        credential=credential_of(company),
        policy=policy or company.policy.pk,
        idempotency_key=key,
        body=body(company, **inner, **over),
        now=now,
    )
    assert created
    return taken


def answer(request, person, verdict="approve", *, now, **over):
    return decide(
        **{
            "ref": request.ref,
            "actor": person,
            "verdict": verdict,
            "digest": request.digest,
            "now": now,
        }
        | over
    )


def name_the_head(company):
    """Have the Controller head the department, and return them."""
    AppointmentFactory(
        version=company.policy,
        office="department_head",
        scope="accounts-payable",
        person=company.controller,
    )
    policy.cache_clear()
    return company.controller


def name_the_owner(company, person=None):
    """Have somebody, the CFO unless it is said who, own every record, and return them."""
    owner = person or company.cfo
    AppointmentFactory(version=company.policy, office="resource_owner", scope="", person=owner)
    policy.cache_clear()
    return owner


def make_critical(company):
    """Make vendor payments a critical process, whose last rung is the CFO; two auditors review what they do."""
    company.vendor_payment.is_critical = True
    company.vendor_payment.save()
    company.row.executive = company.cfo
    company.row.save()
    for name in ("auditor", "second_reviewer"):
        person = PersonFactory(
            username=name,
            name=name.replace("_", " ").title(),
            manager=company.ceo,
            roles=[Role.objects.filter(key="auditor").first() or RoleFactory(key="auditor")],
        )
        ContactChannelFactory(person=person)
        AppointmentFactory(version=company.policy, office="reviewer", scope=name, person=person)
    policy.cache_clear()


def name_compliance(company):
    """Have a Compliance Officer, a second one and their head rule on violations, and return them."""
    found = []
    for username, office in (
        ("compliance", "compliance"),
        ("compliance_2", "compliance"),
        ("head_of_compliance", "head_of_compliance"),
    ):
        person = PersonFactory(username=username, email=f"{username}@example.com")
        person.roles.add(Role.objects.get_or_create(key="compliance", name="Compliance")[0])
        ContactChannelFactory(person=person)
        AppointmentFactory(version=company.policy, office=office, scope="", person=person)
        found.append(person)
    policy.cache_clear()
    return tuple(found)


def add_check(company, expression, *, key="terms", reads="payload", **over):
    """Add a rule for vendor payments to the active policy, and return it."""
    check = PolicyCheckFactory(
        version=company.policy,
        key=key,
        name=over.pop("name", "Terms are known"),
        action="vendor_payment",
        reads=reads,
        expression=expression,
        **over,
    )
    policy.cache_clear()
    return check


def make_the_first_no_final(company):
    """Have a no end the request: for tests that are about an end, not about the rejection path."""
    company.vendor_payment.first_no_is_final = True
    company.vendor_payment.save()


def chain_kinds(request):
    return list(
        AuditEvent.objects.filter(chain=request.ref).order_by("seq").values_list("kind", flat=True)
    )


def another_delegate(company):
    """Name a second delegate in the matrix row, and return them."""
    second = PersonFactory(
        username="treasury_analyst",
        name="Treasury Analyst",
        limit_amount=50_000,
        limit_currency="USD",
    )
    ContactChannelFactory(person=second)
    MatrixDelegateFactory(row=company.row, position=2, role=None, person=second)
    policy.cache_clear()
    return second


def have_sums_taken(company):
    """Have payments to one vendor summed over a day: in most tests each stands for itself."""
    company.vendor_payment.counterparty_pointer = "/vendor"
    company.vendor_payment.save()
