"""`manage.py who_decides`: who would get this, rung by rung, and why not others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils.dateparse import parse_datetime

from governance import clock, wording
from governance.errors import Refused
from governance.management.of_a_version import OfAVersion
from governance.vocabulary import ExceptionType, Impact, Severity
from governance.who_decides import Ladder, Rung, document, who_decides


class Command(OfAVersion):
    help = "Say who would be asked about a request, person by person, and why not others."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("action", help="key of an action in production: vendor_payment")
        parser.add_argument("department", help="its key: accounts-payable")
        parser.add_argument(
            "--amount", default="", help="such as 12000.00; none for an action without one"
        )
        parser.add_argument("--currency", default="USD", help="ISO 4217; USD by default")
        parser.add_argument(
            "--at", default="", help="ISO 8601, UTC unless it says otherwise; now by default"
        )
        parser.add_argument(
            "--exception", choices=ExceptionType.values, default=ExceptionType.TIMEOUT.value
        )
        parser.add_argument("--severity", choices=Severity.values)
        parser.add_argument("--impact", choices=Impact.values)
        parser.add_argument("--agent", default="", help="its name: its owner may not decide")
        parser.add_argument(
            "--on-behalf-of", default="", help="user name or address of whom the agent acts for"
        )
        parser.add_argument(
            "--resource", default="", help="key of the record, for its owner in a conflict"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        for name in ("action", "department", "currency", "agent", "on_behalf_of", "resource"):
            _demand_text(options[name])
        try:
            found = who_decides(
                action=options["action"],
                department=options["department"],
                at=_instant(options["at"]),
                amount=_amount(options["amount"]),
                currency=options["currency"],
                exception=ExceptionType(options["exception"]),
                severity=Severity(options["severity"]) if options["severity"] else None,
                impact=Impact(options["impact"]) if options["impact"] else None,
                agent=options["agent"],
                on_behalf_of=options["on_behalf_of"],
                resource=options["resource"],
                version=options["version"],
            )
        except Refused as problem:
            raise CommandError(problem.detail) from problem
        if options["json"]:
            self.stdout.write(json.dumps(document(found), indent=2))
            return
        for line in _lines(found):
            self.stdout.write(line)


def _demand_text(text: str) -> None:
    """Refuse bytes that a shell hands on and that are no text."""
    if not text.isprintable():
        raise CommandError(f"{text!a} is no name. Say it in UTF-8.")


def _instant(text: str) -> datetime:
    if not text:
        return clock.now()
    try:
        found = parse_datetime(text)
    except ValueError:
        found = None
    if found is None:
        raise CommandError(f"{text} is no instant. Say it as 2026-12-24T09:00, in UTC.")
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _amount(text: str) -> Decimal | None:
    try:
        return Decimal(text) if text else None
    except InvalidOperation as problem:
        raise CommandError(f"{text} is no amount. Say it as 12000.00.") from problem


def _lines(found: Ladder) -> Iterator[str]:
    amount = wording.money(found.amount, found.currency)
    yield (
        f"{found.action} of {amount} in {found.department}, {found.severity} severity, {found.impact}"
        f" impact: policy {found.policy}, matrix row {found.row}, {found.response}"
    )
    for rung in found.rungs:
        yield from _rung(rung, found.at)
    end = wording.at(found.ends_at, now=found.at, zone=UTC)
    yield f"{end}  then {found.ends}"


def _rung(rung: Rung, at: datetime) -> Iterator[str]:
    opens = wording.at(rung.opens_at, now=at, zone=UTC)
    if rung.due_at is None:
        yield f"{opens}  L{rung.level} {rung.path}: nobody can be asked, so that the next rung opens at once"
    else:
        until = wording.at(rung.due_at, now=at, zone=UTC)
        needed = f", {rung.needed} needed" if rung.needed > 1 else ""
        what = "tried again by itself" if rung.automatic else "asked"
        yield f"{opens}  L{rung.level} {rung.path}: {what} until {until}{needed}"
    for each in rung.asked:
        silent = "" if each.reachable else ", in the inbox alone"
        yield f"         {each.name} ({each.username}): {each.why}{silent}"
    for each in rung.passed_over:
        yield f"         not {each.name} ({each.username}): {each.why}"
