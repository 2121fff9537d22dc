"""The policy's pages: who may see and change them, a row mended in place, two versions compared, a file."""

from __future__ import annotations

import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from governance.models import MatrixRow, PolicyCheck, PolicyFinding, PolicyVersion
from governance.services import policy as services
from tests.factories import (
    MONDAY_9AM,
    ActionTypeFactory,
    AppointmentFactory,
    PersonFactory,
    PolicyCheckFactory,
    RoleFactory,
    with_every_office,
)
from tests.factors import code_now, give_factor
from tests.governance.test_drafts import HEAD, LINE, ROW, RULE, SAME, file_of, windows

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true"}


def client_of(person):
    client = Client()
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def admin(company, timeline):
    return PersonFactory(name="Policy Administrator", roles=[RoleFactory(key="policy_admin")])


@pytest.fixture
def draft(company, admin):
    AppointmentFactory(version=company.policy, office="resource_owner", person=company.cfo)
    PolicyCheckFactory(version=company.policy, key="terms", name="Terms are known")
    return services.start_draft(actor=admin, now=MONDAY_9AM)


@pytest.fixture
def client(admin):
    return client_of(admin)


def url(name, draft, *more):
    return reverse(f"governance:policy-{name}", args=[draft.number, *more])


def text(response):
    return " ".join(response.content.decode().replace("\xa0", " ").split())


def plain(response):
    return " ".join(re.sub(r"<[^>]+>", " ", text(response)).split())


def post(client, page, revision=0, *, htmx=False, **fields):
    return client.post(page, {"revision": revision, **fields}, headers=HTMX if htmx else {})


# --- Who may ---

PAGES = ("version", "changes", "matrix", "take", "windows", "tree", "offices", "rule-add")
READ = ("version", "changes", "matrix")


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(
    ("duty", "reads", "edits"),
    [("policy_admin", 200, 200), ("auditor", 200, 403), ("operator", 403, 403)],
)
def test_admins_edit_auditors_read_and_nobody_else_sees_it(draft, page, duty, reads, edits):
    role = RoleFactory._meta.model.objects.filter(key=duty).first() or RoleFactory(key=duty)
    somebody = client_of(PersonFactory(roles=[role]))

    assert somebody.get(url(page, draft)).status_code == (reads if page in READ else edits)


def test_an_auditor_sees_a_draft_and_no_way_to_change_it(draft):
    auditor = client_of(PersonFactory(roles=[RoleFactory(key="auditor")]))

    page = text(auditor.get(url("version", draft)))

    assert "Finance manager" in page
    assert "<form" not in page.split("<main")[1].split("</main>")[0]


def test_what_is_in_force_has_no_form(company, draft, client):
    assert client.get(url("windows", company.policy)).status_code == 404
    assert client.get(url("rule", company.policy, "terms")).status_code == 404
    assert 'name="department"' not in text(client.get(url("version", company.policy)))


@pytest.mark.parametrize("number", ["99", "99999999999"])
def test_a_version_that_is_not_there_is_not_found(client, number):
    assert client.get(f"/policy/{number}/").status_code == 404


# --- Reading ---


def test_the_versions_are_listed_with_who_edited_and_activated_them(company, draft, client):
    page = plain(client.get(reverse("governance:policy")))

    assert "Version 1 is in force" in page
    assert "Draft 2 version 1 Policy Administrator" in page


def test_holes_of_what_is_in_use_are_shown_first_and_those_that_are_gone_are_not(company, client):
    for key, gone_at in (("conflict", None), ("violation", MONDAY_9AM)):
        PolicyFinding.objects.create(
            version=company.policy, weight="hole", key=key, about="path",
            sentence=f"Nobody can rule on a {key}.", found_at=MONDAY_9AM, gone_at=gone_at,
        )  # fmt: skip

    page = plain(client.get(reverse("governance:policy")))

    assert "1 hole, found by the check" in page
    assert "Nobody can rule on a conflict. Version 1" in page
    assert "Nobody can rule on a violation." not in page


def test_a_version_is_read_whole(company, draft, client):
    page = plain(client.get(url("version", company.policy)))

    for words in (
        "14 Accounts payable vendor_payment".replace("vendor_payment", "Vendor payment"),
        "$0 $100,000 Finance manager Senior accountant 1",
        "Ask again, window doubled",
        "Block, ask compliance (all nine)",
        "the runbook says so, 32 cells",
        "13 cells",
        "Owner of records every other record CFO",
        "Reviewers all of it Nobody",
        "Terms are known terms, revision 1",
    ):
        assert words in page


