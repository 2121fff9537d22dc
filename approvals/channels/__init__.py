"""How a message leaves the house. Each channel sends one message, or says why it was not taken.

Channels touch no database and read no clock: they are given all they need, and
are called from threads. Whatever is not `NotTaken` is a defect.
"""

from __future__ import annotations


class NotTaken(Exception):
    """The other side did not take the message.

    Attributes:
        reason: one line for an operator. It may name a host; never a secret, never a whole address.
        code: the same for the record, without personal data: "smtp 550 5.1.1", "http 410".
    """

    def __init__(self, reason: str, *, code: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class Refused(NotTaken):
    """This very address refuses, for good. Nothing more is sent to it."""


class Unsendable(NotTaken):
    """This message will never be taken, which says nothing about the address."""


class TryAgain(NotTaken):
    """Not now. The channel works; this one message did not go through."""


class ChannelDown(TryAgain):
    """Not now, and nothing else goes through either: nobody listens, or the server gives up."""
