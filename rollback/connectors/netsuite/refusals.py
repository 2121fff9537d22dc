"""What NetSuite says when it refuses: {"type", "title", "status", "o:errorDetails": [{"detail", "o:errorCode"}]}."""

from __future__ import annotations

import json
from typing import Any

import httpx2

DETAILS = "o:errorDetails"
CODE = "o:errorCode"
KNOWN_KEY = "IDEMPOTENCY_ERROR"
# Of a record that does not exist, and of nothing else: a type of record that is switched off, or that
# our role does not see, is a 404 as well. Not verified.
MISSING = "NONEXISTENT_ID"
# Of a second record under one external id. Not verified: the documentation of REST names none;
# these are the code of the vendor's other interfaces, and its words.
TWICE = ("DUP_RCRD", "DUP_ENTITY", "DUPLICATE_EXTERNAL_ID", "UNIQUE_CUST_ID_REQD")
TWICE_WORDS = "record already exists"


def details(answer: httpx2.Response) -> list[dict[str, Any]]:
    """Return the details of an error; [] where the answer is no error of NetSuite's own."""
    try:
        found = json.loads(answer.content.decode())
        listed = found[DETAILS]
    except (ValueError, TypeError, LookupError, RecursionError):
        return []
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []


def words(answer: httpx2.Response) -> str:
    """Return why it refused, in its own words, "" where it gives none."""
    said = [str(each["detail"]) for each in details(answer) if each.get("detail")]
    return " ".join(dict.fromkeys(said))


def knows_the_key(answer: httpx2.Response) -> bool:
    """Whether a request was refused because its idempotency key was seen before.

    Looked for in the text too: the documented example of this very answer is no
    valid JSON, for it quotes within a quotation.
    """
    return answer.status_code == 400 and KNOWN_KEY.encode() in answer.content


def says_it_is_there(answer: httpx2.Response) -> bool:
    """Whether a record was refused because there is one under its external id. Not verified."""
    return 400 <= answer.status_code < 500 and any(
        str(each.get(CODE, "")) in TWICE or TWICE_WORDS in str(each.get("detail", "")).lower()
        for each in details(answer)
    )


def says_it_is_not_there(answer: httpx2.Response) -> bool:
    """Whether a 404 is NetSuite's own word that there is no such record, and no gateway's. Not verified."""
    return any(each.get(CODE) == MISSING for each in details(answer))
