"""The page, its files and its sheet: who reads them, what stands behind a figure, and nothing typed can break it."""

from __future__ import annotations

import csv
import io
import re
from datetime import timedelta

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from governance.metrics import access, cases
from governance.metrics.weeks import week_of
from governance.models import Metric
from tests.factories import MONDAY_9AM, AgentFactory, PersonFactory, RoleFactory
from tests.governance.measuring import counted

pytestmark = pytest.mark.django_db

NOW = MONDAY_9AM + timedelta(hours=5)
ADDRESSES = ("/metrics/", "/metrics/report/", "/metrics/weeks.csv", "/metrics/cases.csv")


@pytest.fixture(autouse=True)
def _monday():
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def reader(client, company):
    person = PersonFactory(roles=[RoleFactory(key="auditor", name="Auditor")])
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


def text(response):
    page = response.content.decode() if not response.streaming else response.getvalue().decode()
    return page.replace("\u00a0", " ").replace("&nbsp;", " ")


def refs(page):
    return re.findall(r'href="/requests/(R-\d+)/"', page)


@pytest.mark.parametrize("address", ADDRESSES)
def test_auditors_and_administrators_read_and_nobody_else(client, company, address):
    for key, status in (("auditor", 200), ("policy_admin", 200), ("operator", 403), (None, 403)):
        roles = [RoleFactory(key=key)] if key else []
        client.force_login(
            PersonFactory(roles=roles), backend="django.contrib.auth.backends.ModelBackend"
        )
        assert client.get(address).status_code == status, key
        assert client.post(address).status_code in (403, 405)
    client.logout()
    assert client.get(address).status_code == 302


def test_an_agent_is_no_reader():
    assert not access.may_read(AgentFactory())
    assert not access.may_read(PersonFactory(roles=[RoleFactory(key="auditor")], is_active=False))


def test_a_fresh_installation_says_that_nothing_has_ended(reader):
    page = text(reader.get("/metrics/"))

    assert "Nothing has ended yet" in page
    assert "0 %" not in page
    assert reader.get("/metrics/report/").status_code == 200


def test_tiles_say_figure_target_and_what_was_missed(reader):
    counted("escalation", "hit", 8, facts={"first_asked": ["person:finance_manager"]})
    counted("escalation", "miss", 32, path="approval")
    counted("resolution", "hit", level=2, seconds=72 * 60)
    counted("resolution", "hit", level=3, seconds=340 * 60)
    counted("unattended", "hit", 71, path="system_failure")
    counted("unattended", "miss", 29, path="system_failure")

    page = text(reader.get("/metrics/"))

    for words in (
        "<b>20 %</b>", "Target under 15 % · 8 of 40", "<b>1 h 12 min</b>",
        "L3: 5 h 40 min, target under 8 h", "<b>71 %</b>", "Target over 60 % · 71 of 100",
        "Escalation rate, likely cause: a person.", "Three of four targets are met.",
    ):  # fmt: skip
        assert words in page, words
    assert page.count("<b>\u2013</b>") == 2, "rollbacks and bypasses have nothing to count"


def test_the_cases_behind_a_figure_are_exactly_those_that_were_counted(reader):
    hits = counted("escalation", "hit", 120)
    counted("escalation", "miss", 7)
    counted("escalation", "hit", 3, at=MONDAY_9AM - timedelta(weeks=1))
    counted("bypass", "hit", 2)

    page = text(reader.get("/metrics/?metric=escalation"))
    assert "Escalated in week 10: 120 of 127" in page
    seen = refs(page)
    assert len(seen) == cases.PAGE
    while more := re.search(r'href="\?([^"]+)#cases">Show the next', page):
        page = text(reader.get(f"/metrics/?{more[1].replace('&amp;', '&')}"))
        seen += refs(page)

    assert seen == hits[::-1], "the newest first, each once, and no others"


