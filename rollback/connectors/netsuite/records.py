"""How records are named, addressed and written in SuiteTalk REST."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from uuid import UUID, uuid5

import simplejson

from rollback.connectors.base import Json

BILL, PAYMENT, CREDIT = "vendorBill", "vendorPayment", "vendorCredit"
MADE = (BILL, PAYMENT, CREDIT)
READ = (*MADE, "vendor")
INTO = (PAYMENT, CREDIT)  # what a bill can be transformed into
AMOUNTS = ("amount", "rate")  # fields that hold a decimal: text in a body, a number as it is sent
RECORDS = "/services/rest/record/v1"
JOBS = "/services/rest/async/v1/job"
VERSION = "lastModifiedDate"
_ID = re.compile(r"[0-9]{1,19}")
_EXTERNAL = re.compile(r"eid:.{1,200}", re.DOTALL)
_JOB = re.compile(re.escape(JOBS) + r"/([A-Za-z0-9_-]{1,80})/?")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,8})?")
_KEYS = UUID("8f7c1c53-6d0a-5d0e-9a57-6f3b0f2f4b11")  # of ours, so that they are nobody else's


@dataclass(frozen=True, slots=True)
class Creation:
    """One record to be made: what a unit's body holds, {"type", "fields", "from"?, "guard"?}."""

    type: str
    fields: Json
    bill: str  # the internal id of the bill that it is made from by a transform; "" for none
    guard: str  # the record whose version must still be what it was; "" for none

    @property
    def path(self) -> str:
        """Where it is sent to."""
        if self.bill:
            return f"{RECORDS}/{BILL}/{self.bill}/!transform/{self.type}"
        return f"{RECORDS}/{self.type}"

    def content(self, key: str) -> bytes:
        """Write it as it is sent, under the external id that a key of ours has there.

        Amounts are numbers of exactly the digits that were approved: they are
        never a float on the way.
        """
        sent = {**self.fields, "externalId": external_id(key)}
        written: str = simplejson.dumps(_numbered(sent), use_decimal=True, separators=(",", ":"))
        return written.encode()


def creation(body: Any) -> Creation:
    """Read a unit's body. Raises ValueError if it is none of ours."""
    if not isinstance(body, dict) or set(body) - {"type", "fields", "from", "guard"}:
        raise ValueError("A record to be made has type, fields, from and guard, and nothing else.")
    made, fields, bill = body.get("type"), body.get("fields"), str(body.get("from") or "")
    if made not in MADE:
        raise ValueError(f"A record to be made is a {', '.join(MADE)}.")
    if not isinstance(fields, dict) or "externalId" in fields:
        raise ValueError("Its fields are an object, and externalId is ours to set.")
    if bill and made not in INTO:
        raise ValueError(f"A {BILL} is made from nothing; leave out “from”.")
    if bill and not _ID.fullmatch(bill):
        raise ValueError("“from” is the internal id of a bill: digits.")
    _numbered(fields)
    return Creation(str(made), fields, bill, str(body.get("guard") or ""))


def place_of(record: str, target: str) -> tuple[str, str]:
    """Return the type of a snapshot's record and its path: "netsuite:vendorBill:417" or "…:eid:BILL%2F7".

    Raises ValueError for what is no record of this target.
    """
    start, _, rest = record.partition(":")
    type_, _, name = rest.partition(":")
    name = unquote(name)
    known = type_ in READ and (_ID.fullmatch(name) or _EXTERNAL.fullmatch(name))
    if start != target or not known:
        raise ValueError(
            f"{record} is no record that is read here: {target}:TYPE:ID, or {target}:TYPE:eid:EXTERNAL-ID,"
            f" where TYPE is {', '.join(READ)}."
        )
    return type_, f"{RECORDS}/{type_}/{_segment(name)}"


def external_id(key: str) -> str:
    """Return the external id under which what is done with this key of ours stands in NetSuite.

    A digest: which characters an external id may have, in a record and in an
    address, is not verified.
    """
    return f"recourse-{hashlib.sha256(key.encode()).hexdigest()[:40]}"


def idempotency_key(key: str) -> str:
    """Return a key of ours as the UUID that X-NetSuite-Idempotency-Key takes."""
    return str(uuid5(_KEYS, key))


def by_key(made: str, key: str) -> str:
    """Return the path of the record that was made with this key, if it was."""
    return f"{RECORDS}/{made}/eid:{external_id(key)}"


def made_at(location: str, made: str) -> str:
    """Return the internal id out of the Location of what was made, "" if it names none of this type."""
    found = re.fullmatch(rf"{re.escape(RECORDS)}/{made}/([0-9]{{1,19}})/?", _path_of(location))
    return found[1] if found else ""


def job_at(location: str) -> str:
    """Return the id of a job out of a Location, "" if it names none.

    Only the id is taken: our token goes to no address that an answer names.
    """
    found = _JOB.fullmatch(_path_of(location))
    return found[1] if found else ""


def plain_state(record: Mapping[str, Any]) -> Json:
    """Return what a record holds: without its version, and without links, which are addresses."""
    return {
        name: _without_links(value)
        for name, value in record.items()
        if name not in (VERSION, "links")
    }


def exact(digits: str) -> str:
    """Return a number of an answer as a decimal text, spelled one way: "12000.50" is "12000.5".

    Raises ValueError for one that nobody means as an amount.
    """
    value = Decimal(digits)
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or abs(exponent) > 30 or len(value.as_tuple().digits) > 40:
        raise ValueError("a number out of all proportion")
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _without_links(value: Any) -> Any:
    match value:
        case dict():
            return {k: _without_links(v) for k, v in value.items() if k != "links"}
        case list():
            return [_without_links(each) for each in value]
    return value


def _numbered(value: Any, name: str = "") -> Any:
    """Return fields with their amounts as Decimal.

    Raises ValueError for floats, and for an amount that is no plain decimal.
    """
    match value:
        case dict():
            return {key: _numbered(each, str(key)) for key, each in value.items()}
        case list():
            return [_numbered(each) for each in value]
        case float():
            raise ValueError(f"“{name}” is a floating-point number; write amounts as text.")
        case str() if name in AMOUNTS:
            if not _DECIMAL.fullmatch(value):
                raise ValueError(f"“{name}” is no amount: {value!r}.")
            return Decimal(value)
    return value


def _path_of(location: str) -> str:
    try:
        return urlsplit(location).path
    except ValueError:
        return ""


def _segment(name: str) -> str:
    # The colon of "eid:" stays as the documentation writes it; all else that could end the segment is encoded.
    if name.startswith("eid:"):
        return f"eid:{quote(name.removeprefix('eid:'), safe='')}"
    return quote(name, safe="")