def test_a_draft_is_begun_by_a_button(company, admin, client):
    answer = client.post(reverse("governance:policy-draft"))

    draft = PolicyVersion.objects.get(number=2)
    assert answer.url == url("version", draft)
    assert list(draft.editors.all()) == [admin]


def test_a_version_costs_the_same_however_many_rows_it_has(
    draft, client, django_assert_max_num_queries
):
    for low in range(100_000, 100_020):
        cells = {**ROW, "amount_from": str(low), "amount_to": str(low + 1)}
        post(client, url("row-add", draft), low - 100_000, **cells)

    with django_assert_max_num_queries(60):
        client.get(url("version", draft))


# --- The grid ---


def test_a_row_is_stored_and_comes_back_alone_for_htmx(draft, client):
    answer = post(client, url("row", draft, 14), htmx=True, **{**ROW, "amount_from": "0"})

    page = text(answer)
    assert (answer.status_code, MatrixRow.objects.get(version=draft).quorum) == (200, 2)
    assert page.startswith('<tbody id="row-14"')
    assert 'data-revision="1"' in page
    assert 'value="250,000"' in page
    assert answer["HX-Trigger-After-Swap"] == "policy-changed"


def test_without_script_a_row_is_stored_and_the_page_shown_again(draft, client):
    answer = post(client, url("row", draft, 14), **{**ROW, "amount_from": "0"})

    assert answer.url == url("version", draft) + "#row-14"


@pytest.mark.parametrize("htmx", [False, True])
def test_a_mistake_stands_under_the_row_at_fault_beside_what_was_typed(draft, client, htmx):
    answer = post(client, url("row", draft, 14), htmx=htmx, **{**ROW, "delegates": "nobody"})

    page = text(answer)
    assert answer.status_code == 422
    assert 'value="nobody"' in page
    assert 'aria-invalid="true" aria-describedby="row-14-why"' in page
    assert "Delegates, in order: There is no role “nobody”." in page
    assert MatrixRow.objects.get(version=draft).quorum == 1


def test_a_new_row_is_added_and_a_wrong_one_is_kept_as_typed(draft, client):
    wrong = post(client, url("row-add", draft), **{**ROW, "quorum": "many"})
    right = post(client, url("row-add", draft), **ROW)

    assert wrong.status_code == 422
    assert 'value="many"' in text(wrong)
    assert right.url == url("version", draft) + "#row-15"


def test_a_row_is_taken_out(draft, client):
    post(client, url("row", draft, 14), remove="1")

    assert not draft.rows.exists()


@pytest.mark.parametrize("number", ["99", "9" * 18])
@pytest.mark.parametrize("more", [{}, {"remove": "1"}])
def test_a_row_that_is_not_there_is_said_so(draft, client, number, more):
    answer = post(client, f"/policy/2/rows/{number}/", **{**ROW, **more})

    assert answer.status_code == 404
    assert "any more" in text(answer)


def test_whoever_is_second_is_told_who_was_first_and_keeps_what_they_typed(draft, admin, client):
    other = client_of(PersonFactory(name="Second Administrator", roles=[admin.roles.get()]))
    post(other, url("row", draft, 14), **{**ROW, "amount_from": "0"})

    answer = post(client, url("row", draft, 14), htmx=True, **{**ROW, "amount_to": "200000"})

    page = text(answer)
    assert answer.status_code == 409
    assert "Second Administrator changed draft 2 at 09:00:00 UTC" in page
    assert 'value="200000"' in page
    assert 'data-revision="0"' in page  # so that it is refused again until it was looked at
    assert MatrixRow.objects.get(version=draft).amount_to == 250_000


def test_words_of_others_are_shown_as_words(draft, client):
    hostile = '"><script>alert(1)</script>'

    page = text(post(client, url("row", draft, 14), **{**ROW, "department": hostile}))

    assert hostile not in page
    assert "&lt;script&gt;" in page


# --- The other parts ---


def test_windows_are_changed_by_a_form(draft, client):
    typed = windows(draft) | {"timeout/L1": "45 min"}

    answer = post(client, url("windows", draft), **typed)

    assert answer.url == url("version", draft) + "#s-win"
    assert windows(draft)["timeout/L1"] == "45 min"
    assert 'value="45 min"' in text(client.get(url("windows", draft)))


