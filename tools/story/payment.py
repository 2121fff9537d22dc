"""A $12,000 vendor payment: silence, silence again, approved, paid once, and taken back.

The Finance Manager is at work and does not answer; the Senior Accountant
approves; the Controller finds an error later. Rows and instants are those of
the product's own story; instants of rungs are asserted from the rows, and the
books from the target itself.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from tools.demo import Demo
from tools.story.records import Record, record_of
from tools.story.telling import (
    Agent,
    Browser,
    Callback,
    Telling,
    all_is_well,
    instant,
    log_in,
    minutes,
    rung,
    wait_for,
    window,
)

NOTE = "Receipt and invoice agree. The Finance Manager did not answer."
WRONG = "The goods came back yesterday. This invoice was not to be paid."
VENDOR, AMOUNT = "Northwind Paper", Decimal("12000.00")
EXECUTED_WITHIN_S = 60  # real seconds from the approval
MINUTE = timedelta(minutes=1)


def tell(demo: Demo, telling: Telling) -> None:
    """Tell the story on a running demo; what does not hold is counted by `telling`."""
    with Callback() as callback:
        _tell(demo, telling, callback)


def _tell(demo: Demo, telling: Telling, callback: Callback) -> None:
    agent = Agent(demo.url, demo.agents["ap-agent"]["token"])
    senior = log_in(demo, "senior_accountant")
    manager = log_in(demo, "finance_manager")
    operator = log_in(demo, "operator")
    target = record_of(demo)
    payables, owed = target.payables(), target.owed_to(VENDOR)

    # T+0
    body = agent.get("/api/v1/actions/vendor_payment/")["example"]
    body["payload"]["amount"] = {"value": "12000.00", "currency": "USD"}
    body |= {"severity": "low", "impact": "medium", "callback_url": callback.url}
    answer = agent.submit(body, "story-1")
    telling.equal("T+0", "ap-agent asks to pay $12,000.00: 201", answer.status_code, 201)
    taken = answer.json()
    ref = taken["ref"]
    again = agent.submit(body, "story-1")
    telling.equal(
        "T+0",
        "sent again with its key: 200 and the same ref",
        (again.status_code, again.json()["ref"]),
        (200, ref),
    )
    first = operator.story(ref)["steps"][0]
    start = instant(first["opened_at"])
    telling.equal(
        "T+0",
        "the Finance Manager is asked (L0)",
        rung(first),
        ("approval", 0, ["finance_manager"]),
    )
    telling.equal("T+0", "for 5 minutes", window(first), 5 * MINUTE)

    def seconds_to(at: timedelta) -> float:
        return at.total_seconds() / demo.speed + 30

    wait_for("the Finance Manager's notice", lambda: _delivered(operator.story(ref), 0), seconds=30)
    telling.row("T+0", "and notified: the notice was delivered", True)

    left_open = manager.page(f"/requests/{ref}/")  # and never touched again

    # T+5
    wait_for("L1", lambda: len(operator.story(ref)["steps"]) > 1, seconds=seconds_to(5 * MINUTE))
    story = operator.story(ref)
    telling.equal(
        "T+5 min",
        "L0 expires, to the second",
        (story["steps"][0]["state"], _at(story, 1, start)),
        ("expired", 5 * MINUTE),
    )
    case = story["cases"][0]
    telling.equal(
        "T+5 min",
        "a timeout case is opened: ask again",
        (case["type"], case["response"], _since(case["opened_at"], start)),
        ("timeout", "ask_again", 5 * MINUTE),
    )
    telling.equal(
        "T+5 min",
        "the same person is asked again (L1), for 30 minutes",
        (rung(story["steps"][1]), window(story["steps"][1])),
        (("timeout", 1, ["finance_manager"]), 30 * MINUTE),
    )

    # T+35
    wait_for("L2", lambda: len(operator.story(ref)["steps"]) > 2, seconds=seconds_to(30 * MINUTE))
    story = operator.story(ref)
    telling.equal(
        "T+35 min",
        "L1's 30 minutes are over, to the second",
        (story["steps"][1]["state"], _at(story, 2, start)),
        ("expired", 35 * MINUTE),
    )
    telling.equal(
        "T+35 min",
        "the Senior Accountant is asked (L2), for 2 hours",
        (rung(story["steps"][2]), window(story["steps"][2])),
        (("timeout", 2, ["senior_accountant"]), 120 * MINUTE),
    )
    pings = [each - start for each in _pings(demo, ref)]
    telling.equal(
        "T+35 min",
        "pinged meanwhile, at widening intervals",
        [round(minutes(ping)) for ping in pings],
        [10, 20],
    )
    inbox = senior.page("/inbox/")
    telling.row(
        "T+35 min",
        "it is in the Senior Accountant's inbox",
        ref in inbox,
        otherwise="an inbox without it",
    )
    telling.row(
        "T+35 min",
        "and no longer in the Finance Manager's",
        ref not in _rows(manager.page("/inbox/")),
        otherwise="still there",
    )
    page = senior.page(f"/requests/{ref}/")
    payload = body["payload"]
    for word, value in (
        ("vendor", payload["vendor"]),
        ("invoice", payload["invoice"]),
        ("amount", "$12,000.00"),
        ("terms", payload["terms"]),
    ):
        telling.row(
            "T+35 min",
            f"the page shows the {word}: {value}",
            str(value) in page,
            otherwise="not on the page",
        )
    telling.row(
        "T+35 min",
        "and the whole chain: who was asked before, and that they did not answer",
        page.count("Finance Manager") >= 2 and "case was opened" in page,
        otherwise="not on the page",
    )
    senior.send(page, f"/requests/{ref}/seen/", {})
    seen = operator.story(ref)["steps"][2]["asked"][0]["seen_at"]
    telling.row(
        "T+36 min", "that the page was seen is on the record", seen is not None, otherwise=seen
    )

    # T+46
    due = start + 46 * MINUTE
    wait_for("T+46", lambda: _now(demo) >= due, seconds=seconds_to(46 * MINUTE))
    early = manager.send(
        left_open,
        f"/requests/{ref}/decide/",
        {"verdict": "approve", "note": "", "digest": taken["digest"]},
    )
    telling.row(
        "T+46 min",
        "the Finance Manager is too late, and told so",
        "window closed" in early.text,
        otherwise=early.status_code,
    )
    decided = senior.send(
        senior.page(f"/requests/{ref}/"),
        f"/requests/{ref}/decide/",
        {"verdict": "approve", "note": NOTE, "digest": taken["digest"]},
    )
    telling.row(
        "T+46 min",
        "the Senior Accountant approves, with a note",
        decided.status_code in (200, 302),
        otherwise=decided.status_code,
    )
    story = operator.story(ref)
    telling.row(
        "T+46 min",
        "the request is approved",
        story["state"] in ("approved", "executing", "completed"),
        otherwise=story["state"],
    )
    decision = story["steps"][2]["decisions"][0]
    telling.equal(
        "T+46 min",
        "by the Senior Accountant, on the digest that was shown, with the note",
        (decision["person"], decision["verdict"], decision["digest"], decision["note"]),
        ("senior_accountant", "approve", taken["digest"], NOTE),
    )
    telling.row(
        "T+46 min",
        "at its own instant, after 46 minutes and before L2 was over",
        46 * MINUTE <= _since(decision["at"], start) < 155 * MINUTE,
        otherwise=decision["at"],
    )
    telling.equal(
        "T+46 min", "the case is closed: approved", story["cases"][0]["outcome"], "approved"
    )
    told = manager.page("/inbox/")
    telling.row(
        "T+46 min", "the Finance Manager is told in the inbox", ref in told, otherwise="not told"
    )
    _execution(demo, telling, callback, agent, operator, target, ref, payables, owed)
    _rollback(demo, telling, callback, operator, target, ref, payables, owed)

    # The record
    facts = _events(demo, ref)
    opened = facts["case.opened"]["facts"]
    telling.equal(
        "ledger",
        "original approver, and the reason for the escalation",
        (opened["original_approvers"], bool(opened["reason"])),
        (["person:finance_manager"], True),
    )
    signed = facts["step.decided"]
    telling.equal(
        "ledger",
        "actual approver, and the note",
        (signed["actor"], signed["facts"]["note"]),
        ("person:senior_accountant", NOTE),
    )
    all_is_well(demo, telling)


def _execution(
    demo: Demo,
    telling: Telling,
    callback: Callback,
    agent: Agent,
    operator: Browser,
    target: Record,
    ref: str,
    payables: Decimal,
    owed: Decimal,
) -> None:
    """T+46-47: snapshot, reversal staged, paid once, told."""
    wait_for(
        "the execution",
        lambda: operator.story(ref)["state"] == "completed",
        seconds=EXECUTED_WITHIN_S,
    )
    telling.row(
        "T+46-47", f"executed, within {EXECUTED_WITHIN_S} real seconds of the approval", True
    )
    order = [event.kind for event in _all_events(ref)]
    places = [order.index(kind) for kind in (
        "request.approved", "units.planned", "snapshot.taken", "unit.sent", "unit.done", "request.completed",
    )]  # fmt: skip
    telling.row(
        "T+46-47",
        "in this order: approved, memo staged, snapshot, sent, checkpoint, completed",
        places == sorted(places),
        otherwise=order,
    )
    records = {row.record: row for row in _snapshots(ref)}
    telling.equal(
        "T+46-47",
        "the snapshot holds the AP balance and the vendor's ledger",
        sorted(records),
        [f"{target.key}:ap-balance", f"{target.key}:vendor:Northwind%20Paper"],
    )
    story = operator.story(ref)
    (run,) = story["runs"]
    telling.equal(
        "T+46-47",
        "one run, one unit, done",
        (run["kind"], [unit["state"] for unit in run["units"]]),
        ("forward", ["done"]),
    )
    telling.equal(
        "T+46-47",
        f"a {target.memo.lower()} is staged",
        _staged(ref),
        [f"{target.memo} for INV-20417 (planned)"],
    )
    key = run["units"][0]["key"]
    after = target.payables()
    telling.equal("T+46-47", "the target paid once, under our key", target.payments(key), 1)
    telling.equal("T+46-47", "and did nothing else", target.effects(), 1)
    telling.equal(
        "T+46-47",
        f"its payables are $12,000.00 less ({payables:,} to {after:,}), and its books balance",
        (payables - after, owed - target.owed_to(VENDOR), target.balanced()),
        (AMOUNT, AMOUNT, True),
    )
    wanted = ["approved", "executing", "completed"]
    wait_for("the webhooks", lambda: len(callback.got) >= len(wanted), seconds=30)
    documents = sorted((_verified(demo, each) for each in callback.got), key=lambda d: d["number"])
    telling.equal(
        "T+46-47",
        "the agent's webhooks say so, signed and numbered",
        [(each["ref"], each["state"], each["number"]) for each in documents],
        [(ref, state, number) for number, state in enumerate(wanted, start=1)],
    )
    telling.equal(
        "T+46-47",
        "and the agent reads it",
        agent.get(f"/api/v1/requests/{ref}/")["state"],
        "completed",
    )


def _rollback(
    demo: Demo,
    telling: Telling,
    callback: Callback,
    operator: Browser,
    target: Record,
    ref: str,
    payables: Decimal,
    owed: Decimal,
) -> None:
    """Later: the Controller orders, a second person confirms, the memo is issued."""
    controller = log_in(demo, "controller")
    page = controller.page(f"/requests/{ref}/execution/")
    ordered = controller.send(page, f"/requests/{ref}/rollback/", {"reason": WRONG})
    telling.row(
        "later",
        "the Controller finds an error and orders a rollback",
        ordered.status_code in (200, 202, 302),
        otherwise=ordered.status_code,
    )
    again = controller.send(page, f"/requests/{ref}/rollback/", {"reason": WRONG})
    telling.equal(
        "later",
        "alone that changes nothing, however often",
        (again.status_code < 500, operator.story(ref)["state"], target.effects()),
        (True, "completed", 1),
    )
    second = log_in(demo, "head_of_compliance")
    confirmed = second.send(
        second.page(f"/requests/{ref}/execution/"),
        f"/requests/{ref}/rollback/",
        {"reason": "Agreed."},
    )
    telling.row(
        "later",
        "the Head of Compliance confirms",
        confirmed.status_code in (200, 302),
        otherwise=confirmed.status_code,
    )
    wait_for("the rollback", lambda: operator.story(ref)["state"] == "rolled_back", seconds=60)
    telling.row("later", "what was done is undone: rolled back", True)
    after = target.payables()
    telling.equal(
        "later",
        f"one {target.memo.lower()} over $12,000.00 was issued, and the payment stands as it was",
        (target.memos(AMOUNT), target.effects()),
        (1, 2),
    )
    telling.equal(
        "later",
        f"{target.after_undo} ({after:,}), and the books balance",
        (after, target.balanced()),
        (target.owed_after_undo(payables, AMOUNT), True),
    )
    telling.equal(
        "later",
        "and so is the vendor's balance",
        target.owed_to(VENDOR),
        target.owed_after_undo(owed, AMOUNT),
    )
    ours = {unit["key"] for run in operator.story(ref)["runs"] for unit in run["units"]}
    telling.equal(
        "later",
        "every effect in the target is one of our checkpoints, and every checkpoint one of its",
        (target.known(ours), target.effects()),
        (ours, len(ours)),
    )
    wait_for("the webhooks", lambda: len(callback.got) >= 5, seconds=30)
    numbers = sorted((d["number"], d["state"]) for d in (_verified(demo, g) for g in callback.got))
    telling.equal(
        "later", "and the agent is told", numbers[3:], [(4, "rolling_back"), (5, "rolled_back")]
    )


def _since(at: str, start: datetime) -> timedelta:
    return instant(at) - start


def _at(story: dict[str, Any], step: int, start: datetime) -> timedelta:
    return _since(story["steps"][step]["opened_at"], start)


def _delivered(story: dict[str, Any], step: int) -> bool:
    return all(asked["delivered_at"] for asked in story["steps"][step]["asked"])


def _rows(page: str) -> str:
    """Return the part of an inbox that lists what waits."""
    return page.partition('id="rows"')[2].partition("</main>")[0].partition('id="told"')[0]


# What no page and no endpoint says is read from the demo's own rows.


def _now(demo: Demo) -> Any:
    from governance import clock

    return clock.now()


def _pings(demo: Demo, ref: str) -> list[Any]:
    from governance.models import AuditEvent

    return list(
        AuditEvent.objects.filter(chain=ref, kind="ask.pinged")
        .order_by("seq")
        .values_list("at", flat=True)
    )


def _all_events(ref: str) -> list[Any]:
    from governance.models import AuditEvent

    return list(AuditEvent.objects.filter(chain=ref).order_by("seq"))


def _snapshots(ref: str) -> list[Any]:
    from rollback.models import Snapshot

    return list(Snapshot.objects.filter(request__ref=ref))


def _staged(ref: str) -> list[str]:
    from rollback.models import Unit

    staged = Unit.objects.filter(request__ref=ref, direction="undo").order_by("position")
    return [f"{unit.name} ({unit.state})" for unit in staged]


def _events(demo: Demo, ref: str) -> dict[str, dict[str, Any]]:
    from governance.models import AuditEvent

    events = AuditEvent.objects.filter(chain=ref).order_by("seq")
    return {event.kind: {"actor": event.actor, "facts": event.facts} for event in events}


def _verified(demo: Demo, got: tuple[dict[str, str], bytes]) -> dict[str, Any]:
    """Return the body of a webhook whose signature is right. Raises if it is not."""
    from standardwebhooks.webhooks import Webhook

    from approvals.channels.webhook import webhook_secret
    from governance.models import Agent as AgentRow

    headers, body = got
    Webhook(webhook_secret(AgentRow.objects.get(name="ap-agent"))).verify(body, headers)
    document: dict[str, Any] = json.loads(body)
    return document
