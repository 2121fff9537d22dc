"""What every target looks like from here, and the three ways in which a call can go wrong.

A connector knows its target and nothing of requests, people or time. It never
retries: a failed call says what is certain about it, and the runner decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

Json = dict[str, Any]
# What stands for what only reading a record tells, where calls are shown before it was read.
AS_READ = "{version-as-read}"
AS_BEFORE: Json = {"{each field}": "{as the snapshot has it}"}


@dataclass(frozen=True, slots=True)
class Gives:
    """What a target offers towards exactly-once. Where it gives neither key nor lookup, a person must say."""

    native_keys: bool  # a second send under the same key changes nothing
    lookup: bool  # it can be asked whether it knows a key
    optimistic_locking: bool  # a write that names an old version is refused
    # …by us, who read the record just before: the target checks nothing, and what somebody else
    # writes in that moment goes unseen.
    compared_by_us: bool = False


@dataclass(frozen=True, slots=True)
class Action:
    """What was approved, as a connector needs it."""

    key: str  # the action type's
    payload: Json
    amount: Decimal | None
    currency: str  # ISO 4217, "" without an amount
    business_key: str


@dataclass(frozen=True, slots=True)
class Plan:
    """One unit to be sent, in the order of the list it stands in."""

    name: str  # for people: "Line 4: Gas stove, 30"
    body: Json  # what `send` takes; the connector's own, JSON types only
    undo_name: str  # for people: "Cancel line 4"; "" if the action has no reversal
    record: str = ""  # the snapshot's record that this unit writes, if it is one of them
    amount: Decimal | None = None
    currency: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """One record as the target holds it now."""

    state: Json
    version: str = ""  # the target's own; "" where it has none


@dataclass(frozen=True, slots=True)
class Receipt:
    """The target's word that it did something under a key."""

    reference: str  # the target's own number for what it made: "PAY-1007"
    data: Json = field(default_factory=dict)  # what a reversal needs of the answer
    left: Reading | None = None  # the record as this write left it, if the answer says so


@dataclass(frozen=True, slots=True)
class Effect:
    """One entry of a target's own list of what it did."""

    key: str  # under which it was done, as it was sent; of ours, or of anybody's
    reference: str = ""  # the target's own number for it
    at: str = ""  # when, in the target's own words


@dataclass(frozen=True, slots=True)
class Page:
    """A part of such a list, the oldest entry first. It may tell of what was only begun: `probe` decides."""

    effects: Sequence[Effect]
    after: str  # where the list goes on; the connector's own word. Entries may be told of twice
    more: bool  # there is more by now


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it would leave us, written for people. It never holds a secret.

    What opens the target stands as the name of the variable that holds it, in
    braces: "Bearer {TARGET_DEMO_TOKEN}" (`references`). So does what only an
    earlier answer tells: "{id of the invoice}".
    """

    method: str  # "POST"
    address: str  # whole: "https://erp.example/payments"
    headers: Mapping[str, str]  # all that we set, by name, as sent
    body: Any = None  # JSON types, as sent; None if it has none
    about: str = ""  # which of several it is, for people: "Post the invoice"


class CallFailed(Exception):
    """A call did not end with a receipt. Each kind says what is certain.

    Attributes:
        said: the target's words or the fault's, one line, for people.
        retry_after_s: real seconds the target asked us to wait, if it did.
    """

    def __init__(self, said: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(said)
        self.said = said
        self.retry_after_s = retry_after_s


class NotDone(CallFailed):
    """The target certainly did nothing, and may later: refused connection, 429, 401 and 403."""


class Rejected(CallFailed):
    """The target understood and refused for good: asking again gives the same answer. Nothing was done."""


class OutcomeUnknown(CallFailed):
    """It may or may not have been done: time-out, reset, 5xx, an answer that cannot be read."""


class CannotRun(Exception):
    """What was approved cannot be turned into calls, or not taken back by any. The sentence says why."""


class Connector(Protocol):
    """One kind of target. Instances are cheap, hold no state between calls and make no call when made.

    `read`, `send`, `probe` and `listed` are the only methods that go outside; each
    ends within `timeout_s` or raises a CallFailed.
    """

    target: str  # the target's key: "demo"
    gives: Gives
    lists: Sequence[str]  # by name, those in which the target tells what it did; () = it has none

    def units(self, action: Action) -> Sequence[Plan]:
        """Turn an action into its units, in order. Pure; never empty.

        Raises ValueError if the payload cannot be turned into units.
        """
        ...

    def read(self, record: str) -> Reading | None:
        """Return a record of the snapshot plan as it is now; None if the target does not have it.

        Never raises Rejected, which is about what was to be done: a question that
        is refused is asked again.
        """
        ...

    def send(self, body: Json, *, key: str, version: str = "") -> Receipt:
        """Have the target do one unit, forward or back, under `key`.

        Args:
            version: write only if the record still has it; "" where that is not asked.
        """
        ...

    def probe(self, key: str) -> Receipt | None:
        """Return what was done under `key`, or None if the target certainly knows nothing of it.

        Only where `gives.lookup`. Never raises Rejected, as `read`.
        """
        ...

    def listed(self, name: str, after: str) -> Page:
        """Return what one of `lists` tells after a place in it.

        Args:
            after: as the page before said; "" = from the first entry on.

        Never raises Rejected, as `read`.
        """
        ...

    def reversal(self, action: Action, body: Json, receipt: Json) -> Json:
        """Return the body whose `send` takes back a unit that was done (compensate). Pure.

        Args:
            body: the unit's own.
            receipt: as stored: {"reference": ..., "data": ...}.
        """
        ...

    def restoration(self, record: str, state: Json) -> Json:
        """Return the body whose `send` puts a record's state back (restore). Pure."""
        ...

    def calls(self, body: Json, *, key: str, version: str = "") -> Sequence[Call]:
        """Return the calls that `send` makes of these arguments if each is answered well, in order.

        Pure: nothing is called, and nothing looked up. Logging in and asking for
        tokens are left out; what is looked up before the write is in. For people
        who try an action type: made of the same parts as what is sent, so that the
        two cannot part ways.

        Args:
            version: as `send` takes it, or AS_READ.

        Raises ValueError for a body that is none of this connector's.
        """
        ...

    def specimen(self, body: Json) -> Json | None:
        """Return a receipt such as `send` of this body might get, of which its reversal can be made.

        As stored: {"reference": ..., "data": ...}. What only the target knows stands
        in braces: "{number of the payment}". None where no receipt can be made up. Pure.
        """
        ...

    def specimen_of(self, record: str) -> Json:
        """Return a state such as `read` might tell of a record, what only the target knows in braces. Pure.

        AS_BEFORE where not even the names of its fields are known.
        """
        ...

    def calls_to_read(self, record: str) -> Sequence[Call]:
        """Return the calls that `read` makes for a record, likewise.

        Raises ValueError for a record that this connector does not know.
        """
        ...


class Reversals(Protocol):
    """What a kind of connector answers at start, before anything runs: see `rollback.checks`."""

    def problems(
        self,
        config: Mapping[str, Any],
        *,
        reversal: str,
        code: str,
        example: Action,
        records: Sequence[str],
        read: Sequence[str],
    ) -> Sequence[str]:
        """Return, in sentences, why an action type with this configuration could not run or be undone.

        Args:
            example: the action of its example, on which everything is tried. Nothing is called.
            records: the keys that its snapshot plan comes to for the example.
            read: those of what is read while it waits: its basis, and what rules speak of.
        """
        ...
