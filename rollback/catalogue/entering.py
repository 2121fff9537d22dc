"""A new version, from a definition that somebody pastes or sends: first judged, then stored as a draft."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from governance import clock
from governance.definitions import (
    LIMIT,
    NotADefinition,
    Place,
    document_of,
    read,
    text_of,
)
from governance.definitions.shape import WORDS
from governance.errors import Refused
from governance.models import ActionType
from governance.services import actions as services
from rollback.catalogue.edge import ActionsRequest, for_admins, version_or_404
from rollback.connectors.registry import KINDS


@require_http_methods(["GET", "HEAD", "POST"])
@for_admins
def enter(request: ActionsRequest) -> HttpResponse:
    """Show a definition to edit, `?from=key/2` a copy of one; a POST stores it. 422 for one to mend."""
    if request.method != "POST":
        found = _from(request.GET.get("from", ""))
        text = "" if found is None else text_of(document_of(found))
        return _page(request, text, begun_from=found)
    try:
        text = _typed(request)
        new = services.enter_version(fields=read(text), actor=request.user, now=clock.now())
    except NotADefinition as refused:
        return _page(request, _shown(request), refused=refused, places=refused.places, status=422)
    except Refused as refused:
        return _page(request, _shown(request), refused=refused, status=refused.status)
    messages.success(request, f"Version {new.version} is entered. No agent can ask for it yet.")
    return redirect("rollback:action-version", key=new.key, version=new.version)


def _from(text: str) -> ActionType | None:
    """Return the version that a copy is asked of. Raises Http404."""
    if not text:
        return None
    key, _, number = text.partition("/")
    if not (number.isascii() and number.isdigit() and len(number) < 11):
        raise Http404("no such version")
    return version_or_404(key, int(number))


def _typed(request: ActionsRequest) -> str:
    """Return what was sent: the file if there is one, or else what stands in the form."""
    file: Any = request.FILES.get("file")
    if file is None:
        return request.POST.get("text", "")
    data: bytes = file.read(4 * LIMIT + 1)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise NotADefinition(
            [Place("", f"The file is not UTF-8: byte {problem.start}.")]
        ) from problem


def _shown(request: ActionsRequest) -> str:
    """Return what goes back into the form. Of a file that cannot be read, what stood there before."""
    file: Any = request.FILES.get("file")
    if file is not None:
        file.seek(0)
        return str(file.read(4 * LIMIT).decode("utf-8-sig", errors="replace"))[:LIMIT]
    return request.POST.get("text", "")[:LIMIT]


def _page(
    request: ActionsRequest,
    text: str,
    *,
    begun_from: ActionType | None = None,
    refused: Refused | None = None,
    places: tuple[Place, ...] = (),
    status: int = 200,
) -> HttpResponse:
    lines = [
        (WORDS.get(each.pointer.split("/")[1] if each.pointer else "", ""), each) for each in places
    ]
    context = {
        "here": "actions",
        "text": text,
        "begun_from": begun_from,
        "refused": refused,
        "places": lines,
        "limit": f"{LIMIT:,}",
        "connectors": sorted(KINDS),
    }
    return render(request, "actions/enter.html", context, status=status)
