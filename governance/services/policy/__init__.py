"""The only writer of policies: drafts are begun, edited, signed, activated and discarded here.

Every act takes the draft's row lock, names the revision that its author saw, and
leaves one event on the chain `policy` that says what changed.
"""

from __future__ import annotations

from governance.services.policy.activation import (
    Edited,
    HasHoles,
    ListChanged,
    NotSigned,
    Outdated,
    activate,
    matter_of,
    sign,
)
from governance.services.policy.drafts import (
    discard,
    remove_row,
    remove_rule,
    save_cells,
    save_offices,
    save_row,
    save_rows,
    save_rule,
    save_windows,
    start_draft,
    take_matrix,
)
from governance.services.policy.editing import EditedMeanwhile, NotADraft

__all__ = [
    "Edited",
    "EditedMeanwhile",
    "HasHoles",
    "ListChanged",
    "NotADraft",
    "NotSigned",
    "Outdated",
    "activate",
    "discard",
    "matter_of",
    "remove_row",
    "remove_rule",
    "save_cells",
    "save_offices",
    "save_row",
    "save_rows",
    "save_rule",
    "save_windows",
    "sign",
    "start_draft",
    "take_matrix",
]
