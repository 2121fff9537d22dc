"""What `make demo` does with processes, shown with stand-ins for them."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import sys

import pytest

from tests.tools.conftest import command_line, read, until
from tools.demo import Demo, DemoError, free_port

# Nothing here depends on the product's database: once is enough.
pytestmark = [pytest.mark.processes, pytest.mark.sqlite_only]


@pytest.fixture
def command(stand_ins, tmp_path):
    """The words that start a demo over stand-ins, on a free port."""

    def words(*options, **parts):
        procfile = stand_ins(**(parts or {"web": "web", "clock": "sleep", "worker": "parent"}))
        files = ["--procfile", str(procfile), "--demo-file", str(tmp_path / ".demo.json")]
        place = ["--var", str(tmp_path / "v ar"), "--port", str(free_port())]
        return [sys.executable, "-m", "tools.demo", "--no-prepare", *files, *place, *options]

    return words


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_demo_and_leaves_no_process(start, command, signum):
    program = start(*command())
    program.says("Recourse runs at")

    program.send(signum)

    assert program.ends() == 0
    assert "No process is left." in program.output
    assert program.everyone() == []


def test_it_stops_by_itself_after_the_seconds_it_was_given(start, command):
    program = start(*command("--seconds", "0.5"))

    assert program.ends() == 0
    assert "Stopping: 0.5 s are over." in program.output
    assert program.everyone() == []


def test_a_signal_while_starting_stops_it_as_well(start, command):
    program = start(*command(), STAND_IN_STATUS="bad")
    program.says("a parent")

    program.send(signal.SIGTERM)

    assert program.ends() == 0
    assert "Stopped while starting: SIGTERM." in program.output
    assert program.everyone() == []


def test_killing_the_supervisor_leaves_no_process_either(start, command):
    program = start(*command())
    program.says("Recourse runs at")
    assert len(program.everyone()) >= 5  # it, three parts, a child, a guard

    program.send(signal.SIGKILL)

    program.ends()
    until(lambda: program.everyone() == [])


def test_a_deaf_orphan_of_a_killed_supervisor_is_killed_by_the_guard(start, command):
    program = start(*command(web="web", worker="bad_parent"))
    program.says("a bad parent")

    program.send(signal.SIGKILL)

    program.ends()
    until(lambda: program.everyone() == [], seconds=30)


def test_a_second_interrupt_does_not_wait_for_the_deaf(start, command):
    program = start(*command(web="web", worker="deaf"))
    program.says("Recourse runs at")

    program.send(signal.SIGINT)
    program.says("Stopping: Ctrl-C.")
    program.send(signal.SIGINT)

    assert program.ends(seconds=5) == 0
    assert program.everyone() == []


def test_the_end_of_a_process_is_reported_and_ends_the_demo(start, command):
    program = start(*command(web="web", clock="sleep", worker="fail"))

    assert program.ends() == 1
    assert "worker ended (exit code 7).\nthis will not do" in program.output
    assert program.everyone() == []


def test_a_process_killed_while_the_demo_runs_is_reported(start, command):
    program = start(*command())
    program.says("Recourse runs at")
    asleep = [pid for pid in program.everyone() if command_line(pid)[-1:] == ["sleep"]]

    for pid in asleep:
        os.kill(pid, signal.SIGKILL)

    assert program.ends() == 1
    assert "clock ended (SIGKILL)." in program.output
    assert program.everyone() == []


def test_what_is_bad_is_printed_when_it_does_not_get_good(start, command):
    program = start(*command("--patience", "1"), STAND_IN_STATUS="bad")

    assert program.ends() == 1
    assert '/status is not ok: {"clock": {"ok": false, "behind_s": 99}}' in program.output
    assert program.everyone() == []


def test_the_death_of_the_parent_stops_it(start, command):
    program = start("/bin/sh", "-c", '"$@"; exit $?', "sh", *command())
    program.says("Recourse runs at")

    program.send(signal.SIGKILL)

    program.ends()
    until(lambda: program.everyone() == [])
    assert "Stopping: the process that started this one ended" in program.output


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_to_make_alone_stops_everything(start, command, tmp_path, signum):
    """It hands on SIGTERM only, and waits for its children after the others."""
    makefile = tmp_path / "Makefile"
    makefile.write_text(f"demo:\n\t@exec {shlex.join(command())}\n")
    program = start("make", "-f", str(makefile), "demo")
    program.says("Recourse runs at")

    program.send(signum)

    program.ends()
    until(lambda: program.everyone() == [])


def test_without_a_reader_it_goes_on(start, command, tmp_path):
    program = start("/bin/sh", "-c", '"$@" | head -n 1', "sh", *command("--seconds", "2"))

    until(lambda: "sleeping" in read(tmp_path / "v ar/log/clock.log"))
    until(lambda: not any(command_line(pid)[:1] == ["head"] for pid in program.everyone()))

    assert any("tools.demo" in command_line(pid) for pid in program.everyone())
    assert program.ends() == 0


def test_a_second_demo_in_the_same_directory_is_refused(start, command):
    first = start(*command())
    first.says("Recourse runs at")

    second = start(*command())

    assert second.ends() == 1
    assert f"(process {first.process.pid}). Stop it first" in second.output
    first.send(signal.SIGTERM)
    assert first.ends() == 0


def test_the_demo_of_a_test_is_steered_by_name(stand_ins, tmp_path):
    procfile = stand_ins(web="web", clock="sleep", worker="parent")
    with Demo(procfile=procfile, prepare=False, var=tmp_path) as demo:
        whole = demo.pids("worker")
        assert len(whole) == 2

        demo.kill("worker")

        assert demo.ended() == {"worker": -signal.SIGKILL}
        assert demo.pids("worker") == []

        demo.restart("worker")

        until(lambda: len(demo.pids("worker")) == 2)
        assert demo.log("worker").count("a parent") == 2
        assert demo.ended() == {}
        assert demo.status()["ok"] is True


def test_a_crash_of_a_parent_alone_leaves_its_child_until_the_restart(stand_ins, tmp_path):
    procfile = stand_ins(web="web", worker="parent")
    with Demo(procfile=procfile, prepare=False, var=tmp_path) as demo:
        parent = demo.pid("worker")
        (child,) = set(demo.pids("worker")) - {parent}

        demo.kill("worker", alone=True)

        assert demo.pids("worker") == [child]

        demo.restart("worker")

        assert child not in demo.pids("worker")


def test_several_demos_run_at_once_and_leave_nothing(stand_ins):
    procfile = stand_ins(web="web")
    with (
        Demo(procfile=procfile, prepare=False) as one,
        Demo(procfile=procfile, prepare=False) as other,
    ):
        directories = [one.var, other.var]
        assert one.url != other.url
        assert all(directory.exists() for directory in directories)

    assert not any(directory.exists() for directory in directories)


def test_a_demo_that_was_stopped_may_be_stopped_again(stand_ins):
    with Demo(procfile=stand_ins(web="web"), prepare=False) as demo:
        demo.stop()

    assert not demo.var.exists()


def test_a_demo_that_does_not_start_leaves_nothing(stand_ins):
    demo = Demo(procfile=stand_ins(web="web", worker="fail"), prepare=False)

    with pytest.raises(DemoError, match=r"worker ended \(exit code 7\)"):
        demo.__enter__()

    assert not demo.var.exists()


def test_a_taken_port_is_named_and_another_is_used(start, command):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        program = start(*command("--port", str(port), "--seconds", "0"))

        assert program.ends() == 0

    assert f"Port {port} is taken, so this demo uses port " in program.output
    assert f"Recourse runs at http://127.0.0.1:{port}\n" not in program.output
