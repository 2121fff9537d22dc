"""What a digest covers. Source: DESIGN 5, "What was shown is what runs"."""

from __future__ import annotations

from typing import Any

from approvals.models import ActionRequest
from approvals.services import submission
from approvals.services.submission import Money
from governance import canonical, commitments


def digest_of(request: ActionRequest) -> str:
    """Return the digest of a request as its row now is, to be compared with the one that was decided on.

    Args:
        request: with action_type, agent, department, resource and on_behalf_of.
    """
    return canonical.digest(covered_by(request))


def covered_by(request: ActionRequest) -> dict[str, Any]:
    """Return what the digest of a request covers, JSON types only. For `request` see `digest_of`.

    A field of the payload that evidence leaves out stands in it as its salted digest.
    """
    action = request.action_type
    hidden = action.redacted_in("payload")
    payload = commitments.committed(request.payload, hidden, salt=request.salt)
    return named_by(request, submission.amount_of(action, request.payload)) | {"payload": payload}


def named_by(request: ActionRequest, money: Money | None) -> dict[str, Any]:
    """Return what the digest covers besides the payload: what was made of it, and of the call."""
    return {
        "action": request.action_type.key,
        "version": request.action_type.version,
        "amount": str(money.value) if money else None,
        "currency": money.currency if money else None,
        "department": request.department.key,
        "resource": request.resource.key if request.resource else None,
        "business_key": request.business_key,
        "agent": request.agent.name,
        "on_behalf_of": request.on_behalf_of.username if request.on_behalf_of else None,
        "severity": str(request.severity),
        "impact": str(request.impact),
    }
