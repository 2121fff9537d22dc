"""Digests of a state whose fields can be shown one by one, and the others kept back.

Each field is hashed with a salt of its own, and the state's digest is that of the
list of these hashes. Who is shown some fields, their salts, and the hashes of the
rest computes the same digest, and learns nothing of what is kept back: without its
salt a hash does not let anybody try the few values that an account number can have.
The idea is that of selective disclosure for JWTs (RFC 9901).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from governance import canonical
from governance.errors import Unprocessable


class Field(NamedTuple):
    """One field of a state: shown with its salt, or kept back and its digest alone."""

    pointer: str  # JSON pointer; "" = the state is no object or list, or an empty one
    value: Any
    salt: str
    is_hidden: bool

    @property
    def digest(self) -> str:
        """Raises Unprocessable for a value that has no canonical form, or another one once it was stored."""
        if isinstance(self.value, float) and abs(self.value) > canonical.LARGEST_INT:
            raise Unprocessable(f"{self.value} may be stored as an integer.")
        return canonical.digest([self.salt, self.pointer, self.value])

    @property
    def as_shown(self) -> dict[str, Any]:
        if self.is_hidden:
            return {"pointer": self.pointer, "digest": self.digest}
        return {"pointer": self.pointer, "salt": self.salt, "value": self.value}


def new_salt() -> str:
    """Return 32 random bytes in hex, of which each field's own salt is made."""
    return secrets.token_hex(32)


def fields_of(state: Any, *, salt: str, side: str, hidden: Iterable[str]) -> list[Field]:
    """Return the fields of a state, in the order of their pointers.

    Args:
        state: JSON; None where the record is not there.
        salt: of `new_salt`.
        side: "before" or "after": a field that did not change has two digests, which do not show that.
        hidden: JSON pointers. What stands at one, or below it, is one field, kept back.
    """
    kept_back = {*hidden}

    def field(pointer: str, value: Any) -> Field:
        return Field(pointer, value, _own(salt, side, pointer), pointer in kept_back)

    return sorted(field(*each) for each in _leaves(state, "", kept_back))


def digest_of(state: Any, *, salt: str, side: str, hidden: Iterable[str]) -> str:
    """Return the digest of a state; "" if a target sent what has no canonical form."""
    try:
        fields = fields_of(state, salt=salt, side=side, hidden=hidden)
        return canonical.digest([[each.pointer, each.digest] for each in fields])
    except Unprocessable:
        return ""  # the record then says that it has none


def without(state: Any, hidden: Iterable[str]) -> Any:
    """Return a JSON value with what stands at the hidden pointers replaced by `HIDDEN`."""
    return _replaced(state, {*hidden}, lambda _pointer, _value: HIDDEN, "")


def committed(payload: Any, hidden: Iterable[str], *, salt: str) -> Any:
    """Return a payload as a request's digest covers it: of a field kept back, its salted digest.

    The digest binds the field all the same, and whoever is shown the rest computes it.

    Args:
        salt: of `new_salt`; "" = of a request from before there were any: the payload as it is.

    Raises Unprocessable for a field that has no canonical form.
    """
    if not salt:
        return payload

    def commitment(pointer: str, value: Any) -> dict[str, str]:
        return {"sha256": Field(pointer, value, _own(salt, "payload", pointer), True).digest}

    return _replaced(payload, {*hidden}, commitment, "")


def salts_for_sender(hidden: Iterable[str], *, salt: str) -> dict[str, str]:
    """Return by pointer the salts of what a payload keeps back, for whoever sent it: see `committed`.

    Not what they are made of, which would open the digests of bodies and records too.
    """
    return {pointer: _own(salt, "payload", pointer) for pointer in hidden} if salt else {}


def blinded(value: Any, *, salt: str, what: str) -> str:
    """Return a digest of a JSON value from which it cannot be guessed: of its own salt, and of it.

    Args:
        salt: of `new_salt`; "" = of a request from before there were any: the plain SHA-256.
        what: the value is, so that the same one elsewhere has another digest.

    Raises Unprocessable for a value that has no canonical form.
    """
    if not salt:
        return canonical.digest(value)
    return canonical.digest([_own(salt, what, ""), value])


def _own(salt: str, side: str, pointer: str) -> str:
    return hmac.new(bytes.fromhex(salt), f"{side}{pointer}".encode(), hashlib.sha256).hexdigest()


def _replaced(value: Any, hidden: set[str], by: Callable[[str, Any], Any], at: str) -> Any:
    if at in hidden:
        return by(at, value)
    if isinstance(value, dict):
        return {
            name: _replaced(inner, hidden, by, f"{at}/{escaped(name)}")
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [_replaced(inner, hidden, by, f"{at}/{n}") for n, inner in enumerate(value)]
    return value


HIDDEN = "(kept back)"


def escaped(name: str) -> str:
    """Return a name as a JSON pointer writes it. Source: RFC 6901."""
    return name.replace("~", "~0").replace("/", "~1")


def _leaves(value: Any, at: str, hidden: set[str]) -> Iterator[tuple[str, Any]]:
    if at in hidden or not isinstance(value, dict | list) or not value:
        yield at, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{at}/{escaped(name)}", hidden)
    else:
        for n, inner in enumerate(value):
            yield from _leaves(inner, f"{at}/{n}", hidden)
