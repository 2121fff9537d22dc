"""Commands that ask for a version of the policy."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser


class OfAVersion(BaseCommand):
    """Takes `--version N`, which Django has for its own."""

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(prog_name, subcommand, conflict_handler="resolve", **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--version", type=int, metavar="N", help="of the policy, draft or not, by its number"
        )
        parser.add_argument(
            "--json", action="store_true", help="one JSON document instead of lines"
        )
