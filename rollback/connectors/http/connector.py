"""The connector itself: an action type's configuration, put to work.

The configuration, by example (docs/decisions/0031 says why):

    {
      "target": "demo",                      whose address and token are in the environment
      "gives": {"native_keys": true, "optimistic_locking": true},
      "units": [ {"name": …, "undo_name": …, "amount": …, "record": …,
                  "request": {"method": "POST", "path": ["payments"], "json": {…}}} ],
      "receipt": {"reference": …, "data": …},    of {answer}; {reference} and all of it by default
      "left": …,                                 the record in the answer of a write, if it is there
      "records": [ {"prefix": "demo:vendor:", "path": ["vendors"]} ],
      "lookup": {"path": ["operations"], "query": {"key": {"$eval": "key"}}, "answer": …},
      "listing": {"path": ["operations"], "query": {"after": {"$eval": "after"}}, "first": "0",
                  "effects": …, "after": …, "more": …},   of {answer} and {after}: what the target did
      "reversals": {"credit_memo": {"method": …, "path": …, "json": …}},
      "basis": ["demo:customer:{/customer}/terms"],   records an approval rests on: read at submission
      "facts": {"credit_limit": {"record": "demo:customer:{/customer}", "pointer": "/credit_limit",
                                 "money": "USD", "default": …}},   what rules of a policy may speak of
      "example_answer": {…}                      of a write, so that all this can be tried at start
    }

`units`, `receipt`, `left`, `lookup`, `listing` and `reversals` are json-e templates. A
record's key goes on after its prefix with segments of the path, percent-encoded. Of a
listing `effects` gives [{"key", "reference", "at"}], the oldest first, `after` the text to
go on after next time, `more` whether there is more now; docs/decisions/0077 has what a
list must be.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import httpx2
from django.conf import settings

from approvals import templating
from governance import wording
from governance.models import ActionType
from rollback.connectors import answers, client, references
from rollback.connectors.base import (
    AS_BEFORE,
    Action,
    Call,
    Effect,
    Gives,
    Json,
    NotDone,
    OutcomeUnknown,
    Page,
    Plan,
    Reading,
    Receipt,
    Rejected,
)
from rollback.connectors.http.shape import complaints
from rollback.connectors.http.templating import address, header, outgoing
from rollback.connectors.templates import Configured, Tried, amount_of, context_of, render

KEY_HEADER = "Idempotency-Key"
RECEIPT = {"reference": {"$eval": "answer.reference"}, "data": {"$eval": "answer"}}
NAME = 200  # characters
MOST_UNITS = 500  # of an example, of which each is shown, and failed twice by a drill
LIST_NAME, PLACE = 300, 500  # characters, of a bookmark
NOT_THERE = 404


class HttpConnector:
    """A `Connector` for one action type. Cheap to make; makes no call when made."""

    timeout_s = client.WITHIN_S

    def __init__(self, configured: Configured) -> None:
        """Take the configuration as it is: `problems` has looked at it when we started."""
        self._config: Mapping[str, Any] = configured.connector_config
        self._undone = configured.reversal != ActionType.Reversal.NONE
        self._code = configured.reversal_code
        gives = self._config.get("gives", {})
        self.target: str = self._config.get("target", "")
        self.gives = Gives(
            native_keys=bool(gives.get("native_keys")),
            lookup="lookup" in self._config,
            optimistic_locking=bool(gives.get("optimistic_locking")),
        )

    @property
    def lists(self) -> Sequence[str]:
        """The one list of the configuration, by its address, or none."""
        return [self._place_of_list(self._first)] if "listing" in self._config else []

    # --- Pure ---------------------------------------------------------------------------------

    def units(self, action: Action) -> Sequence[Plan]:
        """Turn an action into its units, in order; never empty.

        Raises ValueError if the payload cannot be turned into units.
        """
        found = render(self._config.get("units"), context_of(action), what="units")
        if not isinstance(found, list) or not found:
            raise ValueError("This payload has no units.")
        return [self._plan(each, action) for each in found]

    def reversal(self, action: Action, body: Json, receipt: Json) -> Json:
        """Return the body that takes back a unit that was done.

        Raises ValueError if there is none for it.
        """
        context = {**context_of(action), "body": body, "receipt": receipt}
        return self._back(context)

    def restoration(self, record: str, state: Json) -> Json:
        """Return the body that puts a record's state back.

        Raises ValueError if there is none for it.
        """
        return self._back({"record": record, "path": self._place(record)[1], "state": state})

    def calls(self, body: Json, *, key: str, version: str = "") -> Sequence[Call]:
        """Return the one call that `send` makes of this. Raises ValueError for a body that is none of ours."""
        going = outgoing(body)
        return [self._shown(going.method, going.path, self._named(key, version), going.content)]

    def specimen(self, body: Json) -> Json | None:
        """Return the receipt that the configuration's example of an answer gives; None without one."""
        if "example_answer" not in self._config:
            return None
        done = self._receipt(self._config["example_answer"], httpx2.Response(200))
        return {"reference": done.reference, "data": done.data}

    def specimen_of(self, record: str) -> Json:
        """Return what stands for a record's state: no configuration names its fields."""
        return AS_BEFORE

    def calls_to_read(self, record: str) -> Sequence[Call]:
        """Return the one call that `read` makes. Raises ValueError for a record it does not know."""
        return [self._shown("GET", address(self._place(record)[1]))]

    # --- Outside ------------------------------------------------------------------------------

    def read(self, record: str) -> Reading | None:
        """Return a record as it is now; None if the target does not have it. Raises CallFailed."""
        entry, path = self._place(record)
        answer = self._call("GET", address(path))
        if answer.status_code == NOT_THERE:
            return None
        found = self._told(answer)
        if "reading" in entry:
            context = {"answer": found, "etag": answer.headers.get("etag", "")}
            found = self._understood(entry["reading"], context, answer, "reading")
        return answers.reading(found, answer.headers.get("etag", ""))

    def send(self, body: Json, *, key: str, version: str = "") -> Receipt:
        """Have the target do one unit under `key`, if the record still has `version`.

        Raises CallFailed; ValueError for a body that is none of ours.
        """
        going = outgoing(body)
        answer = self._call(going.method, going.path, self._named(key, version), going.content)
        return self._receipt(answers.judge(answer, token=self._token), answer)

    def probe(self, key: str) -> Receipt | None:
        """Return what was done under `key`; None if the target knows nothing of it. Raises CallFailed."""
        lookup = render(
            {name: self._config["lookup"].get(name) for name in ("path", "query")},
            {"key": header(key)},
            what="lookup",
        )
        answer = self._call("GET", address(lookup["path"], lookup["query"]))
        if answer.status_code in self._config["lookup"].get("absent", ()):
            return None
        found = self._told(answer)
        template = self._config["lookup"].get("answer", {"$eval": "answer"})
        done = self._understood(template, {"answer": found, "key": header(key)}, answer, "lookup")
        return None if done is None else self._receipt(done, answer)

    def listed(self, name: str, after: str) -> Page:
        """Return what the target did after a place in its list. Raises CallFailed."""
        try:
            place = self._place_of_list(after or self._first)
        except ValueError as problem:
            raise OutcomeUnknown(
                f"The list cannot be asked for after {after}: {problem}"
            ) from problem
        answer = self._call("GET", place)
        context = {"answer": self._told(answer), "after": after or self._first}
        template = {part: self._config["listing"][part] for part in ("effects", "after", "more")}
        found = self._understood(template, context, answer, "listing")
        # A part whose template comes to nothing, as an $if without an else, is left out.
        told, goes_on = found.get("effects"), found.get("after")
        if not isinstance(told, list) or not isinstance(goes_on, str) or "more" not in found:
            answers.unreadable(answer, "is no list of what was done")
        if len(goes_on) > PLACE or wording.plain(goes_on, PLACE) != goes_on:
            answers.unreadable(answer, "does not say where the list goes on in a text we can keep")
        return Page([_effect(each, answer) for each in told], goes_on, bool(found["more"]))

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
                    address(tried._place(record)[1])
            except (ValueError, OutcomeUnknown) as problem:
                found.append(str(problem))
        return found

    def _try(self, reversal: str, example: Action, records: Sequence[str]) -> None:
        plans = self.units(example)
        if len(plans) > MOST_UNITS:
            raise ValueError(
                f"Its example comes to {len(plans):,} units: {MOST_UNITS} at most are shown and rehearsed."
            )
        for plan in plans:
            if plan.record and plan.record not in records:
                raise ValueError(f"A unit writes {plan.record}, which no snapshot is taken of.")
            if reversal == ActionType.Reversal.RESTORE:
                if "left" not in self._config:
                    raise ValueError(
                        "It is restored from snapshots, and “left” does not say how its writes leave a record."
                    )
                if not plan.record:
                    raise ValueError(f"“{plan.name}” names no record, so it cannot be restored.")
                self.restoration(plan.record, {})
            elif (receipt := self.specimen(plan.body)) is not None:
                if self._undone:
                    self.reversal(example, plan.body, receipt)
            elif self._undone:
                raise ValueError("Its reversal cannot be tried: there is no example_answer.")
        if "lookup" in self._config:
            found = render(self._config["lookup"]["path"], {"key": "key"}, what="lookup")
            query = render(self._config["lookup"].get("query"), {"key": "key"}, what="lookup")
            address(found, query)
        for name in self.lists:
            if len(name) > LIST_NAME:
                raise ValueError(f"The address of its list has {LIST_NAME} characters at most.")
            self._place_of_list("a place that a page ended at")

    # --- Parts --------------------------------------------------------------------------------

    def _plan(self, unit: Any, action: Action) -> Plan:
        if not isinstance(unit, dict) or not isinstance(unit.get("name"), str):
            raise ValueError("A unit is an object with a name and a request.")
        outgoing(unit.get("request"))  # or it would fail when it is sent, which is too late
        amount, currency = amount_of(unit.get("amount"))
        return Plan(
            name=wording.plain(unit["name"], NAME),
            body=unit["request"],
            undo_name=wording.plain(str(unit.get("undo_name") or ""), NAME) if self._undone else "",
            record=templating.exact(str(unit.get("record") or ""), action.payload),
            amount=amount,
            currency=currency,
        )

    def _back(self, context: Mapping[str, Any]) -> Json:
        templates = self._config.get("reversals", {})
        if self._code not in templates:
            raise ValueError(f"There is no reversal “{self._code}”.")
        body: Json = render(templates[self._code], context, what=f"reversal {self._code}")
        outgoing(body)
        return body

    def _place(self, record: str) -> tuple[Mapping[str, Any], list[str]]:
        """Return how a record is configured, and the segments of its path."""
        known = [
            each for each in self._config.get("records", ()) if record.startswith(each["prefix"])
        ]
        if not known:
            raise ValueError(f"The connector does not know where {record} is.")
        entry = max(known, key=lambda each: len(each["prefix"]))
        rest = record.removeprefix(entry["prefix"])
        return entry, [*entry["path"], *(unquote(each) for each in rest.split("/") if rest)]

    def _receipt(self, answer: Any, whole: httpx2.Response) -> Receipt:
        template = self._config.get("receipt", RECEIPT)
        found = self._understood(template, {"answer": answer}, whole, "receipt")
        reference = found.get("reference") if isinstance(found, dict) else None
        data = found.get("data", {}) if isinstance(found, dict) else None
        if isinstance(reference, bool) or not isinstance(reference, str | int) or reference == "":
            answers.unreadable(whole, "does not name what was done")
        if not isinstance(data, dict):
            answers.unreadable(whole, "does not say what was done")
        left = None
        if "left" in self._config:
            left = self._understood(self._config["left"], {"answer": answer}, whole, "left")
        return Receipt(
            wording.plain(str(reference), NAME),
            data,
            None if left is None else answers.reading(left),
        )

    @property
    def _first(self) -> str:
        first: str = self._config["listing"].get("first", "")
        return first

    def _place_of_list(self, after: str) -> str:
        listing = self._config["listing"]
        asked = {part: listing.get(part) for part in ("path", "query")}
        found = render(asked, {"after": after}, what="listing")
        return address(found.get("path"), found.get("query"))

    def _told(self, answer: httpx2.Response) -> Any:
        """Return the JSON of an answer to a question. Refusing to answer settles nothing: it is asked again."""
        try:
            return answers.judge(answer, token=self._token)
        except Rejected as problem:
            raise OutcomeUnknown(problem.said) from problem

    def _understood(
        self, template: Any, context: Mapping[str, Any], answer: httpx2.Response, what: str
    ) -> Any:
        try:
            return render(template, context, what=what)
        except ValueError:
            answers.unreadable(answer, "does not have what we look for")

    @property
    def _at(self) -> Mapping[str, str]:
        found: Mapping[str, str] = settings.TARGETS.get(self.target, {})
        return found

    @property
    def _token(self) -> str:
        return self._at.get("token", "")

    def _named(self, key: str, version: str) -> dict[str, str]:
        """Return the headers that name what is done, and the record's version it is done to."""
        headers = {self._config.get("key_header", KEY_HEADER): header(key)}
        if version:
            headers["If-Match"] = f'"{header(version)}"'
        return headers

    def _shown(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> Call:
        reference = references.variable(self.target, "token") if self._token else ""
        return Call(
            method,
            references.address(self.target) + path,
            _head(headers, token=reference, has_body=content is not None),
            None if content is None else json.loads(content),
        )

    def _call(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> httpx2.Response:
        url = self._at.get("url", "")
        if not url:
            raise NotDone(f"no address is configured for target {self.target}")
        try:
            return client.call(
                method,
                url.rstrip("/") + path,
                headers=_head(headers, token=self._token, has_body=content is not None),
                content=content,
                within_s=self.timeout_s,
            )
        except client.NotSent as problem:
            said = answers.without(str(problem), self._token)
            raise NotDone(f"{self.target} cannot be reached: {said}") from problem
        except client.NoAnswer as problem:
            said = answers.without(str(problem), self._token)
            raise OutcomeUnknown(f"No answer from {self.target}: {said}") from problem


def _effect(row: Any, answer: httpx2.Response) -> Effect:
    """Return one entry. What was done under no key was not done by us, and its key is empty."""
    if not isinstance(row, dict) or not isinstance(key := row.get("key"), str | None):
        answers.unreadable(answer, "does not say under which key something was done")
    said = (wording.plain(str(row.get(name) or ""), NAME) for name in ("reference", "at"))
    return Effect(key or "", *said)


def _head(headers: Mapping[str, str] | None, *, token: str, has_body: bool) -> dict[str, str]:
    """Return all the headers of a call; `token` as it is, or as the name of what holds it."""
    sent = {
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": "Recourse",
        **(headers or {}),
    }
    if token:
        sent["authorization"] = f"Bearer {token}"
    if has_body:
        sent["content-type"] = "application/json"
    return sent
