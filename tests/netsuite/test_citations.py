"""No sentence of the contract without a test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.netsuite.contract import SENTENCES, cites

HERE = Path(__file__).parent


def cited(*names):
    """Return the numbers that tests of these files cite."""
    found = set()
    for path in HERE.glob("test_*.py"):
        if not names or path.name in names:
            for arguments in re.findall(r"^@cites\(([^)]*)\)", path.read_text(), re.MULTILINE):
                found |= set(re.findall(r'"(\w+)"', arguments))
    return found


def test_every_sentence_is_held_by_the_double():
    assert cited("test_double.py") == set(SENTENCES)


def test_every_sentence_is_met_by_the_connector():
    assert cited("test_connector.py", "test_tokens.py", "test_full_run.py") == set(SENTENCES)


def test_a_sentence_that_does_not_exist_cannot_be_cited():
    with pytest.raises(LookupError):
        cites("N99")
