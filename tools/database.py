"""Say whose database the settings point to, before anything is done to it.

`python -m tools.database` prints one JSON object: `state` is `empty` (nothing
in it), `demo` (marked by a demo clock) or `other` (somebody's); `file` is the
path of an SQLite database, null for a server.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

CLOCK, PEOPLE = "governance_democlock", "governance_person"


def whose() -> dict[str, Any]:
    """Look at the default database. Reads only; an SQLite file that is not there is not made."""
    from django.db import connection

    name = str(connection.settings_dict["NAME"])
    file = name if connection.vendor == "sqlite" else None
    if file is not None and not Path(file).exists():
        return {"state": "empty", "file": file}
    with connection.cursor() as cursor:
        tables = set(connection.introspection.table_names(cursor))
        rows = {table: _has_rows(cursor, table) for table in tables & {CLOCK, PEOPLE}}
    if rows.get(CLOCK):
        state = "demo"
    elif not tables or rows.get(PEOPLE) is False:  # migrated, and nobody in it yet
        state = "empty"
    else:
        state = "other"
    return {"state": state, "file": file}


def _has_rows(cursor: Any, table: str) -> bool:
    cursor.execute(f'SELECT 1 FROM "{table}" LIMIT 1')
    return cursor.fetchone() is not None


if __name__ == "__main__":
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "governance.settings")
    django.setup()
    print(json.dumps(whose()))
