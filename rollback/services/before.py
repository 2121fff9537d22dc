"""What is looked at between a request's approval and each of its units: rules over the target, and its basis.

Read under the lease, outside a transaction; what comes of it is the runner's to
store. Of actions and policies that ask for none of it, nothing is read.
"""

from __future__ import annotations

from collections.abc import Callable

from django.db.models import F

from approvals.checks import Broken, Done, ask_all, basis_of, records_to_read
from approvals.models import ActionRequest, ConflictParty
from approvals.services import violations
from governance import cel, tables
from rollback.connectors.base import Connector
from rollback.models import Direction, Unit
from rollback.services import reading


class Forbidden(Exception):
    """Rules do not hold any more, so nothing further is sent."""

    def __init__(self, broken: list[Broken]) -> None:
        super().__init__(", ".join(each.check.key for each in broken))
        self.broken = broken


class BasisChanged(Exception):
    """Its record is not as it was when people said yes to it."""


def first(request: ActionRequest, connector: Connector) -> None:
    """Look at what was approved, before its first unit is planned.

    The rules over what was asked are those that are active now.

    Raises BasisChanged, Forbidden; CallFailed where the target cannot be read: a system failure.
    """
    if _was_held_since(request):
        records = basis_of(request.action_type, request.payload)
        readings = reading.read_all(connector, records)
        now = reading.basis_digest(readings, records, salt=request.salt)
        if now != request.basis_digest:
            raise BasisChanged(f"the record of {request.ref} has changed since it was submitted")
    policy = tables.active_policy()
    if policy is None or policy.pk == request.policy_id:
        return  # they were asked at submission
    rules = policy.checks_of(request.action_type.key, reads_target=False)
    if rules:
        _refuse(
            request, ask_all(rules, payload=request.payload, asked=violations.asked_of(request))
        )


def each(request: ActionRequest, connector: Connector, *, renew: Callable[[], None]) -> None:
    """Look at the facts of the target, before a unit is sent.

    Args:
        renew: prolongs the lease, before anything is read.

    Raises Forbidden, CallFailed, Fenced.
    """
    if not tables.rules_for(request.policy_id, request.action_type.key, reads_target=True):
        return
    renew()
    records = records_to_read(request.action_type, request.payload, with_facts=True)
    readings = reading.read_all(connector, records)
    _refuse(request, reading.broken_by(request, readings, _done(request)))


def _refuse(request: ActionRequest, broken: list[Broken]) -> None:
    passed = violations.waived(request) if broken else frozenset()
    left = [one for one in broken if (one.check.key, one.check.revision) not in passed]
    if left:
        raise Forbidden(left)


def _done(request: ActionRequest) -> Done:
    done = Unit.objects.filter(
        request=request, direction=Direction.FORWARD, state=Unit.State.DONE
    ).values_list("amount", "currency")
    sums = [
        cel.minor(amount.normalize(), currency) or 0
        for amount, currency in done
        if amount is not None and currency == request.currency
    ]
    return Done(units=len(done), minor=sum(sums))


def _was_held_since(request: ActionRequest) -> bool:
    """Whether a conflict held it after its approval, so that others may have touched its record."""
    # Whoever was present for it does not come back: its approval is never put off (`be_ready_again`).
    if request.ready_at in (None, request.approved_at) and not request.person_present:
        return False
    held = ConflictParty.objects.filter(
        request=request, was_held=True, joined_at__gte=request.approved_at
    ).exclude(left_at=F("joined_at"))
    return bool(request.basis_digest) and bool(held.exists())
