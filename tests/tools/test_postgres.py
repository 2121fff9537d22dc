"""The PostgreSQL that tests throw away: there while it is needed, and then gone."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import psycopg
import pytest

from tests.tools.conftest import until
from tools.postgres import NotAvailable, Postgres, binaries, fresh_database, is_postgres
from tools.processes import running

# It starts servers of its own; with none installed these are tests that did not run.
pytestmark = [pytest.mark.processes, pytest.mark.postgresql]
RUN = [sys.executable, "tools/postgres.py", "run"]


@pytest.fixture(autouse=True)
def _installed():
    try:
        binaries()
    except NotAvailable:
        pytest.skip("no PostgreSQL")


def servers(home):
    """Servers whose data is below `home`, whoever they run as."""
    lines = (Path(f"/proc/{p.pid}/cmdline") for p in running())
    return [line for line in lines if line.exists() and home in line.read_text(errors="replace")]


def home_of(url):
    with psycopg.connect(url) as connection:
        (data,) = connection.execute("SHOW data_directory").fetchone()
    return Path(data).parent


def test_a_server_is_there_and_then_gone():
    with Postgres(environ={}) as postgres:
        home = home_of(postgres.url)
        assert servers(str(home))

    assert not home.exists()
    assert not servers(str(home))


def test_it_listens_on_loopback_only_and_forgets_what_it_wrote():
    with Postgres(environ={}) as postgres, psycopg.connect(postgres.url) as connection:
        settings = dict(connection.execute("SELECT name, setting FROM pg_settings").fetchall())

    assert settings["listen_addresses"] == "127.0.0.1"
    assert settings["unix_socket_directories"] == ""
    assert settings["fsync"] == "off"


def test_a_durable_one_writes_to_disk():
    with (
        Postgres(durable=True, environ={}) as postgres,
        psycopg.connect(postgres.url) as connection,
    ):
        settings = dict(connection.execute("SELECT name, setting FROM pg_settings").fetchall())

    assert (settings["fsync"], settings["full_page_writes"]) == ("on", "on")
    assert settings["synchronous_commit"] == "on"


def test_one_that_is_named_already_is_used():
    with (
        Postgres(environ={}) as first,
        Postgres(environ={"DATABASE_URL": first.url}) as second,
    ):
        assert second.url == first.url

        assert psycopg.connect(first.url).close() is None  # it outlives the second


def test_a_fresh_database_is_empty_and_dropped_with_its_connections():
    with Postgres(environ={}) as postgres:
        with fresh_database(postgres.url) as url:
            connection = psycopg.connect(url, autocommit=True)
            connection.execute("CREATE TABLE t ()")
            name = connection.info.dbname

        with psycopg.connect(postgres.url) as server:
            left = server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchall()
        connection.close()
    assert left == []


def test_a_command_gets_its_address_and_its_exit_code_is_handed_back(start):
    program = start(*RUN, "--", "sh", "-c", "echo $DATABASE_URL; exit 4", DATABASE_URL="")

    assert program.ends() == 4
    assert is_postgres(program.output.strip())
    assert program.everyone() == []


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_ending_the_program_ends_the_server_and_the_command(start, signum):
    program = start(*RUN, "--", "sh", "-c", "echo $DATABASE_URL.; exec sleep 60", DATABASE_URL="")
    program.says("postgresql://")
    until(lambda: program.output.endswith(".\n"))
    home = home_of(program.output.strip().rstrip("."))

    program.send(signum)

    program.ends()
    until(lambda: not servers(str(home)) and not home.exists() and program.everyone() == [])


def test_where_there_is_none_it_says_why(start, tmp_path):
    program = start(
        sys.executable, "-c",
        "import tools.postgres as p, pathlib\n"
        "p.Path = lambda *a: pathlib.Path('/nowhere')\n"
        "raise SystemExit(p.main(['run', '--', 'true']))",
        DATABASE_URL="", PATH=str(tmp_path),
    )  # fmt: skip

    assert program.ends() == 3
    assert "PostgreSQL is not available because no PostgreSQL server is installed" in program.output


@pytest.mark.parametrize(
    ("url", "answer"),
    [
        ("postgresql://u@h/d", True),
        ("postgres://u@h/d", True),
        ("sqlite:////tmp/x", False),
        ("", False),
        (None, False),
    ],
)
def test_whose_address_it_is(url, answer):
    assert is_postgres(url) is answer
