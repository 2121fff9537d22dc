"""An agent asks over HTTP: what is taken, what is refused, and what a refusal leaves behind."""

from __future__ import annotations

import hashlib
import json
import secrets
from base64 import b64encode
from copy import deepcopy
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.db import IntegrityError
from django.urls import reverse

from approvals.models import ActionRequest, Alert, Ask, Notice, Resource, Step
from governance import clock
from governance.models import AgentCredential, AuditEvent
from governance.tables import policy
from tests.approvals.asking import body, make_the_first_no_final
from tests.factories import (
    ActionTypeFactory,
    AgentFactory,
    DepartmentFactory,
    MatrixRowFactory,
    PersonFactory,
)

pytestmark = pytest.mark.django_db

URL = "/api/v1/requests/"


@pytest.fixture
def agent(company, api):
    return api(company.agent)


def post(client, content, *, key="key-1"):
    return client.post(URL, content, format="json", headers={"Idempotency-Key": key})


def post_raw(client, content, *, key="key-1"):
    return client.post(
        URL, content, content_type="application/json", headers={"Idempotency-Key": key}
    )


def assert_refused(response, status, problem):
    """A problem document of this kind, and nothing stored but one event."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    document = response.json()
    assert document["type"] == f"/problems/{problem}"
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    for model in (ActionRequest, Step, Ask, Notice, Resource):
        assert not model.objects.exists()
    event = AuditEvent.objects.get(kind="submission.refused")
    assert (event.chain, event.facts["problem"]) == ("system", problem)


def test_a_request_is_taken_and_says_when_it_moves(company, agent):
    response = post(agent, body(company))

    assert response.status_code == 201
    taken = ActionRequest.objects.get()
    assert response.json() == {
        "ref": taken.ref,
        "state": "pending",
        "digest": taken.digest,
        "due_at": taken.due_at.isoformat().replace("+00:00", "Z"),
        "url": f"http://testserver/api/v1/requests/{taken.ref}/",
    }


def hashed(value):
    """Hash as README says, with nothing of ours: of these values this is RFC 8785."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("redacted", [[], ["/terms", "/amount/value", "/not_there"]])
def test_an_agent_computes_the_digest_from_what_it_sent_and_is_answered(company, agent, redacted):
    company.vendor_payment.redacted = {"payload": redacted, "records": ["/iban"]}
    company.vendor_payment.save()
    sent = body(company)

    answered = post(agent, sent).json()
    [entry] = agent.get("/api/v1/actions/").json()["results"]
    read = agent.get(f"{URL}{answered['ref']}/").json()

    payload = deepcopy(sent["payload"])
    for pointer in entry["redacted"]:
        *way, last = pointer.split("/")[1:]
        place = payload
        for name in way:
            place = place[name]
        if last in place:
            salt = answered["digest_salts"][pointer]
            place[last] = {"sha256": hashed([salt, pointer, place[last]])}
    assert entry["redacted"] == redacted
    assert hashed({**read["digest_covers"], "payload": payload}) == answered["digest"]
    assert read["digest_covers"]["amount"] == sent["payload"]["amount"]["value"]
    assert post(agent, sent).json() == answered


def test_what_an_agent_is_given_opens_nothing_but_its_own_fields(company, agent):
    """The salts of the bodies and records of a request are made of the same secret."""
    company.vendor_payment.redacted = {"payload": ["/terms"]}
    company.vendor_payment.save()

    answered = post(agent, body(company)).json()

    secret = ActionRequest.objects.get().salt
    assert set(answered["digest_salts"]) == {"/terms"}
    assert secret
    assert secret not in json.dumps(answered)


@pytest.mark.postgresql  # on SQLite every table has a statement of its own
def test_a_submission_is_three_trips_once_the_process_is_warm(
    company, agent, django_assert_num_queries
):
    post(agent, body(company, invoice="INV-1"), key="key-1")

    # The credential; what is read and locked; all rows. Each is one trip.
    with django_assert_num_queries(3 + 2):  # the test's own transaction makes ours a savepoint
        response = post(agent, body(company, invoice="INV-2"), key="key-2")

    assert response.status_code == 201


