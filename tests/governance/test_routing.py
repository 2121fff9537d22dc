from __future__ import annotations

from dataclasses import replace
from datetime import UTC, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.routing import (
    NOBODY_NAMED,
    Candidate,
    Channel,
    History,
    Limit,
    Offices,
    Passed,
    People,
    Row,
    Subject,
    Unroutable,
    Who,
    Why,
    hindrance,
    match,
    route,
)
from governance.vocabulary import Level, Path
from tests.factories import MONDAY_9AM

EMAIL = (Channel(1, "email", urgent_only=False),)

# People and roles by number. The ladder of the small company: 1 and 2 report to 3, 3 to 4, 4 to 5.
FINANCE_MANAGER, SENIOR_ACCOUNTANT, CONTROLLER, CFO, CEO = 1, 2, 3, 4, 5
APPROVERS, DELEGATES = 10, 20  # roles


def person(pk, **changes):
    """Somebody at work, reachable, who may decide up to $25,000."""
    dullest = Candidate(
        pk=pk,
        username=f"person{pk}",
        name=f"Person {pk}",
        enabled=True,
        limit=Decimal(25_000),
        limit_currency="USD",
        manager=None,
        away_until=None,
        zone=UTC,
        channels=EMAIL,
    )
    return replace(dullest, **changes)


def everyone(*candidates, holders=None):
    return People({each.pk: each for each in candidates}, holders or {})


def matrix_row(**changes):
    """Row 14: vendor payments of $10,000 to $25,000; person 1 decides, person 2 stands in."""
    dullest = Row(
        pk=14,
        number=14,
        department=1,
        department_name="Accounts payable",
        action="vendor_payment",
        currency="USD",
        amount_from=Decimal(10_000),
        amount_to=Decimal(25_000),
        approver=Who("person", FINANCE_MANAGER),
        delegates=(Who("person", SENIOR_ACCOUNTANT),),
        quorum=1,
    )
    return replace(dullest, **changes)


def subject(**changes):
    """A vendor payment of $12,000, by an agent of somebody nobody asks."""
    dullest = Subject(
        department=1,
        action="vendor_payment",
        action_name="Vendor payment",
        amount=Decimal(12_000),
        currency="USD",
        agent_owner=99,
        on_behalf_of=None,
    )
    return replace(dullest, **changes)


COMPANY = everyone(
    person(FINANCE_MANAGER, name="Finance Manager", manager=CONTROLLER),
    person(SENIOR_ACCOUNTANT, name="Senior Accountant", manager=CONTROLLER),
    person(CONTROLLER, name="Controller", manager=CFO, limit=Decimal(100_000)),
    person(CFO, name="CFO", manager=CEO, limit=Decimal(1_000_000)),
    person(CEO, name="CEO", limit=None, limit_currency=""),
)


def but(people, pk, **changes):
    """The same people, one of them changed."""
    return People({**people.by_pk, pk: replace(people.by_pk[pk], **changes)}, people.holders)


def ask(path, level, *, people=COMPANY, row=None, about=None, offices=NOBODY_NAMED, **history):
    return route(
        path,
        level,
        row=row or matrix_row(),
        subject=about or subject(),
        people=people,
        history=History(**history),
        now=MONDAY_9AM,
        policy=7,
        offices=offices,
    )


def first_ask(**given):
    return ask(Path.APPROVAL, Level.L0, **given)


def again(**given):
    return ask(Path.TIMEOUT, Level.L1, **given)


def delegates(**given):
    return ask(Path.TIMEOUT, Level.L2, **given)


def management(**given):
    return ask(Path.TIMEOUT, Level.L3, **given)


def asked(routing):
    return [each.person for each in routing.asked]


def passed(routing):
    return [(each.person, each.code) for each in routing.passed_over]


