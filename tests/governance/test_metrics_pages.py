"""The page, its files and its sheet: who reads them, what stands behind a figure, and nothing typed can break it."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from governance.metrics import access, cases, causes, figures
from governance.metrics.figures import By
from governance.metrics.weeks import week_of
from governance.models import AuditEvent, Measure, Metric
from tests.factories import MONDAY_9AM, AgentFactory, PersonFactory, RoleFactory, UncountedFactory
from tests.governance.measuring import counted

pytestmark = pytest.mark.django_db

NOW = MONDAY_9AM + timedelta(hours=5)
ADDRESSES = ("/metrics/", "/metrics/report/", "/metrics/weeks.csv")
CASES = "/metrics/cases.csv"


@pytest.fixture(autouse=True)
def _monday():
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def reader(client, company):
    return log_in(client)


def log_in(client):
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
    assert "target" not in page.split("<main")[1].lower(), "none is met, and none is missed"
    assert "Break down by" not in page
    assert reader.get("/metrics/report/").status_code == 200


def test_tiles_say_figure_target_and_what_was_missed(reader):
    counted("escalation", "hit", 8, facts={"let_run_out": ["person:finance_manager"]})
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


def everything_listed(reader, query):
    """Return the heading of a list, and the cases of all its pages."""
    page = text(reader.get(f"/metrics/?{query}"))
    heading = re.search(r'<h2 id="s-cases">(.*?)</h2>', page)[1]
    rows = rows_of(page)
    while more := re.search(r'href="\?([^"]+)#cases">Show the next', page):
        page = text(reader.get(f"/metrics/?{more[1].replace('&amp;', '&')}"))
        rows += rows_of(page)
    return heading, rows


def rows_of(page):
    listed = page.split('id="cases"')[1].split('id="weeks"')[0]
    return re.findall(r"<tr>\s*<t[hd][^>]* data-th=", listed)


def parts_on(page):
    nav = re.search(r'aria-label="Which of them">(.*?)</nav>', page, re.DOTALL)[1]
    found = re.findall(r'href="\?([^"]+)#cases".*?rc-count">([\d,]+)<', nav)
    return [(query.replace("&amp;", "&"), int(count)) for query, count in found]


# Of some metrics a figure has a path of its own, and of times it has a level.
OF = {
    "escalation": st.sampled_from(["timeout", "rejection", "approval"]),
    "silent": st.just(""),
}
OUTCOMES = {
    "silent": ["hit"], "resolution": ["hit", "miss", "absent", "withdrawn"],
    "rollback": ["hit", "miss", "lapsed"],
}  # fmt: skip


@st.composite
def measured(draw):
    metric = draw(st.sampled_from(Metric.values))
    timed = metric == "resolution"
    fields = {
        "outcome": draw(st.sampled_from(OUTCOMES.get(metric, ["hit", "miss"]))),
        "times": draw(st.integers(1, 60)),
        "department": draw(st.sampled_from(["accounts-payable", "sales"])),
        "action": draw(st.sampled_from(["vendor_payment", "sales_order"])),
        "path": draw(OF.get(metric, st.sampled_from(["timeout", "system_failure"]))),
        "level": draw(st.sampled_from([1, 2, 3, 4])),
        "seconds": draw(st.integers(60, 40_000)) if timed else None,
        "at": MONDAY_9AM - timedelta(weeks=draw(st.sampled_from([0, 0, 0, 1]))),
        "facts": draw(
            st.sampled_from([
                {}, {"let_run_out": ["person:finance_manager"]}, {"nobody_first": True},
                {"failed": True, "how": "recovery.failed", "audit": "unsealed"},
                {"ran_out_s": 30_000},
            ])
        ),
    }  # fmt: skip
    return metric, fields


@settings(
    max_examples=20, derandomize=True, deadline=None, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(
    st.lists(measured(), min_size=1, max_size=12),
    st.sampled_from(list(By)),
    st.sampled_from(figures.KINDS),
)
def test_behind_each_figure_are_exactly_as_many_cases_as_it_says(reader, all_measured, by, seen):
    with transaction.atomic():
        for metric, fields in all_measured:
            counted(metric, fields["outcome"], fields["times"], **{
                name: said for name, said in fields.items() if name not in ("outcome", "times")
            })  # fmt: skip
        week = week_of(MONDAY_9AM)
        rows = (
            [figures.Row("", "", [line.this for line in figures.lines(week)])]
            if by == By.ALL
            else figures.breakdown(week, by)
        )
        for row in rows:
            for figure in row.figures:
                cell = "" if by == By.ALL else str(by)
                chosen = cases.Chosen(
                    figure.kind, week, cases.parts_of(figure.kind)[0], cell, row.value
                )
                assert chosen.figure() == figure
                for part in cases.parts_of(figure.kind):
                    own = replace(chosen, part=part)
                    listed = cases.measures(own).count()
                    assert listed == cases.count(figure, part), (figure.kind.key, part.key)
        (line,) = figures.lines(week, [seen])
        shares_and_their_cases_agree(reader, line.this)
        transaction.set_rollback(True)


def shares_and_their_cases_agree(reader, figure):
    """The page's list behind a figure has a numerator's and a denominator's cases, and a cause has its own."""
    page = text(reader.get(f"/metrics/?metric={figure.kind.key}"))
    heading, rows = everything_listed(reader, f"metric={figure.kind.key}")
    first = cases.parts_of(figure.kind)[0]
    assert f": {len(rows)}" in heading
    assert len(rows) == cases.count(figure, first)
    if first.is_counted and figure.kind.unit == "percent" and figure.of:
        assert heading.endswith(f": {len(rows)} of {figure.of}")
    for query, count in parts_on(page) if len(cases.parts_of(figure.kind)) > 1 else []:
        assert len(everything_listed(reader, query)[1]) == count
    cause = causes.cause_of(figure)
    if cause is not None and "because" in cause.cases:
        said = re.search(r"([\d,]+) of (?:the last )?([\d,]+) ", cause.text)
        heading, rows = everything_listed(reader, cause.cases.partition("?")[2].partition("#")[0])
        assert len(rows) == int(said[1])
        if "the last" not in cause.text:
            assert heading.endswith(f": {said[1]} of {said[2]}")


