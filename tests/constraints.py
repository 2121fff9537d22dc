"""How a test says which constraint it expects the database to hold."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from django.apps import apps
from django.db import IntegrityError, connection, transaction
from django.db.models import UniqueConstraint


def constraints_of(app):
    """Return every constraint of an app's models, by name, each with its model."""
    return {
        constraint.name: (model, constraint)
        for model in apps.get_app_config(app).get_models()
        for constraint in model._meta.constraints
    }


@contextmanager
def broken(*names):
    """Expect the block to be refused by the constraint of this name, and by no other.

    With several names any of them will do: where one row breaks several, each
    database tries them in its own order. SQLite names the columns of a broken
    UNIQUE instead of the constraint.
    """
    with pytest.raises(IntegrityError) as refused, transaction.atomic():
        yield
    message = str(refused.value)
    assert any(_means(message, name) for name in names), message


def _means(message, name):
    model, constraint = next(
        found[name]
        for found in map(constraints_of, ("governance", "approvals", "rollback"))
        if name in found
    )
    named_by_columns = isinstance(constraint, UniqueConstraint) and constraint.fields
    if connection.vendor == "postgresql" or not named_by_columns:
        return name in message
    columns = [model._meta.get_field(field).column for field in constraint.fields]
    named = ", ".join(f"{model._meta.db_table}.{column}" for column in columns)
    return message == f"UNIQUE constraint failed: {named}"


def update(row, **values):
    """Write columns as a careless UPDATE would: no transition, no service, no check."""
    assert type(row)._base_manager.filter(pk=row.pk).update(**values) == 1
