from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from approvals.models import ActionRequest, Decision
from governance.tables import policy
from tests.approvals.asking import another_delegate, answer, ask_for_payment
from tests.approvals.test_inbox import HOSTILE
from tests.factories import (
    MONDAY_9AM,
    AppointmentFactory,
    DepartmentFactory,
    PersonFactory,
    RoleFactory,
)

HTMX = {"HX-Request": "true"}


def text(response):
    return response.content.decode().replace("\xa0", " ")


def page_url(request):
    return reverse("approvals:request", args=[request.ref])


def see(client, person, request):
    client.force_login(person)
    return text(client.get(page_url(request)))


def send(client, person, request, headers=None, **sent):
    client.force_login(person)
    sent = {"verdict": "approve", "digest": request.digest} | sent
    address = reverse("approvals:request-decide", args=[request.ref])
    return client.post(address, sent, headers=headers or {})


def test_the_page_says_what_why_until_when_and_what_if_nothing(client, company, timeline):
    request = ask_for_payment(company)
    timeline.advance(minutes=46)

    page = see(client, company.senior_accountant, request)

    assert "<h1" in page
    for words in (
        "Pay $12,000.00 to Northfield Packaging Supply",
        "INV-88213",
        "Net 30",
        "The invoice matches the purchase order and the goods receipt.",
        "You are the first delegate for vendor payments",
        "Your own limit is $25,000.00.",
        "1 h 49 min",
        "Your 2 h started at 09:35.",
        "the Controller is asked at 11:35. If nobody decides by 15:35, it closes and nothing is paid.",
        "Approve the payment of $12,000.00",
        "A credit memo is issued against the payment.",
        f'value="{request.digest}"',
    ):
        assert words in page


def test_who_heads_or_controls_a_department_sees_what_it_asked_for(client, company):
    request = ask_for_payment(company)
    for person, sees in (
        (company.controller, 200),  # of the same department
        (PersonFactory(username="head"), 200),
        (PersonFactory(username="other", department=DepartmentFactory()), 404),
    ):
        if person.username == "head":
            AppointmentFactory(
                version=company.policy,
                office="department_head",
                scope="accounts-payable",
                person=person,
            )
        if person.username == "other":
            person.roles.add(company.controller.roles.get())
        client.force_login(person)

        assert client.get(page_url(request)).status_code == sees


def test_a_stranger_finds_nothing_there(client, company, timeline):
    request = ask_for_payment(company)
    client.force_login(company.cfo)

    assert client.get(page_url(request)).status_code == 404
    assert send(client, company.cfo, request).status_code == 404


def test_an_approval_is_stored_with_note_and_digest_and_said_in_place(client, company, timeline):
    request = ask_for_payment(company)

    response = send(
        client, company.finance_manager, request, HTMX, note="Receipt and invoice agree."
    )

    decision = Decision.objects.get()
    assert (decision.verdict, decision.note, decision.digest) == (
        "approve",
        "Receipt and invoice agree.",
        request.digest,
    )
    page = text(response)
    assert response.status_code == 200
    assert page.lstrip().startswith("<aside")
    assert "You approved this at 09:00:00." in page
    assert "<form" not in page
    assert 'id="tags" hx-swap-oob="true"' in page
    assert "Approved, not begun" in page
    assert "hx-swap-oob=\"innerHTML:[data-live='count-inbox']\"" in page


def test_without_script_a_decision_leads_back_to_the_page(client, company, timeline):
    request = ask_for_payment(company)

    response = send(client, company.finance_manager, request)

    assert (response.status_code, response["Location"]) == (302, page_url(request))
    assert "You approved" in text(client.get(page_url(request)))


def test_the_next_of_the_lane_is_offered_then_the_next_lane(client, company, timeline):
    first = ask_for_payment(company)
    timeline.advance(minutes=36)
    second = ask_for_payment(
        company, key="2", invoice="INV-2", now=timeline.now - timedelta(seconds=1)
    )
    third = ask_for_payment(company, key="3", invoice="INV-3", now=timeline.now)
    timeline.advance(seconds=1)

    after_second = text(send(client, company.finance_manager, second, HTMX))
    after_third = text(send(client, company.finance_manager, third, HTMX))
    alone = text(send(client, company.senior_accountant, first, HTMX))

    assert page_url(third) in after_second.split("What comes next")[1]
    assert "Nothing else waits for you." in after_third
    assert "Nothing else waits for you." in alone


def test_a_no_carries_its_severity_and_ends_it(client, company, timeline):
    request = ask_for_payment(company)

    page = text(
        send(
            client,
            company.finance_manager,
            request,
            HTMX,
            verdict="reject",
            severity="high",
            note="Stop.",
        )
    )

    assert Decision.objects.get().severity == "high"
    assert "You rejected this at 09:00:00." in page
    assert "nothing is paid" in page


