"""The guard that ends what its owner left behind."""

from __future__ import annotations

import subprocess

import pytest

from tools.processes import Guard, end, marked

# Nothing here depends on the product's database: once is enough.
pytestmark = [pytest.mark.processes, pytest.mark.sqlite_only]


@pytest.fixture
def sleeper():
    """Start a process that a guard can find, and nobody waits for."""
    started = []

    def begin(guard, name):
        environment = guard.environment({"PATH": "/usr/bin:/bin"}, name)
        process = subprocess.Popen(["sleep", "60"], env=environment, start_new_session=True)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait(timeout=10)


def test_a_dismissed_guard_removes_what_it_was_told_to(tmp_path):
    directory = tmp_path / "scratch"
    (directory / "deep").mkdir(parents=True)
    with Guard() as guard:
        guard.remove(directory)

    assert not directory.exists()
    assert tmp_path.exists()


def test_a_guard_may_be_dismissed_twice(tmp_path):
    guard = Guard()

    guard.dismiss()
    guard.dismiss()
    guard.forget(1)  # said too late: nothing is left to guard


def test_what_carries_the_mark_is_found_by_name(sleeper):
    with Guard() as guard:
        one, other = sleeper(guard, "one"), sleeper(guard, "other")

        assert marked(guard.mark, "one") == [one.pid]
        assert set(marked(guard.mark)) == {one.pid, other.pid}
        assert marked(guard.mark, "on") == []


def test_each_guard_sees_only_its_own(sleeper):
    with Guard() as guard, Guard() as stranger:
        process = sleeper(guard, "one")

        assert marked(stranger.mark) == []
        assert marked(guard.mark) == [process.pid]


def test_whoever_listens_need_not_be_killed(sleeper):
    with Guard() as guard:
        sleeper(guard, "one")

        assert end({}, lambda: marked(guard.mark), grace=10) == []
