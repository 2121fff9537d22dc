"""Lint, then all tests on SQLite and on PostgreSQL: `make test`.

The last line says how many tests did not run, and why; the line before it how
many passed and failed. The exit code is 0 only if nothing failed.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from types import FrameType
from typing import IO, NamedTuple

if not __package__:  # started as a file, whose directory is then where imports are looked for
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from tools.lint import lint
from tools.postgres import NotAvailable, Postgres
from tools.processes import POLL_S, ROOT, Guard, end, marked

NO_POSTGRESQL = "no PostgreSQL"  # the fixture's skip says the same
SUITE_TIMEOUT_S = 2700
LANES = 3  # suites side by side: on two processors some wait while others compute
HANG_S = 300  # a test that takes longer prints where it stands
# Likewise one that walks for minutes. To print the frames of what goes on running may crash it.
WALK_HANGS_S = 1800
NOTHING_COLLECTED = 5  # pytest's exit code


class Suite(NamedTuple):
    """One run of pytest over part of the tests, on one database."""

    database: str
    marks: str  # pytest's -m
    parallel: bool  # over two processes; the others run side by side, one process each
    shows: bool = False  # what its tests print
    hang_s: int = HANG_S


class Result(NamedTuple):
    """What came of one test in one suite."""

    test: str
    outcome: str  # passed, failed, skipped
    reason: str  # why it was skipped


# Of those that run side by side the longest begin first, and the walks, which compute only, fill up at the end.
SUITES = (
    Suite("sqlite", "not processes and not soak and not tryton", parallel=True),
    Suite(
        "postgresql",
        "(database or postgresql) and not browser and not processes and not soak and not tryton",
        parallel=True,
    ),
    Suite("sqlite", "processes and not tryton", parallel=False),
    Suite("sqlite", "tryton", parallel=False),
    Suite("postgresql", "processes and not browser and not tryton", parallel=False),
    Suite("postgresql", "soak", parallel=False, shows=True, hang_s=WALK_HANGS_S),
    Suite("sqlite", "soak", parallel=False, shows=True, hang_s=WALK_HANGS_S),
)
QUICK = "not browser and not processes and not soak and not tryton"


class Runner:
    """Runs suites of one `make test`, and ends them when it is ended itself."""

    def __init__(self, options: argparse.Namespace, guard: Guard, reports: Path) -> None:
        self._options = options
        self._guard = guard
        self._reports = reports
        self._numbers = count(1)
        self.results: list[Result] = []
        self.broken: list[str] = []  # suites that did not come to a proper end

    def run(self, suite: Suite, url: str) -> None:
        """Run one suite and keep its results. What it prints is shown as it comes."""
        print(f"\ntests: {suite.database}, {self._marks(suite)}", flush=True)
        self._run(suite, url, None)

    def run_side_by_side(self, suites: Sequence[Suite], urls: Mapping[str, str]) -> None:
        """Run suites in lanes and keep their results. What each prints is shown in one piece."""
        with ThreadPoolExecutor(LANES) as pool, ExitStack() as stack:
            outputs = [stack.enter_context(tempfile.TemporaryFile()) for _ in suites]
            running = [
                pool.submit(self._run, suite, urls[suite.database], output)
                for suite, output in zip(suites, outputs, strict=True)
            ]
            for suite, run, output in zip(suites, running, outputs, strict=True):
                try:
                    run.result()
                except BaseException:  # somebody ends us: the pool would wait for the suites
                    self.stop()
                    raise
                output.seek(0)
                print(f"\ntests: {suite.database}, {self._marks(suite)}")
                print(output.read().decode(errors="replace"), end="", flush=True)

    def _run(self, suite: Suite, url: str, output: IO[bytes] | None) -> None:
        report = self._reports / f"{next(self._numbers)}.xml"
        words = [
            *("-m", "pytest", "-q", "-m", self._marks(suite)),
            # Who is done takes over of what the other has left: tests with a browser come in one piece.
            *(["-n", "2", "--dist", "worksteal"] if suite.parallel else ["-n", "0"]),
            *(["-s"] if suite.shows else []),
            *(
                "-o",
                f"faulthandler_timeout={suite.hang_s}",
                f"--junitxml={report}",
                *self._chosen(),
            ),
        ]
        code = self._bounded(words, url, output)
        self.results += read_report(report)
        if code not in (0, 1, NOTHING_COLLECTED):
            self.broken.append(f"{suite.database}, {suite.marks} (exit code {code})")

    def count(self, suite: Suite, *, all_of_it: bool = False) -> int:
        """Return how many tests a suite has, without running any."""
        marks = suite.marks if all_of_it else self._marks(suite)
        words = ["-m", "pytest", "-qq", "--collect-only", "-m", marks, "-n", "0", *self._chosen()]
        done = subprocess.run(
            [sys.executable, *words],
            cwd=ROOT,
            env=self._environment(nowhere(suite, self._reports)),
            stdout=subprocess.PIPE,
            text=True,
            timeout=SUITE_TIMEOUT_S,
            check=False,
        )
        return sum(int(n) for n in re.findall(r"^\S+\.py: (\d+)$", done.stdout, re.MULTILINE))

    def stop(self) -> None:
        """End whatever still runs."""
        end({}, lambda: marked(self._guard.mark), grace=2)

    def _marks(self, suite: Suite) -> str:
        return f"({suite.marks}) and {QUICK}" if self._options.fast else suite.marks

    def _chosen(self) -> list[str]:
        return ["-k", self._options.k] if self._options.k else []

    def _environment(self, url: str) -> dict[str, str]:
        return self._guard.environment({**os.environ, "DATABASE_URL": url})

    def _bounded(self, words: list[str], url: str, output: IO[bytes] | None) -> int:
        process = subprocess.Popen(
            [sys.executable, *words], cwd=ROOT, env=self._environment(url), stdin=subprocess.DEVNULL,
            stdout=output, stderr=output and subprocess.STDOUT,
        )  # fmt: skip
        deadline = time.monotonic() + SUITE_TIMEOUT_S
        while (code := process.poll()) is None:
            if time.monotonic() > deadline:
                print(f"tests: stopped after {SUITE_TIMEOUT_S} s", flush=True)
                self.stop()
                process.wait(timeout=10)
                return -1
            time.sleep(POLL_S)
        return code


def sqlite(directory: Path) -> str:
    """Return a DATABASE_URL for SQLite. The tests keep it in memory; the file is never made."""
    return f"sqlite:///{directory / 'recourse.sqlite3'}"


def nowhere(suite: Suite, directory: Path) -> str:
    """Return a DATABASE_URL of the suite's kind. Collecting tests opens no connection."""
    return sqlite(directory) if suite.database == "sqlite" else "postgresql://nobody@127.0.0.1:1/no"


