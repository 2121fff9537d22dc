"""A draft comes into force: by somebody else, who is there, with no hole that is not there already."""

from __future__ import annotations

from datetime import timedelta

import pytest

from governance import clock, stepup
from governance.drafting import names as naming
from governance.drafting.book import book_of
from governance.drafting.proving import prove
from governance.errors import NotYours
from governance.models import AuditEvent, Person, PolicyVersion
from governance.policy_check import check
from governance.services import policy as services
from governance.stepup import Presence
from governance.tables import active_policy
from tests.factories import MONDAY_9AM, AgentCredentialFactory, PersonFactory, RoleFactory
from tests.factors import give_factor
from tests.governance.test_drafts import SAME
from tests.governance.test_policy_check import whole

__all__ = ["whole"]  # a fixture

pytestmark = pytest.mark.django_db

LATER = MONDAY_9AM + timedelta(hours=1)
DELEGATE = {**SAME, "delegates": "senior_accountant, controller"}


@pytest.fixture
def admins(company):
    role = RoleFactory(key="policy_admin")
    return [
        PersonFactory(username=name, name=name.replace("_", " ").title(), roles=[role])
        for name in ("policy_admin", "second_admin", "third_admin")
    ]


@pytest.fixture
def draft(company, admins):
    return services.start_draft(actor=admins[0], now=MONDAY_9AM)


def fresh(draft):
    return PolicyVersion.objects.get(pk=draft.pk)


def there(person, draft):
    """Return the second factor that somebody gave for this draft."""
    return Presence(person.pk, services.matter_of(draft.number), clock.real_now())


def save_row(draft, actor, **cells):
    return services.save_row(
        number=draft.number, revision=fresh(draft).revision, actor=actor, row=14,
        cells={**DELEGATE, **cells}, now=LATER,
    )  # fmt: skip


def activate(draft, actor, **over):
    given = {
        "number": draft.number,
        "revision": fresh(draft).revision,
        "actor": actor,
        "presence": there(actor, draft),
        "now": LATER,
    }
    return services.activate(**given | over)


def sign(draft, actor, **over):
    given = {
        "number": draft.number,
        "revision": fresh(draft).revision,
        "actor": actor,
        "digest": prove(draft, now=LATER).digest,
        "now": LATER,
    }
    return services.sign(**given | over)


def states():
    return dict(PolicyVersion.objects.order_by("number").values_list("number", "state"))


def events():
    return list(AuditEvent.objects.filter(chain="policy").order_by("seq"))


# --- Into force ---


def test_an_admin_who_edited_none_of_it_puts_it_into_force(whole, draft, admins):
    save_row(draft, admins[0])

    activate(draft, admins[1])

    found = fresh(draft)
    assert states() == {1: "superseded", 2: "active"}
    assert (found.activated_by, found.activated_at) == (admins[1], LATER)
    assert active_policy().number == 2


def test_the_record_says_who_and_what_changed(whole, draft, admins):
    save_row(draft, admins[0])

    activate(draft, admins[1])

    superseded, activated = events()[-2:]
    assert (superseded.kind, superseded.facts) == ("policy.superseded", {"number": 1, "by": 2})
    assert superseded.cause == activated.cause
    assert activated.facts == {
        "number": 2,
        "by": "person:second_admin",
        "editors": ["person:policy_admin"],
        "supersedes": 1,
        "changes": [
            {
                "part": "rows",
                "line": "14",
                "was": {"delegates": "senior_accountant"},
                "is": {"delegates": "senior_accountant; controller"},
            }
        ],
        "content": book_of(fresh(draft), naming.load()).digest(),
        "holes": [],
        "signed_by": [],
    }


def test_what_is_in_force_is_edited_by_nobody(whole, draft, admins):
    activate(draft, admins[1])

    with pytest.raises(services.NotADraft):
        save_row(draft, admins[0])
    with pytest.raises(services.NotADraft):
        activate(draft, admins[2])


# --- Who ---


def test_an_editor_does_not_activate_it(whole, draft, admins):
    save_row(draft, admins[1])

    for editor in admins[:2]:
        with pytest.raises(NotYours, match="You edited draft 2"):
            activate(draft, editor)

    assert states() == {1: "active", 2: "draft"}


def test_others_than_admins_do_not_activate_it(whole, draft, company):
    with pytest.raises(NotYours):
        activate(draft, company.ceo)


