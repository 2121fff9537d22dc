"""Worlds for the proof: the dullest that passes it, and random ones. No database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, timedelta
from decimal import Decimal
from itertools import pairwise

from hypothesis import strategies as st

from approvals.undoing import signed_by_two
from governance import decision_tree
from governance.ladder import DEFAULT_WINDOWS
from governance.proof.world import Away, Kind, Place, Shift, World
from governance.routing import Candidate, Channel, People, Row, Who
from governance.tables import Answer, Policy
from governance.vocabulary import Impact, Severity
from tests.factories import MONDAY_9AM

NOW = MONDAY_9AM
UNTIL = NOW + timedelta(days=90)
EMAIL = (Channel(1, "email", urgent_only=False),)
MANAGER, SENIOR, CONTROLLER, CFO, CEO = 1, 2, 3, 4, 5
RECORD_OWNER, ON_CALL, OPERATOR = 6, 7, 8
COMPLIANCE, COMPLIANCE_2, HEAD_OF_COMPLIANCE = 9, 10, 11
AUDITOR, AUDITOR_2, OWNER, CHAIR = 12, 13, 14, 15
NAMES = {
    MANAGER: "Finance Manager", SENIOR: "Senior Accountant", CONTROLLER: "Controller", CFO: "CFO",
    CEO: "CEO", RECORD_OWNER: "Resource Owner", ON_CALL: "On-call Engineer", OPERATOR: "Operator",
    COMPLIANCE: "Compliance Officer", COMPLIANCE_2: "Second Compliance Officer",
    HEAD_OF_COMPLIANCE: "Head of Compliance", AUDITOR: "Auditor", AUDITOR_2: "Second Auditor",
    OWNER: "Agent Owner", CHAIR: "Chair",
}  # fmt: skip
MANAGERS = {
    MANAGER: CONTROLLER, SENIOR: CONTROLLER, CONTROLLER: CFO, CFO: CEO, CEO: CHAIR,
    RECORD_OWNER: CFO, ON_CALL: OPERATOR, OPERATOR: CFO, COMPLIANCE: HEAD_OF_COMPLIANCE,
    COMPLIANCE_2: HEAD_OF_COMPLIANCE, HEAD_OF_COMPLIANCE: CHAIR, AUDITOR: CHAIR,
    AUDITOR_2: CHAIR, OWNER: CFO,
}  # fmt: skip
LIMITS = {
    MANAGER: 25_000, SENIOR: 25_000, CONTROLLER: 100_000, CFO: 1_000_000, CEO: 5_000_000,
    CHAIR: 5_000_000,
}  # fmt: skip
CELLS = {
    (exception, severity, impact): Answer(rule.response, rule.source)
    for exception, severity, impact, rule in decision_tree.cells()
}


def person(pk, **changes):
    limit = LIMITS.get(pk)
    dullest = Candidate(
        pk=pk,
        username=NAMES.get(pk, f"Person {pk}").lower().replace(" ", "_").replace("-", ""),
        name=NAMES.get(pk, f"Person {pk}"),
        enabled=True,
        limit=None if limit is None else Decimal(limit),
        limit_currency="" if limit is None else "USD",
        manager=MANAGERS.get(pk),
        away_until=None,
        zone=UTC,
        channels=EMAIL,
    )
    return replace(dullest, **changes)


def one(pk):
    return Who("person", pk)


def matrix_row(number=1, low=0, high=25_000, **changes):
    dullest = Row(
        pk=number,
        number=number,
        department=1,
        department_name="Accounts payable",
        action="vendor_payment",
        currency="" if low is None else "USD",
        amount_from=None if low is None else Decimal(low),
        amount_to=None if high is None else Decimal(high),
        approver=one(MANAGER),
        delegates=(one(SENIOR), one(CONTROLLER)),
        quorum=1,
    )
    return replace(dullest, **changes)


ROWS = (
    matrix_row(1),
    matrix_row(2, 25_000, 100_000, approver=one(CONTROLLER), delegates=(one(CFO),)),
)
KIND = Kind(
    key="vendor_payment",
    name="Vendor payment",
    target="demo",
    resource_key="demo:bill:{/invoice}",
    financial=True,
)


def policy(*rows, **changes):
    dullest = Policy(
        pk=1,
        number=7,
        rows={row.pk: row for row in rows or ROWS},
        windows=dict(DEFAULT_WINDOWS),
        cells=dict(CELLS),
        queue_cap=timedelta(hours=8),
        on_call_fallback={"demo": OPERATOR},
        heads={1: CFO},
        owners={"": RECORD_OWNER},
        executives=(CEO,),
        reviewers=(AUDITOR, AUDITOR_2),
        compliance=(COMPLIANCE, COMPLIANCE_2),
        head_of_compliance=(HEAD_OF_COMPLIANCE,),
    )
    return replace(dullest, **changes)


def world(*rows, people=(), kind=KIND, holders=None, policy_changes=None, **changes):
    """The dullest world that passes: two bands, one agent, everybody there.

    Args:
        rows: instead of the two bands.
        people: candidates that take the place of those of the same number.
        policy_changes: fields of the policy.
    """
    everyone = {pk: person(pk) for pk in NAMES} | {each.pk: each for each in people}
    dullest = World(
        policy=policy(*rows, **(policy_changes or {})),
        people=People(everyone, holders or {}),
        kinds={kind.key: kind},
        departments={1: Place("accounts-payable", "Accounts payable")},
        owners={(1, kind.key): frozenset({OWNER})},
        now=NOW,
        until=UNTIL,
        shifts=(Shift("demo", ON_CALL, NOW, UNTIL),),
        orderers={1: frozenset({OPERATOR, CONTROLLER, CFO})},
        signed_by_two=signed_by_two,
    )
    return replace(dullest, **changes)


def away(*people, day, until=None):
    """Absences from midnight of one day of NOW's count to midnight of another."""
    midnight = NOW.replace(hour=0)
    return tuple(
        Away(pk, midnight + timedelta(days=day), midnight + timedelta(days=until or day + 1))
        for pk in people
    )


