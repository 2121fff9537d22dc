"""Nobody answers for a critical process: the last rung, a bypass in person, its review, and the way back.

Revenue is to be recognised before the books close. The Controller does not
answer, the Chief Executive Officer does not either. The Chief Financial Officer
overrides them with a code from an app; a reviewer finds that it was not
justified, and a second one has it undone.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from tools.code import code_of
from tools.demo import Demo
from tools.story.telling import (
    Agent,
    Browser,
    Target,
    Telling,
    all_is_well,
    instant,
    log_in,
    rung,
    wait_for,
    window,
)

WHY = "Acceptance is signed, the books close tonight, and nobody above the Controller answers."
FOUND = "The contract was not yet in force. The Controller was right not to sign."
HOUR = timedelta(hours=1)


def tell(demo: Demo, telling: Telling) -> None:
    """Tell the story on a running demo; what does not hold is counted by `telling`."""
    agent = Agent(demo.url, demo.agents["ap-agent"]["token"])
    target = Target(demo.target["url"], demo.target["token"])
    auditor, second = log_in(demo, "auditor"), log_in(demo, "second_reviewer")
    cfo = log_in(demo, "cfo")
    body = agent.get("/api/v1/actions/revenue_recognition/")["example"]
    before = _books(target)
    taken = agent.submit(body, "story-bypass").raise_for_status().json()
    ref = taken["ref"]
    telling.equal("T+0", "ap-agent asks to recognise revenue", taken["state"], "pending")

    def story() -> dict[str, Any]:
        return auditor.story(ref)

    _silence(demo, telling, story)
    _bypass(demo, telling, cfo, taken, story)
    wait_for("the journal", lambda: story()["state"] == "completed", seconds=90)
    done = len(target.operations())
    telling.row("later", "it is carried out, once", done > 0, otherwise=done)
    _review(telling, auditor, second, ref, story)
    wait_for("the rollback", lambda: story()["state"] == "rolled_back", seconds=90)
    telling.equal(
        "later", "what was done is undone, and the books are what they were",
        _books(target), before,
    )  # fmt: skip
    all_is_well(demo, telling)


def _books(target: Target) -> dict[str, dict[str, str]]:
    """Return what stands on each account of the target on which anything stands."""
    accounts = target.get("/books")["accounts"]
    return {name: sums for name, sums in accounts.items() if any(map(float, sums.values()))}


def _silence(demo: Demo, telling: Telling, story: Any) -> None:
    def at_the_top() -> bool:
        return bool(story()["steps"][-1]["level"] == 4)

    wait_for("L4", at_the_top, seconds=9 * HOUR.total_seconds() / demo.speed + 60)
    steps = story()["steps"]
    start = instant(steps[0]["opened_at"])
    telling.equal(
        "T+8 h", "nobody answered: the CFO is asked (L4), for an hour",
        (rung(steps[-1]), window(steps[-1]), instant(steps[-1]["opened_at"]) - start),
        (("timeout", 4, ["cfo"]), HOUR, 8 * HOUR),
    )  # fmt: skip
    asked = {person for step in steps[:-1] for person in rung(step)[2]}
    telling.equal("T+8 h", "who is on no earlier rung", "cfo" in asked, False)


def _bypass(demo: Demo, telling: Telling, cfo: Browser, taken: dict[str, Any], story: Any) -> None:
    ref, secret = taken["ref"], demo.users["cfo"]["totp"]
    page = cfo.page(f"/requests/{ref}/")
    telling.row(
        "L4", "whose page says what is overridden, and that a review follows",
        "Emergency bypass" in page and "independent" in page, otherwise="not there",
    )  # fmt: skip
    form = {"verdict": "approve", "digest": taken["digest"], "note": WHY}
    sent = cfo.send(page, f"/requests/{ref}/decide/", form)
    asks = f"/requests/{ref}/step-up/"
    telling.equal("L4", "a code is asked for first", sent.headers.get("Location"), asks)
    telling.equal("L4", "before that nothing is approved", story()["state"], "pending")
    wrong = cfo.send(cfo.page(asks), asks, {"code": "000000"})
    telling.equal("L4", "a wrong code changes nothing", wrong.status_code, 422)
    right = cfo.send(cfo.page(asks), asks, {"code": code_of(secret, at=time.time())})
    telling.equal("L4", "the right one approves", right.status_code, 302)
    told = story()
    (review,) = told["reviews"]
    telling.equal(
        "L4", "and its review is open, for one signature, due in 48 h",
        (review["kind"], review["signatures_replaced"], _span(review)),
        ("bypass", 1, 48 * HOUR),
    )  # fmt: skip
    telling.row(
        "L4", "with a reviewer who stands below neither of them",
        review["asked"] in ("auditor", "second_reviewer"), otherwise=review["asked"],
    )  # fmt: skip


def _span(review: dict[str, Any]) -> timedelta:
    return instant(review["due_at"]) - instant(review["opened_at"])


def _review(telling: Telling, auditor: Browser, second: Browser, ref: str, story: Any) -> None:
    path = f"/reviews/{story()['reviews'][0]['id']}/"
    telling.row(
        "review", "it stands on the auditors' page", ref in auditor.page("/reviews/"),
        otherwise="not there",
    )  # fmt: skip
    page = auditor.page(path)
    telling.row(
        "review", "with the reason and the policy of that day",
        WHY[:40] in page and "Policy version 1" in page, otherwise="not there",
    )  # fmt: skip
    form = {"finding": "not_justified", "note": FOUND, "roll_back": "on"}
    found = auditor.send(page, f"{path}find/", form)
    telling.equal(
        "review", "the Auditor finds it not justified, and orders it undone", found.status_code, 302
    )
    telling.equal("review", "alone that undoes nothing", story()["state"], "completed")
    agreed = second.send(second.page(path), f"{path}confirm/", {})
    telling.equal("review", "the Second Reviewer confirms", agreed.status_code, 302)
    closed = story()["reviews"][0]
    telling.equal(
        "review", "the finding stands",
        (closed["state"], closed["closed_by"], closed["orders_rollback"]),
        ("not_justified", "auditor", True),
    )  # fmt: skip
