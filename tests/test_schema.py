"""What the models promise is in the database: a migration may drop more than it says."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.db import connection

OURS = ("governance", "approvals", "rollback")
MODELS = [model for label in OURS for model in apps.get_app_config(label).get_models()]


@pytest.mark.django_db
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_every_index_and_constraint_of_a_model_is_there(model):
    with connection.cursor() as cursor:
        there = connection.introspection.get_constraints(cursor, model._meta.db_table)

    wanted = {each.name for each in (*model._meta.indexes, *model._meta.constraints)}
    assert wanted <= there.keys()