def test_a_window_to_be_mended_is_marked_and_the_others_keep_what_was_typed(draft, client):
    typed = windows(draft) | {"timeout/L1": "soon", "timeout/L2": "3 h"}

    answer = post(client, url("windows", draft), **typed)

    page = text(answer)
    assert answer.status_code == 422
    assert 'aria-describedby="timeout/L1-error"' in page
    assert 'value="3 h"' in page


def test_cells_are_changed_by_a_form(draft, client):
    post(client, url("tree", draft), **{"timeout/low/low": "delegate"})

    page = plain(client.get(url("version", draft)))
    assert "edited here, 1 cell" in page


def test_offices_are_changed_by_a_form(company, draft, client):
    typed = {
        "owner": ["cfo", "Controller", ""],
        "pattern": ["demo:vendor:*", ""],
        "executive": "CEO, cfo",
    }

    post(client, url("offices", draft), **typed)

    page = plain(client.get(url("version", draft)))
    assert "Owner of records demo:vendor:* Controller" in page
    assert "Executives all of it CEO, CFO" in page


def test_a_fallback_is_named_for_a_target_and_not_for_how_it_is_written_to(draft, client):
    ActionTypeFactory(key="sales_order", connector="http", connector_config={"target": "sap"})

    page = client.get(url("offices", draft)).content.decode()

    assert 'name="fallback:sap"' in page
    assert "fallback:http" not in page


def test_an_office_to_be_mended_is_marked(draft, client):
    answer = post(client, url("offices", draft), owner=["nobody"], executive="CEO")

    page = text(answer)
    assert answer.status_code == 422
    assert "There is no person “nobody”." in page
    assert 'value="CEO"' in page


def test_a_rule_is_added_changed_and_taken_out(draft, client):
    added = post(client, url("rule-add", draft), **RULE)
    wrong = post(client, url("rule", draft, "small-sums"), 1, **{**RULE, "expression": "payload +"})
    post(client, url("rule", draft, "terms"), 1, remove="1")

    assert added.url == url("version", draft) + "#s-rules"
    assert wrong.status_code == 422
    assert "It does not compile" in text(wrong)
    assert list(PolicyCheck.objects.filter(version=draft).values_list("key", flat=True)) == ["small-sums"]  # fmt: skip


@pytest.mark.parametrize("page", ["windows", "tree", "offices", "rule-add"])
def test_a_form_of_an_older_draft_is_refused_whole(draft, client, page):
    post(client, url("row", draft, 14), remove="1")

    typed = {**windows(draft), **RULE, "owner": "cfo", "timeout/low/low": "delegate"}
    answer = post(client, url(page, draft), 0, **typed)

    assert answer.status_code == 409
    assert "Somebody was faster." in text(answer)


# --- Comparing ---


def test_what_differs_is_shown_part_by_part_in_words(draft, client):
    post(client, url("row", draft, 14), 0, **{**ROW, "amount_from": "0"})
    post(client, url("tree", draft), 1, **{"timeout/low/low": "delegate"})

    page = plain(client.get(url("changes", draft)))

    assert "From version 1 to 2: 2 lines." in page
    assert "Row 14 Up to 100000.00 250000.00" in page
    assert "Delegates, in order Senior accountant CFO, CEO" in page
    assert "Timeout, low severity, low impact Answer Ask again, window doubled Delegate at once" in page  # fmt: skip


def test_a_version_is_compared_with_any_other(company, draft, client):
    same = plain(client.get(url("changes", draft), {"since": "1"}))
    first = plain(client.get(url("changes", company.policy)))

    assert "Nothing differs." in same
    assert "everything is new" in first
    assert client.get(url("changes", draft), {"since": "x"}).status_code == 404


# --- Files ---


def upload(client, draft, content, name="matrix.csv"):
    return client.post(url("take", draft), {"file": SimpleUploadedFile(name, content)})


def test_the_matrix_is_handed_out_as_a_file(draft, client):
    answer = client.get(url("matrix", draft))

    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer["Content-Disposition"] == 'attachment; filename="matrix-2.csv"'
    assert answer.content.decode("utf-8-sig").splitlines()[0] == HEAD


def test_a_file_is_shown_before_anything_is_taken(draft, client):
    content = file_of(
        LINE.format(number=14, low=0, high=50), LINE.format(number="", low=50, high=60)
    )

    page = plain(upload(client, draft, content.encode()))

    assert "2 rows in the file: 1 new, 1 changed, 0 taken out." in page
    assert "Row 14 Up to 100000.00 50.00" in page
    assert draft.rows.count() == 1


