"""What `make test` says in its last lines, and what lint makes of requirements."""

from __future__ import annotations

from collections import Counter

import pytest
from _pytest.mark.expression import Expression

from tools import lint
from tools.processes import Guard
from tools.test import SUITES, Result, Runner, read_options, read_report, summary

REPORT = """<testsuites><testsuite>
<testcase classname="tests.a" name="test_good"/>
<testcase classname="tests.a" name="test_bad"><failure message="no"/></testcase>
<testcase classname="tests.a" name="test_bad"><error message="at teardown too"/></testcase>
<testcase classname="tests.a" name="test_never_ran"><skipped type="pytest.skip" message="no Chromium"/></testcase>
<testcase classname="tests.a" name="test_known"><skipped type="pytest.xfail" message="later"/></testcase>
</testsuite></testsuites>"""


def ran(test):
    return Result(test, "passed", "")


def skipped(test, reason="no Chromium"):
    return Result(test, "skipped", reason)


def test_a_report_counts_each_test_once(tmp_path):
    report = tmp_path / "report.xml"
    report.write_text(REPORT)

    results = list(read_report(report))

    assert Counter(result.outcome for result in results) == {"passed": 2, "failed": 1, "skipped": 1}


def test_a_report_that_was_never_written_has_no_results(tmp_path):
    assert list(read_report(tmp_path / "missing.xml")) == []


def test_when_all_ran_the_last_line_says_so():
    assert summary([ran("a"), ran("b")], Counter()) == (
        "2 passed, 0 failed",
        "0 tests did not run.",
    )


def test_reasons_are_counted_and_sorted():
    results = [ran("a"), skipped("b"), skipped("c"), skipped("d", "no DNS")]

    _, last = summary(results, Counter({"no PostgreSQL": 7}))

    assert last == "10 tests did not run: no Chromium (2), no DNS (1), no PostgreSQL (7)"


def test_one_alone_is_a_test():
    assert summary([skipped("a")], Counter())[1] == "1 test did not run: no Chromium (1)"


def test_a_test_that_ran_on_the_other_database_did_run():
    assert (
        summary([skipped("a", "no PostgreSQL"), ran("a")], Counter())[1] == "0 tests did not run."
    )


def test_a_suite_that_could_not_start_counts_whole_and_once():
    _, last = summary([ran("a"), skipped("b", "no PostgreSQL")], Counter({"no PostgreSQL": 2}))

    assert last == "2 tests did not run: no PostgreSQL (2)"


@pytest.mark.parametrize("suite", SUITES, ids=str)
def test_a_walk_of_minutes_is_not_taken_for_a_hang(suite, tmp_path, monkeypatch):
    """To print the frames of a thread that goes on running has crashed it."""
    words = []
    with Guard() as guard:
        runner = Runner(read_options([]), guard, tmp_path)
        monkeypatch.setattr(runner, "_bounded", lambda given, *others: words.extend(given) or 0)

        runner.run(suite, "")

    (bound,) = [int(w.partition("=")[2]) for w in words if w.startswith("faulthandler_timeout=")]
    assert bound == (1800 if suite.marks == "soak" else 300)


def test_failures_are_counted():
    assert summary([ran("a"), Result("b", "failed", "")], Counter())[0] == "1 passed, 1 failed"


# On PostgreSQL only what asks the database runs again, and of that neither browser tests nor those on the ERP.
@pytest.mark.parametrize(
    ("marks", "sqlite", "postgresql"),
    [
        (set(), 1, 0),
        ({"database"}, 1, 1),
        ({"postgresql"}, 1, 1),  # the first is empty: collecting leaves it out there
        ({"database", "browser"}, 1, 0),
        ({"processes"}, 1, 1),
        ({"database", "processes"}, 1, 1),
        ({"browser", "processes"}, 1, 0),
        ({"database", "soak"}, 1, 1),
        ({"database", "tryton"}, 1, 0),
        ({"tryton", "processes"}, 1, 0),
    ],
)
def test_every_test_is_in_one_suite_so_that_none_is_left_out_without_being_counted(
    marks, sqlite, postgresql
):
    def suites(database):
        return sum(
            Expression.compile(each.marks).evaluate(lambda name, **_: name in marks)
            for each in SUITES
            if each.database == database
        )

    assert (suites("sqlite"), suites("postgresql")) == (sqlite, postgresql)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with one requirement, and what it is locked to."""

    def write(asked, locked):
        (tmp_path / "requirements").mkdir()
        (tmp_path / "requirements/runtime.txt").write_text(locked)
        (tmp_path / "requirements/dev.txt").write_text("")
        groups = "[dependency-groups]\ndev = []\n"
        (tmp_path / "pyproject.toml").write_text(f'[project]\ndependencies = ["{asked}"]\n{groups}')
        monkeypatch.setattr(lint, "ROOT", tmp_path)
        return list(lint.not_locked())

    return write


def test_a_locked_version_within_bounds_is_fine(project):
    assert project("django>=5.2,<5.3", "django==5.2.19 \\\n    --hash=sha256:00\n") == []


def test_a_locked_version_out_of_bounds_is_named(project):
    assert project("Django>=5.2,<5.3", "django==6.0 \\\n") == [
        "requirements/runtime.txt has Django 6.0, not <5.3,>=5.2."
    ]


def test_a_requirement_that_is_not_locked_is_named(project):
    assert project("new_thing[extra]==1", "django==6.0 \\\n") == [
        "requirements/runtime.txt does not have new_thing. Run `make lock`."
    ]


def test_names_are_compared_as_pip_compares_them(project):
    assert (
        project("Django_FSM.2[x]==4.2.4", "django-fsm-2[x]==4.2.4 ; python_version > '3'\n") == []
    )


def test_a_list_of_its_own_is_held_to_its_locked_file(project, tmp_path):
    assert project("django==5.2", "django==5.2\n") == []
    (tmp_path / "requirements/other.in").write_text("# Why.\nthing==2.*  # and why this\n\n")
    (tmp_path / "requirements/other.txt").write_text("thing==1.9 \\\n")

    assert list(lint.not_locked()) == ["requirements/other.txt has thing 1.9, not ==2.*."]
