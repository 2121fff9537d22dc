from __future__ import annotations

import pytest
from django.db import IntegrityError, connections, transaction

from governance.models import AuditEvent, Seal
from tests.processes.conftest import ALIAS

pytestmark = pytest.mark.processes


def test_a_fresh_demo_begins_with_an_empty_record_that_is_append_only_again(house):
    house.manage("seed_demo", "--with-requests")
    before = set(house.objects(AuditEvent).values_list("hash", flat=True))
    connections[ALIAS].close()  # what is dropped must not be in use

    house.manage("seed_demo", "--fresh")

    after = set(house.objects(AuditEvent).values_list("hash", flat=True))
    assert len(after) < len(before)
    assert not after & before
    assert house.objects(Seal).count() == 1
    house.manage("verify_ledger")
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic(using=ALIAS):
        house.objects(AuditEvent).update(actor="nobody")
