"""By which rules: the version of the policy and of the action type that held at the time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from governance.definitions import as_recorded, document_of
from governance.definitions.shape import WORDS
from governance.drafting import names as naming
from governance.drafting.book import book_of
from governance.evidence.page import shown
from governance.evidence.parts import Event, Part, Section
from governance.models import ActionType, AuditEvent, PolicyVersion
from governance.vocabulary import Chain

PARTS = {
    "rows": "Matrix",
    "windows": "Windows",
    "cells": "Decision tree",
    "offices": "Offices",
    "rules": "Rules",
}  # of PARTS of the book
CELL = 600  # characters
# Of a definition they say how to call the target, which is no matter of this request.
NOT_ON_PAGE = ("schema", "example", "connector_config")


def policy_part(version: PolicyVersion, row: int) -> Part:
    """Return a version of the policy, whole.

    Args:
        row: number of the row of its matrix that routed the request.
    """
    events = AuditEvent.objects.filter(
        chain=Chain.POLICY, kind="policy.activated", facts__number=version.number
    )
    event = events.order_by("seq").first()
    content = book_of(version, naming.load()).document()
    return Part(
        file="policy.json",
        content={
            "number": version.number,
            "matrix_row": row,
            "content": content,
            "written": "canonical",
            "event": _place(event),
        },
        sections=[
            Section(
                f"Policy version {version.number}: {words}",
                f"Row {row} routed the request." if part == "rows" else "",
                ("Line", "What it says"),
                [(line, _fields(fields)) for line, fields in content[part].items()],
                is_background=True,
            )
            for part, words in PARTS.items()
        ],
        events=_events(event),
    )


def action_part(action: ActionType) -> Part:
    """Return a version of an action type, whole."""
    events = AuditEvent.objects.filter(
        chain=Chain.ACTIONS,
        kind="action_type.entered",
        facts__action=action.key,
        facts__version=action.version,
    )
    event = events.order_by("seq").first()
    document = document_of(action)
    rows = [
        (WORDS[name], shown(value, CELL))
        for name, value in document.items()
        if name not in NOT_ON_PAGE and value not in ("", [], {}, None)
    ]
    return Part(
        file="action.json",
        content={
            "action": action.key,
            "version": action.version,
            "definition": as_recorded(document),
            "written": "sorted",
            "event": _place(event),
        },
        sections=[
            Section(
                f"Action type {action.key}, version {action.version}",
                "The whole definition, with its schema and how the target is called, is in action.json.",
                ("Field", "What it says"),
                rows,
                is_background=True,
            )
        ],
        events=_events(event),
    )


def _fields(fields: Mapping[str, str]) -> str:
    return shown("; ".join(f"{name}: {value}" for name, value in fields.items() if value), CELL)


def _place(event: AuditEvent | None) -> list[Any] | None:
    return None if event is None else [event.chain, event.seq]


def _events(event: AuditEvent | None) -> tuple[Event, ...]:
    return () if event is None else (Event(event.chain, event.seq),)