def test_every_part_of_every_metric_lists_as_many_as_it_counts(reader):
    counted("escalation", "hit", 3)
    counted("escalation", "miss", 4)
    for outcome, times in (("hit", 2), ("miss", 1), ("absent", 3), ("withdrawn", 4)):
        counted("resolution", outcome, times, seconds=60, level=3)
    for metric in ("rollback", "bypass", "unattended", "again"):
        counted(metric, "hit", 2)
        counted(metric, "miss", 5)
    counted("rollback", "lapsed", 6)
    counted("silent", "hit", 2, request="", facts={"audit": "unsealed", "text": "Not sealed."})

    for metric in Metric:
        for part in cases.PARTS[metric]:
            chosen = cases.Chosen(metric, week_of(MONDAY_9AM), part)
            found = cases.measures(chosen).count()
            assert found == cases.count(chosen), (metric, part.key)
            page = text(reader.get(f"/metrics/?metric={metric}&show={part.key}"))
            assert page.count("<tr>") - page.split('id="cases"')[0].count("<tr>") >= found


def test_a_figure_of_a_breakdown_opens_its_own_cases(reader):
    counted("escalation", "hit", 2)
    (own,) = counted("escalation", "hit", 1, department="sales", action="sales_order")

    for split, value in (("department", "sales"), ("action", "sales_order")):
        page = text(reader.get(f"/metrics/?split={split}"))
        link = re.search(rf'href="(/metrics/\?metric=escalation[^"]+of={value})#cases"', page)
        assert refs(text(reader.get(link[1].replace("&amp;", "&")))) == [own]


def test_the_page_asks_the_same_queries_whatever_there_is(reader):
    def queries():
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert reader.get("/metrics/?split=department&metric=escalation").status_code == 200
        return len(captured)

    counted("escalation", "hit", 1)
    few = queries()
    counted("escalation", "hit", 300)
    counted("escalation", "hit", 30, department="sales", action="sales_order")

    assert queries() <= few


@pytest.mark.parametrize(
    "query",
    [
        "week=2026-W99", "week=1900-W01", "week=9999-W52", "metric=speed&show=none", "by=x&of=y",
        "by=department&of=%00", "split=country", "after=never", "after=2026-03-02T09:00:00Z~-1",
        "after=0001-01-01T00:00:00%2B14:00~1", "after=9999-12-31T23:59:59-14:00~1",
        "after=2026-03-02T09:00:00%2B00:00~99999999999999999999", "by=path&of=<script>",
    ],
)  # fmt: skip
@pytest.mark.parametrize("address", ADDRESSES)
def test_nothing_that_is_typed_breaks_it(reader, address, query):
    counted("escalation", "hit", 1)

    response = reader.get(f"{address}?{query}")

    assert response.status_code == 200
    assert "<script>" not in text(response).split("cases", 1)[-1]


def test_files_hold_what_the_page_shows_and_no_formula(reader):
    counted("escalation", "hit", 2, facts={"title": '=HYPERLINK("http://evil")'})
    counted("escalation", "miss", 6)

    lines = list(csv.DictReader(io.StringIO(reader.get("/metrics/weeks.csv").getvalue().decode())))
    in_all = [line for line in lines if line["metric"] == "escalation" and line["by"] == "all"]
    assert [(x["week"], x["value"], x["hits"], x["counted"], x["met"]) for x in in_all] == [
        ("2026-W10", "25.00", "2", "8", "no")
    ]

    response = reader.get("/metrics/cases.csv?metric=escalation")
    rows = list(csv.DictReader(io.StringIO(response.getvalue().decode())))
    assert len(rows) == 2
    assert rows[0]["title"].startswith("'=")
    assert (
        'filename="recourse-escalation-escalated-2026-W10.csv"'
        in response.headers["Content-Disposition"]
    )


def test_it_says_when_the_figures_stand_still(reader):
    counted("escalation", "hit", 1, at=NOW - timedelta(minutes=9))
    assert "stand still" not in text(reader.get("/metrics/"))

    with time_machine.travel(NOW + timedelta(minutes=10), tick=False):
        assert "stand still" in text(reader.get("/metrics/"))


def test_the_report_has_the_figures_of_its_week_and_the_causes(reader):
    counted("escalation", "hit", 1, facts={"first_asked": ["person:finance_manager"]})
    counted("escalation", "miss", 1, at=MONDAY_9AM - timedelta(weeks=1))

    page = text(reader.get("/metrics/report/?week=2026-W10"))

    assert '<b class="rc-bad">100 %</b>' in page
    assert "waited for the Finance Manager" in page
    before = text(reader.get("/metrics/report/?week=2026-W09"))
    assert "No target was missed." in before
