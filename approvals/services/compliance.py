"""Compliance rules on a violation: deny it, let it pass with two signatures, or ask for a change."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db import transaction

from approvals import notifying
from approvals.checks import ask_all, records_to_read
from approvals.locks import lock_request
from approvals.models import ActionRequest, Ask, Case, Decision, Step, Violation, Waiver
from approvals.services import conflicts, decide, endings, interruptions, violations
from approvals.services.escalate import Climb
from approvals.services.gather import climbs
from approvals.services.writes import Writes
from governance import actors, tables
from governance.errors import DigestChanged, NotNow, Unprocessable
from governance.models import Person
from governance.routing import SIGNATURES
from governance.vocabulary import Level, Path, Verdict
from governance.wake import wake_clock

S = ActionRequest.State
VERDICTS = (Verdict.DENY, Verdict.WAIVE, Verdict.CHANGE_REQUESTED)
NOTHING_STORED = "Your verdict was not recorded."


@transaction.atomic
def rule_on_violation(
    *,
    ref: str,
    actor: Person,
    verdict: str,
    digest: str,
    now: datetime,
    note: str = "",
    via: str = Decision.Via.PAGE,
    shown: int | None = None,
) -> ActionRequest:
    """Answer for compliance. One no denies; a waiver takes two people, on whichever rungs they sign.

    A waiver silences the rules that were reported, each at its revision and for this
    digest. What else is broken still bites, and what was reported between two
    signatures is asked about anew. Then it goes on where it stood.

    Args:
        digest: the one the person saw; another one is refused.
        shown: how many reports they saw; another number is refused. None: not asked, as over the API.

    Raises:
        AlreadyDecided, TooLate, NotYours: as for a decision; NotYours also for whoever
            approved the request or stands behind it.
        DigestChanged: the digest is not the request's, or another report came in.
        NotNow: nobody asks for a verdict of compliance.
        Unprocessable: no such verdict here.
    """
    if verdict not in VERDICTS:
        raise Unprocessable(f"Say {', '.join(VERDICTS)}. {NOTHING_STORED}")
    note = decide.checked_note(note)
    request = lock_request(ref, and_resource=True)
    writes = Writes()
    (climb,) = climbs([request], writes, actor=actors.person(actor), now=now)
    step = decide.step_of(climb, actor, now)
    case = climb.case
    if step.path != Path.POLICY_VIOLATION or case is None:
        raise NotNow(f"No violation is asked about on this step. {NOTHING_STORED}")
    reports = list(Violation.objects.filter(case=case).order_by("pk"))
    if digest != request.digest or (shown is not None and shown != len(reports)):
        raise DigestChanged(
            "This is not what the page showed you. Open the request again and look before you "
            f"rule. {NOTHING_STORED}"
        )
    decide.still_may(climb, actor, deciding=False)
    decision = Decision(
        step=step,
        request=request,
        person=actor,
        verdict=verdict,
        note=note,
        digest=digest,
        details={"case": case.pk, "violations": [each.pk for each in reports]},
        via=via,
        at=now,
    )
    climb.decisions = [*climb.decisions, decision]
    writes.decisions.append(decision)
    climb.act.record(
        request, "step.decided", path=step.path, level=step.level, verdict=verdict, digest=digest,
        checks=[[each.check_key, each.check_revision] for each in reports if each.check_key],
        reports=len(reports), note=note, via=via,
    )  # fmt: skip
    if verdict == Verdict.WAIVE:
        _sign(climb, step, case, reports, actor)
    else:
        asks_change = verdict == Verdict.CHANGE_REQUESTED
        violations.settle_reports(climb)
        endings.deny(
            climb,
            "change_requested" if asks_change else "denied",
            by=actor.pk,
            outcome=Case.Outcome.CHANGE_REQUESTED if asks_change else Case.Outcome.DENIED,
        )
    climb.settle()
    conflicts.save(writes, now=now)
    wake_clock(now if request.state != S.BLOCKED else request.due_at)
    return request


def _sign(climb: Climb, step: Step, case: Case, reports: list[Violation], actor: Person) -> None:
    now, request = climb.now, climb.request
    rules = {(each.check_key, each.check_revision) for each in reports if each.check_key}
    Waiver.objects.bulk_create(
        [
            Waiver(
                case=case, request=request, check_key=key, check_revision=revision,
                digest=request.digest, person=actor, at=now,
            )
            for key, revision in sorted(rules)
        ],
        ignore_conflicts=True,  # they signed for it in an earlier case
    )  # fmt: skip
    signers = climb.ruled.signers
    climb.act.record(request, "waiver.signed", signatures=len(signers), of=SIGNATURES)
    if len(signers) >= SIGNATURES:
        _waive(climb, case, reports)
        return
    decide.wait_for_more(climb, actor)
    if not any(ask.due_at for ask in climb.asks):
        # Nobody else was asked here: the missing signature is asked for at once.
        climb.close_step(answered=True)
        climb.leave(Path.POLICY_VIOLATION, Level(step.level), since=now, absent=True)


def _waive(climb: Climb, case: Case, reports: list[Violation]) -> None:
    request = climb.request
    signers = climb.ruled.signers
    climb.close_step(answered=True)
    violations.settle_reports(climb)
    climb.resolve_case(Case.Outcome.WAIVED)
    left = _signed_by_too_few(climb, case, reports)
    if left:
        violations.ask_anew(climb, left)
        return
    action = request.action_type.key
    rules = tables.rules_for(request.policy_id, action, reads_target=False)
    broken = ask_all(rules, payload=request.payload, asked=violations.asked_of(request))
    found = violations.still_broken(climb, broken)
    if found:
        violations.ask_anew(climb, found)
        return
    climb.go_back_to_case()
    _go_on(climb)
    told = climb.everybody_asked - signers
    notifying.told(climb.writes, told, request, climb.people, what="waived", now=climb.now)


def _signed_by_too_few(climb: Climb, case: Case, reports: Iterable[Violation]) -> list[Violation]:
    """Return the reports that came between two signatures: not everybody saw them."""
    signed = [
        set(each.details["violations"])
        for each in climb.decisions
        if each.verdict == Verdict.WAIVE and each.details["case"] == case.pk
    ]
    return [each for each in reports if sum(each.pk in seen for seen in signed) < SIGNATURES]


def _go_on(climb: Climb) -> None:
    """It is blocked no longer: it goes on where it stood, unless others want its record by now."""
    request, stood = climb.request, climb.request.blocked_from
    step = climb.paused
    asks = [] if step is None else list(Ask.objects.filter(step=step).order_by("pk"))
    if stood == S.EXECUTING:
        interruptions.run_on(climb, asks)
    elif stood == S.TROUBLED:
        interruptions.fail_again(climb, asks)
    elif stood == S.APPROVED:
        interruptions.be_ready_again(climb)
    elif conflicts.look_afresh(climb):
        pass  # held once more, with whoever came meanwhile
    elif request.approved_at is not None:
        conflicts.go_on(climb)
    else:
        interruptions.wait_again(climb, asks)
    if (
        request.state in (S.PENDING, S.HELD)
        and tables.rules_for(request.policy_id, request.action_type.key, reads_target=True)
        and records_to_read(request.action_type, request.payload, with_facts=True)
    ):
        request.read_due_at = climb.now  # its facts are looked at once more
