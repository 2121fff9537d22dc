"""A process of its own that asks, approves, carries out or undoes, and may be killed at a point.

    python -m tests.processes.carrier ask vendor_payment
    python -m tests.processes.carrier undo R-...
    python -m tests.processes.carrier run [POINT POSITION]
    python -m tests.processes.carrier seal

A point is where the process ends itself with SIGKILL: nothing of Python runs
after it, as when the machine goes away.
"""

from __future__ import annotations

import os
import signal
import sys
from datetime import timedelta

import django

LEASE_IS_S = 2.0  # of real time in these tests, instead of 30
SHORTER = LEASE_IS_S / 30.0


def ask(key):
    """Submit an action's example and have everybody who is asked approve it. Prints its ref."""
    from approvals.models import Step
    from approvals.services.decide import decide
    from approvals.services.submit import submit
    from governance import clock
    from governance.models import ActionType, AgentCredential, PolicyVersion

    request, _ = submit(
        credential=AgentCredential.objects.select_related("agent").get(),
        policy=PolicyVersion.objects.get().pk,
        idempotency_key=key,
        body=ActionType.objects.get(key=key).example,
        now=clock.now(),
    )
    for asked in Step.objects.get(request=request).asks.filter(due_at__isnull=False):
        decide(
            ref=request.ref, actor=asked.person, verdict="approve", digest=request.digest,
            now=clock.now(),
        )  # fmt: skip
    sys.stdout.write(f"{request.ref}\n")


def undo(ref):
    """Order that it be undone, and have a second person confirm it."""
    from approvals.services.orders import order_rollback
    from governance import clock
    from governance.models import Person
    from rollback.sweeps import take_up_orders

    for username in ("operator", "head_of_compliance"):
        order_rollback(
            ref=ref,
            actor=Person.objects.get(username=username),
            reason="Found to be wrong",
            now=clock.now(),
        )
    take_up_orders(now=clock.now())


def run(point="", position="0"):
    """Take up what is due, and end at the point if one was given."""
    from governance import clock
    from rollback.runner import run_all
    from rollback.services.hands import Hands

    def at(here, unit):
        if (here, unit.position) == (point, int(position)):
            os.kill(os.getpid(), signal.SIGKILL)

    hands = Hands(
        worker=str(os.getpid()),
        now=clock.now,
        technical=lambda seconds: timedelta(seconds=seconds * SHORTER),
        at=at,
    )
    sys.stdout.write(f"{run_all(hands)}\n")


def seal():
    """Seal whatever waits, whenever that was last done."""
    from governance import clock, seals

    sys.stdout.write(f"{seals.seal_now(clock.now())}\n")


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "governance.settings"
    django.setup()
    {"ask": ask, "undo": undo, "run": run, "seal": seal}[sys.argv[1]](*sys.argv[2:])
