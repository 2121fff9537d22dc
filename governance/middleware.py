"""What is true of every answer, whoever gives it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.http import HttpRequest, HttpResponseBadRequest, HttpResponseBase
from django.utils.cache import add_never_cache_headers

Answer = Callable[[HttpRequest], HttpResponseBase]


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
