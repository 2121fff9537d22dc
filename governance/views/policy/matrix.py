"""A draft's matrix: a row stored, taken out or added, and a whole file read in after a look at it."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST
from django_htmx.http import HttpResponseClientRefresh

from governance import clock, wording
from governance.drafting import Mistake, NotRight, rows, sheet, shown
from governance.drafting import names as naming
from governance.drafting.book import rows_of
from governance.errors import Refused
from governance.models import MatrixRow, PolicyVersion
from governance.services import policy as services
from governance.views.policy.edge import (
    PolicyRequest,
    for_editors,
    frame_of,
    revision_of,
    version_or_404,
)
from governance.views.policy.versions import page_of

CHANGED = "policy-changed"  # what the page hears after an edit in place


@require_POST
@for_editors
def row_add(request: PolicyRequest, number: int) -> HttpResponse:
    """Add a row. 422 for one to mend, 409 for a draft that somebody changed."""
    return _save(request, number, None)


@require_POST
@for_editors
def row_save(request: PolicyRequest, number: int, row: int) -> HttpResponse:
    """Store a row, or with `remove` take it out. For htmx the row alone is the answer."""
    if "remove" not in request.POST:
        return _save(request, number, row)
    version = version_or_404(number)
    try:
        services.remove_row(
            number=number,
            revision=revision_of(request),
            actor=request.user,
            row=row,
            now=clock.now(),
        )
    except Refused as refusal:
        return _not_stored(request, version, row, refusal)
    messages.success(request, f"Row {row} is taken out.")
    return _to(request, f"{reverse('governance:policy-version', args=[number])}#s-matrix")


def _save(request: PolicyRequest, number: int, row: int | None) -> HttpResponse:
    version = version_or_404(number)
    try:
        stored = services.save_row(
            number=number,
            revision=revision_of(request),
            actor=request.user,
            row=row,
            cells=_cells(request),
            now=clock.now(),
        )
    except Refused as refusal:
        return _not_stored(request, version, row, refusal)
    page = reverse("governance:policy-version", args=[number])
    if row is None or not request.htmx:
        return _to(request, f"{page}#row-{stored}")
    version = version_or_404(number)
    names = naming.load()
    found = MatrixRow.objects.prefetch_related("delegates").get(version=version, number=stored)
    base = rows_of(version.based_on, names) if version.based_on else None
    shown_row = shown.grid_row(stored, rows.of(found), names, base=base)
    return _row(request, version, shown_row)


def _not_stored(
    request: PolicyRequest, version: PolicyVersion, row: int | None, refusal: Refused
) -> HttpResponse:
    """Show the row as it was typed, with what is to be mended under it."""
    wrong = (
        {each.field: each.words for each in reversed(refusal.mistakes)}
        if isinstance(refusal, NotRight)
        else {"": refusal.detail}
    )
    number = row or _next(version)
    typed = shown.typed_row(number, _cells(request), wrong)
    if request.htmx:
        # Of a draft that somebody changed the page keeps the old revision: it is to be looked at first.
        stale = isinstance(refusal, services.EditedMeanwhile)
        more = {"stale": stale, "revision": revision_of(request)} if stale else {}
        return _row(request, version, typed, status=refusal.status, is_new=row is None, **more)
    context = page_of(request, version)
    if row is None:
        context["blank"] = typed
    else:
        context["grid"] = [typed if each.number == row else each for each in context["grid"]]
        if all(each.number != row for each in context["grid"]):
            context["refusal"] = refusal
    return render(request, "policy/version.html", context, status=refusal.status)


def _row(
    request: PolicyRequest,
    version: PolicyVersion,
    row: shown.GridRow,
    *,
    status: int = 200,
    is_new: bool = False,
    **more: Any,
) -> HttpResponse:
    context = frame_of(request, version) | {"row": row, "is_new": is_new} | more
    answer = render(request, "policy/parts/row.html", context, status=status)
    if status == 200:
        answer["HX-Trigger-After-Swap"] = CHANGED
    return answer


def _to(request: PolicyRequest, url: str) -> HttpResponse:
    # To an address with another anchor a browser would only scroll.
    return HttpResponseClientRefresh() if request.htmx else redirect(url)


def _cells(request: PolicyRequest) -> dict[str, str]:
    return {field: request.POST.get(field, "") for field in rows.FIELDS}


def _next(version: PolicyVersion) -> int:
    last = MatrixRow.objects.filter(version=version).order_by("-number").first()
    return last.number + 1 if last else 1


@require_POST
@for_editors
def rows_pasted(request: PolicyRequest, number: int) -> HttpResponse:
    """Say as JSON what of several rows does not read; with `store`, store all of them or none.

    `row` names each, as "14" or "new"; every field is there once a row, in their order.
    Answers `{"detail", "mistakes": [{"row", "field", "words"}]}`; `{}` where all is well.
    """
    version = version_or_404(number)
    new = _next(version)
    sent = request.POST.getlist("row")[: sheet.MOST_ROWS]
    numbers = {row: new if row == "new" else _number(row) for row in sent}
    columns = {field: request.POST.getlist(field) for field in rows.FIELDS}
    cells = {
        numbers[row]: {field: values[place] for field, values in columns.items() if place < len(values)}
        for place, row in enumerate(sent)
    }  # fmt: skip
    try:
        if "store" in request.POST:
            services.save_rows(
                number=number,
                revision=revision_of(request),
                actor=request.user,
                cells=cells,
                now=clock.now(),
            )
            messages.success(request, f"{wording.plural(len(cells), 'row')} stored in the draft.")
        else:
            rows.read_several(cells, naming.load(), there=_there(version))
    except NotRight as refusal:
        keys = {found: row for row, found in numbers.items()}
        mistakes = [
            {"row": keys.get(each.row or 0, ""), "field": each.field, "words": _said(each)}
            for each in refusal.mistakes
        ]
        # To have said what does not read is what was asked for, unless it was to be stored.
        status = refusal.status if "store" in request.POST else 200
        return JsonResponse({"detail": "", "mistakes": mistakes}, status=status)
    except Refused as refusal:
        return JsonResponse({"detail": refusal.detail, "mistakes": []}, status=refusal.status)
    return JsonResponse({})


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _said(mistake: Mistake) -> str:
    label = shown.COLUMNS.get(mistake.field)
    return f"{label}: {mistake.words}" if label else mistake.words


def _there(version: PolicyVersion) -> dict[int, rows.RowParts]:
    found = MatrixRow.objects.filter(version=version).prefetch_related("delegates")
    return {row.number: rows.of(row) for row in found}


@require_http_methods(["GET", "HEAD", "POST"])
@for_editors
def matrix_take(request: PolicyRequest, number: int) -> HttpResponse:
    """Show what a file would change; with `take`, change it. 422 for a file to mend."""
    version = version_or_404(number)
    context: dict[str, Any] = frame_of(request, version) | {
        "columns": sheet.COLUMNS,
        "most_rows": sheet.MOST_ROWS,
    }
    if request.method != "POST":
        return render(request, "policy/take.html", context)
    try:
        return _take(request, version, context)
    except NotRight as refusal:
        context |= {"mistakes": refusal.mistakes, "fields": shown.COLUMNS, "status": refusal.status}
    except Refused as refusal:
        context |= {"refusal": refusal, "status": refusal.status}
    return render(request, "policy/take.html", context, status=context["status"])


def _take(request: PolicyRequest, version: PolicyVersion, context: dict[str, Any]) -> HttpResponse:
    """Take what was looked at, or show what the file would change."""
    if "take" in request.POST:
        count = services.take_matrix(
            number=version.number,
            revision=revision_of(request),
            actor=request.user,
            text=request.POST.get("text", ""),
            now=clock.now(),
        )
        messages.success(request, f"The matrix is as in the file: {count:,} rows.")
        return redirect("governance:policy-version", number=version.number)
    file = request.FILES.get("file")
    if file is None:
        raise NotRight([Mistake(None, "", "Choose a file.")])
    text = sheet.decode(file.read(sheet.MOST_BYTES + 1))
    names = naming.load()
    before = rows_of(version, names)
    found = sheet.read(text, names, there=_there(version))
    after = {str(each): rows.keyed(parts, names) for each, parts in found.items()}
    differences = shown.row_differences(before, after, names)
    context |= {
        "text": text,
        "count": len(found),
        "differences": differences,
        "added": sum(each.kind == "added" for each in differences),
        "removed": sum(each.kind == "removed" for each in differences),
        "changed": sum(not each.kind for each in differences),
    }
    return render(request, "policy/take.html", context)
