"""The bench: an expression tried on a past request, before anybody makes it a rule."""

from __future__ import annotations

import json
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from approvals import checks, story
from approvals.forms import BenchForm
from approvals.models import ActionRequest, RecordRead
from approvals.services.violations import asked_of
from approvals.views.edge import HtmxRequest, visible_or_404
from governance import cel, wording
from governance.vocabulary import Duty

MAY = (Duty.COMPLIANCE, Duty.POLICY_ADMIN)
RESULT_LENGTH = 2000


@require_http_methods(["GET", "HEAD", "POST"])
def bench(request: HtmxRequest) -> HttpResponse:
    """Show the bench; a POST runs the expression, in the limited child, and changes nothing. 422 for one to mend."""
    if not (request.user.is_superuser or request.user.has_duty(*MAY)):
        raise PermissionDenied("The bench is for compliance and policy administrators.")
    context: dict[str, Any] = {
        "here": "bench",
        "length": cel.LENGTH,
        "ref": request.GET.get("ref", "")[:20],
    }
    status = 200
    if request.method == "POST":
        form = BenchForm(request.POST)
        context |= {"form": form, "ref": request.POST.get("ref", "")[:20]}
        if form.is_valid():
            found = visible_or_404(request.user, form.cleaned_data["ref"].strip().upper())
            context |= _tried(found, form.cleaned_data["expression"])
            status = 422 if context.get("refused") else 200
        else:
            status = 422
    return render(request, "approvals/bench.html", context, status=status)


def _tried(found: ActionRequest, expression: str) -> dict[str, Any]:
    """Run it on what was asked and on what was read last of its target."""
    reads = list(RecordRead.objects.filter(request=found).order_by("record"))
    facts = checks.facts_of(
        found.action_type, found.payload, {each.record: each.state for each in reads}
    )
    values = checks.values_of(payload=found.payload, asked=asked_of(found), facts=facts)
    context: dict[str, Any] = {
        "found": found,
        "title": story.title_of(found),
        "read_at": max((each.read_at for each in reads), default=None),
    }
    try:
        tried = cel.try_out(expression, values)
    except cel.BadExpression as refused:
        return context | {"refused": refused.detail}
    unknown = checks.unknown_facts(expression, facts)
    return context | {
        "tried": tried,
        "holds": tried.result is True and not unknown,
        "unknown": unknown,
        "result": wording.plain(json.dumps(tried.result, default=str), RESULT_LENGTH),
        "used": checks.shown(expression, values),
        "hash": cel.hash_of(expression),
    }
