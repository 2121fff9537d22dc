"""What the watch expects of each table of the product: where the event of a changed row must stand.

Every table is in one of the four lists below; a new one must be put there.
"""

from __future__ import annotations

# The request a row hangs from, as SQL over `{row}`: its event stands in that request's chain.
OF_A_REQUEST = {
    "approvals_actionrequest": "{row}.id",
    "approvals_ask": "(SELECT s.request_id FROM approvals_step s WHERE s.id = {row}.step_id)",
    # Of what becomes of a party its own chain tells, or that of the newcomer whose case it is.
    "approvals_conflictparty": "{row}.request_id || ' ' ||"
    " (SELECT c.request_id FROM approvals_case c WHERE c.id = {row}.case_id)",
    **dict.fromkeys(
        (
            "approvals_case", "approvals_claim", "approvals_decision", "approvals_order",
            "approvals_question", "approvals_recordread", "approvals_review",
            "approvals_step", "approvals_violation", "approvals_waiver", "rollback_recovery",
            "rollback_run", "rollback_snapshot", "rollback_unit",
        ),
        "{row}.request_id",
    ),
}  # fmt: skip

# The event stands in this act, in whichever chain: of the request, of people, of the house.
OF_AN_ACT = (
    "approvals_alert", "approvals_finding", "approvals_notice",
    "governance_department", "governance_role", "governance_person", "governance_person_roles",
    "governance_person_groups", "governance_person_user_permissions",
    "governance_contactchannel", "governance_absence", "governance_rostershift", "governance_agent",
    "governance_agentcredential", "governance_personaltoken", "governance_peoplechange",
    "governance_actiontype", "governance_actionchange", "rollback_drill", "rollback_stray",
    "governance_policyversion", "governance_policyversion_editors", "governance_policysignature",
    "governance_matrixrow",
    "governance_matrixdelegate", "governance_pathwindow", "governance_decisioncell",
    "governance_policycheck", "governance_appointment", "governance_policyfinding",
    "governance_verification",
)  # fmt: skip

# Rows that are no act, with the reason.
NO_ACT = {
    "approvals_resource": "the row that simultaneous submissions lock: a key, and nothing about it",
    "approvals_counterpartysum": "likewise: the row that is locked while a sum is taken",
    "governance_democlock": "the demo's own time; refused outside demo settings",
    "governance_heartbeat": "a sign of life each second; its absence is what is recorded",
    "governance_taskattempt": "counts deliveries of a call that carries no truth; its failures are recorded",
    "governance_auditevent": "the record itself",
    "governance_chainhead": "the record's own heads, compared with it by verify_ledger",
    "governance_seal": "vouches for the record, chained and signed",
    "governance_sealedevent": "likewise: which events a seal covers",
    "governance_measure": "read off the sealed record; rebuild_metrics makes the same rows",
    "governance_weeklyrollup": "likewise, added up",
    "governance_uncounted": "likewise: which records they leave out, because they are broken",
    "rollback_bookmark": "how far the list of a target is read; what stands there and is nobody's is recorded",
    "governance_metricsmark": "how far into the record the figures have read",
}

# Columns whose change alone is no act, with the reason.
NO_ACT_ALONE = {
    "approvals_actionrequest": {
        **dict.fromkeys(
            ("read_due_at", "read_tries"),
            "put off before the target is read, so that no other worker reads it too; what came of it is recorded",
        ),
        "lease_until": "a run shows that it is alive; its beginning and its end are recorded",
    },
    "approvals_notice": dict.fromkeys(
        ("attempts", "next_attempt_at", "last_error"),
        "put off before it is sent, and again after a try that failed; delivered or given up is recorded",
    ),
    "governance_person": {"last_login": "when they last came in decides nothing"},
    "governance_policyfinding": dict.fromkeys(
        ("about", "sentence", "since", "until"),
        "the same finding in today's words; that it was found, and that it is gone, is recorded",
    ),
    "rollback_drill": dict.fromkeys(
        ("token", "lease_until"), "which worker has it in hand; each point it rehearses is recorded"
    ),
    "rollback_unit": {
        "audited_at": "when the target was last asked of it; what was found is recorded"
    },
}

# Columns that say what another one says: where that may change without an event, so may these.
FOLLOWS = {"approvals_actionrequest": {"due_at": "lease_until"}}

# Columns of a request whose event stands in the chain of the house, with the reason.
TOLD_BY_THE_HOUSE = {
    "approvals_actionrequest": {
        "parked_until": "a sweep failed on it, and its own chain may be what is broken"
    }
}
