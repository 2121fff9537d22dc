"""How the panel tells what was done, what is undone, and what may be done about it."""

from __future__ import annotations

from datetime import UTC, timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from approvals.models import ActionRequest, Order
from approvals.services.orders import order_rollback
from rollback.models import Direction, Run, Unit
from rollback.panel import panel_of
from tests.approvals.test_inbox import HOSTILE
from tests.approvals.test_orders import done, of_duty
from tests.factories import (
    MONDAY_9AM,
    OrderFactory,
    RecoveryFactory,
    RunFactory,
    SnapshotFactory,
    UnitFactory,
)

pytestmark = pytest.mark.django_db

S = ActionRequest.State
U = Unit.State
M, SECOND = timedelta(minutes=1), timedelta(seconds=1)
HTMX = {"HX-Request": "true"}


def text(response):
    return response.content.decode().replace("\xa0", " ")


def plain(words):
    return words.replace("\xa0", " ")


def panel(request, reader, now=MONDAY_9AM + 10 * M):
    fresh = ActionRequest.objects.select_related("action_type", "agent", "department")
    return panel_of(fresh.get(pk=request.pk), reader=reader, now=now, zone=UTC)


def five_lines(request, states, *, amount=Decimal("1000.00"), undo=True):
    """Give a request a unit for each state, with its reversal beside it."""
    lines = []
    for n, state in enumerate(states, start=1):
        line = UnitFactory(
            request=request, position=n, state=state, name=f"Line {n}", amount=amount,
            currency="USD", sent_at=MONDAY_9AM - 0.4 * SECOND,
            receipt={"reference": f"SOL-{n}"} if state in (U.DONE, U.REVERSED) else None,
            reversed_at=MONDAY_9AM + M if state == U.REVERSED else None,
        )  # fmt: skip
        lines.append(line)
        if undo:
            UnitFactory(
                request=request, position=n, direction=Direction.UNDO, reverses=line,
                name=f"Cancel line {n}", amount=amount, currency="USD",
                state=U.DONE if state == U.REVERSED else U.PLANNED,
            )  # fmt: skip
    return lines


@pytest.fixture
def operator(company, timeline):
    return of_duty("operator", username="operator", name="Operator")


def troubled(company, states=(U.DONE, U.DONE, U.DONE, U.NOT_DONE, U.PLANNED), **over):
    request = done(company, S.TROUBLED, approved_at=MONDAY_9AM, **over)
    return request, five_lines(request, states)


# --- What is done ---


def test_a_failure_says_what_is_there_what_is_not_and_what_comes_next(company, operator):
    at = MONDAY_9AM + 12 * M
    request, lines = troubled(company, next_attempt_at=at, due_at=at)
    Unit.objects.filter(pk=lines[3].pk).update(
        attempts=2,
        tries=[
            {"at": (MONDAY_9AM + n * M).isoformat(), "said": "503 Service unavailable"}
            for n in (1, 3)
        ],
    )

    found = panel(request, operator)

    assert plain(found.summary.lead) == "3 of 5 units are in the target, $3,000.00 of $5,000.00."
    assert plain(found.summary.text) == (
        "Nothing was written twice, and nothing is half written. The next attempt is at 09:12:00."
    )
    first, failed, waiting = found.units[0], found.units[3], found.units[4]
    assert (first.kind, first.how, first.reference) == ("done", "created as", "SOL-1")
    assert plain(first.result) == "Checkpoint 09:00:00 · 0.4 s"
    assert (failed.kind, plain(failed.result)) == ("failed", "Failed, 2 tries")
    assert [plain(each) for each in failed.tries] == [
        "09:01:00 503 Service unavailable",
        "09:03:00 503 Service unavailable, waited 2 min",
        "09:12:00 the next try",
    ]
    assert (waiting.kind, waiting.result) == ("wait", "Not started")
    assert [stage.kind for stage in found.stages] == ["done", "done", "bad", "", ""]
    assert found.stages[2].words == "stopped at 4 of 5"
    assert found.pulse_s == 2


def test_doubt_is_said_before_anything_else(company, operator):
    request, _ = troubled(company, (U.DONE, U.UNKNOWN))

    found = panel(request, operator)

    assert found.summary.text.startswith("Whether unit 2 arrived is not known")
    assert (found.units[1].kind, found.units[1].result) == ("doubt", "Outcome unknown")