def read_report(path: Path) -> Iterator[Result]:
    """Read a JUnit report. A test that fails and then errs when tidying up counts once."""
    if not path.exists():
        return
    found: dict[str, Result] = {}
    for case in ET.parse(path).getroot().iter("testcase"):  # noqa: S314 - pytest wrote it just now
        test = f"{case.get('classname')}::{case.get('name')}"
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            result = Result(test, "failed", "")
        elif skipped is not None and skipped.get("type") != "pytest.xfail":
            result = Result(test, "skipped", skipped.get("message") or "no reason given")
        else:
            result = Result(test, "passed", "")
        if test not in found or found[test].outcome != "failed":
            found[test] = result
    yield from found.values()


def summary(results: Iterable[Result], left_out: Counter[str]) -> tuple[str, str]:
    """Return the two last lines.

    A test that was skipped on one database and ran on the other did run. The
    tests of a whole suite that could not start stand in `left_out`, and the
    skips with the same reason are among them.
    """
    results = list(results)
    ran = {result.test for result in results if result.outcome != "skipped"}
    reasons = Counter(left_out)
    for test, reason in {(r.test, r.reason) for r in results if r.outcome == "skipped"}:
        if test not in ran and not left_out[reason]:
            reasons[reason] += 1
    outcomes = Counter(result.outcome for result in results)
    counts = f"{outcomes['passed']} passed, {outcomes['failed']} failed"
    total = reasons.total()
    if not total:
        return counts, "0 tests did not run."
    why = ", ".join(f"{reason} ({n})" for reason, n in sorted(reasons.items()) if n)
    return counts, f"{total} {'test' if total == 1 else 'tests'} did not run: {why}"


def read_options(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.test", description=__doc__)
    parser.add_argument("--only", choices=["sqlite", "postgresql"], help="tests on this database")
    parser.add_argument("-k", metavar="EXPRESSION", help="tests whose name matches, as pytest's -k")
    parser.add_argument("--fast", action="store_true", help="no browser, no processes")
    parser.add_argument("--no-lint", action="store_true", help="tests only")
    return parser.parse_args(arguments)


def run_suites(runner: Runner, options: argparse.Namespace) -> Counter[str]:
    """Run what was asked for; return what was left out, by reason."""
    left_out: Counter[str] = Counter()
    wanted = []
    for suite in SUITES:
        if options.only in (None, suite.database):
            wanted.append(suite)
        else:
            left_out[f"--only {options.only}"] += runner.count(suite, all_of_it=True)
    if options.fast:
        quick = [suite for suite in wanted if suite.parallel]
        for suite in wanted:
            left_out["--fast"] += runner.count(suite, all_of_it=True)
            left_out["--fast"] -= runner.count(suite) if suite in quick else 0
        wanted = quick
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="recourse-tests-"))
        urls = {"sqlite": sqlite(Path(directory))}
        if any(suite.database == "postgresql" for suite in wanted):
            try:
                urls["postgresql"] = stack.enter_context(Postgres()).url
            except NotAvailable as problem:
                print(f"\ntests: PostgreSQL is not available because {problem}.")
                served = [suite for suite in wanted if suite.database == "postgresql"]
                left_out[NO_POSTGRESQL] += sum(runner.count(suite) for suite in served)
        there = [suite for suite in wanted if suite.database in urls]
        for suite in there:
            if suite.parallel:
                runner.run(suite, urls[suite.database])
        runner.run_side_by_side([suite for suite in there if not suite.parallel], urls)
    return left_out


def main(arguments: list[str] | None = None) -> int:
    """Return 0 if nothing failed."""
    options = read_options(arguments)

    def stop(signum: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + signum)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)
    bad_checks = [] if options.no_lint else [check.name for check in lint() if not check.good]
    with tempfile.TemporaryDirectory(prefix="recourse-reports-") as reports, Guard() as guard:
        runner = Runner(options, guard, Path(reports))
        try:
            left_out = run_suites(runner, options)
        except KeyboardInterrupt:
            print("\ntests: interrupted.")
            return 130
        finally:
            runner.stop()
    counts, not_run = summary(runner.results, left_out)
    failed = any(result.outcome == "failed" for result in runner.results)
    print()
    if bad_checks:
        print(f"lint: {', '.join(bad_checks)} failed.")
    for suite in runner.broken:
        print(f"tests: {suite} did not come to a proper end.")
    if not runner.results:
        print("tests: none ran.")
    print(counts)
    print(not_run)
    return 1 if failed or bad_checks or runner.broken or not runner.results else 0


if __name__ == "__main__":
    sys.exit(main())