def test_what_may_change_is_read_each_time(company, agent):
    post(agent, body(company))
    company.vendor_payment.retire()
    company.vendor_payment.save()

    response = post(agent, body(company, invoice="INV-2"), key="key-2")

    assert response.json()["type"] == "/problems/unknown-action"


@pytest.fixture
def second_version(company):
    """Put another version of the vendor payment in production, whose payload has a purpose too."""

    def enter():
        first = company.vendor_payment
        first.retire()
        first.save()
        schema = deepcopy(first.schema)
        schema["properties"]["purpose"] = {"type": "string"}
        return ActionTypeFactory(
            key=first.key,
            version=2,
            schema=schema,
            example=first.example,
            resource_key=first.resource_key,
            business_key=first.business_key,
        )

    return enter


def test_a_version_that_went_into_production_since_is_taken_at_once(company, agent, second_version):
    post(agent, body(company))
    second = second_version()

    response = post(agent, body(company, invoice="INV-2"), key="key-2")

    assert response.status_code == 201
    assert ActionRequest.objects.get(ref=response.json()["ref"]).action_type == second


def test_what_only_the_version_in_production_since_takes_is_taken(company, agent, second_version):
    post(agent, body(company))
    second_version()
    asked = body(company, invoice="INV-2")
    asked["payload"]["purpose"] = "Spare parts"

    assert post(agent, asked, key="key-2").status_code == 201


def test_a_refusal_by_a_version_that_is_out_of_production_leaves_no_alert(
    company, agent, second_version
):
    post(agent, body(company))
    second = second_version()
    second.amount_pointer = ""
    second.save()
    MatrixRowFactory(
        version=company.policy, number=15, department=company.accounts_payable,
        action=second.key, amount_from=None, amount_to=None, currency="",
        approver_role=company.row.approver_role,
    )  # fmt: skip
    policy.cache_clear()

    response = post(agent, body(company, invoice="INV-2", currency="EUR"), key="key-2")

    assert response.status_code == 201, response.json()
    assert not Alert.objects.filter(kind="no-route").exists()


def test_a_department_that_was_entered_since_is_known(company, agent):
    asked = body(company, department="logistics")
    AgentCredential.objects.update(departments=["accounts-payable", "logistics"])
    assert post(agent, asked).json()["detail"] == "There is no department logistics."
    DepartmentFactory(key="logistics", name="Logistics")

    response = post(agent, asked)

    assert response.json()["type"] == "/problems/no-route", "known, and in no row of the matrix"


def test_a_record_that_was_asked_about_before_is_found_and_locked_again(company, agent):
    post(agent, body(company))
    second = body(company)
    second["payload"]["instalment"] = 2

    post(agent, second, key="key-2")

    assert Resource.objects.count() == 1
    assert set(ActionRequest.objects.values_list("resource", flat=True)) == {
        Resource.objects.get().pk
    }


def test_the_same_key_and_body_again_answers_200_with_the_first(company, agent):
    first = post(agent, body(company))

    again = post(agent, body(company))

    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert ActionRequest.objects.count() == 1


def test_the_order_of_names_in_a_body_makes_no_other_body(company, agent):
    post(agent, body(company))

    again = post_raw(agent, json.dumps(dict(reversed(body(company).items()))))

    assert again.status_code == 200


def test_the_same_key_with_another_body_is_refused(company, agent):
    first = post(agent, body(company))

    response = post(agent, body(company, amount="12000.01"))

    assert response.status_code == 422
    assert response.json()["type"] == "/problems/idempotency-key-reused"
    assert response.json()["ref"] == first.json()["ref"]
    assert ActionRequest.objects.count() == 1


def test_a_replay_is_answered_even_if_it_could_not_be_asked_for_today(company, agent):
    first = post(agent, body(company))
    company.vendor_payment.retire()
    company.vendor_payment.save()

    again = post(agent, body(company))

    assert (again.status_code, again.json()["ref"]) == (200, first.json()["ref"])


