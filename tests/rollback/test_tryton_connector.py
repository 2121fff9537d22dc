"""From an action type's configuration to what would be asked of Tryton. No server is called."""

from __future__ import annotations

import copy
import json
from decimal import Decimal

import pytest

from governance.catalogue_tryton import CATALOGUE_ON_TRYTON, ON_TRYTON, SUPPLIER_INVOICE
from governance.models import ActionType
from rollback.connectors import registry
from rollback.connectors.base import NotDone, OutcomeUnknown, Rejected
from rollback.connectors.tryton import keys, listing, wire
from rollback.connectors.tryton.asking import dry
from rollback.connectors.tryton.operations import OPERATIONS, lookups
from rollback.connectors.tryton.records import KINDS

ENTRIES = {entry["key"]: entry for entry in CATALOGUE_ON_TRYTON}
OURS = [*ON_TRYTON, SUPPLIER_INVOICE["key"]]
KEY = "tryton:northwind%20paper:inv-1:~0/1"


def action_type(key="vendor_payment", config=None, **changed):
    entry = copy.deepcopy({**ENTRIES[key], **changed})
    entry["connector_config"].update(config or {})
    return ActionType(**entry)


def prepared(key="vendor_payment", config=None, **changed):
    found = action_type(key, config, **changed)
    return registry.connector_for(found), registry.example_of(found)


def told(asks, *answers):
    """Answer the first questions so, and the others well; return what comes of it, and what was asked."""
    asked, left = [], list(answers)
    try:
        each = next(asks)
        while True:
            asked.append(each)
            each = asks.send(left.pop(0) if left else each.well)
    except StopIteration as end:
        return end.value, asked


# --- Units and calls ------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ENTRIES)
def test_every_action_type_of_the_demo_can_run_on_tryton_and_be_undone(key):
    assert registry.problems(ActionType(**ENTRIES[key])) == []


def test_what_the_demo_says_of_keys_is_said_of_tryton():
    said = json.dumps([ENTRIES[key] for key in OURS], default=str)

    assert "demo:" not in said
    assert ENTRIES["vendor_payment"]["resource_key"] == "tryton:vendor-bill:{/vendor}/{/invoice}"


def test_tryton_takes_no_keys_and_can_be_asked_for_them():
    connector, _ = prepared()

    assert connector.target == "tryton"
    assert (connector.gives.native_keys, connector.gives.lookup) == (False, True)
    assert connector.gives.optimistic_locking


def test_a_payment_is_one_unit_with_its_amount():
    connector, action = prepared()

    (unit,) = connector.units(action)

    assert (unit.name, unit.undo_name) == (
        "Pay INV-20417 to Northwind Paper",
        "Credit note for INV-20417",
    )
    assert (unit.amount, unit.currency) == (Decimal("12000.00"), "USD")
    assert unit.body["payment_method"] == "Bank"


def test_entering_and_posting_an_invoice_are_two_units():
    connector, action = prepared("supplier_invoice")

    assert [unit.body["operation"] for unit in connector.units(action)] == [
        "enter_supplier_invoice",
        "post_supplier_invoice",
    ]


def test_the_calls_of_a_payment_are_told_with_our_key_and_without_a_secret(settings):
    settings.TARGETS = {
        "tryton": {"url": "https://erp.example/erp/", "user": "clerk", "password": "the-password"}
    }
    connector, action = prepared()
    (unit,) = connector.units(action)

    calls = connector.calls(unit.body, key=KEY)

    assert {call.address for call in calls} == {"https://erp.example/erp/rpc/"}
    (pay,) = [call for call in calls if call.about == "Pay INV-20417"]
    number, forms, state, context = pay.body["params"]
    assert (number, state) == ("{number of the wizard}", "choice")
    assert forms["start"]["description"] == f"Pay {KEY}"
    assert forms["start"]["amount"] == {"__class__": "Decimal", "decimal": "12000.00"}
    assert context["_timestamp"] == {"account.invoice,{id of INV-20417}": "{its version}"}
    said = json.dumps([call.body for call in calls]) + str([call.headers for call in calls])
    assert "the-password" not in said
    assert pay.headers["authorization"] == "Session {session of TARGET_TRYTON_USER}"


@pytest.mark.parametrize("key", OURS)
def test_exactly_one_call_of_a_unit_forward_has_an_effect(key):
    """So a crash leaves a unit done or not done, and never half."""
    connector, action = prepared(key)

    for unit in connector.units(action):
        asked, _ = dry(OPERATIONS[unit.body["operation"]].run(unit.body, KEY, ""))
        assert [ask.effect for ask in asked].count(True) == 1


