"""The connector itself: records are made, never changed, each under an external id of our own.

The configuration, by example (docs/decisions/0061 says why):

    {
      "target": "netsuite",                  its address, client, certificate and key are in the environment
      "units": [ {
        "name": "Pay bill ${payload.bill}", "undo_name": "Vendor credit for bill ${payload.bill}",
        "amount": {"$eval": "payload.amount"},
        "record": "netsuite:vendorBill:{/bill}",     in the snapshot plan; refused if it has changed since
        "create": {
          "type": "vendorPayment",           vendorBill, vendorPayment or vendorCredit
          "from": {"$eval": "payload.bill"}, by transform of that bill; left out: by itself
          "fields": {"apply": {"items": [{"doc": {"id": {"$eval": "payload.bill"}}, "apply": true,
                                          "amount": {"$eval": "amount"}}]}}
        }
      } ],
      "reversals": {"vendor_credit": {"type": "vendorCredit", "from": …, "fields": …}},
      "respond_async": false,                true: as a job, under NetSuite's own idempotency key
      "basis": […], "facts": {…}             as of the connector `http`
    }

`name`, `amount`, `from` and `fields` are json-e templates. Amounts are texts of digits.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings

from approvals import templating
from governance import wording
from governance.models import ActionType
from rollback.connectors import answers, oauth, references
from rollback.connectors.base import (
    AS_BEFORE,
    Action,
    Call,
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
from rollback.connectors.netsuite import records, refusals
from rollback.connectors.netsuite.shape import complaints
from rollback.connectors.templates import Configured, Tried, amount_of, context_of, render

WITHIN_S = 8.0  # all of one `send`, `read` or `probe`, a new token and a job's end included
TOKENS = "/services/rest/auth/oauth2/v1/token"
ALGORITHMS = ("PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
SCOPE = ["rest_webservices"]
NAME = 200  # characters
NOT_THERE = 404
FIRST_POLL_S, LONGEST_POLL_S = 0.1, 1.0
HEADERS = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "Recourse"}


class NetSuiteConnector:
    """A `Connector` for one action type. Cheap to make; makes no call when made."""

    timeout_s = WITHIN_S
    lists = ()  # its external ids are digests: no list of records would tell our keys

    def __init__(self, configured: Configured) -> None:
        """Take the configuration as it is: `problems` has looked at it when we started."""
        self._config: Mapping[str, Any] = configured.connector_config
        self._undone = configured.reversal != ActionType.Reversal.NONE
        self._code = configured.reversal_code
        self._async = bool(self._config.get("respond_async"))
        self.target: str = self._config.get("target", "")
        self.gives = Gives(
            # NetSuite's own key acts on jobs alone. A job may still be waiting when nothing is
            # found under our external id, so there a "no" is no answer, and is not asked for.
            native_keys=self._async,
            lookup=not self._async,
            optimistic_locking=True,
            compared_by_us=True,
        )

    # --- Pure ---------------------------------------------------------------------------------

    def units(self, action: Action) -> Sequence[Plan]:
        """Turn an action into its units, in order; never empty.

        Raises ValueError if the payload cannot be turned into units.
        """
        return [self._plan(each, action) for each in self._config["units"]]

    def reversal(self, action: Action, body: Json, receipt: Json) -> Json:
        """Return the body of the record that takes back what a unit made.

        Raises ValueError if there is none for it.
        """
        template = self._config.get("reversals", {}).get(self._code)
        if template is None:
            raise ValueError(f"There is no reversal “{self._code}”.")
        context = {**context_of(action), "body": body, "receipt": receipt}
        return _made(template, context, what=f"reversal {self._code}")

    def restoration(self, record: str, state: Json) -> Json:
        """Raise ValueError: what stands in NetSuite's books is never written over."""
        raise ValueError("Records of NetSuite are reversed by other records, never restored.")

    def calls(self, body: Json, *, key: str, version: str = "") -> Sequence[Call]:
        """Return the calls that `send` makes of this. Raises ValueError for a body that is none of ours."""
        wanted = records.creation(body)
        first = self.calls_to_read(wanted.guard) if version and wanted.guard else []
        write = self._shown(
            "POST",
            wanted.path,
            self._named(key),
            wanted.content(key),
            about=f"Make the {wanted.type}",
        )
        if not self._async:
            return [*first, write]
        return [
            *first,
            write,
            self._shown(
                "GET", f"{records.JOBS}/{{id of the job}}", about="Until the job has ended"
            ),
            self._shown("GET", records.by_key(wanted.type, key), about="Read what it made"),
        ]

    def specimen(self, body: Json) -> Json | None:
        """Return a receipt as of a first record. Raises ValueError for a body that is none of ours."""
        return _stored(_receipt(records.creation(body).type, "1", ""))

    def specimen_of(self, record: str) -> Json:
        """Return what stands for a record's state: no configuration names its fields."""
        return AS_BEFORE

    def calls_to_read(self, record: str) -> Sequence[Call]:
        """Return the one call that `read` makes. Raises ValueError for a record it does not know."""
        type_, path = records.place_of(record, self.target)
        return [self._shown("GET", path, about=f"Read the {type_}")]

    # --- Outside ------------------------------------------------------------------------------

    def read(self, record: str) -> Reading | None:
        """Return a record as it is now; None if NetSuite does not have it. Raises CallFailed."""
        return self._read(record, time.monotonic() + self.timeout_s)

    def send(self, body: Json, *, key: str, version: str = "") -> Receipt:
        """Have NetSuite make one record under `key`, if the unit's own record still has `version`.

        There is no condition that NetSuite would check: we read the record and
        compare `lastModifiedDate`, so a change in the moment between goes unseen.

        Raises CallFailed; ValueError for a body that is none of ours.
        """
        until = time.monotonic() + self.timeout_s
        wanted = records.creation(body)
        content = wanted.content(key)
        if version and not self._is_still(wanted.guard, version, until):
            # Changed by ourselves, perhaps: by an earlier send under this key.
            if (receipt := self._found(wanted.type, key, until)) is not None:
                return receipt
            raise Rejected(
                f"{wanted.guard} has changed since it was looked at; nothing was written."
            )
        answered = self._call("POST", wanted.path, until, self._named(key), content)
        answer = answered.response
        if self._async and (answer.status_code == 202 or refusals.knows_the_key(answer)):
            return self._of_job(answered, wanted.type, key, until)
        if refusals.says_it_is_there(answer):
            # Not by this call, perhaps by an earlier one: whoever asks by key will know.
            raise OutcomeUnknown("It says that there is a record under our key already.")
        self._judge(answered)
        made = records.made_at(answer.headers.get("location", ""), wanted.type)
        if not made:
            answers.unreadable(answer, "does not name what was made")
        return _receipt(wanted.type, made, key)

    def probe(self, key: str) -> Receipt | None:
        """Return what was made under `key`; None if NetSuite knows nothing of it. Raises CallFailed."""
        until = time.monotonic() + self.timeout_s
        for made in self._makes:
            if (receipt := self._found(made, key, until)) is not None:
                return receipt
        return None

    def listed(self, name: str, after: str) -> Page:
        """Raise LookupError: there is no such list."""
        raise LookupError(f"NetSuite has no list {name} of what was done.")

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
        if found:
            return found
        if reversal == ActionType.Reversal.RESTORE:
            return ["Records of NetSuite are reversed by other records, never restored."]
        if reversal != ActionType.Reversal.NONE and code not in config.get("reversals", {}):
            return [f"Its reversal “{code}” is not in the configuration of its connector."]
        try:
            cls(Tried(config, reversal, code))._try(example, records, (*records, *read))
        except ValueError as problem:
            return [str(problem)]
        return []

    def _try(self, example: Action, planned: Sequence[str], read: Sequence[str]) -> None:
        for plan in self.units(example):
            wanted = records.creation(plan.body)
            wanted.content("key")
            if plan.record and plan.record not in planned:
                raise ValueError(f"A unit writes {plan.record}, which no snapshot is taken of.")
            if self._undone:
                done = _stored(_receipt(wanted.type, "1", "key"))
                records.creation(self.reversal(example, plan.body, done)).content("key")
        for record in read:
            records.place_of(record, self.target)

    # --- Parts --------------------------------------------------------------------------------

    def _plan(self, unit: Mapping[str, Any], action: Action) -> Plan:
        context = context_of(action)
        said = {name: unit[name] for name in ("name", "undo_name", "amount") if name in unit}
        told = render(said, context, what="units")
        record = templating.exact(str(unit.get("record") or ""), action.payload)
        amount, currency = amount_of(told.get("amount"))
        body = _made(unit["create"], context, what="units")
        undo_name = wording.plain(str(told.get("undo_name") or ""), NAME) if self._undone else ""
        return Plan(
            name=wording.plain(str(told["name"]), NAME),
            body=body | ({"guard": record} if record else {}),
            undo_name=undo_name,
            record=record,
            amount=amount,
            currency=currency,
        )

    @property
    def _makes(self) -> list[str]:
        """The types of record that this action type makes, forward and back, each once."""
        templates = [each["create"] for each in self._config["units"]]
        templates += self._config.get("reversals", {}).values()
        return list(dict.fromkeys(each["type"] for each in templates))

    def _read(self, record: str, until: float) -> Reading | None:
        found = self._get(records.place_of(record, self.target)[1], until)
        if found is None:
            return None
        version = str(found.get(records.VERSION) or "")
        return answers.reading({**records.plain_state(found), "version": version})

    def _is_still(self, record: str, version: str, until: float) -> bool:
        """Whether a record is as it was. Raises NotDone if nobody says: nothing was written."""
        try:
            now = self._read(record, until)
        except OutcomeUnknown as problem:
            raise NotDone(problem.said, retry_after_s=problem.retry_after_s) from problem
        return now is not None and now.version == version

    def _of_job(self, answered: oauth.Answered, made: str, key: str, until: float) -> Receipt:
        """Wait for a job of ours, as long as this call has time, and return what it made.

        What a job says of its end is not verified beyond `completed`: the record
        itself is read, by our external id.
        """
        job = records.job_at(answered.response.headers.get("location", ""))
        if not job:
            answers.unreadable(answered.response, "does not name its job")
        wait = FIRST_POLL_S
        while not (state := self._job(job, until)).get("completed"):
            if time.monotonic() + wait >= until:
                raise OutcomeUnknown(f"Job {job} has not ended yet.", retry_after_s=LONGEST_POLL_S)
            time.sleep(wait)
            wait = min(wait * 2, LONGEST_POLL_S)
        receipt = self._found(made, key, until)
        if receipt is not None:
            return receipt
        if state.get("progress") == "failed":
            raise Rejected(f"Job {job} has failed; nothing was made.")
        raise OutcomeUnknown(f"Job {job} has ended, and what it made is not to be found.")

    def _job(self, job: str, until: float) -> Json:
        state = self._get(f"{records.JOBS}/{job}", until)
        if state is None:
            raise OutcomeUnknown(f"Job {job} is not known any more.")
        return state

    def _found(self, made: str, key: str, until: float) -> Receipt | None:
        """Return what stands under our external id; None if NetSuite itself says that nothing does."""
        found = self._get(records.by_key(made, key), until)
        if found is None:
            return None
        number = str(found.get("id") or "")
        if not number.isascii() or not number.isdigit():
            raise OutcomeUnknown("It answered with something that is no record.")
        return _receipt(made, number, key)

    def _get(self, path: str, until: float) -> Json | None:
        answered = self._call("GET", path, until)
        if answered.response.status_code == NOT_THERE:
            if refusals.says_it_is_not_there(answered.response):
                return None
            raise OutcomeUnknown(
                "404 Not Found, and not in NetSuite's words for a record that does not exist."
            )
        try:
            found = self._judge(answered)
        except Rejected as problem:
            # Refusing to answer settles nothing: it is asked again.
            raise OutcomeUnknown(problem.said) from problem
        if not isinstance(found, dict):
            answers.unreadable(answered.response, "is no record")
        return found

    def _judge(self, answered: oauth.Answered) -> Any:
        """Return the JSON of a yes, its fractions as decimal texts. Raises CallFailed."""
        try:
            return answers.judge(answered.response, token=answered.token, fraction=records.exact)
        except Rejected as problem:
            said = answers.without(refusals.words(answered.response), answered.token)
            raise Rejected(said or problem.said) from problem

    def _named(self, key: str) -> dict[str, str]:
        """Return the headers under which a record is made: none but of a job, for no other heeds them."""
        if not self._async:
            return {}
        return {
            "Prefer": "respond-async",
            "X-NetSuite-Idempotency-Key": records.idempotency_key(key),
        }

    def _call(
        self,
        method: str,
        path: str,
        until: float,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> oauth.Answered:
        grant = self._grant()
        url = self._at("url").rstrip("/") + path
        sent = _head(headers, has_body=content is not None)
        return oauth.call(grant, method, url, headers=sent, content=content, until=until)

    def _shown(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        *,
        about: str,
    ) -> Call:
        held = references.variable(self.target, "private_key").strip("{}")
        return Call(
            method,
            references.address(self.target) + path,
            {
                **_head(headers, has_body=content is not None),
                "authorization": f"Bearer {{token, by {held}}}",
            },
            None if content is None else json.loads(content, parse_float=str),
            about,
        )

    def _grant(self) -> oauth.Grant:
        """Return what our token is asked for with. Raises NotDone where something of it is not set."""
        for name in ("url", "client_id", "certificate_id", "private_key"):
            if not self._at(name):
                missing = references.variable(self.target, name).strip("{}")
                raise NotDone(f"{missing} is not set")
        url = self._at("url").rstrip("/") + TOKENS
        return oauth.Grant(
            target=self.target,
            url=url,
            kind=oauth.CLIENT_CREDENTIALS,
            issuer=self._at("client_id"),
            key_id=self._at("certificate_id"),
            private_key=self._at("private_key"),
            algorithms=ALGORITHMS,
            claims={"aud": url, "scope": SCOPE},
        )

    def _at(self, name: str) -> str:
        found: str = settings.TARGETS.get(self.target, {}).get(name, "")
        return found


def _head(headers: Mapping[str, str] | None, *, has_body: bool) -> dict[str, str]:
    sent = {**HEADERS, **(headers or {})}
    return {**sent, "content-type": "application/json"} if has_body else sent


def _made(template: Mapping[str, Any], context: Mapping[str, Any], *, what: str) -> Json:
    """Fill the template of a record to be made. Raises ValueError if it comes to none."""
    body: Json = render(template, context, what=what)
    records.creation(body)  # or it would fail when it is sent, which is too late
    return body


def _receipt(made: str, number: str, key: str) -> Receipt:
    data = {"type": made, "id": number, "external_id": records.external_id(key)}
    return Receipt(f"{made} {number}", data)


def _stored(receipt: Receipt) -> Json:
    return {"reference": receipt.reference, "data": receipt.data}
