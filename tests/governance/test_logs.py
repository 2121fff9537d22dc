from __future__ import annotations

import logging

import pytest

from governance.logs import OneLine


def line(message: str, *args: object, exc_info: object = None) -> str:
    record = logging.LogRecord("recourse", logging.WARNING, "x.py", 1, message, args, exc_info)
    return OneLine("%(levelname)s %(message)s").format(record)


@pytest.mark.parametrize(
    "end", ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"]
)
def test_what_an_agent_sends_cannot_begin_a_line(end):
    forged = f"INV-1{end}INFO decision by the controller"

    said = line("refused %s", forged)

    assert len(said.splitlines()) == 1
    assert "INFO decision" in said


@pytest.mark.parametrize("control", ["\x00", "\x1b[2J", "\x7f", "\x9b2J", "\u202e", "\u2066"])
def test_what_an_agent_sends_cannot_steer_a_terminal(control):
    assert control[0] not in line("refused %s", control)


def test_escapes_can_be_read_back():
    assert line("%s", "a\r\nb\x1bc\u2028d") == r"WARNING a\r\nb\x1bc\u2028d"


def test_other_words_are_left_alone():
    assert line("paid %s", "Müller & Søn, 12 000 €") == "WARNING paid Müller & Søn, 12 000 €"


def test_a_traceback_stays_on_the_line():
    try:
        raise ValueError("first\nsecond")
    except ValueError as error:
        said = line("failed", exc_info=(type(error), error, error.__traceback__))

    assert len(said.splitlines()) == 1
    assert r"first\nsecond" in said
