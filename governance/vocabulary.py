"""The words all three packages share. Nothing here has behaviour."""

from __future__ import annotations

from django.db.models import IntegerChoices, TextChoices


class ExceptionType(TextChoices):
    """The five ways an approval leaves the happy path. Source: runbook, "The Five Exception Types"."""

    TIMEOUT = "timeout"
    REJECTION = "rejection"
    CONFLICT = "conflict"
    SYSTEM_FAILURE = "system_failure"
    POLICY_VIOLATION = "policy_violation"


class Severity(TextChoices):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Impact(TextChoices):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Path(TextChoices):
    """The ladder a step stands on: one for each exception type, the first ask, and undo."""

    APPROVAL = "approval"
    TIMEOUT = "timeout"
    REJECTION = "rejection"
    CONFLICT = "conflict"
    SYSTEM_FAILURE = "system_failure"
    POLICY_VIOLATION = "policy_violation"
    UNDO = "undo"


class Level(IntegerChoices):
    """Rung of the escalation ladder. L0 is the approver first asked."""

    L0 = 0, "First approver"
    L1 = 1, "Asked again"
    L2 = 2, "Alternate approver"
    L3 = 3, "Management"
    L4 = 4, "Emergency bypass"


class Response(TextChoices):
    """What the decision tree says to do next. Source: DESIGN 2.1."""

    ASK_AGAIN_EXTENDED = "ask_again_extended"
    ASK_AGAIN = "ask_again"
    DELEGATE = "delegate"
    ALTERNATE = "alternate"
    DEPARTMENT_HEAD = "department_head"
    HOLD = "hold"
    RETRY = "retry"
    RETRY_TELL_ONCALL = "retry_tell_oncall"
    ONCALL = "oncall"
    ASK_COMPLIANCE = "ask_compliance"


class RuleSource(TextChoices):
    """Who answered a cell of the decision tree, so that an auditor can tell."""

    RUNBOOK = "R", "Runbook"
    OURS = "O", "Ours, where the runbook is silent"
    LOCAL = "local", "Edited here"


class Verdict(TextChoices):
    APPROVE = "approve"
    REJECT = "reject"
    DENY = "deny"
    WAIVE = "waive"
    CHANGE_REQUESTED = "change_requested"
    RETRY = "retry"
    ROLL_BACK = "roll_back"
    BY_HAND = "by_hand"
    RULE = "rule"


class Scope(TextChoices):
    """What an agent's credential may do beyond its own departments and actions."""

    SUBMIT = "submit"
    READ = "read"
    WITHDRAW = "withdraw"
    URGENT = "urgent"
    VIOLATIONS = "violations"
    VIOLATIONS_ANY = "violations:any"


class Duty(TextChoices):
    """Roles the product itself knows; an organisation adds its own beside them."""

    OPERATOR = "operator"
    AUDITOR = "auditor"
    POLICY_ADMIN = "policy_admin"
    COMPLIANCE = "compliance"
    CONTROLLER = "controller"


class Chain(TextChoices):
    """The named chains of the ledger, for events that belong to no request."""

    POLICY = "policy"
    PEOPLE = "people"
    ACTIONS = "actions"
    SYSTEM = "system"
