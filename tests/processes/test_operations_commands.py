"""Every command that docs/operations.md gives is run, in its order, on a database in use."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from django.core.management import get_commands

from tests.processes.test_worker_killed import TOKEN, Target, ask
from tools.postgres import fresh_database, is_postgres
from tools.processes import ROOT

pytestmark = pytest.mark.processes

TEXT = (ROOT / "docs" / "operations.md").read_text()
SECTION = TEXT.split("\n## Production", 1)[1].split("\n## ")[0]
NOT_HERE = {
    "docker": "docker ",
    "systemd": "systemctl ",
}  # what each line of such a block begins with


class Block(NamedTuple):
    """Commands between two fences, under a heading."""

    heading: str
    kind: str  # "", "postgresql", "sqlite", or what it needs and is not here
    commands: str


def blocks(text=SECTION):
    """Return all that is fenced as commands for a shell, in order."""
    found, heading = [], ""
    for part in re.finditer(r"^### (.+)$|^```(.*)\n((?s:.*?))^```$", text, re.MULTILINE):
        title, language, commands = part.groups()
        if title:
            heading = title
        else:
            shell, _, kind = language.partition(" ")
            assert shell == "sh", f"under {heading}: say what a block is, as ```sh"
            found.append(Block(heading, kind, commands))
    return found


def test_what_is_not_run_here_needs_docker_or_systemd():
    left_out = [block for block in blocks() if block.kind in NOT_HERE]

    assert {block.kind for block in left_out} == set(NOT_HERE)
    for block in left_out:
        for line in block.commands.splitlines():
            assert line.startswith(NOT_HERE[block.kind]), f"{block.heading}: {line}"
    assert {block.kind for block in blocks()} <= {"", "postgresql", "sqlite", *NOT_HERE}


def test_every_command_that_the_page_names_is_one_and_is_run():
    named = set(re.findall(r"`manage\.py ([a-z_]+)", TEXT))
    run = set(re.findall(r"\bmanage\.py ([a-z_]+)", "".join(block.commands for block in blocks())))

    assert named | run <= set(get_commands())
    assert named <= run


class Sandbox:
    """Another of the target's kind, where undoing is rehearsed."""

    def __init__(self, directory, environment):
        directory.mkdir()
        self._target = Target(directory, environment)
        self.url, self.close = self._target.url, self._target.close


@pytest.fixture
def production(house, tmp_path):
    """A demo organisation under production's settings, and what the page says is in the environment."""
    target = Target(tmp_path, house.environment)
    sandbox = Sandbox(tmp_path / "sandbox", house.environment)
    house.environment |= {"TARGET_DEMO_URL": target.url, "TARGET_DEMO_TOKEN": TOKEN}
    house.manage("seed_demo")
    ref = ask(house, "vendor_payment")
    (tmp_path / "backups").mkdir()
    seed = hashlib.sha256((house.directory / "seal_key").read_text().encode()).digest()
    with empty_database(house) as restored:
        yield {
            **{name: value for name, value in house.environment.items() if name != "LOG_LEVEL"},
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "RECOURSE_PROFILE": "production", "SITE_URL": "https://recourse.example.com",
            "SECRET_KEY": hashlib.sha512(seed).hexdigest(), "MAIL_FROM": "recourse@example.com",
            "BEHIND_TLS_PROXY": "true", "SEAL_KEY": base64.b64encode(seed).decode(),
            "SEAL_EXPORT": str(house.directory),
            "STATIC_ROOT": str(tmp_path / "static"), "RECOURSE_TARGETS": "demo",
            "TARGET_DEMO_SANDBOX_URL": sandbox.url, "TARGET_DEMO_SANDBOX_TOKEN": TOKEN,
            "REF": ref, "BACKUPS": str(tmp_path / "backups"), **restored,
        }  # fmt: skip
    target.close()
    sandbox.close()


@contextmanager
def empty_database(house):
    url = house.environment["DATABASE_URL"]
    if is_postgres(url):
        with fresh_database(url) as fresh:
            yield {"RESTORED_URL": fresh}
        return
    yield {
        "SQLITE": url.removeprefix("sqlite:///"),
        "RESTORED_SQLITE": str(house.directory / "restored.sqlite3"),
    }


def test_the_commands_of_the_page_are_run_in_its_order(production):
    kind = "postgresql" if is_postgres(production["DATABASE_URL"]) else "sqlite"
    chosen = [block for block in blocks() if block.kind in ("", kind)]
    # One shell, as for whoever follows the page: what one block exports, the next one has.
    script = "\n".join(f"echo '# {block.heading}' >&2\n{block.commands}" for block in chosen)

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=ROOT, env=production,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1500, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-2000:]
    assert len(chosen) >= 9
    assert {f"# {block.heading}" for block in chosen} <= set(done.stderr.splitlines())
    assert (Path(production["STATIC_ROOT"]) / "staticfiles.json").exists()
