"""/audit/: who may, what a search shows, how the record stands, and what is taken away."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.urls import reverse

from governance import clock, seals, verifications
from governance.ledger import event_hash
from governance.models import AuditEvent, Person, Verification
from tests.approvals.asking import ask_for_payment
from tests.factories import AuditEventFactory, PersonFactory, RoleFactory
from tests.ledger_flush import lifted

pytestmark = pytest.mark.django_db
FORMULA = '=HYPERLINK("http://evil","x")'


@pytest.fixture
def waiting(company, timeline):
    return ask_for_payment(company)


@pytest.fixture
def auditor(company, client):
    person = PersonFactory(username="auditor", name="Auditor")
    person.roles.add(RoleFactory(key="auditor"))
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return person


def page(client, **search):
    answer = client.get(reverse("governance:audit"), search)
    return answer.status_code, answer.content.decode()


def test_it_is_closed_to_all_but_auditors(client, company, waiting):
    for person in (company.finance_manager, company.cfo):
        client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
        answers = [
            client.get(reverse("governance:audit")),
            client.post(reverse("governance:audit-export"), {"form": "csv"}),
            client.post(reverse("governance:audit-verify")),
        ]
        assert [answer.status_code for answer in answers] == [403] * 3
        assert reverse("governance:audit") not in client.get("/inbox/").content.decode()
    assert not AuditEvent.objects.filter(kind__startswith="ledger.").exists()


def test_an_event_says_what_happened_to_whom_with_its_facts(client, auditor, waiting):
    status, html = page(client, of=waiting.ref.lower())

    assert status == 200
    assert "An agent asked leave to act." in html
    assert f'href="{reverse("approvals:request", args=[waiting.ref])}"' in html
    assert "12000.00" in html
    assert "waits for the next seal" in html
    seals.seal_now(clock.now())
    assert "waits for the next seal" not in page(client, of=waiting.ref)[1]


def test_an_edited_event_shows_at_once(client, auditor, waiting):
    with lifted(connection):
        AuditEvent.objects.filter(chain=waiting.ref, seq=1).update(on_behalf_of="person:cfo")

    assert page(client, of=waiting.ref)[1].count("not as written") == 1


@pytest.mark.parametrize(
    ("search", "count"),
    [
        ({"who": "cfo"}, 2),
        ({"who": "person:cfo"}, 2),
        ({"who": "CHIEF"}, 2),
        ({"who": "clock"}, 1),
        ({"kind": "policy.signed"}, 1),
        ({"since": "2026-03-02T10:30"}, 1),
        ({"until": "2026-03-02 10:30"}, 2),
        ({"who": "cfo", "kind": "policy.signed", "since": "2026-03-02"}, 1),
    ],
    ids=str,
)
def test_a_search_by_person_kind_and_time(client, auditor, timeline, search, count):
    AuditEvent.objects.count()
    PersonFactory(username="cfo2", name="Chief")
    PersonFactory.create(username="chief", name="Somebody else")
    who = "person:cfo2" if search.get("who") == "CHIEF" else "person:cfo"
    if who == "person:cfo":
        PersonFactory(username="other", name="Other")
    at = timeline.now.replace(hour=10)
    for n, (actor, kind) in enumerate(
        [(who, "policy.signed"), ("clock", "step.expired"), (who, "step.decided")]
    ):
        AuditEventFactory(actor=actor, kind=kind, at=at + n * timedelta(minutes=20))

    status, html = page(client, **search)

    assert status == 200
    assert html.count('data-th="When"') == count
    assert search.get("until") is None or 'value="2026-03-02T10:30"' in html


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"who": "nobody-here"}, "Nobody here has this user name"),
        ({"kind": "step.lost"}, "Choose an event from the list."),
        ({"since": "tomorrow"}, "Give a day and a time"),
        ({"since": "2026-03-03", "until": "2026-03-02"}, "Give an end that is after"),
    ],
    ids=str,
)
def test_a_search_to_mend_says_how_and_finds_nothing(client, auditor, waiting, search, said):
    status, html = page(client, **search)

    assert status == 422
    assert said in html
    assert 'data-th="When"' not in html


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Etc/GMT+12"])
@pytest.mark.parametrize(
    "instant", ["0001-01-01", "0001-01-01 00:00", "9999-12-31 23:59", "1899-12-31", "9999-01-01"]
)
@pytest.mark.parametrize("name", ["since", "until"])
def test_an_instant_that_is_none_in_some_zone_is_to_be_mended(
    client, auditor, waiting, zone, instant, name
):
    Person.objects.filter(pk=auditor.pk).update(time_zone=zone)

    status, html = page(client, **{name: instant})

    assert status == 422
    assert "Give a day and a time" in html
    assert exported(client, form="csv", **{name: instant})[0].status_code == 400


NONSENSE = (
    "\0", "%00", "\ud7ff\uffff", "x" * 5000, "9" * 400, "-1", "0", "[]", "{}", "null", "NaN", "'\"<>&;--",
    "2026-03-02T09:00:00+99:99~1", "0001-01-01T00:00:00+14:00~1", "9999-12-31T23:59:59-12:00~1",
    "2026-03-02T09:00:00+00:00~" + "9" * 18, "2026-03-02T09:00:00+00:00~\u0661", "~", "2026-02-30~1",
)  # fmt: skip


@pytest.mark.parametrize("name", ["who", "of", "kind", "since", "until", "after", "form", "other"])
def test_no_nonsense_in_a_parameter_is_a_defect(client, auditor, waiting, name):
    for value in NONSENSE:
        status, _ = page(client, **{name: value})
        assert status in (200, 422), value

        sent = client.post(reverse("governance:audit-export"), {"form": "csv", name: value})
        assert sent.status_code in (200, 400), value
        if sent.streaming:
            b"".join(sent.streaming_content)
    twice = client.get(reverse("governance:audit") + f"?{name}=a&{name}=%ff%fe&{name}")
    assert twice.status_code in (200, 422)


@pytest.mark.parametrize(
    "forged",
    [
        {"chain": "a/b"},
        {"chain": ""},
        {"chain": "?#%"},
        {"facts": {"at": "2026-02-30T25:61:61.000000+00:00"}},
        {"facts": {"at": "0001-01-01T00:00:00.000000+00:00"}},
        {"facts": {"at": "9999-12-31T23:59:59.999999+00:00"}},
        {"facts": [1.5, None, {"": {"": []}}]},
        {"facts": "text"},
        {"actor": "", "kind": "", "on_behalf_of": "person:"},
        {"at": datetime(9999, 12, 31, 23, 59, tzinfo=UTC)},
        {"at": datetime(1, 1, 1, tzinfo=UTC)},
    ],
    ids=str,
)
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12"])
def test_a_forged_event_is_shown_as_one(client, auditor, forged, zone):
    Person.objects.filter(pk=auditor.pk).update(time_zone=zone)
    AuditEventFactory(**forged)

    status, html = page(client)

    assert status == 200
    assert "not as written" in html
    for form in ("csv", "jsonl"):
        assert exported(client, form=form)[0].status_code == 200


@pytest.mark.parametrize(
    "line",
    [
        b"no json",
        b"[]",
        b"{}",
        b"null",
        b'{"number": "one"}',
        b"\xff",
        b"[" * 1500,
        b'{"number": 1e999}',
    ],
)
def test_an_exported_file_that_is_not_ours_is_not_read(client, auditor, waiting, settings, line):
    seals.seal_now(clock.now())
    seals.export()
    with settings.SEAL_EXPORT.open("ab") as file:
        file.write(line + b"\n")

    status, html = page(client)

    assert status == 200
    assert "not to be read from this machine" in html


def test_nothing_found_says_so(client, auditor, waiting):
    assert "Nothing in the record matches" in page(client, of="R-NONE")[1]


def test_pages_go_by_keyset_and_cost_the_same(client, auditor, django_assert_max_num_queries):
    for n in range(120):
        AuditEventFactory(seq=n + 1, chain="R-LONG")
    seen, after = [], ""
    for _ in range(3):
        with django_assert_max_num_queries(25):
            answer = client.get(reverse("governance:audit"), {"of": "R-LONG", "after": after})
        seen += [row.event.seq for row in answer.context["rows"]]
        after = dict(part.split("=") for part in answer.context["more"].split("&") if part).get(
            "after", ""
        )
        after = after.replace("%3A", ":").replace("%2B", "+").replace("%7E", "~")

    assert seen == list(range(120, 0, -1))
    assert after == ""


def test_what_an_agent_sent_is_text_on_the_page(client, auditor):
    AuditEventFactory(facts={"note": "<script>alert(1)</script>", "a_list": [{"n": None}, {}]})

    html = page(client)[1]

    assert "<script>alert(1)" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert "a list 1, n" in html


def test_the_head_says_how_the_record_stands(client, auditor, waiting):
    assert "It was never read as a whole." in page(client)[1]

    assert client.post(reverse("governance:audit-verify")).status_code == 302
    assert "being read for the first time" in page(client)[1]
    verifications.sit(now=clock.now(), enough=lambda: False)
    html = page(client)[1]
    assert "All of it was as it was written." in html
    assert Verification.objects.get().asked_by == "person:auditor"

    with lifted(connection):
        AuditEvent.objects.filter(chain=waiting.ref, seq=1).update(actor="clock")
    client.post(reverse("governance:audit-verify"))
    verifications.sit(now=clock.now(), enough=lambda: False)
    html = page(client)[1]
    assert "The record is not what was written." in html
    assert "was edited: its content does not give its hash" in html


def test_the_head_names_the_last_seal_here_and_outside(client, auditor, waiting, settings):
    assert "none yet" in page(client)[1]
    seals.seal_now(clock.now())
    assert "not to be read from this machine" in page(client)[1]

    seals.export()
    with settings.SEAL_EXPORT.open("ab") as file:
        file.write(b'{"number": 2, "cut')

    assert seals.last_exported() == 1
    assert "not to be read from this machine" not in page(client)[1]


def test_a_reading_that_is_overdue_shows(client, auditor, timeline):
    verifications.sit(now=clock.now(), enough=lambda: False)
    timeline._set(timeline.now + timedelta(hours=49))

    assert "Nobody has read it for more than two days." in page(client)[1]


def exported(client, **search):
    answer = client.post(reverse("governance:audit-export"), search)
    return answer, b"".join(answer.streaming_content).decode() if answer.streaming else ""


def test_an_export_as_json_lines_can_be_checked_again(client, auditor, waiting):
    seals.seal_now(clock.now())

    answer, text = exported(client, of=waiting.ref, form="jsonl")

    lines = [json.loads(line) for line in text.splitlines()]
    assert answer["Content-Disposition"].endswith('.jsonl"')
    assert len(lines) == AuditEvent.objects.filter(chain=waiting.ref).count()
    for line in lines:
        stored = AuditEvent.objects.get(chain=line["chain"], seq=line["seq"])
        parts = [line[name] for name in ("chain", "seq", "kind", "actor", "on_behalf_of", "facts")]
        assert event_hash(*parts, stored.cause, stored.at, line["prev_hash"]) == line["hash"]
        assert (line["seal"], line["cause"]) == (1, str(stored.cause))


def test_an_export_as_csv_has_no_formulas(client, auditor):
    AuditEventFactory(chain="R-X", actor=FORMULA, on_behalf_of="@x", facts={"note": FORMULA})

    _, text = exported(client, of="R-X", form="csv")

    (row,) = csv.DictReader(io.StringIO(text))
    assert row["actor"] == f"'{FORMULA}"
    assert row["on_behalf_of"] == "'@x"
    assert json.loads(row["facts"]) == {"note": FORMULA}
    assert row["says"] == "The time of a rung ran out before anybody decided."


def test_an_export_is_itself_in_the_record_and_not_in_the_file(client, auditor, waiting):
    _, text = exported(client, who="clock", form="jsonl")

    event = AuditEvent.objects.get(kind="ledger.exported")
    assert (event.chain, event.actor) == ("system", "person:auditor")
    assert event.facts["search"] == {"who": "clock"}
    assert event.facts["form"] == "jsonl"
    assert "ledger.exported" not in text


@pytest.mark.parametrize(
    "sent", [{"form": "pdf"}, {"form": "csv", "kind": "step.lost"}, {}], ids=str
)
def test_an_export_of_nonsense_is_refused_and_not_recorded(client, auditor, sent):
    assert client.post(reverse("governance:audit-export"), sent).status_code == 400
    assert not AuditEvent.objects.filter(kind="ledger.exported").exists()


def test_a_get_exports_and_verifies_nothing(client, auditor):
    assert client.get(reverse("governance:audit-export")).status_code == 405
    assert client.get(reverse("governance:audit-verify")).status_code == 405
