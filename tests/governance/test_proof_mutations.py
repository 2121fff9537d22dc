"""Policies that are broken in one place each: the proof finds it, and says it in one sentence."""

# ruff: noqa: E501 - each sentence stands whole, as it is read
from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from governance.policy_check import prove
from governance.proof.world import Away, Kind, Shift
from governance.routing import Who
from governance.vocabulary import ExceptionType, Impact, Level, Path, Response, RuleSource, Severity
from tests.governance.worlds import (
    AUDITOR,
    CELLS,
    CEO,
    CFO,
    CHAIR,
    COMPLIANCE,
    COMPLIANCE_2,
    CONTROLLER,
    HEAD_OF_COMPLIANCE,
    KIND,
    MANAGER,
    NOW,
    ON_CALL,
    OPERATOR,
    OWNER,
    RECORD_OWNER,
    ROWS,
    SENIOR,
    UNTIL,
    away,
    matrix_row,
    one,
    person,
    world,
)

NEW_YORK = ZoneInfo("America/New_York")
FIRST, SECOND = ROWS
EVERYBODY_WITH_A_LIMIT = (MANAGER, SENIOR, CONTROLLER, CFO, CEO, CHAIR)
CRITICAL = replace(KIND, critical=True)
LIMITED = Decimal(10_000)


def new_york(day, month=3):
    """Midnight in New York, where clocks change on 8 March."""
    return datetime(2026, month, day, tzinfo=NEW_YORK)


def without(table, *keys):
    return {key: value for key, value in table.items() if key not in keys}


