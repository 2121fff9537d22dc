from __future__ import annotations

import pytest
from django.apps import apps
from factory.base import FactoryMetaClass

from approvals.models import ENDED, ActionRequest, Step
from rollback.models import Recovery, Unit
from tests import factories

pytestmark = pytest.mark.django_db

FACTORIES = {
    name: each for name, each in vars(factories).items() if isinstance(each, FactoryMetaClass)
}
ONE_ROW = {"DemoClockFactory", "ActivePolicyFactory"}


def test_every_model_has_a_factory():
    models = {
        model
        for app in ("governance", "approvals", "rollback")
        for model in apps.get_app_config(app).get_models()
    }

    built = {each._meta.model for each in FACTORIES.values()} - {factories.DjangoModelFactory}

    assert models - built == set()


@pytest.mark.parametrize("name", sorted(set(FACTORIES) - {"DjangoModelFactory"}))
def test_a_factory_makes_a_valid_row_twice(name):
    # Left out: what forms set (password), what transitions guard (state), what may be empty JSON.
    unchecked = [
        "password",
        "state",
        "schema",
        "example",
        "body",
        "payload",
        "facts",
        "evidence",
        "units",
        "holes",
        "details",
        "shown_facts",
        "chain_hash",
    ]

    rows = [FACTORIES[name](), FACTORIES[name]()] if name not in ONE_ROW else [FACTORIES[name]()]

    for row in rows:
        row.full_clean(exclude=unchecked)


@pytest.mark.parametrize("state", ActionRequest.State)
def test_a_request_may_be_made_in_any_state(state):
    request = factories.RequestFactory(state=state, resource=factories.ResourceFactory())

    assert (request.due_at is None) == (state in ENDED)


@pytest.mark.parametrize(
    ("make", "state"),
    [(factories.StepFactory, state) for state in Step.State]
    + [(factories.UnitFactory, state) for state in Unit.State]
    + [(factories.RecoveryFactory, state) for state in Recovery.State],
)
def test_steps_units_and_recoveries_may_be_made_in_any_state(make, state):
    assert make(state=state).state == state


def test_the_small_company_has_what_a_vendor_payment_needs(company):
    assert company.policy.cells.count() == 45
    assert company.policy.windows.count() == 17
    assert [person.manager for person in company.people] == [
        company.controller,
        company.controller,
        company.cfo,
        company.ceo,
        None,
    ]
    assert company.agent.owner not in company.people
    assert all(
        person.channels.filter(confirmed_at__isnull=False).exists() for person in company.people
    )


@pytest.mark.parametrize("name", ["AgentCredentialFactory", "PersonalTokenFactory"])
def test_a_thousand_rows_later_a_prefix_is_still_its_own(name):
    early, late = FACTORIES[name](__sequence=103), FACTORIES[name](__sequence=1030)

    assert early.prefix != late.prefix
