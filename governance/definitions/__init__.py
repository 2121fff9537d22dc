"""What an action type's version says, as one JSON document: written down, read, judged and compared.

Nothing here writes: `governance.services.actions` does. The document names
everything but the version's number and state, so that it means the same in a
file, on a page and in another installation.
"""

from __future__ import annotations

from governance.definitions.differences import differences
from governance.definitions.reading import LIMIT, NotADefinition, Place, misfits, read
from governance.definitions.writing import as_recorded, digest_of, document_of, text_of

__all__ = [
    "LIMIT",
    "NotADefinition",
    "Place",
    "as_recorded",
    "differences",
    "digest_of",
    "document_of",
    "misfits",
    "read",
    "text_of",
]
