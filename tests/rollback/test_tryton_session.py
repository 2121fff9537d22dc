"""What each answer of Tryton means: it says 200 to what it refuses, too. On a server that says as it is told."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from rollback.connectors import client
from rollback.connectors.base import CallFailed, NotDone, OutcomeUnknown, Rejected
from rollback.connectors.tryton import session
from rollback.connectors.tryton.asking import Ask, Stale, Warned

PASSWORD = "the-password-of-tryton"
TOKEN = "the-token-of-a-session"
SESSION = base64.b64encode(f"recourse:7:{TOKEN}".encode()).decode()
STALE = "Somebody else changed the record in the meantime."
NO_ANSWER = "200 OK, and an answer that is no answer to what was asked"
PREFERENCES = {"company": 1, "groups": [3], "language": "fr", "locale": {"date": "%d"}}


class Rpc:
    """Answers log-ins by itself, and calls as `answers` says, one after the other."""

    def __init__(self):
        self.calls, self.log_ins = [], 0
        self.answers, self.log_in = [], (200, [7, TOKEN, None])
        self.preferences = PREFERENCES
        self.came_in, self.let_go = threading.Event(), threading.Event()
        self.let_go.set()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/erp/"

    def say(self, *answers):
        """Queue answers: a result, `error(…)`, or (status, bytes)."""
        self.answers += answers

    def _answer(self, call, authorization):
        if call["method"] == session.LOG_IN:
            self.log_ins += 1
            self.came_in.set()
            self.let_go.wait(timeout=10)
            status, result = self.log_in
            return status, json.dumps({"id": call["id"], "result": result}).encode()
        if call["method"] == session.PREFERENCES:
            return 200, json.dumps({"id": call["id"], "result": self.preferences}).encode()
        self.calls.append((call, authorization))
        said = self.answers.pop(0) if self.answers else None
        match said:
            case (int() as status, bytes() as body):
                return status, body
            case {"error": _}:
                return 200, json.dumps({"id": call["id"], **said}).encode()
            case float():
                time.sleep(said)
        return 200, json.dumps({"id": call["id"], "result": said}).encode()

    def _handler(rpc):  # noqa: N805 - the handler's own self is within
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                call = json.loads(self.rfile.read(int(self.headers["content-length"])))
                status, body = rpc._answer(call, self.headers.get("authorization"))
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(OSError):  # whoever asked has hung up
                    self.wfile.write(body)

            def log_message(self, *args):
                pass

        return Handler


def error(*said):
    return {"error": list(said)}


@pytest.fixture
def rpc():
    running = Rpc()
    session.forget()
    yield running
    session.forget()
    client.close()
    running.server.shutdown()
    running.server.server_close()


@pytest.fixture
def talk(rpc):
    def begin(within_s=5.0, **changed):
        at = {"url": rpc.url, "user": "recourse", "password": PASSWORD, **changed}
        return session.Talk("tryton", at, within_s=within_s)

    return begin


def ask(*, effect=False):
    found = yield Ask("model.account.invoice.post", ([1],), about="Post it", effect=effect)
    return found


def failure_of(talk, asks):
    with pytest.raises(CallFailed) as problem:
        talk.run(asks)
    return problem.value


def test_a_call_ends_with_the_context_of_our_user_and_goes_in_a_session(rpc, talk):
    assert talk().run(ask()) is None

    ((call, authorization),) = rpc.calls
    assert call["method"] == "model.account.invoice.post"
    assert call["params"] == [[1], {"company": 1, "groups": [3], "language": "en"}]
    assert authorization == f"Session {SESSION}"


def test_decimals_and_days_come_as_what_they_are_and_no_number_as_a_float(rpc, talk):
    rpc.say({
        "amount": {"__class__": "Decimal", "decimal": "0.10"},
        "day": {"__class__": "date", "year": 2026, "month": 12, "day": 31},
        "quantity": 2.5,
    })  # fmt: skip

    found = talk().run(ask())

    assert found["day"] == "2026-12-31"
    assert [str(found["amount"]), str(found["quantity"])] == ["0.10", "2.5"]


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (error("UserError", ["It is closed.", "Open it.", None]), Rejected, "It is closed. Open it."),
        (error("UserWarning", ["ab12.similar", "One is similar.", ""]), Rejected, "One is similar."),
        (error("ConcurrencyException", "Records were modified"), NotDone, STALE),
        (error("LoginException", ["code", "Code?", "char"]), NotDone, "tryton asks for more than a password"),
        (error("'no_such_field'", "Traceback …"), OutcomeUnknown, "tryton failed: 'no_such_field'"),
        ({"error": "odd"}, OutcomeUnknown, "tryton failed: odd"),
        ({"error": {"odd": 1}}, OutcomeUnknown, "tryton failed, and does not say how"),
        ((503, b""), OutcomeUnknown, "503 Service Unavailable"),
        ((504, b""), OutcomeUnknown, "504 Gateway Timeout"),
        ((429, b""), NotDone, "429 Too Many Requests"),
        ((403, b""), NotDone, "403 Forbidden"),
        ((404, b"<html>"), Rejected, "404 Not Found"),
        ((200, b"<html>"), OutcomeUnknown, "200 OK, and an answer that cannot be read"),
        ((200, b"{}"), OutcomeUnknown, NO_ANSWER),
        ((200, b'{"id": 99, "result": 1}'), OutcomeUnknown, NO_ANSWER),
        ((200, b'{"id": 3}'), OutcomeUnknown, "200 OK, and an answer that has neither result nor error"),
        ({"__class__": "Decimal", "decimal": "ten"}, OutcomeUnknown, "200 OK, and an answer that cannot be read"),
    ],
)  # fmt: skip
def test_each_answer_to_a_write_says_what_is_certain(rpc, talk, said, kind, words):
    rpc.say(said)

    problem = failure_of(talk(), ask(effect=True))

    assert isinstance(problem, kind)
    assert type(problem) in (kind, Stale, Warned)
    assert problem.said == words


@pytest.mark.parametrize("said", [(503, b""), error("'defect'", ""), (200, b"<html>")])
def test_a_question_that_fails_before_anything_is_changed_has_done_nothing(rpc, talk, said):
    rpc.say(said)

    assert type(failure_of(talk(), ask())) is NotDone


@pytest.mark.parametrize(
    "said", [(429, b""), error("UserError", ["No.", "", None]), (503, b""), (401, b"")]
)
def test_once_something_is_changed_no_later_failure_is_certain(rpc, talk, said):
    rpc.say(None, said, said)

    def two():
        yield from ask(effect=True)
        yield from ask()

    assert type(failure_of(talk(), two())) is OutcomeUnknown


def test_an_operation_that_stops_after_a_change_is_not_certain_either(rpc, talk):
    def stops():
        yield from ask(effect=True)
        raise Rejected("It comes to another amount.")

    problem = failure_of(talk(), stops())

    assert (type(problem), problem.said) == (OutcomeUnknown, "It comes to another amount.")


def test_a_warning_may_be_answered_and_the_call_made_again(rpc, talk):
    rpc.say(error("UserWarning", ["ab12.cancel_invoice_move", "Sure?", ""]), None, "done")

    def meant():
        try:
            found = yield from ask(effect=True)
        except Warned as warning:
            yield Ask("model.res.user.warning.skip", (warning.name, False), about="Meant")
            found = yield from ask(effect=True)
        return found

    assert talk().run(meant()) == "done"
    assert rpc.calls[1][0]["params"][0] == "ab12.cancel_invoice_move"


# --- Sessions -----------------------------------------------------------------------------------


def test_one_session_serves_every_call_until_it_ends(rpc, talk):
    for _ in range(3):
        talk().run(ask())

    assert rpc.log_ins == 1


@pytest.mark.parametrize("effect", [False, True])
def test_a_call_in_a_session_that_ended_was_not_begun_and_is_made_once_more(rpc, talk, effect):
    rpc.say((401, b""), "done")

    assert talk().run(ask(effect=effect)) == "done"
    assert (len(rpc.calls), rpc.log_ins) == (2, 2)


def test_it_is_made_once_more_and_not_for_ever(rpc, talk):
    rpc.say(*[(401, b"")] * 9)

    problem = failure_of(talk(), ask(effect=True))

    assert (type(problem), problem.said) == (NotDone, "401 Unauthorized")
    assert (len(rpc.calls), rpc.log_ins) == (2, 2)


def test_all_calls_of_one_unit_log_in_again_once(rpc, talk):
    rpc.say((401, b""), None, (401, b""), None)

    def two():
        yield from ask()
        yield from ask()

    assert type(failure_of(talk(), two())) is NotDone
    assert (len(rpc.calls), rpc.log_ins) == (3, 2)


@pytest.mark.parametrize(
    ("log_in", "words"),
    [
        ((401, None), "tryton does not let us in: 401 Unauthorized"),
        ((429, None), "429 Too Many Requests"),
        ((503, None), "503 Service Unavailable"),
        ((404, None), "404 Not Found"),
        ((200, None), "tryton did not say how it logged us in"),
        ((200, ["x"]), "tryton did not say how it logged us in"),
    ],
)
def test_who_is_not_let_in_has_done_nothing(rpc, talk, log_in, words):
    rpc.log_in = log_in

    problem = failure_of(talk(), ask(effect=True))

    assert (type(problem), problem.said) == (NotDone, words)
    assert rpc.calls == []


def test_a_user_without_a_company_keeps_no_books(rpc, talk):
    rpc.preferences = {"company": None}

    assert failure_of(talk(), ask()).said == "recourse has no company in tryton"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"url": ""}, "no address is configured for target tryton"),
        ({"user": ""}, "no user and password are configured for target tryton"),
        ({"password": ""}, "no user and password are configured for target tryton"),
        ({"url": "http://nowhere.invalid/erp/"}, "tryton cannot be reached: "),
    ],
)
def test_what_is_not_configured_is_not_called(rpc, talk, changed, words):
    problem = failure_of(talk(**changed), ask(effect=True))

    assert type(problem) is NotDone
    assert problem.said.startswith(words)


def test_a_forked_worker_logs_in_for_itself(rpc, talk):
    talk().run(ask())
    child = os.fork()
    if child == 0:
        # Nothing of pytest runs here: what it found is its exit code.
        status = 1
        try:
            talk().run(ask())
            status = 0
        finally:
            os._exit(status)

    assert os.waitpid(child, 0)[1] == 0
    assert rpc.log_ins == 2


# --- Time and secrets ---------------------------------------------------------------------------


def test_all_calls_together_end_within_their_time(rpc, talk):
    rpc.say(0.25, 0.25, 0.25, 0.25)

    def many():
        for _ in range(4):
            yield from ask()

    begun = time.monotonic()
    problem = failure_of(talk(within_s=0.6), many())

    assert type(problem) is NotDone
    assert time.monotonic() - begun < 0.9
    assert 0 < len(rpc.calls) < 4


def test_a_write_whose_answer_comes_too_late_is_unknown(rpc, talk):
    talk().run(ask())
    rpc.say(0.5)

    problem = failure_of(talk(within_s=0.2), ask(effect=True))

    assert type(problem) is OutcomeUnknown
    assert problem.said == "No answer from tryton: it did not answer in time"


@pytest.mark.parametrize("secret", [PASSWORD, SESSION, TOKEN])
def test_what_it_echoes_of_our_secrets_is_struck_out(rpc, talk, secret):
    rpc.say(error("UserError", [f"Odd header {secret}", secret, None]), {"echo": secret})

    said = failure_of(talk(), ask()).said
    assert "Odd header" in said
    assert secret not in said
    if secret == SESSION:
        assert talk().run(ask()) == {"echo": "…"}


def test_nobody_waits_for_somebody_elses_log_in_longer_than_for_their_own_call(rpc, talk):
    rpc.let_go.clear()
    first = threading.Thread(target=lambda: talk(within_s=5.0).run(ask()))
    first.start()
    assert rpc.came_in.wait(timeout=5)
    began = time.monotonic()

    problem = failure_of(talk(within_s=0.2), ask(effect=True))

    took = time.monotonic() - began
    rpc.let_go.set()
    first.join(timeout=10)
    assert type(problem) is NotDone
    assert took < 2
