"""That the proof says what the router then does: random policies, random instants, no database."""

from __future__ import annotations

import tracemalloc
from datetime import timedelta
from decimal import Decimal
from itertools import combinations, product

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from governance import ladder
from governance.decision_tree import ENTERS_AT
from governance.policy_check import prove
from governance.proof.bands import stretches
from governance.proof.questions import leave_rungs, questions
from governance.proof.sweeping import stalls, sweep
from governance.proof.world import Away, Place
from governance.routing import (
    History,
    Limit,
    Offices,
    Subject,
    Unroutable,
    Who,
    candidates,
    hindrance,
    match,
    route,
)
from governance.vocabulary import ExceptionType, Level, Path
from tests.governance.worlds import (
    CEO,
    CFO,
    CHAIR,
    NAMES,
    NOW,
    OWNER,
    away,
    matrix_row,
    one,
    person,
    random_worlds,
    world,
)


def test_a_dull_policy_passes():
    report = prove(world())

    assert report.holes == ()
    assert {each.kind for each in report.warnings} <= {"clock", "one_person", "match", "final_no"}


class Walk:
    """One request on its way up, asked of the router rung by rung as the climb does, and nothing else."""

    def __init__(self, given, calendar, subject, row):
        self.given, self.calendar, self.subject, self.row = given, calendar, subject, row

    def asks(self, path, level, history=None, **offices):
        found = route(
            path,
            level,
            row=self.row,
            subject=self.subject,
            people=self.calendar.people,
            history=history or History(),
            now=self.calendar.now,
            policy=7,
            offices=Offices(**offices),
        )
        return found.asked

    def climbs(self, path, start, history=None, **offices):
        """Whether a rung from `start` to L3 asks somebody."""
        rungs = (
            each
            for each in ladder.rungs(path, critical=False)
            if each >= start and (path, each) not in ladder.AUTOMATIC
        )
        return any(self.asks(path, each, history, **offices) for each in rungs)

    def silence(self, severity, impact):
        cell = self.given.policy.cells[ExceptionType.TIMEOUT, severity, impact]
        return bool(self.asks(Path.APPROVAL, Level.L0)) or self.climbs(
            Path.TIMEOUT, ENTERS_AT[cell.response]
        )

    def no_of(self, pk, severity, impact):
        person = self.given.people.by_pk[pk]
        limit = None if person.limit is None else Limit(person.limit, person.limit_currency)
        history = History(deciders=frozenset({pk}), at_least=limit)
        cell = self.given.policy.cells[ExceptionType.REJECTION, severity, impact]
        head = self.given.policy.heads.get(1)
        return self.climbs(
            Path.REJECTION,
            ENTERS_AT[cell.response],
            history,
            head=() if head is None else (head,),
        )

    def failure(self):
        return self.climbs(Path.SYSTEM_FAILURE, Level.L2, on_call=self.calendar.on_call("demo"))

    def violation(self, approvers=frozenset()):
        """Whether somebody is asked, and once they signed somebody else."""
        policy = self.given.policy
        named = {
            "compliance": policy.compliance,
            "head_of_compliance": policy.head_of_compliance,
        }
        for level in ladder.rungs(Path.POLICY_VIOLATION, critical=False):
            asked = self.asks(Path.POLICY_VIOLATION, level, History(approvers=approvers), **named)
            if asked:
                signed = History(approvers=approvers, signers=frozenset({asked[0].person}))
                return self.climbs(Path.POLICY_VIOLATION, Level.L2, signed, **named)
        return False

    def conflict(self):
        owner = self.given.policy.owner_of("demo:bill:1")
        return self.climbs(Path.CONFLICT, Level.L2, owner=() if owner is None else (owner,))


def walks(given, calendar):
    """One request of each amount that may matter, as the router finds its row."""
    (owners,) = given.owners.values()
    for amount, owner in product(AMOUNTS, owners):
        subject = Subject(1, "vendor_payment", "Vendor payment", amount, "USD", owner, None)
        try:
            row = match(given.policy.rows.values(), subject)
        except Unroutable:
            continue
        yield Walk(given, calendar, subject, row)


# Of every band the lowest and the highest, and those at which somebody's limit begins to be too low.
AMOUNTS = [Decimal(each) for each in ("0.01", "99.99", "100.00", "999.99", "1000.00", "9999.99")]


def may(walk, pk, history=None):
    """Whether somebody could act on it, absences aside."""
    return (
        hindrance(
            walk.given.people.by_pk[pk], subject=walk.subject, history=history or History(), now=NOW
        )
        is None
    )


def noes(walk):
    """Who may say a no that is looked at again: whoever may be asked first, or in their place."""
    row, people = walk.row, walk.given.people
    named = {pk for who in (row.approver, *row.delegates) for pk in people.named(who)}
    for pk in sorted(named):
        person = people.by_pk[pk]
        limit = None if person.limit is None else Limit(person.limit, person.limit_currency)
        history = History(deciders=frozenset({pk}), at_least=limit)
        others = sum(may(walk, each, history) for each in people.by_pk)
        if may(walk, pk) and others >= row.quorum:
            yield pk


def approvers(walk):
    """Whoever of compliance may have approved it: as many as the row asks for."""
    policy, people = walk.given.policy, walk.given.people
    head = policy.heads.get(1)
    named = {
        pk
        for path, level in leave_rungs(critical=False)
        for pk, _ in candidates(
            path, level, walk.row, people, History(), walk.subject, 7,
            Offices(head=() if head is None else (head,)),
        )
    }  # fmt: skip
    both = {*policy.compliance, *policy.head_of_compliance} & named
    able = [pk for pk in sorted(both) if may(walk, pk)]
    most = min(walk.row.quorum, len(able))
    return [frozenset(each) for each in combinations(able, most)]


