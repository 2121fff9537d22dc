"""`manage.py evidence R-7K2M-9XQ4-B3TD --output pack.zip`: what an auditor takes away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from approvals.models import Review
from approvals.services.evidence import BY_COMMAND, pack_request, pack_review
from governance import clock
from governance.errors import NotFound
from governance.evidence import Subject, build


class Command(BaseCommand):
    help = (
        "Write the evidence pack of a request, or of a review of it. Check it with its verify.py."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("ref", help="of the request: R-7K2M-9XQ4-B3TD")
        parser.add_argument("--review", type=int, help="the number of one of its reviews")
        parser.add_argument("--output", type=Path, required=True, help="the zip to write")

    def handle(self, *args: Any, **options: Any) -> None:
        output: Path = options["output"]
        try:
            subject = _subject(options["ref"], options["review"])
        except NotFound as refusal:
            raise CommandError(refusal.detail) from refusal
        content = build(subject, by=BY_COMMAND, now=clock.now())
        try:
            output.write_bytes(content)
        except OSError as problem:
            raise CommandError(f"{output} cannot be written: {problem}") from problem
        self.stdout.write(f"{output}: {len(content):,} bytes, {subject.title}")


def _subject(ref: str, review: int | None) -> Subject:
    if review is None:
        return pack_request(ref=ref, actor=None, now=clock.now())
    if not Review.objects.filter(pk=review, request__ref=ref).exists():
        raise NotFound(f"{ref} has no review {review}.")
    return pack_review(review=review, actor=None, now=clock.now())
