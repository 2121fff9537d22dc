"""One Tryton with books of its own, for as long as it is used."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tools.processes import Guard
from tools.tryton import serving
from tools.tryton.books import Books
from tools.tryton.rpc import Rpc
from tools.tryton.template import ADMIN, copy, keys_of, prepare


class Tryton:
    """A server on a copy of the template. A context manager; after it nothing is left.

    Should this process be killed, a guard ends the server.

        url         where Recourse speaks to it, database included: http://127.0.0.1:PORT/erp/
        user, password   what Recourse logs in with: keeps books and orders, administers nothing
        admin_password   of `admin`, for whoever looks at the books beside Recourse
        facts       what was entered, by names and codes: see seed.py
    """

    def __init__(
        self, directory: Path | None = None, *, say: Callable[[str], None] = lambda line: None
    ) -> None:
        """Nothing happens yet.

        Args:
            directory: where database and log are written. None: a new one, removed at the end.
            say: told what takes long, a line at a time.
        """
        self._own = directory is None
        self.directory = (directory or Path(tempfile.mkdtemp(prefix="recourse-tryton-"))).resolve()
        self._say = say
        self._guard: Guard | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._port: int | None = None
        self._template: Path | None = None
        self.user = self.password = self.admin_password = ""
        self.facts: dict[str, Any] = {}

    def __enter__(self) -> Self:
        """Prepare what is not there yet, copy it and start. Raises NotAvailable."""
        try:
            self._template = prepare(self._say)
            self._guard = Guard()
            if self._own:
                self._guard.remove(self.directory)
            self.reset()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave()

    @property
    def url(self) -> str:
        """The address of the database; the same after `reset` and `start`."""
        if self._port is None:
            raise RuntimeError("Tryton has not been started")
        return serving.address(self._port)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        if self._port is None:
            raise RuntimeError("Tryton has not been started")
        return self._port

    def start(self) -> None:
        """Start the server on the books as they are; on the port it had, if it had one."""
        self._server, self._port = serving.start(self.directory, self._guarding, self._port)

    def stop(self) -> None:
        """End the server; the books stay. Safe to call twice."""
        if self._server is not None:
            serving.stop(self._server, self._guarding)
            self._server = None

    def kill(self) -> None:
        """End the server without warning."""
        if self._server is not None:
            self._server.kill()
        self.stop()

    def reset(self) -> None:
        """Begin again with the books of the template, at the same address. Sessions are gone."""
        self.stop()
        if self._template is None:
            raise RuntimeError("Tryton has not been prepared")
        copy(self._template, self.directory)
        keys = keys_of(self.directory)
        self.user, self.password = keys["user"], keys["password"]
        self.admin_password, self.facts = keys["admin_password"], keys["facts"]
        self.start()

    def rpc(self) -> Rpc:
        """Log in as the administrator, to see and to meddle beside Recourse."""
        return Rpc(self.url, ADMIN, self.admin_password)

    def books(self) -> Books:
        """Return the books as the ERP itself tells them."""
        return Books(self.rpc(), self.facts)

    def environment(self, name: str = "tryton") -> dict[str, str]:
        """Return the variables by which Recourse finds it as the target `name`."""
        prefix = f"TARGET_{name.upper()}"
        return {
            f"{prefix}_URL": self.url,
            f"{prefix}_USER": self.user,
            f"{prefix}_PASSWORD": self.password,
        }

    @property
    def _guarding(self) -> Guard:
        if self._guard is None:
            raise RuntimeError("Tryton has not been entered")
        return self._guard

    def _leave(self) -> None:
        if self._guard is not None:
            self.stop()
        if self._own:
            shutil.rmtree(self.directory, ignore_errors=True)
        if self._guard is not None:
            self._guard.dismiss()