def test_an_admin_who_is_not_there_does_not_activate_it(whole, draft, admins):
    with pytest.raises(stepup.NoSecondFactor, match="The draft was not activated"):
        activate(draft, admins[1], presence=None)
    give_factor(admins[1])
    with pytest.raises(stepup.StepUpNeeded, match="for this draft"):
        activate(draft, admins[1], presence=None)
    with pytest.raises(stepup.StepUpNeeded):
        activate(draft, admins[1], presence=Presence(admins[1].pk, "policy-3", clock.real_now()))

    assert states() == {1: "active", 2: "draft"}


def test_a_draft_that_was_changed_after_it_was_looked_at_is_not_activated(whole, draft, admins):
    seen = fresh(draft).revision
    save_row(draft, admins[0])

    with pytest.raises(services.EditedMeanwhile):
        activate(draft, admins[1], revision=seen)


def test_a_draft_of_a_version_that_is_no_longer_in_force_is_not_activated(whole, draft, admins):
    other = services.start_draft(actor=admins[0], now=MONDAY_9AM)
    activate(other, admins[1])

    with pytest.raises(services.Outdated, match="begun from version 1, and by now version 3"):
        activate(draft, admins[1])


# --- Holes ---


def test_a_draft_with_a_hole_that_the_active_version_lacks_is_refused(whole, draft, admins):
    assert not check(whole.policy, now=LATER).holes
    save_row(draft, admins[0], approver="agent_owner", delegates="")

    with pytest.raises(services.HasHoles) as refused:
        activate(draft, admins[1])

    assert refused.value.extra["holes"]
    assert states() == {1: "active", 2: "draft"}


def test_nobody_signs_away_a_hole_that_the_active_version_lacks(whole, draft, admins):
    save_row(draft, admins[0], approver="agent_owner", delegates="")

    with pytest.raises(services.HasHoles):
        sign(draft, admins[0])


def test_holes_that_are_there_already_need_two_names(company, draft, admins):
    save_row(draft, admins[0], **{**SAME, "executive": "cfo"})
    with pytest.raises(services.NotSigned, match="Another policy administrator signs that list"):
        activate(draft, admins[1])

    sign(draft, admins[0])
    activate(draft, admins[1])

    activated = events()[-1]
    assert activated.facts["signed_by"] == ["person:policy_admin", "person:second_admin"]
    assert {key for key, _ in activated.facts["holes"]} == {
        each.key for each in check(fresh(draft), now=LATER).holes
    }
    assert draft.signatures.count() == 2


def test_ones_own_name_does_not_count_twice(company, draft, admins):
    sign(draft, admins[1])

    with pytest.raises(services.NotSigned):
        activate(draft, admins[1])


def test_a_name_counts_while_its_owner_administers_policies(company, draft, admins):
    sign(draft, admins[1])
    admins[1].roles.clear()

    with pytest.raises(services.NotSigned):
        activate(draft, admins[2])


def test_whose_duty_was_taken_away_a_moment_ago_does_nothing_more(whole, draft, admins):
    assert admins[1].has_duty("policy_admin")
    Person.objects.get(pk=admins[1].pk).roles.clear()

    with pytest.raises(NotYours):
        activate(draft, admins[1])
    with pytest.raises(NotYours):
        save_row(draft, admins[1])


def test_what_was_signed_for_less_does_not_count(company, draft, admins):
    sign(draft, admins[0])
    signature = draft.signatures.get()
    signature.holes = signature.holes[1:]
    signature.save()

    with pytest.raises(services.NotSigned):
        activate(draft, admins[1])


def test_a_change_takes_back_the_signatures(company, draft, admins):
    sign(draft, admins[0])
    save_row(draft, admins[0], **{**SAME, "executive": "cfo"})

    with pytest.raises(services.NotSigned):
        activate(draft, admins[1])


def test_only_the_list_that_was_shown_is_signed(company, draft, admins):
    with pytest.raises(services.ListChanged):
        sign(draft, admins[0], digest="another")

    assert not draft.signatures.exists()


def test_there_is_nothing_to_sign_where_nothing_stalls(whole, draft, admins):
    with pytest.raises(services.ListChanged):
        sign(draft, admins[0])


def test_where_nothing_is_in_force_every_hole_is_there_already(company, admins):
    PolicyVersion.objects.update(state="superseded")
    AgentCredentialFactory(agent=company.agent)
    draft = services.start_draft(actor=admins[0], now=MONDAY_9AM)
    assert check(draft, now=LATER).holes

    sign(draft, admins[0])
    activate(draft, admins[1])

    assert states() == {1: "superseded", 2: "active"}
