"""The pages of reviews and of a bypass: who may see what, and what the forms do."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse

from approvals.models import ActionRequest, Decision, Order, Review
from governance.models import Person
from tests.approvals.asking import ask_for_payment, make_critical
from tests.factories import MONDAY_9AM, PersonFactory, RoleFactory
from tests.factors import code_now, give_factor

pytestmark = pytest.mark.django_db

H = timedelta(hours=1)
AT_L4 = MONDAY_9AM + timedelta(minutes=35) + 6 * H


def signed_in(person):
    client = Client()
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


def text(response):
    return response.content.decode().replace("\xa0", " ")


def person(username):
    return Person.objects.get(username=username)


@pytest.fixture
def at_l4(company, timeline):
    make_critical(company)
    give_factor(company.cfo)
    request = ask_for_payment(company)
    timeline.go_to(AT_L4)
    return request


def decide(client, request, note="The books close tonight."):
    return client.post(
        reverse("approvals:request-decide", args=[request.ref]),
        {"verdict": "approve", "digest": request.digest, "note": note},
    )


@pytest.fixture
def review(at_l4, company):
    client = signed_in(company.cfo)
    sent = decide(client, at_l4)
    client.post(sent["Location"], {"code": code_now()})
    return Review.objects.get()


def page(review, who):
    return signed_in(who).get(reverse("approvals:review", args=[review.pk]))


def test_the_executive_sees_what_they_override_and_what_follows(at_l4, company):
    seen = text(signed_in(company.cfo).get(reverse("approvals:request", args=[at_l4.ref])))

    assert "Emergency bypass" in seen
    assert "The Finance Manager, the Senior Accountant and the Controller did not answer" in seen
    assert "An independent review opens in the same instant" in seen
    assert "Bypass and approve the payment of $12,000.00…" in seen
    assert "Justification" in seen


def test_the_step_up_page_says_it_again_beside_the_code_and_the_bypass_follows(at_l4, company):
    client = signed_in(company.cfo)
    sent = decide(client, at_l4)

    asked = text(client.get(sent["Location"]))
    done = client.post(sent["Location"], {"code": code_now()})

    assert "You override" in asked
    assert "did not answer in time" in asked
    assert "“The books close tonight.”" in asked
    assert "Go back without bypassing" in asked
    assert done.status_code == 302
    assert Decision.objects.get().is_bypass
    shown = text(client.get(done["Location"]))
    assert "Bypass: open, due" in shown


def test_without_a_justification_the_form_is_to_be_mended_before_any_code(at_l4, company):
    refused = decide(signed_in(company.cfo), at_l4, note="")

    assert refused.status_code == 422
    assert "Say why the others could not be waited for." in text(refused)


def test_the_queue_is_for_auditors_and_whoever_is_asked(review, company):
    seen = text(signed_in(person("auditor")).get("/reviews/"))
    others = signed_in(company.finance_manager).get("/reviews/")

    assert "1 open, 1 of them yours" in seen
    assert review.request.ref in seen
    assert others.status_code == 403


def test_the_rail_counts_reviews_for_those_who_have_to_do_with_them(review, company):
    assert 'href="/reviews/"' in text(signed_in(person("auditor")).get("/inbox/"))
    assert 'href="/reviews/"' not in text(signed_in(company.finance_manager).get("/inbox/"))


def test_overdue_is_red_on_the_queue_and_in_the_rail(review, timeline):
    timeline.go_to(review.due_at + 3 * H)

    seen = text(signed_in(person("second_reviewer")).get("/reviews/"))

    assert "1 review overdue." in seen
    assert "Overdue 3 h" in seen
    assert "rc-count--bad" in seen


def test_the_page_has_the_chain_the_reason_and_the_policy_of_that_day(review):
    seen = text(page(review, person("auditor")))

    assert "The Cfo overrode" in seen or "The CFO overrode" in seen
    assert "The books close tonight." in seen
    assert "Was it justified?" in seen
    assert "Policy version 1" in seen
    assert "L1 for 30 min, L2 for 2 h, L3 for 4 h, policy 1" in seen
    assert "Finance Manager" in seen
    assert "Close the review" in seen


def test_others_do_not_know_of_it(review, company):
    assert page(review, company.finance_manager).status_code == 404


def test_an_auditor_who_is_below_sees_it_and_why_others_review_it(review, company):
    below = person("second_reviewer")
    below.manager = company.cfo
    below.save()

    seen = text(page(review, below))

    assert "You stand below whoever overrode others here" in seen
    assert "Close the review" not in seen


def test_a_finding_is_recorded_and_shown(review, company):
    client = signed_in(person("auditor"))

    sent = client.post(
        reverse("approvals:review-find", args=[review.pk]),
        {"finding": "policy_change", "note": "Name a deputy."},
    )

    shown = text(client.get(sent["Location"]))
    assert "Justified, with a policy change" in shown
    assert "“Name a deputy.”" in shown
    assert "Closed last" in text(client.get("/reviews/"))


def test_what_is_missing_is_said_at_the_field_and_what_was_typed_stays(review):
    client = signed_in(person("auditor"))

    mend = client.post(
        reverse("approvals:review-find", args=[review.pk]), {"note": "Half a finding."}
    )

    assert mend.status_code == 422
    assert "Choose what you found." in text(mend)
    assert "Half a finding." in text(mend)


def test_a_financial_rollback_is_confirmed_on_the_page_by_the_second_reviewer(review, company):
    company.vendor_payment.is_financial = True
    company.vendor_payment.save()
    ActionRequest.objects.filter(pk=review.request_id).update(
        state="completed", due_at=None, ended_at=AT_L4, has_effects=True, had_effects=True,
        holds_key=False,
    )  # fmt: skip
    first, second = signed_in(person("auditor")), signed_in(person("second_reviewer"))
    url = reverse("approvals:review", args=[review.pk])
    first.post(
        reverse("approvals:review-find", args=[review.pk]),
        {"finding": "not_justified", "note": "Undo.", "roll_back": "on"},
    )

    own, other = text(first.get(url)), text(second.get(url))
    second.post(reverse("approvals:review-confirm", args=[review.pk]))

    assert "You ordered it, so another reviewer confirms it." in own
    assert "Confirm the rollback of $12,000.00" in other
    assert Order.objects.get().confirmed_by == person("second_reviewer")


def test_an_auditor_opens_a_spot_check_from_the_page_of_what_was_completed(review, company):
    Review.objects.all().update(state="justified", closed_at=AT_L4)
    ActionRequest.objects.filter(pk=review.request_id).update(
        state="completed", due_at=None, ended_at=AT_L4, holds_key=False
    )
    client = signed_in(person("auditor"))
    ref = review.request.ref

    shown = text(client.get(reverse("approvals:request", args=[ref])))
    sent = client.post(reverse("approvals:spot-check-open", args=[ref]), {"reason": "A sample."})

    assert "Open a spot check" in shown
    assert Review.objects.filter(kind="spot_check", reason="A sample.").count() == 1
    assert sent["Location"].startswith("/reviews/")


def test_a_cleanup_is_said_by_one_and_confirmed_by_another_on_its_page(company, timeline):
    make_critical(company)
    request = ask_for_payment(company)
    request.steps.get().asks.update(due_at=None)
    request.steps.update(state="superseded", closed_at=timeline.now, due_at=None)
    ActionRequest.objects.filter(pk=request.pk).update(
        state="stranded", due_at=None, ended_at=timeline.now, has_effects=True, had_effects=True,
        holds_key=request.resource_id is not None,
    )  # fmt: skip
    role = RoleFactory(key="operator")
    one, two = PersonFactory(username="op1", name="Op one"), PersonFactory(username="op2")
    for each in (one, two):
        each.roles.add(role)
    review = Review.objects.create(
        request=request, kind="cleanup", reason="Half done.", opened_at=timeline.now,
        due_at=timeline.now + 48 * H, asked=person("auditor"),
    )  # fmt: skip
    url = reverse("approvals:review", args=[review.pk])

    signed_in(one).post(
        reverse("approvals:review-settle", args=[review.pk]),
        {"outcome": "rolled_back", "reference": "CM-9", "note": "Reversed."},
    )
    own, other = text(signed_in(one).get(url)), text(signed_in(two).get(url))
    review.refresh_from_db()
    signed_in(two).post(
        reverse("approvals:review-settled", args=[review.pk]),
        {"said_at": review.said_at.isoformat()},
    )

    assert "You said this." in own
    assert "Confirm that it is so" in other
    request.refresh_from_db()
    assert request.state == "rolled_back"


def test_the_api_tells_people_of_reviews(review, company):
    found = signed_in(person("auditor")).get(f"/api/v1/requests/{review.request.ref}/").json()

    (told,) = found["reviews"]
    assert (told["kind"], told["state"], told["asked"]) == ("bypass", "open", "auditor")
    assert told["signatures_replaced"] == 1


def test_a_queue_of_many_is_paged_in_a_fixed_number_of_queries(
    review, django_assert_max_num_queries
):
    Review.objects.bulk_create(
        Review(
            request=review.request, kind="violation", reason=f"{n}", opened_at=AT_L4,
            due_at=AT_L4 + timedelta(minutes=n),
        )
        for n in range(60)
    )  # fmt: skip
    client = signed_in(person("auditor"))

    with django_assert_max_num_queries(45):
        seen = text(client.get("/reviews/"))

    assert "50+ open" in seen or "50 open" in seen
    assert "Show the next ones" in seen
