"""What rule a request breaks, by which facts, who said so, and who has signed to let it pass."""

from __future__ import annotations

from approvals.models import ActionRequest, Case, Violation
from approvals.services.violations import may_report
from approvals.story.reading import Reading
from approvals.story.shapes import Breach, Reported, Signature
from approvals.story.words import nothing_done, the, upper_first
from governance import wording
from governance.routing import SIGNATURES
from governance.vocabulary import ExceptionType, Path, Verdict

S = ActionRequest.State
PLAIN = 1000
FROM = {
    S.PENDING: "It waits again for those who were asked, with the time they had left",
    S.HELD: "It goes back to its record, and is held once more if others want it",
    S.APPROVED: "It may begin at once, as it was approved",
    S.EXECUTING: "It is carried out from where it stopped",
    S.TROUBLED: "It is tried again from where it failed",
}


def breach_of(reading: Reading) -> Breach | None:
    """Return the last violation of a request; None where there is none, or the reader is not to see its facts."""
    packet, request = reading.packet, reading.request
    cases = [each for each in packet.cases if each.exception == ExceptionType.POLICY_VIOLATION]
    if not cases and not packet.violations:
        return None
    case = cases[-1] if cases else None
    reports = [
        each for each in packet.violations if case is None or each.case_id in (case.pk, None)
    ]
    step = reading.step
    can_rule = (
        reading.mine is not None
        and step is not None
        and step.path == Path.POLICY_VIOLATION
        and not reading.over
    )
    signed = [
        each
        for each in packet.decisions
        if each.verdict == Verdict.WAIVE
        and case is not None
        and each.details.get("case") == case.pk
    ]
    left = max(SIGNATURES - len(signed), 1)
    return Breach(
        reports=tuple(_reported(reading, each) for each in reports),
        count=sum(each.case_id is not None for each in reports),
        signatures=tuple(
            Signature(
                upper_first(the([each.person], reading.reader)),
                each.at,
                wording.plain(each.note, 300),
            )
            for each in signed
        ),
        of=SIGNATURES,
        is_open=case is not None and case.state == Case.State.OPEN,
        can_rule=can_rule,
        deny=_if_denied(reading),
        waive=_if_waived(reading, left),
        waive_button="Sign the waiver" if left > 1 else "Sign second, and let it pass",
        change=f"{upper_first(nothing_done(request.action_type))}; the agent reads that a change is asked for",
    )


def can_report(reading: Reading) -> bool:
    """Whether the page offers this reader to report a violation."""
    return may_report(reading.reader) and reading.request.is_open


def _if_denied(reading: Reading) -> str:
    if reading.request.has_effects:
        return "What was done is undone, and nothing more is. Your no alone is enough"
    return f"{upper_first(reading.nothing_done)}. Your no alone is enough"


def _if_waived(reading: Reading, left: int) -> str:
    goes_on = FROM.get(S(reading.request.blocked_from or S.PENDING), "")
    if left > 1:
        return "It takes two of you. A second one is asked, and until they sign it stays blocked"
    return goes_on


def _reported(reading: Reading, violation: Violation) -> Reported:
    if violation.by_agent is not None:
        by = f"Reported by {wording.plain(violation.by_agent.name, 80)}"
    elif violation.by_person is not None:
        by = f"Reported by {the([violation.by_person], reading.reader)}"
    else:
        by = "Found by the policy"
    rule = violation.check_name or violation.check_key
    revision = f", revision {violation.check_revision}" if violation.check_key else ""
    return Reported(
        rule=wording.plain(f"{rule}{revision}", 240) if rule else "A report in words",
        text=wording.plain(violation.text, PLAIN),
        values=tuple(
            (
                wording.plain(str(each.get("name", "")), 120),
                wording.plain(str(each.get("value", "")), 240),
            )
            for each in violation.facts
        ),
        by=by,
        at=violation.at,
        expression=violation.expression_hash[:12],
    )
