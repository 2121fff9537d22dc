"""All versions, one of them whole, what differs between two, and the matrix as a file."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from governance import clock
from governance.drafting import names as naming
from governance.drafting import sheet, shown
from governance.drafting.book import EMPTY, book_of, rows_of
from governance.errors import Refused
from governance.models import PolicyCheck, PolicyVersion
from governance.models.policy import NEVER_IN_FORCE
from governance.services import policy as services
from governance.views.policy.activation import checked
from governance.views.policy.edge import (
    PolicyRequest,
    for_editors,
    for_readers,
    frame_of,
    may_edit,
    revision_of,
    version_or_404,
)
from governance.views.policy.standing import standing

SHOWN = 100  # versions


@require_safe
@for_readers
def versions(request: PolicyRequest) -> HttpResponse:
    """List the versions: drafts first, then what is in force, what was, and what never will be."""
    found = (
        PolicyVersion.objects.select_related(
            "based_on", "activated_by", "edited_by", "discarded_by"
        )
        .prefetch_related("editors")
        .order_by("-number")
    )
    states = PolicyVersion.State
    context = {
        "here": "policy",
        "may_edit": may_edit(request.user),
        "drafts": found.filter(state=states.DRAFT)[:SHOWN],
        "active": found.filter(state=states.ACTIVE).first(),
        "past": found.filter(state=states.SUPERSEDED)[:SHOWN],
        "discarded": found.filter(state=states.DISCARDED)[:SHOWN],
    }
    return render(request, "policy/versions.html", context | standing(now=clock.now()))


@require_POST
@for_editors
def draft_begin(request: PolicyRequest) -> HttpResponse:
    """Begin a draft, and open it."""
    draft = services.start_draft(actor=request.user, now=clock.now())
    messages.success(request, f"Draft {draft.number} is begun. Nothing is routed by it yet.")
    return redirect("governance:policy-version", number=draft.number)


@require_http_methods(["GET", "HEAD", "POST"])
@for_editors
def draft_discard(request: PolicyRequest, number: int) -> HttpResponse:
    """Discard a draft; 409 if it has changed. The question before it is a part of the draft's page."""
    version = version_or_404(number)
    if request.method != "POST":
        if request.htmx and version.state == PolicyVersion.State.DRAFT:
            return render(request, "policy/parts/discard.html", page_of(request, version))
        return redirect(f"{reverse('governance:policy-version', args=[number])}#discard")
    try:
        services.discard(
            number=number, revision=revision_of(request), actor=request.user, now=clock.now()
        )
    except Refused as refusal:
        context = page_of(request, version_or_404(number)) | {"refusal": refusal}
        return render(request, "policy/version.html", context, status=refusal.status)
    messages.success(request, f"Draft {number} is discarded. Its number is not used again.")
    return redirect("governance:policy")


@require_safe
@for_readers
def version_page(request: PolicyRequest, number: int) -> HttpResponse:
    """Show a version whole; a draft's matrix as a grid that is edited in place.

    With `?check=1` a draft is checked first, and what is found of a row stands under
    it: for whoever has no script, which asks for it by itself.
    """
    version = version_or_404(number)
    context = page_of(request, version)
    if context["is_draft"] and "check" in request.GET:
        context |= checked(request, version, now=clock.now())
    return render(request, "policy/version.html", context)


def page_of(request: PolicyRequest, version: PolicyVersion) -> dict[str, Any]:
    """Return everything a version's page shows."""
    names = naming.load()
    context = frame_of(request, version)
    base = version.based_on
    # What differs is marked in a draft. What is in force stands for itself.
    is_marked = base is not None and version.state in NEVER_IN_FORCE
    marked = rows_of(base, names) if base is not None and is_marked else None
    grid = shown.grid(version, names, base=marked)
    tree = shown.tree(version)
    cells = [cell for group in tree for row in group.rows for cell in row.cells]
    return context | {
        "editors": list(version.editors.order_by("name")),
        "names": names,
        "columns": [(field, words, field in shown.FIGURES) for field, words in shown.COLUMNS.items()],
        "grid": grid,
        "blank": shown.empty_row(max((row.number for row in grid), default=0) + 1),
        "tree": tree,
        "impacts": shown.IMPACTS,
        "sources": _sources(cells),
        "windows": shown.windows(version),
        "offices": shown.offices(version, names),
        "rules": PolicyCheck.objects.filter(version=version).order_by("key"),
        "changes": shown.count(shown.differences(book_of(base, names), book_of(version, names), names))
        if base is not None and is_marked
        else None,
        "signers": [each.person for each in version.signatures.select_related("person").order_by("pk")],
    }  # fmt: skip


def _sources(cells: list[shown.TreeCell]) -> dict[str, int]:
    """Count the cells by whose answer they hold."""
    found = {"R": 0, "O": 0, "local": 0}
    for cell in cells:
        found[cell.source.value] += cell.rows * cell.columns
    return found


@require_safe
@for_readers
def version_changes(request: PolicyRequest, number: int) -> HttpResponse:
    """Show what differs from another version: the one it was begun from, or `?since=` another."""
    version = version_or_404(number)
    names = naming.load()
    since = _since(request, version)
    parts = shown.differences(
        book_of(since, names) if since else EMPTY, book_of(version, names), names
    )
    others = PolicyVersion.objects.exclude(pk=version.pk).order_by("-number")[:SHOWN]
    context = frame_of(request, version) | {
        "since": since,
        "parts": parts,
        "count": shown.count(parts),
        "others": others,
    }
    return render(request, "policy/changes.html", context)


def _since(request: PolicyRequest, version: PolicyVersion) -> PolicyVersion | None:
    text = request.GET.get("since", "")
    if text:
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise Http404("no such version")
        return version_or_404(int(text))
    if version.based_on is not None:
        return version.based_on
    earlier = PolicyVersion.objects.filter(number__lt=version.number)
    found: PolicyVersion | None = earlier.order_by("-number").first()
    return found


@require_safe
@for_readers
def version_matrix(request: PolicyRequest, number: int) -> HttpResponse:
    """Hand out the matrix as CSV."""
    version = version_or_404(number)
    text = sheet.write(rows_of(version, naming.load()).items())
    answer = HttpResponse("\ufeff" + text, content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="matrix-{version.number}.csv"'
    return answer
