"""Whoever owns a record says in which order the requests for it go on, and which of them do not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction

from approvals.locks import lock_request
from approvals.models import ActionRequest, Case, ConflictParty, Decision
from approvals.services import bypass, conflicts, decide
from approvals.services.escalate import Climb
from approvals.services.gather import climbs
from approvals.services.writes import Writes
from governance import actors
from governance.errors import DigestChanged, NotNow, Unprocessable
from governance.models import Person
from governance.stepup import Presence
from governance.vocabulary import Path, Verdict
from governance.wake import wake_clock

NOTHING_STORED = "Your ruling was not recorded."


@transaction.atomic
def rule(
    *,
    ref: str,
    actor: Person,
    order: Sequence[str],
    refuse: Sequence[str],
    digest: str,
    now: datetime,
    note: str = "",
    via: str = Decision.Via.PAGE,
    presence: Presence | None = None,
) -> ActionRequest:
    """Rule on a conflict: every request that is held goes into the order, or is refused.

    Args:
        ref: of the request that carries the case.
        order: refs, in the order in which they go on.
        refuse: refs of those that end.
        digest: of the request that carries the case, as the person saw it.
        note: why; every party's approvers read it.
        presence: the second factor that the actor gave for the request that carries the case,
            if they did. At L4 letting any of them go on takes one, and is reviewed.

    Raises:
        NoSecondFactor, StepUpNeeded: there is none where one is needed.
        AlreadyDecided, TooLate, NotYours: as for a decision.
        NotNow: the request waits for no ruling.
        DigestChanged: another request is held by now, or one is no longer.
        Unprocessable: no reason; or a ref twice, or of no party.
    """
    note = decide.checked_note(note)
    if not note:
        raise Unprocessable(
            f"Say why. Everybody asked about these requests will read it. {NOTHING_STORED}"
        )
    request = lock_request(ref, and_resource=True)
    writes = Writes()
    (carrier,) = climbs([request], writes, actor=actors.person(actor), now=now)
    step = decide.step_of(carrier, actor, now)
    if step.path != Path.CONFLICT or carrier.case is None:
        raise NotNow(f"Nobody asks for a ruling on this step. {NOTHING_STORED}")
    decide.still_may(carrier, actor, deciding=False)
    held = _held(carrier)
    by_ref = {climb.request.ref: climb for climb in (carrier, *held)}
    _check(order, refuse, list(by_ref), digest, request.digest)
    override = bypass.sign(
        carrier, step, actor=actor, presence=presence, note=note, harmless=not order
    )
    decision = Decision(
        step=step,
        request=request,
        person=actor,
        verdict=Verdict.RULE,
        note=note,
        digest=digest,
        details={"order": list(order), "refuse": list(refuse)},
        via=via,
        at=now,
        **override._asdict(),
    )
    carrier.decisions = [*carrier.decisions, decision]
    writes.decisions.append(decision)
    carrier.act.record(
        request, "step.decided", path=step.path, level=step.level, verdict=Verdict.RULE,
        digest=digest, order=list(order), refuse=list(refuse), note=note, via=via,
        bypass=decision.is_bypass, reauthenticated_at=decision.reauthenticated_at,
        digests={each: climb.request.digest for each, climb in by_ref.items()},
    )  # fmt: skip
    carrier.close_step(answered=True)
    carrier.resolve_case(Case.Outcome.RULED)
    carrier.go_back_to_case()
    conflicts.rule(
        list(by_ref.values()),
        order=order, queue_cap=carrier.policy.queue_cap, by=actor.pk, note=note,
    )  # fmt: skip
    for climb in by_ref.values():
        climb.settle()
    writes.save()
    if request.resource_id is not None:
        conflicts.see_to(request.resource_id, now=now, after=carrier.act)
    wake_clock(now)
    return request


def _held(carrier: Climb) -> list[Climb]:
    """Return the other requests that the case holds, locked, oldest first."""
    parties = ConflictParty.objects.filter(case=carrier.case, was_held=True, left_at__isnull=True)
    rows = ActionRequest.objects.filter(
        pk__in=parties.values("request"), state=ActionRequest.State.HELD
    ).exclude(pk=carrier.request.pk)
    locked = rows.select_for_update(no_key=True, of=("self",)).order_by("pk")
    return climbs(list(locked), carrier.writes, now=carrier.now, after=carrier.act)


def _check(
    order: Sequence[str], refuse: Sequence[str], held: Sequence[str], digest: str, own: str
) -> None:
    named = [*order, *refuse]
    if len(set(named)) < len(named):
        raise Unprocessable(f"Name each request once. {NOTHING_STORED}")
    if set(named) != set(held) or digest != own:
        raise DigestChanged(
            "These are not the requests that are held now. Open the conflict again and look before "
            f"you rule. {NOTHING_STORED}",
            held=sorted(held),
        )
