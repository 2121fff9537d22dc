"""Requests that a demo begins with, so that inboxes have something in them."""

from __future__ import annotations

from copy import deepcopy
from datetime import datetime
from typing import Any

from approvals.services.submit import submit
from governance.catalogue import CATALOGUE
from governance.demo import AGENT
from governance.models import AgentCredential, PolicyVersion

EXAMPLES = {entry["key"]: entry["example"] for entry in CATALOGUE}


def _asking(action: str, justification: str, *, amount: str = "", **payload: Any) -> dict[str, Any]:
    """Return a submission like the action's example, with another payload."""
    body: dict[str, Any] = deepcopy(EXAMPLES[action])
    body["justification"] = justification
    body["payload"] |= payload
    if amount:
        body["payload"]["amount"]["value"] = amount
    return body


# Other documents than the examples', so that each example can still be sent as it stands.
REQUESTS: tuple[dict[str, Any], ...] = (
    _asking(
        "vendor_payment", "Second of three parts, agreed with the vendor in writing.",
        vendor="Lindqvist Timber", invoice="INV-8832", terms="Net 60", instalment="2/3", amount="8250.00",
    ),
    _asking(
        "vendor_payment", "Freight for November. The vendor grants 2% until Friday.",
        vendor="Meridian Freight", invoice="MF-2026-1187", terms="2/10 net 30", amount="41900.00",
    ),
    _asking(
        "purchase_order", "Replaces two machines that are out of warranty.",
        order="PO-7740", vendor="Halden Machines", item="Label printers", quantity=2, amount="62000.00",
    ),
    _asking(
        "purchase_order", "New warehouse, as in the plan for next year.",
        order="PO-7752", vendor="Osprey Racking", item="Pallet racking", quantity=48, amount="310000.00",
    ),
    _asking("sales_order", "Repeat of last season's order.", order="SO-4802", customer="Ridgeline Sports"),
    _asking(
        "customer_update", "New terms as in the signed contract of this week.",
        customer="C-2277", change_ref="CHG-0340", payment_terms="Net 60",
    ),
    _asking(
        "revenue_recognition", "Milestone three was accepted; the quarter closes in two days.",
        contract="K-2101", customer="Trelawney Shipping", amount="57500.00",
    ),
)  # fmt: skip


def seed_requests(*, now: datetime) -> int:
    """Submit the demo's requests as its agent would; return how many wait. Run again it submits none twice."""
    credential = AgentCredential.objects.select_related("agent").get(
        agent__name=AGENT, disabled_at__isnull=True
    )
    policy = PolicyVersion.objects.get(state=PolicyVersion.State.ACTIVE)
    submitted = [
        submit(
            credential=credential,
            policy=policy.pk,
            idempotency_key=f"demo-{number}",
            body=body,
            now=now,
        )
        for number, body in enumerate(REQUESTS, start=1)
    ]
    return sum(each.request.is_open for each in submitted)
