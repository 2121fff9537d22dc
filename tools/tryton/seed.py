"""Fill a new Tryton with the books that the demo and the tests begin with.

Runs in Tryton's own environment, and talks to its server as any client does:

    python seed.py ADDRESS/rpc/  < {"admin": "password", "user": ["name", "password"], "today": "2026-11-30"}

Prints what it entered, by the names and codes under which it is found again.
Amounts are decimal strings in the company's currency.
"""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from proteus import Model, Wizard, config

CURRENCY = "USD"
COMPANY = "Recourse Demo"
CHART = "account.account_template_root_en"
BANK, PAYABLE, RECEIVABLE = "1.1.1", "2.1.1", "1.2.1"
EXPENSE, REVENUE, EQUITY = "5.1.1", "4.1.1", "3.1.1"
PAYMENT_METHOD = "Bank"
OPENING = Decimal("900000.00")
TERMS = {"Net 30": 30, "Net 45": 45, "Net 60": 60, "Due on receipt": 0}
COUNTRIES = {"US": "United States", "GB": "United Kingdom", "DE": "Germany", "CA": "Canada"}
# Vendor: code, and its posted invoices by the vendor's own number.
VENDORS: dict[str, tuple[str, dict[str, str]]] = {
    "Northwind Paper": ("V-1001", {"INV-20417": "12000.00", "INV-20388": "3480.00"}),
    "Contoso Packaging": ("V-1002", {"CP-5512": "7250.00"}),
    "Meridian Freight": ("V-1003", {"MF-2026-1187": "41900.00"}),
    "Lindqvist Timber": ("V-1004", {"INV-8832": "24750.00"}),
    "Halden Machines": ("V-1005", {f"HM-{n}": f"{n}00.00" for n in range(1, 13)}),
}
# Customer: code and credit limit.
CUSTOMERS = {
    "Alpine Outfitters": ("C-1042", "5000000.00"),
    "Ridgeline Sports": ("C-2277", "5000000.00"),
    "Pocket Cycles": ("C-3301", "10000.00"),
}
STREET = "4 Old Mill Lane"
TOWN = {"city": "Bath", "postal_code": "04530"}
COUNTRY = "US"
EMAIL = "purchasing@customer.example"
PRODUCTS = {
    "TENT-2P": ("Tent for two", "290.00"),
    "TENT-4P": ("Tent for four", "490.00"),
    "BAG-0C": ("Sleeping bag", "110.00"),
    "STOVE-1": ("Gas stove", "65.00"),
    "LAMP-3": ("Head lamp", "22.50"),
    **{f"BIKE-{n}": (f"Bicycle {n}", "400.00") for n in range(1, 6)},
}
FIRST_YEAR = 2026  # the examples of the catalogue are dated in it
GROUPS = (  # of Recourse's own user: who keeps the books and the orders
    "account.group_account",
    "account.group_account_admin",  # a reconciliation is taken back by nobody less
    "sale.group_sale",
)


def one(model: str, *clauses: tuple[str, str, Any]) -> Any:
    """Return the only row that fits. Raises ValueError for none, or several."""
    (found,) = Model.get(model).find(list(clauses))
    return found


def named(xml_id: str) -> int:
    """Return the id of a row that a module brought with it."""
    found: int = Model.get("ir.model.data").get_id(xml_id, config.get_config().context)
    return found


def found_company() -> Any:
    """Enter the currency and the company, and act in it from here on."""
    currency = Model.get("currency.currency")(
        name="US Dollar", symbol="$", code=CURRENCY, rounding=Decimal("0.01")
    )
    currency.rates.new(date=datetime.date(1970, 1, 1), rate=Decimal(1))
    currency.save()
    party = Model.get("party.party")(name=COMPANY)
    party.save()
    wizard = Wizard("company.company.config")
    wizard.execute("company")
    wizard.form.party, wizard.form.currency = party, currency
    wizard.execute("add")
    settings = config.get_config()
    settings._context = Model.get("res.user").get_preferences(True, {})
    return one("company.company")