def test_a_tile_of_times_opens_the_cases_of_its_levels(reader):
    of = {
        level: counted("resolution", "miss", 2, seconds=90_000, level=level) for level in (2, 3, 4)
    }

    page = text(reader.get("/metrics/"))
    tile = re.search(r'href="(/metrics/\?metric=resolution_l1_l2[^"]*)#cases"', page)[1]

    assert refs(text(reader.get(tile.replace("&amp;", "&")))) == of[2][::-1]
    assert refs(text(reader.get("/metrics/?metric=resolution_l3&show=late"))) == of[3][::-1]
    assert refs(text(reader.get("/metrics/?metric=resolution_l4"))) == of[4][::-1]


def test_of_a_path_what_escalated_is_a_share_of_all_that_ended(reader):
    counted("escalation", "hit", 1, path="timeout")
    counted("escalation", "hit", 2, path="rejection")
    counted("escalation", "miss", 7, path="approval")

    heading, rows = everything_listed(reader, "metric=escalation&by=path&of=timeout")
    _, whole = everything_listed(reader, "metric=escalation&by=path&of=timeout&show=all")

    assert heading.endswith(": 1 of 10")
    assert (len(rows), len(whole)) == (1, 10)


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
        "because=person~%00", "because=clock~", "because=x",
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
    counted("silent", "hit", 1, path="", facts={"audit": "unsealed"})

    lines = list(csv.DictReader(io.StringIO(reader.get("/metrics/weeks.csv").getvalue().decode())))
    in_all = [line for line in lines if line["metric"] == "escalation" and line["by"] == "all"]
    assert [(x["week"], x["value"], x["hits"], x["counted"], x["met"]) for x in in_all] == [
        ("2026-W10", "25.00", "2", "8", "no")
    ]

    (silent,) = [line for line in lines if line["metric"] == "silent" and line["by"] == "all"]
    assert (in_all[0]["target"], silent["target"]) == ("under 15", "exactly 0")
    assert not any(cell.startswith("'") for line in lines for cell in line.values())

    response = reader.post(CASES, {"metric": "escalation"})
    rows = list(csv.DictReader(io.StringIO(response.getvalue().decode())))
    assert len(rows) == 2
    assert rows[0]["title"].startswith("'=")
    assert (
        'filename="recourse-escalation-escalated-2026-W10.csv"'
        in response.headers["Content-Disposition"]
    )


