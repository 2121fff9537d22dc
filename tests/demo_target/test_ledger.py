"""What the ledger does with money, and what it refuses."""

from __future__ import annotations

import pytest

from tests.demo_target.conftest import payment, usd


def line(number, amount="1000.00", **other):
    return {
        "customer": "Alpine Outfitters",
        "delivery_date": "2027-01-08",
        "line": number,
        "sku": "TENT-2P",
        "description": "Tent for two",
        "quantity": 20,
        "amount": usd(amount),
        **other,
    }


def recognition(**other):
    return {
        "contract": "K-2093",
        "customer": "Fabrikam Logistics",
        "period": "2026-Q4",
        "method": "over_time",
        "currency": "USD",
        "lines": [
            {"account": "deferred_revenue", "debit": "84000.00"},
            {"account": "revenue", "credit": "84000.00"},
        ],
        **other,
    }


# --- Payables ---


def test_a_payment_lowers_what_is_owed_and_the_books_balance(ledger):
    before = ledger.get("/vendors/northwind%20paper")

    done = ledger.post("/payments", payment(), key="one")

    after = ledger.get("/vendors/Northwind%20Paper")
    assert done["open"] == usd("0.00")
    assert (before["balance"], after["balance"]) == ("15480.00", "3480.00")
    assert [bill["invoice"] for bill in after["open_bills"]] == ["INV-20388"]
    assert ledger.get("/books")["balanced"] is True


@pytest.mark.parametrize("vendor", ["Northwind Paper", "Somebody New"])
def test_a_credit_memo_brings_vendor_and_payables_back_to_what_they_were(ledger, vendor):
    pages = ["/ap-balance", f"/vendors/{vendor.replace(' ', '%20')}"]
    before = [ledger.get(page) for page in pages]
    paid = ledger.post("/payments", payment(vendor=vendor))
    assert [ledger.get(page)["balance"] for page in pages] != [each["balance"] for each in before]

    ledger.post("/credit-memos", {"payment": paid["reference"], "amount": usd("12000.00")})

    after = [ledger.get(page) for page in pages]
    for state in (*before, *after):
        del state["version"]
    assert after == before
    assert ledger.get("/books")["balanced"] is True
    assert ledger.get("/books")["accounts"]["vendor_refunds"] == {"USD": "12000.00"}


@pytest.mark.parametrize(
    ("again", "refusal"),
    [
        (payment(), (409, "already_paid")),
        (payment(vendor="NORTHWIND  paper", invoice="inv-20417"), (409, "already_paid")),
        (payment(instalment="2/3", amount=usd("0.01")), (422, "exceeds_open_amount")),
        (payment(invoice="INV-20388"), (422, "exceeds_open_amount")),
        (payment(invoice="INV-20388", amount={"value": "1.00", "currency": "EUR"}), (422, "other_currency")),
    ],
)  # fmt: skip
def test_a_payment_that_makes_no_sense_is_refused_and_leaves_nothing(ledger, again, refusal):
    ledger.post("/payments", payment())
    books = ledger.get("/books")

    assert ledger.refused("POST", "/payments", again, Idempotency_Key="again") == refusal

    assert ledger.get("/books") == books
    assert ledger.get("/operations?key=again")["operations"] == []


def test_a_credited_bill_may_be_paid_again_and_a_memo_is_issued_once(ledger):
    paid = ledger.post("/payments", payment())
    memo = {"payment": paid["reference"], "amount": usd("12000.00")}
    assert (
        ledger.refused("POST", "/credit-memos", {**memo, "amount": usd("1.00")})[1]
        == "other_amount"
    )
    ledger.post("/credit-memos", memo)

    assert ledger.refused("POST", "/credit-memos", memo) == (409, "already_credited")
    ledger.post("/payments", payment())


def test_an_unknown_bill_is_as_large_as_its_payment_until_that_was_credited(ledger):
    paid = ledger.post("/payments", payment(invoice="NEW-1", amount=usd("500.00")))
    assert ledger.get("/bills/northwind%20paper/new-1")["total"] == usd("500.00")
    ledger.post("/credit-memos", {"payment": paid["reference"], "amount": usd("500.00")})

    ledger.post("/payments", payment(invoice="NEW-1", amount=usd("650.00")))


def test_of_an_unknown_bill_in_parts_only_the_same_part_is_refused(ledger):
    part = payment(invoice="PARTS", amount=usd("8250.00"))
    ledger.post("/payments", {**part, "instalment": "1/3"})
    ledger.post("/payments", {**part, "instalment": "2/3"})

    assert ledger.refused("POST", "/payments", {**part, "instalment": "2/3"}) == (
        409,
        "already_paid",
    )


def test_a_purchase_order_is_cancelled_once_and_may_be_placed_again(ledger):
    order = {
        "order": "PO-7731", "vendor": "Contoso Packaging", "item": "Shipping cartons",
        "quantity": 20000, "delivery_date": "2027-01-15", "amount": usd("18500.00"),
    }  # fmt: skip
    assert ledger.post("/purchase-orders", order)["reference"] == "PO-7731"
    assert ledger.refused("POST", "/purchase-orders", order) == (409, "known_order")

    ledger.post("/purchase-orders/po-7731/cancel")

    assert ledger.refused("POST", "/purchase-orders/PO-7731/cancel") == (409, "already_cancelled")
    assert ledger.get("/purchase-orders/PO-7731")["state"] == "cancelled"
    assert ledger.get("/books")["accounts"]["goods_on_order"] == {"USD": "0.00"}
    ledger.post("/purchase-orders", order)


# --- Sales ---


