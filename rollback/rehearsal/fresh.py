"""The example of an action type with a document of its own, so that it can be rehearsed again and again. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any, NamedTuple

from jsonpointer import JsonPointer
from jsonschema import Draft202012Validator

from approvals import templating
from rollback.connectors.base import CannotRun, Json

_PLACE = re.compile(r"\{(/[^{}]*)\}")


class Fresh(NamedTuple):
    """A payload whose document no target has seen.

    Attributes:
        pointer: where its document's number stands.
    """

    payload: Json
    pointer: str
    value: str


def fresh(
    payload: Json,
    *,
    schema: Mapping[str, Any],
    business_key: str,
    resource_key: str,
    taboo: tuple[str, ...],
    tag: str,
) -> Fresh:
    """Give a payload another document: in the first part of its business key that takes another value.

    What the business key names and the record does not comes first: of a
    customer's change it is the change, not the customer. Otherwise it is a part of
    the record's name: the invoice.

    Args:
        business_key, resource_key: the action type's templates.
        taboo: pointers to what stays, with all below them: counterparty, amount.
        tag: letters and digits, another one each time.

    Raises CannotRun if no part takes one.
    """
    validator = Draft202012Validator(schema)
    for pointer in _candidates(business_key, resource_key):
        value = templating.at_pointer(payload, pointer)
        if not isinstance(value, str) or not value or _is_taboo(pointer, taboo):
            continue
        for other in _spellings(value, tag):
            changed = deepcopy(payload)
            JsonPointer(pointer).set(changed, other)
            if validator.is_valid(changed):
                return Fresh(changed, pointer, other)
    raise CannotRun(
        "Its example cannot be rehearsed twice: no part of its business key takes another document's"
        " number."
    )


def _candidates(business_key: str, resource_key: str) -> Iterator[str]:
    parts, record = _PLACE.findall(business_key), set(_PLACE.findall(resource_key))
    yield from (part for part in parts if part not in record)
    yield from (part for part in parts if part in record)


def _is_taboo(pointer: str, taboo: tuple[str, ...]) -> bool:
    return any(each and (pointer == each or pointer.startswith(f"{each}/")) for each in taboo)


def _spellings(value: str, tag: str) -> Iterator[str]:
    """Yield numbers in the manner of `value`, from the one that reads best to the one that fits most schemas."""
    yield f"{value}-{tag}"
    yield f"{value[:6].rstrip('-')}-{tag}"
    yield f"D-{tag}"
    yield tag
    yield str(int(tag, 36))
