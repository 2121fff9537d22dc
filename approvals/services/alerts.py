"""What an operator must see. One alert stands open for each matter, however often it happens."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from approvals.models import ActionRequest, Alert
from governance import actors, wording
from governance.errors import NotFound, NotYours
from governance.ledger import Act
from governance.models import Person
from governance.vocabulary import Chain, Duty

TEXT_LENGTH = 500
KEY_LENGTH = 200


@transaction.atomic
def raise_alert(
    *, kind: str, key: str, text: str, now: datetime, request: ActionRequest | None = None
) -> Alert:
    """Raise an alert, or return the one that already stands for this (kind, key). Safe from any number of callers."""
    key, text = key[:KEY_LENGTH], wording.plain(text, TEXT_LENGTH)
    while True:
        alert = Alert(kind=kind, key=key, text=text, request=request, raised_at=now)
        Alert.objects.bulk_create([alert], ignore_conflicts=True)
        standing = Alert.objects.filter(kind=kind, key=key, closed_at__isnull=True).first()
        if standing is not None:
            return standing
        # The one that stood was closed between the two statements: raise it anew.


@transaction.atomic
def sound(
    *, by: str, kind: str, key: str, text: str, now: datetime, request: ActionRequest | None = None
) -> Alert:
    """Raise an alert that is an act of its own: on record, where no other event of the same act says it.

    On the system's chain, also of a request: its own chain may be what is broken. It is
    locked here, so the caller locks nothing after.
    """
    act = Act(now=now, actor=by)
    alert = raise_in(act, kind=kind, key=key, text=text, request=request)
    act.write()
    return alert


def raise_in(
    act: Act, *, kind: str, key: str, text: str, request: ActionRequest | None = None
) -> Alert:
    """Raise an alert as part of an act, which says so only if none stood for this matter."""
    alert = raise_alert(kind=kind, key=key, text=text, now=act.now, request=request)
    if alert.raised_at == act.now:
        ref = {"request": request.ref} if request is not None else {}
        act.record_named(Chain.SYSTEM, "alert.raised", alert=kind, matter=alert.key, **ref)
    return alert


def close_in(act: Act, *, kind: str, key: str) -> int:
    """Close the alert that stands for a matter as part of an act, which says so if one stood."""
    closed = close_alert(kind=kind, key=key, now=act.now)
    if closed:
        act.record_named(Chain.SYSTEM, "alert.closed", alert=kind, matter=key)
    return closed


def close_alert(*, kind: str, key: str, now: datetime) -> int:
    """Close the alert that stands for this matter, if one does: it works again."""
    standing = Alert.objects.filter(kind=kind, key=key[:KEY_LENGTH], closed_at__isnull=True)
    return standing.update(closed_at=now)


@transaction.atomic
def acknowledge(*, alert: int, actor: Person, now: datetime) -> Alert:
    """Keep that somebody looks after an alert.

    One that closes by itself, when what it is about works again, stands until
    then. One that tells of something past is closed: it has been seen, and if
    it happens again that is another alert. Idempotent: the first who says so is
    kept.

    Args:
        alert: primary key.

    Raises:
        NotYours: the actor is no operator.
        NotFound: there is no such alert.
    """
    if not (actor.is_superuser or actor.has_duty(Duty.OPERATOR)):
        raise NotYours("Operators look after alerts. Nothing was changed.")
    found = Alert.objects.select_for_update(no_key=True, of=("self",)).filter(pk=alert).first()
    if found is None:
        raise NotFound("There is no such alert.")
    if found.acknowledged_at is not None or found.closed_at is not None:
        return found
    found.acknowledged_by, found.acknowledged_at = actor, now
    if not _closes_by_itself(found):
        found.closed_at = now
    found.save(update_fields=["acknowledged_by", "acknowledged_at", "closed_at"])
    act = Act(now=now, actor=actors.person(actor))
    act.record_named(Chain.SYSTEM, "alert.acknowledged", alert=found.kind, key=found.key)
    act.write()
    return found


def expired(request: ActionRequest, *, now: datetime) -> Alert:
    """An alert, not yet stored: nobody decided in time."""
    text = f"{request.ref} expired: nobody decided. {request.title}"
    return _of(request, "request.expired", text, now)


def bypass_expired(request: ActionRequest, *, now: datetime) -> Alert:
    """An alert, not yet stored, that compliance is told of too: a critical process, and not even L4 answered."""
    became = "its undoing began" if request.is_open else "it ended"
    text = (
        f"{request.ref} is of a critical process, and {became}: nobody answered, at L4 neither. "
        f"{request.title}"
    )
    return _of(request, "bypass.expired", text, now)


def no_reviewer(request: ActionRequest, *, now: datetime) -> Alert:
    """An alert, not yet stored, that compliance is told of too: nobody named as a reviewer is independent."""
    text = (
        f"A review of {request.ref} is open, and no reviewer is independent of it. {request.title}"
    )
    return _of(request, "review.nobody", text, now)


def review_overdue(request: ActionRequest, times: int, *, now: datetime) -> Alert:
    """An alert, not yet stored, that compliance is told of too: nobody recorded a finding in time."""
    often = "" if times == 1 else f" {wording.plural(times, 'time', 'times')}"
    text = f"A review of {request.ref} is overdue{often}. It stays open. {request.title}"
    return _of(request, "review.overdue", text, now)


def rejected(request: ActionRequest, *, now: datetime) -> Alert:
    """An alert, not yet stored: somebody said no, and nobody who was asked next decided."""
    text = f"{request.ref} ended rejected: after the first no nobody decided. {request.title}"
    return _of(request, "request.rejected", text, now)


def denied(request: ActionRequest, *, now: datetime) -> Alert:
    """An alert, not yet stored: it broke a rule, and nobody of compliance ruled on it."""
    text = f"{request.ref} broke a rule, and compliance did not rule on it in time. {request.title}"
    return _of(request, "violation.denied", text, now)


def unread(request: ActionRequest, said: str, *, now: datetime) -> Alert:
    """An alert, not yet stored: its target could not be read after submission."""
    text = (
        f"The target of {request.ref} could not be read: {said} It is read again before anything "
        f"is done. {request.title}"
    )
    return _of(request, "facts.unread", text, now)


def lapsed(request: ActionRequest, *, now: datetime) -> Alert:
    """An alert, not yet stored: it was approved with a person present, and did not begin in time."""
    text = f"{request.ref} was approved and not begun in time, so it ended. {request.title}"
    return _of(request, "request.lapsed", text, now)


def failed(request: ActionRequest, *, now: datetime) -> Alert:
    """An alert, not yet stored: the target never took it, and nothing was done."""
    text = f"{request.ref} could not be carried out, so it ended. Nothing was done. {request.title}"
    return _of(request, "execution.failed", text, now)


def queued_in_vain(request: ActionRequest, *, now: datetime) -> Alert:
    """An alert, not yet stored: those before it in the queue for a record were not done in time."""
    text = f"{request.ref} waited for its record in vain, so it ended. {request.title}"
    return _of(request, "conflict.queued_in_vain", text, now)


def basis_changed(request: ActionRequest, *, now: datetime) -> Alert:
    """An alert, not yet stored: its record may have changed after people said yes to it."""
    text = (
        f"{request.ref} was held after its approval, and its record is not known to be as it was, "
        f"so it ended. {request.title}"
    )
    return _of(request, "conflict.basis_changed", text, now)


def undone(request: ActionRequest, *, now: datetime) -> Alert:
    """An alert, not yet stored: the target failed midway, and what was done is undone."""
    text = f"{request.ref} could not be finished. What was done is undone. {request.title}"
    return _of(request, "execution.undone", text, now)


def stranded(request: ActionRequest, *, now: datetime) -> Alert:
    """An alert, not yet stored: half done, and somebody has to clean up by hand."""
    text = f"{request.ref} is half done and could not be undone. Clean up by hand. {request.title}"
    return _of(request, "request.stranded", text, now)


def unreachable(request: ActionRequest, name: str, *, now: datetime) -> Alert:
    """An alert, not yet stored: somebody is asked in the inbox alone."""
    text = (
        f"{name} was asked about {request.ref} in the inbox alone: no other channel reaches them."
    )
    alert = _of(request, "ask.unreachable", text, now)
    alert.key = f"{request.ref} {name}"
    return alert


def _closes_by_itself(alert: Alert) -> bool:
    """Whether something calls `close_alert` for it when all is well again."""
    whole_sweep = alert.kind == "sweep.failed" and alert.request_id is None
    own = alert.kind in (
        "channel-down", "review.overdue", "policy.hole", "drill.failed", "drill.overdue",
        "clock.silent", "worker.silent",
    )  # fmt: skip
    return whole_sweep or own or alert.kind.startswith("audit.")


def _of(request: ActionRequest, kind: str, text: str, now: datetime) -> Alert:
    return Alert(
        kind=kind,
        key=request.ref,
        text=wording.plain(text, TEXT_LENGTH),
        request=request,
        raised_at=now,
    )
