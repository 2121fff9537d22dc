"""Search in the record: each condition alone, several together, and pages that lose and repeat nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection

from governance.models import AuditEvent, SealedEvent
from governance.search import Cursor, Search
from tests.factories import MONDAY_9AM, AuditEventFactory, SealedEventFactory

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)


@pytest.fixture
def events():
    """Six events, a minute apart, the first two at one instant."""
    rows = [
        {"actor": "agent:ap-agent", "kind": "request.submitted", "on_behalf_of": "person:cfo"},
        {"actor": "clock", "kind": "step.opened"},
        {"actor": "person:cfo", "kind": "step.decided"},
        {"actor": "person:auditor", "kind": "ledger.exported", "chain": "system"},
        {"actor": "person:cfo", "kind": "policy.signed", "chain": "policy"},
        {"actor": "person:cfo2", "kind": "step.decided", "chain": "R-OTHER"},
    ]
    return [
        AuditEventFactory(
            **{"chain": "R-1", **row},
            seq=n + 1,
            at=MONDAY_9AM + max(0, n - 1) * MINUTE,
        )
        for n, row in enumerate(rows)
    ]


def found(events, **search):
    numbers = {event.pk: n for n, event in enumerate(events)}
    return [numbers[event.pk] for event in Search(**search).page(None, 50)]


def test_without_conditions_everything_comes_the_newest_first(events):
    assert found(events) == [5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ({"who": "person:cfo"}, [4, 2, 0]),  # and what was done on their behalf
        ({"who": "clock"}, [1]),
        ({"who": "agent:ap-agent"}, [0]),
        ({"chain": "R-1"}, [2, 1, 0]),
        ({"chain": "policy"}, [4]),
        ({"kind": "step.decided"}, [5, 2]),
        ({"kind": "request.submitted"}, [0]),
        ({"since": MONDAY_9AM + 2 * MINUTE}, [5, 4, 3]),
        ({"until": MONDAY_9AM + 2 * MINUTE}, [2, 1, 0]),
        ({"since": MONDAY_9AM + MINUTE, "until": MONDAY_9AM + MINUTE}, []),
        ({"who": "person:cfo", "kind": "step.decided", "chain": "R-1"}, [2]),
        ({"who": "person:%"}, []),
        ({"who": "person:nobody"}, []),
    ],
    ids=str,
)
def test_each_condition_finds_what_it_says_and_nothing_else(events, search, expected):
    assert found(events, **search) == expected


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("search", [{}, {"who": "person:cfo"}], ids=str)
def test_pages_lose_nothing_and_repeat_nothing(events, size, search):
    whole, after, pages = found(events, **search), None, []
    while page := Search(**search).page(after, size):
        pages += page
        after = Cursor(page[-1].at, page[-1].pk)

    assert [event.pk for event in pages] == [events[n].pk for n in whole]


def test_every_goes_through_all_of_it_in_batches(events, monkeypatch):
    monkeypatch.setattr("governance.search.BATCH", 2)

    assert [event.pk for event in Search().every()] == [event.pk for event in reversed(events)]


def test_what_comes_later_does_not_belong_to_it(events):
    bounded = Search().bounded(Search().last_id())
    AuditEventFactory(at=MONDAY_9AM)

    assert len(list(bounded.every())) == len(events)
    assert bounded == replace(Search(), up_to=events[-1].pk)


def test_seals_come_with_the_events_in_one_query(events, django_assert_num_queries):
    leaf = SealedEventFactory(event=events[2])

    with django_assert_num_queries(1):
        page = Search(who="person:cfo").page(None, 50)
        sealed = [event.sealed.seal_id for event in page if hasattr(event, "sealed")]

    assert sealed == [leaf.seal_id]
    assert SealedEvent.objects.count() == 1


PLANS = {
    "everything": (Search(), "event_newest"),
    "by time": (
        Search(since=MONDAY_9AM + 10 * MINUTE, until=MONDAY_9AM + 12 * MINUTE),
        "event_newest",
    ),
    "by a person": (Search(who="person:rare"), "event_by_person"),
    "by a kind": (Search(kind="policy.activated"), "event_by_kind"),
    "by a request": (Search(chain="R-77"), "event_one_per_place"),
}


@pytest.mark.postgresql
@pytest.mark.parametrize(("search", "index"), PLANS.values(), ids=PLANS)
def test_each_condition_is_served_by_its_index(search, index):
    """Twenty thousand events of a usual kind, and one of each that is looked for."""
    table = AuditEvent._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} (chain, seq, kind, actor, on_behalf_of, facts, cause, at,"
            " prev_hash, hash) SELECT 'R-' || n / 4, mod(n, 4) + 1,"
            " CASE WHEN n = 777 THEN 'policy.activated' WHEN mod(n, 4) = 0 THEN 'request.submitted'"
            " ELSE 'step.opened' END,"
            " CASE WHEN n = 888 THEN 'person:rare' ELSE 'agent:ap-agent' END, '', '{}',"
            " gen_random_uuid(), %s::timestamptz + n * interval '1 second', '', ''"
            " FROM generate_series(0, 19999) n",
            [MONDAY_9AM],
        )
        cursor.execute(f"ANALYZE {table}")
    rows = search._page(None, 51)

    plan = rows.explain()

    assert index in plan, plan
    assert "Seq Scan on governance_auditevent" not in plan, plan


@pytest.mark.postgresql
@pytest.mark.parametrize("page", [None, Cursor(MONDAY_9AM + timedelta(seconds=9000), 9000)])
def test_a_page_of_a_busy_person_reads_as_many_events_as_it_shows(page):
    """Half of twenty thousand events are theirs, or were done for them."""
    table = AuditEvent._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} (chain, seq, kind, actor, on_behalf_of, facts, cause, at,"
            " prev_hash, hash) SELECT 'R-' || n / 4, mod(n, 4) + 1, 'step.decided',"
            " CASE WHEN mod(n, 4) = 0 THEN 'person:busy' ELSE 'clock' END,"
            " CASE WHEN mod(n, 4) = 1 THEN 'person:busy' ELSE '' END, '{}', gen_random_uuid(),"
            " %s::timestamptz + n * interval '1 second', '', '' FROM generate_series(0, 19999) n",
            [MONDAY_9AM],
        )
        cursor.execute(f"ANALYZE {table}")
    rows = Search(who="person:busy")._page(page, 51)

    plan = json.loads(rows.explain(format="json", analyze=True))

    assert most_rows(plan[0]["Plan"]) <= 2 * 51
    assert len(rows) == 51


def most_rows(node):
    """The most rows that any step of a plan read or gave, in all its turns."""
    own = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
    return max([own, *(most_rows(each) for each in node.get("Plans", ()))])
