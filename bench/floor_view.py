"""The floor under a submission: what Django REST framework makes of it with nothing of ours.
One request and one event in one transaction; nothing is looked up or hashed."""

from __future__ import annotations

from uuid import uuid4

from django.db import transaction
from rest_framework import generics, permissions, serializers

from approvals.models import ActionRequest
from governance import clock
from governance.models import AuditEvent


class Fields(serializers.ModelSerializer):
    class Meta:
        model = ActionRequest
        fields = (
            "ref", "idempotency_key", "title", "amount", "currency", "payload", "justification"
        )  # fmt: skip


class Floor(generics.CreateAPIView):
    authentication_classes = []
    permission_classes = [permissions.AllowAny]
    serializer_class = Fields

    @transaction.atomic
    def perform_create(self, serializer):
        now, key = clock.now(), serializer.validated_data["idempotency_key"]
        row = serializer.save(
            agent_id=1, credential_id=1, action_type_id=1, department_id=1, policy_id=1,
            matrix_row_id=1, business_key=key, severity="low", impact="low", body_hash="0" * 64,
            digest="0" * 64, submitted_at=now, due_at=now,
        )  # fmt: skip
        AuditEvent.objects.create(
            chain=row.ref, seq=1, kind="bench.submitted", actor="agent:bench", cause=uuid4(),
            facts={"title": row.title}, at=now, prev_hash="", hash="",
        )  # fmt: skip
