"""What an agent sent, checked and turned into the row it asks for. Touches nothing.

Nothing an agent sends is trusted: what is not named here is refused, not ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from django.utils.dateparse import parse_datetime
from iso4217 import Currency
from jsonpointer import JsonPointer
from jsonschema import Draft202012Validator

from approvals import templating
from approvals.callbacks import check_callback_url
from governance import wording
from governance.errors import Unprocessable
from governance.models import ActionType
from governance.vocabulary import Impact, Severity

FIELDS = frozenset({
    "action", "payload", "department", "severity", "impact", "justification", "on_behalf_of",
    "needed_by", "supersedes", "source", "callback_url",
})  # fmt: skip
REQUIRED = ("action", "payload", "department")
LENGTHS = {
    "action": 60,
    "department": 60,
    "justification": 4000,
    "on_behalf_of": 254,
    "supersedes": 16,
}
AMOUNT = re.compile(r"(0|[1-9][0-9]{0,15})(\.[0-9]+)?")
KEY = re.compile(r"[\x21-\x7e]{1,200}")  # visible ASCII: it stands in a header
ERRORS_SHOWN = 10
CURRENCIES = frozenset(currency.value for currency in Currency)


class Malformed(Unprocessable):
    """The body is not of the form of a submission."""

    problem, title = "malformed", "Not a submission"


class PayloadOffSchema(Unprocessable):
    """The payload is not what the action type asks for."""

    problem, title = "payload-off-schema", "The payload does not fit its schema"


class BadAmount(Unprocessable):
    """The amount is not a sum of money."""

    problem, title = "bad-amount", "Not an amount"


@dataclass(frozen=True, slots=True)
class Money:
    value: Decimal  # with its currency's decimals
    currency: str  # ISO 4217


@dataclass(frozen=True, slots=True)
class Asked:
    """A submission whose form is right. Whether it may be asked for is another question."""

    action: str
    payload: dict[str, Any]
    department: str
    severity: Severity | None
    impact: Impact | None
    justification: str
    on_behalf_of: str
    needed_by: datetime | None
    supersedes: str
    run_id: str
    source_url: str
    callback_url: str


def read(body: object) -> Asked:
    """Return the submission in a JSON body.

    Raises Malformed, naming every field at fault.
    """
    if not isinstance(body, dict):
        raise Malformed("The body is not a JSON object.")
    errors = {str(name)[:60]: "Unknown field." for name in body.keys() - FIELDS}
    errors |= {name: "Required." for name in REQUIRED if body.get(name) in (None, "")}
    for name, length in LENGTHS.items():
        errors |= _text_errors(name, body.get(name), length)
    if "payload" not in errors and not isinstance(body["payload"], dict):
        errors["payload"] = "An object."
    errors |= _choice_errors("severity", body.get("severity"), Severity)
    errors |= _choice_errors("impact", body.get("impact"), Impact)
    source = body.get("source")
    if source is not None and not isinstance(source, dict):
        errors["source"] = 'An object: {"run_id", "url"}.'
    source = source if isinstance(source, dict) else {}
    errors |= {
        f"source.{name}"[:60]: "Unknown field." for name in source.keys() - {"run_id", "url"}
    }
    errors |= _text_errors("source.run_id", source.get("run_id"), 200)
    errors |= _text_errors("source.url", source.get("url"), 500)
    if isinstance(source.get("url"), str) and not source["url"].startswith(("https://", "http://")):
        errors["source.url"] = "An http or https address."
    errors |= _text_errors("callback_url", body.get("callback_url"), 500)
    needed_by = _instant(body.get("needed_by"), errors)
    if errors:
        raise Malformed("Mend these fields and send it again.", errors=errors)
    return Asked(
        action=body["action"],
        payload=body["payload"],
        department=body["department"],
        severity=Severity(body["severity"]) if body.get("severity") else None,
        impact=Impact(body["impact"]) if body.get("impact") else None,
        justification=body.get("justification") or "",
        on_behalf_of=body.get("on_behalf_of") or "",
        needed_by=needed_by,
        supersedes=body.get("supersedes") or "",
        run_id=source.get("run_id") or "",
        source_url=source.get("url") or "",
        callback_url=_callback(body.get("callback_url")),
    )


def check_payload(action: ActionType, payload: Mapping[str, Any]) -> None:
    """Raise PayloadOffSchema, naming where and what, unless the payload fits the action type's schema."""
    found = sorted(_validator(action).iter_errors(payload), key=lambda error: error.json_path)
    if found:
        shown = [
            {
                "pointer": "/" + "/".join(map(str, error.absolute_path)),
                "detail": error.message[:300],
            }
            for error in found[:ERRORS_SHOWN]
        ]
        places = "1 place does" if len(found) == 1 else f"{len(found)} places do"
        raise PayloadOffSchema(f"{places} not fit the schema of {action}.", errors=shown)


