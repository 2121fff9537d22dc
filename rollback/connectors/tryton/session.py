"""A user's session in one Tryton database: log in, call, and what each answer means."""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NoReturn, TypeVar

import httpx2

from rollback.connectors import answers, client
from rollback.connectors.base import CallFailed, Json, NotDone, OutcomeUnknown, Rejected
from rollback.connectors.tryton import wire
from rollback.connectors.tryton.asking import Ask, Asks, Stale, Warned

T = TypeVar("T")
RPC = "/rpc/"
LOG_IN, PREFERENCES = "common.db.login", "model.res.user.get_preferences"
LANGUAGE = "en"  # of what Tryton says when it refuses
# Of a user's preferences, what decides which company's books are written, in whose name, and what
# of a document may still be written: Tryton asks the context for the groups.
CONTEXT = ("company", "companies", "company_filter", "employee", "groups", "language")
NOT_LOGGED_IN = 401
LEAST_S = 0.05  # a call that has less time than this is not begun


@dataclass(frozen=True, slots=True)
class Session:
    """Logged in. `authorization` is a secret, and lives in this process alone."""

    authorization: str = field(repr=False)
    context: Mapping[str, Any]


# Of this process: a forked worker logs in for itself, so that no two share what the other may end.
_sessions: dict[tuple[str, str, str], Session] = {}
_guard = threading.Lock()


def forget() -> None:
    """Forget every session of this process."""
    global _guard
    _guard = threading.Lock()
    _sessions.clear()


os.register_at_fork(after_in_child=forget)


