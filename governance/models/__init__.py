"""The rules and the record: people, policy, the catalogue, the ledger."""

from __future__ import annotations

from governance.models.action_change import ActionChange
from governance.models.action_type import ActionType
from governance.models.clock import DemoClock, Heartbeat, TaskAttempt
from governance.models.ledger import AuditEvent, ChainHead, Seal, SealedEvent, Verification
from governance.models.metrics import Measure, Metric, MetricsMark, Uncounted, WeeklyRollup
from governance.models.people import (
    Absence,
    Agent,
    AgentCredential,
    ContactChannel,
    Department,
    Person,
    PersonalToken,
    Role,
    RosterShift,
)
from governance.models.people_change import PeopleChange
from governance.models.policy import (
    Appointment,
    DecisionCell,
    MatrixDelegate,
    MatrixRow,
    PathWindow,
    PolicyCheck,
    PolicyFinding,
    PolicySignature,
    PolicyVersion,
)

__all__ = [
    "Absence",
    "ActionChange",
    "ActionType",
    "Agent",
    "AgentCredential",
    "Appointment",
    "AuditEvent",
    "ChainHead",
    "ContactChannel",
    "DecisionCell",
    "DemoClock",
    "Department",
    "Heartbeat",
    "MatrixDelegate",
    "MatrixRow",
    "Measure",
    "Metric",
    "MetricsMark",
    "PathWindow",
    "PeopleChange",
    "Person",
    "PersonalToken",
    "PolicyCheck",
    "PolicyFinding",
    "PolicySignature",
    "PolicyVersion",
    "Role",
    "RosterShift",
    "Seal",
    "SealedEvent",
    "TaskAttempt",
    "Uncounted",
    "Verification",
    "WeeklyRollup",
]
