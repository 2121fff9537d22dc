"""Runs the audits of every package, and keeps a row and an alert for each finding that stands.

A finding stands until its audit looked and it was gone.
"""

from __future__ import annotations

import logging
from datetime import datetime

import httpx2
from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils.module_loading import import_string

from approvals.models import ActionRequest, Finding
from approvals.services.alerts import close_alert, raise_alert
from governance import calls, clock, wording
from governance.audits import SHOWN, SIGN, WHOLE, Found, Look
from governance.daemons import DatabaseGone, connected
from governance.ledger import Act
from governance.models import Heartbeat
from governance.signs import beat
from governance.vocabulary import Chain

log = logging.getLogger("recourse")

EVERY_S = 60.0  # real seconds between two rounds
NEVER_S = 24 * 60 * 60.0  # real seconds; as long ago as no round counts for anything
ITSELF = "failed"  # key of the finding of an audit that could not be run


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

    Each audit is its own: one that fails is a finding, and the others go on. Safe
    to run again, and from any number of processes at once; each audit's findings
    are written in a transaction of their own.

    Args:
        outside: with those that call targets. Only that counts as a look at everything.

    Raises:
        DatabaseGone: nothing more can be looked at.
        Exception: of an audit that not even that it failed could be written of. The others were run;
            the round has not come to its end.
    """
    standing_of: dict[str, set[str]] = {}
    for audit, key in _standing().values_list("audit", "key"):
        standing_of.setdefault(audit, set()).add(key)
    unwritten = None
    for name, look in all_audits(outside=outside).items():
        try:
            with connected():
                _look_and_tell(name, look, standing_of.get(name, set()), now)
        except DatabaseGone:
            raise  # which is no audit's fault
        except Exception as problem:
            log.exception("audit: %s could not tell that it failed", name)
            unwritten = problem
    if unwritten is not None:
        raise unwritten
    still = list(_standing().order_by("pk"))
    beat(SIGN, now=now, findings=len(still))
    if outside:
        beat(WHOLE, now=now, findings=len(still))
    return still


def _look_and_tell(name: str, look: Look, standing: set[str], now: datetime) -> None:
    """Bring what stands of one audit up to date. Whatever fails in that, to look or to write, is a finding."""
    try:
        with connected():
            found, whole = _look(look, standing - {ITSELF}, now)
            # Nearly every round finds nothing, and clears nothing: it writes nothing.
            if found or standing:
                _bring_up_to_date(name, found, now, whole=whole)
    except DatabaseGone:
        raise
    except Exception as problem:  # noqa: BLE001 - whatever it is, it ends in a finding
        said = f"The audit {name} itself failed: {wording.defect(problem)}"
        _bring_up_to_date(name, [Found(ITSELF, said)], now, whole=False)


def _look(look: Look, standing: set[str], now: datetime) -> tuple[list[Found], bool]:
    """Return what is found, and whether whatever is not among it is gone."""
    found = list(look(now))
    if len(found) < SHOWN and look.again is None:
        return found, True
    left = standing - {each.key for each in found}
    if look.again is None:
        return found, False  # it shows no more than so many, and what stands may be among the rest
    # It looks at the last ones, and what it found before may have left them without being mended.
    return found + (list(look.again(left, now)) if left else []), True


@transaction.atomic
def _bring_up_to_date(audit: str, found: list[Found], now: datetime, *, whole: bool) -> None:
    """Open what was found, and clear what was not, unless that may be there all the same.

    Of several rounds at once one writes at a time, and the last look has the last word.
    """
    _wait_for_other_rounds(now)
    standing = {finding.key: finding for finding in _standing().filter(audit=audit)}
    later = Finding.objects.filter(Q(found_at__gt=now) | Q(cleared_at__gt=now), audit=audit)
    decided = set(later.values_list("key", flat=True))
    here = {each.key: each for each in found}
    opened = [each for key, each in here.items() if key not in standing and key not in decided]
    about = {each.request for each in opened if each.request}
    refs = dict(ActionRequest.objects.filter(pk__in=about).values_list("pk", "ref"))
    act = Act(now=now, actor="audit")
    for each in opened:
        alert = raise_alert(kind=f"audit.{audit}", key=each.key, text=each.text, now=now)
        Finding.objects.create(
            audit=audit,
            key=each.key,
            text=each.text[:500],
            request_id=each.request,
            alert=alert,
            found_at=now,
        )
        act.record_named(
            Chain.SYSTEM, "finding.opened", audit=audit, key=each.key, text=each.text[:300],
            request=refs.get(each.request or 0, ""),
        )  # fmt: skip
    for key, finding in standing.items():
        # An audit that came to its end does not fail any more, whatever else it left out.
        came_to_its_end = key == ITSELF and ITSELF not in here
        if key not in here and key not in decided and (whole or came_to_its_end):
            finding.cleared_at = now
            finding.save(update_fields=["cleared_at"])
            close_alert(kind=f"audit.{audit}", key=key, now=now)
            act.record_named(Chain.SYSTEM, "finding.cleared", audit=audit, key=key)
    act.write()


def _wait_for_other_rounds(now: datetime) -> None:
    """Lock the one row that every round writes under, until the transaction ends."""
    long_ago = now - clock.technical(NEVER_S)  # no round has come to its end yet
    Heartbeat.objects.get_or_create(name=SIGN, defaults={"beat_at": long_ago})
    Heartbeat.objects.select_for_update(no_key=True).get(name=SIGN)


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
        sign=SIGN,
        every=clock.technical(EVERY_S),
        here=lambda now: run(now=now, outside=False),
        now=now,
    )
