"""What the documentation says of the code is what the code is."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.apps import apps
from django.conf import settings
from django_fsm import FSMField

from approvals.due import due_of
from approvals.models import OPEN, ActionRequest
from tests.factories import RequestFactory, StepFactory
from tools import state_machines


def test_the_state_machines_page_is_as_the_code_is():
    written = state_machines.FILE.read_text()

    assert written == state_machines.render(), "run: python -m tools.state_machines"


@pytest.mark.parametrize("model", state_machines.drawn(), ids=lambda model: model.__name__)
def test_every_transition_says_what_it_means(model):
    undocumented = [
        each.name
        for each in model._meta.get_field("state").get_all_transitions(model)
        if not each.method.__doc__
    ]

    assert undocumented == []


def test_every_model_with_transitions_is_drawn():
    moving = {
        model
        for model in apps.get_models()
        for field in model._meta.get_fields()
        if isinstance(field, FSMField)
    }

    assert moving == set(state_machines.drawn())


@pytest.mark.django_db
@pytest.mark.parametrize("state", OPEN)
def test_the_page_lists_exactly_the_states_whose_clock_is_known(state):
    request = RequestFactory(state=state)
    step = StepFactory(request=request, opened_at=request.submitted_at + timedelta(minutes=1))

    if state in {each.state for each in state_machines.movers()}:
        assert due_of(request, waiting=step) is not None
    else:
        with pytest.raises(LookupError, match=state):
            due_of(request, waiting=step)


@pytest.mark.django_db
def test_the_clock_of_each_state_is_the_one_the_page_names():
    pending = RequestFactory(state=ActionRequest.State.PENDING)
    step = StepFactory(request=pending)
    approved = RequestFactory(state=ActionRequest.State.APPROVED)
    present = RequestFactory(state=ActionRequest.State.APPROVED, person_present=True)

    assert due_of(pending, waiting=step) == step.due_at
    assert due_of(approved, waiting=None) == approved.approved_at + timedelta(minutes=30)
    assert due_of(present, waiting=None) == present.approved_at + timedelta(minutes=15)


def test_every_sweep_that_the_page_names_is_driven_by_the_clock():
    named = {each.swept_by for each in state_machines.movers()}

    assert named <= set(settings.RECOURSE_SWEEPS)
