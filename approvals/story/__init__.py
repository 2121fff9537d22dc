"""Says what a request is about, who was asked, and what comes next. Pure: a packet in, words out.

Everything an agent wrote goes through `wording.plain` here, so that templates
only escape it. Rungs that lie ahead are routed by the same functions that will
route them, over the people as they are now.
"""

from __future__ import annotations

from approvals.services.decide import DID
from approvals.story.lists import (
    became,
    passed_words,
    sub_line,
    waits_for,
    where_due_comes_from,
)
from approvals.story.page import short, tell
from approvals.story.payload import REASON_LENGTH, said, title_of
from approvals.story.shapes import Story
from approvals.story.states import state_pill

__all__ = [
    "DID",
    "REASON_LENGTH",
    "Story",
    "became",
    "passed_words",
    "said",
    "short",
    "state_pill",
    "sub_line",
    "tell",
    "title_of",
    "waits_for",
    "where_due_comes_from",
]
