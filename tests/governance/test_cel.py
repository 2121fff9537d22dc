"""Expressions: checked in a limited child when they are saved, closed when in doubt where they are asked."""

from __future__ import annotations

import pytest

from governance import cel
from governance.demo import RULES

TOTALS = "total(payload.lines.map(line, line.amount.minor)) == payload.amount.minor"


def usd(value):
    return {"value": value, "currency": "USD"}


def ask(expression, **values):
    return cel.ask(expression, cel.hash_of(expression), values)


def test_what_is_checked_has_a_hash_to_be_kept_with():
    assert cel.checked(TOTALS) == cel.hash_of(TOTALS)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.key)
def test_the_rules_of_the_demo_may_be_saved(rule):
    assert cel.checked(rule.expression) == cel.hash_of(rule.expression)


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        (" ", "Write an expression."),
        ("payload.a == 1 ||", "does not compile"),
        ("x == 1", "There is no x"),
        ("os.system('true')", "There is no os"),
        ("true && " * 200 + "true", "at most 1,000 characters"),
        ("payload.a.all(x, payload.a.all(y, x == y))", "A loop within a loop"),
        ("payload.a.map(x, payload.b.filter(y, y > x).size()) == [1]", "A loop within a loop"),
        ("payload.a == 'x\x00'", "plain text"),
    ],
)
def test_what_could_run_wild_or_wrong_is_not_saved(expression, why):
    with pytest.raises(cel.BadExpression, match=why):
        cel.checked(expression)


def test_an_expression_that_runs_past_the_limits_of_the_child_is_refused(monkeypatch):
    """Ten thousand entries, looked at once for each of themselves, were the loop not refused before."""
    from governance.cel import trying

    monkeypatch.setattr(trying, "_nests", lambda expression: False)
    values = {"payload": {"a": list(range(10_000))}}

    with pytest.raises(cel.BadExpression, match="limits of time and memory"):
        cel.try_out("payload.a.all(x, payload.a.all(y, x + y >= 0))", values)


def test_a_word_in_quotes_is_no_loop():
    assert cel.checked("payload.a.all(x, x != '.all(y, true)')")


def test_only_true_is_a_yes():
    assert ask("payload.a == 1", payload={"a": 1}).holds
    assert not ask("payload.a == 1", payload={"a": 2}).holds
    assert not ask("payload.a", payload={"a": 1}).holds
    assert not ask("payload.a", payload={"a": "true"}).holds
    assert not ask("payload.b == 1", payload={"a": 1}).holds
    assert not ask("payload.a > 1", payload={"a": "2"}).holds


def test_another_expression_than_the_one_that_was_checked_is_not_compiled():
    assert not cel.ask("true", cel.hash_of("false"), {}).holds


def test_money_is_whole_numbers_of_the_smallest_unit():
    assert cel.minor("12000.00", "USD") == 1_200_000
    assert cel.minor("12000", "JPY") == 12_000
    assert cel.minor("1.005", "USD") is None
    assert cel.minor("1.00", "XYZ") is None
    assert cel.minor("9" * 30, "USD") is None
    assert cel.minor("Infinity", "USD") is None


def test_lines_that_fractions_would_miss_are_added_up_exactly():
    payload = cel.with_minor(
        {"lines": [{"amount": usd("0.10")}, {"amount": usd("0.20")}], "amount": usd("0.30")}
    )

    assert ask(TOTALS, payload=payload).holds


def test_sums_past_64_bits_are_not_known():
    assert cel.with_minor(usd("9" * 18)) == usd("9" * 18)
    most = {"amount": usd("9" * 16 + ".99")}
    payload = cel.with_minor({"lines": [most] * 20, "amount": usd("1")})

    assert not ask("total(payload.lines.map(line, line.amount.minor)) > 0", payload=payload).holds


def test_trying_one_out_says_what_it_came_to_or_why_not():
    assert cel.try_out("total([1, 2]) + payload.a", {"payload": {"a": 3}}) == (6, "")
    assert cel.try_out("payload.b", {"payload": {}}) == (None, "b is not there.")