def test_an_answer_that_was_lost_and_found_says_so(company, operator):
    request = done(company)
    UnitFactory(
        request=request, position=1, state=U.DONE, probed=True, receipt={"reference": "PAY-1007"}
    )

    (unit,) = panel(request, operator).units

    assert (unit.how, unit.reference) == ("answer was lost; asked by key, found as", "PAY-1007")
    assert unit.result == "Checkpoint 09:00:00 · after a probe"


def test_before_it_begins_it_says_that_it_will(company, operator):
    found = panel(done(company, S.APPROVED, has_effects=False), operator)

    assert found.summary.lead == "It begins within seconds."
    assert found.units == ()
    assert found.pulse_s == 2


def test_the_strip_of_what_completed_ends_with_the_agent(company, operator):
    request = done(company, callback_url="https://agent.example.com/hook", approved_at=MONDAY_9AM)
    five_lines(request, [U.DONE])
    SnapshotFactory(request=request, after={"balance": "12000.00"}, left_at=MONDAY_9AM)

    found = panel(request, operator)

    assert [(stage.name, plain(stage.words)) for stage in found.stages] == [
        ("Approved", "09:00"),
        ("Snapshot", "09:00:00, 1 record"),
        ("Executed", "1 of 1"),
        ("Completed", "09:05:00"),
        ("Status sent back", "not sent"),
    ]


def test_attempts_say_how_each_ended(company, operator):
    request, _ = troubled(company)
    RunFactory(request=request, state=Run.State.LOST, ended_at=MONDAY_9AM + M)
    RunFactory(request=request, attempt=2, state=Run.State.FAILED, error="503")

    first, second = panel(request, operator).attempts

    assert first.words == "Forward, attempt 1: fell silent, and another went on"
    assert first.times == "09:00:00 to 09:01:00"
    assert (second.icon, second.said) == ("x", "503")


def test_attempts_are_shown_where_no_unit_could_be_planned(client, company, operator):
    request, _ = troubled(company, states=())
    RunFactory(request=request, state=Run.State.FAILED, error="This payload has no units.")
    client.force_login(operator)

    assert "This payload has no units." in text(client.get(address(request)))


def test_a_record_that_could_not_be_read_again_is_not_called_unwritten(company, operator):
    request = done(company, S.COMPLETED)
    five_lines(request, [U.DONE])
    SnapshotFactory(request=request, before={"balance": "0.00"})

    (change,) = panel(request, operator).records.changes

    assert change.left == "not read since"


# --- What is undone ---


def test_staged_reversals_stand_there_before_anybody_needs_them(company, operator):
    request = done(company)
    five_lines(request, [U.DONE, U.DONE])

    found = panel(request, operator)

    assert not found.is_undoing
    assert [line.name for line in found.staged] == ["Cancel line 2", "Cancel line 1"]
    assert {line.result for line in found.staged} == {"Staged"}


def test_an_undo_says_how_far_it_is(company, operator):
    request = done(company, S.ROLLING_BACK, next_attempt_at=MONDAY_9AM + 11 * M)
    five_lines(request, [U.DONE, U.REVERSED, U.NOT_DONE])
    OrderFactory(request=request, ordered_by=operator)

    found = panel(request, operator)

    assert plain(found.summary.lead) == "1 of 2 units undone; 1 is still in the target, $1,000.00."
    assert [stage.name for stage in found.stages] == [
        "Approved", "Executing", "Undo ordered", "Rolling back", "Undone",
    ]  # fmt: skip
    assert found.stages[2].words == "09:00, Operator"
    assert [line.result for line in found.staged] == [
        "Nothing to take back",
        "Checkpoint 09:00:00",
        "Not started",
    ]


def test_what_somebody_else_changed_is_marked_and_left(company, operator):
    request = done(company, S.ROLLING_BACK)
    five_lines(request, [U.DONE])
    SnapshotFactory(
        request=request, before={"city": "Portland", "zip": "04101", "name": "N"},
        after={"city": "Salem", "zip": "97301", "name": "N"}, left_at=MONDAY_9AM,
    )  # fmt: skip
    RecoveryFactory(
        request=request,
        plan=[{"unit": 1, "name": "Line 1", "how": "leave"}],
        drift=[{"record": "vendor-ledger:V-2207", "field": "city", "snapshot": "Portland",
                "left": "Salem", "now": "Eugene"}],
    )  # fmt: skip

    found = panel(request, operator)

    city, zip_code = found.records.changes
    assert (city.before, city.left, city.now, city.drift) == ("Portland", "Salem", "Eugene", True)
    assert (zip_code.record, zip_code.drift) == ("", False)
    assert found.records.drifted == 1
    assert found.staged[0].result == "Left for a person: somebody else changed it"


