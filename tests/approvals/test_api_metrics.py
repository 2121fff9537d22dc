"""The weekly figures over the API: the page's numbers, for the same people."""

from __future__ import annotations

import pytest
import time_machine
from rest_framework.test import APIClient

from governance.metrics import figures, weeks
from tests.factories import MONDAY_9AM, PersonFactory, RoleFactory
from tests.governance.measuring import counted

pytestmark = pytest.mark.django_db

ADDRESS = "/api/v1/metrics/"


@pytest.fixture(autouse=True)
def _monday():
    with time_machine.travel(MONDAY_9AM, tick=False):
        yield


def client_of(*duties):
    client = APIClient()
    client.force_authenticate(PersonFactory(roles=[RoleFactory(key=duty) for duty in duties]))
    return client


def test_it_says_what_the_page_says(company):
    counted("escalation", "hit", 1)
    counted("escalation", "miss", 6)
    counted("resolution", "hit", 2, level=3, seconds=3600)
    counted("resolution", "withdrawn", 1, level=3, seconds=3600)

    document = client_of("auditor").get(f"{ADDRESS}?by=department").json()

    told = {line["key"]: line for line in document["metrics"]}
    assert list(told) == [kind.key for kind in figures.KINDS]
    assert told["escalation"]["target"] == {"sign": "<", "limit": 15}
    assert told["escalation"]["this_week"] == {
        "week": "2026-W10", "value": "14.29", "median_s": None, "met": True, "hits": 1, "counted": 7,
        "left_out": {"absent": 0, "withdrawn": 0, "lapsed": 0},
    }  # fmt: skip
    assert told["resolution_l3"]["this_week"]["median_s"] == 3600
    assert told["resolution_l3"]["this_week"]["left_out"]["withdrawn"] == 1
    assert told["bypass"]["this_week"]["value"] is None
    by_week = {line.kind.key: line for line in figures.lines(weeks.week_of(MONDAY_9AM))}
    for key, line in told.items():
        page = [None if f.value is None else str(f.value) for f in by_week[key].figures]
        assert [each["value"] for each in line["weeks"]] == page
    (row,) = document["breakdown"]
    assert (row["value"], row["name"]) == ("accounts-payable", "Accounts payable")


@pytest.mark.parametrize(
    "query", ["week=2026-W11", "week=x", "by=country", "speed=1", "week=0001-W01"]
)
def test_what_is_asked_wrongly_is_refused(company, query):
    assert client_of("auditor").get(f"{ADDRESS}?{query}").status_code == 422


def test_agents_and_others_do_not_read_it(company, api):
    assert APIClient().get(ADDRESS).status_code == 401
    assert api(company.agent).get(ADDRESS).status_code == 403
    assert client_of("operator").get(ADDRESS).status_code == 403
    assert client_of("policy_admin").get(ADDRESS).status_code == 200
