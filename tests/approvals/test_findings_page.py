"""What failed unseen is shown to those who mend it and to auditors, and every page tells admins of it."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from approvals import auditing
from approvals.models import ActionRequest, Notice
from approvals.views import findings as page_of
from tests.approvals.asking import ask_for_payment
from tests.factories import (
    MONDAY_9AM,
    FailureFactory,
    FindingFactory,
    NoticeFactory,
    PersonFactory,
    RequestFactory,
    RoleFactory,
    TaskAttemptFactory,
)

pytestmark = pytest.mark.django_db

PAGE = "/findings/"
M = timedelta(minutes=1)
BANNER = "See what failed"


def text(response):
    return response.content.decode().replace("\xa0", " ")


def somebody(duty):
    return PersonFactory(roles=[RoleFactory(key=duty)] if duty else [])


def see(client, person, path=PAGE):
    client.force_login(person)
    return text(client.get(path))


@pytest.mark.parametrize(
    ("duty", "sees", "told"),
    [
        ("operator", True, True),
        ("policy_admin", True, True),
        ("auditor", True, False),
        ("compliance", False, False),
        ("", False, False),
    ],
)
def test_who_sees_it_who_is_led_to_it_and_who_is_told_on_every_page(
    client, company, duty, sees, told
):
    person = somebody(duty)
    before = see(client, person, "/inbox/")
    assert (f'href="{PAGE}"' in before, BANNER in before) == (sees, False)

    FindingFactory()

    for path in ("/inbox/", "/people/"):
        page = see(client, person, path)
        assert (BANNER in page, "1 silent failure.</b> Nothing is promoted" in page) == (told, told)
    assert client.get(PAGE).status_code == (200 if sees else 403)


def test_a_finding_is_shown_with_what_it_means_since_when_and_its_request(
    client, company, timeline
):
    request = ask_for_payment(company)
    ActionRequest.objects.update(due_at=request.due_at + M)
    auditing.run(now=timeline.now)
    auditor = somebody("auditor")

    page = see(client, auditor)

    assert "1 stands." in page
    assert "waits, and its clock is not its step's".replace("'", "&#x27;") in page
    assert "A clock on a request that is not the clock of its source." in page
    assert "Somebody wrote rows past the services" in page
    assert f'href="/requests/{request.ref}/"' in page
    assert MONDAY_9AM.isoformat()[:16] in page
    ActionRequest.objects.update(due_at=request.due_at)
    auditing.run(now=timeline.now)
    assert "Nothing that should not exist was found" in see(client, auditor)
    assert request.ref in see(client, auditor).split("Found before")[1]


def test_a_round_of_the_clock_which_asks_no_target_is_no_look_at_everything(
    client, company, timeline
):
    auditor = somebody("auditor")
    auditing.run(now=timeline.now, outside=False)
    assert "Nobody has looked yet." in see(client, auditor)

    auditing.run(now=timeline.now)
    auditing.run(now=timeline.now + M, outside=False)

    page = see(client, auditor)
    assert f'Looked for at <time datetime="{timeline.now.isoformat()[:16]}' in page


def test_every_audit_says_what_it_looks_for_and_what_to_do(client, company):
    page = see(client, somebody("auditor"))

    for name, look in auditing.all_audits().items():
        assert look.means.endswith("."), name
        assert look.mend.endswith((".", "?")), name
        assert look.means.replace("'", "&#x27;") in page, name


def test_past_findings_are_paged_the_last_one_first(client, company, monkeypatch):
    monkeypatch.setattr(page_of, "PAGE", 3)
    for n in range(7):
        FindingFactory(text=f"Finding {n}.", cleared_at=MONDAY_9AM + n // 2 * M)
    auditor, seen, path = somebody("auditor"), [], PAGE
    for _ in range(3):
        page = see(client, auditor, path)
        seen += [word.split(".")[0] for word in page.split("Finding ")[1:]]
        path = (
            PAGE + "?" + page.split('href="?after=')[1].split('"')[0] if "?after=" in page else ""
        )
        path = path.replace("?", "?after=", 1)

    assert seen == ["6", "5", "4", "3", "2", "1", "0"]


def test_every_dead_letter_can_be_reached_the_last_one_first(client, company, monkeypatch):
    """Two of them failed at one instant; the others, which the queue still brings, are none."""
    monkeypatch.setattr(page_of, "PAGE", 2)
    letters = [NoticeFactory(state="failed", next_attempt_at=None) for _ in range(5)]
    tasks = [FailureFactory(id=f"f-{n}", stopped=MONDAY_9AM + n // 2 * M) for n in range(4)]
    tasks += [
        TaskAttemptFactory(task=f"t-{n}", first_at=MONDAY_9AM + 9 * M, attempts=3, last_error="No.")
        for n in range(2)
    ]
    for _ in range(20):
        alive = TaskAttemptFactory(first_at=MONDAY_9AM + 8 * M)
        FailureFactory(id=alive.pk, stopped=MONDAY_9AM + 8 * M)
    operator = somebody("operator")

    def all_of(name, pattern):
        found, path = [], PAGE
        for _ in range(10):
            page = see(client, operator, path)
            found += re.findall(pattern, page)
            more = re.search(rf'href="\?{name}=([^"#]+)#', page)
            if more is None:
                return found
            path = f"{PAGE}?{name}={more[1]}"
        raise AssertionError("it never came to an end")

    assert all_of("letters", r"messages/(\d+)/again") == [str(each.pk) for each in letters[::-1]]
    assert all_of("tasks", r"tasks/([\w-]+)/again") == [each.pk for each in tasks[::-1]]


@pytest.mark.parametrize("value", ["", "\0", "~", "x~1", "2026-03-02T09:00:00+00:00~", "9" * 300])
@pytest.mark.parametrize("name", ["letters", "tasks", "after"])
def test_an_address_of_no_page_shows_the_first(client, company, name, value):
    client.force_login(somebody("operator"))

    assert client.get(PAGE, {name: value}).status_code == 200


def test_dead_letters_are_shown_to_both_and_offered_to_those_who_may(client, company):
    letter = NoticeFactory(state="failed", next_attempt_at=None, last_error="550 <b>no</b>")
    task = FailureFactory()

    auditor, operator = see(client, somebody("auditor")), see(client, somebody("operator"))

    for page in (auditor, operator):
        assert f"Message to {letter.person}" in page
        assert "550 &lt;b&gt;no&lt;/b&gt;" in page
        assert task.func in page
    assert "Send again" not in auditor
    assert f"/findings/messages/{letter.pk}/again/" in operator
    assert f"/findings/tasks/{task.pk}/again/" in operator


def test_an_operator_sends_again_and_puts_aside(client, company):
    letters = [NoticeFactory(state="failed", next_attempt_at=None) for _ in range(2)]
    tasks = [FailureFactory(func="approvals.tasks.audit") for _ in range(2)]
    client.force_login(somebody("operator"))

    for one, way in zip((*letters, *tasks), ("again", "aside") * 2, strict=True):
        place = "messages" if one in letters else "tasks"
        answer = client.post(f"/findings/{place}/{one.pk}/{way}/", follow=True)
        assert answer.redirect_chain == [(PAGE, 302)]

    assert sorted(Notice.objects.values_list("state", flat=True)) == ["dropped", "waiting"]
    assert "was faster" in text(
        client.post(f"/findings/messages/{letters[1].pk}/again/", follow=True)
    )
    assert "no such task" in text(client.post("/findings/tasks/t-0/aside/", follow=True))


def test_the_page_costs_the_same_with_one_as_with_many(client, company):
    auditor = somebody("auditor")
    client.force_login(auditor)

    def queries():
        with CaptureQueriesContext(connection) as caught:
            assert client.get(PAGE).status_code == 200
        return len(caught)

    def more():
        FindingFactory(request=RequestFactory())
        FindingFactory(cleared_at=MONDAY_9AM)
        NoticeFactory(state="failed", next_attempt_at=None)
        FailureFactory()
        TaskAttemptFactory(dropped_at=MONDAY_9AM)

    more()
    queries()
    one = queries()
    for _ in range(4):
        more()

    assert queries() == one
