"""What must hold when a request has ended, and how an interrupted run differs from one that was not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from approvals import auditing
from approvals.models import ActionRequest, Alert, Case, Notice, Order, Step
from governance import seals
from governance.models import AuditEvent
from governance.verify import findings
from rollback.audits import OUTSIDE
from rollback.models import Recovery, Snapshot, Unit

# What may happen once, however often a worker died on the way.
ONCE = (
    "units.planned",
    "snapshot.taken",
    "unit.done",
    "unit.reversed",
    "request.completed",
    "recovery.succeeded",
    "request.rolled_back",
)
LATER = timedelta(days=1)  # by then the audit of effects asks about what was not done too
NEXT_ROUND = timedelta(minutes=1)
SHOWN = 8  # differences of one run
CLOCKS = ("due_at", "lease_until", "run_token", "next_attempt_at", "parked_until")


def report(ref: str, now: datetime) -> dict[str, Any]:
    """Return what is to be compared, and what must be empty. Seals and audits on the way."""
    seals.seal_now(now)
    units = Unit.objects.filter(request__ref=ref)
    return {
        "state": state_of(ref),
        "keys": sorted(units.filter(receipt__isnull=False).values_list("key", flat=True)),
        "by_hand": sorted(units.filter(by_hand=True).values_list("key", flat=True)),
        "ledger": [str(found) for found in findings(now)],
        "audit": [f"{found.audit}: {found.text}" for found in auditing.run(now=now)],
        "effects": effects(now + LATER),
    }


def effects(now: datetime) -> list[str]:
    """Return what the audits that ask targets find, in the second of two rounds.

    Whoever failed to answer in one is asked again in the next, as the product does
    each minute. What is wrong in the target is found in each.
    """
    for look in OUTSIDE.values():
        list(look(now))
    return [found.text for look in OUTSIDE.values() for found in look(now + NEXT_ROUND)]


def state_of(ref: str) -> dict[str, Any]:
    """Return how a request ended, without instants and without how often it was tried."""
    request = ActionRequest.objects.get(ref=ref)
    events = AuditEvent.objects.filter(chain=ref, kind__in=ONCE).values_list("kind", flat=True)
    return {
        "request": {
            "state": request.state,
            "has_effects": request.has_effects,
            "had_effects": request.had_effects,
            "holds_key": request.holds_key,
            "generation": request.generation,
            "clocks": [name for name in CLOCKS if getattr(request, name) is not None],
        },
        "units": {
            unit.key: {"state": unit.state, "receipt": unit.receipt}
            for unit in Unit.objects.filter(request=request).order_by("pk")
        },
        "snapshots": {
            each.record: {"version": each.version, "before": each.before, "after": each.after}
            for each in Snapshot.objects.filter(request=request).order_by("record")
        },
        "recoveries": [
            {"pattern": each.pattern, "state": each.state, "plan": each.plan}
            for each in Recovery.objects.filter(request=request).order_by("pk")
        ],
        "orders": [
            [each.kind, each.outcome]
            for each in Order.objects.filter(request=request).order_by("pk")
        ],
        "events": dict(sorted(Counter(events).items())),
    }


def told_of(ref: str) -> dict[str, Any]:
    """Return whom it has bothered: people who were asked or told, cases, alerts."""
    notices = Notice.objects.filter(request__ref=ref).values_list("kind", "via", "person__username")
    return {
        "steps": [
            [each.path, each.level, each.state]
            for each in Step.objects.filter(request__ref=ref).order_by("pk")
        ],
        "cases": [
            [each.exception, each.outcome]
            for each in Case.objects.filter(request__ref=ref).order_by("pk")
        ],
        "notices": sorted(f"{kind} {person} through {via}" for kind, via, person in notices),
        "alerts": sorted(f"{each.kind} {each.key}" for each in Alert.objects.all()),
    }


def differences(wanted: Any, found: Any, path: str = "") -> Iterator[str]:
    """Yield where two values differ, a line each."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for name in [*wanted, *(each for each in found if each not in wanted)]:
            here = f"{path}.{name}" if path else str(name)
            yield from differences(wanted.get(name), found.get(name), here)
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for n, (one, other) in enumerate(zip(wanted, found, strict=True)):
            yield from differences(one, other, f"{path}[{n}]")
    elif wanted != found:
        yield f"{path}: {found!r} instead of {wanted!r}"[:300]


def complaints(
    report: dict[str, Any], books: dict[str, Any], *, keyless: bool = False
) -> Iterator[str]:
    """Yield what is wrong with an end whatever it is compared with.

    Args:
        books: what the target holds: {"keys": of its effects, one an effect; "balanced"; "rows"}.
        keyless: it is given no keys, so that only its books say what was done.
    """
    for name in ("ledger", "audit", "effects"):
        yield from (f"{name}: {line}" for line in report[name])
    if not books["balanced"]:
        yield "the target's books do not balance"
    if keyless:
        return
    done = Counter(books["keys"])
    yield from (f"{key} was done {n} times in the target" for key, n in done.items() if n > 1)
    people_said = set(report["by_hand"])  # what a person did has no key of ours there
    for key in sorted(set(done) - set(report["keys"]) - people_said):
        yield f"the target did {key}, and there is no checkpoint for it"
    for key in sorted(set(report["keys"]) - set(done) - people_said):
        yield f"there is a checkpoint for {key}, and the target knows nothing of it"


def unlike(wanted: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    """Yield how a run that failed and was mended differs from one without failures, where it must not.

    A failure leaves its own traces: attempts, cases, a record that could not be read
    once more. What a person did carries no key of ours, and is not done by the units.
    """
    by_hand = bool(found["by_hand"])
    yield from differences(
        _money(wanted["books"], by_hand), _money(found["books"], by_hand), "books"
    )
    if by_hand:
        return
    right, state = wanted["state"], found["state"]
    for part in ("request", "units"):
        yield from differences(right[part], state[part], part)
    for record, snapshot in right["snapshots"].items():
        here = state["snapshots"].get(record, {})
        yield from differences(snapshot["before"], here.get("before"), f"{record}.before")
        if here.get("after") is not None:
            yield from differences(snapshot["after"], here["after"], f"{record}.after")


def _money(books: dict[str, Any], by_hand: bool) -> dict[str, Any]:
    """Return what the target's books hold, without under which keys if a person did part of it."""
    if not by_hand:
        return books
    return {name: rows for name, rows in books["rows"].items() if name != "operations"}
