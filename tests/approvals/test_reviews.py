"""Reviews: independent, on a clock that silence never closes, and closed by a finding or by two people."""

from __future__ import annotations

from datetime import timedelta

import pytest

from approvals import review_sweeps
from approvals.models import ActionRequest, Alert, Notice, Order, Review
from approvals.services.cleanups import confirm_settled, say_settled
from approvals.services.findings import confirm_rollback, record_finding
from approvals.services.reviews import open_spot_check
from governance.errors import (
    AlreadyDecided,
    NotFound,
    NotNow,
    NotYours,
    TooLate,
    Unprocessable,
)
from governance.models import AuditEvent, Person
from governance.tables import policy
from tests.approvals.asking import answer, ask_for_payment, chain_kinds, make_critical
from tests.factories import (
    MONDAY_9AM,
    AbsenceFactory,
    AppointmentFactory,
    ContactChannelFactory,
    PersonFactory,
    RoleFactory,
)
from tests.factors import give_factor, present

pytestmark = pytest.mark.django_db

H = timedelta(hours=1)
AT_L4 = MONDAY_9AM + timedelta(minutes=35) + 6 * H
S = ActionRequest.State


def person(username):
    return Person.objects.get(username=username)


@pytest.fixture
def review(company, timeline):
    """The review of a bypass by the CFO, who reports to the CEO, as both reviewers do."""
    make_critical(company)
    give_factor(company.cfo)
    request = ask_for_payment(company)
    timeline.go_to(AT_L4)
    answer(
        request, company.cfo, now=timeline.now, note="Tonight.",
        presence=present(company.cfo, request),
    )  # fmt: skip
    return Review.objects.get()


def find(review, by, *, now, finding="justified", note="I looked at all of it.", **over):
    return record_finding(review=review.pk, actor=by, finding=finding, note=note, now=now, **over)


def completed(request, *, effects=True):
    """Let the request have been carried out."""
    ActionRequest.objects.filter(pk=request.pk).update(
        state=S.COMPLETED, due_at=None, ended_at=AT_L4, holds_key=False, has_effects=effects,
        had_effects=effects,
    )  # fmt: skip


# --- Who reviews ---


def below(review, boss):
    found = person("auditor")
    found.manager = boss
    found.save()
    return found


def test_a_reviewer_below_whoever_overrode_is_refused(review, company, timeline):
    found = below(review, company.cfo)

    with pytest.raises(NotYours, match="stand below"):
        find(review, found, now=timeline.now)

    review.refresh_from_db()
    assert review.state == "open"


def test_two_levels_below_is_below(review, company, timeline):
    found = below(review, company.controller)  # who reports to the CFO

    with pytest.raises(NotYours, match="stand below"):
        find(review, found, now=timeline.now)


def test_whoever_overrode_and_whoever_was_asked_do_not_review(review, company, timeline):
    for one in (company.cfo, company.controller):
        AppointmentFactory(
            version=company.policy, office="reviewer", scope="x" + one.username, person=one
        )
    policy.cache_clear()

    for one in (company.cfo, company.controller, company.ceo):
        with pytest.raises(NotYours):
            find(review, one, now=timeline.now)


def test_the_reviewer_asked_is_here_and_has_least_to_look_at(review, company, timeline):
    assert review.asked == person("auditor")
    completed(review.request)

    second = open_spot_check(
        ref=review.request.ref, actor=person("auditor"), reason="Why so late?", now=timeline.now
    )

    assert second.asked == person("second_reviewer")


def test_one_who_is_away_is_asked_only_if_nobody_else_is_independent(company, timeline):
    make_critical(company)
    AbsenceFactory(person=person("auditor"), starts_at=MONDAY_9AM, ends_at=MONDAY_9AM + 100 * H)
    request = ask_for_payment(company)
    answer(request, company.finance_manager, now=timeline.now)
    completed(request)

    one = open_spot_check(
        ref=request.ref, actor=person("auditor"), reason="A sample.", now=timeline.now
    )

    assert one.asked == person("second_reviewer")


