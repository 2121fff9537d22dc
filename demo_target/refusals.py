"""How a request is refused: a status, a code for programs, a sentence for people."""

from __future__ import annotations


class Refusal(Exception):
    """Nothing was done, and why. Answered as {"error": code, "message": sentence}."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def invalid(message: str) -> Refusal:
    """What was sent cannot be read, or means nothing."""
    return Refusal(422, "invalid", message)


def unknown(message: str) -> Refusal:
    """What was named is not there."""
    return Refusal(404, "unknown", message)
