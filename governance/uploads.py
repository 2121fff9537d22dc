"""Files that people send: kept in memory, never on disk, and let go of once they are too large."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from django.core.files.uploadedfile import InMemoryUploadedFile, UploadedFile
from django.core.files.uploadhandler import FileUploadHandler, SkipFile
from django.http import HttpRequest

LIMIT = 4 * 1024 * 1024  # bytes of one file, whatever it is; a page may take less
_TOO_LARGE = "recourse.uploads.too_large"  # in request.META


class KeptInMemory(FileUploadHandler):
    """Keeps each file in memory up to LIMIT. What is longer is read on, dropped, and known to be too large."""

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        self._content = BytesIO()

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        if start + len(raw_data) > LIMIT:
            self._content.close()
            if self.request is not None:
                self.request.META.setdefault(_TOO_LARGE, set()).add(self.field_name)
            raise SkipFile
        self._content.write(raw_data)

    def file_complete(self, file_size: int) -> UploadedFile[Any]:
        self._content.seek(0)
        return InMemoryUploadedFile(
            self._content,
            self.field_name,
            self.file_name or "",
            self.content_type or "",
            file_size,
            self.charset,
            self.content_type_extra,
        )


def was_too_large(request: HttpRequest, field: str) -> bool:
    """Whether a file came for this field and was dropped, being longer than LIMIT."""
    _ = request.FILES  # read them, if nobody has
    return field in request.META.get(_TOO_LARGE, ())
