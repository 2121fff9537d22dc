"""`python -m rollback.rehearsal`: plays rehearsals for whoever started it, each in a database of its own.

A line of JSON in, `Asked`; a line of JSON out, the evidence. Ends with its input.
The tables are made once, in memory; each rehearsal is played by a fork, on a copy
of them that goes with it.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from datetime import datetime
from importlib import import_module
from typing import IO, Any

import django

from governance import wording

EACH_NEEDS = (
    "rollback.rehearsal.play",
    "rollback.rehearsal.stage",
    "rollback.connectors.registry",
    "rollback.connectors.http",
)


def main() -> int:
    django.setup()
    _make_tables()
    for name in EACH_NEEDS:  # once, and not in every fork
        import_module(name)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    sys.stdout = sys.stderr  # whatever else is written is no answer
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _answer(json.loads(line), answers)
        os.waitpid(child, 0)
    return 0


def _answer(asked: dict[str, Any], answers: IO[str]) -> None:
    """Play it, answer and end. A defect is answered as well: whoever waits has to know of it."""
    try:
        found = _play(asked)
    except Exception as problem:  # noqa: BLE001 - told to whoever asked, who keeps it
        traceback.print_exc()
        said = wording.defect(problem)
        found = {"defect": said}
    answers.write(json.dumps(found) + "\n")
    answers.flush()
    os._exit(0)  # not through what our parent has to clear up


def _play(asked: dict[str, Any]) -> dict[str, Any]:
    from django.conf import settings

    from rollback.connectors import registry
    from rollback.rehearsal.play import Play
    from rollback.rehearsal.points import Point
    from rollback.rehearsal.stage import build

    settings.TARGETS = {asked["target"]: asked["sandbox"]}
    now = datetime.fromisoformat(asked["now"])
    stage = build(asked["definition"], now=now)
    point = Point(*asked["point"])
    return Play(stage, point, tag=asked["tag"], now=now, connector_for=registry.connector_for).run()


def _make_tables() -> None:
    """Make our tables as the models say: an empty database has nothing to migrate."""
    from django.apps import apps
    from django.conf import settings
    from django.db import connection

    if connection.vendor != "sqlite" or settings.DATABASES["default"]["NAME"] != ":memory:":
        raise SystemExit("Rehearsals are played in a database in memory, and this is another one.")
    models = [each for each in apps.get_models() if each._meta.managed and not each._meta.proxy]
    with connection.schema_editor() as editor:
        for model in models:
            editor.create_model(model)


if __name__ == "__main__":
    sys.exit(main())
