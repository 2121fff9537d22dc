"""What an agent wrote, made safe to show: the title, the facts, the reason, where it came from."""

from __future__ import annotations

import json
import re
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from approvals.models import ActionRequest
from approvals.story.shapes import Fact
from approvals.templating import at_pointer
from governance import wording

TITLE_LENGTH = 300
LABEL_LENGTH = 60
VALUE_LENGTH = 600
REASON_LENGTH = 4000
FACTS_SHOWN = 24
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def title_of(request: ActionRequest) -> str:
    """Return the title, safe to stand on one line."""
    return wording.plain(request.title, TITLE_LENGTH) or request.ref


def facts_of(request: ActionRequest) -> tuple[Fact, ...]:
    """Return what the action type wants shown of the payload, in its order."""
    found = []
    for shown in request.action_type.shown_facts[:FACTS_SHOWN]:
        label = wording.plain(str(shown.get("label", "")), LABEL_LENGTH)
        pointer = str(shown.get("pointer", ""))
        value = said(at_pointer(request.payload, pointer))
        if value or not _is_optional(request, pointer):
            found.append(Fact(label, value or f"Missing: {label.lower()}", missing=not value))
    return tuple(found)


def _is_optional(request: ActionRequest, pointer: str) -> bool:
    """Whether the schema lets a payload leave this out, so that nothing is missing where it does."""
    name = pointer.lstrip("/").partition("/")[0]
    schema = request.action_type.schema
    return name in schema.get("properties", {}) and name not in schema.get("required", [])


def said(value: Any) -> str:
    """Say a value of a payload on one line; nothing for what is not there."""
    match value:
        case None | "" | []:
            return ""
        case dict() if not value:
            return ""
        case bool():
            return "Yes" if value else "No"
        case str():
            return wording.plain(_as_date(value), VALUE_LENGTH)
        case int():
            return f"{value:,}"
        case list() if all(isinstance(each, str | int) for each in value):
            return wording.plain(", ".join(map(str, value)), VALUE_LENGTH)
        case {"value": str(amount), "currency": str(currency)} if len(value) == 2:
            return _as_money(amount, currency)
    return wording.plain(json.dumps(value, ensure_ascii=False, sort_keys=True), VALUE_LENGTH)


def _as_date(text: str) -> str:
    if not _DATE.fullmatch(text):
        return text
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return text
    return f"{day.day}{wording.NBSP}{day:%b %Y}"


def _as_money(amount: str, currency: str) -> str:
    plain = wording.plain(currency, 12)
    try:
        number = Decimal(amount)
    except InvalidOperation:
        number = Decimal("NaN")
    if number.is_finite() and abs(number) < Decimal(10) ** 20:
        return wording.money(number, plain)
    return wording.plain(f"{plain} {amount}", VALUE_LENGTH)


def paragraphs(text: str) -> tuple[str, ...]:
    """Split what an agent wrote into safe lines."""
    lines = [wording.plain(line, REASON_LENGTH) for line in text[: REASON_LENGTH * 2].splitlines()]
    return tuple(line for line in lines if line)


def safe_url(url: str) -> str:
    """Return the address if a browser may follow it, else nothing."""
    return url if url.startswith(("https://", "http://")) else ""


def source_words(request: ActionRequest) -> str:
    """Say what a link to where the agent ran is called."""
    run = wording.plain(request.source_run_id, 60)
    return (
        f"Agent run {run}"
        if run
        else ("Where the agent ran" if safe_url(request.source_url) else "")
    )