# --- Random ones ---

FEW = range(1, 9)
LIMIT = st.sampled_from([None, 100, 1_000, 10_000])
HOURS = st.integers(min_value=-48, max_value=24 * 89)


@st.composite
def random_people(draw):
    found = []
    for pk in FEW:
        limit = draw(LIMIT)
        found.append(
            person(
                pk,
                name=f"Person {pk}",
                username=f"person{pk}",
                enabled=draw(st.integers(0, 9)) > 0,
                limit=None if limit is None else Decimal(limit),
                limit_currency=""
                if limit is None
                else draw(st.sampled_from(["USD", "USD", "EUR"])),
                manager=draw(st.sampled_from([None, *(each for each in FEW if each != pk)])),
            )
        )
    return found


@st.composite
def random_worlds(draw):
    """Eight people, two or three rows, some of them away now and then: most of these have holes."""
    someone, few = st.sampled_from(FEW), st.lists(st.sampled_from(FEW), max_size=3, unique=True)
    who = st.one_of(
        st.builds(lambda pk: Who("person", pk), someone),
        st.just(Who("role", 1)),
        st.just(Who("role", 2)),
    )
    edges = sorted(
        {0, *draw(st.lists(st.sampled_from([100, 1_000, 10_000]), min_size=1, max_size=2))}
    )
    rows = [
        matrix_row(
            number,
            low,
            high,
            approver=draw(who),
            delegates=tuple(draw(st.lists(who, max_size=2))),
            quorum=draw(st.sampled_from([1, 1, 1, 2])),
            action=draw(st.sampled_from(["", "vendor_payment"])),
        )
        for number, (low, high) in enumerate(pairwise(edges), start=1)
    ]
    spans = st.tuples(someone, HOURS, st.integers(min_value=1, max_value=24 * 20))
    absences = tuple(
        Away(pk, NOW + timedelta(hours=at), NOW + timedelta(hours=at + length))
        for pk, at, length in draw(st.lists(spans, max_size=10))
    )
    shifts = tuple(
        Shift("demo", pk, NOW + timedelta(hours=at), NOW + timedelta(hours=at + length))
        for pk, at, length in sorted(draw(st.lists(spans, max_size=4)), key=lambda each: each[1])
    )
    optional = st.one_of(st.none(), someone)
    fallback, head, owner, chief = (draw(optional) for _ in range(4))
    return world(
        *rows,
        kind=replace(
            KIND,
            severity=draw(st.sampled_from(Severity)),
            impact=draw(st.sampled_from(Impact)),
            first_no_is_final=draw(st.booleans()),
        ),
        holders={1: draw(few), 2: draw(few)},
        policy_changes={
            "on_call_fallback": {} if fallback is None else {"demo": fallback},
            "heads": {} if head is None else {1: head},
            "owners": {} if owner is None else {"": owner},
            "compliance": tuple(draw(few)),
            "head_of_compliance": () if chief is None else (chief,),
        },
        people=draw(random_people()),
        owners={(1, "vendor_payment"): frozenset({draw(st.sampled_from([*FEW, OWNER]))})},
        away=tuple(each for each in absences if each.ends > NOW and each.starts < UNTIL),
        shifts=tuple(each for each in shifts if each.ends > NOW and each.starts < UNTIL),
    )