# --- Which row --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "row"),
    [("9999.9999", 13), ("10000", 14), ("24999.9999", 14), ("25000", 15), ("1e9", 15)],
)
def test_a_band_begins_at_its_lower_edge_and_ends_before_its_upper(amount, row):
    rows = [
        matrix_row(number=13, amount_from=Decimal(0), amount_to=Decimal(10_000)),
        matrix_row(number=14),
        matrix_row(number=15, amount_from=Decimal(25_000), amount_to=None),
    ]

    assert match(rows, subject(amount=Decimal(amount))).number == row


@pytest.mark.parametrize("amount", ["9999.9999", "25000"])
def test_an_amount_outside_every_band_has_no_route(amount):
    with pytest.raises(Unroutable, match="No matrix row covers Vendor payment"):
        match([matrix_row()], subject(amount=Decimal(amount)))


def test_a_band_in_another_currency_covers_nothing():
    with pytest.raises(Unroutable):
        match([matrix_row()], subject(currency="EUR"))


def test_no_amount_is_covered_only_by_a_row_without_an_amount():
    bare = {"currency": "", "amount_from": None, "amount_to": None}
    rows = [matrix_row(), matrix_row(number=30, **bare)]

    assert match(rows, subject(amount=None, currency="")).number == 30
    assert match(rows, subject()).number == 14


def test_a_row_from_zero_does_not_cover_what_has_no_amount():
    with pytest.raises(Unroutable, match="no amount"):
        match([matrix_row(amount_from=Decimal(0))], subject(amount=None, currency=""))


@pytest.mark.parametrize("changes", [{"department": 2}, {"action": "purchase_order"}])
def test_a_row_of_another_department_or_action_covers_nothing(changes):
    with pytest.raises(Unroutable):
        match([matrix_row(**changes)], subject())


def test_a_row_that_names_the_action_wins_over_one_for_any():
    rows = [matrix_row(number=1, action=""), matrix_row(number=14), matrix_row(number=2, action="")]

    assert match(rows, subject()).number == 14


def test_a_row_for_any_action_takes_what_no_other_names():
    rows = [matrix_row(number=1, action=""), matrix_row(number=14, action="purchase_order")]

    assert match(rows, subject()).number == 1


@pytest.mark.parametrize("action", ["", "vendor_payment"])
def test_two_rows_that_fit_equally_well_are_an_error_that_names_both(action):
    rows = [matrix_row(number=14, action=action), matrix_row(number=21, action=action)]

    with pytest.raises(Unroutable, match="rows 14 and 21 cover Vendor payment"):
        match(rows, subject())


def test_no_row_at_all_is_no_route():
    with pytest.raises(Unroutable):
        match([], subject())


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        ("0.00", "100000.00", "under $100,000.00"),
        ("0.01", "100000.00", "of $0.01 to $100,000.00"),
        ("0.00", None, "of $0.00 or more"),
        ("100000.00", None, "of $100,000.00 or more"),
    ],
)
def test_a_band_is_said_as_one_would_say_it(low, high, words):
    row = matrix_row(amount_from=Decimal(low), amount_to=Decimal(high) if high else None)

    assert row.band() == words


def test_a_row_for_no_amount_says_so():
    assert matrix_row(currency="", amount_from=None, amount_to=None).band() == "without an amount"


# --- The first ask ----------------------------------------------------------------------------


def test_the_person_the_row_names_is_asked_and_told_why():
    found = first_ask()

    assert asked(found) == [FINANCE_MANAGER]
    assert found.asked[0].why == (
        "approver for vendor payments of $10,000.00 to $25,000.00 in Accounts payable"
        " (matrix row 14, policy 7)"
    )
    assert found.passed_over == ()


def test_of_the_holders_of_a_role_the_first_is_asked():
    people = everyone(person(1), person(2), person(3), holders={APPROVERS: [1, 2, 3]})

    found = first_ask(people=people, row=matrix_row(approver=Who("role", APPROVERS)))

    assert asked(found) == [1]


def test_a_role_that_nobody_holds_asks_nobody():
    found = first_ask(row=matrix_row(approver=Who("role", APPROVERS)))

    assert not found.opens
    assert passed(found) == []


