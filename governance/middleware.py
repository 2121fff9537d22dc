"""What is true of every answer, whoever gives it."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.http import HttpRequest, HttpResponseBadRequest, HttpResponseBase
from django.utils.cache import add_never_cache_headers

from governance import logs

log = logging.getLogger("recourse.web")

Answer = Callable[[HttpRequest], HttpResponseBase]
REF = re.compile(r"[A-Za-z0-9-]{1,40}")
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
PROBES = ("healthz", "readyz", "status")  # asked every few seconds


class Told:
    """Logs a line for each call, and has every line that is logged meanwhile say which call it was.

    The caller's `X-Request-ID` is kept if it looks like one, and comes back in
    the answer; so is the trace of its `traceparent` (W3C Trace Context). The
    line has the route and not the address: some addresses open something.
    """

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        began = time.perf_counter()
        given = REQUEST_ID.fullmatch(request.headers.get("X-Request-ID", ""))
        facts = {"request_id": given[0] if given else uuid4().hex}
        if trace := TRACEPARENT.fullmatch(request.headers.get("traceparent", "")):
            facts["trace_id"] = trace[1]
        with logs.about(**facts), logs.about_what_follows():
            response = self.get_response(request)
            response["X-Request-ID"] = facts["request_id"]
            route = request.resolver_match.route if request.resolver_match else "nowhere"
            if route not in PROBES:
                ms = (time.perf_counter() - began) * 1000
                log.info("%s /%s %s %.0f ms", request.method, route, response.status_code, ms)
        return response

    def process_view(
        self, request: HttpRequest, view_func: Any, view_args: Any, view_kwargs: Any
    ) -> None:
        """Say which request the address names. Whether there is one is the view's to find out."""
        if ref := REF.fullmatch(str(view_kwargs.get("ref", ""))):
            logs.now_about(ref[0])


def kept_by_nobody(get_response: Answer) -> Answer:
    """Let no browser or proxy keep an answer that does not say itself how long it may be kept.

    Every page and document is one person's or one agent's. Without this the
    back button shows them after log-out. Static files are answered before.
    """

    def answer(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        if not response.has_header("Cache-Control"):
            add_never_cache_headers(response)
        return response

    return answer


class LogInRequired(LoginRequiredMiddleware):
    """Asks for a log-in, and looks who it is only where one is asked for.

    Django's own looks first. A browser's `/healthz` would then need the database.
    """

    def process_view(
        self, request: HttpRequest, view_func: Any, view_args: Any, view_kwargs: Any
    ) -> HttpResponseBase | None:
        if not getattr(view_func, "login_required", True):
            return None
        return super().process_view(request, view_func, view_args, view_kwargs)


class NoNul:
    """Refuses a form with a NUL in it, which no database keeps. What agents send is read by its own parser."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view_func: Any, view_args: Any, view_kwargs: Any
    ) -> HttpResponseBase | None:
        if getattr(view_func, "csrf_exempt", False):
            return None
        if any("\0" in text for _, texts in request.POST.lists() for text in texts):
            return HttpResponseBadRequest("The form holds a NUL character.")
        return None
