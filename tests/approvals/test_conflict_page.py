"""The page and the API of a conflict."""

from __future__ import annotations

from datetime import timedelta

import pytest

from approvals import story
from approvals.models import ActionRequest, RecordRead
from approvals.packets import packet_of
from approvals.services.ruling import rule
from tests.approvals.asking import answer, ask_for_payment, name_the_owner

pytestmark = pytest.mark.django_db

M = timedelta(minutes=1)


@pytest.fixture
def owner(company):
    return name_the_owner(company)


@pytest.fixture
def first(company, timeline, owner):
    return ask_for_payment(company, key="first", instalment=1)


@pytest.fixture
def second(company, timeline, first):
    timeline.now += M
    return ask_for_payment(company, key="second", instalment=2, amount="9000.00", now=timeline.now)


def told(request, reader, now, visible=()):
    found = ActionRequest.objects.select_related(
        "action_type", "agent", "department", "on_behalf_of", "supersedes"
    ).get(pk=request.pk)
    return story.tell(
        packet_of(found, now=now), reader=reader, now=now, zone=reader.zone, visible=visible
    )


def test_the_owner_reads_where_they_differ(company, timeline, owner, first, second):
    conflict = told(second, owner, timeline.now).conflict

    assert [(side.letter, side.ref, side.is_held) for side in conflict.sides] == [
        ("A", first.ref, True),
        ("B", second.ref, True),
    ]
    differing = {each.label: each.values for each in conflict.fields if each.differs}
    assert differing["Amount"] == ("$12,000.00", "$9,000.00")
    assert "Invoice" not in differing


@pytest.fixture
def terms_are_read(company):
    """What the bill says of the terms is shown beside what each party says."""
    facts = company.vendor_payment.shown_facts
    for fact in facts:
        if fact["label"] == "Terms":
            fact["now"] = {"record": "demo:vendor-bill:{/vendor}/{/invoice}", "pointer": "/terms"}
    company.vendor_payment.save()


def read(
    request, state, timeline, record="demo:vendor-bill:Northfield%20Packaging%20Supply/INV-88213"
):
    return RecordRead.objects.create(
        request=request, record=record, state=state, read_at=timeline.now
    )


def test_beside_the_parties_stands_what_the_record_says_now(
    company, timeline, owner, terms_are_read, first, second
):
    read(first, {"terms": "Net 10"}, timeline)
    read(second, {"terms": "Net 60"}, timeline)

    conflict = told(second, owner, timeline.now).conflict

    assert {each.label: each.now for each in conflict.fields if each.now} == {"Terms": "Net 60"}
    assert (conflict.shows_now, conflict.read_at) == (True, timeline.now)


@pytest.mark.parametrize("state", [None, {}, {"terms": None}], ids=["gone", "empty", "unsaid"])
def test_of_what_the_record_does_not_say_there_is_no_column(
    client, company, timeline, owner, terms_are_read, first, second, state
):
    read(second, state, timeline)

    conflict = told(second, owner, timeline.now).conflict

    assert (conflict.shows_now, conflict.read_at) == (False, timeline.now)
    client.force_login(owner)
    page = client.get(f"/requests/{second.ref}/").content.decode()
    assert "The record now" not in page
    assert page.count('class="is-side"><b>') == 2


def test_nobody_reads_a_record_that_was_not_read(
    client, company, timeline, owner, terms_are_read, first, second
):
    client.force_login(owner)

    assert "The record now" not in client.get(f"/requests/{second.ref}/").content.decode()
    read(second, {"terms": "<b>Net 60</b>"}, timeline)
    page = client.get(f"/requests/{second.ref}/").content.decode()

    assert "The record now" in page
    assert "&lt;b&gt;Net 60&lt;/b&gt;" in page


def test_every_ruling_on_two_is_offered(company, timeline, owner, first, second):
    choices = told(second, owner, timeline.now).conflict.choices

    assert [each.words for each in choices] == [
        "A goes on, B is rejected",
        "B goes on, A is rejected",
        "A goes on, then B",
        "B goes on, then A",
        "Neither",
    ]
    assert choices[0].value == f"{first.ref}|{second.ref}"


def test_who_may_not_see_the_others_is_not_shown_them(company, timeline, owner, first, second):
    assert told(second, company.ceo, timeline.now).conflict is None


