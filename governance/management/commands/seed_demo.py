"""Fills an empty database with the demo's organisation, policy, catalogue and agent."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils.module_loading import import_string

from governance import clock, demo, seals


class Command(BaseCommand):
    help = (
        "Seed the demo: people, policy, catalogue, one agent. Run again it changes nothing. "
        "Refused outside the demo profile, and on data that no demo wrote."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--speed", type=float, help="business seconds in a real one (1, or as it was)"
        )
        parser.add_argument("--fresh", action="store_true", help="drop what an earlier demo left")
        parser.add_argument(
            "--with-requests", action="store_true", help="also some requests that wait for somebody"
        )
        parser.add_argument(
            "--write-demo-file", type=Path, metavar="PATH", help="address and log-ins"
        )
        parser.add_argument("--url", default=settings.SITE_URL, help="address in the demo file")

    def handle(self, *args: Any, **options: Any) -> None:
        speed = options["speed"]
        if not settings.DEMO:
            raise CommandError(
                "This is not the demo profile (RECOURSE_PROFILE). Nothing was changed."
            )
        if speed is not None and not 0 < speed < float("inf"):
            raise CommandError(
                "--speed is how many business seconds pass in a real one: 1, 60, 0.5"
            )
        whose = demo.whose()
        if whose == "bare":
            raise CommandError("The database has no tables yet. Run `manage.py migrate` first.")
        if whose == "other":
            raise CommandError(
                "The database has data in it that no demo wrote, so it is left alone. "
                "Point DATABASE_URL to an empty one."
            )
        if options["fresh"] and whose == "demo":
            demo.wipe()
        keys = demo.seed(speed=speed, now=clock.now(), real_now=clock.real_now())
        count = 0
        if options["with_requests"]:
            count = sum(import_string(name)(now=clock.now()) for name in settings.RECOURSE_SEEDS)
        seals.seal_now(clock.now())
        facts = demo.facts(keys, url=options["url"].rstrip("/"))
        if options["write_demo_file"]:
            demo.write_private(options["write_demo_file"], json.dumps(facts, indent=2) + "\n")
        users = facts["users"]
        if options["write_demo_file"]:
            # What is written here may be kept as a log: the file is its owner's alone.
            self.stdout.write(f"{len(users)} people and an agent. Their log-ins are in that file.")
        else:
            self.stdout.write(f"{len(users)} people, each with the password {keys.password}:")
            self.stdout.write("  " + ", ".join(user["username"] for user in users))
            self.stdout.write(f"Agent {demo.AGENT}, token {keys.token}")
        if count:
            self.stdout.write(f"{count} requests wait for somebody.")
