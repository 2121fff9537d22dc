"""The pages under /actions/: who sees them, what they say, and that nothing typed breaks them."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from html import unescape

import pytest
import time_machine
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext

from approvals.models import ActionRequest
from governance.catalogue import CATALOGUE
from governance.definitions import document_of, text_of
from governance.models import ActionChange, ActionType, AuditEvent
from governance.services import actions as services
from rollback.models import Unit
from tests.factories import (
    MONDAY_9AM,
    ActionChangeFactory,
    ActionTypeFactory,
    DrillFactory,
    FindingFactory,
    PersonFactory,
    RoleFactory,
)
from tests.factors import code_now, give_factor

pytestmark = pytest.mark.django_db

T, S = ActionType.State, ActionChange.State
ENTRIES = {entry["key"]: entry for entry in CATALOGUE}
PAYMENT = "/actions/vendor_payment"


def stored(key="vendor_payment", **over):
    given = {"amount_pointer": "", "created_at": MONDAY_9AM, **ENTRIES[key], **over}
    return ActionTypeFactory(**given)


def drilled(action, at=MONDAY_9AM):
    return DrillFactory(
        action_type=action, passed=True, ended_at=at, evidence_hash="a" * 64, signature="s"
    )


@pytest.fixture(autouse=True)
def at_nine(settings, audited):
    settings.TARGETS = {"demo": {"url": "http://demo.example", "token": "secret-token"}}
    with time_machine.travel(MONDAY_9AM + timedelta(hours=1), tick=True):
        yield


@pytest.fixture
def admins():
    role = RoleFactory(key="policy_admin")
    return [PersonFactory(username=f"admin{n}", name=f"Admin {n}", roles=[role]) for n in (1, 2, 3)]


@pytest.fixture
def one(client, admins):
    client.force_login(admins[0], backend="django.contrib.auth.backends.ModelBackend")
    return client


def text(response):
    """Return what a page says, without its tags."""
    main = response.content.decode().partition("<main")[2] or response.content.decode()
    plain = re.sub(r"<[^>]+>", " ", main)
    return " ".join(unescape(plain).replace("\u00a0", " ").split())


def become(client, person):
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")


# --- Who ---


@pytest.mark.parametrize("duty", ["policy_admin", "auditor", "operator"])
def test_administrators_auditors_and_operators_look_and_find_the_way(client, duty):
    version = stored()
    become(client, PersonFactory(roles=[RoleFactory(key=duty)]))

    for page in ("", "vendor_payment/", "vendor_payment/1/", "vendor_payment/1/try/",
                 "vendor_payment/1/changes/", "vendor_payment/1/definition.json"):  # fmt: skip
        assert client.get(f"/actions/{page}").status_code == 200
    assert 'href="/actions/"' in client.get("/inbox/").content.decode()
    assert ("Retire it…" in text(client.get(f"{PAYMENT}/{version.version}/"))) == (
        duty == "policy_admin"
    )


@pytest.mark.parametrize("duty", ["compliance", "controller", "other"])
def test_others_do_not(client, duty):
    stored()
    become(client, PersonFactory(roles=[RoleFactory(key=duty)]))

    for page in ("", "vendor_payment/", "vendor_payment/1/", "vendor_payment/1/try/"):
        assert client.get(f"/actions/{page}").status_code == 403
    assert 'href="/actions/"' not in client.get("/inbox/").content.decode()


@pytest.mark.parametrize("duty", ["auditor", "operator"])
def test_whoever_only_looks_changes_nothing(client, duty):
    stored(state=T.TESTED)
    change = ActionChangeFactory(action_type=stored("sales_order", state=T.TESTED))
    become(client, PersonFactory(roles=[RoleFactory(key=duty)]))

    for page in ("vendor_payment/1/ask/", "vendor_payment/1/set-aside/", "enter/",
                 f"changes/{change.pk}/end/", f"changes/{change.pk}/confirm/"):  # fmt: skip
        assert client.post(f"/actions/{page}", {"becomes": "production"}).status_code == 403
    assert ActionChange.objects.get().state == S.OPEN


@pytest.mark.parametrize(
    "page",
    ["nothing/", "nothing/1/", "vendor_payment/2/", "vendor_payment/99999999999999999999/",
     "a%00b/", "vendor_payment/2/try/", "vendor_payment/1/changes/?since=7",
     "vendor_payment/1/changes/?since=%D9%A3", "changes/99/confirm/",
     "changes/99999999999999999999/confirm/", "enter/?from=nothing/1", "enter/?from=x/y"],
)  # fmt: skip
def test_what_is_not_there_is_not_found(one, page):
    stored()

    assert one.get(f"/actions/{page}").status_code == 404


def test_who_has_fields_left_out_of_evidence_reads_what_stays_in_it(one):
    stored(redacted={"payload": ["/terms"], "records": ["/iban"]})

    said = text(one.get("/actions/vendor_payment/1/"))

    assert "Left out of evidence of the payload /terms; of records /iban. Names of units," in said
    assert "stand in the record all the same" in said


# --- The list ---


def test_the_list_has_each_action_with_its_light_and_its_versions_under_way(one):
    drilled(stored())
    stored(version=2, state=T.DRAFT)
    stored("purchase_order")
    stored("sales_order", state=T.RETIRED)

    said = text(one.get("/actions/"))

    assert "Vendor payment vendor_payment Version 1 of Vendor payment In production Ready" in said
    assert "also Vendor payment Version 2 of Vendor payment Draft Ready to be tested" in said
    assert (
        "Purchase order purchase_order Version 1 of Purchase order In production 1 thing is not"
        in said
    )
    assert "Retired Kept to be read. Sales order, version 1" in said


def test_without_any_action_it_says_so(one):
    assert "no agent can ask for anything" in text(one.get("/actions/"))


def test_the_list_takes_as_many_queries_for_many_as_for_one(one):
    def queries():
        with CaptureQueriesContext(connection) as found:
            assert one.get("/actions/").status_code == 200
        return len(found)

    stored()
    queries()  # what is read once a process
    few = queries()
    for n in range(2, 12):
        drilled(stored(version=n, state=T.DRAFT))

    assert queries() == few


# --- One version ---


def test_a_version_says_what_is_sent_done_read_and_undone(one):
    drilled(stored())

    said = text(one.get(f"{PAYMENT}/1/"))

    for words in (
        "Ready Agents may ask for it.",
        "Business key , met It names target, document and part, and holds no clock.",
        "invoice Its number in the system of record · text",
        "demo:{/vendor}:{/invoice}:{/instalment} for the example: demo:northwind%20paper:inv-20417:",
        "1. Pay INV-20417 to Northwind Paper POST http://demo.example/payments",
        "Credit memo for INV-20417",
        "Compensate with a reverse action, by credit_memo",
        "The money itself comes back only with the vendor's next settlement.",
        "demo:vendor-bill:Northwind%20Paper/INV-20417 The approval rests on it",
        "demo:ap-balance Snapshot before the first write",
        "Passed",
    ):
        assert words in said, words
    assert "secret-token" not in one.get(f"{PAYMENT}/1/").content.decode()


def test_a_version_of_which_nothing_can_be_made_still_says_what_it_is(one):
    stored(connector="fax", state=T.DRAFT)

    said = text(one.get(f"{PAYMENT}/1/"))

    assert "There is no connector “fax”." in said
    assert "Not known before the gates above are met." in said
    assert "invoice Its number in the system of record" in said


def test_the_page_of_a_key_is_that_of_the_version_in_production(one):
    stored(sla=timedelta(hours=7))
    stored(version=2, state=T.DRAFT, sla=timedelta(hours=9))

    assert "First approver has 7 h" in text(one.get(f"{PAYMENT}/"))
    ActionType.objects.filter(version=1).update(state=T.RETIRED)
    assert "First approver has 9 h" in text(one.get(f"{PAYMENT}/"))


def test_a_drill_that_is_too_old_shows_and_so_does_one_that_failed(one):
    action = stored(drill_due_at=MONDAY_9AM - timedelta(days=1))
    drilled(action, MONDAY_9AM - timedelta(days=91))
    DrillFactory(
        action_type=action, passed=False, outcome="differs", said="/total was 1 and is 2.",
        ended_at=MONDAY_9AM - timedelta(days=100), evidence_hash="a", signature="s",
    )  # fmt: skip
    DrillFactory(action_type=action)

    said = text(one.get(f"{PAYMENT}/1/"))

    assert "1 thing is not as it should be" in said
    assert "rehearse it again" in said
    for words in (
        "Passed, overdue",
        "Not as before /total was 1 and is 2.",
        "Under way 0 of 3 points",
        "Whoever approves it is present.",
    ):
        assert words in said, words


def test_names_that_agents_and_admins_write_are_text(one):
    evil = "<script>alert(1)</script>"
    stored(name=evil, reversal_words=evil, title=evil)

    for page in ("/actions/", f"{PAYMENT}/1/", f"{PAYMENT}/1/try/", f"{PAYMENT}/1/changes/"):
        assert evil not in one.get(page).content.decode()


# --- Two versions ---


def test_what_differs_between_two_versions_is_shown_place_by_place(one):
    stored(state=T.RETIRED)
    stored(version=2, sla=timedelta(minutes=10))
    stored(version=3, state=T.DRAFT, snapshot_plan=["demo:ap-balance"])

    assert "From version 1 to 2: 1 place" in text(one.get(f"{PAYMENT}/2/changes/"))
    said = text(one.get(f"{PAYMENT}/3/changes/?since=1"))
    assert "From version 1 to 3: 1 place. " in said
    assert "Snapshot plan /1 demo:vendor:{/vendor}" in said
    assert "From version 2 to 3" in text(
        one.get(f"{PAYMENT}/3/changes/")
    )  # what agents ask for now
    assert "everything is new" in text(one.get(f"{PAYMENT}/1/changes/"))


# --- A new version ---


def test_a_copy_is_edited_and_entered_as_the_next_version(one, admins):
    stored()
    page = one.get("/actions/enter/?from=vendor_payment/1")
    document = json.loads(
        unescape(re.search(r"<textarea[^>]*>\n(.*?)</textarea>", page.content.decode(), re.S)[1])
    )

    answer = one.post("/actions/enter/", {"text": json.dumps(document | {"sla_seconds": 60})})

    assert (answer.status_code, answer.url) == (302, f"{PAYMENT}/2/")
    new = ActionType.objects.get(version=2)
    assert (new.state, new.sla, new.entered_by) == (T.DRAFT, timedelta(minutes=1), admins[0])


def test_what_was_downloaded_is_taken_as_a_file(one):
    stored()
    data = one.get(f"{PAYMENT}/1/definition.json").content.replace(
        b'"Vendor payment"', b'"Payment"'
    )

    answer = one.post(
        "/actions/enter/", {"file": SimpleUploadedFile("v.json", b"\xef\xbb\xbf" + data)}
    )

    assert answer.status_code == 302
    assert ActionType.objects.get(version=2).name == "Payment"


@pytest.mark.parametrize(
    ("typed", "place", "words"),
    [
        ("{", "The whole", "This is no JSON"),
        ('{"key": "Bad Key"}', "Key /key", "Small letters"),
    ],
)
def test_mistakes_stand_beside_their_places_and_what_was_typed_stays(one, typed, place, words):
    answer = one.post("/actions/enter/", {"text": typed})

    assert answer.status_code == 422
    assert place in text(answer)
    assert words in text(answer)
    assert typed in unescape(answer.content.decode())
    assert not ActionType.objects.exists()


@pytest.mark.parametrize("data", [b"\xff\xfe", b"", b"x" * 900_000], ids=["bytes", "empty", "long"])
def test_a_file_that_is_none_says_so(one, data):
    answer = one.post("/actions/enter/", {"file": SimpleUploadedFile("v.json", data)})

    assert answer.status_code == 422


@pytest.mark.parametrize(
    "items", [{"type": ["string", "null"]}, True, {}, {"type": "object"}, {"enum": [1]}], ids=str
)
def test_a_list_of_anything_is_shown(one, items):
    entry = ENTRIES["vendor_payment"]
    fields = {**entry["schema"]["properties"], "notes": {"type": "array", "items": items}}

    stored(schema={**entry["schema"], "properties": fields})

    assert "list" in text(one.get(f"{PAYMENT}/1/"))


@pytest.mark.parametrize(
    ("units", "says"),
    [
        (500, "Ready to be tested"),
        (501, "Its example comes to 501 units"),
        (1_000_000, "a range has at most 10,000 entries"),
        (10**30, "The template of units cannot be filled"),
    ],
)
def test_one_zero_too_many_makes_no_page_wait(one, units, says):
    config = json.loads(json.dumps(ENTRIES["vendor_payment"]["connector_config"]))
    each = {"name": "Pay", "request": {"method": "POST", "path": ["payments"], "json": {}}}
    config["units"] = {"$map": {"$eval": f"range(0, {units})"}, "each(n)": each}
    stored(connector_config=config, reversal="none", reversal_code="", state=T.DRAFT)

    assert says in text(one.get(f"{PAYMENT}/1/"))


def test_the_same_again_is_not_stored(one):
    action = stored()

    answer = one.post("/actions/enter/", {"text": text_of(document_of(action))})

    assert (answer.status_code, ActionType.objects.count()) == (422, 1)
    assert "version 1 says the same" in text(answer)


# --- By two people ---


def test_the_whole_way_from_draft_to_production_is_walked_on_the_pages(client, admins):
    draft = stored(state=T.DRAFT)
    drilled(draft)
    give_factor(admins[1])
    for becomes in (T.TESTED, T.PRODUCTION):
        become(client, admins[0])
        answer = client.post(f"{PAYMENT}/1/ask/", {"becomes": becomes, "reason": "It is ready."})
        assert answer.status_code == 302
        change = ActionChange.objects.get(state=S.OPEN)
        assert "Withdraw it" in text(client.get(f"{PAYMENT}/1/"))
        become(client, admins[1])
        assert "Confirm it…" in text(client.get(f"{PAYMENT}/1/"))
        page = client.get(f"/actions/changes/{change.pk}/confirm/")
        assert "Admin 1 asks for it “It is ready.”" in text(page)
        with time_machine.travel(
            MONDAY_9AM + timedelta(hours=2, minutes=10 * change.pk), tick=True
        ):
            answer = client.post(f"/actions/changes/{change.pk}/confirm/", {"code": code_now()})
        assert answer.status_code == 302, text(answer)
        assert ActionType.objects.get().state == becomes


def test_a_wrong_code_confirms_nothing(client, admins):
    change = ActionChangeFactory(action_type=stored(state=T.TESTED), asked_by=admins[0])
    drilled(change.action_type)
    give_factor(admins[1])
    become(client, admins[1])

    answer = client.post(f"/actions/changes/{change.pk}/confirm/", {"code": "000000"})

    assert answer.status_code == 422
    assert ActionChange.objects.get().state == S.OPEN


def test_without_a_second_factor_one_is_set_up_first(client, admins):
    change = ActionChangeFactory(action_type=stored(state=T.TESTED), asked_by=admins[0])
    become(client, admins[1])

    assert client.get(f"/actions/changes/{change.pk}/confirm/").url == "/accounts/2fa/"


def test_a_gate_that_shut_meanwhile_is_said_beside_the_code(client, admins):
    change = ActionChangeFactory(action_type=stored(state=T.TESTED), asked_by=admins[0])
    drilled(change.action_type)
    FindingFactory()
    give_factor(admins[1])
    become(client, admins[1])

    answer = client.post(f"/actions/changes/{change.pk}/confirm/", {"code": code_now()})

    assert answer.status_code == 422
    assert "Silent failures: 1 silent failure is open" in text(answer)
    assert (ActionChange.objects.get().state, ActionType.objects.get().state) == (S.OPEN, T.TESTED)


def test_what_is_missing_stands_there_and_cannot_be_asked_past(one):
    stored(state=T.TESTED)

    page = one.get(f"{PAYMENT}/1/")
    answer = one.post(f"{PAYMENT}/1/ask/", {"becomes": "production", "reason": "Soon."})

    assert "1 thing is missing for production" in text(page)
    assert 'aria-disabled="true"' in page.content.decode()
    assert answer.status_code == 422
    assert "Drill: No drill of this version has passed." in text(answer)
    assert not ActionChange.objects.exists()


def test_without_a_reason_the_form_says_so_and_stays_open(one):
    stored(state=T.DRAFT)

    answer = one.post(f"{PAYMENT}/1/ask/", {"becomes": "tested", "reason": " "})

    assert answer.status_code == 422
    assert "Say why. Whoever confirms it reads this." in text(answer)


def test_a_refusal_and_a_withdrawal_end_it(client, admins):
    version = stored(state=T.TESTED)
    change = ActionChangeFactory(action_type=version, asked_by=admins[0])
    become(client, admins[1])
    assert client.post(f"/actions/changes/{change.pk}/end/", {"note": ""}).status_code == 422
    client.post(f"/actions/changes/{change.pk}/end/", {"note": "Not in this quarter."})
    assert "Refused" in text(client.get(f"{PAYMENT}/1/"))
    assert "Not in this quarter." in text(client.get(f"{PAYMENT}/1/"))

    change = ActionChangeFactory(action_type=version, asked_by=admins[1])
    client.post(f"/actions/changes/{change.pk}/end/", {"verdict": "withdraw"})
    assert ActionChange.objects.get(pk=change.pk).state == S.WITHDRAWN
    late = client.post(f"/actions/changes/{change.pk}/end/", {"verdict": "withdraw"})
    assert late.status_code == 409
    assert "Someone was faster" in text(late)


def test_a_version_that_never_served_is_set_aside_on_its_page(one):
    stored(state=T.DRAFT)

    one.post(f"{PAYMENT}/1/set-aside/")

    assert ActionType.objects.get().state == T.RETIRED
    assert "No agent can ask for it" in text(one.get(f"{PAYMENT}/1/"))
    assert one.post(f"{PAYMENT}/1/set-aside/").status_code == 409


# --- Dry run ---


def test_a_payload_is_tried_and_its_calls_are_shown(one):
    stored("sales_order")

    page = text(one.get("/actions/sales_order/1/try/"))

    assert "Then, 5 units written" in page
    assert "demo:sales-order:alpine%20outfitters:so-4711:18400.00~0/4" in page
    assert "Bearer {TARGET_DEMO_TOKEN}" in page
    assert "POST http://demo.example/sales-orders/SO-4711/lines/4/cancel" in page


def test_another_payload_comes_to_other_calls(one):
    stored()
    payload = ENTRIES["vendor_payment"]["example"]["payload"] | {"invoice": "INV-9"}

    page = text(one.post(f"{PAYMENT}/1/try/", {"payload": json.dumps(payload)}))

    assert "demo:northwind%20paper:inv-9:~0/1" in page
    assert '"invoice": "INV-9"' in page


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ("", "Not JSON"),
        ("{", "Not JSON"),
        ("[]", "A payload is a JSON object."),
        ('{"a": "\\u0000"}', "NUL"),
        ("{}", "Say vendor, invoice, terms, payment_date, amount."),
        ("[" * 5000, "levels deep"),
        ('{"a": ' + "9" * 5000 + "}", "A number is too long."),
        ("x" * 200_001, "At most 200,000 characters."),
    ],
    ids=["empty", "broken", "list", "nul", "off schema", "deep", "long number", "long"],
)
def test_a_payload_that_is_none_is_told_and_never_fails(one, payload, words):
    stored()

    answer = one.post(f"{PAYMENT}/1/try/", {"payload": payload})

    assert answer.status_code == 422
    assert words in text(answer)


def test_what_does_not_fit_is_named_with_what_stands_there(one):
    stored()
    payload = ENTRIES["vendor_payment"]["example"]["payload"] | {"invoice": "a b"}

    said = text(one.post(f"{PAYMENT}/1/try/", {"payload": json.dumps(payload)}))

    assert '/invoice "a b" Its number in the system of record: of the form ^[A-Za-z0-9]' in said


def test_an_amount_that_is_none_is_told(one):
    stored()
    payload = ENTRIES["vendor_payment"]["example"]["payload"]
    payload = payload | {"amount": {"value": "0", "currency": "USD"}}

    answer = one.post(f"{PAYMENT}/1/try/", {"payload": json.dumps(payload)})

    assert answer.status_code == 422
    assert "The amount is not more than zero." in text(answer)


def test_a_version_without_a_connector_says_so_instead_of_calls(one):
    stored(connector="fax", state=T.DRAFT)

    page = one.get(f"{PAYMENT}/1/try/")

    assert page.status_code == 200
    assert "There is no connector “fax”." in text(page)


def test_nothing_is_stored_by_trying(one):
    stored()
    one.get(f"{PAYMENT}/1/try/")
    payload = json.dumps(ENTRIES["vendor_payment"]["example"]["payload"])
    one.post(f"{PAYMENT}/1/try/", {"payload": payload})

    for model in (ActionRequest, AuditEvent, Unit, ActionChange):
        assert not model.objects.exists()


def test_the_service_is_asked_with_the_gates_of_this_package(one, admins):
    """A page that forgot its gates would let everything through."""
    version = stored(state=T.TESTED)
    drilled(version, MONDAY_9AM - timedelta(days=90))

    answer = one.post(f"{PAYMENT}/1/ask/", {"becomes": "production", "reason": "Ready."})

    assert answer.status_code == 422
    assert services.is_administrator(admins[0])