def test_a_review_that_nobody_may_do_is_an_alert_and_has_a_clock_all_the_same(company, timeline):
    request = ask_for_payment(company)
    answer(request, company.finance_manager, now=timeline.now)
    completed(request)
    auditor = PersonFactory(username="lone")
    auditor.roles.add(RoleFactory(key="auditor"))

    review = open_spot_check(ref=request.ref, actor=auditor, reason="A sample.", now=timeline.now)

    assert review.asked is None
    assert review.due_at == timeline.now + 48 * H
    assert Alert.objects.filter(kind="review.nobody", request=request).exists()


# --- The clock ---


def told(who, what):
    return Notice.objects.filter(person=who, via="inbox", facts__what=what).count()


def test_a_reminder_goes_out_at_half_time_once_and_not_a_moment_before(review, timeline):
    at = review.remind_at

    assert review_sweeps.remind_reviewers(now=at - timedelta(microseconds=1)) == 0
    assert review_sweeps.remind_reviewers(now=at) == 1
    assert review_sweeps.remind_reviewers(now=at + H) == 0

    assert told(review.asked, "review_reminder") == 1


def test_overdue_it_goes_a_level_higher_each_day_and_stays_at_the_top(review, company, timeline):
    vice = PersonFactory(username="vice", name="Vice President", manager=None)
    chief = PersonFactory(username="chief_auditor", name="Chief Auditor", manager=vice)
    for one in (vice, chief):
        ContactChannelFactory(person=one)
    asked = person("auditor")
    asked.manager = chief
    asked.save()
    due = review.due_at

    seen = []
    for day in range(4):
        timeline.go_to(due + day * 24 * H)
        review.refresh_from_db()
        seen.append((review.asked.username, review.times_overdue, review.due_at - due))

    assert seen == [
        ("chief_auditor", 1, 24 * H),
        ("vice", 2, 48 * H),
        ("vice", 3, 72 * H),
        ("vice", 4, 96 * H),
    ]
    assert review.state == "open"
    assert told(vice, "review_still_yours") == 2
    assert Alert.objects.filter(kind="review.overdue", closed_at=None).count() == 1
    assert Alert.objects.filter(kind="review.overdue").count() == 4
    find(review, vice, now=timeline.now)
    assert not Alert.objects.filter(kind="review.overdue", closed_at=None).exists()


def test_it_is_left_alone_a_moment_before_it_is_due(review, timeline):
    assert review_sweeps.climb_overdue_reviews(now=review.due_at - timedelta(microseconds=1)) == 0


def test_going_up_it_leaves_out_whoever_overrode_and_whoever_was_asked(review, company, timeline):
    asked = person("auditor")
    asked.manager = PersonFactory(username="between", manager=company.ceo, is_active=False)
    asked.save()

    timeline.go_to(review.due_at)

    review.refresh_from_db()
    assert review.asked == company.ceo  # over a manager who is disabled


def test_after_an_outage_the_next_clock_begins_when_it_ran_again(review, timeline):
    late = review.due_at + 5 * H

    review_sweeps.climb_overdue_reviews(now=late)

    review.refresh_from_db()
    assert review.due_at == late + 24 * H


# --- Findings ---


@pytest.mark.parametrize("finding", ["justified", "policy_change", "not_justified"])
def test_a_finding_closes_it_and_whoever_overrode_is_told(review, company, timeline, finding):
    find(review, person("auditor"), now=timeline.now, finding=finding, note="  As it was.  ")

    review.refresh_from_db()
    assert (review.state, review.finding) == (finding, "As it was.")
    assert (review.closed_by, review.closed_at) == (person("auditor"), timeline.now)
    assert told(company.cfo, "review_found") == 1
    assert AuditEvent.objects.get(kind="review.closed").facts["finding"] == finding


def test_a_policy_change_is_told_to_whoever_edits_policies(review, timeline):
    admin = PersonFactory(username="policy_admin")
    admin.roles.add(RoleFactory(key="policy_admin"))

    find(review, person("auditor"), now=timeline.now, finding="policy_change")

    assert told(admin, "review_policy") == 1


def test_a_finding_stands(review, timeline):
    find(review, person("auditor"), now=timeline.now)

    with pytest.raises(AlreadyDecided):
        find(review, person("second_reviewer"), now=timeline.now, finding="not_justified")


