"""Log-in: nobody signs themselves up, and guessing is stopped where it is counted."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from governance import wording


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc] # allauth is not typed
    """How allauth behaves here."""

    error_messages = DefaultAccountAdapter.error_messages | {
        "account_inactive": "This account is switched off. An administrator can switch it on.",
        "username_password_mismatch": "Name and password do not match.",
        "email_password_mismatch": "E-mail and password do not match.",
        "enter_current_password": "This is not your present password. Type it again.",
        "incorrect_password": "This is not your password. Type it again.",
        "invalid_password_reset": "This link was used or is too old. Ask for a new one.",
        "too_many_login_attempts": "Too many tries from here. Wait a minute, then try again.",
        "rate_limited": "Too many tries from here. Wait a minute, then try again.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Never: people are entered by an administrator."""
        return False

    def get_login_stages(self) -> list[str]:
        """Leave out the second step where settings.SIGN_IN_ASKS_FOR_CODE says so: in the demo."""
        stages: list[str] = super().get_login_stages()
        if settings.SIGN_IN_ASKS_FOR_CODE:
            return stages
        return [each for each in stages if each != "allauth.mfa.stages.AuthenticateStage"]

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Count nothing here: axes counts in the database, where every process sees it.

        allauth's own counter lives in this process's memory. It would answer before axes is
        asked, and hide the pause from the log.
        """

    def authenticate(self, request: HttpRequest, **credentials: Any) -> Any:
        """Check a password, and tell axes whom it was tried for.

        axes reads the name from the key of the form field, which allauth does not pass on.
        The name is the person's user name however it was written, so that nobody gets
        further tries by way of their e-mail address or of capitals.
        """
        credentials[settings.AXES_USERNAME_FORM_FIELD] = _known_as(credentials)
        return super().authenticate(request, **credentials)

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        """Say how many tries are left. The pause itself is `locked_out`."""
        failures = getattr(request, "axes_failures_since_start", None)
        if failures is None:
            return
        left = max(0, settings.AXES_FAILURE_LIMIT - failures)
        if request.user.is_authenticated:  # asked again, within
            what = "This is not your password."
        else:
            what = f"{'E-mail' if 'email' in credentials else 'Name'} and password do not match."
        raise ValidationError(
            f"{what} {wording.plural(left, 'try', 'tries')} left"
            f" before a pause of {wording.span(settings.AXES_COOLOFF_TIME)}."
        )


def _known_as(credentials: dict[str, Any]) -> str:
    typed = str(credentials.get("email") or credentials.get("username") or "").strip()
    people = get_user_model()._default_manager
    known = (
        people.filter(Q(username__iexact=typed) | ~Q(email="") & Q(email__iexact=typed))
        .order_by("pk")
        .values_list("username", flat=True)
        .first()
    )
    return str(known or typed.casefold())


def locked_out(
    request: HttpRequest,
    response: HttpResponse | None = None,
    credentials: dict[str, Any] | None = None,
) -> HttpResponse:
    """Answer a log-in during the pause: 429, with how long it lasts.

    The same whether the password was right or wrong, and whether the name exists.
    """
    pause = settings.AXES_COOLOFF_TIME
    page = render(
        request,
        "account/locked_out.html",
        {"pause": pause, "tries": settings.AXES_FAILURE_LIMIT},
        status=429,
    )
    page["Retry-After"] = str(int(pause.total_seconds()))
    return page