@pytest.mark.parametrize("key", ["vendor_payment", "sales_order", "supplier_invoice"])
def test_a_specimen_of_a_receipt_is_enough_for_the_reversal(key):
    connector, action = prepared(key)

    for unit in connector.units(action):
        back = connector.reversal(action, unit.body, connector.specimen(unit.body))
        assert connector.calls(back, key="tryton:x~0/undo/1")
        assert connector.specimen(back)["reference"]


def test_what_is_put_back_is_the_same_write_with_the_state_of_the_snapshot():
    connector, _ = prepared("customer_update")

    body = connector.restoration("tryton:customer:C%2F1/terms", {"payment_terms": "Net 30"})

    assert body == {
        "operation": "update_party",
        "party": {"code": "C/1"},
        "part": "terms",
        "values": {"payment_terms": "Net 30"},
    }


def test_the_calls_of_a_record_are_told_too():
    connector, _ = prepared("sales_order")

    (first, second) = connector.calls_to_read("tryton:sales-order:SO-1")

    assert (first.about, second.about) == ("Read sale SO-1", "Read its lines")


# --- Problems -------------------------------------------------------------------------------------


def one_unit(request, name="x"):
    return {"units": [{"name": name, "request": request}]}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (one_unit({"operation": "delete_everything"}), "is one of enter_supplier_invoice"),
        (one_unit({"operation": {"$eval": "'pay_supplier_' + 'invoice'"}}), "must name the operation"),
        (one_unit({"operation": "cancel_payment", "move": 1}), "'invoice' is a required property"),
        (one_unit({"operation": "cancel_payment", "move": 1, "invoice": 1}, name=None), "an object with a name"),
        (one_unit({"operation": "cancel_payment", "move": 1, "invoice": 1}), "“x” takes several writes"),
        ({"units": []}, "no units"),
        ({"unit": []}, "'unit' was unexpected"),
        ({"language": "fr"}, "'language' was unexpected"),
        ({"reversals": {}}, "“credit_memo” is not in the configuration"),
        ({"reversals": {"credit_memo": {"invoice": {"$eval": "receipt.data.nothing"}}}}, "cannot be filled"),
        ({"records": []}, "does not know where tryton:ap-balance is"),
        ({"records": [{"prefix": "tryton:", "kind": "ledger"}]}, "'ledger' is not one of"),
        ({"records": [{"prefix": "tryton:", "kind": "account"}]}, "'account' is a required property"),
        ({"records": [{"prefix": "tryton:", "kind": "sale"}]}, "ends in order"),
        ({"basis": ["sap:x"]}, "does not know where sap:x is"),
    ],
)  # fmt: skip
def test_a_configuration_that_could_not_run_is_told_at_start(config, said):
    problems = registry.problems(action_type(config=config))

    assert any(said in problem for problem in problems), problems


def test_a_unit_that_is_restored_names_its_record():
    (problem,) = registry.problems(
        action_type("customer_update", snapshot_plan=["tryton:customer:C-1042/terms"])
    )

    assert "which no snapshot is taken of" in problem


@pytest.mark.parametrize(
    "record", ["tryton:customer:C-1/nose", "tryton:customer:", "tryton:customer:a/b/c"]
)
def test_a_record_of_no_known_kind_is_refused(record):
    connector, _ = prepared("customer_update")

    with pytest.raises(ValueError, match=r"no part nose|ends in customer/part"):
        connector.calls_to_read(record)


@pytest.mark.parametrize(
    "body",
    [
        {},
        None,
        {"operation": "pay_supplier_invoice"},
        {"operation": "credit_supplier_invoice", "invoice": 1, "amount": {"value": "-1", "currency": "USD"}},
        {"operation": "cancel_payment", "move": 1, "invoice": 1, "more": 1},
        {"operation": "update_party", "party": {"code": "C"}, "part": "contact", "values": {"mail": "a@example.com"}},
        {"operation": "update_party", "party": {"code": "C"}, "part": "billing-address", "values": {"city": "Bremen"}},
    ],
)  # fmt: skip
def test_a_body_that_is_none_of_ours_is_not_sent(body):
    named = body["operation"] if body and body["operation"] == "update_party" else ""
    connector, _ = prepared("customer_update" if named else "vendor_payment")

    with pytest.raises(ValueError, match=r"operation|is wrong|and all of them"):
        connector.send(body, key=KEY)