# --- Who may not be asked, and why ------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"enabled": False}, Why.DISABLED, "is disabled"),
        (
            {"limit": Decimal("11999.9999")},
            Why.LIMIT,
            "has a limit of $11,999.9999, below this amount",
        ),
        ({"limit": None, "limit_currency": ""}, Why.LIMIT, "has no limit in USD"),
        ({"limit_currency": "EUR"}, Why.LIMIT, "has no limit in USD"),
        ({"away_until": MONDAY_9AM + timedelta(hours=1)}, Why.AWAY, "is away until 10:00"),
    ],
)
def test_somebody_who_cannot_decide_is_passed_over_with_the_reason(changes, code, words):
    found = first_ask(people=but(COMPANY, FINANCE_MANAGER, **changes))

    assert not found.opens
    assert found.passed_over == (Passed(FINANCE_MANAGER, code, words),)


def test_a_limit_is_enough_to_the_cent():
    found = first_ask(people=but(COMPANY, FINANCE_MANAGER, limit=Decimal(12_000)))

    assert asked(found) == [FINANCE_MANAGER]


def test_without_an_amount_no_limit_is_asked_for():
    people = but(COMPANY, FINANCE_MANAGER, limit=None, limit_currency="")

    found = first_ask(people=people, about=subject(amount=None, currency=""))

    assert asked(found) == [FINANCE_MANAGER]


def test_the_agents_owner_decides_nothing_of_it():
    found = first_ask(about=subject(agent_owner=FINANCE_MANAGER))

    assert passed(found) == [(FINANCE_MANAGER, Why.OWNER)]


def test_whoever_the_agent_acts_for_decides_nothing_of_it():
    found = first_ask(about=subject(on_behalf_of=FINANCE_MANAGER))

    assert passed(found) == [(FINANCE_MANAGER, Why.ON_BEHALF)]


def test_whoever_decided_before_is_not_asked_again():
    found = again(deciders=frozenset({FINANCE_MANAGER}), first_asked=(FINANCE_MANAGER,))

    assert passed(found) == [(FINANCE_MANAGER, Why.DECIDED)]


def test_the_next_holder_of_a_role_takes_the_place_of_one_passed_over():
    people = everyone(
        person(1, enabled=False),
        person(2, limit=Decimal(1)),
        person(3),
        person(4),
        holders={APPROVERS: [1, 2, 3, 4]},
    )

    found = first_ask(people=people, row=matrix_row(approver=Who("role", APPROVERS)))

    assert asked(found) == [3]
    assert passed(found) == [(1, Why.DISABLED), (2, Why.LIMIT)]


# --- Reach ------------------------------------------------------------------------------------


def test_somebody_unreachable_gives_way_to_somebody_reachable():
    people = everyone(person(1, channels=()), person(2), holders={APPROVERS: [1, 2]})

    found = first_ask(people=people, row=matrix_row(approver=Who("role", APPROVERS)))

    assert asked(found) == [2]
    assert passed(found) == [(1, Why.UNREACHABLE)]


def test_with_nobody_to_give_way_to_somebody_unreachable_is_asked_all_the_same():
    found = first_ask(people=but(COMPANY, FINANCE_MANAGER, channels=()))

    assert asked(found) == [FINANCE_MANAGER]
    assert not found.asked[0].reachable
    assert found.passed_over == ()


def test_an_unreachable_person_gives_way_only_to_one_who_may_decide():
    people = everyone(person(1, channels=()), person(2, enabled=False), holders={APPROVERS: [1, 2]})

    found = first_ask(people=people, row=matrix_row(approver=Who("role", APPROVERS)))

    assert asked(found) == [1]
    assert passed(found) == [(2, Why.DISABLED)]


def test_a_quorum_is_filled_up_with_the_unreachable_when_the_reachable_are_too_few():
    people = everyone(
        person(1, channels=()), person(2), person(3, channels=()), holders={APPROVERS: [1, 2, 3]}
    )

    found = first_ask(people=people, row=matrix_row(approver=Who("role", APPROVERS), quorum=2))

    assert asked(found) == [2, 1]
    assert passed(found) == [(3, Why.UNREACHABLE)]


