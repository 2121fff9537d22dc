"""The waiting and the deciding: requests, steps, asks, decisions, cases, reviews, notices."""

from __future__ import annotations

from approvals.models.case import Case, ConflictParty, Waiver
from approvals.models.finding import Alert, Finding
from approvals.models.notice import Notice
from approvals.models.order import Claim, Order
from approvals.models.request import ENDED, OPEN, ActionRequest, CounterpartySum
from approvals.models.resource import Resource
from approvals.models.review import Review
from approvals.models.step import Ask, Decision, Question, Step
from approvals.models.violation import RecordRead, Violation

__all__ = [
    "ENDED",
    "OPEN",
    "ActionRequest",
    "Alert",
    "Ask",
    "Case",
    "Claim",
    "ConflictParty",
    "CounterpartySum",
    "Decision",
    "Finding",
    "Notice",
    "Order",
    "Question",
    "RecordRead",
    "Resource",
    "Review",
    "Step",
    "Violation",
    "Waiver",
]
