"""A whole day of the product with secrets that can be recognised; none of them stands anywhere afterwards."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import os
import re
import subprocess
import sys
import threading
import zlib
from contextlib import ExitStack, closing, contextmanager
from html import unescape
from urllib.parse import urlsplit

import environ
import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from django.db import connections

from governance.models import ActionType, Appointment
from tests.netsuite.actions import fields as on_netsuite
from tests.netsuite.conftest import CERTIFICATE_ID, CLIENT_ID, pem
from tests.netsuite.double import NetSuite
from tests.processes.conftest import until
from tests.processes.telltale import ALIAS, Search, database, files
from tools.demo import Demo
from tools.postgres import fresh_database, is_postgres
from tools.processes import ROOT
from tools.story.telling import Agent, Browser, Callback

pytestmark = pytest.mark.processes

# By design: what a demo hands to whoever started it, and what opens its own target. For their owner's eyes.
THE_DEMOS_OWN = ("demo.json", "demo_keys.json", "seal_key", "target_token")
MOST_PAGES = 60  # of each person
KEY = ec.generate_private_key(ec.SECP256R1())
SECRETS = {
    name: f"zq{hashlib.sha256(name.encode()).hexdigest()}"
    for name in (
        "SECRET_KEY", "SECRET_KEY_FALLBACKS", "WEBHOOK_KEY", "TARGET_DEMO_TOKEN",
        "TARGET_DEMO_PASSWORD", "TARGET_DEMO_SANDBOX_TOKEN", "TARGET_ECHO_TOKEN",
        "TARGET_NETSUITE_TOKEN", "TARGET_NETSUITE_PASSWORD", "DJANGO_SUPERUSER_PASSWORD",
        "the heartbeat",
    )
}  # fmt: skip


class Echo:
    """A target that says in every answer what it was sent: as a text, in a list, as a name."""

    def __init__(self):
        echo = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def _serve(self):
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                said = self.headers.get("Authorization", "")
                status, found = (
                    200,
                    {"said": said, "list": [{said: [said]}], "reference": f"by {said}"},
                )
                if self.command == "POST" and echo.refusals:
                    echo.refusals -= 1
                    status, found = 422, {"message": f"Not for {said}, {dict(self.headers)}"}
                content = json.dumps(found).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("ETag", '"1"')
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = _serve  # noqa: N815 - the library's names

            def log_message(self, *args):
                """Nothing."""

        self.refusals = 0
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def echo():
    found = Echo()
    yield found
    found.close()


@pytest.fixture(scope="module")
def netsuite():
    found = NetSuite(client_id=CLIENT_ID, certificates={CERTIFICATE_ID: KEY.public_key()})
    found.echo = True
    yield found
    found.close()


@pytest.fixture(scope="module")
def demo(tmp_path_factory, netsuite, echo):
    """The product's own processes, as talkative as they can be told to be."""
    outside = tmp_path_factory.mktemp("secrets")
    key = outside / "private_key.pem"
    key.write_text(pem(KEY))
    environment = {
        **{name: secret for name, secret in SECRETS.items() if name.isupper()},
        "LOG_LEVEL": "DEBUG",
        "RECOURSE_TARGETS": "demo,echo,netsuite",
        "TARGET_ECHO_URL": echo.url,
        "TARGET_NETSUITE_URL": netsuite.url,
        "TARGET_NETSUITE_CLIENT_ID": CLIENT_ID,
        "TARGET_NETSUITE_CERTIFICATE_ID": CERTIFICATE_ID,
        "TARGET_NETSUITE_PRIVATE_KEY_FILE": str(key),
        "HEARTBEAT_URL": f"{echo.url}/{SECRETS['the heartbeat']}",
        "DJANGO_SUPERUSER_USERNAME": "root",
        "DJANGO_SUPERUSER_EMAIL": "root@example.com",
    }
    var = tmp_path_factory.mktemp("demo") / "var"
    with (
        room(os.environ.get("DATABASE_URL", "")) as url,
        Demo(var=var, database_url=url, environment=environment) as running,
    ):
        yield running


@contextmanager
def room(url):
    """Yield the address of a database of our own, None for a file of the demo's."""
    if not is_postgres(url):
        yield None
        return
    with fresh_database(url) as fresh:
        yield fresh


@contextmanager
def rows_of(demo):
    """Have the demo's rows at hand, as `objects(Model)`."""
    config = environ.Env.db_url_config(demo.environment["DATABASE_URL"])
    connections.databases[ALIAS] = {**connections.databases["default"], **config}
    try:
        yield lambda model: model.objects.using(ALIAS)
    finally:
        connections[ALIAS].close()
        del connections[ALIAS]
        del connections.databases[ALIAS]


