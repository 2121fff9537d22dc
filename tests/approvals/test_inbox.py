from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from approvals.models import ActionRequest, Ask
from approvals.views import inbox as page_of
from tests.approvals.asking import add_check, answer, ask_for_payment, name_compliance
from tests.factories import MONDAY_9AM
from tests.rollback.carrying import on_call

__all__ = ["on_call"]  # a fixture

INBOX = "/inbox/"
HOSTILE = (
    "<script>alert(1)</script> \"'><img src=x onerror=alert(1)> \u202egnp.exe \u2066 "
    + "ش" * 40
    + " 👩‍👩‍👧 "
    + "w" * 4000
)


def text(response):
    return response.content.decode().replace("\xa0", " ")


def see(client, person, path=INBOX, **headers):
    client.force_login(person)
    return text(client.get(path, headers=headers))


def poll(client, person, path=INBOX):
    return see(client, person, path, **{"HX-Request": "true"})


def ask_for_many(company, count):
    return [ask_for_payment(company, key=f"many-{n}", invoice=f"INV-{n}") for n in range(count)]


def test_a_row_is_enough_for_the_easy_case(client, company, timeline):
    request = ask_for_payment(company)
    timeline.advance(minutes=46)

    page = see(client, company.senior_accountant)

    assert f'data-row="{request.ref}"' in page
    assert "Pay $12,000.00 to Northfield Packaging Supply" in page
    assert "INV-88213 · Finance Manager silent for 35 min" in page
    assert "1 h 49 min" in page
    assert 'data-passed="Passed on to the Controller"' in page
    assert "1 request waits for you. The first runs out in 1 h 49 min." in page


def test_a_row_of_compliance_says_what_is_broken(client, company, timeline):
    officer = name_compliance(company)[0]
    add_check(company, "payload.terms != 'Net 30'", on_break="These terms are not ours.")
    ask_for_payment(company)

    assert "INV-88213 · These terms are not ours<" in see(client, officer)


def test_a_row_of_whoever_is_on_call_says_what_failed(client, company, timeline, on_call):
    request = ask_for_payment(company)
    answer(request, company.finance_manager, now=timeline.now)
    timeline.advance(minutes=61)

    assert "INV-88213 · It was approved, and nothing began it in time<" in see(client, on_call)


def test_lanes_come_in_their_order_and_empty_ones_keep_a_line(client, company, timeline):
    ask_for_payment(company)

    page = see(client, company.finance_manager)

    lanes = ["policy_violation", "system_failure", "conflict", "rejection", "timeout", "approval"]
    places = [page.index(f'id="lane-{lane}"') for lane in lanes]
    assert places == sorted(places)
    assert "Nobody before you was silent" in page


def test_a_poll_is_given_the_list_and_what_stands_around_it(client, company, timeline):
    request = ask_for_payment(company)

    answered = poll(client, company.finance_manager)

    assert "<h1>" not in answered
    assert 'id="rows"' in answered
    assert f'data-row="{request.ref}"' in answered
    assert 'data-live="count-inbox">1<' in answered
    assert "is-selected" not in answered  # what is chosen is the reader's own


def test_rows_that_left_say_what_became_of_them(client, company, timeline):
    approved, passed, kept = ask_for_many(company, 3)
    answer(approved, company.finance_manager, now=timeline.now)
    timeline.advance(minutes=36)
    answer(kept, company.senior_accountant, now=timeline.now)
    known = ",".join(each.ref for each in (approved, passed, kept))

    answered = poll(client, company.finance_manager, f"{INBOX}?known={known}")

    assert answered.count("data-ended") == 3
    assert "You approved it at 09:00" in answered or "Lapsed at" in answered
    assert "Passed on to the Senior Accountant" in answered
    assert "Senior Accountant approved it at 09:36" in answered


def test_nobody_learns_of_others_requests_by_naming_them(client, company, timeline):
    request = ask_for_payment(company)

    answered = poll(client, company.cfo, f"{INBOX}?known={request.ref},<b>,R-1")

    assert "data-gone" not in answered
    assert request.title not in answered


def test_each_person_sees_their_own_asks_only(client, company, timeline):
    request = ask_for_payment(company)

    assert request.ref not in see(client, company.controller)


def test_the_number_of_queries_does_not_grow_with_the_rows(client, company, timeline):
    client.force_login(company.finance_manager)

    def queries():
        with CaptureQueriesContext(
            connection,
        ) as caught:
            assert client.get(INBOX).status_code == 200
        return len(caught)

    ask_for_payment(company)
    queries()  # the policy is read once in a process
    one = queries()
    ask_for_many(company, 12)
    many = queries()

    assert many == one
    assert one <= 60


def test_more_than_a_page_goes_on_at_a_cursor(client, company, timeline, monkeypatch):
    monkeypatch.setattr(page_of, "PAGE", 3)
    requests = ask_for_many(company, 5)

    first = see(client, company.finance_manager)
    more = first.split('href="?lane=approval')[1].split('"')[0]
    second = see(
        client, company.finance_manager, f"{INBOX}?lane=approval{more}".replace("&amp;", "&")
    )

    assert [r.ref for r in requests if f'data-row="{r.ref}"' in first] == [
        r.ref for r in requests[:3]
    ]
    assert [r.ref for r in requests if f'data-row="{r.ref}"' in second] == [
        r.ref for r in requests[3:]
    ]
    assert ">3+<" in first


