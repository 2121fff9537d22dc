"""What the stories of failures share: a payment that is approved, and a target that can be taken down."""

from __future__ import annotations

from typing import Any

import httpx2

from tools.demo import Demo
from tools.story.telling import Agent, Browser, Target, Telling, wait_for

AMOUNT = "12000.00"


class Failing(Target):
    """The system of record, taken down and up again, and written to by people."""

    def __init__(self, demo: Demo) -> None:
        super().__init__(demo.target["url"], demo.target["token"])

    def go_down(self) -> None:
        """Answer 503 to everything until `come_back`."""
        self._put({"faults": [{"kind": "unavailable"}]})

    def come_back(self) -> None:
        self._put({"faults": []})

    def write(self, path: str, body: dict[str, Any]) -> str:
        """Write as a person does, without any key of the product's. Returns its reference."""
        answer = self._http.post(path, json=body).raise_for_status().json()
        return str(answer["reference"])

    def _put(self, body: dict[str, Any]) -> None:
        self._http.put("/faults", json=body).raise_for_status()


def approved_payment(agent: Agent, manager: Browser, invoice: str) -> dict[str, Any]:
    """Ask for a payment of an invoice, and have it approved. Returns the answer with its payload."""
    body = agent.get("/api/v1/actions/vendor_payment/")["example"]
    body["payload"] |= {"invoice": invoice, "amount": {"value": AMOUNT, "currency": "USD"}}
    taken: dict[str, Any] = agent.submit(body, f"story-{invoice}").raise_for_status().json()
    page = manager.page(f"/requests/{taken['ref']}/")
    fields = {"verdict": "approve", "note": "", "digest": taken["digest"]}
    answer = manager.send(page, f"/requests/{taken['ref']}/decide/", fields)
    if answer.status_code != 302:
        raise RuntimeError(f"{taken['ref']} was not approved: {answer.status_code}")
    return {**taken, "payload": body["payload"]}


def mend(
    person: Browser, taken: dict[str, Any], verdict: str, page: str | None = None
) -> httpx2.Response:
    """Answer how a failure goes on, from the page, opened now or kept open."""
    page = page or person.page(f"/requests/{taken['ref']}/")
    fields = {"verdict": verdict, "note": "", "digest": taken["digest"]}
    return person.send(page, f"/requests/{taken['ref']}/mend/", fields)


def finish_by_hand(
    telling: Telling, person: Browser, second: Browser, taken: dict[str, Any],
    state: str, reference: str,
) -> None:  # fmt: skip
    """Say of the one unit what became of it, and have a second person confirm it."""
    ref = taken["ref"]
    url = f"/requests/{ref}/by-hand/"

    def page() -> str:
        text = person.page(url)
        return text if 'name="state-1"' in text else ""

    listed = wait_for("the list", page, seconds=60)
    shown = listed.partition('name="shown" value="')[2].partition('"')[0]
    fields = {
        "shown": shown, "act": "finish", "state-1": state, "reference-1": reference,
        "target_reference": reference, "note": "Entered in the screens of the target.",
    }  # fmt: skip
    telling.equal(
        "by hand", "on-call says what is in the target, with its reference",
        person.send(listed, url, fields).status_code, 302,
    )  # fmt: skip
    telling.equal(
        "by hand", "nobody confirms their own work",
        person.send(listed, url, {"act": "confirm", "shown": shown}).status_code, 403,
    )  # fmt: skip
    confirming = second.page(url)
    shown = confirming.partition('name="shown" value="')[2].partition('"')[0]
    telling.equal(
        "by hand", "a second person looks at it and confirms",
        second.send(confirming, url, {"act": "confirm", "shown": shown}).status_code, 302,
    )  # fmt: skip
