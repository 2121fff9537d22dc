"""Looks for secrets in all that was written, in every form in which they could stand there."""

from __future__ import annotations

import base64
import json
import re
import zlib
from urllib.parse import quote

import environ
from django.db import connections

_PACKED = re.compile(rb"[A-Za-z0-9+/_-]{24,}={0,2}")
ALIAS = "looked_into"


def forms_of(secret):
    """Return a secret as it may stand somewhere: as it is, quoted, encoded, escaped; a PEM line by line."""
    found = set()
    for text in {secret, *_lines(secret)}:
        raw = text.encode()
        found |= {
            raw,
            quote(text, safe="").encode(),
            json.dumps(text)[1:-1].encode(),
            raw.hex().encode(),
            base64.b64encode(raw).rstrip(b"="),
            base64.urlsafe_b64encode(raw).rstrip(b"="),
        }
    return found


def _lines(secret):
    """Return the lines of a key that hold something of it: its first and last words do not."""
    return [
        line for line in secret.splitlines() if len(line) >= 16 and not line.startswith("-----")
    ]


class Search:
    """Which of these secrets stand where. `secrets`: by what people call them."""

    def __init__(self, secrets):
        self._forms = {name: forms_of(secret) for name, secret in secrets.items()}

    def leaks(self, places):
        """Return ["where: which secret"] of every (where, text or bytes)."""
        found = set()
        for where, content in places:
            raw = content if isinstance(content, bytes) else str(content).encode()
            for part in (raw, *_unpacked(raw)):
                found |= {
                    f"{where}: {name}"
                    for name, forms in self._forms.items()
                    if any(form in part for form in forms)
                }
        return sorted(found)


def _unpacked(raw):
    """Yield what is packed in a text: what was encoded by base64, and packed by zlib before that."""
    for match in _PACKED.finditer(raw):
        text = match[0].rstrip(b"=").replace(b"+", b"-").replace(b"/", b"_")
        try:
            inner = base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
        except ValueError:
            continue
        yield inner
        try:
            yield zlib.decompress(inner)
        except zlib.error:
            continue


def database(url):
    """Yield (table.column, value) of every value in a database: all tables, ours or not."""
    connections.databases[ALIAS] = {
        **connections.databases["default"], **environ.Env.db_url_config(url),
    }  # fmt: skip
    try:
        connection = connections[ALIAS]
        with connection.cursor() as cursor:
            for table in connection.introspection.table_names(cursor):
                cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
                names = [column[0] for column in cursor.description]
                for row in cursor.fetchall():
                    for name, value in zip(names, row, strict=True):
                        plain = bytes(value) if isinstance(value, memoryview) else value
                        if plain is not None:
                            yield (
                                f"{table}.{name}",
                                plain if isinstance(plain, bytes) else str(plain),
                            )
    finally:
        connections[ALIAS].close()
        del connections[ALIAS]
        del connections.databases[ALIAS]


def files(directory, *, but=()):
    """Yield (name, content) of every file below a directory, `but` by their names in it."""
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if path.is_file() and name not in but:
            yield name, path.read_bytes()