@pytest.mark.parametrize(
    "after",
    [
        "",
        "x",
        "~",
        "2026-13-99T00:00~1",
        "2026-03-02T09:00:00~1",
        f"2026-03-02T09:00:00+00:00~{9**40}",
        "\x00~1",
    ],
)
def test_a_cursor_that_is_none_is_the_beginning(client, company, timeline, after):
    request = ask_for_payment(company)
    client.force_login(company.finance_manager)

    response = client.get(INBOX, {"lane": "approval", "after": after})

    assert response.status_code == 200
    assert request.ref in text(response)


@pytest.mark.parametrize("q", ["northfield", "INV-88213", "12,000", "$12000.00", "12000"])
def test_search_finds_titles_invoices_and_amounts(client, company, timeline, q):
    request = ask_for_payment(company)
    other = ask_for_payment(company, key="other", invoice="KP-1", amount="500.00")
    ActionRequest.objects.filter(pk=other.pk).update(
        title="Pay $500.00 to Kestrel Print", business_key="Kestrel/KP-1/"
    )

    page = see(client, company.finance_manager, f"{INBOX}?q={q.replace('$', '%24')}")

    assert f'data-row="{request.ref}"' in page
    assert f'data-row="{other.ref}"' not in page


def test_search_finds_a_reference(client, company, timeline):
    request = ask_for_payment(company)

    assert f'data-row="{request.ref}"' in see(
        client, company.finance_manager, f"{INBOX}?q={request.ref.lower()}"
    )


@pytest.mark.parametrize(
    "q", ["zebra", "NaN", "1e999999", "%00", "%25", "%E2%80%AE", "9" * 300, "<script>"]
)
def test_a_search_that_finds_nothing_says_so(client, company, timeline, q):
    ask_for_payment(company)
    client.force_login(company.finance_manager)

    page = text(client.get(f"{INBOX}?q={q}"))

    assert "<script>alert" not in page
    assert ("Nothing matches" in page) or ("1 request " in page)


def test_watching_shows_what_is_open_with_others(client, company, timeline):
    request = ask_for_payment(company)
    timeline.advance(minutes=36)

    mine = see(client, company.finance_manager)
    watched = see(client, company.finance_manager, f"{INBOX}?view=watching")

    assert f'data-row="{request.ref}"' not in mine
    assert f'data-row="{request.ref}"' in watched
    assert "With the Senior Accountant" in watched


def test_an_empty_inbox_says_what_happened_meanwhile(client, company, timeline):
    one, other = ask_for_many(company, 2)
    answer(one, company.finance_manager, now=timeline.now)
    timeline.advance(minutes=36)
    answer(other, company.senior_accountant, now=timeline.now)

    page = see(client, company.finance_manager)

    assert "You are up to date" in page
    assert (
        "You decided 1 request today. 1 other you know of was decided by colleagues, or ended."
        in page
    )


def test_what_one_was_told_stands_until_it_is_marked(client, company, timeline):
    request = ask_for_payment(company)
    timeline.advance(minutes=36)
    answer(request, company.senior_accountant, now=timeline.now, note="All 40 pallets are here.")
    before = see(client, company.finance_manager)
    keys = {
        name: before.split(f'name="{name}" value="')[1].split('"')[0] for name in ("since", "upto")
    }

    client.post(reverse("approvals:notices-seen"), keys)

    assert "Senior Accountant approved it: “All 40 pallets are here.”" in before
    assert "What you were told" not in see(client, company.finance_manager)


def test_the_row_in_the_address_is_the_one_beside_the_list(client, company, timeline):
    ask_for_payment(company)
    second = ask_for_payment(company, key="2", invoice="INV-2", amount="77.00")

    page = see(client, company.finance_manager, f"{INBOX}?at={second.ref}")

    peek = page.split('id="peek"')[1]
    assert second.ref in peek
    assert "$77.00" in peek


def test_the_peek_is_for_those_who_may_see(client, company, timeline):
    request = ask_for_payment(company)
    address = reverse("approvals:peek", args=[request.ref])

    assert "If you do nothing," in see(client, company.finance_manager, address)
    client.force_login(company.cfo)
    assert client.get(address).status_code == 404


def test_hostile_words_stay_words(client, company, timeline):
    request = ask_for_payment(company)
    ActionRequest.objects.filter(pk=request.pk).update(
        title=HOSTILE[:300],
        payload={**request.payload, "invoice": HOSTILE, "terms": "ب" * 300},
        justification=HOSTILE[:4000],
    )

    page = see(client, company.finance_manager)

    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "\u202e" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert page.rstrip().endswith("</html>")


def test_a_clock_that_ran_out_before_the_sweep_does_not_break_the_list(client, company, timeline):
    request = ask_for_payment(company)
    Ask.objects.update(due_at=MONDAY_9AM - timedelta(seconds=1))
    request.steps.update(
        due_at=MONDAY_9AM - timedelta(seconds=1), opened_at=MONDAY_9AM - timedelta(minutes=5)
    )

    page = see(client, company.finance_manager)

    assert "is-over" in page
    assert "You are asked again" in page
