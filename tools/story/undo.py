"""Payments to be taken back while the target is down: on-call has one undone now, and undoes the other by hand."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from tools.demo import Demo
from tools.story.failing import AMOUNT, Failing, approved_payment, finish_by_hand, mend
from tools.story.telling import Agent, Telling, all_is_well, log_in, rung, wait_for, window

WRONG = "The goods came back. This was not to be paid."
HALF_AN_HOUR = timedelta(minutes=30)


def tell(demo: Demo, telling: Telling) -> None:
    """Tell the story on a running demo; what does not hold is counted by `telling`."""
    agent = Agent(demo.url, demo.agents["ap-agent"]["token"])
    target = Failing(demo)
    manager, oncall = log_in(demo, "finance_manager"), log_in(demo, "oncall")
    operator, controller = log_in(demo, "operator"), log_in(demo, "controller")
    second = log_in(demo, "head_of_compliance")
    payables = Decimal(target.get("/books")["payables"])

    retried = approved_payment(agent, manager, "INV-BACK")
    handed = approved_payment(agent, manager, "INV-BACK-HAND")

    def both(state: str) -> bool:
        return all(operator.story(each["ref"])["state"] == state for each in (retried, handed))

    wait_for("the payments", lambda: both("completed"), seconds=60)
    telling.equal(
        "paid", "two payments are made",
        payables - Decimal(target.get("/books")["payables"]), 2 * Decimal(AMOUNT),
    )  # fmt: skip
    (made,) = agent.get(f"/api/v1/requests/{handed['ref']}/")["result"]
    reference = made["reference"]
    target.go_down()
    for taken in (retried, handed):
        for person in (controller, second):
            page = person.page(f"/requests/{taken['ref']}/execution/")
            answer = person.send(page, f"/requests/{taken['ref']}/rollback/", {"reason": WRONG})
            if answer.status_code != 302:
                raise RuntimeError(f"{taken['ref']}: {answer.status_code}")
    wait_for("the undo", lambda: both("rolling_back"), seconds=60)
    telling.row("undo", "ordered and confirmed while the target is down: it is being undone", True)

    def on_call_is_asked() -> bool:
        last = [operator.story(each["ref"])["steps"][-1] for each in (retried, handed)]
        return all(rung(step) == ("undo", 2, ["oncall"]) for step in last)

    wait_for("on-call", on_call_is_asked, seconds=HALF_AN_HOUR.total_seconds() / demo.speed + 60)
    step = operator.story(retried["ref"])["steps"][-1]
    telling.equal(
        "undo", "not undone in 30 minutes: whoever is on call is asked, for 2 hours",
        window(step), timedelta(hours=2),
    )  # fmt: skip
    telling.equal(
        "undo", "nobody is offered to roll it back once more",
        mend(oncall, retried, "roll_back").status_code, 422,
    )  # fmt: skip
    telling.equal(
        "by hand", "on-call takes one in hand", mend(oncall, handed, "by_hand").status_code, 302
    )
    target.come_back()
    telling.equal(
        "retry", "the target is up again: on-call has the other undone now",
        mend(oncall, retried, "retry").status_code, 302,
    )  # fmt: skip
    wait_for(
        "the undo", lambda: operator.story(retried["ref"])["state"] == "rolled_back", seconds=60
    )
    telling.equal(
        "retry", "it is undone, and on-call's word is on the record",
        [each["verdict"] for each in operator.story(retried["ref"])["steps"][-1]["decisions"]],
        ["retry"],
    )  # fmt: skip
    memo = target.write(
        "/credit-memos", {"payment": reference, "amount": handed["payload"]["amount"]}
    )
    finish_by_hand(telling, oncall, second, handed, "not_done", memo)
    telling.equal(
        "by hand", "the other is undone by hand",
        operator.story(handed["ref"])["state"], "rolled_back",
    )  # fmt: skip
    books = target.get("/books")
    telling.equal(
        "books", "payables are as before the payments, and the books balance",
        (Decimal(books["payables"]), books["balanced"]), (payables, True),
    )  # fmt: skip
    telling.equal(
        "books", "two payments and two credit memos, nothing twice",
        sorted(each["path"] for each in target.operations()),
        ["/credit-memos", "/credit-memos", "/payments", "/payments"],
    )  # fmt: skip
    all_is_well(demo, telling)
