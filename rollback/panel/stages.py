"""The strip: how far it has come, forward or back."""

from __future__ import annotations

from approvals.models import ActionRequest, Decision, Notice, Order
from governance import wording
from governance.vocabulary import Verdict
from rollback.panel.reading import Reading, name_of
from rollback.panel.shapes import Stage

S = ActionRequest.State


def stages(reading: Reading) -> tuple[Stage, ...]:
    """Return the five parts of the strip."""
    if reading.went_back:
        return (
            _approved(reading),
            _executed(reading),
            _ordered(reading),
            _rolling_back(reading),
            _undone(reading),
        )
    return (
        _approved(reading),
        _snapshot(reading),
        _executed(reading),
        _completed(reading),
        _sent_back(reading),
    )


def _approved(reading: Reading) -> Stage:
    last = (
        Decision.objects.filter(request=reading.request, verdict=Verdict.APPROVE)
        .select_related("person")
        .order_by("at", "pk")
        .last()
    )
    when = reading.request.approved_at or (last.at if last else None)
    words = [reading.at(when) if when else "", name_of(last.person) if last else ""]
    return Stage("Approved", ", ".join(filter(None, words)) or "yes", "done")


def _snapshot(reading: Reading) -> Stage:
    if reading.snapshots:
        taken = min(each.taken_at for each in reading.snapshots)
        count = wording.plural(len(reading.snapshots), "record")
        return Stage("Snapshot", f"{reading.at_seconds(taken)}, {count}", "done")
    if reading.in_target or reading.done:
        return Stage("Snapshot", "no record to keep", "done")
    return Stage("Snapshot", "not yet" if reading.request.is_open else "none taken")


def _executed(reading: Reading) -> Stage:
    request, total, done = reading.request, len(reading.forward), len(reading.done)
    if request.state == S.COMPLETED_MANUALLY:
        return Stage("Executed", "finished by hand", "done")
    if not total:
        words = "not begun" if request.is_open else "never begun"
        bad = request.state in (S.TROUBLED, S.BLOCKED) or not request.is_open
        return Stage(
            "Executing", words, "here" if request.state == S.EXECUTING else "bad" if bad else ""
        )
    if done == total:
        return Stage("Executed", f"{done} of {total}", "done")
    if request.state == S.EXECUTING:
        return Stage("Executing", f"{done} of {total}", "here")
    if request.state in (S.TROUBLED, S.BLOCKED) or not request.is_open or reading.went_back:
        return Stage("Executing", f"stopped at {done + 1} of {total}", "bad")
    return Stage("Executing", f"{done} of {total}")


def _completed(reading: Reading) -> Stage:
    request = reading.request
    if request.state in (S.COMPLETED, S.COMPLETED_MANUALLY) and request.ended_at:
        return Stage("Completed", reading.at_seconds(request.ended_at), "done")
    return Stage("Completed", "not yet" if request.is_open else "no")


def _sent_back(reading: Reading) -> Stage:
    name, request = "Status sent back", reading.request
    if not request.callback_url:
        return Stage(name, "the agent asks for it")
    if request.is_open:
        return Stage(name, "not yet")
    told = (
        Notice.objects.filter(request=request, kind=Notice.Kind.STATE, number=request.state_seq)
        .order_by("pk")
        .last()
    )
    if told is None:
        return Stage(name, "not sent", "bad")
    if told.delivered_at is not None:
        return Stage(name, reading.at_seconds(told.delivered_at), "done")
    if told.state == Notice.State.WAITING:
        return Stage(name, "on its way", "here")
    return Stage(name, "not delivered", "bad")


def _ordered(reading: Reading) -> Stage:
    order = (
        Order.objects.filter(request=reading.request, kind=Order.Kind.ROLL_BACK)
        .exclude(outcome__in=(Order.Outcome.LAPSED, Order.Outcome.NOTHING_TO_DO))
        .select_related("ordered_by")
        .order_by("pk")
        .first()
    )
    name = "Undo ordered"
    if order is None or order.ordered_by is None:
        when = f"{reading.at(order.ordered_at)}, " if order is not None else ""
        return Stage(name, f"{when}end of a path", "done")
    when = reading.at(order.confirmed_at or order.ordered_at)
    return Stage(name, f"{when}, {name_of(order.ordered_by)}", "done")


def _rolling_back(reading: Reading) -> Stage:
    total = len(reading.in_target) + len(reading.reversed)
    words = f"{len(reading.reversed)} of {total} undone" if total else "nothing to undo"
    if reading.request.state == S.ROLLED_BACK:
        return Stage("Rolled back", words, "done")
    if reading.request.state == S.STRANDED:
        return Stage("Rolling back", f"stopped, {words}", "bad")
    return Stage("Rolling back", words, "here")


def _undone(reading: Reading) -> Stage:
    request = reading.request
    if request.state == S.ROLLED_BACK and request.ended_at:
        told = _sent_back(reading)
        words = f", agent told {told.words}" if told.kind == "done" else ""
        return Stage("Undone", f"{reading.at_seconds(request.ended_at)}{words}", "done")
    if request.state == S.STRANDED:
        return Stage("Undone", "no: people clean up", "bad")
    return Stage("Undone", "not yet")
