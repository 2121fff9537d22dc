"""A new version of an action type, entered whole. What it says never changes after that."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from governance import actors
from governance.definitions import digest_of, document_of
from governance.errors import NotNow, Unprocessable
from governance.ledger import Act
from governance.models import ActionType, Person
from governance.services.actions.standing import require_admin
from governance.vocabulary import Chain


class NothingNew(Unprocessable):
    """It says what the last version says."""

    problem, title = "nothing-new", "Not stored yet"


def enter_version(*, fields: Mapping[str, Any], actor: Person, now: datetime) -> ActionType:
    """Store a definition as the next version of its action type: a draft, which no agent can ask for.

    Args:
        fields: as `governance.definitions.read` returns them.

    Raises:
        NotYours: no policy administrator.
        NothingNew: the last version says the same.
        NotNow: somebody else entered the first version of this key at the same instant.
    """
    require_admin(actor)
    try:
        entered: ActionType = _enter(fields, actor, now)
    except IntegrityError as problem:
        raise NotNow(
            "Somebody else entered a version of this at the same instant. Yours was not stored:"
            " look at theirs first."
        ) from problem
    return entered


@transaction.atomic
def _enter(fields: Mapping[str, Any], actor: Person, now: datetime) -> ActionType:
    key = fields["key"]
    # The first version's lock keeps two who enter at once from taking the same number. Of a key that is
    # new there is none to lock: there the constraint keeps them apart, and the second is told so.
    rows = ActionType.objects.filter(key=key)
    rows.select_for_update(no_key=True).order_by("pk").first()
    last = rows.order_by("-version").first()
    new: ActionType = ActionType(**fields, version=1 if last is None else last.version + 1)
    document = document_of(new)
    if last is not None and document == document_of(last):
        raise NothingNew(
            f"Change something: version {last.version} says the same. Nothing was stored."
        )
    new.created_at, new.entered_by = now, actor
    new.save(force_insert=True)
    act = Act(now=now, actor=actors.person(actor))
    act.record_named(
        Chain.ACTIONS,
        "action_type.entered",
        action=key,
        version=new.version,
        state=new.state,
        reversal=new.reversal,
        definition=digest_of(document),
    )
    act.write()
    return new