def make_chart(company: Any) -> dict[str, Any]:
    """Make the chart of accounts; return the accounts by code."""
    wizard = Wizard("account.create_chart")
    wizard.execute("account")
    wizard.form.account_template = Model.get("account.account.template")(named(CHART))
    wizard.form.company = company
    wizard.execute("create_account")
    accounts = {each.code: each for each in Model.get("account.account").find([])}
    wizard.form.account_receivable = accounts[RECEIVABLE]
    wizard.form.account_payable = accounts[PAYABLE]
    wizard.form.category_account_expense = accounts[EXPENSE]
    wizard.form.category_account_revenue = accounts[REVENUE]
    wizard.execute("create_properties")
    return accounts


def open_years(company: Any, years: Iterable[int]) -> None:
    """Open these fiscal years, month by month."""
    sequence = Model.get("ir.sequence.strict")
    kind = Model.get("ir.sequence.type")
    for number in years:
        sequences = {}
        for name in ("Account Move", "Invoice"):
            sequences[name] = sequence(
                name=f"{name} {number}",
                prefix=f"{number}/",
                sequence_type=kind.find([("name", "=", name)])[0],
                company=company,
            )
            sequences[name].save()
        year = Model.get("account.fiscalyear")(name=str(number), company=company)
        year.start_date = datetime.date(number, 1, 1)
        year.end_date = datetime.date(number, 12, 31)
        year.move_sequence = sequences["Account Move"]
        (invoices,) = year.invoice_sequences
        invoices.in_invoice_sequence = invoices.out_invoice_sequence = sequences["Invoice"]
        invoices.in_credit_note_sequence = sequences["Invoice"]
        invoices.out_credit_note_sequence = sequences["Invoice"]
        year.save()
        year.click("create_period")


def enter_terms() -> dict[str, Any]:
    """Enter the payment terms; return them by name."""
    terms = {}
    for name, days in TERMS.items():
        term = Model.get("account.invoice.payment_term")(name=name)
        line = term.lines.new(type="remainder")
        if days:
            line.relativedeltas.new(days=days)
        term.save()
        terms[name] = term
    return terms


def enter_payment_method(company: Any, bank: Any) -> None:
    """Enter how invoices are paid, with the journal that such payments are kept in."""
    journal = Model.get("account.journal")(name="Bank", code="BANK", type="cash")
    journal.save()
    Model.get("account.invoice.payment.method")(
        name=PAYMENT_METHOD,
        company=company,
        journal=journal,
        credit_account=bank,
        debit_account=bank,
    ).save()


def enter_opening(accounts: dict[str, Any], day: datetime.date) -> None:
    """Put money into the bank, so that what is paid was there."""
    move = Model.get("account.move")(description="Opening", date=day)
    move.journal = one("account.journal", ("code", "=", "MISC"))
    move.period = one("account.period", ("start_date", "<=", day), ("end_date", ">=", day))
    move.lines.new(account=accounts[BANK], debit=OPENING, credit=Decimal(0))
    move.lines.new(account=accounts[EQUITY], debit=Decimal(0), credit=OPENING)
    move.save()
    move.click("post")


def enter_party(name: str, code: str) -> Any:
    """Return a party with an address for invoices, one for deliveries, and an e-mail address."""
    party = Model.get("party.party")(name=name, code=code)
    country = one("country.country", ("code", "=", COUNTRY))
    (address,) = party.addresses or [party.addresses.new()]
    address.street, address.country, address.invoice = STREET, country, True
    address.city, address.postal_code = TOWN["city"], TOWN["postal_code"]
    party.addresses.new(
        street=f"Dock 2, {STREET}", country=country, delivery=True, invoice=False, **TOWN
    )
    party.contact_mechanisms.new(type="email", value=EMAIL)
    return party


