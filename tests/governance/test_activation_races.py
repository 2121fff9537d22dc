"""A draft coming into force at the same instant as submissions and edits. Each race has a control beside it."""

from __future__ import annotations

import threading
from datetime import timedelta
from functools import partial

import pytest
from django.db import transaction

from approvals.models import ActionRequest, Step
from approvals.services.submit import submit
from governance import clock
from governance.models import AuditEvent, MatrixRow, PolicyVersion
from governance.services import policy as services
from governance.stepup import Presence
from governance.tables import active_policy
from governance.verify import findings
from tests.approvals.asking import body, credential_of
from tests.factories import (
    MONDAY_9AM,
    PersonFactory,
    RoleFactory,
    small_company,
    with_every_office,
)
from tests.governance.test_drafts import SAME

pytestmark = pytest.mark.django_db(transaction=True)

LATER = MONDAY_9AM + timedelta(hours=1)


@pytest.fixture
def company(transactional_db):
    return with_every_office(small_company())


@pytest.fixture
def admins(company):
    role = RoleFactory(key="policy_admin")
    return [PersonFactory(username=f"admin{n}", roles=[role]) for n in range(3)]


@pytest.fixture
def draft(company, admins):
    """A draft with a row more, and another delegate in the one that is there."""
    draft = services.start_draft(actor=admins[0], now=MONDAY_9AM)
    given = {"number": 2, "actor": admins[0], "now": MONDAY_9AM}
    cells = {**SAME, "delegates": "senior_accountant, controller"}
    more = {**cells, "amount_from": "100000", "amount_to": "200000"}
    services.save_row(revision=0, row=None, cells=more, **given)
    services.save_row(revision=1, row=14, cells=cells, **given)
    draft.refresh_from_db(fields=["revision"])
    return draft


def activation(draft, admin):
    factor = Presence(admin.pk, services.matter_of(draft.number), clock.real_now())
    return partial(
        services.activate, number=draft.number, revision=draft.revision, actor=admin,
        presence=factor, now=LATER,
    )  # fmt: skip


def submission(company, credential, number):
    """Ask for a payment, routed by the version that is in force when it comes, as the API does."""

    def call():
        active = active_policy()
        taken, _ = submit(
            credential=credential,
            policy=None if active is None else active.pk,
            idempotency_key=f"key-{number}",
            body=body(company, invoice=f"INV-{number}"),
            now=LATER,
        )
        return taken

    return call


def assert_the_record_is_whole():
    assert not [found for found in findings(LATER) if "seal" not in str(found).lower()]


def test_control_a_swap_in_two_transactions_leaves_an_instant_without_a_policy(
    company, draft, race
):
    """Without the one transaction, whoever asks between the two finds nobody named to decide."""
    between, looked = threading.Event(), threading.Event()

    def in_two_steps():
        PolicyVersion.objects.filter(number=1).update(state="superseded")
        between.set()
        looked.wait(timeout=10)
        PolicyVersion.objects.filter(number=2).update(state="active", activated_at=LATER)

    def look():
        between.wait(timeout=10)
        found = active_policy()
        looked.set()
        return found

    assert race(in_two_steps, look)[1] is None


@pytest.mark.postgresql
def test_control_rows_edited_in_place_are_seen_by_halves(company, race):
    """Were what is in force edited where it stands, a submission would find one row new and one row old."""
    half, looked = threading.Event(), threading.Event()

    def edit_in_place():
        MatrixRow.objects.filter(number=14).update(quorum=2)
        half.set()
        looked.wait(timeout=10)
        company.policy.windows.update(window=timedelta(minutes=1))

    def look():
        half.wait(timeout=10)
        found = (
            MatrixRow.objects.get(number=14).quorum,
            company.policy.windows.get(path="timeout", level=1).window,
        )
        looked.set()
        return found

    assert race(edit_in_place, look)[1] == (2, timedelta(minutes=30))


@pytest.mark.postgresql
def test_while_a_draft_is_being_put_into_force_others_see_the_old_version(company, draft, race):
    """The swap is held open half way: nobody sees a version superseded and none in its place."""
    half, looked = threading.Event(), threading.Event()

    def slowly():
        with transaction.atomic():
            old, new = PolicyVersion.objects.select_for_update().order_by("number")
            old.supersede()
            old.save()
            half.set()
            looked.wait(timeout=10)
            new.activate()
            new.activated_at = LATER
            new.save()

    def look():
        half.wait(timeout=10)
        found = active_policy().number
        looked.set()
        return found

    assert race(slowly, look) == [None, 1]
    assert active_policy().number == 2


