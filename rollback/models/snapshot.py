"""The state of the records an action touches, before and after."""

from __future__ import annotations

from django.db import models

from approvals.models import ActionRequest
from governance.commitments import Field, digest_of, fields_of


class Snapshot(models.Model):
    """One record as it was before the first write, and as we left it."""

    request = models.ForeignKey(ActionRequest, models.PROTECT, related_name="snapshots")
    record = models.CharField(max_length=300)  # its key in the target
    version = models.CharField(
        max_length=120, blank=True
    )  # the target's own, for optimistic locking
    before = models.JSONField(null=True, blank=True)  # null: it was not there
    taken_at = models.DateTimeField()
    after = models.JSONField(null=True, blank=True)
    left_at = models.DateTimeField(null=True, blank=True)
    # Of the digests that the record keeps of both states; "" = they were taken before it did.
    salt = models.CharField(max_length=64, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(name="snapshot_once_a_record", fields=["request", "record"])
        ]

    def __str__(self) -> str:
        return f"{self.record} before {self.request_id}"

    def fields(self, side: str) -> list[Field]:
        """Return the fields of its state "before" or "after", those hidden that evidence leaves out.

        Raises Unprocessable for what has no canonical form.
        """
        state = self.before if side == "before" else self.after
        return fields_of(state, salt=self.salt, side=side, hidden=self._hidden)

    def digest_of(self, side: str) -> str:
        """Return the digest of a state by which the record names it: see `governance.commitments`."""
        state = self.before if side == "before" else self.after
        return digest_of(state, salt=self.salt, side=side, hidden=self._hidden)

    @property
    def _hidden(self) -> tuple[str, ...]:
        return self.request.action_type.redacted_in("records")
