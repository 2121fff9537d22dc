"""Runs the audits of every package, and keeps a row and an alert for each finding that stands.

A finding stands until its audit no longer finds it.
"""

from __future__ import annotations

from datetime import datetime

import httpx2
from django.conf import settings
from django.db import InterfaceError, OperationalError, transaction
from django.db.models import QuerySet
from django.utils.module_loading import import_string

from approvals.models import ActionRequest, Finding
from approvals.services.alerts import close_alert, raise_alert
from governance import calls, clock, wording
from governance.audits import Found, Look
from governance.ledger import Act
from governance.signs import beat
from governance.vocabulary import Chain

EVERY_S = 60.0  # real seconds between two rounds


def all_audits(*, outside: bool = True) -> dict[str, Look]:
    """Return by name the audits of every package, which settings.RECOURSE_AUDITS lists.

    Args:
        outside: with those that call targets.
    """
    found: dict[str, Look] = {}
    for name in settings.RECOURSE_AUDITS + (settings.RECOURSE_AUDITS_OUTSIDE if outside else []):
        found.update(import_string(name))
    return found


def run(*, now: datetime, outside: bool = True) -> list[Finding]:
    """Run every audit, bring the findings up to date, and return those that stand.

    An audit that itself fails is a finding, and the others go on. Safe to run
    again; each audit's findings are written in a transaction of their own.

    Args:
        outside: with those that call targets.
    """
    standing_of = set(_standing().values_list("audit", flat=True))
    for name, look in all_audits(outside=outside).items():
        whole = True
        try:
            found = list(look(now))
        except (OperationalError, InterfaceError):
            raise  # the database is away, which is no audit's fault
        except Exception as problem:  # noqa: BLE001 - whatever it is, it ends in a finding
            said = f"The audit {name} itself failed: {wording.defect(problem)}"
            found, whole = [Found("failed", said)], False
        # Nearly every round finds nothing, and clears nothing: it writes nothing.
        if found or name in standing_of:
            _bring_up_to_date(name, found, now, whole=whole)
    standing = list(_standing().order_by("pk"))
    beat("audit", now=now, findings=len(standing))
    return standing


@transaction.atomic
def _bring_up_to_date(audit: str, found: list[Found], now: datetime, *, whole: bool) -> None:
    """Open what was found, and clear what was not, unless the audit did not come to its end."""
    standing = {
        finding.key: finding for finding in _standing().select_for_update().filter(audit=audit)
    }
    keys = {each.key for each in found}
    about = {each.request for each in found if each.request and each.key not in standing}
    refs = dict(ActionRequest.objects.filter(pk__in=about).values_list("pk", "ref"))
    act = Act(now=now, actor="audit")
    for each in found:
        if each.key in standing:
            continue
        alert = raise_alert(kind=f"audit.{audit}", key=each.key, text=each.text, now=now)
        finding = Finding(
            audit=audit,
            key=each.key,
            text=each.text[:500],
            request_id=each.request,
            alert=alert,
            found_at=now,
        )
        Finding.objects.bulk_create([finding], ignore_conflicts=True)  # another round may be first
        act.record_named(
            Chain.SYSTEM, "finding.opened", audit=audit, key=each.key, text=each.text[:300],
            request=refs.get(each.request or 0, ""),
        )  # fmt: skip
    for key, finding in standing.items():
        if whole and key not in keys:
            finding.cleared_at = now
            finding.save(update_fields=["cleared_at"])
            close_alert(kind=f"audit.{audit}", key=key, now=now)
            act.record_named(Chain.SYSTEM, "finding.cleared", audit=audit, key=key)
    act.write()


def _standing() -> QuerySet[Finding]:
    return Finding.objects.filter(cleared_at__isnull=True)


class HeartbeatNotTaken(Exception):
    """Whoever listens at HEARTBEAT_URL did not take it. Never with the address: whoever knows it can beat."""


def tell_outside(standing: list[Finding]) -> None:
    """Send the heartbeat to HEARTBEAT_URL, only when nothing was found: silence itself is noticed outside.

    Raises HeartbeatNotTaken if the outside does not take it; the task that calls this then fails visibly.
    """
    if not settings.HEARTBEAT_URL or standing:
        return
    try:
        httpx2.get(settings.HEARTBEAT_URL, timeout=5).raise_for_status()
    except httpx2.HTTPStatusError as problem:
        raise HeartbeatNotTaken(f"answered {problem.response.status_code}") from None
    except httpx2.HTTPError as problem:
        raise HeartbeatNotTaken(type(problem).__name__) from None


def call_for_audit(*, now: datetime) -> int:
    """Have the worker audit each minute; if no audit came back for three, audit here.

    A sweep. Returns 1 if one was asked for or run, else 0.
    """
    return calls.delegate(
        "approvals.tasks.audit",
        sign="audit",
        every=clock.technical(EVERY_S),
        here=lambda now: run(now=now, outside=False),
        now=now,
    )