def test_an_order_grows_line_by_line_and_cancelled_lines_stay_to_be_seen(ledger):
    for number in (1, 2, 3):
        ledger.post("/sales-orders/SO-4711/lines", line(number))

    ledger.post("/sales-orders/SO-4711/lines/3/cancel")

    order = ledger.get("/sales-orders/so-4711")
    assert [each["state"] for each in order["lines"]] == ["open", "open", "cancelled"]
    assert order["total"] == {"USD": "2000.00"}
    assert ledger.get("/customers/alpine%20outfitters")["open_orders"] == {"USD": "2000.00"}
    assert ledger.refused("POST", "/sales-orders/SO-4711/lines/3/cancel")[1] == "already_cancelled"
    assert ledger.refused("POST", "/sales-orders/SO-4711/lines/9/cancel") == (404, "unknown")
    ledger.post("/sales-orders/SO-4711/lines", line(3))


def test_a_line_beyond_the_credit_limit_is_refused_after_those_within(ledger):
    small = {"customer": "Pocket Cycles"}
    ledger.post("/sales-orders/SO-1/lines", line(1, "6000.00", **small))
    ledger.post("/sales-orders/SO-1/lines", line(2, "4000.00", **small))

    refused = ledger.refused("POST", "/sales-orders/SO-1/lines", line(3, "0.01", **small))

    assert refused == (422, "credit_limit")
    assert ledger.get("/sales-orders/SO-1")["total"] == {"USD": "10000.00"}


def test_an_order_belongs_to_one_customer_and_a_line_number_to_one_line(ledger):
    ledger.post("/sales-orders/SO-1/lines", line(1))

    assert ledger.refused("POST", "/sales-orders/SO-1/lines", line(1)) == (409, "known_line")
    other = line(2, customer="Ridgeline Sports")
    assert ledger.refused("POST", "/sales-orders/SO-1/lines", other) == (409, "other_order")


# --- Customers ---


def test_a_sub_record_is_written_at_the_version_that_was_seen(ledger):
    status, _, headers = ledger.ask("GET", "/customers/C-1042/terms")
    assert (status, headers["ETag"]) == (200, '"1"')
    terms = {"payment_terms": "Net 45"}

    status, answer, headers = ledger.ask(
        "PUT", "/customers/c-1042/terms", terms, If_Match=headers["ETag"]
    )

    assert (status, headers["ETag"]) == (200, '"2"')
    assert answer["record"] == {"payment_terms": "Net 45", "version": "2"}
    assert ledger.refused("PUT", "/customers/C-1042/terms", terms, If_Match='"1"') == (
        412,
        "version",
    )
    assert ledger.get("/customers/C-1042/contact")["version"] == "1"


def test_an_unknown_customer_is_empty_and_is_entered_by_the_first_write(ledger):
    assert ledger.get("/customers/C-9/terms") == {"version": "0"}
    assert ledger.get("/customers/C-9")["version"] == "0"

    ledger.ask("PUT", "/customers/C-9/terms", {"payment_terms": "Net 10"}, If_Match='"0"')
    ledger.ask("PUT", "/customers/C-9/terms", {}, If_Match='"1"')

    assert ledger.get("/customers/C-9/terms") == {"version": "2"}


# --- Journal ---


def test_revenue_is_recognised_once_and_reversed_once(ledger):
    before = ledger.get("/contracts/k-2093")
    entry = ledger.post("/journal-entries", recognition())
    assert ledger.get("/contracts/K-2093")["recognised"] == {"USD": "84000.00"}
    assert ledger.refused("POST", "/journal-entries", recognition()) == (409, "already_recognised")

    reversal = ledger.post(f"/journal-entries/{entry['reference']}/reverse")

    assert reversal["period"] == "2026-Q4"
    assert ledger.get("/contracts/K-2093")["recognised"] == before["recognised"]
    assert ledger.get("/periods/2026-q4")["recognised"] == {}
    again = f"/journal-entries/{entry['reference']}/reverse"
    assert ledger.refused("POST", again) == (409, "already_reversed")
    assert ledger.refused("POST", f"/journal-entries/{reversal['reference']}/reverse")[0] == 409


def test_after_the_close_an_entry_is_reversed_in_the_next_open_period(ledger):
    entry = ledger.post("/journal-entries", recognition())
    for period in ("2026-Q4", "2027-Q1"):
        assert ledger.ask("PUT", f"/periods/{period}", {"state": "closed"})[0] == 200

    reversal = ledger.post(f"/journal-entries/{entry['reference']}/reverse")

    assert reversal["period"] == "2027-Q2"
    assert ledger.refused("POST", "/journal-entries", recognition()) == (409, "period_closed")


def test_an_entry_that_does_not_balance_is_refused(ledger):
    lines = [
        {"account": "deferred_revenue", "debit": "84000.00"},
        {"account": "revenue", "credit": "83999.99"},
    ]

    refused = ledger.refused("POST", "/journal-entries", recognition(lines=lines))

    assert refused == (422, "unbalanced")


@pytest.mark.parametrize(
    "amount",
    [
        usd("0"), usd("0.00"), usd("-1.00"), usd("1.001"), usd("1e3"), usd(12), usd(None), usd("NaN"),
        usd("٣"), usd("99999999999999"), {"value": "1.00", "currency": "usd"}, {"value": "1.00"}, "1.00",
        None, [], {"value": "1.5", "currency": "JPY"},
    ],
)  # fmt: skip
def test_what_is_no_amount_is_refused(ledger, amount):
    assert ledger.refused("POST", "/payments", payment(amount=amount)) == (422, "invalid")