def test_someone_was_faster_is_said_in_place_and_the_note_is_kept(client, company, timeline):
    """Two signatures are needed, so two people are asked at once; the first of them says no."""
    second = another_delegate(company)
    company.row.__class__.objects.filter(pk=company.row.pk).update(quorum=2)
    policy.cache_clear()
    request = ask_for_payment(company)
    timeline.advance(minutes=1)
    answer(request, second, "reject", now=timeline.now)

    refused = send(client, company.senior_accountant, request, HTMX, note="Fine by me.")

    page = text(refused)
    assert refused.status_code == 409
    assert "Someone was faster." in page
    assert "The Treasury Analyst rejected this at 09:01:00. Your decision was not recorded." in page
    assert "What you typed was not stored" in page
    assert "Fine by me." in page
    assert "<form" not in page


def test_an_overseer_who_is_not_asked_is_refused(client, company, timeline):
    request = ask_for_payment(company)
    operator = PersonFactory()
    operator.roles.add(RoleFactory(key="operator"))

    refused = send(client, operator, request, HTMX, note="I say no")

    assert refused.status_code == 403
    assert "You are not asked about this request" in text(refused)
    assert "I say no" in text(refused)


def test_a_second_decision_of_the_same_rung_is_told_who_was_first(client, company, timeline):
    request = ask_for_payment(company)
    timeline.advance(minutes=36)
    answer(request, company.senior_accountant, now=timeline.now)

    refused = send(client, company.senior_accountant, request, HTMX, note="again")

    assert refused.status_code == 409
    assert "Your first decision stands." in text(refused)


def test_too_late_says_by_how_much_and_who_is_asked(client, company, timeline):
    request = ask_for_payment(company)
    timeline.advance(minutes=35, seconds=4)

    refused = send(client, company.finance_manager, request, HTMX, note="Fine by me.")

    page = text(refused)
    assert refused.status_code == 409
    assert "Too late." in page
    assert "The window closed at 09:35:00, 4 s ago. The Senior Accountant has been asked." in page
    assert "Fine by me." in page
    assert "data-focus" in page
    assert not Decision.objects.exists()


def test_a_refusal_without_script_is_a_whole_page(client, company, timeline):
    request = ask_for_payment(company)
    timeline.advance(minutes=36)

    refused = send(client, company.finance_manager, request, note="Fine by me.")

    assert refused.status_code == 409
    assert "<html" in text(refused)
    assert "Too late." in text(refused)
    assert "Fine by me." in text(refused)


def test_another_digest_is_refused_and_offers_no_form(client, company, timeline):
    request = ask_for_payment(company)

    refused = send(client, company.finance_manager, request, HTMX, digest="0" * 64, note="kept")

    page = text(refused)
    assert refused.status_code == 409
    assert "This is not what you saw." in page
    assert "Open it again" in page
    assert "<form" not in page
    assert "kept" in page


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({"verdict": ""}, "Choose one: approve or reject."),
        ({"verdict": "waive"}, "Choose one: approve or reject."),
        ({"note": "x" * 4001}, "Keep the note under 4000 characters; this one has 4001."),
        ({"digest": ""}, "this form has lost what it is about"),
    ],
)
def test_a_form_to_mend_says_the_mend_and_keeps_the_note(client, company, timeline, sent, words):
    request = ask_for_payment(company)

    response = send(client, company.finance_manager, request, HTMX, **({"note": "kept"} | sent))

    page = text(response)
    assert response.status_code == 422
    assert words in page
    assert "<form" in page
    assert sent.get("note", "kept")[:3] in page


def test_a_note_with_a_nul_in_it_is_refused_and_nothing_decided(client, company, timeline):
    request = ask_for_payment(company)

    response = send(client, company.finance_manager, request, HTMX, note="nul \x00")

    assert response.status_code == 400
    assert not Decision.objects.exists()


def test_a_post_without_a_token_is_refused(company, timeline):
    request = ask_for_payment(company)
    client = Client(enforce_csrf_checks=True)

    response = send(client, company.finance_manager, request)

    assert response.status_code == 403
    assert not Decision.objects.exists()


def test_one_signature_of_two_says_what_is_missing(client, company, timeline):
    another_delegate(company)
    company.row.__class__.objects.filter(pk=company.row.pk).update(quorum=2)
    policy.cache_clear()
    request = ask_for_payment(company)
    timeline.advance(minutes=1)
    first = (
        ActionRequest.objects.get(pk=request.pk)
        .steps.last()
        .asks.filter(due_at__isnull=False)
        .first()
        .person
    )

    page = text(send(client, first, request, HTMX))

    assert "You approved this at 09:01:00." in page
    assert "1 more approval is needed." in page


