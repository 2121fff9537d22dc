"""Three payments of one bill: held, seen side by side by the owner of the record, and let go in order."""

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

WHY = "The first instalment is due today; the third one is a mistake."
HOUR = timedelta(hours=1)


def tell(demo: Demo, telling: Telling) -> None:
    """Tell the story on a running demo; what does not hold is counted by `telling`."""
    agent = Agent(demo.url, demo.agents["ap-agent"]["token"])
    target = Target(demo.target["url"], demo.target["token"])
    operator, owner = log_in(demo, "operator"), log_in(demo, "resource_owner")
    manager = log_in(demo, "finance_manager")

    def states(*taken: dict[str, Any]) -> list[str]:
        return [operator.story(each["ref"])["state"] for each in taken]

    first = _ask(agent, "1/3", "4000.00")
    telling.equal("first", "ap-agent asks to pay the first part", states(first), ["pending"])
    second = _ask(agent, "2/3", "4500.00")
    telling.equal(
        "conflict", "and the second part of the same bill: both are held",
        states(first, second), ["held", "held"],
    )  # fmt: skip
    story = operator.story(second["ref"])
    step = story["steps"][-1]
    telling.equal(
        "conflict", "the owner of the record is asked (L2), for 2 hours",
        (rung(step), window(step)), (("conflict", 2, ["resource_owner"]), 2 * HOUR),
    )  # fmt: skip
    third = _ask(agent, "3/3", "9999.00")
    telling.equal(
        "conflict", "a third one joins the same case",
        (states(third), operator.story(third["ref"])["cases"]), (["held"], []),
    )  # fmt: skip
    read = agent.get(f"/api/v1/requests/{second['ref']}/")
    telling.equal(
        "conflict", "the agent reads that it is a conflict, and not with whom",
        (read["reason"], first["ref"] in str(read)), ("conflict", False),
    )  # fmt: skip
    page = owner.page(f"/requests/{second['ref']}/")
    telling.row(
        "conflict", "the owner sees the three side by side, and where they differ",
        all(each["ref"] in page for each in (first, second, third))
        and page.count("$4,500.00") > 0 and "disagree" in page,
        otherwise="not on the page",
    )  # fmt: skip
    stale = {
        f"place-{first['ref']}": "1", f"place-{second['ref']}": "refuse",
        "note": WHY, "digest": second["digest"],
    }  # fmt: skip
    answer = owner.send(page, f"/requests/{second['ref']}/rule/", stale)
    telling.equal("ruling", "a ruling on two of three is not taken", answer.status_code, 409)
    ruling = stale | {f"place-{second['ref']}": "2", f"place-{third['ref']}": "refuse"}
    answer = owner.send(page, f"/requests/{second['ref']}/rule/", ruling)
    telling.equal("ruling", "the owner rules: the first, then the second", answer.status_code, 302)
    telling.equal(
        "ruling", "the first waits where it stood, the second for it, the third has ended",
        states(first, second, third), ["pending", "held", "rejected"],
    )  # fmt: skip
    resumed = operator.story(first["ref"])["steps"][0]
    telling.equal(
        "ruling", "the Finance Manager is asked again, on the time that was left",
        (rung(resumed), resumed["state"]), (("approval", 0, ["finance_manager"]), "waiting"),
    )  # fmt: skip
    decided = manager.send(
        manager.page(f"/requests/{first['ref']}/"),
        f"/requests/{first['ref']}/decide/",
        {"verdict": "approve", "note": "", "digest": first["digest"]},
    )
    telling.equal("first", "and approves it", decided.status_code, 302)
    wait_for("the payment", lambda: states(first) == ["completed"], seconds=60)
    telling.equal("first", "it is paid, once", len(target.operations()), 1)
    telling.equal("second", "then the second goes on, at once", states(second), ["pending"])
    story = operator.story(second["ref"])
    telling.equal(
        "second", "to its own approver", rung(story["steps"][-1]),
        ("approval", 0, ["finance_manager"]),
    )  # fmt: skip
    telling.equal(
        "second", "and the case is closed: ruled",
        [case["outcome"] for case in story["cases"]], ["ruled"],
    )  # fmt: skip
    agent.withdraw(second["ref"])
    telling.equal("second", "its agent withdraws it", states(second), ["withdrawn"])
    all_is_well(demo, telling)


def _ask(agent: Agent, part: str, amount: str) -> dict[str, Any]:
    body = agent.get("/api/v1/actions/vendor_payment/")["example"]
    body["payload"] |= {"instalment": part, "amount": {"value": amount, "currency": "USD"}}
    taken: dict[str, Any] = agent.submit(body, f"story-{part}").raise_for_status().json()
    return taken