def test_without_an_address_nothing_is_called(settings):
    settings.TARGETS = {}
    connector, action = prepared()

    with pytest.raises(NotDone, match="no address is configured for target tryton"):
        connector.send(connector.units(action)[0].body, key=KEY)


# --- Steps ----------------------------------------------------------------------------------------


def run_of(operation, body, *answers, key=KEY, version=""):
    return told(OPERATIONS[operation].run({"operation": operation, **body}, key, version), *answers)


PAYMENT = {
    "party": {"name": "Northwind Paper"},
    "reference": "INV-1",
    "amount": {"value": "12000.00", "currency": "USD"},
    "date": "2026-12-31",
    "payment_method": "Bank",
}
OWED = {
    "id": 4, "state": "posted", "number": "4", "party": 2, "company": 1, "account": 67, "currency": 1,
    "currency.": {"code": "USD"}, "amount_to_pay": Decimal("12000.00"), "_timestamp": "1.5",
}  # fmt: skip


def test_what_is_done_already_is_not_done_again_and_has_the_same_receipt():
    move = {"id": 9, "number": "2026/9", "origin": "account.invoice,4"}

    receipt, asked = run_of("pay_supplier_invoice", PAYMENT, [OWED], [move])

    assert (receipt.reference, receipt.data) == ("2026/9", {"move": 9, "invoice": 4})
    assert not any(ask.effect for ask in asked)


def test_a_yes_that_left_nothing_to_be_found_is_no_receipt():
    """A second payment of a paid invoice is answered like the first, and adds nothing."""
    method, wizard = [{"id": 1}], [3, "start", "end"]

    with pytest.raises(OutcomeUnknown, match="Tryton said yes, and it is not there"):
        run_of("pay_supplier_invoice", PAYMENT, [OWED], [], method, wizard, {}, None, [])


def test_a_part_is_said_to_be_one_when_the_wizard_asks():
    method, wizard = [{"id": 1}], [3, "start", "end"]
    asks = {
        "view": {"state": "ask", "defaults": {"amount": Decimal("1"), "lines": [7], "type": "x"}}
    }

    _, asked = run_of("pay_supplier_invoice", PAYMENT, [OWED], [], method, wizard, asks)

    (part,) = [ask for ask in asked if ask.about == "Say that it is a part"]
    assert part.args[1]["ask"]["type"] == "partial"
    assert part.args[1]["ask"]["amount"] == {"__class__": "Decimal", "decimal": "1"}
    assert part.context["_timestamp"] == {"account.invoice,4": "1.5"}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ([], "nothing is the posted invoice INV-1"),
        ([OWED, OWED], "several rows are the posted invoice INV-1"),
        ([{**OWED, "state": "paid"}], "is paid already"),
        ([{**OWED, "amount_to_pay": Decimal("11999.99")}], "only 11999.99 USD is left"),
    ],
)
def test_what_cannot_be_paid_is_refused_before_anything_is_sent(row, said):
    with pytest.raises(Rejected, match=said):
        run_of("pay_supplier_invoice", PAYMENT, row, [])


def test_a_credit_note_that_comes_to_another_amount_stays_a_draft():
    body = {"invoice": 4, "amount": {"value": "12000.00", "currency": "USD"}}
    draft = {
        "id": 8,
        "state": "draft",
        "number": None,
        "total_amount": Decimal("-11000.00"),
        "_timestamp": "1",
    }

    with pytest.raises(Rejected, match="stays a draft"):
        run_of("credit_supplier_invoice", body, [draft])


@pytest.mark.parametrize(
    "lines",
    [
        [{"account": 1, "taxes": []}, {"account": 2, "taxes": []}],
        [{"account": 1, "taxes": [5]}],
    ],
)
def test_a_part_is_not_credited_where_it_is_not_plain_what_to_book_it_on(lines):
    body = {"invoice": 4, "amount": {"value": "10.00", "currency": "USD"}}
    invoice = {
        "id": 4, "state": "paid", "reference": "INV-1", "total_amount": Decimal("12000.00"),
        "currency.": {"code": "USD"},
    }  # fmt: skip

    with pytest.raises(Rejected, match="several accounts, or taxes"):
        run_of("credit_supplier_invoice", body, [], [invoice], lines)


def test_an_invoice_that_cannot_be_cancelled_is_not_marked_as_if_we_would():
    paid = {"id": 4, "state": "paid", "number": "4", "comment": None, "_timestamp": "1"}
    steps = OPERATIONS["cancel_supplier_invoice"].run({"invoice": 4}, KEY, "")
    next(steps)

    with pytest.raises(Rejected, match="was paid since"):
        steps.send([paid])


