"""Say whose database the settings point to, before anything is done to it.

`python -m tools.database` prints one JSON object: `state` is `empty` (nothing
in it), `demo` (marked by a demo clock) or `other` (somebody's); `file` is the
path of an SQLite database, null for a server.
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any


def whose() -> dict[str, Any]:
    """Look at the default database. Reads only; an SQLite file that is not there is not made."""
    from django.db import connection

    from governance import demo
    from governance.models import DemoClock

    name = str(connection.settings_dict["NAME"])
    file = name if connection.vendor == "sqlite" else None
    tables = connection.introspection.table_names() if file is None else tables_in(Path(file))
    if not tables:
        state = "empty"
    elif DemoClock._meta.db_table not in tables:  # none of them ours
        state = "other"
    else:
        state = demo.whose()
    return {"state": state, "file": file}


def tables_in(file: Path) -> list[str]:
    """Return the tables of an SQLite file, which connecting as the product does would change."""
    if not file.exists():
        return []
    with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM sqlite_master")]


if __name__ == "__main__":
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "governance.settings")
    django.setup()
    print(json.dumps(whose()))