def test_who_sees_everything_anyway_is_shown_them_and_offered_nothing(
    company, timeline, owner, first, second
):
    conflict = told(second, company.ceo, timeline.now, visible={first.pk}).conflict

    assert (conflict.can_rule, conflict.choices) == (False, ())
    assert [side.is_visible for side in conflict.sides] == [True, True]
    assert [side.is_visible for side in told(second, owner, timeline.now).conflict.sides] == [
        False,
        True,
    ]


def test_of_thirty_each_has_a_letter_of_its_own(company, timeline, owner, first, second):
    for number in range(3, 31):
        ask_for_payment(company, key=f"part-{number}", instalment=number, now=timeline.now)

    conflict = told(second, owner, timeline.now).conflict

    letters = [side.letter for side in conflict.sides]
    assert (letters[0], letters[25], letters[26], letters[29]) == ("A", "Z", "AA", "AD")
    assert len(conflict.places) == 31


def test_a_party_reads_the_ruling_on_its_own_page(company, timeline, owner, first, second):
    rule(
        ref=second.ref, actor=owner, order=[second.ref], refuse=[first.ref], note="The later one.",
        digest=second.digest, now=timeline.now,
    )  # fmt: skip

    shown = told(first, company.finance_manager, timeline.now)

    ruled = next(each for each in shown.chain if "ruled on the conflict" in each.title)
    assert (ruled.title, ruled.quote) == ("The CFO ruled on the conflict", "The later one.")
    assert shown.holds.lead == "The ruling on the conflict refused this."
    assert "the ruling on them refused this one" in shown.lead


def test_what_was_approved_is_not_promised_to_go_on(company, timeline, owner, first):
    answer(first, company.finance_manager, now=timeline.now)
    ask_for_payment(company, key="second", instalment=2, now=timeline.now)

    assert told(first, company.finance_manager, timeline.now).nothing == (
        "it ends, and nothing is paid.",
    )


def test_a_clock_that_stood_still_is_told_as_such(company, timeline, owner, first, second):
    timeline.now += 60 * M
    rule(
        ref=second.ref, actor=owner, order=[first.ref], refuse=[second.ref], note="One.",
        digest=second.digest, now=timeline.now,
    )  # fmt: skip

    shown = told(first, company.finance_manager, timeline.now)

    assert shown.started.startswith("The clock stood still while it was held.")
    assert "stood still for 1" in shown.derivation


def test_the_ladder_is_that_of_the_conflict(company, timeline, owner, first, second):
    rungs = told(second, owner, timeline.now).rungs

    assert [(rung.kind, rung.who) for rung in rungs][2:4] == [("here", "You, CFO"), ("next", "CEO")]
    assert rungs[0].end == "A conflict goes to the owner of the record"


def test_what_silence_comes_to(company, timeline, owner, first, second):
    shown = told(second, owner, timeline.now)

    assert shown.nothing[-1].endswith("it closes, whoever was first goes on, and nothing is paid.")
    assert told(first, company.finance_manager, timeline.now).nothing == (
        "it goes on where it stood.",
    )


def test_a_queued_one_says_what_it_waits_for(company, timeline, owner, first, second):
    rule(
        ref=second.ref, actor=owner, order=[first.ref, second.ref], refuse=[], note="In turn.",
        digest=second.digest, now=timeline.now,
    )  # fmt: skip

    lead = told(second, owner, timeline.now).lead
    assert "lets it go on when the request before it has ended" in lead


def test_the_chain_says_since_when_it_was_held_and_that_it_went_on(
    company, timeline, owner, first, second
):
    held_at = timeline.now
    timeline.now += M
    rule(
        ref=second.ref, actor=owner, order=[first.ref], refuse=[second.ref], note="One is enough.",
        digest=second.digest, now=timeline.now,
    )  # fmt: skip

    told_first = [(each.at, each.title) for each in told(first, owner, timeline.now).chain]
    assert (held_at, f"It was held: {second.ref} wants the same record") in told_first
    assert (timeline.now, "It was held no longer") in told_first
    titles = [each.title for each in told(second, owner, timeline.now).chain]
    assert "You ruled (L2)" in titles
    assert "It was held no longer" not in titles