# --- Quorum -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quorum", "approvals", "needed"), [(1, 0, 1), (3, 0, 3), (3, 1, 2), (3, 2, 1)]
)
def test_a_rung_asks_as_many_people_as_approvals_are_missing(quorum, approvals, needed):
    people = everyone(*map(person, range(1, 6)), holders={APPROVERS: [1, 2, 3, 4, 5]})

    found = first_ask(
        people=people,
        row=matrix_row(approver=Who("role", APPROVERS), quorum=quorum),
        approvals=approvals,
    )

    assert found.needed == needed
    assert asked(found) == [1, 2, 3][:needed]


def test_a_rung_that_cannot_ask_enough_people_asks_nobody():
    people = everyone(person(1), person(2, enabled=False), holders={APPROVERS: [1, 2]})

    found = first_ask(people=people, row=matrix_row(approver=Who("role", APPROVERS), quorum=2))

    assert asked(found) == []
    assert passed(found) == [(2, Why.DISABLED), (1, Why.NOBODY)]
    assert "2 people are needed" in found.passed_over[1].why


def test_an_approval_counts_over_the_request_and_its_giver_is_not_asked_again():
    found = management(
        row=matrix_row(quorum=2), approvals=1, deciders=frozenset({CONTROLLER}), first_asked=(1,)
    )

    assert asked(found) == [CFO]
    assert passed(found) == [(CONTROLLER, Why.DECIDED)]


# --- L1: the same people ----------------------------------------------------------------------


def test_the_same_people_are_asked_again_whoever_holds_the_role_now():
    people = everyone(person(1), person(2), holders={APPROVERS: [2]})

    found = again(people=people, row=matrix_row(approver=Who("role", APPROVERS)), first_asked=(1,))

    assert asked(found) == [1]
    assert found.asked[0].why.startswith("approver first asked, for vendor payments")


def test_where_nobody_was_asked_first_the_approver_is():
    assert asked(again()) == [FINANCE_MANAGER]


def test_all_who_were_asked_first_are_asked_again():
    found = again(row=matrix_row(quorum=2), first_asked=(SENIOR_ACCOUNTANT, FINANCE_MANAGER))

    assert asked(found) == [SENIOR_ACCOUNTANT, FINANCE_MANAGER]


def test_somebody_who_has_left_since_is_not_asked_again():
    people = but(COMPANY, FINANCE_MANAGER, away_until=MONDAY_9AM + timedelta(days=1))

    found = again(people=people, first_asked=(FINANCE_MANAGER,))

    assert not found.opens
    assert passed(found) == [(FINANCE_MANAGER, Why.AWAY)]


# --- L2: the delegates ------------------------------------------------------------------------


def test_delegates_are_asked_in_their_order():
    row = matrix_row(delegates=(Who("person", CONTROLLER), Who("person", SENIOR_ACCOUNTANT)))

    found = delegates(row=row)

    assert asked(found) == [CONTROLLER]
    assert found.asked[0].why.startswith("first delegate for vendor payments of $10,000.00")


def test_the_second_delegate_takes_the_place_of_the_first_and_is_told_so():
    row = matrix_row(delegates=(Who("person", CONTROLLER), Who("person", SENIOR_ACCOUNTANT)))

    found = delegates(row=row, people=but(COMPANY, CONTROLLER, enabled=False))

    assert asked(found) == [SENIOR_ACCOUNTANT]
    assert found.asked[0].why.startswith("second delegate for")
    assert passed(found) == [(CONTROLLER, Why.DISABLED)]


def test_a_delegate_named_twice_is_asked_once():
    people = everyone(person(1), person(2), person(3), holders={DELEGATES: [2, 3]})
    row = matrix_row(
        quorum=2, delegates=(Who("person", 2), Who("role", DELEGATES), Who("person", 3))
    )

    assert asked(delegates(people=people, row=row)) == [2, 3]


def test_a_delegate_decides_on_their_own_limit_and_not_the_principals():
    found = delegates(people=but(COMPANY, SENIOR_ACCOUNTANT, limit=Decimal(10_000)))

    assert passed(found) == [(SENIOR_ACCOUNTANT, Why.LIMIT)]