@pytest.mark.parametrize("round_", range(5))
def test_a_submission_beside_an_activation_is_routed_by_one_version_whole(
    company, draft, admins, race, round_
):
    credential = credential_of(company)
    calls = [submission(company, credential, number) for number in range(4)]

    done, *taken = race(activation(draft, admins[1]), *calls)

    assert isinstance(done, PolicyVersion), done
    assert active_policy().number == 2
    for each in taken:
        assert isinstance(each, ActionRequest), each
        found = ActionRequest.objects.select_related("policy", "matrix_row").get(pk=each.pk)
        assert found.matrix_row.version == found.policy
        assert found.quorum == found.matrix_row.quorum
        assert Step.objects.filter(request=found, state="waiting").count() == 1
        submitted = AuditEvent.objects.get(chain=found.ref, kind="request.submitted")
        assert submitted.facts["policy"] == found.policy.number
    assert_the_record_is_whole()


def test_of_two_drafts_put_into_force_at_once_one_is_refused(company, draft, admins, race):
    other = services.start_draft(actor=admins[0], now=MONDAY_9AM)

    outcomes = race(activation(draft, admins[1]), activation(other, admins[2]))

    (done,) = (each for each in outcomes if isinstance(each, PolicyVersion))
    (refused,) = (each for each in outcomes if isinstance(each, services.Outdated))
    assert f"version {done.number} is in force" in str(refused)
    assert PolicyVersion.objects.filter(state="active").count() == 1
    assert_the_record_is_whole()


def test_of_two_first_policies_put_into_force_at_once_one_is_refused(transactional_db, race):
    role = RoleFactory(key="policy_admin")
    editor, *others = (PersonFactory(username=f"admin{n}", roles=[role]) for n in range(3))
    drafts = [services.start_draft(actor=editor, now=MONDAY_9AM) for _ in others]

    outcomes = race(*(activation(*each) for each in zip(drafts, others, strict=True)))

    assert sorted(type(each).__name__ for each in outcomes) == ["Outdated", "PolicyVersion"]
    assert_the_record_is_whole()


def test_an_edit_beside_an_activation_is_before_it_or_refused(company, draft, admins, race):
    edit = partial(
        services.remove_row, number=2, revision=draft.revision, actor=admins[0], row=15, now=LATER
    )

    done, edited = race(activation(draft, admins[1]), edit)

    if isinstance(done, PolicyVersion):
        assert isinstance(edited, services.NotADraft)
        assert draft.rows.count() == 2
    else:
        assert isinstance(done, services.EditedMeanwhile)
        assert (edited, draft.rows.count()) == (None, 1)
    assert_the_record_is_whole()


@pytest.mark.parametrize("round_", range(5))
def test_a_draft_discarded_beside_its_activation_is_one_or_the_other(
    company, draft, admins, race, round_
):
    discard = partial(
        services.discard, number=2, revision=draft.revision, actor=admins[0], now=LATER
    )

    done, discarded = race(activation(draft, admins[1]), discard)

    found = PolicyVersion.objects.get(number=2)
    refused = discarded if isinstance(done, PolicyVersion) else done
    assert isinstance(refused, services.NotADraft), (done, discarded)
    assert found.state == ("active" if refused is discarded else "discarded")
    assert active_policy().number == (2 if refused is discarded else 1)
    kinds = set(AuditEvent.objects.filter(chain="policy").values_list("kind", flat=True))
    assert len(kinds & {"policy.activated", "policy.discarded"}) == 1
    assert_the_record_is_whole()


def test_of_two_edits_of_one_revision_one_is_refused_and_nothing_is_half(
    company, draft, admins, race
):
    def edit(admin, row):
        return partial(
            services.remove_row, number=2, revision=draft.revision, actor=admin, row=row, now=LATER
        )

    outcomes = race(edit(admins[0], 14), edit(admins[1], 15))

    assert sorted(type(each).__name__ for each in outcomes) == ["EditedMeanwhile", "NoneType"]
    assert draft.rows.count() == 1
    assert PolicyVersion.objects.get(number=2).revision == draft.revision + 1


def test_two_who_begin_a_draft_at_once_have_two_drafts(company, admins, race):
    begin = [partial(services.start_draft, actor=each, now=LATER) for each in admins[:2]]

    outcomes = race(*begin)

    assert sorted(each.number for each in outcomes) == [2, 3]
