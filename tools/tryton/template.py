"""The database that every Tryton here begins as: made once, then copied."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import secrets
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.processes import Guard
from tools.tryton.environment import HOME, PYTHON, REQUIREMENTS, VENV, alone, install, run
from tools.tryton.serving import DATABASE, serve, write_configuration

TEMPLATES = HOME / "templates"
SEED = Path(__file__).with_name("seed.py")
MODULES = ("ir", "party", "account_invoice", "account_credit_limit", "sale")
USER, ADMIN = "recourse", "admin"
CREATE_S = 1200.0  # alone it takes about 70
SEED_S = 600.0  # and this about 30
KEYS = "erp.json"  # beside the database: who may log in, and what was entered


def prepare(say: Callable[[str], None] = lambda line: None) -> Path:
    """Return the directory of a template that is ready to be copied; make it if need be.

    Two that ask at once make one. Raises NotAvailable.
    """
    with alone(), Guard() as guard:
        if install(guard):
            say(f"Tryton is installed in {VENV}.")
        ready = place()
        if not ready.exists():
            say("Filling the template of its database, once: this takes a minute or two.")
            TEMPLATES.mkdir(exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix="draft-", dir=TEMPLATES))
            guard.remove(draft)
            _make(draft, guard)
            (draft / "template").rename(ready)
            shutil.rmtree(draft)
            _forget_others(ready)
        return ready


def place() -> Path:
    """Return where the template is, or is to be: by what it is made of, and by the year.

    Its books have fiscal years around the present one.
    """
    digest = hashlib.sha256()
    for part in (REQUIREMENTS.read_bytes(), SEED.read_bytes(), " ".join(MODULES).encode()):
        digest.update(hashlib.sha256(part).digest())
    return TEMPLATES / f"{_today().year}-{digest.hexdigest()[:16]}"


def _today() -> datetime.date:
    return datetime.datetime.now(datetime.UTC).date()


def _make(draft: Path, guard: Guard) -> None:
    """Fill `draft/template`, having worked in `draft`."""
    admin, password = secrets.token_urlsafe(18), secrets.token_urlsafe(18)
    (draft / DATABASE).touch()
    (draft / "password").touch(mode=0o600)
    (draft / "password").write_text(admin)
    create = [
        str(PYTHON), str(VENV / "bin/trytond-admin"), "-c", str(write_configuration(draft, 0)),
        "-d", "erp", "-u", *MODULES, "--activate-dependencies", "--email", "admin@example.com",
    ]  # fmt: skip
    run(guard, create, seconds=CREATE_S, more={"TRYTONPASSFILE": str(draft / "password")})
    given = {"admin": admin, "user": [USER, password], "today": _today().isoformat()}
    with serve(draft, guard) as address:
        seed = [str(PYTHON), str(SEED), f"{address}rpc/"]
        facts = json.loads(run(guard, seed, seconds=SEED_S, given=json.dumps(given)))
    (draft / "template").mkdir()
    # Not the file itself: the last of what was written may still be in its journal.
    with contextlib.closing(sqlite3.connect(draft / DATABASE)) as connection:
        connection.execute("VACUUM INTO ?", (str(draft / "template" / DATABASE),))
    keys = draft / "template" / KEYS
    keys.touch(mode=0o600)
    keys.write_text(json.dumps(
        {"user": USER, "password": password, "admin_password": admin, "facts": facts}
    ))  # fmt: skip


def _forget_others(ready: Path) -> None:
    for other in TEMPLATES.iterdir():
        if other != ready:
            shutil.rmtree(other, ignore_errors=True)


def copy(ready: Path, directory: Path) -> None:
    """Put the template into `directory`, over whatever database is there. No server may run on it."""
    directory.mkdir(parents=True, exist_ok=True)
    for ending in ("-wal", "-shm", "-journal"):  # of another database, to this one
        (directory / f"{DATABASE}{ending}").unlink(missing_ok=True)
    for name in (DATABASE, KEYS):
        shutil.copy(ready / name, directory / name)


def keys_of(directory: Path) -> dict[str, Any]:
    """Return `user`, `password`, `admin_password` and `facts` of the database in `directory`."""
    found: dict[str, Any] = json.loads((directory / KEYS).read_text())
    return found