@pytest.mark.parametrize(
    "over", [{"note": " "}, {"finding": "maybe"}, {"roll_back": True}, {"note": "x" * 4001}]
)
def test_what_is_no_finding_is_refused(review, timeline, over):
    with pytest.raises(Unprocessable):
        find(review, person("auditor"), now=timeline.now, **over)


def test_there_is_no_such_review(company, timeline):
    with pytest.raises(NotFound):
        record_finding(
            review=4711, actor=company.cfo, finding="justified", note="x", now=timeline.now
        )


# --- Findings that order a rollback ---


@pytest.fixture
def financial(review, company):
    company.vendor_payment.is_financial = True
    company.vendor_payment.save()
    completed(review.request)
    return review


def order(review, timeline, by="auditor"):
    return find(
        review, person(by), now=timeline.now, finding="not_justified", roll_back=True,
        note="Undo it.",
    )  # fmt: skip


def test_a_financial_rollback_waits_for_a_second_reviewer_inside_the_review(financial, timeline):
    order(financial, timeline)
    placed = Order.objects.get()

    assert (placed.review, placed.needs_second, placed.confirmed_by) == (financial, True, None)
    assert placed.due_at == timeline.now + 4 * H
    assert told(person("second_reviewer"), "review_second") == 1
    confirm_rollback(review=financial.pk, actor=person("second_reviewer"), now=timeline.now)

    placed.refresh_from_db()
    financial.refresh_from_db()
    assert placed.confirmed_by == person("second_reviewer")
    assert financial.second_person == person("second_reviewer")


def test_nobody_confirms_their_own_and_nobody_who_is_not_independent(financial, company, timeline):
    order(financial, timeline)
    second = person("second_reviewer")
    second.manager = company.cfo
    second.save()

    for one in (person("auditor"), company.cfo, company.controller, second):
        with pytest.raises(NotYours):
            confirm_rollback(review=financial.pk, actor=one, now=timeline.now)


def test_a_second_word_at_the_instant_it_lapses_is_too_late(financial, timeline):
    order(financial, timeline)
    due_at = Order.objects.get().due_at

    with pytest.raises(TooLate):
        confirm_rollback(review=financial.pk, actor=person("second_reviewer"), now=due_at)
    confirm_rollback(
        review=financial.pk,
        actor=person("second_reviewer"),
        now=due_at - timedelta(microseconds=1),
    )


def test_what_is_not_financial_is_undone_on_one_word(review, timeline):
    review.request.action_type.is_financial = False
    review.request.action_type.save()
    completed(review.request)

    order(review, timeline)

    placed = Order.objects.get()
    assert (placed.needs_second, placed.closed_at) == (False, None)


def test_where_one_is_being_undone_already_the_order_joins_it(financial, timeline):
    ActionRequest.objects.filter(pk=financial.request_id).update(
        state=S.ROLLING_BACK,
        ended_at=None,
        due_at=timeline.now + H,
        next_attempt_at=timeline.now,
        holds_key=financial.request.resource_id is not None,
    )

    order(financial, timeline)

    placed = Order.objects.get()
    assert (placed.outcome, placed.review) == ("joined", financial)
    assert "rollback.joined" in chain_kinds(financial.request)
    with pytest.raises(NotNow):
        confirm_rollback(review=financial.pk, actor=person("second_reviewer"), now=timeline.now)


def test_where_nothing_was_done_the_order_says_so(review, timeline):
    ActionRequest.objects.filter(pk=review.request_id).update(
        state=S.EXPIRED, due_at=None, ended_at=timeline.now, holds_key=False
    )

    order(review, timeline)

    assert Order.objects.get().outcome == "nothing_to_do"


# --- Spot checks ---


def test_an_auditor_opens_one_on_what_was_completed_and_nobody_else_does(review, company, timeline):
    request = review.request
    with pytest.raises(NotNow):
        open_spot_check(ref=request.ref, actor=person("auditor"), reason="x", now=timeline.now)
    completed(request)
    with pytest.raises(NotYours):
        open_spot_check(ref=request.ref, actor=company.cfo, reason="x", now=timeline.now)
    with pytest.raises(Unprocessable):
        open_spot_check(ref=request.ref, actor=person("auditor"), reason=" ", now=timeline.now)

    opened = open_spot_check(
        ref=request.ref, actor=person("auditor"), reason="A sample.", now=timeline.now
    )

    assert (opened.kind, opened.opened_by) == ("spot_check", person("auditor"))
    with pytest.raises(NotNow):
        open_spot_check(ref=request.ref, actor=person("auditor"), reason="x", now=timeline.now)


