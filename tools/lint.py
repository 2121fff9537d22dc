"""Everything that is checked without running a test: `make lint`.

Each check says nothing when it is content. The rest of its output is printed
under its name, and the exit code is 1.
"""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if not __package__:  # started as a file, whose directory is then where imports are looked for
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from tools.processes import ROOT

PACKAGES = ["governance", "approvals", "rollback"]
PINNED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)")
TIMEOUT_S = 600


class Outcome(NamedTuple):
    """How one check went."""

    name: str
    good: bool
    output: str
    seconds: float


def command(*words: str, **environment: str) -> Callable[[], tuple[bool, str]]:
    """Return a check that runs a command of this Python and is content with exit code 0."""

    def check() -> tuple[bool, str]:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        return done.returncode == 0, done.stdout

    return check


def templates() -> tuple[bool, str]:
    """Lint the templates, where there are any."""
    if not any((ROOT / "templates").rglob("*.html")):
        return True, ""
    return command("-m", "djlint", "--lint", "--quiet", "templates")()


def locked_requirements() -> tuple[bool, str]:
    """The locked files must hold what pyproject.toml and requirements/*.in ask for. `make lock` makes them."""
    complaints = list(not_locked())
    return not complaints, "\n".join(complaints)


def not_locked() -> Iterator[str]:
    """Yield what the locked files miss, in words."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = {
        "runtime": project["project"]["dependencies"],
        "dev": project["dependency-groups"]["dev"],
        **{
            path.stem: list(asked_in(path.read_text()))
            for path in ROOT.glob("requirements/*.in")  # of programs in environments of their own
        },
    }
    for name, requirements in asked.items():
        path = Path("requirements", f"{name}.txt")
        locked = dict(pins((ROOT / path).read_text()))
        for requirement in map(Requirement, requirements):
            version = locked.get(canonicalize_name(requirement.name))
            if version is None:
                yield f"{path} does not have {requirement.name}. Run `make lock`."
            elif not requirement.specifier.contains(version, prereleases=True):
                yield f"{path} has {requirement.name} {version}, not {requirement.specifier}."


def asked_in(text: str) -> Iterator[str]:
    """Yield what a list of requirements asks for, a line each."""
    for line in text.splitlines():
        if wanted := line.partition("#")[0].strip():
            yield wanted


def pins(text: str) -> Iterator[tuple[str, str]]:
    """Yield name and version of each pinned line."""
    for line in text.splitlines():
        if found := PINNED.match(line):
            yield canonicalize_name(found[1]), found[2]


def production(var: str) -> dict[str, str]:
    """Return an environment in which production settings load. None of it opens anything."""
    return {
        "DJANGO_SETTINGS_MODULE": "governance.settings",
        "RECOURSE_PROFILE": "production",
        "RECOURSE_VAR": var,
        "DATABASE_URL": f"sqlite:///{var}/recourse.sqlite3",
        "SECRET_KEY": "".join(chr(33 + n) for n in range(64)),
        "SITE_URL": "https://recourse.example.com",
        "MAIL_FROM": "Recourse <recourse@example.com>",
        "SEAL_KEY": base64.b64encode(bytes(range(32))).decode(),
    }


def checks(var: str) -> dict[str, Callable[[], tuple[bool, str]]]:
    """Return all checks by name, the longest first."""
    demo = {"RECOURSE_PROFILE": "demo", "RECOURSE_VAR": var, "DATABASE_URL": "sqlite://:memory:"}
    contracts = "from importlinter.cli import lint_imports_command as main; main()"
    return {
        "mypy": command("-m", "mypy", *PACKAGES, "demo_target", "tools", **demo),
        "migrations": command("manage.py", "makemigrations", "--check", "--dry-run", **demo),
        "production settings": command(
            "manage.py", "check", "--deploy", "--fail-level", "WARNING", **production(var)
        ),
        "imports": command("-c", contracts, "--no-cache", **demo),
        "templates": templates,
        "ruff": command("-m", "ruff", "check", "--quiet", "."),
        "format": command("-m", "ruff", "format", "--check", "--quiet", "."),
        "locked requirements": locked_requirements,
    }


def lint() -> list[Outcome]:
    """Run all checks, two at a time, and print how each went."""
    with tempfile.TemporaryDirectory(prefix="recourse-lint-") as var:

        def timed(name: str, check: Callable[[], tuple[bool, str]]) -> Outcome:
            start = time.monotonic()
            try:
                good, output = check()
            except subprocess.TimeoutExpired:
                good, output = False, f"not done after {TIMEOUT_S} s"
            return Outcome(name, good, output.strip(), time.monotonic() - start)

        with ThreadPoolExecutor(2) as pool:
            jobs = [pool.submit(timed, name, check) for name, check in checks(var).items()]
            outcomes = []
            for job in jobs:
                outcome = job.result()
                outcomes.append(outcome)
                word = "ok" if outcome.good else "FAILED"
                print(f"lint: {outcome.name:<20} {word:<7}{outcome.seconds:6.1f} s", flush=True)
                if not outcome.good:
                    print(outcome.output or "(it wrote nothing)", flush=True)
    return outcomes


def main() -> int:
    """Return 0 if every check is content."""
    bad = [outcome.name for outcome in lint() if not outcome.good]
    if bad:
        print(f"lint: {', '.join(bad)} failed.")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