def test_a_row_without_delegates_asks_nobody():
    found = delegates(row=matrix_row(delegates=()))

    assert not found.opens


# --- L3: up the reporting line ----------------------------------------------------------------


def test_management_is_the_next_level_above_those_first_asked():
    found = management(first_asked=(FINANCE_MANAGER,))

    assert asked(found) == [CONTROLLER]
    assert found.asked[0].why == "next above the Finance Manager in the reporting line"


def test_the_walk_goes_on_above_managers_who_cannot_be_asked():
    people = but(COMPANY, CONTROLLER, away_until=MONDAY_9AM + timedelta(hours=2))

    found = management(people=people, first_asked=(FINANCE_MANAGER,))

    assert asked(found) == [CFO]
    assert found.asked[0].why == "next above the Controller in the reporting line"
    assert passed(found) == [(CONTROLLER, Why.AWAY)]


def test_the_walk_goes_on_above_managers_whose_limit_is_too_small():
    found = management(about=subject(amount=Decimal(250_000)), first_asked=(FINANCE_MANAGER,))

    assert asked(found) == [CFO]
    assert passed(found) == [(CONTROLLER, Why.LIMIT)]


def test_the_walk_ends_at_the_top():
    found = management(about=subject(amount=Decimal(2_000_000)), first_asked=(FINANCE_MANAGER,))

    assert not found.opens
    assert passed(found) == [(CONTROLLER, Why.LIMIT), (CFO, Why.LIMIT), (CEO, Why.LIMIT)]


def test_the_walk_goes_up_until_enough_people_are_found():
    found = management(row=matrix_row(quorum=2), first_asked=(FINANCE_MANAGER,))

    assert asked(found) == [CONTROLLER, CFO]


def test_nobody_above_the_level_where_the_walk_stops_is_passed_over():
    people = but(COMPANY, CFO, away_until=MONDAY_9AM + timedelta(hours=2))

    found = management(people=people, first_asked=(FINANCE_MANAGER,))

    assert asked(found) == [CONTROLLER]
    assert found.passed_over == ()


def test_a_manager_of_two_is_asked_once():
    found = management(row=matrix_row(quorum=2), first_asked=(FINANCE_MANAGER, SENIOR_ACCOUNTANT))

    assert asked(found) == [CONTROLLER, CFO]


def test_all_managers_of_one_level_come_before_the_next():
    people = everyone(
        person(1, manager=3),
        person(2, manager=4),
        person(3, manager=5),
        person(4, manager=5),
        person(5),
    )

    found = management(people=people, row=matrix_row(quorum=3), first_asked=(1, 2))

    assert asked(found) == [3, 4, 5]


def test_somebody_first_asked_is_not_their_own_management():
    people = everyone(person(1, manager=2), person(2, manager=3), person(3))

    found = management(people=people, first_asked=(1, 2))

    assert asked(found) == [3]


def test_a_manager_outside_the_people_loaded_ends_the_walk():
    found = management(people=everyone(person(1, manager=77)), first_asked=(1,))

    assert not found.opens


@pytest.mark.parametrize("quorum", [1, 2, 9])
def test_a_circle_in_the_reporting_line_ends(quorum):
    people = everyone(person(1, manager=2), person(2, manager=3), person(3, manager=1))

    found = management(people=people, row=matrix_row(quorum=quorum), first_asked=(1,))

    assert asked(found) == [2, 3][:quorum] * (quorum < 3)


# --- While a rung waits -----------------------------------------------------------------------


def test_whoever_was_passed_over_on_this_step_stays_so_and_keeps_the_reason():
    gone = Passed(SENIOR_ACCOUNTANT, Why.AWAY, "is away until 17:00")
    row = matrix_row(delegates=(Who("person", SENIOR_ACCOUNTANT), Who("person", CONTROLLER)))

    found = delegates(row=row, spent={SENIOR_ACCOUNTANT: gone})

    assert asked(found) == [CONTROLLER]
    assert found.passed_over == (gone,)


