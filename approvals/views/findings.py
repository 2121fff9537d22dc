"""What failed unseen, and what was given up: for those who mend it, and for auditors."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from approvals import auditing, selectors
from approvals.models import Finding, Notice
from approvals.services import dead_letters
from approvals.views.edge import (
    HtmxRequest,
    cursor_of,
    read_cursor,
    read_named_cursor,
    read_number,
)
from governance import clock, wording
from governance.audits import Look, last_round
from governance.errors import AlreadyDecided, NotFound, NotNow, NotYours

PAGE = 50
OF_SWEEPS = {  # findings that no audit looks for
    "clock.late": (
        "Rungs that began late, because the clock was: each has its full time all the same.",
        "After an outage nothing is left to do.",
    )
}


class Shown(NamedTuple):
    """One finding, and what it means."""

    finding: Finding
    name: str  # "Clock overdue"
    means: str
    mend: str
    page: str  # the name of the URL where it is seen to, or ""


class Looked(NamedTuple):
    """One audit, for the list of what is looked for."""

    name: str
    means: str
    open: int


class Message(NamedTuple):
    """One message that was given up."""

    notice: Notice
    to: str
    about: str


@require_safe
def findings(request: HtmxRequest) -> HttpResponse:
    """Show the findings of audits, open and past, and the dead letters. 403 to others than those who mend or audit."""
    person, now = request.user, clock.now()
    if not selectors.sees_findings(person):
        raise PermissionDenied("Operators, policy administrators and auditors see what failed.")
    looks = auditing.all_audits()
    standing = list(selectors.standing_findings()[: PAGE + 1])
    after = read_cursor(request.GET.get("after", ""))
    past = list(selectors.past_findings(after=after)[: PAGE + 1])
    before = read_number(request.GET.get("letters", ""))
    letters = list(selectors.dead_letters(before=before)[: PAGE + 1])
    behind = read_named_cursor(request.GET.get("tasks", ""))
    tasks = selectors.dead_tasks(limit=PAGE + 1, after=behind)
    last = past[PAGE - 1] if len(past) > PAGE else None
    counts = selectors.findings_by_audit()
    context: dict[str, Any] = {
        "here": "findings",
        "now": now,
        "standing": [_shown(each, looks) for each in standing[:PAGE]],
        "count": wording.capped(len(standing), PAGE),
        "past": [_shown(each, looks) for each in past[:PAGE]],
        "more": cursor_of(last.cleared_at, last.pk) if last and last.cleared_at else "",
        "first": after is None,
        "letters": [_message(each) for each in letters[:PAGE]],
        "letters_more": letters[PAGE - 1].pk if len(letters) > PAGE else None,
        "tasks": tasks[:PAGE],
        "tasks_more": (
            cursor_of(tasks[PAGE - 1].last_at, tasks[PAGE - 1].task) if len(tasks) > PAGE else ""
        ),
        "from_the_last": before is None and behind is None,
        "looked_at": last_round(),
        "looks": [
            Looked(_name(name), look.means, counts.get(name, 0)) for name, look in looks.items()
        ],
        "may_tend": dead_letters.may_tend(person),
    }
    return render(request, "approvals/findings.html", context)


@require_POST
def message_send_again(request: HtmxRequest, pk: int) -> HttpResponse:
    """Try a message that was out of tries anew."""
    return _done(
        request,
        lambda now: dead_letters.send_again(notice=pk, actor=request.user, now=now),
        "It is sent again now.",
    )


@require_POST
def message_put_aside(request: HtmxRequest, pk: int) -> HttpResponse:
    """Let a message that was out of tries be."""
    return _done(
        request,
        lambda now: dead_letters.put_aside(notice=pk, actor=request.user, now=now),
        "It was put aside.",
    )


@require_POST
def task_run_again(request: HtmxRequest, task: str) -> HttpResponse:
    """Queue anew what a task that failed was to do."""
    return _done(
        request,
        lambda now: dead_letters.run_again(task=task, actor=request.user, now=now),
        "It is run again as soon as the worker takes it.",
    )


@require_POST
def task_put_aside(request: HtmxRequest, task: str) -> HttpResponse:
    """Let a task that failed be."""
    return _done(
        request,
        lambda now: dead_letters.put_task_aside(task=task, actor=request.user, now=now),
        "It was put aside.",
    )


def _done(request: HtmxRequest, call: Callable[[datetime], object], said: str) -> HttpResponse:
    try:
        call(clock.now())
    except NotYours as refusal:
        return HttpResponse(refusal.detail, status=refusal.status, content_type="text/plain")
    except (AlreadyDecided, NotFound, NotNow) as refusal:
        messages.error(request, refusal.detail)
    else:
        messages.success(request, said)
    return redirect("approvals:findings")


def _shown(finding: Finding, looks: dict[str, Look]) -> Shown:
    look = looks.get(finding.audit)
    means, mend = OF_SWEEPS.get(finding.audit, ("", ""))
    page = ""
    if look is not None:
        means, mend, page = look.means, look.mend, look.page
    if finding.key == auditing.ITSELF:
        means = "An audit that could not be run: what it looks for may be there."
        mend = "This is a defect, or a row that cannot be read: the text says which error it was."
    return Shown(finding, _name(finding.audit), means, mend, page)


def _name(audit: str) -> str:
    return audit.replace("_", " ").replace(".", " ").capitalize()


def _message(notice: Notice) -> Message:
    agent = notice.request.agent.name if notice.request is not None else ""
    to = str(notice.person) if notice.person is not None else f"agent {agent}"
    return Message(notice, to, wording.plain(notice.last_error, 300))
