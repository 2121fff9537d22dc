"""What the worker's check has found in the versions in use, and since when: rows, nothing is checked here."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from governance import clock
from governance.models import Heartbeat, PolicyFinding
from governance.policy_watch import SIGN, Weight, standing_holes

SHOWN = 50  # of each
LATE = timedelta(minutes=10)  # it looks each minute, and may take some


def standing(*, now: datetime) -> dict[str, Any]:
    """Return what stands, for the list of versions: holes of every version in use, warnings of the active one."""
    last = Heartbeat.objects.filter(name=SIGN).values_list("beat_at", flat=True).first()
    warnings = PolicyFinding.objects.filter(
        weight=Weight.WARNING, gone_at__isnull=True, version__state="active"
    ).select_related("version")
    holes = standing_holes()
    return {
        "holes": list(holes[:SHOWN]),
        "hole_count": holes.count(),
        "warnings": list(warnings.order_by("key")[:SHOWN]),
        "warning_count": warnings.count(),
        "looked_at": last,
        "is_late": last is not None and now - last > clock.technical(LATE.total_seconds()),
    }