@pytest.mark.parametrize(
    ("state", "lead"),
    [
        (S.ROLLED_BACK, "Nothing of it is left in the target."),
        (S.STRANDED, "It could not be undone, and nobody answered."),
        (S.COMPLETED_MANUALLY, "A person finished it by hand."),
        (S.EXPIRED, "Nothing of it is in the target."),
        (S.WITHDRAWN, "Nothing of it is in the target."),
    ],
)
def test_each_end_is_told(company, operator, state, lead):
    effects = state in (S.STRANDED, S.COMPLETED_MANUALLY)

    found = panel(done(company, state, has_effects=effects, approved_at=MONDAY_9AM), operator)

    assert found.summary.lead.startswith(lead)
    assert found.offer.kind == ("order" if state == S.COMPLETED_MANUALLY else "")


# --- What may be done about it ---


def test_who_may_order_is_offered_it_with_the_amount(company, operator):
    request = done(company)
    five_lines(request, [U.DONE])

    offer = panel(request, operator).offer

    assert (offer.kind, offer.why_not) == ("order", "")
    assert offer.button == "Roll back the payment of $12,000.00"
    assert offer.effects == "A credit memo is issued against the payment."


def test_who_may_not_reads_why(company, operator):
    offer = panel(done(company), company.cfo).offer

    assert "ordered by an operator, or by the controller or the head of" in offer.why_not


def test_of_many_units_only_those_in_the_target_are_counted(company, operator):
    request, _ = troubled(company)

    offer = panel(request, operator).offer

    assert plain(offer.button) == "Roll back 3 units worth $3,000.00"


def test_an_order_that_waits_is_the_second_persons_to_confirm(company, operator):
    request = done(company)
    order_rollback(ref=request.ref, actor=operator, reason="Paid twice.", now=MONDAY_9AM)

    theirs = panel(request, company.controller).offer
    own = panel(request, operator).offer

    assert (theirs.kind, theirs.why_not, theirs.reason) == ("confirm", "", "Paid twice.")
    assert theirs.button == "Confirm the rollback of the payment of $12,000.00"
    assert theirs.standing.lead == "The Operator ordered a rollback at 09:00:00."
    assert theirs.until == MONDAY_9AM + timedelta(hours=4)
    assert own.why_not == "You ordered it, so somebody else must confirm it."


def test_an_order_that_is_confirmed_stands(company, operator):
    request = done(company)
    for actor in (operator, company.controller):
        order_rollback(ref=request.ref, actor=actor, reason="Paid twice.", now=MONDAY_9AM)

    offer = panel(request, operator).offer

    assert offer.kind == "stands"
    assert "The Controller confirmed it at 09:00:00." in offer.standing.text


def test_an_order_that_waits_for_the_record_says_until_when(company, operator):
    request = done(company)
    order = OrderFactory(request=request, ordered_by=operator)
    RecoveryFactory(request=request, order=order)

    offer = panel(request, operator).offer

    assert offer.standing.text == (
        "It waits for the record, which another request holds, until 13:00; then it lapses."
    )


def test_at_the_instant_it_lapses_nobody_is_offered_to_confirm(company, operator):
    request = done(company)
    order_rollback(ref=request.ref, actor=operator, reason="Paid twice.", now=MONDAY_9AM)

    offer = panel(request, company.controller, MONDAY_9AM + timedelta(hours=4)).offer

    assert offer.why_not.startswith("The time for a second signature is over.")


# --- The views ---


def address(request, end="execution/"):
    return f"/requests/{request.ref}/{end}"


def test_only_those_who_may_see_the_request_see_it(client, company, operator):
    request = done(company)
    answers = []
    for person in (company.cfo, operator):
        client.force_login(person)
        answers += [
            client.get(address(request)).status_code,
            client.post(address(request, "rollback/")).status_code,
        ]

    assert answers == [404, 404, 200, 422]


def test_the_part_is_the_page_without_its_frame(client, company, operator):
    request = done(company)
    client.force_login(operator)

    whole, part = client.get(address(request)), client.get(address(request), headers=HTMX)

    assert "<h1" in text(whole)
    assert "<h1" not in text(part)
    assert text(part).lstrip().startswith('<div class="rc-exec" id="execution">')