def stalled(given_, instant):
    """Return the keys under which the proof says that a class stalls at an instant."""
    asked, *_ = questions(given_, stretches(given_)[0])
    calendar = given_.calendar()
    calendar.go_to(instant)
    found = {each.key for each in asked if stalls(each, calendar) is not None}
    return found, calendar


def paths(keys):
    return {key.split("|")[0] for key in keys}


def router_stalls(given_, calendar):
    """Return the same by path, as the router does it, one request after another."""
    kind = given_.kinds["vendor_payment"]
    cells = list(product(kind.severities, kind.impacts))
    found = set()
    for walk in walks(given_, calendar):
        if not all(walk.silence(*cell) for cell in cells):
            found.add("timeout")
        if not kind.first_no_is_final and not all(
            walk.no_of(pk, *cell) for pk in noes(walk) for cell in cells
        ):
            found.add("rejection")
        if not walk.failure():
            found.add("system_failure")
        if not walk.conflict():
            found.add("conflict")
        if not all(walk.violation(each) for each in approvers(walk)):
            found.add("violation")
    return found


@settings(max_examples=1000)
@given(given_=random_worlds(), hour=st.integers(min_value=0, max_value=24 * 90 - 1))
def test_the_answer_at_an_instant_is_the_routers(given_, hour):
    keys, calendar = stalled(given_, NOW + timedelta(hours=hour, minutes=30))

    assert paths(keys) == router_stalls(given_, calendar)


@settings(max_examples=100)
@given(given_=random_worlds(), hour=st.integers(min_value=0, max_value=24 * 90 - 1))
def test_what_stalls_at_any_instant_is_among_the_holes(given_, hour):
    instant = NOW + timedelta(hours=hour, minutes=30)
    keys, _ = stalled(given_, instant)

    holes = {each.key: each for each in prove(given_).holes}

    assert keys <= holes.keys()
    assert all(holes[key].since <= instant for key in keys)


absent = st.tuples(
    st.sampled_from(sorted(NAMES)), st.integers(0, 80), st.integers(min_value=1, max_value=20)
)


@settings(max_examples=200)
@given(spans=st.lists(absent, max_size=8), hour=st.integers(0, 24 * 90 - 1))
def test_under_a_policy_that_passes_somebody_is_always_asked(spans, hour):
    given_ = world(
        away=[e for pk, at, n in spans for e in away(pk, day=at, until=at + n) if e.ends > NOW]
    )
    assume(prove(given_).holes == ())
    calendar = given_.calendar()
    calendar.go_to(NOW + timedelta(hours=hour, minutes=30))

    assert router_stalls(given_, calendar) == set()


def large(absences, *, rows=40, people=100):
    """Rows of as many departments, people in lines of six, each away as often as it is said."""
    matrix, everybody = [], [person(pk, manager=None) for pk in NAMES]
    for pk in range(100, 100 + people):
        above = pk - 1 if pk % 6 else CEO
        everybody.append(person(pk, limit=Decimal(50_000), limit_currency="USD", manager=above))
    for number in range(1, rows + 1):
        first = 100 + number * 2
        matrix.append(
            matrix_row(
                number,
                department=number,
                department_name=f"Department {number}",
                approver=one(first),
                delegates=(one(first + 1), one(100 + number)),
            )
        )
    gone = [
        Away(each.pk, start, start + timedelta(days=3))
        for each in everybody
        for turn in range(absences)
        for start in (NOW + timedelta(days=1 + 80 * turn / absences, minutes=each.pk % 997),)
    ]
    return world(
        *matrix,
        people=everybody,
        away=gone,
        departments={n: Place(f"department-{n}", f"Department {n}") for n in range(1, rows + 1)},
        owners={(n, "vendor_payment"): frozenset({OWNER}) for n in range(1, rows + 1)},
        policy_changes={"heads": dict.fromkeys(range(1, rows + 1), CFO)},
    )


def peak(given_):
    parts, *_ = stretches(given_)
    asked, *_ = questions(given_, parts)
    tracemalloc.start()
    found = sweep(given_, asked)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return found.instants, most


def test_of_many_who_may_have_approved_not_every_choice_is_counted():
    many = [
        person(100 + n, manager=CHAIR, limit=Decimal(50_000), limit_currency="USD")
        for n in range(40)
    ]
    everybody = [each.pk for each in many]
    role = Who("role", 1)
    given_ = world(
        matrix_row(1, approver=role, delegates=(role,), quorum=10),
        people=many,
        holders={1: everybody},
        away=away(*everybody[:29], day=20),
        orderers={1: frozenset(everybody)},
        policy_changes={"compliance": tuple(everybody), "head_of_compliance": ()},
    )

    holes = prove(given_).holes

    # On that day eleven are there, and ten of them may have approved it.
    (violation,) = (each for each in holes if each.key.startswith("violation|"))
    assert violation.sentence.startswith("On 22\xa0Mar\xa02026: nobody else can sign")
    assert not [each for each in holes if each.kind == "second_signer" and each != violation]


def test_twice_the_instants_take_no_more_memory():
    few, once = peak(large(1))
    many, twice = peak(large(2))

    assert many > 1.8 * few > 300
    assert twice < 1.2 * once
