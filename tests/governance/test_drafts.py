"""A draft: begun from what is in force, edited part by part, and never half."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from governance import actors, cel, decision_tree, tables
from governance.drafting import NotRight, names, parts, sheet
from governance.drafting.book import book_of
from governance.errors import NotFound, NotYours
from governance.models import (
    Appointment,
    AuditEvent,
    DecisionCell,
    MatrixRow,
    PathWindow,
    PolicyCheck,
    PolicyVersion,
)
from governance.services import policy as services
from tests.factories import (
    MONDAY_9AM,
    AppointmentFactory,
    PersonFactory,
    PolicyCheckFactory,
    PolicySignatureFactory,
    RoleFactory,
)

pytestmark = pytest.mark.django_db

LATER = MONDAY_9AM + timedelta(hours=1)
ROW = {
    "department": "accounts-payable",
    "action": "vendor_payment",
    "currency": "USD",
    "amount_from": "100,000",
    "amount_to": "250,000.00",
    "approver": "controller",
    "delegates": "cfo, person:ceo",
    "quorum": "2",
    "executive": "cfo",
}

SAME = {  # as row 14 of the company
    **ROW,
    "amount_from": "0.00",
    "amount_to": "100000",
    "approver": "finance_manager",
    "delegates": "senior_accountant",
    "quorum": "1",
    "executive": "",
}


@pytest.fixture
def admin(company):
    return PersonFactory(
        username="policy_admin",
        name="Policy Administrator",
        roles=[RoleFactory(key="policy_admin")],
    )


@pytest.fixture
def draft(company, admin):
    AppointmentFactory(
        version=company.policy, office="resource_owner", scope="", person=company.cfo
    )
    AppointmentFactory(version=company.policy, office="executive", person=company.ceo)
    AppointmentFactory(version=company.policy, office="executive", person=company.cfo)
    PolicyCheckFactory(version=company.policy, key="terms", revision=3)
    return services.start_draft(actor=admin, now=MONDAY_9AM)


def edit(call, draft, actor, **given):
    """Call an edit as somebody who looked at the draft a moment ago."""
    revision = PolicyVersion.objects.get(pk=draft.pk).revision
    return call(number=draft.number, revision=revision, actor=actor, now=LATER, **given)


def save_row(draft, actor, row=None, **cells):
    return edit(services.save_row, draft, actor, row=row, cells={**ROW, **cells})


def lines(version):
    return book_of(version, names.load()).lines


def last_event():
    return AuditEvent.objects.filter(chain="policy").order_by("seq").last()


def wrong(refused):
    return {each.field: each.words for each in refused.value.mistakes}


# --- Beginning one ---


def test_a_draft_begins_as_a_whole_copy_of_what_is_in_force(company, draft, admin):
    assert lines(draft) == lines(company.policy)
    assert (draft.state, draft.number, draft.based_on) == ("draft", 2, company.policy)
    assert list(draft.editors.all()) == [admin]
    assert last_event().kind == "policy.drafted"


def test_executives_keep_their_order_in_a_copy(company, draft):
    held = Appointment.objects.filter(version=draft, office="executive").order_by("pk")
    assert [each.person for each in held] == [company.ceo, company.cfo]


def test_without_an_active_version_a_draft_begins_from_the_tables_of_the_house(db):
    admin = PersonFactory(roles=[RoleFactory(key="policy_admin")])

    draft = services.start_draft(actor=admin, now=MONDAY_9AM)

    assert (draft.cells.count(), draft.windows.count(), draft.rows.count()) == (45, 17, 0)


@pytest.mark.parametrize("duty", ["auditor", "compliance", "operator"])
def test_only_policy_administrators_begin_or_edit_one(company, draft, duty):
    other = PersonFactory(roles=[RoleFactory(key=duty)])

    with pytest.raises(NotYours):
        services.start_draft(actor=other, now=LATER)
    with pytest.raises(NotYours):
        save_row(draft, other)


def test_what_is_in_force_is_never_edited(company, draft, admin):
    with pytest.raises(services.NotADraft):
        save_row(company.policy, admin)
    assert company.policy.rows.count() == 1


def test_a_version_that_is_not_there_is_said_so(company, draft, admin):
    draft.number = 99

    with pytest.raises(NotFound):
        save_row(draft, admin)


# --- The matrix ---


def test_a_row_is_stored_as_it_was_typed(company, draft, admin):
    number = save_row(draft, admin)

    row = MatrixRow.objects.get(version=draft, number=number)
    assert number == 15
    assert (row.amount_from, row.amount_to) == (Decimal(100_000), Decimal(250_000))
    assert (row.approver_role.key, row.executive, row.quorum) == ("controller", company.cfo, 2)
    assert [str(each.role or each.person.username) for each in row.delegates.all()] == [
        "CFO",
        "ceo",
    ]


def test_an_edit_says_in_the_record_what_was_and_what_is(company, draft, admin):
    save_row(draft, admin, row=14, **{**SAME, "amount_to": "25000", "delegates": ""})

    event = last_event()
    assert (event.kind, event.actor) == ("policy.edited", "person:policy_admin")
    assert event.facts["changes"] == [
        {
            "part": "rows",
            "line": "14",
            "was": {"amount_to": "100000.00", "delegates": "senior_accountant"},
            "is": {"amount_to": "25000.00", "delegates": ""},
        }
    ]


def test_an_edit_that_changes_nothing_leaves_no_trace(company, draft, admin):
    other = PersonFactory(roles=[admin.roles.get()])
    before = AuditEvent.objects.count()

    save_row(draft, other, row=14, **SAME)

    draft.refresh_from_db(fields=["revision"])
    assert (draft.revision, AuditEvent.objects.count()) == (0, before)
    assert other not in draft.editors.all()


@pytest.mark.parametrize(
    ("cells", "field", "says"),
    [
        ({"department": "nowhere"}, "department", "no department"),
        ({"action": "moon_landing"}, "action", "no action"),
        ({"currency": "XYZ"}, "currency", "not a currency"),
        ({"currency": ""}, "currency", "which currency"),
        ({"amount_from": "ten"}, "amount_from", "in figures"),
        ({"amount_from": "1.000,00"}, "amount_from", "in figures"),
        ({"amount_from": "-1"}, "amount_from", "in figures"),
        ({"amount_from": "1e5"}, "amount_from", "in figures"),
        ({"amount_from": ""}, "amount_from", "from which amount"),
        ({"amount_from": "0.001"}, "amount_from", "2\xa0decimals"),
        ({"currency": "JPY", "amount_from": "100000.5"}, "amount_from", "0\xa0decimals"),
        ({"amount_to": "99999.99"}, "amount_to", "must end above"),
        ({"amount_to": "100000"}, "amount_to", "must end above"),
        ({"amount_to": "99999999999999999999"}, "amount_to", "in figures"),
        ({"approver": ""}, "approver", "no role"),
        ({"approver": "nobody"}, "approver", "no role"),
        ({"approver": "agent_owner2"}, "approver", "no role"),
        ({"approver": "person:nobody"}, "approver", "no person"),
        ({"approver": "person:gone"}, "approver", "disabled"),
        ({"delegates": "cfo, nobody"}, "delegates", "no role"),
        ({"delegates": "cfo, cfo"}, "delegates", "twice"),
        ({"delegates": "controller"}, "delegates", "twice"),
        ({"quorum": "0"}, "quorum", "1 to 20"),
        ({"quorum": "two"}, "quorum", "1 to 20"),
        ({"executive": "nobody"}, "executive", "no person"),
        ({"approver": "x" * 600}, "approver", "At most"),
        ({"approver": "cfo\x00"}, "approver", "plain text"),
    ],
)
def test_a_cell_to_be_mended_is_named_and_nothing_is_stored(
    company, draft, admin, cells, field, says
):
    PersonFactory(username="gone", is_active=False)

    with pytest.raises(NotRight) as refused:
        save_row(draft, admin, **cells)

    assert says in wrong(refused)[field]
    assert MatrixRow.objects.filter(version=draft).count() == 1


def test_every_wrong_cell_is_said_at_once(company, draft, admin):
    with pytest.raises(NotRight) as refused:
        save_row(draft, admin, department="x", quorum="", executive="x")

    assert set(wrong(refused)) == {"department", "quorum", "executive"}


def test_a_person_whose_name_is_no_role_is_said_how_to_write(company, draft, admin):
    PersonFactory(username="treasurer")

    with pytest.raises(NotRight) as refused:
        save_row(draft, admin, approver="treasurer")

    assert "person:treasurer" in wrong(refused)["approver"]


@pytest.mark.parametrize(
    ("low", "high"), [("0", "50000"), ("99999.99", "200000"), ("0", ""), ("50000", "60000")]
)
def test_two_rows_that_cover_the_same_amounts_are_refused(company, draft, admin, low, high):
    with pytest.raises(NotRight) as refused:
        save_row(draft, admin, amount_from=low, amount_to=high)

    assert "Row 14 covers" in wrong(refused)["amount_from"]


@pytest.mark.parametrize(
    "cells", [{"currency": "EUR", "amount_from": "0"}, {"action": "", "amount_from": "0"}]
)
def test_another_currency_or_any_action_covers_something_else(company, draft, admin, cells):
    assert save_row(draft, admin, **cells) == 15


def test_two_rows_without_an_amount_are_refused(company, draft, admin):
    without = {"currency": "", "amount_from": "", "amount_to": ""}
    save_row(draft, admin, **without)

    with pytest.raises(NotRight, match="those without an amount"):
        save_row(draft, admin, **without)


def test_a_row_is_taken_out_once(company, draft, admin):
    edit(services.remove_row, draft, admin, row=14)

    assert not draft.rows.exists()
    with pytest.raises(NotFound):
        edit(services.remove_row, draft, admin, row=14)


# --- Two admins, one draft ---


def test_whoever_looked_before_another_changed_it_is_refused(company, draft, admin):
    other = PersonFactory(name="Second Administrator", roles=[admin.roles.get()])
    seen = draft.revision
    save_row(draft, other, amount_from="100000")

    with pytest.raises(services.EditedMeanwhile, match="Second Administrator changed draft 2 at 10:00:00"):  # fmt: skip
        services.remove_row(number=draft.number, revision=seen, actor=admin, row=14, now=LATER)

    assert draft.rows.count() == 2


def test_everybody_who_changed_something_is_an_editor(company, draft, admin):
    other = PersonFactory(roles=[admin.roles.get()])

    save_row(draft, other)

    assert set(draft.editors.all()) == {admin, other}


def test_a_change_takes_back_what_was_signed_for_less(company, draft, admin):
    PolicySignatureFactory(version=draft)

    save_row(draft, admin)

    assert not draft.signatures.exists()


# --- Windows and cells ---


def windows(version, **over):
    return {key: line["window"] for key, line in lines(version)["windows"].items()} | over


def test_windows_are_stored_as_lengths_of_time(company, draft, admin):
    given = windows(draft) | {"timeout/L1": "1 h 30 min", "queue_cap": "2 days"}

    edit(services.save_windows, draft, admin, windows=given)

    draft.refresh_from_db(fields=["queue_cap"])
    assert PathWindow.objects.get(version=draft, path="timeout", level=1).window == timedelta(
        minutes=90
    )
    assert draft.queue_cap == timedelta(days=2)
    assert windows(draft) == given | {"queue_cap": "2 d"}


@pytest.mark.parametrize("text", ["", "soon", "0 min", "30", "1 h and 2", "40 days", "-1 h", "٣ h"])
def test_no_rung_is_left_without_a_length_of_time(company, draft, admin, text):
    with pytest.raises(NotRight) as refused:
        edit(services.save_windows, draft, admin, windows=windows(draft) | {"timeout/L1": text})

    assert set(wrong(refused)) == {"timeout/L1"}


def test_a_window_that_is_not_said_is_not_left_out(company, draft, admin):
    with pytest.raises(NotRight) as refused:
        edit(services.save_windows, draft, admin, windows={"timeout/L1": "1 h"})

    assert len(refused.value.mistakes) == len(parts.WINDOWS)


def test_an_edited_cell_is_local_and_one_put_back_is_not(company, draft, admin):
    cell = {"version": draft, "exception": "timeout", "severity": "low", "impact": "low"}

    edit(services.save_cells, draft, admin, responses={"timeout/low/low": "delegate"})
    edited = DecisionCell.objects.get(**cell)
    edit(services.save_cells, draft, admin, responses={"timeout/low/low": "ask_again_extended"})
    put_back = DecisionCell.objects.get(**cell)

    assert (edited.response, edited.source) == ("delegate", "local")
    assert (put_back.response, put_back.source) == ("ask_again_extended", "R")


@pytest.mark.parametrize(
    ("key", "response"),
    [("timeout/low/low", "hold"), ("conflict/low/low", "delegate"), ("nothing/at/all", "hold")],
)
def test_a_cell_holds_a_response_of_its_own_path_alone(company, draft, admin, key, response):
    with pytest.raises(NotRight) as refused:
        edit(services.save_cells, draft, admin, responses={key: response})

    assert key in wrong(refused)


def test_every_response_is_of_one_exception_and_answers_some_cell():
    every = [each for allowed in decision_tree.RESPONSES.values() for each in allowed]
    assert len(every) == len(set(every)) == len(decision_tree.ENTERS_AT)
    for exception, _, _, rule in decision_tree.cells():
        assert rule.response in decision_tree.RESPONSES[exception]


# --- Offices ---


def offices(**over):
    return {
        "heads": {"accounts-payable": "controller"},
        "owners": [("", "cfo"), ("demo:vendor:*", "ceo")],
        "fallbacks": {"demo": "controller"},
        "several": {"compliance": "agent_owner", "reviewer": "ceo; controller", "executive": "cfo, ceo"},
    } | over  # fmt: skip


def test_offices_are_stored_in_their_order(company, draft, admin):
    edit(services.save_offices, draft, admin, **offices())

    assert lines(draft)["offices"] == {
        "department_head:accounts-payable": {"people": "controller"},
        "resource_owner": {"people": "cfo"},
        "resource_owner:demo:vendor:*": {"people": "ceo"},
        "oncall_fallback:demo": {"people": "controller"},
        "compliance": {"people": "agent_owner"},
        "reviewer": {"people": "ceo; controller"},
        "executive": {"people": "cfo; ceo"},
    }


@pytest.mark.parametrize(
    ("over", "field"),
    [
        ({"owners": [("demo:*", "cfo")]}, "owner:0"),
        ({"owners": []}, "owner:0"),
        ({"owners": [("", "cfo"), ("demo:*", "")]}, "owner:1"),
        ({"owners": [("", "cfo"), ("a*", "cfo"), ("a*", "ceo")]}, "owner:2"),
        ({"owners": [("", "nobody")]}, "owner:0"),
        ({"heads": {"accounts-payable": "nobody"}}, "head:accounts-payable"),
        ({"fallbacks": {"demo": "nobody"}}, "fallback:demo"),
        ({"several": {"executive": "cfo, cfo"}}, "executive"),
        ({"several": {"head_of_compliance": "cfo, ceo"}}, "head_of_compliance"),
        ({"several": {"reviewer": "cfo, nobody"}}, "reviewer"),
    ],
)
def test_an_office_to_be_mended_is_named_and_nothing_is_stored(company, draft, admin, over, field):
    before = lines(draft)["offices"]

    with pytest.raises(NotRight) as refused:
        edit(services.save_offices, draft, admin, **offices(**over))

    assert field in wrong(refused)
    assert lines(draft)["offices"] == before


# --- Rules ---

RULE = {
    "key": "small-sums",
    "name": "Sums stay small",
    "action": "vendor_payment",
    "reads": "payload",
    "expression": "payload.amount.minor < 100000",
    "on_break": "The amount is more than this vendor is trusted with.",
}


def save_rule(draft, actor, rule=None, **typed):
    return edit(services.save_rule, draft, actor, key=rule, typed={**RULE, **typed})


def test_a_rule_is_compiled_when_it_is_stored(company, draft, admin):
    save_rule(draft, admin)

    rule = PolicyCheck.objects.get(version=draft, key="small-sums")
    assert (rule.revision, len(rule.expression_hash)) == (1, 64)


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"key": "Small Sums"}, "key"),
        ({"key": "terms"}, "key"),
        ({"name": ""}, "name"),
        ({"action": "moon_landing"}, "action"),
        ({"reads": "minds"}, "reads"),
        ({"expression": "payload.amount.minor <"}, "expression"),
        ({"expression": ""}, "expression"),
        ({"expression": "secrets.x == 1"}, "expression"),
        ({"expression": "facts.credit_limit > 1"}, "expression"),
        ({"on_break": ""}, "on_break"),
    ],
)
def test_a_rule_to_be_mended_is_named_and_nothing_is_stored(company, draft, admin, typed, field):
    with pytest.raises(NotRight) as refused:
        save_rule(draft, admin, **typed)

    assert field in wrong(refused)
    assert draft.checks.count() == 1


def test_a_changed_rule_is_a_new_revision_however_often_it_is_changed(company, draft, admin):
    for expression in ("has(payload.vendor)", "has(payload.invoice)"):
        save_rule(draft, admin, "terms", expression=expression, action="")

    assert draft.checks.get(key="terms").revision == 4


def test_other_words_for_a_rule_are_no_new_revision(company, draft, admin):
    old = draft.checks.get(key="terms")
    hashed = cel.hash_of(old.expression)
    PolicyCheck.objects.filter(key="terms").update(expression_hash=hashed)

    save_rule(draft, admin, "terms", expression=old.expression, action="", name="Terms are named")

    assert draft.checks.get(key="terms").revision == 3


def test_a_rule_that_comes_back_is_not_silenced_by_an_old_waiver(company, draft, admin):
    edit(services.remove_rule, draft, admin, key="terms")

    save_rule(draft, admin, key="terms")

    assert draft.checks.get(key="terms").revision == 4


# --- The matrix as a file ---


def written(version):
    return sheet.write((number, cells) for number, cells in lines(version)["rows"].items())


def take(draft, actor, text):
    return edit(services.take_matrix, draft, actor, text=text)


def said(refused):
    return [(each.row, each.field, each.words) for each in refused.value.mistakes]


HEAD = ",".join(sheet.COLUMNS)
LINE = '{number},accounts-payable,vendor_payment,USD,{low},{high},controller,"cfo; person:ceo",1,'


def file_of(*lines_, head=HEAD):
    return "\r\n".join([head, *lines_]) + "\r\n"


def test_a_matrix_that_was_written_out_is_read_in_as_it_was(company, draft, admin):
    save_row(draft, admin)
    before, keys = lines(draft)["rows"], set(draft.rows.values_list("pk", flat=True))

    assert take(draft, admin, written(draft)) == 2

    assert lines(draft)["rows"] == before
    assert set(draft.rows.values_list("pk", flat=True)) == keys  # nothing changed, so no row did


def test_a_file_takes_the_place_of_the_whole_matrix(company, draft, admin):
    text = file_of(LINE.format(number=20, low=0, high=50), LINE.format(number="", low=50, high=""))

    take(draft, admin, text)

    assert list(draft.rows.values_list("number", "amount_from")) == [
        (20, Decimal(0)),
        (21, Decimal(50)),
    ]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters_and_a_byte_order_mark_are_understood(company, draft, admin, delimiter):
    line = 'x;accounts-payable;;USD;0;;controller;"cfo; person:ceo";1;'.replace("x", "")
    text = "\ufeff" + file_of(line, head=HEAD.replace(",", ";"))
    if delimiter == "\t":
        text = text.replace('"cfo; person:ceo"', "cfo, person:ceo").replace(";", "\t")

    assert take(draft, admin, text) == 1
    assert draft.rows.get().delegates.count() == 2


def test_bytes_that_are_no_utf_8_are_named_by_their_line():
    with pytest.raises(NotRight) as refused:
        sheet.decode(b"row,department\r\n1,Pr\xfcfung\r\n")

    assert said(refused)[0][0] == 2
    assert "not UTF-8" in said(refused)[0][2]


def test_a_cell_that_is_a_formula_is_refused_where_it_stands(company, draft, admin):
    for cell in ("=1+1", "+1", "-1", "@SUM(A1)", '"\t=1"'):
        line = LINE.format(number="", low=0, high=50).replace("accounts-payable", cell)
        with pytest.raises(NotRight) as refused:
            take(draft, admin, file_of(line))
        assert [(row, field) for row, field, _ in said(refused)] == [(2, "department")]
        assert "as a formula does" in said(refused)[0][2]


@pytest.mark.parametrize("cell", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_nothing_that_is_written_out_is_a_formula(cell):
    assert sheet.escaped(cell) == f"'{cell}"


def test_somebody_whose_name_looks_like_a_formula_comes_back_unharmed(company, draft, admin):
    person = PersonFactory(username="-dash", name="Dash")
    save_row(draft, admin, executive="-dash")

    text = written(draft)
    take(draft, admin, text)

    assert "'-dash" in text
    assert draft.rows.get(number=15).executive == person


def test_fifty_thousand_rows_are_refused_without_reading_them_all(company, draft, admin):
    line = ",accounts-payable,,USD,0,,cfo,,1,"
    with pytest.raises(NotRight, match=r"more than 1,000 rows") as refused:
        take(draft, admin, file_of(*[line] * 50_000))

    assert said(refused)[0][0] == 1002
    with pytest.raises(NotRight, match="bytes"):
        sheet.decode(b"x" * 200_001)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        (HEAD, "no rows"),
        ("who,what\r\n1,2", "misses: department"),
        (f"{HEAD},note\r\n", "does not know: note"),
        (f"{HEAD},quorum\r\n", "has twice: quorum"),
        (file_of("1,2,3,4,5,6,7,8,9,10,11"), "has 11 cells"),
        (file_of('1,"never closed'), "no CSV"),
        (file_of("1\x00,2"), "no text"),
    ],
)
def test_a_file_that_is_none_is_said_so(company, draft, admin, text, says):
    with pytest.raises(NotRight, match=says):
        take(draft, admin, text)

    assert draft.rows.count() == 1


def test_every_mistake_is_said_by_its_line_and_nothing_is_taken(company, draft, admin):
    text = file_of(
        LINE.format(number=1, low=0, high=50),
        LINE.format(number=1, low=50, high=60),
        "",
        LINE.format(number="one", low=60, high=70),
        LINE.format(number="", low=90, high=80).replace("controller", "nobody"),
        LINE.format(number="", low=10, high=20),
    )

    with pytest.raises(NotRight) as refused:
        take(draft, admin, text)

    assert [(row, field) for row, field, _ in said(refused)] == [
        (2, "amount_from"),
        (3, "row"),
        (5, "row"),
        (6, "approver"),
        (6, "amount_to"),
        (7, "amount_from"),
    ]
    assert draft.rows.count() == 1


# --- Discarding one ---


def discard(draft, actor):
    return edit(services.discard, draft, actor)


def test_a_discarded_draft_says_when_and_by_whom_and_keeps_what_was_in_it(company, draft, admin):
    other = PersonFactory(roles=[admin.roles.get()])
    before = lines(draft)

    discard(draft, other)

    found = PolicyVersion.objects.get(number=2)
    assert (found.state, found.discarded_at, found.discarded_by) == ("discarded", LATER, other)
    assert lines(found) == before
    event = last_event()
    assert (event.kind, event.actor) == ("policy.discarded", actors.person(other))
    assert event.facts == {"number": 2, "revision": 0, "editors": [actors.person(admin)]}


def test_a_discarded_draft_is_neither_edited_signed_nor_discarded_again(company, draft, admin):
    discard(draft, admin)

    for call in (
        lambda: save_row(draft, admin),
        lambda: edit(services.sign, draft, admin, digest="any"),
        lambda: discard(draft, admin),
    ):
        with pytest.raises(services.NotADraft, match="Policy Administrator discarded draft 2 at"):
            call()


def test_the_number_of_a_discarded_draft_is_not_used_again(company, draft, admin):
    discard(draft, admin)

    assert services.start_draft(actor=admin, now=LATER).number == 3


def test_a_draft_is_discarded_as_it_was_seen(company, draft, admin):
    save_row(draft, admin)

    with pytest.raises(services.EditedMeanwhile):
        services.discard(number=2, revision=0, actor=admin, now=LATER)

    assert PolicyVersion.objects.get(number=2).state == "draft"


def test_only_policy_administrators_discard_one(company, draft):
    with pytest.raises(NotYours):
        discard(draft, PersonFactory(roles=[RoleFactory(key="auditor")]))


def test_what_is_in_force_is_not_discarded(company, draft, admin):
    with pytest.raises(services.NotADraft, match="never changes"):
        services.discard(number=1, revision=0, actor=admin, now=LATER)


def test_nothing_is_routed_by_a_discarded_draft(company, draft, admin):
    discard(draft, admin)

    with pytest.raises(ValueError, match="policy 2 is discarded"):
        tables.policy(draft.pk)


def test_a_rule_that_was_only_ever_in_a_discarded_draft_begins_anew(company, draft, admin):
    edit(services.save_rule, draft, admin, key="terms", typed=RULE)
    discard(draft, admin)
    again = services.start_draft(actor=admin, now=LATER)

    edit(services.save_rule, again, admin, key="terms", typed=RULE)

    assert PolicyCheck.objects.get(version=again, key="terms").revision == 4


# --- Several rows at once ---


def test_several_rows_are_stored_at_once_though_one_alone_would_clash(company, draft, admin):
    save_row(draft, admin, amount_from="100000", amount_to="200000")

    bands = {14: ("0", "150000"), 15: ("150000", "200000"), 16: ("200000", "")}
    cells = {row: {**ROW, "amount_from": a, "amount_to": b} for row, (a, b) in bands.items()}
    edit(services.save_rows, draft, admin, cells=cells)

    found = draft.rows.values_list("number", "amount_from", "amount_to")
    assert list(found) == [(14, 0, 150_000), (15, 150_000, 200_000), (16, 200_000, None)]
    assert last_event().facts["revision"] == 2


def test_of_several_rows_none_is_stored_while_one_is_to_be_mended(company, draft, admin):
    cells = {14: {**SAME, "quorum": "2"}, 15: {**ROW, "delegates": "nobody", "quorum": "no"}}

    with pytest.raises(NotRight) as refused:
        edit(services.save_rows, draft, admin, cells=cells)

    found = {(each.row, each.field) for each in refused.value.mistakes}
    assert found == {(15, "delegates"), (15, "quorum")}
    assert draft.rows.get().quorum == 1


@pytest.mark.parametrize("row", [0, 13, 16])
def test_of_several_rows_each_is_there_or_the_next(company, draft, admin, row):
    with pytest.raises(NotFound):
        edit(services.save_rows, draft, admin, cells={14: SAME, row: ROW})