def test_a_poll_answers_only_when_something_changed(client, company, timeline):
    request = ask_for_payment(company)
    request.refresh_from_db(fields=["chain_length"])
    client.force_login(company.finance_manager)
    address = f"{page_url(request)}?known={request.chain_length}&form=1"

    quiet = client.get(address, headers=HTMX)
    timeline.advance(minutes=36)
    changed = client.get(address, headers=HTMX)

    assert quiet.status_code == 204
    assert changed.status_code == 200
    page = text(changed)
    assert "<aside" not in page  # somebody may be typing in it
    assert "Your window closed at 09:35:00." in page
    assert "rc-lost" in page


def test_a_page_that_only_watches_is_given_the_form_when_its_turn_comes(client, company, timeline):
    request = ask_for_payment(company)
    timeline.advance(minutes=36)
    client.force_login(company.senior_accountant)

    page = text(client.get(f"{page_url(request)}?known=1&form=0", headers=HTMX))

    assert "<aside" in page
    assert "<form" in page


def test_an_overseer_sees_everything_and_no_form(client, company, timeline):
    request = ask_for_payment(company)
    auditor = PersonFactory()
    auditor.roles.add(RoleFactory(key="auditor"))

    page = see(client, auditor, request)

    assert "You are not asked to decide this." in page
    assert "data-decision" not in page


def test_related_requests_are_those_the_reader_may_see(client, company, timeline):
    request = ask_for_payment(company)
    mine = ask_for_payment(company, key="2", invoice="INV-2")
    timeline.advance(minutes=36)
    hidden = ask_for_payment(company, key="3", invoice="INV-3", now=timeline.now)
    ActionRequest.objects.update(counterparty="northfield packaging supply")

    page = see(client, company.senior_accountant, request)

    assert mine.ref in page
    assert hidden.ref not in page


def test_an_action_that_cannot_be_undone_says_so_beside_the_form(client, company, timeline):
    company.vendor_payment.reversal = "none"
    company.vendor_payment.reversal_words = ""
    company.vendor_payment.save()
    request = ask_for_payment(company)

    page = see(client, company.finance_manager, request)

    assert "This cannot be undone. What is done stays done." in page
    assert "data-decision" in page


def test_hostile_words_stay_words(client, company, timeline):
    request = ask_for_payment(company, justification="The reason")
    ActionRequest.objects.filter(pk=request.pk).update(
        title=HOSTILE[:300],
        counterparty=HOSTILE[:200],
        payload={**request.payload, "invoice": HOSTILE, "terms": {"<b>": "</dd><script>"}},
        justification="first line\n" + HOSTILE[:3900],
        source_run_id="<i>run</i>",
        source_url='https://example.com/"onmouseover="alert(1)',
    )
    ask_for_payment(company, key="2", invoice="INV-2")

    page = see(client, company.finance_manager, request)

    assert "<script>alert" not in page
    assert "</dd><script>" not in page
    assert "<img src=x" not in page
    assert "<i>run" not in page
    assert '"onmouseover="' not in page
    assert "\u202e" not in page
    assert "\u2066" not in page
    assert 'rel="noopener noreferrer nofollow"' in page
    assert page.count("</section>") == page.count("<section")
    assert page.rstrip().endswith("</html>")


def test_a_note_is_escaped_in_the_chain(client, company, timeline):
    request = ask_for_payment(company)
    answer(
        request, company.finance_manager, now=timeline.now, note="<script>alert(1)</script>\u202e"
    )

    page = see(client, company.finance_manager, request)

    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_the_number_of_queries_does_not_grow_with_the_history(client, company, timeline):
    request = ask_for_payment(company)
    client.force_login(company.finance_manager)

    def queries():
        with CaptureQueriesContext(connection) as caught:
            assert client.get(page_url(request)).status_code == 200
        return len(caught)

    queries()
    early = queries()
    timeline.advance(hours=7)
    late = queries()

    assert late <= early
    assert early <= 70


@pytest.mark.parametrize("ref", ["R-0000-0000-0000", "x" * 300, "..", "%00", "R-'; --"])
def test_a_reference_nobody_has_is_not_found(client, company, ref):
    client.force_login(company.finance_manager)

    assert client.get(f"/requests/{ref}/").status_code in (404, 302)


def test_the_page_stands_for_every_state_a_request_may_be_in(client, company, timeline):
    auditor = PersonFactory()
    auditor.roles.add(RoleFactory(key="auditor"))
    request = ask_for_payment(company)
    client.force_login(auditor)
    ActionRequest.objects.filter(pk=request.pk).update(approved_at=MONDAY_9AM)

    for state in ActionRequest.State:
        ended = state in {
            "completed",
            "completed_manually",
            "rejected",
            "denied",
            "expired",
            "withdrawn",
            "rolled_back",
            "stranded",
        }
        ActionRequest.objects.filter(pk=request.pk).update(
            state=state,
            due_at=None if ended else MONDAY_9AM + timedelta(minutes=5),
            ended_at=MONDAY_9AM if ended else None,
            blocked_from="pending" if state == "blocked" else "",
            holds_key=state in {"approved", "executing", "troubled", "rolling_back", "stranded"},
        )

        assert client.get(page_url(request)).status_code == 200, state
