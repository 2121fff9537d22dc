"""Several requests of one kind are approved from one page: each by itself, on its own digest."""

from __future__ import annotations

from datetime import timedelta

import pytest

from approvals.models import ActionRequest, Decision
from approvals.services.several import approve_one_of_several
from governance.errors import DigestChanged, NotNow
from governance.models import AuditEvent
from tests.approvals.asking import answer, ask_for_payment
from tests.factories import MONDAY_9AM

pytestmark = pytest.mark.django_db

M = timedelta(minutes=1)
URL = "/inbox/several/"


@pytest.fixture
def three(company, timeline):
    return [
        ask_for_payment(company, key=f"k{n}", invoice=f"INV-{n}", amount=f"{n}000.00")
        for n in (1, 2, 3)
    ]


@pytest.fixture
def mine(client, company):
    client.force_login(company.finance_manager)
    return client


def listed(client, *requests):
    page = client.get(URL, {"ref": [each.ref for each in requests]})
    return page.content.decode().replace("\xa0", " ")


def send(client, *requests, **over):
    shown = over.pop("shown", [f"{each.ref}:{each.digest}" for each in requests])
    return client.post(URL, {"shown": shown, **over}, follow=True).content.decode()


def states():
    return list(ActionRequest.objects.order_by("pk").values_list("state", flat=True))


def change(request, **fields):
    ActionRequest.objects.filter(pk=request.pk).update(**fields)


def test_the_page_lists_each_with_its_amount_and_digest_and_adds_them_up(mine, three):
    page = listed(mine, *three)

    assert "Approve 3 vendor payments, $6,000.00 together?" in page
    assert "Approve 3 vendor payments of $6,000.00</button>" in page
    for request in three:
        assert f'title="{request.digest}"' in page
        assert f'value="{request.ref}:{request.digest}"' in page
    assert states() == ["pending"] * 3  # to look decides nothing


def test_each_is_approved_by_itself_and_told_by_itself(mine, three, company):
    page = send(mine, *three, note="Checked together.")

    assert states() == ["approved"] * 3
    for request in three:
        assert f"You approved {request.ref}" in page
    assert set(Decision.objects.values_list("person", "note")) == {
        (company.finance_manager.pk, "Checked together.")
    }
    assert {each.digest for each in Decision.objects.all()} == {each.digest for each in three}


def test_that_it_was_one_of_several_is_in_the_record_and_on_its_page(mine, three):
    send(mine, *three[:2])
    send_alone = {"verdict": "approve", "digest": three[2].digest}
    mine.post(f"/requests/{three[2].ref}/decide/", send_alone)

    events = AuditEvent.objects.filter(kind="step.decided").order_by("pk")
    assert [event.facts["via"] for event in events] == ["bulk", "bulk", "page"]
    said = "One of several, approved together from one page."
    pages = [mine.get(f"/requests/{each.ref}/").content.decode() for each in three]
    assert [said in page for page in pages] == [True, True, False]


def test_one_that_somebody_else_decided_meanwhile_is_left_out_and_named(mine, three, company):
    answer(three[1], company.finance_manager, "reject", now=MONDAY_9AM)

    page = send(mine, *three)

    assert states() == ["approved", "pending", "approved"]
    assert f"{three[1].ref} was not approved." in page


def test_a_digest_that_is_not_the_requests_decides_nothing_and_keeps_none_of_the_others(
    mine, three
):
    shown = [f"{three[0].ref}:{'0' * 64}", f"{three[1].ref}:{three[1].digest}"]

    page = send(mine, shown=shown)

    assert states() == ["pending", "approved", "pending"]
    assert f"{three[0].ref} was not approved. This is not what you saw." in page


@pytest.mark.parametrize("change_of", [{"impact": "high"}, {"person_present": True}])
def test_what_is_grave_is_left_out_of_the_page_and_refused_by_the_service(
    mine, three, company, change_of
):
    change(three[0], **change_of)

    page = listed(mine, *three)

    assert "Approve 2 vendor payments" in page
    assert "Left out" in page
    with pytest.raises(NotNow):
        approve_one_of_several(
            ref=three[0].ref, actor=company.finance_manager, digest=three[0].digest, now=MONDAY_9AM
        )
    assert not Decision.objects.exists()


def test_what_has_come_to_another_path_is_decided_by_itself(mine, three, company, timeline):
    timeline.advance(minutes=5)  # L1 of the timeout path, the same people again

    page = listed(mine, *three)

    assert "Nothing is left to approve together" in page
    with pytest.raises(NotNow, match="look at it by itself"):
        approve_one_of_several(
            ref=three[0].ref, actor=company.finance_manager, digest=three[0].digest,
            now=timeline.now,
        )  # fmt: skip


def test_of_two_kinds_the_first_ones_kind_is_taken_and_the_other_named(mine, three):
    change(three[2], severity="medium")

    page = listed(mine, *three)

    assert "Approve 2 vendor payments" in page
    assert "It is of another kind or risk than the first one selected." in page


def test_what_the_reader_is_not_asked_about_is_not_offered_and_not_decided(client, three, company):
    client.force_login(company.senior_accountant)

    page = listed(client, *three)
    send(client, *three)

    assert "or you may not see it" in page
    assert three[0].title not in page
    assert states() == ["pending"] * 3


def test_whoever_may_see_it_and_is_not_asked_decides_nothing(client, three, company):
    client.force_login(company.agent_owner)

    send(client, *three)

    assert states() == ["pending"] * 3


@pytest.mark.parametrize("shown", ["", "x", "R-1:zz", ":", "<b>:" + "0" * 64])
def test_nonsense_decides_nothing(mine, three, shown):
    page = send(mine, shown=[shown])

    assert "Nothing was selected" in page
    assert states() == ["pending"] * 3


def test_the_service_names_the_digest_as_any_decision_does(three, company):
    with pytest.raises(DigestChanged):
        approve_one_of_several(
            ref=three[0].ref, actor=company.finance_manager, digest="0" * 64, now=MONDAY_9AM
        )


class TestTheInbox:
    def test_rows_of_the_first_ask_may_be_ticked_and_the_form_needs_no_script(self, mine, three):
        page = mine.get("/inbox/").content.decode()

        assert page.count('form="bulk"') == 3
        assert (
            '<form class="rc-bulk" id="bulk" data-bulk method="get" action="/inbox/several/">'
            in page
        )
        assert 'data-amount="1000.0000" data-currency="USD"' in page

    def test_rows_of_other_lanes_and_of_grave_requests_may_not(self, mine, three, timeline):
        change(three[0], impact="high")
        change(three[1], person_present=True)
        assert mine.get("/inbox/").content.decode().count('form="bulk"') == 1

        timeline.advance(minutes=5)

        assert 'form="bulk"' not in mine.get("/inbox/").content.decode()

    def test_what_others_are_asked_is_not_ticked(self, client, three, company):
        client.force_login(company.agent_owner)

        assert 'form="bulk"' not in client.get("/inbox/?view=watching").content.decode()