def test_two_agents_may_use_the_same_key(company, api):
    other = AgentFactory(name="other-agent", owner=company.agent_owner)
    post(api(company.agent), body(company))

    response = post(api(other), body(company, invoice="INV-2"))

    assert response.status_code == 201


def test_a_live_request_for_the_same_effect_is_named(company, agent):
    first = post(agent, body(company))

    response = post(agent, body(company, amount="1.00"), key="key-2")

    assert (response.status_code, response.json()["type"]) == (409, "/problems/duplicate-effect")
    assert response.json()["ref"] == first.json()["ref"]


def test_an_instalment_is_another_effect(company, agent):
    post(agent, body(company))
    second = body(company)
    second["payload"]["instalment"] = 2

    assert post(agent, second, key="key-2").status_code == 201


def test_an_effect_may_be_asked_for_again_once_the_first_has_ended_without_one(company, agent):
    ref = post(agent, body(company)).json()["ref"]
    agent.post(f"{URL}{ref}/withdraw/")

    assert post(agent, body(company), key="key-2").status_code == 201


@pytest.mark.parametrize(
    ("amount", "problem"),
    [
        ({"value": "0.00", "currency": "USD"}, "bad-amount"),
        ({"value": "0", "currency": "USD"}, "bad-amount"),
        ({"value": "12.345", "currency": "USD"}, "bad-amount"),
        ({"value": "12.5", "currency": "JPY"}, "bad-amount"),
        ({"value": "12.00", "currency": "XXZ"}, "bad-amount"),
        ({"value": "12.00", "currency": "XAU"}, "bad-amount"),
        ({"value": "-5.00", "currency": "USD"}, "bad-amount"),
        ({"value": "NaN", "currency": "USD"}, "bad-amount"),
        ({"value": "Infinity", "currency": "USD"}, "bad-amount"),
        ({"value": "1e3", "currency": "USD"}, "bad-amount"),
        ({"value": "١٢", "currency": "USD"}, "bad-amount"),
        ({"value": 12000, "currency": "USD"}, "payload-off-schema"),
        ({"value": "12.00", "currency": "usd"}, "bad-amount"),
        ({"value": "12.00"}, "payload-off-schema"),
        ("12.00", "payload-off-schema"),
        (None, "payload-off-schema"),
    ],
)
def test_what_is_no_amount_is_refused(company, agent, amount, problem):
    content = body(company)
    content["payload"]["amount"] = amount

    assert_refused(post(agent, content), 422, problem)


@pytest.mark.parametrize(
    "value", ["-5.00", "NaN", "Infinity", "1e3", "", " 12", "12.00\n", "0x10", "1_000", "00012.00"]
)
def test_an_amount_is_checked_whatever_its_schema_lets_through(company, agent, value):
    company.vendor_payment.schema = {"type": "object"}
    company.vendor_payment.save()

    assert_refused(post(agent, body(company, amount=value)), 422, "bad-amount")


def test_a_payload_off_its_schema_says_where(company, agent):
    content = body(company)
    del content["payload"]["terms"]
    content["payload"]["invoice"] = 7
    content["payload"]["surprise"] = True

    response = post(agent, content)

    assert_refused(response, 422, "payload-off-schema")
    assert "/invoice" in [error["pointer"] for error in response.json()["errors"]]