def test_a_page_that_knows_it_all_is_told_nothing(client, company, operator):
    request = done(company)
    unit = UnitFactory(request=request, position=1, state=U.SENT)
    client.force_login(operator)
    url = f"{address(request)}?known={panel(request, operator, MONDAY_9AM).stamp}"

    same = client.get(url, headers=HTMX)
    Unit.objects.filter(pk=unit.pk).update(state=U.UNKNOWN)
    other = client.get(url, headers=HTMX)

    assert same.status_code == 204
    assert other.status_code == 200
    assert other["HX-Trigger"] == "rc:changed"
    assert 'id="execution-order" hx-swap-oob="true"' in text(other)


def test_the_request_page_names_the_part_and_leads_to_it_without_script(client, company, operator):
    client.force_login(operator)
    begun, asked = done(company), done(company, S.PENDING, has_effects=False)

    link = f'<a href="{address(begun)}">See how it is carried out</a>'

    assert link in text(client.get(f"/requests/{begun.ref}/"))
    assert "See how it is carried out" not in text(client.get(f"/requests/{asked.ref}/"))


def test_an_order_is_taken_in_place(client, company, operator):
    request = done(company)
    client.force_login(operator)

    sent = client.post(address(request, "rollback/"), {"reason": "Paid twice."}, headers=HTMX)

    assert sent.status_code == 200
    assert "Ordered. It waits for a second person until 13:00:00" in text(sent)
    assert Order.objects.get().ordered_by == operator


def test_without_script_an_order_leads_back_to_the_page(client, company, operator):
    request = done(company)
    client.force_login(operator)

    sent = client.post(address(request, "rollback/"), {"reason": "Paid twice."})

    assert (sent.status_code, sent["Location"]) == (302, f"/requests/{request.ref}/#execution")


@pytest.mark.parametrize("headers", [HTMX, {}])
def test_refusals_are_said_where_it_was_tried(client, company, operator, headers):
    request = done(company)
    client.force_login(operator)
    url = address(request, "rollback/")

    empty = client.post(url, {"reason": " "}, headers=headers)
    order_rollback(ref=request.ref, actor=operator, reason="Paid twice.", now=MONDAY_9AM)
    Order.objects.update(due_at=MONDAY_9AM)
    late = client.post(url, {"reason": "Paid twice."}, headers=headers)

    assert (empty.status_code, late.status_code) == (422, 409)
    assert "Say why." in text(empty)
    assert "The order lapsed at 09:00:00" in text(late)


def test_an_order_never_turns_into_the_confirmation_of_one_that_was_not_shown(
    client, company, operator
):
    request = done(company)
    client.force_login(operator)
    url = address(request, "rollback/")
    assert 'name="shown" value=""' in text(client.get(address(request)))
    order_rollback(ref=request.ref, actor=company.controller, reason="Other.", now=MONDAY_9AM)

    blind = client.post(url, {"reason": "Mine.", "shown": ""}, headers=HTMX)

    standing = Order.objects.get()
    assert (blind.status_code, standing.confirmed_by) == (409, None)
    assert f'name="shown" value="{standing.pk}"' in text(blind)
    assert "Other." in text(blind)


def test_what_a_target_says_is_only_text(client, company, operator):
    request, lines = troubled(company)
    hostile = "<script>alert(1)</script>" + "x" * 5000
    Unit.objects.filter(pk=lines[3].pk).update(
        name=hostile[:200],
        tries=[{"at": MONDAY_9AM.isoformat(), "said": hostile}, "junk", {"at": 3}],
    )
    Unit.objects.filter(pk=lines[0].pk).update(receipt={"reference": hostile})
    SnapshotFactory(request=request, before={hostile: hostile, "n": None}, after={"list": [1, {}]})
    RecoveryFactory(
        request=request, drift=["junk", {"record": HOSTILE}], plan=["junk", {"unit": "1"}]
    )
    client.force_login(operator)

    page = text(client.get(address(request)))

    assert "<script>alert" not in page
    assert "x" * 601 not in page


def test_it_takes_as_many_queries_for_five_units_as_for_one(client, company, operator):
    counts = []
    for states in ([U.DONE], [U.DONE, U.DONE, U.NOT_DONE, U.PLANNED, U.PLANNED]):
        request, _ = troubled(company, states)
        for n in range(len(states)):
            SnapshotFactory(request=request, record=f"record-{n}")
        with CaptureQueriesContext(
            connection,
        ) as queries:
            panel(request, operator)
        counts.append(len(queries))

    assert counts[0] == counts[1] <= 16