def test_what_was_looked_at_is_taken(draft, client):
    content = file_of(
        LINE.format(number=14, low=0, high=50), LINE.format(number="", low=50, high=60)
    )
    looked = upload(client, draft, content.encode())

    post(client, url("take", draft), 0, take="1", text=looked.context["text"])

    assert list(draft.rows.values_list("number", flat=True)) == [14, 15]


def test_a_file_of_an_older_draft_is_refused_whole(draft, client):
    looked = upload(client, draft, file_of(LINE.format(number=1, low=0, high=50)).encode())
    post(client, url("row", draft, 14), 0, **{**ROW, "amount_from": "0"})

    answer = post(client, url("take", draft), 0, take="1", text=looked.context["text"])

    assert answer.status_code == 409
    assert list(draft.rows.values_list("number", flat=True)) == [14]


GOOD = LINE.format(number=1, low=0, high=50)
TOO_MANY = file_of(*[",accounts-payable,,USD,0,,cfo,,1,"] * 50_000)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"row,department\r\n1,Pr\xfcfung\r\n", "not UTF-8"),
        (file_of(GOOD.replace("controller", "=cmd()")).encode(), "as a formula does"),
        (file_of(GOOD.replace("controller", "nobody")).encode(), "There is no role “nobody”"),
        (TOO_MANY.encode(), "larger than 200,000 bytes"),
        (b"", "empty"),
    ],
)
def test_a_file_that_cannot_be_taken_says_what_to_mend_and_where(draft, client, content, says):
    answer = upload(client, draft, content)

    assert answer.status_code == 422
    assert says in text(answer)
    assert draft.rows.count() == 1


# --- The check and the way into force ---


@pytest.fixture
def second(admin):
    """A client of another admin, who has edited nothing and has a second factor."""
    person = PersonFactory(name="Second Administrator", roles=[admin.roles.get()])
    give_factor(person)
    return client_of(person)


def test_what_the_check_finds_is_shown_and_the_way_on_is_somebody_elses(draft, client, second):
    mine, theirs = (plain(each.get(url("check", draft))) for each in (client, second))

    assert "This draft keeps" in mine
    assert "nobody is named for compliance. " in mine
    assert "You edited this draft. Another policy administrator activates it." in mine
    assert "Activate draft 2…" in theirs


def test_the_longest_that_each_may_take_is_printed(company, client):
    with_every_office(company)

    page = plain(client.get(url("check", company.policy)))

    assert "Nothing in this version can stall" in page
    assert "vendor_payment under $100,000.00, row 14 Timeout" in page


def test_for_htmx_what_was_found_is_the_whole_answer(draft, client):
    page = text(client.get(url("check", draft), headers=HTMX))

    assert page.startswith('<div class="rc-proof')


def test_the_holes_of_what_is_in_force_are_shown_to_auditors_without_a_button(company, draft):
    auditor = client_of(PersonFactory(roles=[RoleFactory(key="auditor")]))

    page = text(auditor.get(url("check", company.policy)))

    assert "This version can stall" in page
    assert "<form" not in page.split("<main")[1].split("</main>")[0]


def test_one_signs_and_another_activates_with_a_code(draft, client, second):
    digest = client.get(url("check", draft)).context["proof"].digest

    signed = post(client, url("sign", draft), digest=digest)
    asked = second.get(url("activate", draft))
    done = post(second, url("activate", draft), code=code_now())

    assert signed.url == url("check", draft)
    assert "edited by Policy Administrator" in plain(asked)
    assert done.url == url("version", draft)
    assert PolicyVersion.objects.get(number=2).state == "active"


def test_a_wrong_code_activates_nothing(draft, second):
    answer = post(second, url("activate", draft), code="000000")

    assert answer.status_code == 422
    assert PolicyVersion.objects.get(number=2).state == "draft"


def test_a_refusal_is_said_beside_the_code(draft, second):
    answer = post(second, url("activate", draft), code=code_now())

    assert answer.status_code == 409
    assert "Two people sign the holes that stay." in text(answer)


def test_a_draft_that_changed_while_the_code_was_typed_is_not_activated(draft, client, second):
    post(client, url("row", draft, 14), **{**ROW, "amount_from": "0"})

    answer = post(second, url("activate", draft), 0, code=code_now())

    assert answer.status_code == 409
    assert PolicyVersion.objects.get(number=2).state == "draft"


def test_whoever_has_no_second_factor_is_sent_to_set_one_up(draft, client):
    assert client.get(url("activate", draft)).url == reverse("mfa_index")


