"""What tests of drills share: kinds of action, and a house in which rehearsals end as a test says."""

from __future__ import annotations

from governance.catalogue import CATALOGUE
from governance.models import ActionType
from rollback.rehearsal.play import PASSED
from rollback.services import drill as drills
from tests.factories import MONDAY_9AM

KINDS = {each["key"]: each for each in CATALOGUE}
UNITS = {"sales_order": 5, "customer_update": 4}


def in_production(key="vendor_payment", **over):
    """An action type of the demo, in production, never rehearsed."""
    kind = ActionType(**{**KINDS[key], **over}, created_at=MONDAY_9AM)
    kind.pass_tests()
    kind.promote()
    kind.save()
    return kind


def entry(point, outcome=PASSED, **more):
    """The evidence of one point, as short as it may be."""
    return {
        **point._asdict(), "outcome": outcome, "said": "", "pattern": "compensate", "document": None,
        "key": "", "ended": "rolled_back", "units": [], "calls": [], "records": [], "differences": [],
        "recovery": {}, **more,
    }  # fmt: skip


class PlayHouse:
    """Plays nothing. Each rehearsal ends as it was told to, or well."""

    def __init__(self, **outcomes):
        self.outcomes = outcomes  # by point's place: "differs", or a whole entry
        self.played = []
        self.meanwhile = None

    def rehearse(self, definition, point, *, target, sandbox, now):
        self.played.append(point)
        if self.meanwhile is not None:
            self.meanwhile()
        said = self.outcomes.get(f"{point.at}_{point.unit}", PASSED)
        if isinstance(said, Exception):
            raise said
        return said if isinstance(said, dict) else entry(point, said, said="As it was told.")


def asked(kind, timeline, **more):
    return drills.ask(action_type=kind.pk, now=timeline.now, technical=real, **more)


def taken(timeline, **more):
    return drills.take(now=timeline.now, technical=real, **more)


def real(seconds):
    """Seconds are seconds."""
    from datetime import timedelta

    return timedelta(seconds=seconds)
