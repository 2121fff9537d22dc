"""The floor under a submission: what Django REST framework makes of it with nothing of ours.

One row and one event in one transaction; nobody is authenticated, nothing is routed or hashed.
"""

from __future__ import annotations

from uuid import uuid4

from django.db import transaction
from rest_framework import generics, permissions, serializers

from bench.models import Submission
from governance import clock
from governance.models import AuditEvent


class Fields(serializers.ModelSerializer):
    class Meta:
        model = Submission
        fields = ["id", "action", "department", "justification", "payload"]


class Floor(generics.CreateAPIView):
    authentication_classes = []
    permission_classes = [permissions.AllowAny]
    serializer_class = Fields

    @transaction.atomic
    def perform_create(self, serializer):
        key = self.request.headers["Idempotency-Key"]
        row = serializer.save(idempotency_key=key)
        AuditEvent.objects.create(
            chain=key[:40], seq=1, kind="bench.submitted", actor="agent:bench", cause=uuid4(),
            facts={"action": row.action}, at=clock.now(), prev_hash="", hash="",
        )  # fmt: skip
