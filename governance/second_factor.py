"""Setting up a second factor, giving it, and taking it back. allauth's pages, with what they lack.

Lacking are: tries counted where every process sees them, a code that is good
once wherever it is tried again, an entry in the record, and that nobody gets rid
of a factor by knowing a password.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from allauth.account.internal.flows.login import record_authentication
from allauth.core import context
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.views import GenerateRecoveryCodesView, ViewRecoveryCodesView
from allauth.mfa.totp.internal.auth import (
    format_hotp_value,
    hotp_value,
    yield_hotp_counters_from_time,
)
from allauth.mfa.totp.views import ActivateTOTPView, DeactivateTOTPView
from axes.handlers.proxy import AxesProxyHandler
from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.contrib.auth.signals import user_login_failed
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.decorators import method_decorator

from governance import actors, clock, stepup, wording
from governance.ledger import Act
from governance.vocabulary import Chain

TO_CHANGE_IT_WITHIN = timedelta(minutes=5)  # real time, from the code to the change


class MFAAdapter(DefaultMFAAdapter):  # type: ignore[misc] # allauth is not typed
    """How allauth keeps second factors here: so that a copy of the database opens nothing."""

    error_messages = DefaultMFAAdapter.error_messages | {
        "incorrect_code": "This code does not match. Type the one that the app shows now.",
    }

    def encrypt(self, text: str) -> str:
        return _cipher().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return _cipher().decrypt(encrypted_text.encode()).decode()


def _cipher() -> MultiFernet:
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    derived = (hashlib.sha256(b"second factor:" + key.encode()).digest() for key in keys)
    return MultiFernet([Fernet(base64.urlsafe_b64encode(each)) for each in derived])


class _Counted:
    """A form that takes a code: wrong ones count as failed log-ins do, and a right one is good once."""

    user: Any
    authenticator: Authenticator

    def clean_code(self) -> str:
        request = context.request
        whose = {settings.AXES_USERNAME_FORM_FIELD: self.user.get_username()}
        if not AxesProxyHandler.is_allowed(request, whose):
            request.axes_locked_out = True  # the middleware answers with the pause
            raise ValidationError("Paused.")
        try:
            code: str = super().clean_code()  # type: ignore[misc]
            if self.authenticator.type == Authenticator.Type.TOTP:
                _use_up(self.authenticator, code)
        except ValidationError as wrong:
            user_login_failed.send(sender=__name__, credentials=whose, request=request)
            left = settings.AXES_FAILURE_LIMIT - request.axes_failures_since_start
            raise ValidationError(
                f"{wrong.messages[0]} {wording.plural(max(left, 0), 'try', 'tries')} left before a pause"
                f" of {wording.span(settings.AXES_COOLOFF_TIME)}."
            ) from wrong
        return code


@transaction.atomic
def _use_up(authenticator: Authenticator, code: str) -> None:
    """Keep which code was used, in the database. Raises ValidationError if it, or a later one, was used before."""
    row = Authenticator.objects.select_for_update().get(pk=authenticator.pk)
    secret = MFAAdapter().decrypt(row.data["secret"])
    typed = "".join(code.split())
    counters = yield_hotp_counters_from_time()
    used = [each for each in counters if format_hotp_value(hotp_value(secret, each)) == typed]
    if not used or max(used) <= row.data.get("last_counter", -1):
        raise ValidationError("This code was used before. Wait for the next one.")
    row.data["last_counter"] = max(used)
    row.save(update_fields=["data"])


class SignInForm(_Counted, AuthenticateForm):  # type: ignore[misc]
    """The second step of signing in."""


class AgainForm(_Counted, ReauthenticateForm):  # type: ignore[misc]
    """A code from somebody who is signed in."""


def with_a_code(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Ask first for a code: whoever knows only the password must not get rid of the second factor."""

    @wraps(view)
    def asked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not stepup.gave_a_code(request, within=TO_CHANGE_IT_WITHIN):
            back = urlencode({"next": request.path})
            return redirect(f"{reverse('mfa_reauthenticate')}?{back}")
        return view(request, *args, **kwargs)

    return asked


def _record(request: HttpRequest, kind: str) -> None:
    person = actors.person(request.user)  # type: ignore[arg-type] # whoever is here is signed in
    act = Act(now=clock.now(), actor=person)
    act.record_named(Chain.PEOPLE, kind, person=person)
    act.write()


class Activate(ActivateTOTPView):  # type: ignore[misc]
    @transaction.atomic
    def form_valid(self, form: Any) -> HttpResponse:
        answer: HttpResponse = super().form_valid(form)
        factor = Authenticator.objects.get(user=self.request.user, type=Authenticator.Type.TOTP)
        _use_up(factor, form.cleaned_data["code"])
        # The recovery codes are shown next, to somebody who typed a code just now.
        record_authentication(
            self.request, self.request.user, "mfa", id=factor.pk, type=factor.type,
            reauthenticated=True,
        )  # fmt: skip
        _record(self.request, "second_factor.added")
        return answer


@method_decorator(with_a_code, name="dispatch")
class Deactivate(DeactivateTOTPView):  # type: ignore[misc]
    @transaction.atomic
    def form_valid(self, form: Any) -> HttpResponse:
        answer: HttpResponse = super().form_valid(form)
        _record(self.request, "second_factor.removed")
        return answer


@method_decorator(with_a_code, name="dispatch")
class RecoveryCodes(ViewRecoveryCodesView):  # type: ignore[misc]
    """Those that are left, to whoever gave a code: with one of them the factor can be taken back."""


@method_decorator(with_a_code, name="dispatch")
class NewRecoveryCodes(GenerateRecoveryCodesView):  # type: ignore[misc]
    @transaction.atomic
    def form_valid(self, form: Any) -> HttpResponse:
        answer: HttpResponse = super().form_valid(form)
        _record(self.request, "recovery_codes.replaced")
        return answer