def test_whoever_was_not_needed_when_the_rung_opened_is_not_passed_over_ahead_of_time():
    """Away then, back when they are needed: they must still be there to be asked."""
    row = matrix_row(delegates=(Who("person", SENIOR_ACCOUNTANT), Who("person", CONTROLLER)))
    controller_away = but(COMPANY, CONTROLLER, away_until=MONDAY_9AM + timedelta(hours=1))
    opening = delegates(row=row, people=controller_away)

    spent = {each.person: each for each in opening.passed_over}
    spent[SENIOR_ACCOUNTANT] = Passed(SENIOR_ACCOUNTANT, Why.AWAY, "is away until 17:00")
    later = delegates(row=row, spent=spent)

    assert asked(opening) == [SENIOR_ACCOUNTANT]
    assert asked(later) == [CONTROLLER]


def test_a_rung_that_a_path_does_not_have_is_a_defect_and_not_an_empty_answer():
    with pytest.raises(LookupError, match="policy_violation"):
        ask(Path.POLICY_VIOLATION, Level.L1)


# --- A conflict -------------------------------------------------------------------------------


def rule(level, **given):
    return ask(Path.CONFLICT, level, offices=Offices(owner=(CONTROLLER,)), **given)


def test_the_owner_of_the_record_rules_whatever_their_limit():
    found = rule(Level.L2, at_least=Limit(Decimal(10**9), "USD"))

    assert asked(found) == [CONTROLLER]
    assert found.asked[0].why == "owner of the record (policy 7)"
    assert found.needed == 1


def test_above_the_owner_is_whoever_they_report_to():
    found = rule(Level.L3)

    assert asked(found) == [CFO]
    assert found.asked[0].why == "next above the Controller, who owns the record"


def test_whoever_stands_behind_another_party_does_not_rule():
    found = rule(Level.L2, beside=frozenset({CONTROLLER}))

    assert asked(found) == []
    assert [(each.person, each.code) for each in found.passed_over] == [(CONTROLLER, Why.PARTY)]


# --- After a no -------------------------------------------------------------------------------


def after_a_no(level, **given):
    return ask(Path.REJECTION, level, deciders=frozenset({FINANCE_MANAGER}), **given)


def test_after_a_no_the_delegates_are_asked_and_say_as_what():
    found = after_a_no(Level.L2)

    assert asked(found) == asked(delegates())
    assert found.asked[0].why.startswith("first delegate for ")


def test_after_a_no_nobody_below_its_limit_is_asked():
    least = Limit(Decimal(60_000), "USD")

    found = after_a_no(Level.L3, at_least=least, offices=Offices(head=(CONTROLLER,)))
    below = after_a_no(Level.L2, at_least=Limit(Decimal(10**9), "USD"))

    assert asked(found) == [CONTROLLER]
    assert asked(below) == []
    assert {code for _, code in passed(below)} <= {Why.LIMIT, Why.DECIDED}


def test_another_currencys_limit_counts_as_none_after_a_no():
    found = after_a_no(Level.L2, at_least=Limit(Decimal(1), "EUR"))

    assert asked(found) == []
    assert all(
        "has no limit in EUR" in each.why for each in found.passed_over if each.code == Why.LIMIT
    )


def test_at_l3_the_head_is_asked_and_then_whoever_is_above():
    there = Offices(head=(CONTROLLER,))
    away = but(COMPANY, CONTROLLER, away_until=MONDAY_9AM + timedelta(hours=1))

    assert asked(after_a_no(Level.L3, offices=there)) == [CONTROLLER]
    found = after_a_no(Level.L3, offices=there, people=away)
    assert asked(found) == [CFO]
    assert "who heads " in found.asked[0].why


def test_where_no_head_is_named_nobody_is_asked():
    assert not after_a_no(Level.L3).opens


# --- Whatever the company looks like ----------------------------------------------------------

