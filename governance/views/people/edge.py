"""What these views share: the caller's type, one person or 404, and a refusal at the field that it names."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import Http404, HttpRequest

from governance.errors import Refused
from governance.models import Person
from governance.services.people.standing import visible_to


class PersonRequest(HttpRequest):
    """A request of somebody who is logged in."""

    user: Person


def person_or_404(reader: Person, username: str) -> Person:
    """Return somebody whom the reader may see. To others they do not exist."""
    # PostgreSQL takes no NUL, not even to look for it.
    rows = visible_to(reader).select_related("department", "manager")
    found = rows.filter(username=username).first() if username.isprintable() else None
    if found is None:
        raise Http404("no such person")
    return found


def place(form: forms.Form, refused: Refused) -> int:
    """Put a service's refusal at the field of the form that it names, or at its head. Returns its status."""
    field: Any = refused.extra.get("field")
    form.add_error(field if field in form.fields else None, refused.detail)
    return refused.status
