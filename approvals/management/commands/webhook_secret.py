"""`manage.py webhook_secret ap-agent`: what the agent's builder verifies our webhooks with."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from approvals.channels.webhook import webhook_secret
from governance.models import Agent


class Command(BaseCommand):
    help = "Print the secret that signs the webhooks of an agent. Hand it over as you would a password."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("agent", help="its name")

    def handle(self, *args: Any, **options: Any) -> None:
        agent = Agent.objects.filter(name=options["agent"]).first()
        if agent is None:
            raise CommandError(f"There is no agent {options['agent']}.")
        self.stdout.write(webhook_secret(agent))
