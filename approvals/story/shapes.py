"""What a story is made of. Nothing here has behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from governance.vocabulary import Level


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing the action type has shown. `missing`: the payload does not say it."""

    label: str
    value: str
    missing: bool = False


@dataclass(frozen=True, slots=True)
class Ahead:
    """A rung not reached yet, as things stand: who would be asked, or why it does not open."""

    level: Level
    opens: bool
    since: datetime
    window: timedelta = timedelta(0)
    people: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Rung:
    """One step of the staircase. `kind` is past, here, next, shut or end."""

    kind: str
    top: str
    icon: str
    who: str
    end: str
    since: datetime | None = None
    until: datetime | None = None
    window: timedelta | None = None
    share: float = 100.0


@dataclass(frozen=True, slots=True)
class Sent:
    """One way something reached somebody, or did not."""

    icon: str
    words: str


@dataclass(frozen=True, slots=True)
class Reached:
    """What became of one ask. `who` only where several were asked at once."""

    who: str
    sent: tuple[Sent, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened."""

    at: datetime
    title: str
    words: str = ""
    reached: tuple[Reached, ...] = ()
    passed: tuple[str, ...] = ()
    quote: str = ""
    source: str = ""
    source_words: str = ""
    is_here: bool = False
    is_bad: bool = False


@dataclass(frozen=True, slots=True)
class Holds:
    """What holds now, for those who do not decide. `kind` is a note's."""

    kind: str
    lead: str
    text: str


@dataclass(frozen=True, slots=True)
class Side:
    """One party to a conflict."""

    letter: str
    ref: str
    title: str
    agent: str
    asked_at: datetime
    stands: str  # what became of it so far
    is_held: bool
    is_ahead: bool  # not held, and still to end before a held one may go on
    is_visible: bool  # the reader may open its page
    if_on: str  # what going on means for it
    digest_short: str


@dataclass(frozen=True, slots=True)
class Compared:
    """What each party to a conflict says of one field. `differs`: they do not all say the same."""

    label: str
    values: tuple[str, ...]
    differs: bool
    now: str = ""  # what the record says of it


@dataclass(frozen=True, slots=True)
class Choice:
    """One ruling on a conflict, as a form sends it."""

    value: str
    words: str
    then: str
    button: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """The requests that want the same record, side by side, and the rulings offered.

    `choices` for one or two that are held; with more of them each is given its place.
    """

    record: str
    sides: tuple[Side, ...]
    fields: tuple[Compared, ...]
    read_at: datetime | None  # when the record was read; None where it was not
    choices: tuple[Choice, ...]
    places: tuple[tuple[str, str], ...]  # values and words of the places
    is_open: bool
    can_rule: bool

    @property
    def shows_now(self) -> bool:
        """Whether the record, as it was read, says something of a field."""
        return any(field.now for field in self.fields)


@dataclass(frozen=True, slots=True)
class Reported:
    """One report of a violation: the rule or the words, and the values it saw."""

    rule: str
    text: str
    values: tuple[tuple[str, str], ...]
    by: str
    at: datetime
    expression: str  # the beginning of its hash


@dataclass(frozen=True, slots=True)
class Signature:
    """Somebody who signed the waiver."""

    who: str
    at: datetime
    note: str


@dataclass(frozen=True, slots=True)
class Breach:
    """The last violation of a request, and what each verdict on it leads to."""

    reports: tuple[Reported, ...]
    count: int  # of reports in its case, as a form sends it back
    signatures: tuple[Signature, ...]
    of: int
    is_open: bool
    can_rule: bool
    deny: str
    waive: str
    waive_button: str
    change: str


@dataclass(frozen=True, slots=True)
class Story:
    """One request, told to one reader at one instant."""

    ref: str
    title: str
    lead: str
    path: str
    level: int
    level_word: str
    state_words: str
    state_kind: str
    state_icon: str
    amount: Decimal | None
    currency: str
    facts: tuple[Fact, ...]
    reason: tuple[str, ...]
    source_url: str
    source_words: str
    why_head: str
    why: tuple[str, ...]
    passed_over: tuple[tuple[str, str], ...]
    rungs: tuple[Rung, ...]
    rungs_words: str
    chain: tuple[Entry, ...]
    due_at: datetime | None
    opened_at: datetime | None
    passed: str  # what the clock says at zero
    started: str
    derivation: str
    needed_by: datetime | None  # while that can still be met or missed
    nothing_head: str
    nothing: tuple[str, ...]
    can_decide: bool
    override: tuple[str, ...]  # what a yes of the reader's overrides at L4, and what follows
    may_ask: bool  # the reader is asked, and may put a question to the agent first
    conflict: Conflict | None
    breach: Breach | None
    can_report: bool
    has_execution: bool  # something is, was or is about to be done in the target
    holds: Holds
    thing: str  # "the payment"
    approve_words: str  # what a yes leads to
    of_amount: str  # " of $12,000.00", or nothing
    nothing_done: str  # "nothing is paid"
    severities: tuple[tuple[str, str, str], ...]
    undo: str
    undo_how: str
    undo_limits: str
    digest: str
    digest_short: str
