"""The only writer of the catalogue: versions are entered, moved on by two people, and set aside here.

Every act leaves its events on the chain `actions`.
"""

from __future__ import annotations

from governance.services.actions.lifecycle import (
    Gates,
    NotReady,
    ask_for_change,
    confirm_change,
    is_second,
    lapse_change,
    matter_of,
    page_of,
    refuse_change,
    set_aside,
    withdraw_change,
)
from governance.services.actions.standing import is_administrator
from governance.services.actions.versions import NothingNew, enter_version

__all__ = [
    "Gates",
    "NotReady",
    "NothingNew",
    "ask_for_change",
    "confirm_change",
    "enter_version",
    "is_administrator",
    "is_second",
    "lapse_change",
    "matter_of",
    "page_of",
    "refuse_change",
    "set_aside",
    "withdraw_change",
]
