"""What is tried: an action of the catalogue, brought by people to where the worker begins."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NamedTuple

from django.core.management import call_command

from approvals.models import ActionRequest, Step
from approvals.services.decide import decide
from approvals.services.orders import order_rollback
from approvals.services.submit import submit
from governance import clock, demo
from governance.models import ActionType, AgentCredential, Person, PolicyVersion
from rollback.services.hands import Hands
from rollback.services.reading import read_for
from tools.trials.life import Moment

FORWARD, UNDO = "forward", "undo"
ENDS = {FORWARD: ActionRequest.State.COMPLETED, UNDO: ActionRequest.State.ROLLED_BACK}
BY_HAND = {  # where a person finished it
    FORWARD: ActionRequest.State.COMPLETED_MANUALLY,
    UNDO: ActionRequest.State.ROLLED_BACK,
}
ORDERERS = ("operator", "head_of_compliance")  # the second is asked where money moves
BETWEEN = timedelta(minutes=5)


class Scenario(NamedTuple):
    """One action, as its example in the catalogue asks for it."""

    name: str  # for people
    action: str  # the action type's key
    blind: bool = False  # the target takes no keys and cannot be asked what it did


PAYMENT = Scenario("payment", "vendor_payment")
ORDER = Scenario("five-line order", "sales_order")
BLIND = Scenario("blind payment", "vendor_payment", blind=True)


def seed() -> None:
    """Migrate and seed an empty database."""
    call_command("migrate", interactive=False, verbosity=0)
    demo.seed(speed=None, now=clock.now(), real_now=clock.real_now())


def be_blind(key: str) -> None:
    """Have an action type's target do without keys: it sees none, and cannot be asked."""
    action_type = ActionType.objects.get(key=key)
    config = {
        name: value for name, value in action_type.connector_config.items() if name != "lookup"
    }
    config |= {"gives": {"native_keys": False}, "key_header": "X-Seen-By-Nobody"}
    ActionType.objects.filter(key=key).update(connector_config=config)


def ask(scenario: Scenario, moment: Moment) -> str:
    """Have the agent ask for it, the worker read its record, and people approve it. Returns its ref."""
    if scenario.blind:
        be_blind(scenario.action)
    action_type = ActionType.objects.get(key=scenario.action)
    request, _ = submit(
        credential=AgentCredential.objects.select_related("agent").get(),
        policy=PolicyVersion.objects.get().pk,
        idempotency_key=f"trial-{scenario.action}",
        body=action_type.example,
        now=moment.now,
    )
    read_for(request.pk, Hands("trial", now=lambda: moment.now, technical=seconds))
    for asked in Step.objects.get(request=request).asks.filter(due_at__isnull=False):
        decide(
            ref=request.ref, actor=asked.person, verdict="approve", digest=request.digest,
            now=moment.now,
        )  # fmt: skip
    _must_be(request.ref, ActionRequest.State.APPROVED)
    return str(request.ref)


def order_undo(ref: str, moment: Moment) -> None:
    """Have it ordered that what was completed is undone, and confirmed where that takes two."""
    _must_be(ref, ActionRequest.State.COMPLETED)
    moment.now += BETWEEN
    financial = ActionRequest.objects.get(ref=ref).action_type.is_financial
    for username in ORDERERS[: 2 if financial else 1]:
        order_rollback(
            ref=ref,
            actor=Person.objects.get(username=username),
            reason="Found to be wrong",
            now=moment.now,
        )


def seconds(count: float) -> timedelta:
    """Return the business span of so many real seconds: here the same."""
    return timedelta(seconds=count)


def _must_be(ref: str, state: str) -> None:
    found: Any = ActionRequest.objects.get(ref=ref).state
    if found != state:
        raise RuntimeError(f"{ref} is {found}, and was to be {state}")
