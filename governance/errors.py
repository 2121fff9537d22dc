"""What the product says when it refuses. Anything that is not `Refused` is a defect.

`Refused` is for people and agents: its text is shown as it stands, so it says
what happened, what holds now and what can be done.
"""

from __future__ import annotations

from typing import Any


class Refused(Exception):
    """A refusal with a reason its reader can act on.

    Attributes:
        status: the HTTP status it answers with.
        problem: the last part of its problem type (RFC 9457), in kebab case.
        title: the same in a few words, the same for every instance.
        extra: further members of the problem document, JSON types only.
    """

    status = 409
    problem = "refused"
    title = "Refused"

    def __init__(self, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = extra


class NotYours(Refused):
    """Somebody else may do this, not the caller."""

    status, problem, title = 403, "not-yours", "Not yours to do"


class NotFound(Refused):
    """No such thing, or none that the caller may know of."""

    status, problem, title = 404, "not-found", "Not found"


class AlreadyDecided(Refused):
    """Someone was faster."""

    problem, title = "already-decided", "Someone was faster"


class TooLate(Refused):
    """The window had closed."""

    problem, title = "too-late", "Too late"


class DigestChanged(Refused):
    """The decision names another digest than the request has."""

    problem, title = "digest-mismatch", "This is not what you saw"


class KeyHeld(Refused):
    """Another request may already be acting on the same record."""

    problem, title = "resource-held", "The record is taken"


class DuplicateEffect(Refused):
    """A live request already does this."""

    problem, title = "duplicate-effect", "Already asked for"


class NotNow(Refused):
    """The request's state does not allow it."""

    problem, title = "wrong-state", "Not in this state"


class Unprocessable(Refused):
    """Understood, and not acceptable as it stands."""

    status, problem, title = 422, "unprocessable", "Not acceptable as it stands"


class KeyReused(Unprocessable):
    """The idempotency key was used before, for another body."""

    problem, title = "idempotency-key-reused", "The key belongs to another body"


class NoRoute(Unprocessable):
    """No matrix row says who may decide this."""

    problem, title = "no-route", "Nobody is named to decide this"
