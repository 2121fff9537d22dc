"""The connector itself: an action type's configuration, put to work on Tryton.

The configuration, by example (docs/decisions/0059 says why):

    {
      "target": "tryton",                 whose address, user and password are in the environment
      "units": [ {"name": …, "undo_name": …, "amount": …, "record": …,
                  "request": {"operation": "pay_supplier_invoice",
                              "party": {"name": {"$eval": "payload.vendor"}}, …}} ],
      "reversals": {"credit_memo": {"operation": "credit_supplier_invoice",
                                    "invoice": {"$eval": "receipt.data.invoice"}, …}},
      "records": [ {"prefix": "tryton:vendor-bill:", "kind": "supplier_invoice", "by": "name"} ],
      "basis": ["tryton:vendor-bill:{/vendor}/{/invoice}"],
      "facts": {…}                        as for the connector `http`
    }

`units` and `reversals` are json-e templates. `operations` has what each operation takes,
`records` which kinds there are and how their keys end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import unquote

from django.conf import settings

from approvals import templating
from governance import wording
from governance.models import ActionType
from rollback.connectors import client, references
from rollback.connectors.base import (
    AS_BEFORE,
    AS_READ,
    Action,
    Call,
    Gives,
    Json,
    OutcomeUnknown,
    Page,
    Plan,
    Reading,
    Receipt,
    Rejected,
)
from rollback.connectors.templates import Configured, Tried, amount_of, context_of, render
from rollback.connectors.tryton import listing, session
from rollback.connectors.tryton.asking import Ask, Asks, dry
from rollback.connectors.tryton.operations import OPERATIONS
from rollback.connectors.tryton.records import KINDS, segments_of
from rollback.connectors.tryton.shape import body_of, complaints, operations_in

T = TypeVar("T")
NAME = 200  # characters
A_KEY = "key~0/1"  # of a unit that is not sent
A_VERSION = ""  # of a record that is not read: none is compared
RESTORE = ActionType.Reversal.RESTORE


class TrytonConnector:
    """A `Connector` for one action type. Cheap to make; makes no call when made."""

    timeout_s = client.WITHIN_S  # of all calls that one method makes
    gives = Gives(native_keys=False, lookup=True, optimistic_locking=True)

    def __init__(self, configured: Configured) -> None:
        """Take the configuration as it is: `problems` has looked at it when we started."""
        self._config: Mapping[str, Any] = configured.connector_config
        self._undone = configured.reversal != ActionType.Reversal.NONE
        self._code = configured.reversal_code
        self.target: str = self._config.get("target", "")
        self._templates = (self._config.get("units"), self._config.get("reversals", {}))
        self._known = operations_in(list(self._templates))
        self.lists: Sequence[str] = sorted({OPERATIONS[name].listed.name for name in self._known})

    # --- Pure ---------------------------------------------------------------------------------

    def units(self, action: Action) -> Sequence[Plan]:
        """Turn an action into its units, in order; never empty.

        Raises ValueError if the payload cannot be turned into units.
        """
        found = render(self._templates[0], context_of(action), what="units")
        if not isinstance(found, list) or not found:
            raise ValueError("This payload has no units.")
        return [self._plan(each, action) for each in found]

    def reversal(self, action: Action, body: Json, receipt: Json) -> Json:
        """Return the body that takes back a unit that was done.

        Raises ValueError if there is none for it.
        """
        return self._back({**context_of(action), "body": body, "receipt": receipt})

    def restoration(self, record: str, state: Json) -> Json:
        """Return the body that puts a record's state back.

        Raises ValueError if there is none for it.
        """
        return self._back({"record": record, "path": self._place(record)[1], "state": state})

    def calls(self, body: Json, *, key: str, version: str = "") -> Sequence[Call]:
        """Return the calls that `send` makes of this. Raises ValueError for a body that is none of ours."""
        body = body_of(body, known=self._known)
        version = A_VERSION if version == AS_READ else version
        asked, _ = dry(OPERATIONS[body["operation"]].run(body, key, version))
        return self._shown(asked)

    def specimen(self, body: Json) -> Json | None:
        """Return a receipt such as this body might get; what only Tryton knows stands in braces."""
        body = body_of(body, known=self._known)
        _, receipt = dry(OPERATIONS[body["operation"]].run(body, A_KEY, ""))
        return {"reference": receipt.reference, "data": receipt.data}

    def specimen_of(self, record: str) -> Json:
        """Return this record's fields by their names; what they hold stands in braces."""
        _, reading = dry(self._reading(record))
        if reading is None:
            return AS_BEFORE
        return {name: f"{{{name} as the snapshot has it}}" for name in reading.state}

    def calls_to_read(self, record: str) -> Sequence[Call]:
        """Return the calls that `read` makes. Raises ValueError for a record it does not know."""
        asked, _ = dry(self._reading(record))
        return self._shown(asked)

    # --- Outside ------------------------------------------------------------------------------

    def read(self, record: str) -> Reading | None:
        """Return a record as it is now; None if Tryton does not have it. Raises CallFailed."""
        return self._told(self._reading(record))

    def send(self, body: Json, *, key: str, version: str = "") -> Receipt:
        """Have Tryton do one unit under `key`, if the record still has `version`.

        Done under this key before, it is not done again: the receipt is the same.

        Raises CallFailed; ValueError for a body that is none of ours.
        """
        body = body_of(body, known=self._known)
        receipt = self._talk().run(OPERATIONS[body["operation"]].run(body, key, version))
        return _storable(receipt)

    def probe(self, key: str) -> Receipt | None:
        """Return what was done under `key`; None if it was not, or only begun. Raises CallFailed.

        What was begun and not finished has changed no books; `send` goes on with it.
        """
        receipt = self._told(self._find(key))
        return None if receipt is None else _storable(receipt)

    def listed(self, name: str, after: str) -> Page:
        """Return the marks of one list after a place in it, ours and whatever looks like them. Raises CallFailed."""
        return self._told(listing.page(listing.LISTS[name], after))

    # --- At start -----------------------------------------------------------------------------

    @classmethod
    def problems(
        cls,
        config: Mapping[str, Any],
        *,
        reversal: str,
        code: str,
        example: Action,
        records: Sequence[str],
        read: Sequence[str],
    ) -> Sequence[str]:
        """Return, in sentences, why an action type with this configuration could not run or be undone.

        Its templates are filled with the example, and nothing is called.
        """
        found = list(complaints(config))
        undone = reversal != ActionType.Reversal.NONE
        if not found and undone and code not in config.get("reversals", {}):
            found.append(f"Its reversal “{code}” is not in the configuration of its connector.")
        if not found:
            try:
                tried = cls(Tried(config, reversal, code))
                tried._try(reversal, example, records)
                for record in (*records, *read):
                    tried.calls_to_read(record)
            except ValueError as problem:
                found.append(str(problem))
        return found

    def _try(self, reversal: str, example: Action, records: Sequence[str]) -> None:
        for plan in self.units(example):
            if OPERATIONS[plan.body["operation"]].goes_back_only:
                raise ValueError(
                    f"“{plan.name}” takes several writes, so it can take back and be no unit."
                )
            if plan.record and plan.record not in records:
                raise ValueError(f"A unit writes {plan.record}, which no snapshot is taken of.")
            self.calls(plan.body, key=A_KEY)
            if reversal == RESTORE:
                if not plan.record:
                    raise ValueError(f"“{plan.name}” names no record, so it cannot be restored.")
                self.calls(self.restoration(plan.record, {}), key=A_KEY)
            elif self._undone:
                receipt = self.specimen(plan.body) or {}
                self.calls(self.reversal(example, plan.body, receipt), key=A_KEY)

    # --- Parts --------------------------------------------------------------------------------

    def _plan(self, unit: Any, action: Action) -> Plan:
        if not isinstance(unit, dict) or not isinstance(unit.get("name"), str):
            raise ValueError("A unit is an object with a name and a request.")
        amount, currency = amount_of(unit.get("amount"))
        return Plan(
            name=wording.plain(unit["name"], NAME),
            body=body_of(unit.get("request"), known=self._known),
            undo_name=wording.plain(str(unit.get("undo_name") or ""), NAME) if self._undone else "",
            record=templating.exact(str(unit.get("record") or ""), action.payload),
            amount=amount,
            currency=currency,
        )

    def _back(self, context: Mapping[str, Any]) -> Json:
        if self._code not in self._templates[1]:
            raise ValueError(f"There is no reversal “{self._code}”.")
        body = render(self._templates[1][self._code], context, what=f"reversal {self._code}")
        return body_of(body, known=self._known)

    def _place(self, record: str) -> tuple[Json, Sequence[str]]:
        """Return how a record is configured, and the segments of its key after the prefix.

        Raises ValueError if it is not.
        """
        entries = [
            each for each in self._config.get("records", ()) if record.startswith(each["prefix"])
        ]
        if not entries:
            raise ValueError(f"The connector does not know where {record} is.")
        entry: Json = max(entries, key=lambda each: len(each["prefix"]))
        rest = record.removeprefix(entry["prefix"])
        segments = [unquote(each) for each in rest.split("/")] if rest else []
        return entry, segments_of(entry["kind"], segments)

    def _reading(self, record: str) -> Asks[Reading | None]:
        entry, segments = self._place(record)
        return KINDS[entry["kind"]].read(entry, segments)

    def _find(self, key: str) -> Asks[Receipt | None]:
        for name in sorted(self._known):
            found = yield from OPERATIONS[name].find(key)
            if found is not None:
                return found
        return None

    def _talk(self) -> session.Talk:
        return session.Talk(
            self.target, settings.TARGETS.get(self.target, {}), within_s=self.timeout_s
        )

    def _told(self, asks: Asks[T]) -> T:
        """Return the answer to a question. Refusing to answer settles nothing: it is asked again."""
        try:
            return self._talk().run(asks)
        except Rejected as problem:
            raise OutcomeUnknown(problem.said) from problem

    def _shown(self, asked: Sequence[Ask]) -> Sequence[Call]:
        user = references.variable(self.target, "user")
        headers = session.head(f"Session {{session of {user.strip('{}')}}}")
        address = references.address(self.target) + session.RPC
        return [
            Call("POST", address, headers, _as_sent(ask, n), ask.about)
            for n, ask in enumerate(asked, start=1)
        ]


def _as_sent(ask: Ask, n: int) -> Json:
    context = {**dict.fromkeys(session.CONTEXT[:1], "{id of its company}"), **ask.context}
    said = {"id": n, "method": ask.method, "params": [*ask.args, context]}
    shown: Json = json.loads(json.dumps(said, default=str))
    return shown


def _storable(receipt: Receipt) -> Receipt:
    return Receipt(wording.plain(receipt.reference, NAME), receipt.data, receipt.left)
