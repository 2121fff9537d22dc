"""The pages of drills: who sees them, what they say of each point, and having one done now."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine

from governance.ladder import DRILL_COUNTS_FOR
from governance.models import ActionType, AuditEvent
from rollback.driller import go_on
from rollback.models import Drill
from rollback.rehearsal.play import DIFFERS, NOT_RUN
from rollback.rehearsal.points import points_of
from rollback.services import drill as drills
from tests.factories import MONDAY_9AM, ActionTypeFactory, DrillFactory, PersonFactory, RoleFactory
from tests.rollback.rehearsing import PlayHouse, entry, in_production, real
from tests.rollback.test_catalogue_pages import become, text

pytestmark = pytest.mark.django_db

LIST = "/actions/vendor_payment/drills/"
NOW = "/actions/vendor_payment/drills/now/"
RECORD = {
    "record": "demo:ap-balance",
    "before": {"balance": "10.00", "currency": "USD"},
    "left": {"balance": "22.00", "currency": "USD"},
    "after": {"balance": "22.00", "currency": "USD"},
}
DIFFERENCE = {
    "record": "demo:ap-balance", "field": "/balance", "before": "10.00", "after": "22.00",
    "why": "It is not as it was.",
}  # fmt: skip


@pytest.fixture(autouse=True)
def at_nine(settings):
    settings.SANDBOXES = {"demo": {"url": "http://sandbox.example", "token": "secret-token"}}
    with time_machine.travel(MONDAY_9AM, tick=False) as wall:
        yield wall


@pytest.fixture
def kind():
    return in_production()


@pytest.fixture
def operator(client):
    become(
        client, PersonFactory(username="op", name="Operator", roles=[RoleFactory(key="operator")])
    )
    return client


def drilled(kind, **outcomes):
    drills.ask(action_type=kind.pk, now=MONDAY_9AM, technical=real)
    taken = drills.take(now=MONDAY_9AM, technical=real)
    return go_on(taken, PlayHouse(**outcomes), now=lambda: MONDAY_9AM, technical=real)


@pytest.mark.parametrize(
    ("role", "status"),
    [("operator", 200), ("auditor", 200), ("policy_admin", 200), ("compliance", 403), ("", 403)],
)
def test_who_may_look(client, kind, role, status):
    become(client, PersonFactory(roles=[RoleFactory(key=role)] if role else []))
    drill = drilled(kind)

    assert client.get(LIST).status_code == status
    assert client.get(f"/actions/drills/{drill.pk}/").status_code == status


@pytest.mark.parametrize("role", ["auditor", "policy_admin"])
def test_who_looks_may_not_have_it_rehearsed(client, kind, role):
    become(client, PersonFactory(roles=[RoleFactory(key=role)]))

    assert "Rehearse it now" not in text(client.get(LIST))
    response = client.post(NOW)

    assert response.status_code == 403
    assert "Operators have undoing rehearsed. Nothing was begun." in text(response)
    assert not Drill.objects.exists()


def test_what_was_never_rehearsed_says_so_and_what_follows(operator, kind):
    said = text(operator.get(LIST))

    assert "Overdue. No drill has passed, so each request for it takes somebody present." in said
    assert "It was never rehearsed." in said


def test_what_was_seeded_and_never_rehearsed_is_not_said_to_be(operator, kind):
    ActionType.objects.update(drill_due_at=MONDAY_9AM + timedelta(days=30))

    said = text(operator.get(LIST))

    assert "Never rehearsed. The first drill has to pass by" in said
    assert "Rehearsed." not in said

    drilled(kind)

    assert "Rehearsed. The next drill has to pass by" in text(operator.get(LIST))


def test_an_operator_has_it_rehearsed_and_sees_it_wait(operator, kind):
    response = operator.post(NOW, follow=True)

    drill = Drill.objects.get()
    assert response.redirect_chain == [(f"/actions/drills/{drill.pk}/", 302)]
    said = text(response)
    assert "Waits for a worker" in said
    assert "0 of 3 points rehearsed" in said
    assert AuditEvent.objects.get(kind="drill.started").actor == "person:op"
    assert "See the one under way" in text(operator.get(LIST))
    operator.post(NOW)
    assert Drill.objects.count() == 1


def test_without_a_sandbox_the_list_says_what_is_missing_and_nothing_is_begun(
    operator, kind, settings
):
    settings.SANDBOXES = {}

    assert "TARGET_DEMO_SANDBOX_URL is not set" in text(operator.get(LIST))
    response = operator.post(NOW)

    assert response.status_code == 409
    assert "Nothing was begun." in text(response)
    assert not Drill.objects.exists()


def test_progress_comes_in_place_and_only_where_there_is_some(operator, kind):
    drills.ask(action_type=kind.pk, now=MONDAY_9AM, technical=real)
    url = f"/actions/drills/{Drill.objects.get().pk}/"
    page = operator.get(url)
    stamp = page.context["stamp"]
    assert f'hx-get="{url}?known={stamp}"' in page.content.decode()
    assert operator.get(f"{url}?known={stamp}", headers={"hx-request": "true"}).status_code == 204

    taken = drills.take(now=MONDAY_9AM, technical=real)
    drills.keep(taken, entry(taken.left[0]), now=MONDAY_9AM, technical=real)

    part = operator.get(f"{url}?known={stamp}", headers={"hx-request": "true"})
    assert "1 of 3 points rehearsed" in text(part)
    assert "<html" not in part.content.decode()


def test_one_that_passed_shows_until_when_it_counts_and_that_it_is_what_was_signed(operator, kind):
    drill = drilled(kind)

    said = text(operator.get(f"/actions/drills/{drill.pk}/"))

    assert "It can be undone. At each of 3 points all was as before. It counts for 90 days." in said
    assert "Unit 1 of 1: the answer was lost" in said
    assert f"Signed with key {drill.key_id}, and unchanged since." in said
    assert drill.evidence_hash in said
    page = operator.get(f"/actions/drills/{drill.pk}/").content.decode()
    assert "hx-trigger" not in page.partition('id="drill"')[2].partition(">")[0], "it has ended"
    assert operator.get(LIST).context["due_at"] == MONDAY_9AM + DRILL_COUNTS_FOR


def test_one_that_failed_opens_at_what_differs(operator, kind):
    bad = entry(points_of(1)[1], DIFFERS, records=[RECORD], differences=[DIFFERENCE])
    drill = drilled(kind, after_send_1=bad)

    response = operator.get(f"/actions/drills/{drill.pk}/")

    said, page = text(response), response.content.decode()
    assert "Not as before. demo:ap-balance/balance was 10.00 and is 22.00." in said
    assert page.count("<details open>") == 1
    assert page.count('class="is-wrong"') == 1
    assert page.count('class="is-same"') == 1, "its currency"
    assert "not as before" in said.partition("demo:ap-balance Field")[2]


def test_one_that_was_altered_is_red(operator, kind):
    drill = drilled(kind, end_1=DIFFERS)
    Drill.objects.update(passed=True, outcome="passed", said="")

    said = text(operator.get(f"/actions/drills/{drill.pk}/"))

    assert "This drill was edited: its content does not give its hash." in said


def test_what_a_target_says_is_text_and_nothing_else(operator, kind):
    evil = "<script>alert(1)</script>\u202e"
    bad = entry(
        points_of(1)[0], NOT_RUN, said=evil, document={"pointer": evil, "value": evil}, ended=evil,
        records=[{"record": evil, "before": {evil: evil}, "left": {}, "after": None}],
        calls=[{"call": evil, "of": evil, "answer": evil}],
        units=[{"n": 1, "direction": "forward", "name": evil, "key": evil, "state": evil,
                "attempts": 1, "reference": evil, "probed": False}],
    )  # fmt: skip
    drill = drilled(kind, before_send_1=bad)

    for url in (f"/actions/drills/{drill.pk}/", LIST):
        page = operator.get(url).content.decode()
        assert "<script>alert" not in page
        assert "\u202e" not in page


def test_evidence_without_its_parts_is_shown_all_the_same(operator, kind):
    drill = drilled(
        kind, before_send_1={"unit": 1, "at": "before_send", "outcome": "not_run", "said": "Gone."}
    )

    assert "Gone." in text(operator.get(f"/actions/drills/{drill.pk}/"))


def test_the_version_in_production_is_the_one_that_is_rehearsed(operator, kind):
    ActionTypeFactory(
        key="vendor_payment", version=2, state=ActionType.State.DRAFT, connector="http",
        connector_config=kind.connector_config, example=kind.example, schema=kind.schema,
        business_key=kind.business_key,
    )  # fmt: skip

    operator.post(NOW)

    assert Drill.objects.get().action_type == kind


def test_what_is_not_there_is_404(operator, kind):
    for url in ("/actions/nothing/drills/", "/actions/drills/4711/", f"/actions/drills/{2**40}/"):
        assert operator.get(url).status_code == 404
    assert operator.post("/actions/nothing/drills/now/").status_code == 404


def test_a_get_begins_nothing(operator, kind):
    assert operator.get(NOW).status_code == 405
    assert not Drill.objects.exists()


def test_the_list_costs_the_same_for_many(operator, kind, django_assert_max_num_queries):
    for _ in range(30):
        DrillFactory(
            action_type=kind, passed=True, ended_at=MONDAY_9AM, due_at=None, outcome="passed",
            evidence_hash="h", signature="s", asked_by=PersonFactory(),
        )  # fmt: skip

    with django_assert_max_num_queries(20):
        operator.get(LIST)
