"""The grammar of the record: every kind of event there is, and what it says in a sentence.

One list for all packages, as the record is one: whoever reads it years later needs each
word explained, whichever package wrote it. A kind is `subject.verb`, the verb in the
past tense. What was recorded stays, so a kind is never renamed and never taken out
while an event of it may stand in somebody's ledger; `docs/ledger.md` is made from here.
"""

from __future__ import annotations

from typing import Any

from django.db.models import TextChoices


class Event(TextChoices):
    """What can stand in the record. The label is its sentence, for whoever reads it."""

    # A request, from its arrival to its end.
    REQUEST_SUBMITTED = "request.submitted", "An agent asked leave to act."
    REQUEST_HURRIED = "request.hurried", "The agent named an instant by which it needs an answer."
    REQUEST_SUMMED = (
        "request.summed",
        "It was routed by the sum of what one owner's agents asked for with one counterparty.",
    )
    REQUEST_APPROVED = "request.approved", "It has all approvals it needs, and may be carried out."
    REQUEST_HELD = "request.held", "It was held: another request wants the same record."
    REQUEST_BLOCKED = "request.blocked", "It was blocked until compliance rules on a violation."
    REQUEST_WENT_ON = "request.went_on", "What held or blocked it is over, and it goes on."
    REQUEST_ROLLING_BACK = "request.rolling_back", "Its undoing began."
    REQUEST_COMPLETED = "request.completed", "It was carried out."
    REQUEST_COMPLETED_MANUALLY = "request.completed_manually", "Somebody finished it by hand."
    REQUEST_REJECTED = "request.rejected", "It ended: somebody said no, and the no stands."
    REQUEST_DENIED = "request.denied", "It ended: it broke a rule, and was not let pass."
    REQUEST_EXPIRED = "request.expired", "It ended: its time ran out. Nothing is carried out."
    REQUEST_WITHDRAWN = "request.withdrawn", "The agent took it back."
    REQUEST_ROLLED_BACK = "request.rolled_back", "It ended: whatever was done is undone."
    REQUEST_STRANDED = (
        "request.stranded",
        "It ended half done: it could not be undone, and nobody answered.",
    )
    REQUEST_PARKED = (
        "request.parked",
        "A sweep failed on this request alone, and leaves it aside for a while.",
    )
    SUBMISSION_REFUSED = "submission.refused", "An agent's request was refused, and nothing waits."

    # Rungs, and who was asked on them.
    STEP_OPENED = "step.opened", "A rung opened, and people were asked."
    STEP_DECIDED = "step.decided", "Somebody who was asked decided."
    STEP_EXPIRED = "step.expired", "The time of a rung ran out before anybody decided."
    STEP_PASSED_OVER = "step.passed_over", "A rung was passed over: nobody could be asked on it."
    STEP_RESUMED = "step.resumed", "A rung waits again, with the time it had left."
    ASK_OPENED = "ask.opened", "Somebody is asked in the place of those who cannot answer."
    ASK_PINGED = "ask.pinged", "Somebody who has not answered was asked again."
    ASK_SEEN = "ask.seen", "Somebody who is asked looked at the request."
    ASK_PASSED_OVER = "ask.passed_over", "Somebody who was asked is passed over, for a reason."
    ASK_HANDED_OVER = "ask.handed_over", "Somebody handed what they were asked to another person."
    ASK_UNREACHABLE = "ask.unreachable", "Somebody is asked in the inbox alone: nothing else works."
    QUESTION_ASKED = "question.asked", "Somebody put a question to the agent."
    QUESTION_ANSWERED = "question.answered", "The agent answered a question."

    # Exceptions.
    CASE_OPENED = "case.opened", "Something did not go as planned: a case was opened."
    CASE_RESOLVED = "case.resolved", "A case came to its end."
    CONFLICT_JOINED = "conflict.joined", "A later request joined a conflict that was open."
    CONFLICT_PROLONGED = "conflict.prolonged", "It is held longer: whoever is asked has their time."
    CONFLICT_ORDERED = "conflict.ordered", "A conflict was ruled on: its turn in the queue is set."
    VIOLATION_REPORTED = (
        "violation.reported",
        "A broken rule was reported of a request that is being carried out or has ended.",
    )
    VIOLATION_JOINED = "violation.joined", "A report joined a violation that compliance looks at."
    VIOLATION_RECORDED = "violation.recorded", "A broken rule was written down with what it led to."
    WAIVER_SIGNED = "waiver.signed", "Compliance let a broken rule pass, for this request alone."

    # Carrying out.
    FACTS_READ = "facts.read", "The target's records were read."
    FACTS_UNREAD = "facts.unread", "The target's records could not be read."
    RUN_STARTED = "run.started", "A worker took it up."
    RUN_FINISHED = "run.finished", "A worker's run came to its end."
    RUN_FAILED = "run.failed", "A worker's run failed."
    RUN_LOST = "run.lost", "A worker fell silent, and its lease is over."
    RUN_HANDED_BACK = "run.handed_back", "A worker gave its lease back, for another to go on."
    UNITS_PLANNED = "units.planned", "The units to be sent were worked out."
    UNIT_SENT = "unit.sent", "A unit is about to be sent to the target, under its own key."
    UNIT_DONE = "unit.done", "The target did a unit. The checkpoint is written."
    UNIT_FAILED = "unit.failed", "A call for a unit gave no receipt."
    UNIT_NOT_DONE = "unit.not_done", "The target was asked by key, and did not do a unit."
    UNIT_LOST_TRACK = "unit.lost_track", "Whether the target did a unit is not known."
    UNIT_REVERSED = "unit.reversed", "A unit that was done is reversed."
    UNIT_SAID = "unit.said", "A person said whether a unit was done."
    STRAY_FOUND = (
        "stray.found",
        "A target lists an effect under a key of ours that nothing here accounts for.",
    )
    STRAY_SETTLED = (
        "stray.settled",
        "Such an effect is settled: a unit accounts for it, or a person said what became of it.",
    )
    SNAPSHOT_TAKEN = "snapshot.taken", "A record's state was kept before the first write."
    SNAPSHOT_COMPARED = "snapshot.compared", "A record's state was kept as we left it."
    SNAPSHOT_NOT_COMPARED = (
        "snapshot.not_compared",
        "A record could not be compared with its state before the first write.",
    )
    ATTEMPT_FAILED = "attempt.failed", "An attempt failed."

    # Orders, undoing, and work by hand.
    ORDER_PLACED = "order.placed", "Somebody ordered what the worker does next."
    ORDER_CLOSED = "order.closed", "An order came to its end."
    ROLLBACK_ORDERED = "rollback.ordered", "Somebody ordered a rollback."
    ROLLBACK_CONFIRMED = "rollback.confirmed", "A second person confirmed the rollback."
    ROLLBACK_JOINED = "rollback.joined", "It was being rolled back already when it was ordered."
    ROLLBACK_LAPSED = (
        "rollback.lapsed",
        "Nobody confirmed the rollback in time. It does not happen.",
    )
    ROLLBACK_NOTHING_TO_DO = "rollback.nothing_to_do", "A rollback was ordered of what did nothing."
    RECOVERY_ORDERED = "recovery.ordered", "A recovery waits for its record to be free."
    RECOVERY_BEGUN = "recovery.begun", "It goes on from its last checkpoint by itself."
    RECOVERY_PLANNED = "recovery.planned", "How it is undone was worked out."
    RECOVERY_ATTEMPTED = "recovery.attempted", "Another attempt of a recovery began."
    RECOVERY_DRIFT = "recovery.drift", "Somebody else changed the record since: a person decides."
    RECOVERY_SUCCEEDED = "recovery.succeeded", "A recovery succeeded."
    RECOVERY_FAILED = "recovery.failed", "A recovery failed."
    RECOVERY_LAPSED = "recovery.lapsed", "The record never came free, so nothing was undone."
    UNDO_FAILED = "undo.failed", "An attempt to undo it failed."
    UNDO_NEEDS_A_PERSON = "undo.needs_a_person", "It was not undone by itself: people are asked."
    CLAIM_TAKEN = "claim.taken", "Somebody took it in hand. Nothing is sent by itself meanwhile."
    CLAIM_NOTED = "claim.noted", "Whoever has it in hand noted what is done so far."
    CLAIM_FINISHED = "claim.finished", "Whoever had it in hand says that it is finished."
    CLAIM_CONFIRMED = "claim.confirmed", "A second person confirmed what was done by hand."
    CLAIM_GIVEN_BACK = "claim.given_back", "Whoever had it in hand gave it back."

    # Reviews.
    REVIEW_OPENED = "review.opened", "A review was opened. Silence never closes it."
    REVIEW_REMINDED = "review.reminded", "The reviewer was reminded."
    REVIEW_OVERDUE = "review.overdue", "Nobody recorded a finding in time. It goes a level higher."
    REVIEW_CLOSED = "review.closed", "A reviewer recorded a finding."
    EVIDENCE_PACKED = "evidence.packed", "Somebody took the evidence of it away, as a pack."
    CLEANUP_SAID = "cleanup.said", "Somebody says that what was half done is cleaned up."

    # Messages.
    NOTICE_DELIVERED = "notice.delivered", "A message was delivered."
    NOTICE_DROPPED = "notice.dropped", "A message was not sent: it was no longer true."
    NOTICE_REFUSED = "notice.refused", "An address refuses messages for good."
    NOTICE_FAILED = "notice.failed", "A message was not delivered, and is not tried again."
    NOTICE_SENT_AGAIN = "notice.sent_again", "Somebody had a message out of tries sent again."
    NOTICE_PUT_ASIDE = "notice.put_aside", "Somebody put a message out of tries aside."
    NOTICE_SEEN = "notice.seen", "Somebody saw what they were told about a request."
    NOTICES_SEEN = "notices.seen", "Somebody looked through what they were told."
    CHANNEL_REFUSED = "channel.refused", "A person's channel refuses for good, and is not used."

    # The policy.
    POLICY_DRAFTED = "policy.drafted", "Somebody began a draft of the policy."
    POLICY_EDITED = "policy.edited", "Somebody changed a draft of the policy."
    POLICY_DISCARDED = "policy.discarded", "Somebody threw a draft of the policy away."
    POLICY_SIGNED = "policy.signed", "Somebody signed a draft, with the holes it still has."
    POLICY_ACTIVATED = "policy.activated", "A version of the policy holds from here on."
    POLICY_SUPERSEDED = "policy.superseded", "A version of the policy was replaced by another."
    HOLE_FOUND = "hole.found", "The policy has a hole: something could stall."
    HOLE_GONE = "hole.gone", "A hole of the policy is closed."
    WARNINGS_FOUND = "warnings.found", "A check of the policy found more to warn of."
    WARNINGS_GONE = "warnings.gone", "Some of what a check of the policy warned of is no longer so."

    # People, what they may do, and how they prove who they are.
    DEPARTMENTS_ENTERED = "departments.entered", "Departments were entered."
    ROLES_ENTERED = "roles.entered", "Roles were entered."
    PERSON_ENTERED = "person.entered", "A person was entered."
    SHIFT_ENTERED = "shift.entered", "A shift of an on-call roster was entered."
    AGENT_ENTERED = "agent.entered", "An agent was entered, with its owner."
    CREDENTIAL_ISSUED = "credential.issued", "A token was issued to an agent."
    PERSONAL_TOKEN_ISSUED = "personal_token.issued", "A token was issued to a person."
    CREDENTIALS_DISABLED = "credentials.disabled", "Tokens of an agent were disabled."
    PASSWORDS_REPLACED = "passwords.replaced", "Passwords were replaced."
    SECOND_FACTOR_ADDED = "second_factor.added", "A second factor was added."
    SECOND_FACTOR_REMOVED = "second_factor.removed", "A second factor was removed."
    RECOVERY_CODES_REPLACED = "recovery_codes.replaced", "Recovery codes were made anew."
    ABSENCE_SET = "absence.set", "An absence was entered."
    ABSENCE_SHORTENED = "absence.shortened", "An absence was given an earlier end."
    ABSENCE_ENDED = "absence.ended", "An absence was ended: its person is back."
    ABSENCE_CANCELLED = "absence.cancelled", "An absence was taken back before it began."
    CHANGE_ASKED = "change.asked", "Somebody asked for a change of people. It takes two."
    CHANGE_CONFIRMED = "change.confirmed", "A second person confirmed a change of people."
    CHANGE_REFUSED = "change.refused", "A second person refused a change of people."
    CHANGE_WITHDRAWN = "change.withdrawn", "Whoever asked for a change of people took it back."
    CHANGE_LAPSED = "change.lapsed", "Nobody confirmed a change of people in time."
    CHANGE_OUTDATED = "change.outdated", "What a change of people was asked for is no longer so."

    # The catalogue of actions.
    ACTION_TYPE_ENTERED = "action_type.entered", "A version of an action type was entered."
    ACTION_TYPE_TESTED = "action_type.tested", "A version of an action type counts as tested."
    ACTION_TYPE_PROMOTED = "action_type.promoted", "A version of an action type went to production."
    ACTION_TYPE_RETIRED = "action_type.retired", "A version of an action type was retired."
    ACTION_CHANGE_ASKED = "action_change.asked", "Somebody asked to move an action type on."
    ACTION_CHANGE_CONFIRMED = "action_change.confirmed", "A second person confirmed the move."
    ACTION_CHANGE_REFUSED = "action_change.refused", "A second person refused the move."
    ACTION_CHANGE_WITHDRAWN = "action_change.withdrawn", "Whoever asked for the move took it back."
    ACTION_CHANGE_LAPSED = "action_change.lapsed", "Nobody confirmed the move in time."
    ACTION_CHANGE_OUTDATED = (
        "action_change.outdated",
        "What the move was asked for is no longer so.",
    )
    DRILL_STARTED = "drill.started", "A rehearsal of an undoing was started."
    DRILL_REHEARSED = (
        "drill.rehearsed",
        "One point of a rehearsal was played, and its evidence kept.",
    )
    DRILL_PASSED = "drill.passed", "A rehearsal passed: everything was undone."
    DRILL_FAILED = "drill.failed", "A rehearsal did not pass."

    # The record.
    LEDGER_VERIFIED = "ledger.verified", "The whole record was read again, and compared."
    LEDGER_VERIFICATION_ASKED = (
        "ledger.verification_asked",
        "Somebody asked for the whole record to be read again.",
    )
    LEDGER_EXPORTED = "ledger.exported", "Somebody took a part of the record away as a file."

    # The house itself.
    FINDING_OPENED = "finding.opened", "An audit found what should not exist."
    FINDING_CLEARED = "finding.cleared", "What an audit had found is no longer there."
    ALERT_RAISED = "alert.raised", "Something went wrong that an operator must see."
    ALERT_TOLD = "alert.told", "Operators are told of alerts, through their channels."
    ALERT_CLOSED = "alert.closed", "What an alert was about works again."
    ALERT_ACKNOWLEDGED = "alert.acknowledged", "An operator looks after an alert."
    TASK_GIVEN_UP = "task.given_up", "A task failed too often, and is not tried again."
    TASK_FAILED = "task.failed", "A task of the worker raised an error, and is tried again."
    TASK_LOST = "task.lost", "The worker died in the middle of a task, which is brought again."
    TASK_RUN_AGAIN = "task.run_again", "Somebody had a task that was given up run again."
    TASK_PUT_ASIDE = "task.put_aside", "Somebody put a task that was given up aside."
    TASK_DROPPED = "task.dropped", "A task killed every worker that took it, and was dropped."
    METRICS_EXPORTED = (
        "metrics.exported",
        "Somebody took the cases behind a figure away as a file.",
    )
    METRICS_REBUILT = "metrics.rebuilt", "The weekly figures were made anew from the record."
    WORKER_RESTARTED = "worker.restarted", "The worker gave no sign of life, and was restarted."
    PROCESS_FELL_SILENT = "process.fell_silent", "The clock or the worker gave no sign of life."
    ROWS_REFUSED = "rows.refused", "For a while no row could be written, and now one can."
    DATABASE_RETURNED = "database.returned", "The database was gone for a while, and is back."

    @property
    def subject(self) -> str:
        """Return what the event is about: `step` of `step.expired`."""
        return str(self.value).partition(".")[0]

    @property
    def verb(self) -> str:
        """Return what happened to it: `expired` of `step.expired`."""
        return str(self.value).partition(".")[2]


KINDS = frozenset(Event.values)


def sentence_of(kind: str) -> str:
    """Return what an event of this kind says. One that no code of ours wrote says just that."""
    return str(Event(kind).label) if kind in KINDS else "No such kind of event is known here."


def known(kind: str) -> str:
    """Return a kind as the record writes it. Raises ValueError for one that the grammar lacks."""
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no kind of event: it needs a line in governance.events")
    return str(kind)


def by_subject() -> list[tuple[str, list[Any]]]:
    """Return all kinds as the grouped choices of a form: by what they are about, in the order above."""
    groups: dict[str, list[Any]] = {}
    for event in Event:
        groups.setdefault(event.subject.replace("_", " "), []).append((event.value, event.label))
    return list(groups.items())
