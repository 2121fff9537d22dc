from __future__ import annotations

import json
import logging

import pytest

from governance import env, logs
from governance.logs import MESSAGE_LENGTH, OneLine, formatter
from governance.serving import OurLines
from tests.approvals.asking import ask_for_payment, body

FORMS = ("text", "json")
AS_POSTGRESQL_SAYS = "first\nDETAIL:  Failing row contains (secret)."
LINE_ENDS = ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"]
CONTROLS = ["\x00", "\x1b[2J", "\x7f", "\x9b2J", "\u202e", "\u2066"]


def record(message: str, *args: object, exc_info: object = None) -> logging.LogRecord:
    return logging.LogRecord("recourse", logging.WARNING, "x.py", 1, message, args, exc_info)


def line(message: str, *args: object, exc_info: object = None) -> str:
    return OneLine("%(levelname)s %(message)s").format(record(message, *args, exc_info=exc_info))


def fields(message: str, *args: object, exc_info: object = None) -> dict:
    return json.loads(formatter("json").format(record(message, *args, exc_info=exc_info)))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("end", LINE_ENDS)
def test_what_an_agent_sends_cannot_begin_a_line(form, end):
    forged = f"INV-1{end}INFO decision by the controller"

    said = formatter(form).format(record("refused %s", forged))

    assert len(said.splitlines()) == 1
    assert "INFO decision" in said


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("control", CONTROLS)
def test_what_an_agent_sends_cannot_steer_a_terminal(form, control):
    assert control[0] not in formatter(form).format(record("refused %s", control))


@pytest.mark.parametrize("sent", [*LINE_ENDS, *CONTROLS, '"}, {"level": "INFO"', "Müller"])
def test_json_can_be_read_back_and_no_field_is_forged(sent):
    told = fields("refused %s", sent)

    assert told["message"] == f"refused {sent}"
    assert (told["level"], told["logger"]) == ("WARNING", "recourse")


def test_escapes_can_be_read_back():
    assert line("%s", "a\r\nb\x1bc\u2028d") == r"WARNING a\r\nb\x1bc\u2028d"


def test_other_words_are_left_alone():
    assert line("paid %s", "Müller & Søn, 12 000 €") == "WARNING paid Müller & Søn, 12 000 €"


def crash():
    try:
        try:
            raise ValueError(AS_POSTGRESQL_SAYS)
        except ValueError as error:
            raise LookupError("second") from error
    except LookupError as error:
        return (type(error), error, error.__traceback__)


def test_a_traceback_stays_on_the_line():
    said = line("failed", exc_info=crash())

    assert len(said.splitlines()) == 1
    assert r"first\nDETAIL" in said


def test_a_crash_is_told_in_json_without_the_row_that_the_database_quotes():
    told = fields("failed", exc_info=crash())

    assert [part for part in told["exception"].split("\n") if not part.startswith(" ")] == [
        "ValueError: first",
        "LookupError: second",
    ]
    assert told["exception"].count("test_logs.py") == 2
    assert "secret" not in json.dumps(told)


def test_what_the_queue_writes_ends_with_its_first_line():
    told = logging.LogRecord(
        "django-q", logging.ERROR, "x.py", 1, f"Failed 'seal' - {AS_POSTGRESQL_SAYS}", (), None
    )

    assert json.loads(formatter("json").format(told))["message"] == "Failed 'seal' - first"


def test_a_line_is_never_longer_than_shippers_take():
    problem = ValueError("x" * 100_000)

    said = formatter("json").format(
        record("%s", "y" * 100_000, exc_info=(type(problem), problem, None))
    )

    assert len(said) < 16 * 1024 + 500
    assert len(said) > MESSAGE_LENGTH


def test_lines_say_what_they_are_about_and_only_inside():
    with logs.about(task="t-1"), logs.about(ref="R-1"):
        inside, plain = fields("x"), line("x")

    assert (inside["ref"], inside["task"]) == ("R-1", "t-1")
    assert plain == "WARNING x ref=R-1 task=t-1"
    assert not {"ref", "task"} & fields("x").keys()