class TestPage:
    def test_it_is_shown_and_ruled_on(self, client, company, timeline, owner, first, second):
        client.force_login(owner)
        page = client.get(f"/requests/{second.ref}/").content.decode()
        assert "Side by side" in page
        assert "Your ruling" in page

        answer = client.post(
            f"/requests/{second.ref}/rule/",
            {
                "choice": f"{first.ref}|{second.ref}",
                "note": "The first is due.",
                "digest": second.digest,
            },
        )

        assert answer.status_code == 302
        assert ActionRequest.objects.get(pk=first.pk).state == "pending"
        assert ActionRequest.objects.get(pk=second.pk).state == "rejected"

    @pytest.mark.parametrize(
        ("sent", "said"),
        [
            ({"choice": "", "note": "Why not."}, "Choose what becomes of each request."),
            ({"place-{first}": "1", "place-{second}": "-2", "note": "x"}, "one of the places"),
            ({"choice": "{first}|{second}", "note": ""}, "Say why."),
            ({"choice": "{first}|{second}", "note": "x", "digest": ""}, "Open the request again"),
        ],
    )
    def test_a_form_to_mend_says_how(
        self, client, company, timeline, owner, first, second, sent, said
    ):
        client.force_login(owner)
        refs = {"first": first.ref, "second": second.ref}
        sent = {key.format(**refs): value.format(**refs) for key, value in sent.items()}

        answer = client.post(f"/requests/{second.ref}/rule/", {"digest": second.digest, **sent})

        assert answer.status_code == 422
        assert said in answer.content.decode()

    def test_another_party_meanwhile_is_to_be_looked_at(
        self, client, company, timeline, owner, first, second
    ):
        ask_for_payment(company, key="third", instalment=3, now=timeline.now)
        client.force_login(owner)

        answer = client.post(
            f"/requests/{second.ref}/rule/",
            {"choice": f"{first.ref}|{second.ref}", "note": "x", "digest": second.digest},
        )

        assert answer.status_code == 409
        assert "not the requests that are held now" in answer.content.decode()

    def test_only_who_is_asked_may(self, client, company, timeline, owner, first, second):
        client.force_login(company.finance_manager)

        answer = client.post(
            f"/requests/{second.ref}/rule/",
            {"choice": f"{first.ref}|{second.ref}", "note": "x", "digest": second.digest},
        )

        assert answer.status_code in (403, 404)
        assert ActionRequest.objects.get(pk=first.pk).state == "held"

    def test_no_get_changes_anything(self, client, company, timeline, owner, first, second):
        client.force_login(owner)

        assert client.get(f"/requests/{second.ref}/rule/").status_code == 405


class TestApi:
    def send(self, client, second, **body):
        return client.post(
            f"/api/v1/requests/{second.ref}/decisions/",
            {"verdict": "rule", "digest": second.digest, "note": "In turn.", **body},
            content_type="application/json",
        )

    def test_a_ruling(self, client, company, timeline, owner, first, second):
        client.force_login(owner)

        answer = self.send(client, second, order=[first.ref], refuse=[second.ref])

        assert (answer.status_code, answer.json()["state"]) == (200, "rejected")
        assert ActionRequest.objects.get(pk=first.pk).state == "pending"

    @pytest.mark.parametrize(
        "bad", [{"order": "R-1"}, {"refuse": [1]}, {"severity": "low"}, {"order": {"a": 1}}]
    )
    def test_a_body_off_its_shape_is_named(
        self, client, company, timeline, owner, first, second, bad
    ):
        client.force_login(owner)

        answer = self.send(client, second, **bad)

        assert answer.status_code == 422
        assert next(iter(bad)) in answer.content.decode()

    def test_an_agent_reads_that_it_is_a_conflict_and_no_more(
        self, api, company, timeline, owner, first, second
    ):
        answer = api(company.agent).get(f"/api/v1/requests/{second.ref}/")

        assert (answer.data["state"], answer.data["reason"]) == ("held", "conflict")
        assert first.ref not in answer.content.decode()

    def test_an_agent_never_rules(self, api, company, timeline, owner, first, second):
        answer = api(company.agent).post(
            f"/api/v1/requests/{second.ref}/decisions/",
            {"verdict": "rule", "digest": second.digest, "note": "x", "order": [first.ref]},
            format="json",
        )

        assert answer.status_code == 403