# --- Cleanups ---


@pytest.fixture
def cleanup(company, timeline):
    """A payment that is half done and holds its record, and the cleanup that it owes."""
    make_critical(company)
    request = ask_for_payment(company)
    ActionRequest.objects.filter(pk=request.pk).update(
        state=S.STRANDED, due_at=None, ended_at=timeline.now, end_reason="stranded",
        has_effects=True, had_effects=True, holds_key=request.resource_id is not None,
    )  # fmt: skip
    request.steps.update(state="superseded", closed_at=timeline.now, due_at=None)
    request.steps.get().asks.update(due_at=None)
    for name in ("operator", "operator_2"):
        PersonFactory(username=name).roles.add(
            RoleFactory(key="operator") if name == "operator" else person("operator").roles.get()
        )
    return Review.objects.create(
        request=request, kind="cleanup", reason="half done", opened_at=timeline.now,
        due_at=timeline.now + 48 * H, remind_at=timeline.now + 24 * H, asked=person("auditor"),
    )  # fmt: skip


def say(cleanup, timeline, by="operator", **over):
    return say_settled(
        **{
            "review": cleanup.pk,
            "actor": person(by),
            "outcome": "rolled_back",
            "reference": "CM-11",
            "note": "Reversed in the ledger.",
            "now": timeline.now,
        }
        | over
    )


def confirm(cleanup, timeline, said, by="operator_2"):
    return confirm_settled(
        review=cleanup.pk, actor=person(by), now=timeline.now, said_at=said.said_at
    )


@pytest.mark.parametrize(
    ("outcome", "effects"), [("rolled_back", False), ("completed_manually", True)]
)
def test_two_people_and_a_reference_end_a_cleanup_and_the_request(
    cleanup, timeline, outcome, effects
):
    said = say(cleanup, timeline, outcome=outcome)
    cleanup.request.refresh_from_db()
    between = cleanup.request.state
    confirm(cleanup, timeline, said)

    cleanup.refresh_from_db()
    request = ActionRequest.objects.get(pk=cleanup.request_id)
    assert between == "stranded"
    assert (cleanup.state, cleanup.target_reference) == ("cleaned_up", "CM-11")
    assert (cleanup.closed_by, cleanup.second_person) == (person("operator"), person("operator_2"))
    assert (request.state, request.has_effects, request.holds_key) == (outcome, effects, False)


def test_one_person_alone_ends_no_cleanup(cleanup, timeline):
    said = say(cleanup, timeline)

    with pytest.raises(NotYours, match="You said it"):
        confirm(cleanup, timeline, said, by="operator")


def test_a_cleanup_that_was_said_anew_is_looked_at_anew(cleanup, timeline):
    first = say(cleanup, timeline)
    timeline.advance(minutes=1)
    say(cleanup, timeline, by="operator_2", outcome="completed_manually")

    with pytest.raises(NotNow, match="Something else was said"):
        confirm_settled(
            review=cleanup.pk, actor=person("operator"), now=timeline.now, said_at=first.said_at
        )


@pytest.mark.parametrize("over", [{"reference": " "}, {"note": ""}, {"outcome": "expired"}])
def test_a_cleanup_without_reference_words_or_outcome_is_refused(cleanup, timeline, over):
    with pytest.raises(Unprocessable):
        say(cleanup, timeline, **over)


def test_strangers_and_whoever_is_behind_the_agent_do_not_clean_up(cleanup, company, timeline):
    for one in (company.senior_accountant, company.agent_owner):
        with pytest.raises(NotYours):
            say(cleanup, timeline, actor=one)


def test_a_cleanup_ends_with_no_finding(cleanup, timeline):
    with pytest.raises(NotNow, match="two people"):
        find(cleanup, person("auditor"), now=timeline.now)