def test_the_time_is_utc_to_the_millisecond():
    assert fields("x")["time"].endswith("+00:00")
    assert len(fields("x")["time"]) == len("2026-11-30T12:00:00.123+00:00")


# --- What is logged of a call -------------------------------------------------------------------


@pytest.fixture
def calls(caplog):
    """The lines about calls, as production writes them."""
    lines = []

    class Kept(logging.Handler):
        def emit(self, found):
            lines.append(json.loads(self.format(found)))

    handler = Kept()
    handler.setFormatter(formatter("json"))
    caplog.set_level(logging.INFO, "recourse.web")
    logging.getLogger("recourse.web").addHandler(handler)
    yield lines
    logging.getLogger("recourse.web").removeHandler(handler)


@pytest.mark.django_db
def test_each_call_is_a_line_with_its_request_and_its_ids(client, company, calls):
    request = ask_for_payment(company)
    client.force_login(company.finance_manager)
    trace = "0af7651916cd43dd8448eb211c80319c"

    answer = client.get(
        f"/requests/{request.ref}/?next=secret",
        headers={"X-Request-ID": "proxy-17.a", "traceparent": f"00-{trace}-b7ad6b7169203331-01"},
    )

    assert answer["X-Request-ID"] == "proxy-17.a"
    (told,) = calls
    assert (told["ref"], told["request_id"], told["trace_id"]) == (request.ref, "proxy-17.a", trace)
    assert told["message"].startswith("GET /requests/<str:ref>/ 200 ")


@pytest.mark.django_db
def test_a_submission_is_about_the_request_it_made(api, company, calls):
    answer = api(company.agent).post(
        "/api/v1/requests/", body(company), headers={"Idempotency-Key": "k-1"}
    )

    assert answer.status_code == 201
    assert calls[-1]["ref"] == answer.json()["ref"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    "forged", ["", "short", "x" * 65, "a b c d e f", "12345678\x1b", "abcdefgh\u2028i"]
)
def test_an_id_that_does_not_look_like_one_is_replaced(client, calls, forged):
    answer = client.get("/accounts/login/", headers={"X-Request-ID": forged, "traceparent": forged})

    assert len(answer["X-Request-ID"]) == 32
    assert calls[0]["request_id"] == answer["X-Request-ID"]
    assert not {"ref", "trace_id"} & calls[0].keys()


@pytest.mark.django_db
def test_neither_an_address_that_opens_something_nor_a_forged_ref_is_logged(client, calls):
    client.get("/accounts/password/reset/key/1-set-password-secret/")
    client.get("/requests/R-1%0AINFO%20forged/")
    client.get("/nowhere/secret/")
    client.get("/healthz")

    assert len(calls) == 3
    assert "secret" not in json.dumps(calls)
    assert "forged" not in json.dumps(calls)
    assert not any("ref" in told for told in calls)


def test_gunicorn_writes_its_own_lines_in_the_same_form(monkeypatch, capsys):
    from gunicorn.config import Config

    monkeypatch.setenv("LOG_FORMAT", "json")
    own = OurLines(Config())

    own.error("worker %s\ntimed out", 17)

    told = json.loads(capsys.readouterr().err)
    assert (told["logger"], told["message"]) == ("gunicorn.error", "worker 17\ntimed out")


@pytest.mark.parametrize(
    ("profile", "said", "form"),
    [("demo", "", "text"), ("production", "", "json"), ("demo", "json", "json")],
)
def test_production_writes_json_unless_it_is_told_otherwise(monkeypatch, profile, said, form):
    monkeypatch.setenv("RECOURSE_PROFILE", profile)
    if said:
        monkeypatch.setenv("LOG_FORMAT", said)
    else:
        monkeypatch.delenv("LOG_FORMAT", raising=False)

    assert env.log_format() == form
