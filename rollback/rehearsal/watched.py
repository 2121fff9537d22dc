"""A connector that keeps what was asked of its target and what it answered."""

from __future__ import annotations

from types import TracebackType
from typing import Any, cast

from rollback.connectors.base import CallFailed, Connector, Json, Reading, Receipt

SAID = 200  # characters


class Watched:
    """Hands everything on to a connector, and writes down what goes outside."""

    def __init__(self, inner: Connector) -> None:
        self._inner = inner
        self.noted: list[dict[str, str]] = []  # {"call", "of", "answer"}, in their order

    @property
    def as_connector(self) -> Connector:
        return cast(Connector, self)  # the rest of one is the inner one's, by `__getattr__`

    def read(self, record: str) -> Reading | None:
        with _Note(self.noted, "read", record) as note:
            found = self._inner.read(record)
            note["answer"] = "not there" if found is None else f"version {found.version or '-'}"
            return found

    def send(self, body: Json, *, key: str, version: str = "") -> Receipt:
        with _Note(self.noted, "send", key) as note:
            receipt = self._inner.send(body, key=key, version=version)
            note["answer"] = receipt.reference
            return receipt

    def probe(self, key: str) -> Receipt | None:
        with _Note(self.noted, "probe", key) as note:
            receipt = self._inner.probe(key)
            note["answer"] = "not known" if receipt is None else receipt.reference
            return receipt

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _Note:
    """One call, written down when it is over."""

    def __init__(self, noted: list[dict[str, str]], call: str, of: str) -> None:
        self._noted = noted
        self._note = {"call": call, "of": of, "answer": ""}

    def __enter__(self) -> dict[str, str]:
        return self._note

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(problem, CallFailed):
            self._note["answer"] = problem.said[:SAID]
        self._noted.append(self._note)
