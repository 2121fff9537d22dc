"""Second factors, as people have them: a secret, the code of an instant, and a session that gave one."""

from __future__ import annotations

from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from django.core.cache import cache

from governance import clock
from governance.stepup import Presence
from tools.code import code_of

SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


def give_factor(person, secret=SECRET):
    """Set up an app that makes codes for this person."""
    cache.clear()  # allauth keeps used codes there, by keys and instants that every test has
    return Authenticator.objects.create(
        user=person, type="totp", data={"secret": get_adapter().encrypt(secret)}
    )


def code_now(secret=SECRET):
    """Return what the app shows at the wall clock's instant."""
    return code_of(secret, at=clock.real_now().timestamp())


def present(person, request, *, at=None):
    """Return the second factor that somebody gave for a request, as the edge hands it to a service."""
    return Presence(person.pk, request.ref, at or clock.real_now())
