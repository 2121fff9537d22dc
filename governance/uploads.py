"""Files that people send: kept in memory, never on disk, and no more of them than a page may take."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from django.core.files.uploadedfile import InMemoryUploadedFile, UploadedFile
from django.core.files.uploadhandler import FileUploadHandler

# Bytes kept of one file; one more where there are more, so that its size tells that it is too large.
# Every page has a limit of its own below this one.
LIMIT = 4 * 1024 * 1024


class KeptInMemory(FileUploadHandler):
    """Keeps the first LIMIT + 1 bytes of each file, and reads on to its end without keeping the rest."""

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        self._kept = BytesIO()

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self._kept.write(raw_data[: max(LIMIT + 1 - start, 0)])

    def file_complete(self, file_size: int) -> UploadedFile[Any]:
        size = self._kept.tell()
        self._kept.seek(0)
        return InMemoryUploadedFile(
            self._kept,
            self.field_name,
            self.file_name or "",
            self.content_type or "",
            size,
            self.charset,
            self.content_type_extra,
        )