MUTATIONS = {
    "everybody away on one day": lambda: world(away=away(*EVERYBODY_WITH_A_LIMIT, day=10)),
    "two absences that meet across a clock change": lambda: world(
        matrix_row(1, delegates=(one(SENIOR),)),
        people=[person(MANAGER, manager=None), person(SENIOR, manager=None)],
        away=[
            # Both are there on Sunday the 8th but for one hour, of 23 that this day has.
            Away(MANAGER, new_york(7), new_york(8) + timedelta(hours=4)),
            Away(SENIOR, datetime(2026, 3, 8, 7, 0, tzinfo=ZoneInfo("UTC")), new_york(9)),
        ],
        policy_changes={"heads": {1: CFO}},
    ),
    "a band without a row": lambda: world(SECOND),
    "a hole between two bands": lambda: world(
        FIRST, matrix_row(2, 50_000, 100_000, approver=one(CFO))
    ),
    "a gap of one cent": lambda: world(replace(FIRST, amount_to=Decimal("24999.99")), SECOND),
    "no row for what a credential may ask": lambda: world(
        owners={(1, "vendor_payment"): frozenset({OWNER}), (1, "refund"): frozenset({OWNER})},
        kinds={"vendor_payment": KIND, "refund": Kind("refund", "Refund")},
    ),
    "no row without an amount": lambda: world(kind=replace(KIND, has_amount=False)),
    "two equally specific rows": lambda: world(FIRST, SECOND, matrix_row(3, 20_000, 30_000)),
    "a row without an end": lambda: world(FIRST, replace(SECOND, amount_to=None)),
    "a limit below the band": lambda: world(
        SECOND,
        FIRST,
        people=[
            person(CFO, limit=LIMITED),
            person(CEO, limit=LIMITED),
            person(CHAIR, limit=LIMITED),
            person(CONTROLLER, limit=LIMITED),
        ],
    ),
    "a limit in another currency": lambda: world(
        SECOND,
        FIRST,
        people=[person(pk, limit_currency="EUR") for pk in (CONTROLLER, CFO, CEO, CHAIR)],
    ),
    "no limit at all": lambda: world(
        people=[person(pk, limit=None, limit_currency="") for pk in EVERYBODY_WITH_A_LIMIT]
    ),
    "a manager who owns the agent": lambda: world(
        people=[person(CONTROLLER, manager=None), person(SENIOR, manager=CONTROLLER)],
        owners={(1, "vendor_payment"): frozenset({CONTROLLER})},
        away=away(MANAGER, SENIOR, day=10, until=23),
    ),
    "an approver whose role nobody holds": lambda: world(
        matrix_row(1, approver=Who("role", 7), delegates=()), SECOND
    ),
    "everybody named is disabled": lambda: world(
        people=[person(pk, enabled=False) for pk in EVERYBODY_WITH_A_LIMIT]
    ),
    "a quorum that the row cannot meet": lambda: world(
        replace(FIRST, quorum=3, delegates=(one(SENIOR),)),
        SECOND,
        people=[person(CONTROLLER, manager=None)],
    ),
    "a no that only its sayer could look at": lambda: world(
        FIRST, SECOND, policy_changes={"heads": {}}
    ),
    "a head who heads nobody who may": lambda: world(
        policy_changes={"heads": {1: SENIOR}}, people=[person(SENIOR, manager=None)]
    ),
    "no owner of the record": lambda: world(policy_changes={"owners": {}}),
    "an owner of the record who owns the agent and has no manager": lambda: world(
        people=[person(RECORD_OWNER, manager=None)],
        owners={(1, "vendor_payment"): frozenset({RECORD_OWNER})},
    ),
    "an owner of the record who stands behind the other request": lambda: world(
        people=[person(RECORD_OWNER, manager=None)],
        owners={
            (1, "vendor_payment"): frozenset({OWNER}),
            (1, "credit"): frozenset({RECORD_OWNER}),
        },
        kinds={"vendor_payment": KIND, "credit": replace(KIND, key="credit")},
    ),
    "an owner only of other records": lambda: world(
        policy_changes={"owners": {"crm:*": RECORD_OWNER}}
    ),
    "an on-call gap of one minute": lambda: world(
        shifts=[
            Shift("demo", ON_CALL, NOW, NOW + timedelta(days=7)),
            Shift("demo", ON_CALL, NOW + timedelta(days=7, minutes=1), UNTIL),
        ],
        policy_changes={"on_call_fallback": {}},
    ),
    "a roster that ends": lambda: world(
        shifts=[Shift("demo", ON_CALL, NOW, NOW + timedelta(days=30))],
        policy_changes={"on_call_fallback": {}},
    ),
    "on call and fallback away at once": lambda: world(
        away=away(ON_CALL, OPERATOR, day=20, until=22),
        people=[person(OPERATOR, manager=None)],
    ),
    "an empty compliance": lambda: world(
        policy_changes={"compliance": (), "head_of_compliance": ()}
    ),
    "one member of compliance, and no head": lambda: world(
        policy_changes={"compliance": (COMPLIANCE,), "head_of_compliance": ()}
    ),
    "compliance that approved it": lambda: world(
        FIRST,
        replace(SECOND, approver=one(HEAD_OF_COMPLIANCE)),
        policy_changes={"compliance": (), "head_of_compliance": (HEAD_OF_COMPLIANCE,)},
        people=[person(HEAD_OF_COMPLIANCE, limit=Decimal(200_000), limit_currency="USD")],
    ),
    "all of compliance away": lambda: world(
        away=away(COMPLIANCE, COMPLIANCE_2, HEAD_OF_COMPLIANCE, day=30)
    ),
    "no reviewer": lambda: world(policy_changes={"reviewers": ()}),
    "a reviewer who approves": lambda: world(policy_changes={"reviewers": (CONTROLLER,)}),
    "one reviewer below the one who overrides": lambda: world(
        kind=CRITICAL,
        policy_changes={"reviewers": (AUDITOR,), "executives": (OPERATOR,)},
        people=[person(AUDITOR, manager=OPERATOR)],
    ),
    "a reviewer who owns the agent": lambda: world(
        policy_changes={"reviewers": (AUDITOR,)},
        owners={(1, "vendor_payment"): frozenset({AUDITOR})},
    ),
    "nobody to sign a rollback twice": lambda: world(
        orderers={1: frozenset({OPERATOR})},
        policy_changes={"head_of_compliance": ()},
    ),
    "a second signer who is disabled": lambda: world(
        orderers={1: frozenset({RECORD_OWNER})},
        people=[person(HEAD_OF_COMPLIANCE, enabled=False)],
    ),
    "a circle of managers": lambda: world(people=[person(CFO, manager=CONTROLLER)]),
    "a cell without an answer": lambda: world(
        policy_changes={"cells": without(CELLS, (ExceptionType.TIMEOUT, Severity.LOW, Impact.LOW))}
    ),
    "a rung without a window": lambda: world(
        policy_changes={"windows": without(world().policy.windows, (Path.TIMEOUT, Level.L2))}
    ),
    "a cell that sends a no past those who could look at it": lambda: world(
        policy_changes={
            "heads": {},
            "cells": {
                key: replace(answer, response=Response.DEPARTMENT_HEAD, source=RuleSource.LOCAL)
                if key[0] == ExceptionType.REJECTION
                else answer
                for key, answer in CELLS.items()
            },
        }
    ),
    "a superseded version whose approver has left": lambda: world(
        people=[person(pk, enabled=False) for pk in (CONTROLLER, CFO, CEO, CHAIR)],
        rows=frozenset({SECOND.pk}),
    ),
}


