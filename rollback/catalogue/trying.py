"""A payload, tried on a version: the exact calls that would be made. None is."""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from approvals.api.parsers import parse
from approvals.services.submission import PayloadOffSchema
from approvals.templating import at_pointer
from governance.definitions import misfits
from governance.errors import Refused, Unprocessable
from governance.models import ActionType
from rollback.catalogue import shown
from rollback.catalogue.edge import ActionsRequest, for_readers, version_or_404
from rollback.catalogue.views import frame_of
from rollback.connectors import registry
from rollback.dry_run import Trial, try_out
from rollback.services.units import spent

LIMIT = 200_000  # characters
SHOWN = 40  # places that do not fit


@require_http_methods(["GET", "HEAD", "POST"])
@for_readers
def try_page(request: ActionsRequest, key: str, version: int) -> HttpResponse:
    """Show the calls of the example; a POST those of the payload that was typed. 422 for one to mend."""
    found = version_or_404(key, version)
    example = found.example.get("payload", {}) if isinstance(found.example, dict) else {}
    text = json.dumps(example, indent=2, ensure_ascii=False)
    if request.method == "POST":
        text = request.POST.get("payload", "")[: LIMIT + 1]
    context: dict[str, Any] = {"text": text[:LIMIT], "problems": registry.problems(found)}
    status = 200
    try:
        payload = _payload(text)
        trial = _tried(found, payload, context["problems"])
        context |= {
            "trial": trial,
            "units": shown.shown_units(trial),
            "reads": shown.shown_reads(trial),
            "money": trial.money,
        }
    except PayloadOffSchema as refused:
        context |= {"refused": refused, "places": _places(found, payload)}
        status = refused.status
    except Refused as refused:
        context["refused"] = refused
        status = 422
    if request.method != "POST":
        status = 200  # nothing was typed: what is wrong is the example's, and the page says so
    return render(request, "actions/try.html", frame_of(request, found) | context, status=status)


def _payload(text: str) -> dict[str, Any]:
    if len(text) > LIMIT:
        raise Unprocessable(f"At most {LIMIT:,} characters.")
    payload = parse(text.encode(errors="surrogatepass"))
    if not isinstance(payload, dict):
        raise Unprocessable("A payload is a JSON object.")
    return payload


def _tried(version: ActionType, payload: dict[str, Any], problems: Any) -> Trial:
    if problems:
        raise Unprocessable("No calls can be made before the connector is mended.")
    return try_out(version, payload, registry.connector_for(version), generation_of=spent)


def _places(version: ActionType, payload: Any) -> list[tuple[str, str, str]]:
    """Return of each place that does not fit: where, what stands there, what to do."""
    found = []
    for pointer, words in misfits(version.schema, payload)[:SHOWN]:
        value = at_pointer(payload, pointer)
        said = "" if isinstance(value, dict | list) else json.dumps(value, ensure_ascii=False)
        found.append((pointer, said[:120], words))
    return found
