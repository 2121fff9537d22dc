"""A customer's record in four parts: two addresses, a contact and the payment terms.

A part has no text of ours, so the mark is kept in a contact of its own kind,
entered in the same write and then put out of sight. It says as well how the
write left the part: only that can be put back without asking whose work it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from rollback.connectors.base import Json, Reading, Receipt, Rejected
from rollback.connectors.tryton import keys
from rollback.connectors.tryton.asking import Ask, Asks
from rollback.connectors.tryton.operations import lookups
from rollback.connectors.tryton.operations.base import Listed, Operation, done
from rollback.connectors.tryton.operations.lookups import Row

PARTY, ADDRESS, CONTACT = "party.party", "party.address", "party.contact_mechanism"
KEPT_AS = "Recourse"
EITHER = ["active", "in", [True, False]]


class Part(NamedTuple):
    """One part of a party."""

    fields: tuple[str, ...]  # of its state
    model: str  # where it stands; "" for a field of the party itself
    domain: list[Any]  # which row it is, of the party's


PARTS: Mapping[str, Part] = {
    "billing-address": Part(
        ("street", "city", "postal_code", "country"), ADDRESS, [["invoice", "=", True]]
    ),
    "shipping-address": Part(
        ("street", "city", "postal_code", "country"), ADDRESS, [["delivery", "=", True]]
    ),
    "contact": Part(("email",), CONTACT, [["type", "=", "email"]]),
    "terms": Part(("payment_terms",), "", []),
}
LISTS = {ADDRESS: "addresses", CONTACT: "contact_mechanisms"}
READ = {
    ADDRESS: ("street", "city", "postal_code", "country.code", "_timestamp"),
    CONTACT: ("value", "_timestamp"),
}


class Found(NamedTuple):
    """A part as it is: whose it is, its row if it has one, and what Recourse sees of it."""

    party: Row
    row: Row | None
    reading: Reading | None


def find_updated(key: str) -> Asks[Receipt | None]:
    """Return the change that was made under this key, and how it left the part."""
    found = yield from lookups.rows(
        CONTACT,
        [["type", "=", "other"], ["value", "=", keys.mark(keys.UPDATE, key)], EITHER],
        ["party", "comment"],
        about="Ask for the change by its key",
    )
    if not found:
        return None
    return _receipt(found[0])


def _receipt(kept: Row) -> Receipt:
    try:
        told = json.loads(kept["comment"] or "")
        left = Reading(dict(told["left"]), str(told["version"]))
        part = str(told["part"])
    except (ValueError, TypeError, KeyError):
        # Somebody wrote over it. That it is there says that the change was made.
        return Receipt(f"change {kept['id']}", {"party": kept["party"]})
    return Receipt(f"change {kept['id']}", {"party": kept["party"], "part": part}, left)


def update(body: Json, key: str, version: str) -> Asks[Receipt]:
    """Write one part, if it still has `version`, with our key in the same transaction."""
    part = PARTS[body["part"]]
    found = yield from look(body["party"], body["part"], as_of=version)
    if found is None:
        raise Rejected(f"There is no customer {lookups.words(body['party'])}.")
    known = yield from find_updated(key)
    if known is not None:
        return known
    now = found.reading
    if version and (now is None or now.version != version):
        raise Rejected("Somebody else has changed it since.")
    values = {name: body["values"].get(name, "").strip() for name in part.fields}
    row_id = None if found.row is None else found.row.get("id")
    kept = {
        "part": body["part"],
        "left": values,
        # Known only afterwards; until it is read, this is a version that the part has no more.
        "version": now.version if now is not None else "new",
    }
    write = yield from _write(part, values, row_id)
    mark = {
        "type": "other", "value": keys.mark(keys.UPDATE, key), "name": KEPT_AS,
        "comment": json.dumps(kept, separators=(",", ":")),
    }  # fmt: skip
    contacts = [*write.pop("contact_mechanisms", []), ["create", [mark]]]
    unchanged = {f"{PARTY},{found.party['id']}": found.party["_timestamp"]}
    if part.model and found.row is not None:
        unchanged[f"{part.model},{found.row['id']}"] = found.row["_timestamp"]
    # Stale, it may be another part that somebody wrote: whoever looks again knows.
    yield Ask(
        f"model.{PARTY}.write",
        ([found.party["id"]], {**write, "contact_mechanisms": contacts}),
        about=f"Write the {body['part']}, and our key beside it",
        context={"_timestamp": unchanged},
        effect=True,
    )
    receipt = yield from _put_away(body, key, values)
    return receipt


def _put_away(body: Json, key: str, values: Json) -> Asks[Receipt]:
    """Put our key out of sight, and read the version of what we wrote."""
    rows = yield from lookups.rows(
        CONTACT,
        [["type", "=", "other"], ["value", "=", keys.mark(keys.UPDATE, key)], EITHER],
        ["party", "comment", "active"],
        about="Read our key",
        well=[
            {
                "id": "{id of the change}",
                "party": "{id of the customer}",
                "comment": json.dumps({"part": body["part"], "left": values, "version": "1"}),
                "active": True,
            }
        ],
    )
    receipt = done(_receipt(rows[0]) if rows else None, "Tryton said yes")
    if rows[0]["active"]:
        yield Ask(
            f"model.{CONTACT}.write",
            ([rows[0]["id"]], {"active": False}),
            about="Put our key out of sight",
        )
    found = yield from look(body["party"], body["part"])
    now = None if found is None else found.reading
    left = receipt.left
    if now is not None and left is not None and now.state == left.state:
        left = now
    return Receipt(receipt.reference, receipt.data, left)


def _write(part: Part, values: Json, row: Any) -> Asks[dict[str, Any]]:
    """Return what is to be written of the party."""
    if not part.model:
        name = values["payment_terms"]
        if not name:
            return {"customer_payment_term": None}
        terms = yield from lookups.only(
            "account.invoice.payment_term",
            [["name", "=", name]],
            ["name"],
            what=f"the payment terms {name}",
            well={"id": f"{{id of {name}}}"},
        )
        return {"customer_payment_term": terms["id"]}
    if part.model == CONTACT:
        new = {"value": values["email"]}
        made = {**new, "type": "email"}
    else:
        new = {name: values[name] for name in ("street", "city", "postal_code")}
        new["country"] = yield from _country(values["country"])
        made = {**new, **{field: value for field, _, value in part.domain}}
    command = ["create", [made]] if row is None else ["write", [row], new]
    return {LISTS[part.model]: [command]}


def _country(code: str) -> Asks[Any]:
    if not code:
        return None
    found = yield from lookups.only(
        "country.country",
        [["code", "=", code]],
        ["code"],
        what=f"the country {code}",
        well={"id": f"{{id of {code}}}"},
    )
    return found["id"]


# --- As it is -----------------------------------------------------------------------------------


def look(named: Mapping[str, str], name: str, *, as_of: str = "") -> Asks[Found | None]:
    """Return one part of a party as it is now; None if there is no such party.

    Args:
        as_of: the version that it has if all is well.
    """
    part = PARTS[name]
    customer = lookups.words(named)
    row, _, stamp = (as_of or "{its id}@{its version}").partition("@")
    party = yield from lookups.one(
        PARTY,
        lookups.by(named),
        ["customer_payment_term", "customer_payment_term.name", "_timestamp"],
        what=f"the customer {customer}",
        well={
            "id": f"{{id of {customer}}}",
            "customer_payment_term": stamp,
            "customer_payment_term.": {"name": "{its terms}"},
            "_timestamp": "{its version}",
        },
    )
    if party is None:
        return None
    if not part.model:
        terms = party["customer_payment_term."] or {}
        # Its own version: the party's changes with every part of it.
        version = f"terms@{party['customer_payment_term'] or 0}"
        return Found(party, None, Reading({"payment_terms": terms.get("name") or ""}, version))
    rows = yield from lookups.rows(
        part.model,
        [["party", "=", party["id"]], *part.domain],
        READ[part.model],
        about=f"Read the {name}",
        well=[_a_row(part, row, stamp)],
        most=1,
    )
    if not rows:
        return Found(party, None, None)
    return Found(party, rows[0], Reading(_state(part, rows[0]), _version(rows[0])))


def _a_row(part: Part, row: str, stamp: str) -> Row:
    if part.model == CONTACT:
        return {"id": row, "value": "{its address}", "_timestamp": stamp}
    state = dict.fromkeys(("street", "city", "postal_code"), "")
    return {**state, "id": row, "country.": None, "_timestamp": stamp}


def _state(part: Part, row: Row) -> Json:
    if part.model == CONTACT:
        return {"email": row["value"]}
    country = row["country."] or {}
    return {
        "street": row["street"] or "",
        "city": row["city"] or "",
        "postal_code": row["postal_code"] or "",
        "country": country.get("code") or "",
    }


def _version(row: Row) -> str:
    return f"{row['id']}@{row['_timestamp']}"


def fits(body: Json) -> None:
    """Raise ValueError for values that are not the part's own: what is left out would be emptied."""
    wanted, told = set(PARTS[body["part"]].fields), set(body["values"])
    if told and told != wanted:
        raise ValueError(f"A {body['part']} has {', '.join(sorted(wanted))}, and all of them.")


UPDATE = Operation(
    lookups.schema({
        "party": lookups.NAMED,
        "part": {"enum": list(PARTS)},
        "values": {"type": "object", "additionalProperties": {"type": "string"}},
    }),
    update,
    find_updated,
    Listed(CONTACT, "value", "create_date", (["type", "=", "other"],)),
    fits,
)  # fmt: skip