def test_a_payment_that_the_bank_has_seen_is_taken_back_by_a_person():
    lines = [{"id": 6, "account": 35, "reconciliation": 2, "party": None}]

    with pytest.raises(Rejected, match="settled with the bank"):
        run_of(
            "cancel_payment", {"move": 9, "invoice": 4}, [], lines, [], [{"id": 4, "account": 67}]
        )


def test_a_copy_that_somebody_made_with_our_mark_in_it_is_not_ours():
    mark = keys.mark(keys.ENTER, KEY)
    ours = {"id": 3, "note": mark, "sale": 1, "_timestamp": "1"}
    copied = {**ours, "id": 9, "sale": 2}

    receipt, (ask,) = told(OPERATIONS["enter_sale_line"].find(KEY), [ours, copied])

    assert ask.args[3] == [["id", "ASC"]]
    assert receipt.data == {"sale": 1, "line": 3}


def test_a_mark_is_found_to_the_letter():
    longer = {"id": 3, "note": f"{keys.mark(keys.ENTER, KEY)}0", "sale": 1, "_timestamp": "1"}

    receipt, (ask,) = told(OPERATIONS["enter_sale_line"].find(KEY), [longer])

    assert receipt is None
    assert ask.args[0] == [["note", "like", f"%Enter {KEY}%"]]


def test_a_mark_is_found_behind_any_number_of_rows_that_only_look_like_it():
    mark = keys.mark(keys.ENTER, KEY)
    alike = mark.replace("%20", " any 20")
    others = [
        {"id": n, "note": alike, "sale": 1, "_timestamp": "1"} for n in range(1, lookups.PAGE + 1)
    ]
    ours = {"id": 9000, "note": mark, "sale": 2, "_timestamp": "1"}

    receipt, asked = told(OPERATIONS["enter_sale_line"].find(KEY), others, [ours])

    assert receipt.data == {"sale": 2, "line": 9000}
    assert asked[1].args[0] == [asked[0].args[0], ["id", ">", lookups.PAGE]]


def customer(*answers):
    entry = {"prefix": "tryton:customer:", "kind": "customer", "by": "name"}
    return told(KINDS["customer"].read(entry, ["Harbour Foods"]), *answers)


HARBOUR = {"id": 7, "name": "Harbour Foods", "code": "C-1", "receivable": Decimal(0), "_timestamp": "1"}  # fmt: skip


def test_what_a_customer_has_ordered_is_all_of_it():
    sale = {"untaxed_amount": Decimal("10.00"), "currency.": {"code": "USD"}}
    sales = [{"id": n, **sale} for n in range(1, lookups.PAGE + 2)]

    reading, _ = customer([HARBOUR], 0, sales[:-1], sales[-1:])

    assert reading.state["open_orders"] == {"USD": f"{10 * len(sales)}.00"}


def test_of_two_customers_of_one_name_neither_is_taken():
    with pytest.raises(Rejected, match="several rows are Harbour Foods"):
        customer([HARBOUR, {**HARBOUR, "id": 8}])


def test_how_a_part_was_left_is_known_from_what_was_written_with_it():
    left = {"part": "terms", "left": {"payment_terms": "Net 45"}, "version": "terms@3"}

    found, _ = told(
        OPERATIONS["update_party"].find(KEY), [{"id": 5, "party": 7, "comment": json.dumps(left)}]
    )
    spoilt, _ = told(
        OPERATIONS["update_party"].find(KEY), [{"id": 5, "party": 7, "comment": "by hand"}]
    )

    assert (found.left.state, found.left.version) == ({"payment_terms": "Net 45"}, "terms@3")
    assert (spoilt.reference, spoilt.left) == ("change 5", None)


# --- Words ----------------------------------------------------------------------------------------


def test_keys_of_one_request_are_siblings():
    assert keys.sibling("a~0/2", 1) == "a~0/1"
    with pytest.raises(ValueError, match="is no key of a unit"):
        keys.sibling("a", 1)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        (None, False),
        ("k", True),
        ("k\nl", True),
        ("l\nk", True),
        ("kk", False),
        ("l k", False),
        ("k\r\nl", True),
    ],
)
def test_a_text_holds_a_mark_as_one_of_its_lines(text, holds):
    assert keys.holds(text, "k") is holds
    assert keys.holds(keys.added(text, "k"), "k")