def test_whoever_takes_cases_away_stands_in_the_record_and_a_get_takes_nothing(reader):
    counted("escalation", "hit", 1)
    form = {"metric": "escalation", "show": "all", "by": "path", "of": "timeout"}

    assert reader.get(CASES).status_code == 405
    assert not AuditEvent.objects.filter(kind="metrics.exported").exists()
    assert reader.post(CASES, form).status_code == 200

    (event,) = AuditEvent.objects.filter(kind="metrics.exported")
    assert (event.chain, event.actor.startswith("person:")) == ("system", True)
    assert event.facts["asked"] == form | {"week": "2026-W10"}


def test_the_file_of_a_cause_has_its_cases_and_no_others(reader):
    counted("escalation", "hit", 2, facts={"nobody_first": True, "policy": 3})
    own = counted("escalation", "hit", 3, facts={"let_run_out": ["person:finance_manager"]})
    page = text(reader.get("/metrics/?metric=escalation&because=person~person:finance_manager"))

    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page))
    rows = csv.DictReader(io.StringIO(reader.post(CASES, fields).getvalue().decode()))

    assert "3 of 5" in page
    assert refs(page) == own[::-1]
    assert [row["request"] for row in rows] == own[::-1]


@pytest.mark.parametrize(("key", "status"), [("auditor", 200), ("operator", 403), (None, 403)])
def test_who_may_not_read_takes_nothing_away(client, company, key, status):
    person = PersonFactory(roles=[RoleFactory(key=key)] if key else [])
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")

    assert client.post(CASES, {"metric": "escalation"}).status_code == status
    assert AuditEvent.objects.filter(kind="metrics.exported").exists() == (status == 200)


@pytest.mark.sqlite_only
def test_a_page_of_cases_begins_where_the_last_one_ended_by_the_index(reader):
    counted("escalation", "hit", 3)
    chosen = cases.Chosen(figures.ESCALATION, week_of(MONDAY_9AM), cases.PARTS["escalation"][0])
    with CaptureQueriesContext(connection) as captured:
        cases.page(chosen, (NOW, 7))

    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {captured[0]['sql']}")
        plan = " ".join(row[3] for row in cursor.fetchall())
    assert "measure_of_outcome (metric=? AND week=? AND outcome=? AND at<?)" in plan
    assert "B-TREE" not in plan


def test_an_amount_that_is_none_is_shown_as_it_stands(reader):
    (ref,) = counted("escalation", "hit", 1)
    Measure.objects.update(facts={"amount": "lots", "currency": "USD"})

    page = text(reader.get("/metrics/?metric=escalation"))

    assert refs(page) == [ref]
    assert "lots USD" in page


def words(page):
    return " ".join(re.sub(r"<[^>]+>", "", page).split())


def test_a_time_that_is_met_is_not_said_to_be_missed_where_that_of_l3_is(reader):
    counted("resolution", "hit", level=2, seconds=72 * 60)
    counted("resolution", "miss", level=3, seconds=540 * 60)
    tile = re.compile(r"<article.*?</article>", re.DOTALL)

    _, ours, *_ = tile.findall(text(reader.get("/metrics/")))
    assert "L3 missed" in words(ours)

    counted("resolution", "miss", level=2, seconds=540 * 60)
    _, ours, *_ = tile.findall(text(reader.get("/metrics/")))
    assert "L3 missed" not in words(ours)
    assert "Missed" in words(ours)


