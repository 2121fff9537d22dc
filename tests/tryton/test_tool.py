"""The ERP that tests and demos get: what is in it, fresh each time, and gone afterwards."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
import threading
from decimal import Decimal

import pytest

from governance.catalogue import CATALOGUE
from tests.tools.conftest import until
from tools.processes import ROOT, running
from tools.tryton import Refused, Rpc, Tryton, prepare
from tools.tryton.serving import DATABASE

pytestmark = pytest.mark.tryton
EXAMPLES = {entry["key"]: entry["example"]["payload"] for entry in CATALOGUE}


def servers(directory):
    """Live processes that serve this directory."""
    found = []
    for process in running():
        try:
            with open(f"/proc/{process.pid}/cmdline") as line:
                words = line.read()
        except OSError:
            continue
        if "trytond" in words and str(directory) in words:
            found.append(process.pid)
    return found


def test_the_invoice_of_the_example_is_posted_and_open(erp):
    wanted = EXAMPLES["vendor_payment"]

    (invoice,) = erp.books().invoices(wanted["vendor"], reference=wanted["invoice"])

    assert invoice["state"] == "posted"
    assert invoice["total_amount"] == Decimal(wanted["amount"]["value"])
    assert invoice["amount_to_pay"] == Decimal(wanted["amount"]["value"])


def test_the_books_balance_and_nothing_is_half_done(erp):
    books = erp.books()
    vendors = erp.facts["vendors"].values()
    owed = sum(Decimal(amount) for vendor in vendors for amount in vendor["invoices"].values())

    assert books.balanced()
    assert books.drafts() == 0
    assert books.payables() == owed
    assert books.owed_to("Northwind Paper") == Decimal("15480.00")
    assert books.balance("bank") == Decimal("900000.00")
    assert books.payments() == []


def test_what_the_example_order_sells_is_there_at_its_price(erp):
    prices = {code: Decimal(each["price"]) for code, each in erp.facts["products"].items()}

    for line in EXAMPLES["sales_order"]["lines"]:
        (product,) = erp.rpc().rows(
            "product.product", [("code", "=", line["sku"])], ["list_price_used", "salable"]
        )
        assert product["salable"]
        assert product["list_price_used"] == prices[line["sku"]]
        assert product["list_price_used"] * line["quantity"] == Decimal(line["amount"]["value"])


def test_the_customers_of_the_examples_have_what_an_update_changes(erp):
    rpc = erp.rpc()
    (by_code,) = rpc.rows(
        "party.party",
        [("code", "=", EXAMPLES["customer_update"]["customer"])],
        ["name", "addresses", "contact_mechanisms", "customer_payment_term.name"],
    )
    addresses = rpc.rows(
        "party.address", [("id", "in", by_code["addresses"])], ["street", "invoice", "delivery"]
    )
    (contact,) = rpc.rows(
        "party.contact_mechanism", [("id", "in", by_code["contact_mechanisms"])], ["type", "value"]
    )

    assert by_code["name"] == EXAMPLES["sales_order"]["customer"]
    assert [(each["invoice"], each["delivery"]) for each in addresses] == [
        (True, False),
        (False, True),
    ]
    assert contact["type"] == "email"
    assert by_code["customer_payment_term."]["name"] == "Net 30"


def test_the_user_of_recourse_is_no_administrator(erp):
    clerk = Rpc(erp.url, erp.user, erp.password)

    with pytest.raises(Refused, match=r"allowed to access \"User\""):
        clerk("model.res.user.create", [{"name": "Somebody", "login": "somebody"}])


def test_a_wrong_password_opens_nothing(erp):
    with pytest.raises(Refused):
        Rpc(erp.url, erp.user, "not this")


def test_a_reset_takes_back_what_was_written_at_the_same_address(erp):
    address = erp.url
    party = [{"name": "Written by a test", "code": "V-9999"}]
    erp.rpc()("model.party.party.create", party)
    erp.stop()
    with contextlib.closing(sqlite3.connect(erp.directory / DATABASE)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # into the file itself

    erp.reset()

    assert erp.url == address
    assert erp.rpc().rows("party.party", [("code", "=", "V-9999")], ["name"]) == []


def test_what_was_written_survives_a_kill(erp):
    erp.rpc()("model.party.party.create", [{"name": "Written by a test", "code": "V-9999"}])

    erp.kill()
    erp.start()

    assert len(erp.rpc().rows("party.party", [("code", "=", "V-9999")], ["name"])) == 1


def test_two_at_once_have_books_of_their_own_and_leave_nothing(tmp_path):
    with Tryton(tmp_path / "one") as one, Tryton(tmp_path / "two") as two:
        one.rpc()("model.party.party.create", [{"name": "Written by a test", "code": "V-9999"}])

        assert one.url != two.url
        assert two.rpc().rows("party.party", [("code", "=", "V-9999")], ["name"]) == []
        assert servers(tmp_path / "one")

    assert not servers(tmp_path)


def test_the_template_is_made_once_for_all_who_ask(tmp_path):
    found = []
    askers = [threading.Thread(target=lambda: found.append(prepare())) for _ in range(3)]

    for each in askers:
        each.start()
    for each in askers:
        each.join()

    assert len(set(found)) == 1
    assert found[0].is_dir()


def test_a_killed_owner_leaves_no_server():
    words = [sys.executable, "-m", "tools.tryton", "--seconds", "60"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as owner:
        line = next(line for line in owner.stdout if "runs at" in line)
        port = line.partition("127.0.0.1:")[2].partition("/")[0]
        serving = [pid for pid in servers("trytond.conf") if listens(pid, port)]
        assert serving

        owner.send_signal(signal.SIGKILL)

        until(lambda: not any(listens(pid, port) for pid in serving), seconds=20)


def listens(pid, port):
    """Whether this process serves the configuration with this port."""
    try:
        with open(f"/proc/{pid}/cmdline") as line:
            configuration = line.read().split("\0-c\0")[1].split("\0")[0]
        with open(configuration) as text:
            return f":{port}\n" in text.read()
    except (OSError, IndexError):
        return False
