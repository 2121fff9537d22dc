"""What the models promise is in the database: a migration may drop more than it says."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.db import connection

OURS = ("governance", "approvals", "rollback")
MODELS = [model for label in OURS for model in apps.get_app_config(label).get_models()]


def named_in_the_database(table):
    """Return the names of a table's indexes and constraints; on SQLite, all the words they were made with."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            return set(connection.introspection.get_constraints(cursor, table))
        cursor.execute("SELECT sql FROM sqlite_master WHERE tbl_name = %s", [table])
        return {word.strip('"') for (sql,) in cursor.fetchall() if sql for word in sql.split()}


@pytest.mark.django_db
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_every_index_and_constraint_of_a_model_is_there(model):
    wanted = {each.name for each in (*model._meta.indexes, *model._meta.constraints)}

    assert wanted <= named_in_the_database(model._meta.db_table)
