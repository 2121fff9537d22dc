from __future__ import annotations

import pytest

from governance import decision_tree
from governance.decision_tree import ENTERS_AT, respond
from governance.models import DecisionCell
from governance.vocabulary import ExceptionType, Impact, Level, Response, RuleSource, Severity

# Written out by hand from the runbook's decision tree (R) and our own answers where it is silent
# (O). Nothing here is computed: a rule that changes must be changed in both places, on purpose.
CELLS = """
    timeout           low     low     ask_again_extended  R  L1
    timeout           low     medium  ask_again           O  L1
    timeout           low     high    delegate            R  L2
    timeout           medium  low     ask_again           O  L1
    timeout           medium  medium  delegate            O  L2
    timeout           medium  high    delegate            R  L2
    timeout           high    low     delegate            O  L2
    timeout           high    medium  delegate            O  L2
    timeout           high    high    delegate            R  L2
    rejection         low     low     alternate           R  L2
    rejection         low     medium  alternate           R  L2
    rejection         low     high    alternate           R  L2
    rejection         medium  low     alternate           O  L2
    rejection         medium  medium  alternate           O  L2
    rejection         medium  high    department_head     O  L3
    rejection         high    low     department_head     R  L3
    rejection         high    medium  department_head     R  L3
    rejection         high    high    department_head     R  L3
    conflict          low     low     hold                R  L2
    conflict          low     medium  hold                R  L2
    conflict          low     high    hold                R  L2
    conflict          medium  low     hold                R  L2
    conflict          medium  medium  hold                R  L2
    conflict          medium  high    hold                R  L2
    conflict          high    low     hold                R  L2
    conflict          high    medium  hold                R  L2
    conflict          high    high    hold                R  L2
    system_failure    low     low     retry               R  L1
    system_failure    low     medium  retry               O  L1
    system_failure    low     high    oncall              R  L2
    system_failure    medium  low     retry_tell_oncall   O  L1
    system_failure    medium  medium  retry_tell_oncall   O  L1
    system_failure    medium  high    oncall              R  L2
    system_failure    high    low     oncall              O  L2
    system_failure    high    medium  oncall              O  L2
    system_failure    high    high    oncall              R  L2
    policy_violation  low     low     ask_compliance      R  L2
    policy_violation  low     medium  ask_compliance      R  L2
    policy_violation  low     high    ask_compliance      R  L2
    policy_violation  medium  low     ask_compliance      R  L2
    policy_violation  medium  medium  ask_compliance      R  L2
    policy_violation  medium  high    ask_compliance      R  L2
    policy_violation  high    low     ask_compliance      R  L2
    policy_violation  high    medium  ask_compliance      R  L2
    policy_violation  high    high    ask_compliance      R  L2
"""
TABLE = [tuple(line.split()) for line in CELLS.strip().splitlines()]


@pytest.mark.parametrize(("exception", "severity", "impact", "response", "source", "level"), TABLE)
def test_the_tree_answers(exception, severity, impact, response, source, level):
    rule = respond(ExceptionType(exception), Severity(severity), Impact(impact))

    assert (rule.response, rule.source) == (Response(response), RuleSource(source))
    assert ENTERS_AT[rule.response] == Level[level]


def test_the_table_above_has_each_of_the_45_cells_once():
    cells = [line[:3] for line in TABLE]

    assert len(cells) == len(set(cells)) == 45
    assert [line[4] for line in TABLE].count("O") == 13


def test_all_cells_are_those_of_the_table():
    yielded = [(*cell, rule.response, rule.source) for *cell, rule in decision_tree.cells()]

    assert sorted(yielded) == sorted(line[:5] for line in TABLE)


def test_a_cell_that_two_rules_cover_is_a_mistake_that_shows(monkeypatch):
    monkeypatch.setattr(decision_tree, "RULES", (*decision_tree.RULES, decision_tree.RULES[0]))

    with pytest.raises(LookupError, match="timeout x low x low is covered by 2 rules"):
        respond(ExceptionType.TIMEOUT, Severity.LOW, Impact.LOW)


def test_a_cell_that_no_rule_covers_is_a_mistake_that_shows(monkeypatch):
    monkeypatch.setattr(decision_tree, "RULES", decision_tree.RULES[1:])

    with pytest.raises(LookupError, match="timeout x low x low is covered by 0 rules"):
        respond(ExceptionType.TIMEOUT, Severity.LOW, Impact.LOW)


def test_every_response_enters_its_path_somewhere():
    assert set(ENTERS_AT) == set(Response)


@pytest.mark.django_db
@pytest.mark.parametrize(("exception", "severity", "impact", "response", "source", "level"), TABLE)
def test_the_database_takes_every_cell_of_the_tree(
    company, exception, severity, impact, response, source, level
):
    cell = DecisionCell.objects.get(
        version=company.policy, exception=exception, severity=severity, impact=impact
    )

    assert (cell.response, cell.source) == (response, source)