def test_values_are_written_as_tryton_reads_them():
    assert wire.number(Decimal("1E+3")) == {"__class__": "Decimal", "decimal": "1000"}
    assert wire.day("2026-02-28") == {"__class__": "date", "year": 2026, "month": 2, "day": 28}
    with pytest.raises(ValueError, match=r"day is out of range"):
        wire.day("2026-02-30")


@pytest.mark.parametrize(
    "said",
    [
        {"__class__": "Decimal", "decimal": "x"},
        {"__class__": "date", "year": 2026, "month": 13, "day": 1},
    ],
)
def test_what_says_it_is_a_value_and_is_none_is_not_taken(said):
    with pytest.raises(ValueError, match=r"no decimal|month must be"):
        wire.read([said])


# --- What it lists ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"Pay {KEY}", [KEY]),
        (f"Matches the order.\nPost {KEY}\r\nCancel {KEY[:-1]}undo/1", [KEY, f"{KEY[:-1]}undo/1"]),
        (f"see {KEY}", []),
        (f"Pay {KEY} twice", []),
        (f"Pay  {KEY}", []),
        ("Pay 100 %~1/2", ["100 %~1/2"]),
        ("", []),
        (None, []),
    ],
)
def test_keys_are_told_from_the_marks_in_a_text(text, said):
    assert keys.told_of(text) == said


def test_instants_are_written_and_read_as_tryton_does():
    said = {
        "__class__": "datetime", "year": 2026, "month": 3, "day": 2,
        "hour": 9, "minute": 5, "second": 7, "microsecond": 12,
    }  # fmt: skip

    assert wire.read(said) == "2026-03-02T09:05:07.000012"
    assert wire.instant(wire.read(said)) == said


def test_a_connector_offers_the_lists_of_the_operations_that_it_names():
    connector, _ = prepared("sales_order")

    assert connector.lists == ["sale.line note by create_date", "sale.line note by write_date"]


def test_every_operation_is_listed_somewhere():
    assert {each.listed.name for each in OPERATIONS.values()} == set(listing.LISTS)


def a_row(n, at="2026-03-02T09:05:07.000012", text=f"Pay {KEY}"):
    return {"id": n, "description": text, "create_date": at}


MOVES = listing.LISTS["account.move description by create_date"]


def test_a_full_page_goes_on_behind_its_last_row(monkeypatch):
    monkeypatch.setattr(listing, "ROWS", 2)

    page, asked = told(listing.page(MOVES, ""), [a_row(7), a_row(9)])

    assert (page.more, page.after) == (True, "2026-03-02T09:05:07.000012 9")
    assert [each.key for each in page.effects] == [KEY, KEY]
    following, asked = told(listing.page(MOVES, page.after), [])
    stamp = wire.instant("2026-03-02T09:05:07.000012")
    assert asked[0].args[0][-1] == [
        "OR", ["create_date", ">", stamp], [["create_date", "=", stamp], ["id", ">", 9]],
    ]  # fmt: skip
    behind = "2026-03-02T08:55:07.000012 0"
    assert (following.more, following.after) == (False, behind), "it was the last one"
    nothing, _ = told(listing.page(MOVES, behind), [])
    assert (nothing.more, nothing.after) == (False, behind)


def test_where_the_list_ends_the_bookmark_stays_behind():
    page, _ = told(listing.page(MOVES, ""), [a_row(7)])

    assert (page.more, page.after) == (False, "2026-03-02T08:55:07.000012 0")


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(
    "row",
    [
        {"id": 7},
        a_row(7, at=None),
        a_row(7, at="soon"),
        a_row(7, at=17),
        a_row("seven"),
    ],
)
def test_a_row_that_cannot_be_read_is_no_end_of_the_list(row, full, monkeypatch):
    monkeypatch.setattr(listing, "ROWS", 1 if full else 200)

    with pytest.raises(OutcomeUnknown, match="cannot be read"):
        told(listing.page(MOVES, ""), [row])


def test_a_row_of_the_first_day_is_no_end_of_the_list():
    with pytest.raises(OutcomeUnknown, match="cannot be read"):
        told(listing.page(MOVES, ""), [a_row(7, at="0001-01-01T00:00:00")])


@pytest.mark.parametrize("place", ["x 17", "2026-03-02T09:05:07.000012 x", "17"])
def test_a_place_that_is_none_is_said_and_not_asked_for(place):
    with pytest.raises(OutcomeUnknown, match="has no place"):
        told(listing.page(MOVES, place), [])
