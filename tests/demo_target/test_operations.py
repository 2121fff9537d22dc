"""Each write is done once, and listed once."""

from __future__ import annotations

import threading

from demo_target.ledger import Ledger
from demo_target.store import Store
from tests.demo_target.conftest import Client, payment, usd


def test_the_same_key_and_body_get_the_first_answer_again(ledger):
    first = ledger.post("/payments", payment(), key="demo:a%2Fb~0/0")
    books = ledger.get("/books")

    status, again, headers = ledger.ask(
        "POST", "/payments", payment(), Idempotency_Key="demo:a%2Fb~0/0"
    )

    assert (status, again) == (200, first)
    assert headers["Idempotent-Replay"] == "true"
    assert ledger.get("/books") == books


def test_the_same_key_with_another_body_or_path_is_refused(ledger):
    ledger.post("/payments", payment(), key="one")

    other = payment(amount=usd("11.00"))
    assert ledger.refused("POST", "/payments", other, Idempotency_Key="one") == (422, "key_reused")
    assert ledger.refused("POST", "/bills", payment(), Idempotency_Key="one") == (422, "key_reused")


def test_a_replay_does_not_ask_for_the_version_again(ledger):
    terms = {"payment_terms": "Net 45"}
    sent = {"Idempotency_Key": "one", "If_Match": '"1"'}
    first = ledger.ask("PUT", "/customers/C-1042/terms", terms, **sent)[1]

    assert ledger.ask("PUT", "/customers/C-1042/terms", terms, **sent)[:2] == (200, first)


def test_of_many_posts_with_one_key_at_once_one_has_an_effect(running, ledger):
    gate, answers = threading.Barrier(8), []

    def post():
        client = Client(running)
        client.get("/books")
        gate.wait(timeout=10)
        answers.append(client.ask("POST", "/payments", payment(), Idempotency_Key="one"))
        client.close()

    threads = [threading.Thread(target=post) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(status for status, _, _ in answers) == [200] * 7 + [201]
    assert len({answer["reference"] for _, answer, _ in answers}) == 1
    assert len(ledger.get("/operations")["operations"]) == 1
    assert ledger.get("/vendors/northwind%20paper")["balance"] == "3480.00"


def test_what_was_done_under_a_key_is_found_and_what_was_refused_is_not(ledger):
    done = ledger.post("/payments", payment(), key="a key/with?marks&more")
    ledger.refused("POST", "/payments", payment(), Idempotency_Key="refused")

    (found,) = ledger.get("/operations?key=a%20key%2Fwith%3Fmarks%26more")["operations"]

    assert found["reference"] == done["reference"]
    assert found["answer"] == done
    assert (found["method"], found["path"]) == ("POST", "/payments")
    assert found["at"].endswith("Z")
    assert ledger.get("/operations?key=refused")["operations"] == []


def test_an_audit_turns_pages_and_sees_every_operation_once(ledger):
    for n in range(7):
        ledger.post("/bills", {"vendor": "V", "invoice": f"I{n}", "amount": usd("1")}, key=f"k_{n}")
    ledger.post("/bills", {"vendor": "V", "invoice": "other", "amount": usd("1")}, key="k%other")
    seen, after = [], 0

    while after is not None:
        page = ledger.get(f"/operations?prefix=k_&after={after}&limit=3")
        seen += [each["key"] for each in page["operations"]]
        after = page["next"]

    assert seen == [f"k_{n}" for n in range(7)]
    assert len(ledger.get("/operations")["operations"]) == 8


def test_what_was_done_is_there_after_a_restart(tmp_path):
    store = Store(tmp_path / "books.sqlite3")
    served = Ledger(store).serve("POST", ["payments"], {}, payment(), key="one")
    store.close()

    store = Store(tmp_path / "books.sqlite3")
    again = Ledger(store).serve("POST", ["payments"], {}, payment(), key="one")

    assert (again.status, again.body) == (200, served.body)
    assert again.headers == {"Idempotent-Replay": "true"}
    store.close()
