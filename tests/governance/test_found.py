"""What the check found stands under the row of a draft that it is about, and only while it is of that revision."""

from __future__ import annotations

import pytest

from governance.drafting.found import MENDS, MOST, by_row
from governance.drafting.proving import Proof
from governance.models import MatrixRow, PolicyVersion
from governance.policy_check import Finding, Report, prove
from governance.services import policy as services
from governance.views.policy import activation
from tests.factories import MONDAY_9AM, AppointmentFactory, PersonFactory, RoleFactory
from tests.governance.test_drafts import SAME
from tests.governance.test_policy_pages import HTMX, client_of, plain, post, text, url
from tests.governance.test_proof_mutations import MUTATIONS, WARNINGS


@pytest.fixture
def admin(company, timeline):
    return PersonFactory(name="Policy Administrator", roles=[RoleFactory(key="policy_admin")])


@pytest.fixture
def draft(company, admin):
    """A draft whose row 14 asks the agent's owner alone, so that nobody decides."""
    AppointmentFactory(version=company.policy, office="resource_owner", person=company.cfo)
    draft = services.start_draft(actor=admin, now=MONDAY_9AM)
    cells = {**SAME, "approver": "agent_owner", "delegates": ""}
    services.save_row(number=2, revision=0, actor=admin, row=14, cells=cells, now=MONDAY_9AM)
    draft.refresh_from_db(fields=["revision"])
    return draft


@pytest.fixture
def client(admin):
    return client_of(admin)


def finding(key, *, row=14, kind="path"):
    return Finding(key, f"Nobody: {key}.", kind, row)


def proof_of(*, new=(), kept=(), warnings=()):
    report = Report(2, (*new, *kept), warnings, (), 1, 1)
    return Proof(report, 1, new, kept)


def test_the_gravest_stands_first_and_what_is_of_no_row_is_left_out():
    found = by_row(
        proof_of(
            new=(finding("c", row=15), finding("d", row=None)),
            kept=(finding("b"),),
            warnings=(finding("a", kind="one_person"), finding("e", row=15, kind="final_no")),
        )
    )

    assert {row: [(each.weight, each.sentence) for each in its.shown] for row, its in found.items()} == {
        15: [("new", "Nobody: c."), ("warning", "Nobody: e.")],
        14: [("kept", "Nobody: b."), ("warning", "Nobody: a.")],
    }  # fmt: skip
    assert (found[15].is_bad, found[14].is_bad) == (True, False)


def test_a_row_with_warnings_alone_has_nothing_under_it():
    assert by_row(proof_of(warnings=(finding("a", kind="one_person"),))) == {}


def test_what_is_too_many_for_a_row_is_counted():
    found = by_row(proof_of(new=tuple(finding(f"{n}") for n in range(MOST + 3))))

    assert (len(found[14].shown), found[14].more) == (MOST, 3)


@pytest.mark.parametrize("name", [*MUTATIONS, *WARNINGS])
def test_whatever_names_a_row_says_what_mends_it(name):
    world = MUTATIONS[name]() if name in MUTATIONS else WARNINGS[name][0]()
    report = prove(world)

    kinds = {each.kind for each in (*report.holes, *report.warnings) if each.row is not None}

    assert kinds <= MENDS.keys()


@pytest.mark.django_db
def test_without_script_the_page_checked_has_the_hole_under_its_row_and_says_when(draft, client):
    page = text(client.get(url("version", draft), {"check": 1}))

    row = page.split('id="row-14"')[1].split("</tbody>")[0]
    assert 'class="is-found is-hole"' in row
    assert "nobody can decide on" in row
    assert MENDS["path"].replace("'", "&#x27;") in row
    assert "Checked at" in row
    assert 'hx-trigger="policy-changed' in page  # it is not checked twice


@pytest.mark.django_db
def test_without_a_check_nothing_is_said_of_a_row(draft, client):
    assert "is-found" not in text(client.get(url("version", draft)))


@pytest.mark.django_db
def test_an_auditor_reads_it_under_the_row_too(draft):
    auditor = client_of(PersonFactory(roles=[RoleFactory(key="auditor")]))

    page = text(auditor.get(url("version", draft), {"check": 1}))

    assert "nobody can decide on" in page.split('<tr id="row-14"')[1].split("</table>")[0]


@pytest.mark.django_db
def test_the_answer_for_htmx_names_the_revision_and_carries_the_rows(draft, client):
    page = text(client.get(url("check", draft), headers=HTMX))

    assert 'data-checked="1"' in page
    assert 'data-of="row-14"' in page.split("<template data-found>")[1]


@pytest.mark.django_db
def test_a_version_in_force_has_nothing_under_its_rows(company, draft, client):
    page = text(client.get(url("version", company.policy), {"check": 1}))

    assert "is-found" not in page


@pytest.mark.django_db
def test_of_a_draft_that_was_edited_while_it_was_checked_nothing_found_is_shown(
    draft, client, monkeypatch
):
    def edited_meanwhile(version, *, now):
        PolicyVersion.objects.filter(pk=version.pk).update(revision=2)
        return proof_of(new=(finding("old"),))

    monkeypatch.setattr(activation, "prove", edited_meanwhile)

    page = plain(client.get(url("version", draft), {"check": 1}))

    assert "The draft was edited while it was checked" in page
    assert "Nobody: old." not in page


@pytest.mark.django_db
def test_a_row_that_is_stored_comes_back_without_what_was_found_before(draft, client):
    answer = post(client, url("row", draft, 14), 1, htmx=True, **SAME)

    assert answer.status_code == 200
    assert MatrixRow.objects.get(version=draft).approver_role.key == "finance_manager"
    assert "is-found" not in text(answer)
