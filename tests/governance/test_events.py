"""The grammar of the record: one list, and what the source records is on it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from governance.events import KINDS, Event, by_subject, sentence_of
from governance.ledger import Act
from governance.vocabulary import Chain
from tests.factories import MONDAY_9AM, RequestFactory
from tests.recorded import Recorded, Source, Unreadable
from tools import grammar


@pytest.fixture(scope="module")
def recorded():
    return list(Source.of_the_product().recorded())


def test_every_kind_that_the_source_records_is_in_the_grammar(recorded):
    unknown = sorted({f"{each.kind} ({each.where})" for each in recorded} - _known(recorded))

    assert unknown == [], "add a line to governance/events.py, and run python -m tools.grammar"


def _known(recorded):
    return {f"{each.kind} ({each.where})" for each in recorded if each.kind in KINDS}


def test_every_kind_of_the_grammar_is_recorded_somewhere(recorded):
    assert sorted(KINDS - {each.kind for each in recorded}) == []


def test_a_kind_is_a_subject_and_a_verb():
    assert [kind for kind in KINDS if not re.fullmatch(r"[a-z_]+\.[a-z_]+", kind)] == []


@pytest.mark.parametrize("event", Event, ids=str)
def test_a_kind_says_one_sentence(event):
    assert re.fullmatch(r"[A-Z][^!]+\.", event.label), event.label
    assert len(event.label) <= 100
    assert event.name == event.value.replace(".", "_").upper()


def test_kinds_are_grouped_by_what_they_are_about_and_none_is_lost():
    groups = by_subject()

    assert len({name for name, _ in groups}) == len(groups)
    assert {kind for _, kinds in groups for kind, _ in kinds} == KINDS
    assert dict(groups)["step"][0] == ("step.opened", Event.STEP_OPENED.label)


def test_the_page_of_the_ledger_is_as_the_grammar_is():
    assert grammar.FILE.read_text() == grammar.render(), "run: python -m tools.grammar"


def test_the_ledger_takes_no_kind_that_the_grammar_lacks():
    act = Act(now=MONDAY_9AM, actor="clock")

    with pytest.raises(ValueError, match=r"'step\.lost' is no kind of event"):
        act.record(RequestFactory.build(), "step.lost")
    with pytest.raises(ValueError, match=r"'policy\.lost' is no kind of event"):
        act.record_named(Chain.POLICY, "policy.lost")


def test_a_kind_that_nobody_knows_says_so():
    assert sentence_of("step.lost") == "No such kind of event is known here."
    assert sentence_of("step.expired") == Event.STEP_EXPIRED.label


def _read(**files):
    return {
        each.kind
        for each in Source(
            {Path("house", f"{name}.py"): text for name, text in files.items()}
        ).recorded()
    }


def test_the_reading_follows_tables_choices_and_parameters():
    assert _read(
        one="""
from house import two
ENDS = {1: "a.one", 2: "a.two"}
def end(act, row, well):
    act.record(row, ENDS[row.n])
    kind = "b.well" if well else "b.ill"
    act.record(row, kind)
    two.tell("c.told", row)
    _own(row, kind="d.own")
def _own(row, kind):
    act.record_named(row, kind)
""",
        two="""
def tell(event, row):
    act.record(row, event)
""",
    ) == {"a.one", "a.two", "b.well", "b.ill", "c.told", "d.own"}


def test_the_reading_gives_up_on_what_it_cannot_tell():
    with pytest.raises(Unreadable, match=r"house/one\.py:2"):
        _read(one="\nact.record(row, f'a.{state}')")


def test_the_reading_says_where():
    source = Source({Path("house/one.py"): "\n\nact.record(row, 'a.b')"})

    assert list(source.recorded()) == [Recorded("a.b", "house/one.py:3")]