class Talk:
    """All the calls of one `send`, `read` or `probe`, within one span of time."""

    def __init__(self, target: str, at: Mapping[str, str], *, within_s: float) -> None:
        """Take where the target is and what opens it, as `settings.TARGETS` has it. Calls nothing."""
        self._target = target
        self._url = at.get("url", "").rstrip("/")
        self._user = at.get("user", "")
        self._password = at.get("password", "")
        self._until = time.monotonic() + within_s
        self._authorization = ""
        self._renewed = False
        self._calls = 0

    def run(self, asks: Asks[T]) -> T:
        """Ask one question after the other, and return what comes of the answers.

        A call that was to change nothing yet, and failed, is not done, whatever its
        failure; once something is changed, no later failure is certain any more.

        Raises CallFailed.
        """
        changed = False
        try:
            ask = next(asks)
            while True:
                try:
                    answer = self._ask(ask)
                    changed |= ask.effect
                except (Stale, Warned) as problem:
                    ask = asks.throw(problem)
                except OutcomeUnknown as problem:
                    if ask.effect or changed:
                        raise
                    raise NotDone(problem.said, retry_after_s=problem.retry_after_s) from problem
                else:
                    ask = asks.send(answer)
        except StopIteration as end:
            found: T = end.value
            return found
        except (NotDone, Rejected) as problem:
            if not changed:
                raise
            raise OutcomeUnknown(problem.said, retry_after_s=problem.retry_after_s) from problem

    def _ask(self, ask: Ask) -> Any:
        session = self._session()
        try:
            return self._call(ask, session)
        except _LoggedOut as problem:
            # Nothing of the call was begun, so it may be made again: once.
            self._let_go(session)
            if self._renewed:
                raise NotDone(problem.said) from problem
            self._renewed = True
        try:
            return self._call(ask, self._session())
        except _LoggedOut as problem:
            raise NotDone(problem.said) from problem

    def _call(self, ask: Ask, session: Session) -> Any:
        context = {**session.context, **ask.context}
        self._authorization = session.authorization
        return self._post(ask.method, [*ask.args, context])

    # --- Logging in -----------------------------------------------------------------------------

    @property
    def _key(self) -> tuple[str, str, str]:
        return self._url, self._user, self._password

    def _session(self) -> Session:
        found = _sessions.get(self._key)
        if found is not None:
            return found
        guard = _guard
        if not guard.acquire(timeout=max(self._until - time.monotonic(), 0.0)):
            raise NotDone(f"somebody else is still logging in to {self._target}")
        try:
            found = _sessions.get(self._key)
            if found is None:
                found = _sessions[self._key] = self._log_in()
            return found
        finally:
            guard.release()

    def _let_go(self, session: Session) -> None:
        if _sessions.get(self._key) is session:
            _sessions.pop(self._key, None)

    def _log_in(self) -> Session:
        """Log in. Whatever fails here, nothing of what was to be done is begun: NotDone."""
        if not self._url:
            raise NotDone(f"no address is configured for target {self._target}")
        if not (self._user and self._password):
            raise NotDone(f"no user and password are configured for target {self._target}")
        try:
            self._authorization = ""
            told = self._post(LOG_IN, [self._user, {"password": self._password}, LANGUAGE])
            match told:
                case [int() as user, str() as token, *_]:
                    words = f"{self._user}:{user}:{token}".encode()
                case _:
                    raise NotDone(f"{self._target} did not say how it logged us in")
            self._authorization = f"Session {base64.b64encode(words).decode()}"
            told = self._post(PREFERENCES, [True, {}])
        except _LoggedOut as problem:
            raise NotDone(f"{self._target} does not let us in: {problem.said}") from problem
        except (OutcomeUnknown, Rejected) as problem:
            raise NotDone(problem.said, retry_after_s=problem.retry_after_s) from problem
        if not isinstance(told, dict) or not isinstance(told.get("company"), int):
            raise NotDone(f"{self._user} has no company in {self._target}")
        context = {name: told[name] for name in CONTEXT if told.get(name) is not None}
        return Session(self._authorization, {**context, "language": LANGUAGE})

    # --- A call ---------------------------------------------------------------------------------

    def _post(self, method: str, params: list[Any]) -> Any:
        left = self._until - time.monotonic()
        if left < LEAST_S:
            raise NotDone(f"{self._target} took too long with what came before")
        self._calls += 1
        try:
            answer = client.call(
                "POST",
                self._url + RPC,
                headers=head(self._authorization),
                content=json.dumps(
                    {"id": self._calls, "method": method, "params": params},
                    separators=(",", ":"),
                    allow_nan=False,
                ).encode(),
                within_s=left,
            )
        except client.NotSent as problem:
            said = self._without(str(problem))
            raise NotDone(f"{self._target} cannot be reached: {said}") from problem
        except client.NoAnswer as problem:
            said = self._without(str(problem))
            raise OutcomeUnknown(f"No answer from {self._target}: {said}") from problem
        return self._understood(answer)

    def _understood(self, answer: httpx2.Response) -> Any:
        """Return the result. Tryton answers 200 to what it refuses, too.

        Raises CallFailed.
        """
        if answer.status_code == NOT_LOGGED_IN:
            raise _LoggedOut("401 Unauthorized")
        told = answers.judge(answer, token=self._secret, fraction=Decimal)
        if not isinstance(told, dict) or told.get("id") != self._calls:
            answers.unreadable(answer, "is no answer to what was asked")
        if "error" in told:
            self._refuse(told["error"])
        if "result" not in told:
            answers.unreadable(answer, "has neither result nor error")
        try:
            return wire.read(told["result"])
        except ValueError:
            answers.unreadable(answer, "cannot be read")

    def _refuse(self, error: Any) -> NoReturn:
        """Raise what an error inside an answer means.

        Tryton raises the four it names within the transaction of the call, which is
        rolled back. Anything else is a defect there, of which nobody knows where it struck.
        """
        match error:
            case ["UserError", [str() as message, *more]]:
                raise Rejected(self._words(message, *more[:1]))
            case ["UserWarning", [str() as name, str() as message, *more]]:
                raise Warned(self._words(message, *more[:1]), name=name)
            case ["ConcurrencyException", *_]:
                raise Stale("Somebody else changed the record in the meantime.")
            case ["LoginException", *_]:
                raise NotDone(f"{self._target} asks for more than a password")
            case [str() as message, *_] | (str() as message):
                raise OutcomeUnknown(self._words(f"{self._target} failed: {message}"))
        raise OutcomeUnknown(f"{self._target} failed, and does not say how")

    def _words(self, *parts: Any) -> str:
        return self._without(" ".join(part.strip() for part in parts if isinstance(part, str)))

    @property
    def _secret(self) -> str:
        return self._authorization.removeprefix("Session ")

    def _without(self, said: str) -> str:
        token = base64.b64decode(self._secret).decode().rpartition(":")[2]
        for secret in (self._secret, token, self._password):
            said = answers.without(said, secret)
        return said


class _LoggedOut(CallFailed):
    """401: the session is over, or not fresh enough for this. The call was not begun."""


def head(authorization: str) -> Json:
    """Return all the headers of a call; `authorization` as it is, or as the name of what holds it."""
    sent = {
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": "Recourse",
        "content-type": "application/json",
    }
    if authorization:
        sent["authorization"] = authorization
    return sent
