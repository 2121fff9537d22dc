"""Compliance rules on a violation on the request's page, and reports one there."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from approvals import story
from approvals.forms import ComplianceForm, ReportForm
from approvals.services.compliance import rule_on_violation
from approvals.services.violations import Became, report
from approvals.views.edge import HtmxRequest, visible_or_404
from approvals.views.request import answer, open_ask, stored
from governance import clock
from governance.errors import Refused

REPORTED = {
    Became.BLOCKED: "It is blocked now, and compliance is asked.",
    Became.STOPPING: "It stops after the unit it is at; then compliance is asked.",
    Became.JOINED: "Compliance is asked about it already; your report was added.",
    Became.REVIEW: "It cannot be stopped any more, so a review was opened.",
    Became.RECORDED: "It has ended without effects; your report was recorded.",
    Became.WAIVED: "Compliance has let this rule pass for it; your report was recorded.",
}


@require_POST
def request_comply(request: HtmxRequest, ref: str) -> HttpResponse:
    """Take a verdict of compliance. 422 for a form to mend, 403 or 409 for a refusal."""
    found = visible_or_404(request.user, ref)
    own = open_ask(found, request.user)
    form = ComplianceForm(request.POST)
    if not form.is_valid():
        return answer(request, found, form=form, status=422)
    try:
        rule_on_violation(ref=ref, actor=request.user, now=clock.now(), **form.cleaned_data)
    except Refused as refusal:
        return answer(request, found, form=form, refusal=refusal, status=refusal.status)
    did = story.DID[form.cleaned_data["verdict"]]
    return stored(request, found, own, f"You {did} {found.ref}: {story.title_of(found)}.")


@require_POST
def request_report(request: HtmxRequest, ref: str) -> HttpResponse:
    """Take a report that a rule is broken: a sentence. 422 for a form to mend, 403 for a refusal."""
    found = visible_or_404(request.user, ref)
    form = ReportForm(request.POST)
    if not form.is_valid():
        return answer(request, found, report_form=form, status=422)
    try:
        reported = report(ref=ref, by=request.user, now=clock.now(), **form.cleaned_data)
    except Refused as refusal:
        return answer(request, found, report_form=form, refusal=refusal, status=refusal.status)
    messages.success(request, f"You reported a violation by {ref}. {REPORTED[reported.became]}")
    return redirect("approvals:request", ref=ref)
