"""A target down for longer than the retries: on-call has one payment tried again, and makes the other by hand."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from tools.demo import Demo
from tools.story.failing import AMOUNT, Failing, approved_payment, finish_by_hand, mend
from tools.story.telling import (
    Agent,
    Telling,
    all_is_well,
    instant,
    log_in,
    rung,
    wait_for,
    window,
)

HALF_AN_HOUR = timedelta(minutes=30)


def tell(demo: Demo, telling: Telling) -> None:
    """Tell the story on a running demo; what does not hold is counted by `telling`."""
    agent = Agent(demo.url, demo.agents["ap-agent"]["token"])
    target = Failing(demo)
    manager, oncall = log_in(demo, "finance_manager"), log_in(demo, "oncall")
    operator, second = log_in(demo, "operator"), log_in(demo, "head_of_compliance")
    payables = Decimal(target.get("/books")["payables"])
    target.go_down()

    retried = approved_payment(agent, manager, "INV-RETRY")
    handed = approved_payment(agent, manager, "INV-HAND")
    wait_for(
        "the failures",
        lambda: (
            [operator.story(each["ref"])["state"] for each in (retried, handed)] == ["troubled"] * 2
        ),
        seconds=60,
    )
    story = operator.story(retried["ref"])
    telling.equal(
        "L1", "the target is down: tried again for 30 minutes, and nobody is asked",
        (rung(story["steps"][-1]), window(story["steps"][-1])),
        (("system_failure", 1, []), HALF_AN_HOUR),
    )  # fmt: skip
    telling.equal(
        "L1", "as the tree says: low severity, medium impact, retry",
        [(each["type"], each["response"]) for each in story["cases"]],
        [("system_failure", "retry")],
    )  # fmt: skip
    telling.row(
        "L1", "whoever approved it is told", retried["ref"] in manager.page("/inbox/"),
        otherwise="not told",
    )  # fmt: skip

    def on_l2() -> bool:
        last = [operator.story(each["ref"])["steps"][-1] for each in (retried, handed)]
        return all(rung(step)[:2] == ("system_failure", 2) for step in last)

    wait_for("L2", on_l2, seconds=HALF_AN_HOUR.total_seconds() / demo.speed + 60)
    first, step = operator.story(retried["ref"])["steps"][-2:]
    telling.equal(
        "L2", "L1's 30 minutes are over, to the second",
        (first["state"], instant(step["opened_at"]) - instant(first["opened_at"])),
        ("expired", HALF_AN_HOUR),
    )  # fmt: skip
    telling.equal(
        "L2", "whoever is on call is asked, for 2 hours",
        (rung(step), window(step)),
        (("system_failure", 2, ["oncall"]), timedelta(hours=2)),
    )  # fmt: skip
    inbox = oncall.page("/inbox/")
    telling.row(
        "L2", "both are in their inbox, under system failures",
        all(taken["ref"] in inbox for taken in (retried, handed)) and "System failures" in inbox,
        otherwise="not there",
    )  # fmt: skip

    left_open = oncall.page(f"/requests/{handed['ref']}/")
    telling.equal(
        "by hand", "on-call takes one in hand", mend(oncall, handed, "by_hand").status_code, 302
    )
    telling.equal(
        "by hand", "and may not have it tried again meanwhile",
        mend(oncall, handed, "retry", left_open).status_code, 409,
    )  # fmt: skip
    target.come_back()
    telling.equal(
        "retry", "the target is up again: on-call has the other tried now",
        mend(oncall, retried, "retry").status_code, 302,
    )  # fmt: skip
    wait_for(
        "the payment",
        lambda: operator.story(retried["ref"])["state"] == "completed",
        seconds=60,
    )
    story = operator.story(retried["ref"])
    telling.equal(
        "retry", "it is paid; the case is closed: recovered",
        [each["outcome"] for each in story["cases"]], ["recovered"],
    )  # fmt: skip
    decision = story["steps"][-1]["decisions"][0]
    telling.equal(
        "retry", "on-call's word is on the record, on the digest that was shown",
        (decision["person"], decision["verdict"], decision["digest"]),
        ("oncall", "retry", retried["digest"]),
    )  # fmt: skip
    reference = target.write(
        "/payments",
        {name: handed["payload"][name] for name in ("vendor", "invoice", "amount")},
    )
    finish_by_hand(telling, oncall, second, handed, "done", reference)
    story = operator.story(handed["ref"])
    telling.equal(
        "by hand", "it is completed by hand, and the case says so",
        (story["state"], [each["outcome"] for each in story["cases"]]),
        ("completed_manually", ["by_hand"]),
    )  # fmt: skip
    books = target.get("/books")
    telling.equal(
        "books", "two payments were made, each once; the books balance",
        (payables - Decimal(books["payables"]), books["balanced"], len(target.operations())),
        (2 * Decimal(AMOUNT), True, 2),
    )  # fmt: skip
    all_is_well(demo, telling)
