"""Sales orders that break rules: past a credit limit, and denied; with a discount, and let pass by two."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tools.demo import Demo
from tools.story.telling import (
    Agent,
    Target,
    Telling,
    all_is_well,
    log_in,
    rung,
    wait_for,
    window,
)

CUSTOMER = "Pocket Cycles"  # whose limit is $10,000.00
HOUR = timedelta(hours=1)
BLOCKED_IN = 30  # real seconds after the submission


def tell(demo: Demo, telling: Telling) -> None:
    """Tell the story on a running demo; what does not hold is counted by `telling`."""
    agent = Agent(demo.url, demo.agents["ap-agent"]["token"])
    target = Target(demo.target["url"], demo.target["token"])
    operator, manager = log_in(demo, "operator"), log_in(demo, "finance_manager")
    officer, second = log_in(demo, "compliance"), log_in(demo, "compliance_2")
    before = target.get("/books")

    def state(taken: dict[str, Any]) -> str:
        return str(operator.story(taken["ref"])["state"])

    def verdict(browser: Any, taken: dict[str, Any], word: str, note: str) -> int:
        page = browser.page(f"/requests/{taken['ref']}/")
        fields = {"verdict": word, "note": note, "digest": taken["digest"], "shown": "1"}
        return int(browser.send(page, f"/requests/{taken['ref']}/comply/", fields).status_code)

    wrong = _ask(agent, "SO-9001", ["4000.00", "3000.00"], amount="7500.00")
    telling.equal(
        "totals", "lines that do not come to the amount are blocked at submission",
        wrong["state"], "blocked",
    )  # fmt: skip
    telling.equal(
        "totals", "compliance asks for a change",
        verdict(officer, wrong, "change_requested", "Send it with its true amount."), 302,
    )  # fmt: skip
    read = agent.get(f"/api/v1/requests/{wrong['ref']}/")
    telling.equal(
        "totals", "the agent reads that, and nobody's words",
        (read["state"], read["end_reason"], "true amount" in str(read)),
        ("denied", "change_requested", False),
    )  # fmt: skip

    denied = _ask(agent, "SO-9002", ["6000.00", "6000.00"])
    telling.equal(
        "limit", "an order of $12,000.00 waits for its approver", denied["state"], "pending"
    )
    wait_for("the block", lambda: state(denied) == "blocked", seconds=BLOCKED_IN)
    story = operator.story(denied["ref"])
    telling.equal(
        "limit", "the target is read: it passes the credit limit, and compliance is asked (L2), for 2 hours",
        (rung(story["steps"][-1]), window(story["steps"][-1])),
        (("policy_violation", 2, ["compliance", "compliance_2"]), 2 * HOUR),
    )  # fmt: skip
    telling.equal(
        "limit", "what waited is suspended, and its time is kept",
        [each["state"] for each in story["steps"]], ["suspended", "waiting"],
    )  # fmt: skip
    page = officer.page(f"/requests/{denied['ref']}/")
    telling.row(
        "limit", "compliance sees the rule, and both sides of it",
        "credit limit" in page and "$12,000.00" in page and "$10,000.00" in page,
        otherwise="not on the page",
    )  # fmt: skip
    telling.equal(
        "limit", "and denies it", verdict(officer, denied, "deny", "No more credit."), 302
    )
    telling.equal("limit", "it has ended", state(denied), "denied")
    telling.equal("limit", "nothing was entered", target.get("/books"), before)

    waived = _ask(agent, "SO-9003", ["2500.00", "2500.00"], amount="4900.00")
    telling.equal(
        "waiver", "an order with a discount: its lines do not come to the amount", waived["state"],
        "blocked",
    )  # fmt: skip
    telling.equal(
        "waiver", "the first signature",
        verdict(officer, waived, "waive", "A discount on the whole order."), 302,
    )  # fmt: skip
    telling.equal("waiver", "is not enough", state(waived), "blocked")
    telling.equal(
        "waiver", "a second one is given",
        verdict(second, waived, "waive", "I have seen the offer."), 302,
    )  # fmt: skip
    story = operator.story(waived["ref"])
    telling.equal(
        "waiver", "its approver is asked now",
        ([each["state"] for each in story["steps"]], story["cases"][0]["outcome"], story["state"]),
        (["answered", "waiting"], "waived", "pending"),
    )  # fmt: skip
    decided = manager.send(
        manager.page(f"/requests/{waived['ref']}/"),
        f"/requests/{waived['ref']}/decide/",
        {"verdict": "approve", "note": "", "digest": waived["digest"]},
    )
    telling.equal("waiver", "and approves it", decided.status_code, 302)
    wait_for("the order", lambda: state(waived) == "completed", seconds=60)
    entered = target.get("/sales-orders/SO-9003")
    telling.equal(
        "books", "both lines are entered, once, and the books balance",
        (entered["total"], len(entered["lines"]), target.get("/books")["balanced"]),
        ({"USD": "5000.00"}, 2, True),
    )  # fmt: skip
    asked = target.get("/customers/Pocket%20Cycles")
    telling.equal(
        "books", "the customer's open orders stay within the limit",
        (asked["open_orders"], asked["credit_limit"]), ({"USD": "5000.00"}, "10000.00"),
    )  # fmt: skip
    all_is_well(demo, telling)


def _ask(
    agent: Agent, order: str, lines: list[str], *, amount: str | None = None
) -> dict[str, Any]:
    """Submit an order of these lines; its amount is their sum, unless it is said otherwise."""
    body = agent.get("/api/v1/actions/sales_order/")["example"]
    total = amount or f"{sum(float(line) for line in lines):.2f}"
    body["payload"] |= {
        "order": order,
        "customer": CUSTOMER,
        "amount": {"value": total, "currency": "USD"},
        "lines": [
            {
                "sku": f"BIKE-{n}",
                "description": f"Bicycle {n}",
                "quantity": 5,
                "amount": {"value": line, "currency": "USD"},
            }
            for n, line in enumerate(lines, start=1)
        ],
    }
    taken: dict[str, Any] = agent.submit(body, f"story-{order}").raise_for_status().json()
    return taken