# What each is told as. Others may follow from the same break.
SENTENCES = {
    "everybody away on one day": "On 12 Mar 2026: nobody can decide on Vendor payment requests under $25,000.00 in Accounts payable (matrix row 1): the Finance Manager, the Senior Accountant, the Controller, the CFO, the CEO and the Chair are away.",
    "two absences that meet across a clock change": "8 Mar 2026, 07:00 to 08:00 UTC: nobody can decide on Vendor payment requests under $25,000.00 in Accounts payable (matrix row 1): the Finance Manager and the Senior Accountant are away.",
    "a band without a row": "No matrix row covers Vendor payment requests of $0.01 to $24,999.99 in Accounts payable, so that they are refused.",
    "a hole between two bands": "No matrix row covers Vendor payment requests of $25,000.00 to $49,999.99 in Accounts payable, so that they are refused.",
    "a gap of one cent": "No matrix row covers Vendor payment requests of $24,999.99 in Accounts payable, so that they are refused.",
    "no row for what a credential may ask": "No matrix row covers Refund requests of any amount in Accounts payable, so that they are refused.",
    "no row without an amount": "No matrix row covers Vendor payment requests without an amount in Accounts payable, so that they are refused.",
    "two equally specific rows": "Matrix rows 1 and 3 cover Vendor payment requests of $20,000.00 to $24,999.99 in Accounts payable equally well, so that they are refused.",
    "a row without an end": "At any time: nobody can decide on Vendor payment requests of $25,000.00 or more (at $5,000,000.01) in Accounts payable (matrix row 2): the Controller has a limit of $100,000.00, below this amount; the CFO has a limit of $1,000,000.00, below this amount; the CEO and the Chair have a limit of $5,000,000.00, below this amount.",
    "a limit below the band": "At any time: nobody can decide on Vendor payment requests of $25,000.00 to $100,000.00 in Accounts payable (matrix row 2): the Controller, the CFO, the CEO and the Chair have a limit of $10,000.00, below this amount.",
    "a limit in another currency": "At any time: nobody can decide on Vendor payment requests of $25,000.00 to $100,000.00 in Accounts payable (matrix row 2): the Controller, the CFO, the CEO and the Chair have no limit in USD.",
    "no limit at all": "At any time: nobody can decide on Vendor payment requests under $25,000.00 in Accounts payable (matrix row 1): the Finance Manager, the Senior Accountant, the Controller, the CFO, the CEO and the Chair have no limit in USD.",
    "a manager who owns the agent": "12 to 24 Mar 2026: nobody can decide on Vendor payment requests under $25,000.00 in Accounts payable (matrix row 1), asked for by the Controller's agent: the Finance Manager and the Senior Accountant are away; the Controller owns the agent that asks, so may not decide.",
    "an approver whose role nobody holds": "At any time: nobody can decide on Vendor payment requests under $25,000.00 in Accounts payable (matrix row 1): no approver, no delegate and nobody above them is there.",
    "everybody named is disabled": "At any time: nobody can decide on Vendor payment requests under $25,000.00 in Accounts payable (matrix row 1): the Finance Manager, the Senior Accountant, the Controller, the CFO, the CEO and the Chair are disabled.",
    "a quorum that the row cannot meet": "At any time: nobody can decide on Vendor payment requests under $25,000.00 in Accounts payable (matrix row 1): the Finance Manager, the Senior Accountant and the Controller could be asked, but 3 people are needed here.",
    "a no that only its sayer could look at": "At any time: nobody can look again at a no of the CFO, on Vendor payment requests of $25,000.00 to $100,000.00 in Accounts payable (matrix row 2): the CFO has decided on this request before.",
    "a head who heads nobody who may": "At any time: nobody can look again at a no of the CFO, on Vendor payment requests of $25,000.00 to $100,000.00 (at $25,000.00) in Accounts payable (matrix row 2): the CFO has decided on this request before; the Senior Accountant has a limit of $25,000.00, below that of whoever said no.",
    "no owner of the record": "At any time: nobody can rule on a conflict over the same record: no owner of the record is named.",
    "an owner of the record who owns the agent and has no manager": "At any time: nobody can rule on a conflict over the same record, asked for by the Resource Owner's agent: the Resource Owner owns the agent that asks, so may not decide.",
    "an owner of the record who stands behind the other request": "At any time: nobody can rule on a conflict with a request of the Resource Owner's agent over the same record: the Resource Owner stands behind another request for this record, so may not rule.",
    "an owner only of other records": "At any time: nobody can rule on a conflict over the same record that no owner's pattern fits: no owner of the record is named.",
    "an on-call gap of one minute": "9 Mar 2026, 09:00 to 09:01 UTC: nobody can see to a failure of the target demo: nobody is on call and no fallback is named.",
    "a roster that ends": "From 1 Apr 2026 09:00 UTC on: nobody can see to a failure of the target demo: nobody is on call and no fallback is named.",
    "on call and fallback away at once": "22 to 23 Mar 2026: nobody can see to a failure of the target demo: the On-call Engineer and the Operator are away.",
    "an empty compliance": "At any time: nobody can rule on a policy violation: nobody is named for compliance.",
    "one member of compliance, and no head": "At any time: nobody else can sign, as it takes two to waive, where one can rule on a policy violation: the Compliance Officer has signed the waiver already.",
    "compliance that approved it": "At any time: nobody else can sign, as it takes two to waive, where one can rule on a policy violation: the Head of Compliance has signed the waiver already.",
    "all of compliance away": "On 1 Apr 2026: nobody can rule on a policy violation: the Compliance Officer, the Second Compliance Officer and the Head of Compliance are away.",
    "no reviewer": "Nobody independent can review Vendor payment requests under $25,000.00 in Accounts payable (matrix row 1): no reviewer is named.",
    "a reviewer who approves": "Nobody independent can review Vendor payment requests under $25,000.00 in Accounts payable (matrix row 1): of the reviewers (Controller) each may be asked about it, owns the agent or is disabled.",
    "one reviewer below the one who overrides": "Nobody independent could review an override by the Operator of Vendor payment requests under $25,000.00 in Accounts payable (matrix row 1): every reviewer reports to them.",
    "a reviewer who owns the agent": "Nobody independent can review Vendor payment requests under $25,000.00 in Accounts payable (matrix row 1): of the reviewers (Auditor) each may be asked about it, owns the agent or is disabled.",
    "nobody to sign a rollback twice": "No two people can sign a rollback of Vendor payment requests under $25,000.00 in Accounts payable (matrix row 1): only the Operator may sign.",
    "a second signer who is disabled": "No two people can sign a rollback of Vendor payment requests under $25,000.00 in Accounts payable (matrix row 1): only the Resource Owner may sign.",
    "a circle of managers": "The reporting line goes in a circle: the Controller reports to the CFO, the CFO to the Controller, so that nobody stands above them.",
    "a cell without an answer": "The decision tree does not say what answers a timeout of low severity and low impact.",
    "a rung without a window": "Timeout, L2: no window says how long it waits.",
    "a cell that sends a no past those who could look at it": "At any time: nobody can look again at a no of the CFO that goes straight to the head of the department, on Vendor payment requests of $25,000.00 to $100,000.00 in Accounts payable (matrix row 2): no delegate and no head of the department is named.",
    "a superseded version whose approver has left": "At any time: nobody can decide on Vendor payment requests of $25,000.00 to $100,000.00 in Accounts payable (matrix row 2): the Controller, the CFO, the CEO and the Chair are disabled.",
}


