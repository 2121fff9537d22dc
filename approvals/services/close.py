"""An agent no longer asks."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django_fsm import can_proceed

from approvals import notifying
from approvals.locks import lock_request
from approvals.models import ActionRequest, Case
from approvals.services import conflicts
from approvals.services.gather import climbs
from approvals.services.writes import Writes
from governance import actors
from governance.errors import NotFound, NotNow
from governance.models import Agent
from governance.vocabulary import ExceptionType


@transaction.atomic
def withdraw(*, ref: str, agent: Agent, now: datetime) -> ActionRequest:
    """End an open request at its agent's wish, before anything was done.

    Idempotent: withdrawing what is withdrawn changes nothing.

    Raises:
        NotFound: the agent has no such request.
        NotNow: it has ended otherwise, or something was done in the target.
    """
    request = lock_request(ref, and_resource=True)
    if request.agent_id != agent.pk:
        raise NotFound(f"There is no request {ref}.")
    if request.state == ActionRequest.State.WITHDRAWN:
        return request
    if not can_proceed(request.withdraw) or request.has_effects:
        raise NotNow(
            f"{ref} is {request.get_state_display().lower()} and can no longer be withdrawn."
        )
    writes = Writes()
    (climb,) = climbs([request], writes, actor=actors.agent(agent), now=now)
    if climb.step is not None:
        climb.step.supersede(now=now)
        writes.closed_steps.append(climb.step)
        climb.step = None
    told = set(climb.everybody_asked)
    if request.state == ActionRequest.State.BLOCKED:  # whoever was away reads it too
        told |= {*climb.offices.compliance, *climb.offices.head_of_compliance}
    request.withdraw(now=now)
    climb.act.record(request, "request.withdrawn")
    conflict = climb.case is not None and climb.case.exception == ExceptionType.CONFLICT
    climb.resolve_case(Case.Outcome.LEFT if conflict else Case.Outcome.WITHDRAWN)
    notifying.told(writes, told, request, climb.people, what="withdrawn", now=now)
    notifying.state_changed(writes, request, now=now)
    climb.settle()
    conflicts.save(writes, now=now)
    return request
