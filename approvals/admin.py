"""Requests and all that hangs from them, to look at."""

from __future__ import annotations

from approvals import models
from governance.admin import SECRET, look_at

# A request's digest is no secret: it is what every decision names.
look_at(
    models.ActionRequest,
    models.Ask,
    models.Case,
    models.Decision,
    models.Notice,
    models.Order,
    models.Review,
    models.Step,
    models.Waiver,
    secret=SECRET - {"digest"} | {"run_token", "salt"},
)
look_at(
    models.Alert,
    models.Claim,
    models.ConflictParty,
    models.CounterpartySum,
    models.Finding,
    models.Question,
    models.Resource,
)