def test_requests_that_are_not_counted_are_named(reader):
    counted("escalation", "hit", 1)
    assert "not counted" not in text(reader.get("/metrics/"))

    UncountedFactory(chain="R-BAD")
    for address in ("/metrics/", "/metrics/report/"):
        page = words(text(reader.get(address)))
        assert "One request is not counted: its record is broken. R-BAD." in page
    for number in range(6):
        UncountedFactory(chain=f"R-{number}")
    page = text(reader.get("/metrics/"))
    assert (
        "7 requests are not counted: their record is broken. R-0, R-1, R-2, R-3, R-4 and 2 more."
        in words(page)
    )
    assert refs(page)[:5] == ["R-0", "R-1", "R-2", "R-3", "R-4"]
    assert '<a href="/findings/">Look at the findings</a>' in page


@pytest.mark.parametrize("address", ["/metrics/", "/metrics/report/"])
def test_one_that_is_no_ref_of_ours_is_named_too(reader, address):
    UncountedFactory(chain="a/b c")

    page = reader.get(address)

    assert page.status_code == 200
    assert "a/b c" in text(page)


def test_where_all_that_ended_is_broken_that_is_said_too(reader):
    UncountedFactory(chain="R-BAD")

    page = text(reader.get("/metrics/"))

    assert "Nothing that ended could be counted" in page
    assert "R-BAD." in words(page)


def test_a_department_in_which_nothing_ended_has_a_dash_and_no_verdict(reader):
    counted("escalation", "hit", 1)
    counted("silent", "hit", 1, path="", department="sales", facts={"audit": "unsealed"})

    rows = figures.breakdown(week_of(MONDAY_9AM), By.DEPARTMENT)
    own = next(row for row in rows if row.value == "sales")
    page = text(reader.get("/metrics/?split=department"))

    for figure in own.figures:
        assert figure.met is (False if figure.kind == figures.SILENT else None)
    line = re.search(r'<th scope="row" data-th="Department">sales</th>(.*?)</tr>', page, re.DOTALL)
    cells = re.findall(r"<td[^>]*>(.*?)</td>", line[1], re.DOTALL)
    assert [re.sub(r"<[^>]+>|\s", "", each) for each in cells] == [
        "\u2013", "\u2013", "\u2013", "1missed", "\u2013", "\u2013",
    ]  # fmt: skip


def test_the_first_week_of_a_year_comes_after_the_last_of_the_year_before(client, company):
    with time_machine.travel(datetime(2027, 1, 6, 12, tzinfo=UTC), tick=False):
        reader = log_in(client)
        counted("escalation", "hit", 1, at=datetime(2027, 1, 3, 23, 59, tzinfo=UTC))
        counted("escalation", "miss", 1, at=datetime(2027, 1, 4, tzinfo=UTC))
        page = text(reader.get("/metrics/?metric=escalation&week=2026-W53"))
        assert "Escalated in week 53: 1 of 1" in page
        assert "Week 53, Mon 28 Dec 2026 to Sun 3 Jan 2027." in page
        assert "week=2027-W01" in page
        assert "Escalated in week 1: 0 of 1" in text(reader.get("/metrics/?metric=escalation"))


def test_it_says_when_the_figures_stand_still(reader):
    counted("escalation", "hit", 1, at=NOW - timedelta(minutes=9))
    assert "stand still" not in text(reader.get("/metrics/"))

    with time_machine.travel(NOW + timedelta(minutes=10), tick=False):
        assert "stand still" in text(reader.get("/metrics/"))


def test_the_report_has_the_figures_of_its_week_and_the_causes(reader):
    counted("escalation", "hit", 1, facts={"let_run_out": ["person:finance_manager"]})
    counted("escalation", "miss", 1, at=MONDAY_9AM - timedelta(weeks=1))

    page = text(reader.get("/metrics/report/?week=2026-W10"))

    assert '<b class="rc-bad">100 %</b>' in page
    assert "In 1 of 1 escalated request the Finance Manager was asked" in page
    assert "0 findings" in page
    before = text(reader.get("/metrics/report/?week=2026-W09"))
    assert "No target was missed." in before