def enter_vendors(accounts: dict[str, Any], terms: dict[str, Any], day: datetime.date) -> None:
    """Enter the vendors and post their invoices."""
    posted = []
    for name, (code, invoices) in VENDORS.items():
        party = enter_party(name, code)
        party.supplier_payment_term = terms["Net 30"]
        party.save()
        for reference, amount in invoices.items():
            invoice = Model.get("account.invoice")(type="in", party=party, reference=reference)
            invoice.invoice_date = day
            line = invoice.lines.new(description=f"As on {reference}", quantity=1)
            line.account, line.unit_price = accounts[EXPENSE], Decimal(amount)
            invoice.save()
            posted.append(invoice.id)
    Model.get("account.invoice").post(posted, config.get_config().context)


def enter_customers(terms: dict[str, Any]) -> None:
    """Enter the customers."""
    for name, (code, limit) in CUSTOMERS.items():
        party = enter_party(name, code)
        party.customer_payment_term = terms["Net 30"]
        party.credit_limit_amount = Decimal(limit)
        party.save()


def enter_products(accounts: dict[str, Any]) -> None:
    """Enter what is sold, by its code."""
    category = Model.get("product.category")(name="Goods", accounting=True)
    category.account_expense, category.account_revenue = accounts[EXPENSE], accounts[REVENUE]
    category.save()
    unit = one("product.uom", ("name", "=", "Unit"))
    for code, (name, price) in PRODUCTS.items():
        Model.get("product.template")(
            name=name,
            code=code,
            type="goods",
            default_uom=unit,
            list_price=Decimal(price),
            salable=True,
            account_category=category,
        ).save()


def enter_user(company: Any, name: str, password: str) -> None:
    """Enter the user that Recourse logs in as."""
    user = Model.get("res.user")
    groups = Model.get("res.group")
    clerk = user(name="Recourse", login=name, password=password)
    for xml_id in GROUPS:
        clerk.groups.append(groups(named(xml_id)))
    clerk.companies.append(Model.get("company.company")(company.id))
    clerk.company = Model.get("company.company")(company.id)
    clerk.save()


def seed(given: dict[str, Any]) -> dict[str, Any]:
    """Enter all of it; return it."""
    today = datetime.date.fromisoformat(given["today"])
    year = today.year
    for code, name in COUNTRIES.items():
        Model.get("country.country")(code=code, name=name).save()
    company = found_company()
    accounts = make_chart(company)
    open_years(company, range(FIRST_YEAR, year + 2))
    terms = enter_terms()
    enter_payment_method(company, accounts[BANK])
    enter_opening(accounts, datetime.date(year, 1, 1))
    enter_vendors(accounts, terms, today)
    enter_customers(terms)
    enter_products(accounts)
    enter_user(company, *given["user"])
    return {
        "company": COMPANY,
        "currency": CURRENCY,
        "years": [*range(FIRST_YEAR, year + 2)],
        "payment_method": PAYMENT_METHOD,
        "payment_terms": list(TERMS),
        "journals": {"expense": "EXP", "revenue": "REV", "bank": "BANK"},
        "accounts": {
            "bank": BANK,
            "payable": PAYABLE,
            "receivable": RECEIVABLE,
            "expense": EXPENSE,
            "revenue": REVENUE,
        },
        "vendors": {
            name: {"code": code, "invoices": invoices} for name, (code, invoices) in VENDORS.items()
        },
        "customers": {
            name: {"code": code, "credit_limit": limit} for name, (code, limit) in CUSTOMERS.items()
        },
        "products": {
            code: {"name": name, "price": price} for code, (name, price) in PRODUCTS.items()
        },
    }


def main() -> None:
    given = json.load(sys.stdin)
    with config.set_xmlrpc_session(sys.argv[1], "admin", given["admin"]):
        entered = seed(given)
    print(json.dumps(entered))


if __name__ == "__main__":
    main()
