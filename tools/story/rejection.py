"""A no, and what may follow: somebody of the same authority says yes; or the head of the department says no again."""

from __future__ import annotations

from typing import Any

from tools.demo import Demo
from tools.story.telling import (
    Agent,
    Browser,
    Target,
    Telling,
    all_is_well,
    log_in,
    rung,
    wait_for,
)

NOT_NOW = "The goods receipt is missing."
FOUND = "The receipt is there now; I have seen it."
NEVER = "We do not buy from them any more."


def tell(demo: Demo, telling: Telling) -> None:
    """Tell the story on a running demo; what does not hold is counted by `telling`."""
    agent = Agent(demo.url, demo.agents["ap-agent"]["token"])
    target = Target(demo.target["url"], demo.target["token"])
    operator = log_in(demo, "operator")
    _overruled(demo, telling, agent, operator, target)
    _stands(demo, telling, agent, operator, target)
    all_is_well(demo, telling)


def _ask(agent: Agent, invoice: str) -> dict[str, Any]:
    body = agent.get("/api/v1/actions/vendor_payment/")["example"]
    body["payload"]["invoice"] = invoice
    taken: dict[str, Any] = agent.submit(body, f"story-{invoice}").raise_for_status().json()
    return taken


def _decide(
    person: Browser,
    taken: dict[str, Any],
    verdict: str,
    note: str,
    severity: str,
    page: str | None = None,
) -> int:
    """Send a decision from a page, opened now or kept open; return the status."""
    ref = taken["ref"]
    page = page or person.page(f"/requests/{ref}/")
    fields = {
        "verdict": verdict, "note": note, "severity": severity, "digest": taken["digest"],
    }  # fmt: skip
    return person.send(page, f"/requests/{ref}/decide/", fields).status_code


def _overruled(
    demo: Demo, telling: Telling, agent: Agent, operator: Browser, target: Target
) -> None:
    manager, senior = log_in(demo, "finance_manager"), log_in(demo, "senior_accountant")
    taken = _ask(agent, "INV-31001")
    ref = taken["ref"]
    left_open = manager.page(f"/requests/{ref}/")
    said = _decide(manager, taken, "reject", NOT_NOW, "low")
    telling.equal("first", "the Finance Manager says no, mildly", said, 302)
    story = operator.story(ref)
    telling.equal(
        "first", "the Senior Accountant is asked as alternate (L2)",
        (story["state"], rung(story["steps"][-1])),
        ("pending", ("rejection", 2, ["senior_accountant"])),
    )  # fmt: skip
    case = story["cases"][-1]
    telling.equal(
        "first", "a rejection case is opened: ask an alternate",
        (case["type"], case["severity"], case["response"], case["source"]),
        ("rejection", "low", "alternate", "R"),
    )  # fmt: skip
    page = senior.page(f"/requests/{ref}/")
    telling.row(
        "first", "who reads the no first, in its own words", NOT_NOW in page, otherwise="not there"
    )
    again = _decide(manager, taken, "approve", "Changed my mind.", "", left_open)
    telling.equal("first", "the Finance Manager cannot take it back", again, 409)
    said = _decide(senior, taken, "approve", FOUND, "")
    telling.equal("first", "the Senior Accountant says yes", said, 302)
    wait_for("the payment", lambda: operator.story(ref)["state"] == "completed", seconds=60)
    telling.equal("first", "it is paid, once", len(target.operations()), 1)
    inbox = manager.page("/inbox/")
    telling.row("first", "the Finance Manager is told", ref in inbox, otherwise="not told")


def _stands(demo: Demo, telling: Telling, agent: Agent, operator: Browser, target: Target) -> None:
    manager, head = log_in(demo, "finance_manager"), log_in(demo, "controller")
    taken = _ask(agent, "INV-31002")
    ref = taken["ref"]
    said = _decide(manager, taken, "reject", NEVER, "high")
    telling.equal("second", "the Finance Manager says no, gravely", said, 302)
    story = operator.story(ref)
    telling.equal(
        "second", "the head of the department is asked (L3), nobody below",
        (rung(story["steps"][-1]), story["cases"][-1]["response"]),
        (("rejection", 3, ["controller"]), "department_head"),
    )  # fmt: skip
    said = _decide(head, taken, "reject", "So it is.", "high")
    telling.equal("second", "who says no as well", said, 302)
    story = operator.story(ref)
    telling.equal(
        "second", "it has ended, and nothing was done",
        (story["state"], story["has_effects"], len(target.operations())),
        ("rejected", False, 1),
    )  # fmt: skip
    telling.equal(
        "second", "the agent reads that it ended, and no names",
        (agent.get(f"/api/v1/requests/{ref}/")["state"], "controller" in str(agent.get(f"/api/v1/requests/{ref}/"))),
        ("rejected", False),
    )  # fmt: skip