def test_a_list_that_changed_is_shown_again_and_not_signed(draft, client):
    answer = post(client, url("sign", draft), digest="another")

    assert answer.status_code == 409
    assert "The list has changed." in text(answer)
    assert not draft.signatures.exists()


# --- Discarding a draft ---


def test_a_draft_asks_before_it_is_discarded_and_says_what_is_lost(draft, client):
    post(client, url("row", draft, 14), **{**ROW, "amount_from": "0"})

    page = client.get(url("version", draft))
    again = client.get(url("discard", draft), headers=HTMX)

    for each in (page, again):
        assert "Discard draft 2? What is lost: its 1 change from version 1" in plain(each)
        assert "made by Policy Administrator, which will never come into force" in plain(each)
        assert "its number is not used again" in plain(each)
    assert text(again).startswith('<section class="rc-sec rc-sec--wide" id="discard"')
    assert 'name="revision" value="1"' in text(again)


def test_a_discarded_draft_stays_in_the_list_and_has_no_form(draft, client):
    answer = post(client, url("discard", draft))

    listed = plain(client.get(answer.url))
    assert "Draft 2 is discarded. Its number is not used again." in listed
    assert "Draft 2 version 1 Policy Administrator Policy Administrator" in listed
    page = client.get(url("version", draft))
    assert "Draft 2, discarded" in plain(page)
    assert "discarded by Policy Administrator" in plain(page)
    assert "<form" not in text(page).split("<main")[1].split("</main>")[0]
    assert client.get(url("windows", draft)).status_code == 404
    assert client.get(url("activate", draft)).url == url("version", draft)


def test_a_draft_that_somebody_changed_is_not_discarded_and_the_page_says_so(draft, client):
    post(client, url("row", draft, 14), **{**ROW, "amount_from": "0"})

    answer = post(client, url("discard", draft), 0)

    assert answer.status_code == 409
    assert "Somebody was faster." in text(answer)
    assert PolicyVersion.objects.get(number=2).state == "draft"


def test_an_auditor_has_no_way_to_discard_one(draft):
    auditor = client_of(PersonFactory(roles=[RoleFactory(key="auditor")]))

    assert post(auditor, url("discard", draft)).status_code == 403


def test_what_is_in_force_is_listed_however_many_drafts_were_discarded_since(
    company, admin, client, monkeypatch
):
    monkeypatch.setattr("governance.views.policy.versions.SHOWN", 2)
    for _ in range(3):
        draft = services.start_draft(actor=admin, now=MONDAY_9AM)
        post(client, url("discard", draft))

    assert "Version 1 is in force" in plain(client.get(reverse("governance:policy")))


# --- Pasting ---


def paste(client, draft, *given, revision=0, **more):
    lists = {field: [cells[field] for _, cells in given] for field in ROW}
    names = [row for row, _ in given]
    return post(client, url("pasted", draft), revision, row=names, **lists, **more)


def test_what_was_pasted_is_read_and_not_stored(draft, client):
    answer = paste(client, draft, ("14", {**SAME, "quorum": "2"}), ("new", ROW))

    assert (answer.status_code, answer.json()) == (200, {})
    assert draft.rows.get().quorum == 1


def test_what_of_it_does_not_read_is_said_cell_by_cell(draft, client):
    answer = paste(client, draft, ("14", SAME), ("new", {**ROW, "delegates": "nobody"}))

    assert answer.status_code == 200
    assert paste(client, draft, ("new", {**ROW, "quorum": "no"}), store="1").status_code == 422
    assert answer.json()["mistakes"] == [
        {
            "row": "new",
            "field": "delegates",
            "words": "Delegates, in order: There is no role “nobody”.",
        }
    ]


def test_what_was_pasted_is_stored_when_somebody_says_so(draft, client):
    answer = paste(client, draft, ("14", {**SAME, "quorum": "2"}), ("new", ROW), store="1")

    assert answer.status_code == 200
    assert list(draft.rows.values_list("number", "quorum")) == [(14, 2), (15, 2)]


def test_what_was_pasted_into_an_older_draft_is_refused_whole(draft, client):
    answer = paste(client, draft, ("14", {**SAME, "quorum": "2"}), revision=7, store="1")

    assert answer.status_code == 409
    assert "Nothing of yours was stored" in answer.json()["detail"]


@pytest.mark.parametrize("row", ["", "x", "99999999999", "99"])
def test_a_row_that_is_not_there_is_not_stored(draft, client, row):
    assert paste(client, draft, (row, ROW), store="1").status_code == 404
