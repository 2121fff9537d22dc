"""Every error of the API as a problem document (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views import defaults
from rest_framework import exceptions
from rest_framework.response import Response

from governance.errors import Refused

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5  # real seconds; a database that was restarted is mostly back by then


class DatabaseGone(Refused):
    """The database does not answer, or not in time."""

    status, problem, title = 503, "database-gone", "The database does not answer"


def document(refusal: Refused) -> dict[str, Any]:
    """Return the problem document of a refusal."""
    return {
        "type": f"/problems/{refusal.problem}",
        "title": refusal.title,
        "status": refusal.status,
        "detail": refusal.detail,
        **refusal.extra,
    }


def handle(problem: Exception, context: dict[str, Any]) -> Response | None:
    """Answer for DRF: refusals and HTTP errors as documents, anything else as the defect it is (None)."""
    if isinstance(problem, Refused):
        response = Response(document(problem), status=problem.status)
        if problem.status == HTTPStatus.UNAUTHORIZED:
            response["WWW-Authenticate"] = 'Bearer realm="recourse"'
    elif isinstance(problem, (OperationalError, InterfaceError)):
        # Whether it was kept is unknown; the same key makes sending it again safe.
        gone = DatabaseGone("Send it again, with the same Idempotency-Key.")
        response = Response(document(gone), status=gone.status)
        response["Retry-After"] = str(RETRY_AFTER_S)
    elif isinstance(problem, (exceptions.APIException, Http404, PermissionDenied)):
        response = _of_framework(problem)
    else:
        return None
    response.content_type = MEDIA_TYPE
    return response


def _of_framework(problem: exceptions.APIException | Http404 | PermissionDenied) -> Response:
    if isinstance(problem, Http404):
        status, detail = HTTPStatus.NOT_FOUND, "There is nothing here."
    elif isinstance(problem, PermissionDenied):
        status, detail = HTTPStatus.FORBIDDEN, "Not yours to do."
    else:
        status, detail = HTTPStatus(problem.status_code), str(problem.detail)
    response = Response(
        {
            "type": f"/problems/{status.phrase.lower().replace(' ', '-')}",
            "title": status.phrase,
            "status": status.value,
            "detail": detail,
        },
        status=status.value,
    )
    if isinstance(problem, exceptions.APIException):
        if header := getattr(problem, "auth_header", None):
            response["WWW-Authenticate"] = header
        if wait := getattr(problem, "wait", None):
            response["Retry-After"] = str(int(wait) + 1)
    return response


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer for a defect of ours: a problem document under /api/, else the page. Django has logged it."""
    if not request.path.startswith("/api/"):
        return defaults.server_error(request)
    failed = HTTPStatus.INTERNAL_SERVER_ERROR
    facts = {
        "type": "/problems/our-mistake",
        "title": "Something broke on our side",
        "status": failed.value,
        "detail": "What you sent may not have been recorded. Send it again, with the same Idempotency-Key.",
    }
    return JsonResponse(facts, status=failed.value, content_type=MEDIA_TYPE)