def carrier(demo, *words):
    done = subprocess.run(
        [sys.executable, "-m", "tests.processes.carrier", *words],
        cwd=ROOT, env=demo.environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def reconfigure(demo, vendor, bill):
    """Have vendor payments made in NetSuite, and purchase orders in the target that echoes."""
    with rows_of(demo) as objects:
        payments = objects(ActionType).get(key="vendor_payment")
        made = on_netsuite(vendor=vendor, bill=bill)
        payload = {**payments.example["payload"], **made["example"]["payload"]}
        made |= {
            "schema": {"type": "object"},
            "example": {**payments.example, "payload": payload},
            "resource_key": "netsuite:vendorBill:{/bill}",
            "counterparty_pointer": "/vendor",
        }
        objects(ActionType).filter(pk=payments.pk).update(**made)
        orders = objects(ActionType).get(key="purchase_order")
        config = {**orders.connector_config, "target": "echo"}
        config |= {"lookup": {"path": ["operations"], "query": {"key": {"$eval": "key"}}}}
        objects(ActionType).filter(pk=orders.pk).update(connector_config=config)
        fallback = objects(Appointment).filter(office=Appointment.Office.ONCALL_FALLBACK).get()
        for target in ("netsuite", "echo"):
            fallback.pk, fallback.scope = None, target
            fallback.save(using=ALIAS, force_insert=True)
    for name in ("web", "worker", "clock"):
        demo.restart(name)
    until(
        lambda: all(demo.status().get(each, {}).get("ok") for each in ("clock", "worker")),
        seconds=120,
    )


def crawl(browser, *starts):
    """Return (address, text) of every page that somebody can reach by links."""
    seen, waiting = {}, list(starts)
    while waiting and len(seen) < MOST_PAGES:
        address = waiting.pop(0)
        if address in seen or "logout" in address:
            continue
        answer = browser.answer(address)
        assert answer.status_code < 500, address
        seen[address] = answer.text
        for link in re.findall(r'(?:href|hx-get)="([^"]+)"', answer.text):
            parts = urlsplit(unescape(link))
            if not parts.netloc and parts.path.startswith("/") and "/static/" not in parts.path:
                waiting.append(parts.path + (f"?{parts.query}" if parts.query else ""))
    return seen


@pytest.fixture(scope="module")
def a_day(demo, netsuite, echo, django_db_blocker):
    """Ask, approve, fail, try again, carry out, take back, audit, and look at everything.

    Returns what was seen from outside: [(where, text)].
    """
    with django_db_blocker.unblock(), Callback() as callback, ExitStack() as stack:
        yield list(_the_day(demo, netsuite, echo, callback, stack))


def _the_day(demo, netsuite, echo, callback, stack):
    with netsuite.lock:
        vendor = netsuite.books.vendor()
        bill = netsuite.books.bill(vendor, "12000.00")
    reconfigure(demo, vendor, bill)
    agent = stack.enter_context(closing(Agent(demo.url, demo.agents["ap-agent"]["token"])))

    def person(username, password=None):
        found = Browser(demo.url, username, password or demo.users[username]["password"])
        return stack.enter_context(closing(found))

    operator = person("operator")

    def state(ref):
        return operator.story(ref)["state"]

    def ask(action, **over):
        body = agent.get(f"/api/v1/actions/{action}/")["example"]
        answer = agent.submit({**body, "callback_url": callback.url, **over}, f"a-{action}")
        assert answer.status_code == 201, answer.text
        return answer.json()["ref"]

    def approve(ref):
        story = operator.story(ref)
        form = {"verdict": "approve", "digest": story["digest"]}
        for asked in story["steps"][0]["asked"]:
            approver = person(asked["person"])
            approver.send(approver.page(f"/requests/{ref}/"), f"/requests/{ref}/decide/", form)

    # The token endpoint refuses us, and says what we sent.
    with netsuite.lock:
        netsuite.tokens.certificates = {}
    echo.refusals = 1
    payment, order, sale = (
        ask(each) for each in ("vendor_payment", "purchase_order", "sales_order")
    )
    for ref in (payment, order, sale):
        approve(ref)
    until(lambda: state(payment) == state(order) == "troubled", seconds=60)
    until(lambda: state(sale) == "completed", seconds=60)
    with netsuite.lock:
        netsuite.tokens.certificates = dict(netsuite.certificates)
        netsuite.fail("answer", method="POST", path="vendorPayment", status=401)
    until(lambda: state(payment) == "completed", seconds=120)
    carrier(demo, "undo", payment)
    until(lambda: state(payment) == "rolled_back", seconds=90)
    until(lambda: len(callback.got) >= 3, seconds=60)

    demo.manage("createsuperuser", "--no-input")
    for command in ("audit", "verify_ledger", "check_policy", "check"):
        yield f"manage.py {command}", demo.manage(command)[1]
    yield "webhooks", json.dumps([[head, body.decode()] for head, body in callback.got])
    for path in ("actions/", "actions/vendor_payment/", "requests/", f"requests/{payment}/"):
        answer = agent.answer(f"/api/v1/{path}")
        yield f"API {path}", answer.text + str(answer.headers)
    for address in ("/api/schema/", "/status", "/healthz", "/readyz", "/api/v1/nothing/"):
        yield address, httpx2.get(demo.url + address, trust_env=False).text
    people = {
        "root": person("root", SECRETS["DJANGO_SUPERUSER_PASSWORD"]),
        **{name: person(name) for name in ("operator", "auditor", "policy_admin")},
    }
    starts = {"root": ["/admin/"]}
    for name, browser in people.items():
        pages = crawl(
            browser, *starts.get(name, ["/inbox/", f"/requests/{payment}/", f"/requests/{order}/"])
        )
        assert len(pages) > 10, name
        for address, text in pages.items():
            yield f"{name} at {address}", text


@pytest.fixture(scope="module")
def search(demo, netsuite, a_day):
    """Every secret that there was: of the environment, of agents and people, and those that were given out."""
    found = {**SECRETS, "the private key": pem(KEY)}
    found |= {f"token of {name}": agent["token"] for name, agent in demo.agents.items()}
    for user in demo.facts["users"]:
        found["passwords of people"] = user["password"]
        if user.get("totp"):
            found[f"second factor of {user['username']}"] = user["totp"]
    found |= {f"access token {n}": each for n, each in enumerate(netsuite.tokens.issued)}
    found |= {f"assertion {n}": each for n, each in enumerate(netsuite.tokens.assertions)}
    kept = (demo.var / "seal_key").read_text()  # the demo makes its own
    seed = base64.b64encode(hashlib.sha256(kept.encode()).digest()).decode()
    found |= {"what the seal key is made of": kept, "SEAL_KEY": seed}
    secret = subprocess.run(
        [sys.executable, "manage.py", "webhook_secret", "ap-agent"],
        cwd=ROOT, env=demo.environment, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    found["webhook secret"] = re.search(r"whsec_(\S+)", secret)[1]
    return Search(found)


def test_the_day_was_worth_looking_at(a_day, netsuite, demo):
    """What follows finds nothing; so that there was something to find, and somebody said it."""
    assert len(netsuite.tokens.issued) >= 2
    assert len(netsuite.tokens.assertions) > len(netsuite.tokens.issued)
    written = dict(files(demo.var))
    assert any(name.startswith("mail/") for name in written)
    assert written["seals.jsonl"]
    logs = {name: len(text) for name, text in written.items() if name.startswith("log/")}
    assert {"log/web.log", "log/worker.log", "log/clock.log"} <= set(logs)
    pages = " ".join(text for _, text in a_day)
    assert "There is no such certificate." in pages
    assert "Not for Bearer …" in pages


def test_no_row_holds_a_secret(demo, search, django_db_blocker):
    with django_db_blocker.unblock():
        rows = list(database(demo.environment["DATABASE_URL"]))
    assert len(rows) > 1000
    assert any(where.startswith("governance_auditevent.") for where, _ in rows)

    assert search.leaks(rows) == []


def test_no_file_holds_a_secret(demo, search):
    """Logs of every process, mails, seals and their copy, the database's own files."""
    assert search.leaks(files(demo.var, but=THE_DEMOS_OWN)) == []


def test_what_holds_them_by_design_is_for_its_owner_alone(demo, search):
    kept = [demo.var / name for name in THE_DEMOS_OWN if (demo.var / name).exists()]

    assert search.leaks((path.name, path.read_bytes()) for path in kept)
    assert {oct(path.stat().st_mode & 0o777) for path in kept} == {"0o600"}


def test_no_page_answer_or_webhook_holds_a_secret(a_day, search):
    assert search.leaks(a_day) == []


# --- The search itself ---


@pytest.mark.parametrize(
    "write",
    [
        lambda secret: f"Bearer {secret}",
        lambda secret: json.dumps({"token": secret}),
        lambda secret: base64.b64encode(f"user: {secret}".encode()).decode(),
        lambda secret: base64.b64encode(secret.encode()),
        lambda secret: secret.encode().hex(),
        lambda secret: base64.urlsafe_b64encode(zlib.compress(f"('{secret}',)".encode())) + b":signed",
    ],
)  # fmt: skip
def test_a_secret_is_found_in_whatever_form_it_stands(write):
    assert Search({"it": SECRETS["SECRET_KEY"]}).leaks(
        [("here", write(SECRETS["SECRET_KEY"]))]
    ) == ["here: it"]


def test_one_line_of_a_private_key_is_enough():
    line = pem(KEY).splitlines()[1]

    places = [("here", f"x {line} y"), ("there", "-----BEGIN PRIVATE KEY-----")]

    assert Search({"key": pem(KEY)}).leaks(places) == ["here: key"]