def said(findings):
    return {each.sentence.replace("\u00a0", " ") for each in findings}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_policy_gives_its_counterexample(name):
    assert SENTENCES[name] in said(prove(MUTATIONS[name]()).holes)


def test_each_gives_its_own():
    assert len(set(SENTENCES.values())) == len(MUTATIONS) >= 30


def test_a_counterexample_has_the_same_key_in_another_version():
    first, *_ = prove(world(policy_changes={"owners": {}})).holes
    again, *_ = prove(
        world(replace(FIRST, pk=9, number=5), policy_changes={"owners": {}, "number": 8})
    ).holes

    assert first.key == again.key


def test_the_first_counterexample_says_from_when_to_when():
    days = [*away(ON_CALL, OPERATOR, day=20, until=22), *away(ON_CALL, OPERATOR, day=40)]
    (hole,) = prove(world(people=[person(OPERATOR, manager=None)], away=days)).holes

    assert hole.since == NOW.replace(hour=0) + timedelta(days=20)
    assert hole.until == hole.since + timedelta(days=2)


def test_two_who_are_back_on_the_same_morning_leave_no_gap():
    gone = [Away(MANAGER, new_york(7), new_york(8)), Away(SENIOR, new_york(8), new_york(9))]
    alone = [person(MANAGER, manager=None), person(SENIOR, manager=None)]
    row = matrix_row(1, delegates=(one(SENIOR),))

    holes = prove(world(row, people=alone, away=gone)).holes

    assert [each for each in holes if each.key.startswith("timeout")] == []