PKS = st.integers(1, 8)
LIMITS = st.integers(0, 30_000).map(Decimal)
CANDIDATES = st.builds(
    person,
    PKS,
    enabled=st.booleans(),
    limit=st.one_of(st.none(), LIMITS),
    limit_currency=st.sampled_from(["USD", "EUR"]),
    manager=st.one_of(st.none(), PKS),
    away_until=st.sampled_from([None, None, MONDAY_9AM + timedelta(hours=1)]),
    channels=st.sampled_from([EMAIL, ()]),
)
NAMES = st.one_of(
    st.builds(Who, st.just("person"), PKS),
    st.builds(Who, st.just("role"), st.sampled_from([APPROVERS, DELEGATES])),
)


@st.composite
def routings(draw):
    """A whole company, a row and a history, and the rung to route."""
    by_pk = {pk: replace(draw(CANDIDATES), pk=pk) for pk in range(1, 9)}
    holding = st.lists(PKS, unique=True, max_size=6)
    people = People(by_pk, {APPROVERS: draw(holding), DELEGATES: draw(holding)})
    row = matrix_row(
        approver=draw(NAMES),
        delegates=tuple(draw(st.lists(NAMES, max_size=3))),
        quorum=draw(st.integers(1, 4)),
    )
    about = subject(
        amount=draw(st.integers(10_000, 24_999).map(Decimal)),
        agent_owner=draw(PKS),
        on_behalf_of=draw(st.one_of(st.none(), PKS)),
    )
    spent = draw(st.sets(PKS, max_size=3))
    offices = Offices(head=tuple(draw(st.lists(PKS, unique=True, max_size=1))))
    history = {
        "deciders": frozenset(draw(st.sets(PKS, max_size=3))),
        "approvals": draw(st.integers(0, 4)),
        "at_least": draw(st.one_of(st.none(), st.builds(Limit, LIMITS, st.just("USD")))),
        "first_asked": tuple(draw(st.lists(PKS, unique=True, max_size=3))),
        "spent": {pk: Passed(pk, Why.AWAY, "is away") for pk in spent},
    }
    rung = draw(
        st.sampled_from(
            [
                (Path.APPROVAL, Level.L0),
                (Path.TIMEOUT, Level.L1),
                (Path.TIMEOUT, Level.L2),
                (Path.TIMEOUT, Level.L3),
                (Path.REJECTION, Level.L2),
                (Path.REJECTION, Level.L3),
            ]
        )
    )
    return rung, people, row, about, history, offices


@given(routings())
def test_nobody_is_asked_who_may_not_decide_and_nobody_is_asked_in_part(drawn):
    rung, people, row, about, history, offices = drawn

    found = ask(*rung, people=people, row=row, about=about, offices=offices, **history)

    chosen, over = asked(found), [each.person for each in found.passed_over]
    for pk in chosen:
        assert (
            hindrance(people.by_pk[pk], subject=about, history=History(**history), now=MONDAY_9AM)
            is None
        )
    assert found.needed == max(row.quorum - history["approvals"], 1)
    assert len(chosen) in (0, found.needed)
    assert len({*chosen, *over}) == len(chosen) + len(over)  # nobody twice, nobody in both
    assert not {*chosen} & {*history["spent"]}
    assert all(each.why for each in (*found.asked, *found.passed_over))


@given(routings())
def test_nobody_reachable_is_left_aside_for_somebody_unreachable(drawn):
    rung, people, row, about, history, offices = drawn

    found = ask(*rung, people=people, row=row, about=about, offices=offices, **history)

    gave_way = [each.person for each in found.passed_over if each.code == Why.UNREACHABLE]
    if not all(each.reachable for each in found.asked):
        others = {*people.by_pk} - {*asked(found)} - {*history["spent"]}
        unhindered = {
            pk
            for pk in others
            if hindrance(
                people.by_pk[pk], subject=about, history=History(**history), now=MONDAY_9AM
            )
            is None
        }
        named = {each.person for each in found.passed_over}
        assert not [pk for pk in unhindered & named if people.by_pk[pk].reachable]
    assert not [pk for pk in gave_way if people.by_pk[pk].reachable]