@pytest.mark.parametrize(
    ("over", "status", "problem"),
    [
        ({"action": "launch_rocket"}, 422, "unknown-action"),
        ({"department": "sales"}, 403, "not-allowed"),
        ({"department": "no-such"}, 403, "not-allowed"),
        ({"severity": "terrible"}, 422, "malformed"),
        ({"impact": 3}, 422, "malformed"),
        ({"payload": []}, 422, "malformed"),
        ({"justification": "x" * 4001}, 422, "malformed"),
        ({"surprise": 1}, 422, "malformed"),
        ({"action": None}, 422, "malformed"),
        ({"on_behalf_of": "nobody"}, 422, "unprocessable"),
        ({"supersedes": "R-0000-0000-0000"}, 422, "unprocessable"),
        ({"needed_by": "tomorrow"}, 422, "malformed"),
        ({"needed_by": "2026-03-02T10:00:00"}, 422, "malformed"),
        ({"needed_by": "2126-03-02T10:00:00Z"}, 403, "not-allowed"),
        ({"source": "run 7"}, 422, "malformed"),
        ({"source": {"url": "javascript:alert(1)"}}, 422, "malformed"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused(company, agent, over, status, problem):
    assert_refused(post(agent, body(company, **over)), status, problem)


def test_an_action_the_credential_does_not_cover_is_refused(company, api):
    client = api(company.agent, actions=["purchase_order"])

    assert_refused(post(client, body(company)), 403, "not-allowed")


def test_a_department_that_does_not_exist_is_refused_even_if_the_credential_lists_it(company, api):
    client = api(company.agent, departments=["gone"])

    assert_refused(post(client, body(company, department="gone")), 422, "unprocessable")


def test_a_credential_without_the_scope_to_submit_is_refused(company, api):
    client = api(company.agent, scopes=["read"])

    assert_refused(post(client, body(company)), 403, "not-allowed")


def test_needed_by_needs_the_scope_urgent(company, api):
    client = api(company.agent, scopes=["submit"])

    assert_refused(
        post(client, body(company, needed_by="2126-03-02T10:00:00Z")), 403, "not-allowed"
    )


def test_no_matrix_row_is_refused_and_raises_an_alert(company, agent):
    DepartmentFactory(key="sales")

    response = post(agent, body(company, amount="100000.00"))

    assert_refused(response, 422, "no-route")
    assert Alert.objects.get().kind == "no-route"


@pytest.mark.parametrize(
    "content",
    [
        b" ",
        b"{",
        b"[1,2]x",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1, "a": 2}',
        b"\xff\xfe{}",
        b'{"a": "\xc3\x28"}',
    ],
)
def test_bytes_that_are_not_json_are_refused(company, agent, content):
    assert_refused(post_raw(agent, content), 400, "bad-json")


@pytest.mark.parametrize(
    "nested", ["[" * 40 + "]" * 40, "[" * 100_000, '{"a":' * 40 + "1" + "}" * 40]
)
def test_deeply_nested_json_is_refused(company, agent, nested):
    assert_refused(post_raw(agent, '{"payload": ' + nested + "}"), 400, "bad-json")


@pytest.mark.parametrize("text", ["\\u0000", "\\ud800", "\\udfff\\ud800"])
def test_text_that_cannot_be_kept_is_refused(company, agent, text):
    content = json.dumps(body(company)).replace("INV-88213", f"INV{text}")

    assert_refused(post_raw(agent, content), 422, "bad-text")


def test_a_number_too_long_to_read_is_refused(company, agent):
    assert_refused(post_raw(agent, '{"a": ' + "9" * 5000 + "}"), 400, "bad-json")


def test_an_integer_beyond_the_canonical_form_is_refused(company, agent):
    content = body(company)
    content["payload"]["terms"] = 2**60

    response = post(agent, content)

    assert response.status_code == 422
    assert not ActionRequest.objects.exists()


def test_a_body_over_256_kb_is_refused(company, agent):
    assert_refused(post_raw(agent, b'{"a": "' + b"x" * 262_144 + b'"}'), 413, "body-too-large")


def test_a_body_of_another_kind_is_refused(company, agent):
    response = agent.post(URL, "a=1", content_type="application/x-www-form-urlencoded")

    assert response.status_code == 415
    assert response["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("key", ["", "two words", "ключ", "x" * 201, "line\tbreak"])
def test_a_key_that_is_no_key_is_refused(company, agent, key):
    assert_refused(post(agent, body(company), key=key), 422, "malformed")


class TestCredential:
    @pytest.mark.parametrize(
        "header",
        [
            "",
            "Bearer",
            "Bearer x",
            "Basic dTpw",
            "Bearer rc_000000000000_" + "A" * 43,
            "Bearer rc_\0",
        ],
    )
    def test_none_or_a_made_up_one_is_refused(self, company, client, header):
        headers = {"Idempotency-Key": "k", **({"Authorization": header} if header else {})}
        response = client.post(URL, body(company), content_type="application/json", headers=headers)

        assert_refused(response, 401, "not-authenticated")
        assert response["WWW-Authenticate"].startswith("Bearer")

    def test_a_wrong_secret_for_a_known_prefix_is_refused_in_the_same_words(
        self, company, agent, client
    ):
        wrong = agent.token[:-4] + ("AAAA" if not agent.token.endswith("AAAA") else "BBBB")
        response = client.post(
            URL,
            body(company),
            content_type="application/json",
            headers={"Authorization": f"Bearer {wrong}"},
        )

        assert_refused(response, 401, "not-authenticated")
        assert AuditEvent.objects.get(kind="submission.refused").actor == "agent:ap-agent"

    def test_an_expired_one_is_refused(self, company, api):
        client = api(company.agent, expires_at=clock.real_now() - timedelta(seconds=1))

        assert_refused(post(client, body(company)), 401, "not-authenticated")

    def test_a_disabled_one_is_refused(self, company, agent):
        agent.credential.disabled_at = clock.real_now()
        agent.credential.save()

        assert_refused(post(agent, body(company)), 401, "not-authenticated")

    def test_that_of_a_disabled_agent_is_refused(self, company, agent):
        company.agent.disabled_at = clock.real_now()
        company.agent.save()

        assert_refused(post(agent, body(company)), 401, "not-authenticated")

    def test_a_person_cannot_submit(self, company, client):
        client.force_login(company.cfo)

        response = client.post(URL, body(company), content_type="application/json")

        assert response.status_code == 403

    def test_who_knocks_too_often_without_one_fills_no_ledger(self, company, client, timeline):
        cache.clear()
        codes = [
            client.post(URL, "{}", content_type="application/json").status_code for _ in range(70)
        ]

        assert codes == [401] * 60 + [429] * 10
        assert AuditEvent.objects.filter(kind="submission.refused").count() == 60

    def test_a_token_is_nowhere_in_the_database(self, company, agent):
        secret = agent.token.rsplit("_", 1)[1]

        assert secret not in str(list(company.agent.credentials.values()))


def test_what_an_agent_says_beside_the_payload_changes_no_amount(company, agent):
    content = body(company, severity="high")
    content["payload"]["amount"]["value"] = "90000.00"

    post(agent, content)

    taken = ActionRequest.objects.get()
    assert (str(taken.amount), taken.severity, taken.impact) == ("90000.0000", "high", "medium")


def test_severity_and_impact_are_raised_and_never_lowered(company, agent):
    post(agent, body(company, severity="high", impact="low"))

    taken = ActionRequest.objects.get()
    assert (taken.severity, taken.impact) == ("high", "medium")


def test_the_digest_covers_what_was_asked(company, agent, api):
    seen = set()
    for n, over in enumerate(
        (
            {},
            {"invoice": "A"},
            {"amount": "12000.01"},
            {"severity": "high"},
            {"on_behalf_of": "cfo"},
        )
    ):
        outer = {k: v for k, v in over.items() if k not in ("invoice", "amount")}
        inner = {k: v for k, v in over.items() if k in ("invoice", "amount")}
        content = body(company, **{"invoice": f"INV-{n}", **inner}, **outer)
        content["payload"]["invoice"] = inner.get("invoice", "INV-0")
        if n:
            content["payload"]["instalment"] = n
        seen.add(post(agent, content, key=f"k{n}").json()["digest"])

    assert len(seen) == 5


class TestReading:
    def test_an_agent_reads_its_own_and_learns_no_names(self, company, agent):
        ref = post(agent, body(company)).json()["ref"]

        document = agent.get(f"{URL}{ref}/").json()

        assert document["reason"] == "waiting"
        assert set(document) == {
            "ref", "state", "reason", "end_reason", "digest", "digest_covers", "due_at", "needed_by",
            "result", "questions",
        }  # fmt: skip
        assert "finance_manager" not in json.dumps(document)

    def test_another_agents_request_is_not_there(self, company, agent, api):
        ref = post(agent, body(company)).json()["ref"]
        other = api(AgentFactory(name="other-agent"))

        assert other.get(f"{URL}{ref}/").status_code == 404
        assert other.post(f"{URL}{ref}/withdraw/").status_code == 404
        assert other.get(URL).json()["results"] == []

    def test_a_list_goes_on_by_cursor(self, company, agent):
        for n in range(5):
            post(agent, body(company, invoice=f"INV-{n}"), key=f"k{n}")

        first = agent.get(f"{URL}?limit=3").json()
        rest = agent.get(first["next"]).json()

        refs = [row["ref"] for row in [*first["results"], *rest["results"]]]
        assert refs == list(ActionRequest.objects.order_by("-id").values_list("ref", flat=True))
        assert rest["next"] is None

    def test_a_list_by_state(self, company, agent):
        post(agent, body(company))

        assert len(agent.get(f"{URL}?state=pending").json()["results"]) == 1
        assert agent.get(f"{URL}?state=expired").json()["results"] == []
        assert agent.get(f"{URL}?state=nonsense").status_code == 422

    def test_people_read_the_whole_story(self, company, agent, client, django_assert_num_queries):
        ref = post(agent, body(company)).json()["ref"]
        client.force_login(company.finance_manager)

        document = client.get(f"{URL}{ref}/").json()

        step = document["steps"][0]
        assert (step["path"], step["level"], step["state"]) == ("approval", 0, "waiting")
        assert step["asked"][0]["person"] == "finance_manager"
        assert document["policy_version"] == 1

    def test_who_was_never_named_does_not_see_it(self, company, agent, client):
        ref = post(agent, body(company)).json()["ref"]
        client.force_login(PersonFactory())

        assert client.get(f"{URL}{ref}/").status_code == 404

    def test_nobody_reads_without_a_name(self, company, agent, client):
        ref = post(agent, body(company)).json()["ref"]

        for url in (URL, f"{URL}{ref}/", "/api/v1/actions/"):
            assert client.get(url).status_code == 401

    def test_the_catalogue_lists_what_the_credential_covers_with_a_valid_example(
        self, company, agent, api
    ):
        (entry,) = agent.get("/api/v1/actions/").json()["results"]

        assert entry["key"] == "vendor_payment"
        assert post(agent, entry["example"]).status_code == 201
        assert api(company.agent, actions=["x"]).get("/api/v1/actions/").json()["results"] == []
        assert agent.get("/api/v1/actions/vendor_payment/").json() == entry

    def test_an_address_that_does_not_exist_is_a_problem_document(self, company, agent):
        response = agent.get("/api/v1/nothing/")

        assert (response.status_code, response["Content-Type"]) == (404, "application/problem+json")


class TestWithdrawal:
    def test_a_pending_request_is_withdrawn_once(self, company, agent):
        ref = post(agent, body(company)).json()["ref"]

        first, again = (agent.post(f"{URL}{ref}/withdraw/") for _ in range(2))

        assert (first.status_code, again.status_code) == (200, 200)
        assert first.json()["state"] == "withdrawn"
        assert Step.objects.get().state == "superseded"
        assert not Ask.objects.filter(due_at__isnull=False).exists()

    def test_what_has_ended_otherwise_cannot_be_withdrawn(self, company, agent, client):
        make_the_first_no_final(company)
        ref = post(agent, body(company)).json()["ref"]
        client.force_login(company.finance_manager)
        digest = ActionRequest.objects.get().digest
        decided = client.post(
            f"{URL}{ref}/decisions/",
            {"verdict": "reject", "digest": digest},
            content_type="application/json",
        )

        response = agent.post(f"{URL}{ref}/withdraw/")

        assert decided.status_code == 200
        assert (response.status_code, response.json()["type"]) == (409, "/problems/wrong-state")

    def test_the_scope_is_needed(self, company, api):
        client = api(company.agent, scopes=["submit", "read"])
        ref = post(client, body(company)).json()["ref"]

        assert client.post(f"{URL}{ref}/withdraw/").status_code == 403


class TestDecisionsEndpoint:
    def test_an_agent_never_decides(self, company, agent):
        ref = post(agent, body(company)).json()["ref"]

        response = agent.post(
            f"{URL}{ref}/decisions/", {"verdict": "approve", "digest": "x"}, format="json"
        )

        assert response.status_code == 403
        assert ActionRequest.objects.get().state == "pending"
        assert AuditEvent.objects.get(kind="submission.refused").actor.startswith("agent:")

    def test_a_session_needs_its_csrf_token(self, company, agent):
        from rest_framework.test import APIClient

        taken = post(agent, body(company)).json()
        browser = APIClient(enforce_csrf_checks=True)
        browser.force_login(company.finance_manager)

        response = browser.post(
            f"{URL}{taken['ref']}/decisions/",
            {"verdict": "approve", "digest": taken["digest"]},
            format="json",
        )

        assert response.status_code == 403
        assert ActionRequest.objects.get().state == "pending"

    def test_a_personal_token_decides(self, company, agent):
        from rest_framework.test import APIClient

        from governance.services.tokens import issue_personal_token

        taken = post(agent, body(company)).json()
        token, _ = issue_personal_token(company.finance_manager, now=clock.real_now())
        person = APIClient()
        person.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")

        response = person.post(
            f"{URL}{taken['ref']}/decisions/",
            {"verdict": "approve", "digest": taken["digest"], "note": "Right."},
            format="json",
        )

        assert response.status_code == 200
        assert response.json()["state"] == "approved"
        assert response.json()["steps"][0]["decisions"][0]["note"] == "Right."

    def test_another_digest_is_409(self, company, agent, client):
        taken = post(agent, body(company)).json()
        client.force_login(company.finance_manager)

        response = client.post(
            f"{URL}{taken['ref']}/decisions/",
            {"verdict": "approve", "digest": "0" * 64},
            content_type="application/json",
        )

        assert (response.status_code, response.json()["type"]) == (409, "/problems/digest-mismatch")

    @pytest.mark.parametrize(
        "content", [[], {}, {"verdict": "approve"}, {"verdict": 1, "digest": "x"}, {"a": 1}]
    )
    def test_a_body_that_is_no_verdict_is_refused(self, company, agent, client, content):
        ref = post(agent, body(company)).json()["ref"]
        client.force_login(company.finance_manager)

        response = client.post(
            f"{URL}{ref}/decisions/", json.dumps(content), content_type="application/json"
        )

        assert response.status_code == 422


def test_the_schema_is_published_and_valid(client):
    response = client.get(reverse("approvals-api:schema"))

    assert response.status_code == 200
    assert b"/api/v1/requests/" in response.content


def test_one_sum_written_in_two_ways_is_one_effect(company, agent):
    company.vendor_payment.business_key = "demo:{/vendor}:{/invoice}:{/amount/value}"
    company.vendor_payment.save()
    first = post(agent, body(company, amount="12000.00"), key="k1").json()["ref"]

    response = post(agent, body(company, amount="12000"), key="k2")

    assert response.status_code == 409
    assert response.json()["ref"] == first


def test_a_row_refused_for_another_reason_is_a_defect_and_not_a_duplicate(
    company, agent, monkeypatch
):
    monkeypatch.setattr(secrets, "choice", lambda letters: letters[0])  # one reference for all
    post(agent, body(company, invoice="A"), key="k1")

    with pytest.raises(IntegrityError):
        post(agent, body(company, invoice="B"), key="k2")


def test_a_forged_cursor_is_refused_in_words(company, agent):
    for forged in (b"p=abc", b"p=1&o=x", b"p=%00"):
        response = agent.get(URL, {"cursor": b64encode(forged).decode()})

        assert response.status_code == 404, response.content
        assert response["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["%00/", "%00/withdraw/", "x%00y/"])
def test_an_address_with_a_nul_is_not_found(company, agent, path):
    call = agent.post if "withdraw" in path else agent.get

    assert call(f"{URL}{path}").status_code == 404