WARNINGS = {
    "one person only": (
        lambda: world(matrix_row(1, delegates=()), people=[person(MANAGER, manager=None)]),
        "At any time: without the Finance Manager nobody can decide on Vendor payment requests under"
        " $25,000.00 in Accounts payable (matrix row 1); nor if the agent acts for them.",
    ),
    "an executive first": (
        lambda: world(
            kind=CRITICAL,
            people=[person(MANAGER, manager=None)],
            away=away(MANAGER, SENIOR, CONTROLLER, day=9),
            policy_changes={"heads": {1: CFO}, "executives": (CEO,)},
        ),
        "On 11 Mar 2026: an executive would be the first to be asked to decide on Vendor payment requests"
        " under $25,000.00 in Accounts payable (matrix row 1).",
    ),
    "clocks that cannot meet a target": (
        world,
        "Timeout: up to L2 the clocks allow 3 h, above the target of 2 h.",
    ),
    "delegates in a circle": (
        lambda: world(FIRST, replace(SECOND, delegates=(one(MANAGER), one(CFO)))),
        "Delegates go in a circle in Accounts payable (matrix rows 1, 2): the Controller stands in for the"
        " Finance Manager, the Finance Manager for the Controller.",
    ),
    "a row that is its own delegate": (
        lambda: world(replace(FIRST, delegates=(one(MANAGER), one(SENIOR)))),
        "Delegates go in a circle in Accounts payable (matrix row 1): the Finance Manager stands in for the"
        " Finance Manager.",
    ),
    "no row for the largest amounts": (
        world,
        "No matrix row covers Vendor payment requests of $100,000.00 or more in Accounts payable, so that"
        " they are refused.",
    ),
    "a no of the highest authority": (
        lambda: world(
            FIRST, replace(SECOND, delegates=(one(CEO),)), people=[person(CHAIR, limit=LIMITED)]
        ),
        "A no of the CEO on Vendor payment requests of $25,000.00 to $100,000.00 in Accounts payable"
        " (matrix row 2) stands: too few others have at least their limit.",
    ),
    "an action that is not in production": (
        lambda: world(*ROWS, matrix_row(3, action="refund")),
        "Matrix row 3 is for refund, which is not in production.",
    ),
    "a gap in a roster that the fallback fills": (
        lambda: world(shifts=[Shift("demo", ON_CALL, NOW, NOW + timedelta(days=30))]),
        "From 1 Apr 2026 09:00 UTC on: nobody is on shift for the target demo, and the Operator is asked.",
    ),
    "executives who were all asked before": (
        lambda: world(kind=CRITICAL, policy_changes={"executives": (CFO,)}),
        "At L4 nobody is left to override Vendor payment requests under $25,000.00 in Accounts payable"
        " (matrix row 1): every executive may have been asked before.",
    ),
}


@pytest.mark.parametrize("name", WARNINGS)
def test_what_is_no_hole_and_yet_not_well_is_a_warning(name):
    build, sentence = WARNINGS[name]

    assert sentence in said(prove(build()).warnings)


def test_whoever_could_look_at_a_no_again_but_owns_the_agent_does_not_count():
    # Beside the CEO only the Chair has as much, and it is the Chair's agent.
    given = world(
        FIRST,
        replace(SECOND, delegates=(one(CEO),)),
        people=[person(CEO, manager=None)],
        owners={(1, "vendor_payment"): frozenset({CHAIR})},
    )

    report = prove(given)

    assert not [each for each in report.holes if "rejection|ceo" in each.key]
    assert any(
        each.key.startswith("final_no|") and each.key.endswith("ceo") for each in report.warnings
    )
