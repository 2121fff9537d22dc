"""How far the targets' own lists of what they did are read, and what stands there that we cannot account for."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from approvals.models import ActionRequest

REFERENCE, NOTE = 200, 1000  # characters


class Bookmark(models.Model):
    """How far one list of one target is read. It moves in the transaction that keeps what the page showed."""

    target = models.CharField(max_length=60)  # its key: "demo"
    name = models.CharField(max_length=300)  # the connector's, of the list
    after = models.CharField(
        max_length=500, blank=True
    )  # the connector's; "" = nothing is read yet
    read_at = models.DateTimeField()  # when it last went on, or there was nothing to go on to
    problem = models.CharField(max_length=300, blank=True)  # why it did not, since then

    class Meta:
        constraints = [
            models.UniqueConstraint(name="bookmark_one_a_list", fields=["target", "name"]),
        ]

    def __str__(self) -> str:
        return f"{self.target}, {self.name}, after {self.after or 'nothing'}"


class Stray(models.Model):
    """An effect that a target lists under a key of ours, and that no unit of ours accounts for.

    It is settled once a unit has its checkpoint under this key, or once a person says what became of it.
    """

    target = models.CharField(max_length=60)
    key = models.CharField(max_length=500)
    reference = models.CharField(max_length=REFERENCE, blank=True)  # the target's own
    said_at = models.CharField(max_length=REFERENCE, blank=True)  # in the target's words
    # Whose unit would have been sent under this key, if there is one.
    request = models.ForeignKey(
        ActionRequest, models.PROTECT, null=True, blank=True, related_name="strays"
    )
    found_at = models.DateTimeField()
    settled_at = models.DateTimeField(null=True, blank=True)
    settled_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+"
    )  # null: a unit accounts for it
    note = models.CharField(max_length=NOTE, blank=True)

    class Meta:
        constraints = [
            # A list is read over its end again and again: what is settled stays so.
            models.UniqueConstraint(name="stray_once_a_key", fields=["target", "key"]),
            # Who says that it is seen to says what they did.
            models.CheckConstraint(
                name="stray_settled_by_whom_with_words",
                condition=Q(settled_by__isnull=True, note="")
                | (Q(settled_by__isnull=False, settled_at__isnull=False) & ~Q(note="")),
            ),
        ]
        indexes = [
            # rollback.strays
            models.Index(name="stray_open", fields=["id"], condition=Q(settled_at__isnull=True)),
        ]

    def __str__(self) -> str:
        return f"{self.key} in {self.target}"