def amount_of(action: ActionType, payload: Mapping[str, Any]) -> Money | None:
    """Return the amount that stands where the action type says, or None if it has none.

    Raises BadAmount for what is not a positive sum in a known currency with no
    more decimals than that currency has.
    """
    if not action.amount_pointer:
        return None
    found = templating.at_pointer(payload, action.amount_pointer)
    value = found.get("value") if isinstance(found, dict) else None
    code = found.get("currency") if isinstance(found, dict) else None
    if not isinstance(value, str) or not AMOUNT.fullmatch(value):
        raise BadAmount('The amount\'s value is a decimal in a string, such as "12000.00".')
    if not isinstance(code, str) or code not in CURRENCIES:
        raise BadAmount("The amount's currency is no ISO 4217 code in use.")
    decimals = Currency(code).exponent
    if decimals is None:
        raise BadAmount(f"{code} is not a currency that money is paid in.")
    amount = Decimal(value)
    if -int(amount.as_tuple().exponent) > decimals:
        raise BadAmount(f"{code} has {decimals} decimals; {value} has more.")
    if amount <= 0:
        raise BadAmount("The amount is not more than zero.")
    return in_units(amount, code)


def in_units(amount: Decimal, code: str) -> Money:
    """Return a sum with as many decimals as its currency has, as the digest writes it."""
    return Money(amount.quantize(Decimal(1).scaleb(-(Currency(code).exponent or 0))), code)


def for_keys(
    action: ActionType, payload: Mapping[str, Any], money: Money | None
) -> Mapping[str, Any]:
    """Return the payload with its amount written the one way: "12000" and "12000.00" are one effect."""
    if money is None:
        return payload
    written: Mapping[str, Any] = JsonPointer(f"{action.amount_pointer}/value").set(
        payload, str(money.value), inplace=False
    )
    return written


class Keys(NamedTuple):
    """What a payload is about, by its action type's templates."""

    business: str
    resource: str  # "" = competes with nothing
    records: list[str]  # of the snapshot plan


def keys_of(action: ActionType, payload: Mapping[str, Any], money: Money | None) -> Keys:
    """Return the keys of a payload that fits. Raises Unprocessable for what is too long to be one."""
    written = for_keys(action, payload, money)
    keys = Keys(
        templating.key(action.business_key, written),
        templating.key(action.resource_key, written),
        [templating.exact(record, payload) for record in action.snapshot_plan],
    )
    if len(keys.business) > 400 or max(map(len, [keys.resource, *keys.records])) > 300:
        raise Unprocessable("What names the record and the document is too long to be a key.")
    return keys


def title_of(action: ActionType, payload: Mapping[str, Any], money: Money | None) -> str:
    """Return the request's title: verb, amount, counterparty, made safe to show."""
    amount = wording.money(money.value, money.currency) if money else ""
    return wording.plain(templating.title(action.title, payload, amount=amount), 300)


def impact_of(action: ActionType, money: Money | None) -> Impact:
    """Return the action type's impact for this amount: the gravest of the bands it reaches."""
    return action.impact_for(money.value, money.currency) if money else action.impact_for(None, "")


@lru_cache(maxsize=256)
def action_type(version: int) -> ActionType:
    """Return one version of an action type, by primary key.

    Cached for the life of the process, as a version's content never changes. Its
    state does, so whether it is in production is asked each time, and not of this.
    """
    found: ActionType = ActionType.objects.get(pk=version)
    return found


@lru_cache(maxsize=256)  # by primary key, as models are compared
def _validator(action: ActionType) -> Draft202012Validator:
    """Return the compiled schema of one version of an action type, which never changes."""
    return Draft202012Validator(action.schema)


def _text_errors(name: str, value: object, length: int) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, str):
        return {name: "Text."}
    return {name: f"At most {length} characters."} if len(value) > length else {}


def _choice_errors(name: str, value: object, choices: type[Severity | Impact]) -> dict[str, str]:
    if value is None or value in choices.values:
        return {}
    return {name: f"One of {', '.join(choices.values)}."}


def _instant(value: object, errors: dict[str, str]) -> datetime | None:
    if value is None:
        return None
    try:
        found = parse_datetime(value) if isinstance(value, str) else None
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        errors["needed_by"] = "An instant with its offset, such as 2026-11-20T16:35:00Z."
    return found


def _callback(url: str | None) -> str:
    if not url:
        return ""
    check_callback_url(url)
    return url
