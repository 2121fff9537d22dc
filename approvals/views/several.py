"""Approving several requests of one kind: a page that lists each, and an answer for each."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from approvals import selectors, story
from approvals.channels.words import zone_of
from approvals.forms import SeveralForm
from approvals.models import ActionRequest, Ask
from approvals.packets import packets_of
from approvals.services.several import MOST, approve_one_of_several, why_alone
from approvals.views.edge import HtmxRequest
from governance import clock, wording
from governance.errors import Refused
from governance.models import Person
from governance.vocabulary import Path

_REF = re.compile(r"[A-Z0-9-]{1,16}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Line:
    """One of those selected, as the page that asks once more shows it."""

    ref: str
    title: str
    facts: str
    amount: Decimal | None
    currency: str
    due_at: datetime | None
    opened_at: datetime | None
    passed: str
    digest: str
    digest_short: str


def kind_of(request: ActionRequest) -> str:
    """Return what must be the same of all that are decided together: action type and risk."""
    return f"{request.action_type.key} v{request.action_type.version} {request.severity} {request.impact}"


@require_http_methods(["GET", "HEAD", "POST"])
def inbox_several(request: HtmxRequest) -> HttpResponse:
    """List those selected and ask once more; then decide each, and say what came of each."""
    if request.method != "POST":
        refs = [ref for ref in request.GET.getlist("ref") if _REF.fullmatch(ref)]
        return _ask(request, refs)
    form = SeveralForm(request.POST)
    pairs = [pair.partition(":")[::2] for pair in request.POST.getlist("shown")[:MOST]]
    pairs = [
        (ref, digest) for ref, digest in pairs if _REF.fullmatch(ref) and _DIGEST.fullmatch(digest)
    ]
    if not form.is_valid():
        return _ask(request, [ref for ref, _ in pairs], form=form, status=422)
    visible = set(
        selectors.visible_to(request.user)
        .filter(ref__in=[ref for ref, _ in pairs])
        .values_list("ref", flat=True)
    )
    approved = 0
    for ref, digest in dict(pairs).items():
        try:
            if ref not in visible:
                messages.warning(request, f"{ref} was not approved. You may not see it.")
                continue
            taken = approve_one_of_several(
                ref=ref, actor=request.user, digest=digest,
                note=form.cleaned_data["note"], now=clock.now(),
            )  # fmt: skip
        except Refused as refusal:
            messages.warning(request, f"{ref} was not approved. {refusal.title}. {refusal.detail}")
            continue
        approved += 1
        messages.success(request, f"You approved {ref}: {story.title_of(taken)}.")
    if not pairs:
        messages.warning(request, "Nothing was selected, so nothing was decided.")
    return redirect("approvals:inbox")


def _ask(
    request: HtmxRequest, refs: list[str], *, form: SeveralForm | None = None, status: int = 200
) -> HttpResponse:
    now = clock.now()
    lines, left_out, name = _lines(request.user, list(dict.fromkeys(refs))[:MOST], now)
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for line in lines:
        if line.amount is not None:
            sums[line.currency] += line.amount
    total = " and ".join(wording.money(amount, currency) for currency, amount in sums.items())
    count = wording.plural(len(lines), name.lower() or "request")
    context: dict[str, Any] = {
        "here": "inbox",
        "now": now,
        "lines": lines,
        "left_out": left_out,
        "what": f"{count}, {total} together" if total else count,
        "button": f"Approve {count} of {total}" if total else f"Approve {count}",
        "form": form,
        "most": MOST,
    }
    return render(request, "approvals/several.html", context, status=status)


def _lines(
    person: Person, refs: list[str], now: datetime
) -> tuple[list[Line], list[tuple[str, str]], str]:
    """Return what may be decided together, what is left out and why, and the kind's name."""
    found = {each.ref: each for each in selectors.visible_to(person).filter(ref__in=refs)}
    mine = Ask.objects.filter(
        step__request__in=found.values(), person=person, path=Path.APPROVAL, due_at__gt=now
    )
    asked = set(mine.values_list("step__request", flat=True))
    packets = {packet.request.ref: packet for packet in packets_of(list(found.values()), now=now)}
    lines: list[Line] = []
    left_out: list[tuple[str, str]] = []
    kind = name = ""
    zone = zone_of(person)
    for ref in refs:
        row = found.get(ref)
        if row is None:
            left_out.append((ref, "There is no such request, or you may not see it."))
            continue
        title, packet = f"{ref}: {story.title_of(row)}", packets[ref]
        if row.pk not in asked:
            left_out.append((title, "It does not wait for your first answer any more."))
        elif (why := why_alone(row)) is not None:
            left_out.append((title, why))
        elif kind and kind_of(row) != kind:
            left_out.append((title, "It is of another kind or risk than the first one selected."))
        else:
            kind, name = kind_of(row), row.action_type.name
            step = packet.waiting
            lines.append(
                Line(
                    ref=ref,
                    title=story.title_of(row),
                    facts=story.sub_line(packet, reader=person, now=now, zone=zone),
                    amount=row.amount,
                    currency=row.currency,
                    due_at=step.due_at if step else None,
                    opened_at=step.opened_at if step else None,
                    passed=story.passed_words(packet, reader=person, now=now),
                    digest=row.digest,
                    digest_short=story.short(row.digest),
                )
            )
    return lines, left_out, name
