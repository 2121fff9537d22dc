"""The audit of what targets list: effects under our keys that no unit of ours accounts for."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from approvals import auditing
from approvals.models import ActionRequest, Alert, Finding
from governance.catalogue import CATALOGUE, money
from governance.errors import AlreadyDecided, NotFound, NotYours, Unprocessable
from governance.models import ActionType, AuditEvent
from rollback import strays
from rollback.audits import OF_EFFECTS
from rollback.connectors import registry
from rollback.connectors.base import Effect, Gives, NotDone, OutcomeUnknown, Page, Receipt, Rejected
from rollback.connectors.http import HttpConnector
from rollback.management.commands import recheck_effects
from rollback.models import Bookmark, Direction, Stray, Unit
from rollback.runner import run_all
from rollback.services import strays as services
from rollback.strays import OF_STRAYS
from tests.factories import MONDAY_9AM, ActionTypeFactory, PersonFactory, RoleFactory, StrayFactory
from tests.rollback.carrying import approved, books, worker
from tests.rollback.test_demo_actions import approve, hands, now_, seeded, undo

__all__ = ["approve", "approved", "books", "hands", "seeded", "worker"]  # fixtures

pytestmark = pytest.mark.django_db

S = ActionRequest.State
U = Unit.State
M = timedelta(minutes=1)
H = timedelta(hours=1)
DOWN = NotDone("connection refused")
EXAMPLES = {entry["key"]: entry for entry in CATALOGUE}


def standing(now):
    """Run every audit, and return the findings of this one that stand."""
    auditing.run(now=now)
    return list(Finding.objects.filter(audit=OF_STRAYS, cleared_at=None).order_by("pk"))


def key_of(request, position=1, *, undo=False):
    return f"{request.business_key}~0/{'undo/' if undo else ''}{position}"


# --- A target in memory, which tells what it did page by page ----------------------------------


class Telling:
    """What `Books` lacks: a list, two entries a page, that goes on after a number."""

    lists = ("done",)
    at_once = 2

    def __init__(self, books):
        self.books, self.told, self.asked, self.fails = books, [], [], {}
        self.target, self.gives = books.target, books.gives

    def listed(self, name, after):
        self.asked.append(after)
        self.books._reach()
        first = int(after or 0)
        page = self.told[first : first + self.at_once]
        if first in self.fails:
            raise self.fails[first]
        end = first + len(page)
        return Page(
            [Effect(key, f"L-{key[-1:]}", "today") for key in page], str(end), end < len(self.told)
        )

    def __getattr__(self, name):
        return getattr(self.books, name)


@pytest.fixture
def telling(company, books, settings, monkeypatch):
    """The company's payments go to a target that tells what it did."""
    found = Telling(books)
    settings.TARGETS = {**settings.TARGETS, "books": {"url": "http://books"}}
    company.vendor_payment.connector = "http"
    company.vendor_payment.save()
    monkeypatch.setattr(registry, "connector_for", lambda action_type: found)
    return found


@pytest.fixture
def done(approved, worker, telling, timeline):
    """A payment of five units that was made, all of it told by the target."""
    run_all(worker.hands)
    telling.told += telling.books.done
    return approved


def lose(request):
    """Lose the rows of a request, as a backup of before does. Returns the keys that it was done under."""
    units = Unit.objects.filter(request=request)
    keys = list(units.filter(sent_at__isnull=False).order_by("pk").values_list("key", flat=True))
    units.filter(direction=Direction.UNDO).delete()
    units.delete()
    return keys


def test_what_our_units_account_for_is_no_stray_and_the_bookmark_is_behind_it(
    done, telling, timeline
):
    assert standing(timeline.now) == []

    assert not Stray.objects.exists()
    mark = Bookmark.objects.get()
    assert (mark.target, mark.name, mark.after, mark.read_at) == (
        "books",
        "done",
        "5",
        timeline.now,
    )
    telling.asked.clear()
    assert standing(timeline.now + M) == []
    assert telling.asked == ["5"], "what was read is not read again"


def test_effects_without_any_row_are_each_a_finding_of_their_own(done, telling, timeline):
    keys = lose(done)
    telling.books.done.clear()

    found = standing(timeline.now)

    assert [each.text for each in found] == [
        f"books lists {key} (L-{n}, today), and nothing here accounts for it."
        for n, key in enumerate(keys, start=1)
    ]
    assert [each.request for each in found] == [None] * 5
    assert Alert.objects.filter(kind=f"audit.{OF_STRAYS}", closed_at=None).count() == 5
    assert standing(timeline.now + H) == found


def test_a_unit_in_flight_is_no_stray_however_young(approved, worker, telling, timeline):
    """The intent is committed before the call. So the list is read, and only then our rows."""
    seen = []

    def while_in_the_call():
        telling.told.append(key_of(approved))
        seen.append(standing(timeline.now))

    telling.books.meanwhile(1, while_in_the_call)

    run_all(worker.hands)

    assert seen == [[]]
    assert not Stray.objects.exists()
    assert Bookmark.objects.get().after == "1", "it was read"


@pytest.mark.parametrize(
    "key",
    [
        "",
        "of-somebody-else",
        "somebody:else~0/1",  # in the form of a key, of no template here
        "{business}",
        "{business}~0",
        "{business}~0/1/again",
        "drill~{business}~0/1",
        "x{business}~0/1",
    ],
)
def test_what_others_did_is_none_of_our_business(done, telling, timeline, company, key):
    company.vendor_payment.business_key = "books:{/vendor}:{/invoice}"
    company.vendor_payment.save()
    business = "books:northwind%20paper:inv-1"
    telling.told[:] = [key.replace("{business}", business)]
    assert standing(timeline.now) == []

    telling.told.append(f"{business}~0/1")

    (found,) = standing(timeline.now + M)
    assert f" {business}~0/1 " in found.text


def test_a_key_of_an_older_version_is_ours_too_and_of_a_draft_is_not(done, telling, timeline):
    for state, template in (("retired", "old:{/invoice}"), ("draft", "new:{/invoice}")):
        ActionTypeFactory(state=state, business_key=template, connector="http")
    telling.told[:] = ["old:inv-1~0/1", "new:inv-1~0/1"]

    (found,) = standing(timeline.now)

    assert "old:inv-1~0/1" in found.text


def test_an_undo_that_we_know_nothing_of_is_found_with_its_request(done, telling, timeline):
    """Its unit is there, planned beside the forward one, and was never sent."""
    key = key_of(done, 5, undo=True)
    telling.told.append(key)

    (found,) = standing(timeline.now)

    assert (key in found.text, found.request) == (True, done)


def test_it_is_gone_once_a_unit_has_its_checkpoint(approved, worker, telling, timeline):
    """As after a restore: what was done is approved here, and sent again under the same keys."""
    telling.told += [key_of(approved, n) for n in range(1, 6)]
    for n, key in enumerate(telling.told, start=1):
        telling.books.done[key] = Receipt(f"L-{n}", {"line": n})
    assert len(standing(timeline.now)) == 5

    run_all(worker.hands)

    assert now_(approved).state == S.COMPLETED
    assert standing(timeline.now + M) == []
    assert Stray.objects.filter(settled_at=timeline.now + M, settled_by=None).count() == 5
    told = AuditEvent.objects.filter(kind__startswith="stray.", actor="audit").order_by("pk")
    assert [each.kind for each in told] == ["stray.found"] * 5 + ["stray.settled"] * 5
    assert [each.facts["key"] for each in told] == telling.told * 2


def test_a_send_that_came_to_nothing_settles_nothing(approved, worker, telling, timeline):
    """What was found stays found until there is a checkpoint, however often it is sent."""
    telling.told.append(key_of(approved))
    (found,) = standing(timeline.now)

    def refused():
        standing(timeline.now)
        raise Rejected("422 no")

    telling.books.meanwhile(1, refused)

    run_all(worker.hands)

    assert standing(timeline.now + M) == [found]
    assert Stray.objects.get().settled_at is None


@pytest.fixture
def untold(telling):
    """The target lists what it did, and cannot be asked by key."""
    telling.books.native_keys = False
    telling.gives = telling.books.gives = Gives(
        native_keys=False, lookup=False, optimistic_locking=False
    )
    return telling


def test_without_a_lookup_what_is_in_doubt_is_found_once_somebody_says_that_it_was_not_done(
    approved, worker, untold, timeline
):
    untold.books.lose_answer(1, OutcomeUnknown("timeout"))
    run_all(worker.hands)
    unit = Unit.objects.get(request=approved, direction="forward", position=1)
    assert unit.state == U.UNKNOWN
    untold.told.append(unit.key)

    assert standing(timeline.now) == [], "a person is asked about it as it is"
    assert Bookmark.objects.get().after == "1", "and the list has gone on"
    assert not strays.unexplained(timeline.now).exists()
    Unit.objects.filter(pk=unit.pk).update(state=U.NOT_DONE)

    (found,) = standing(timeline.now + M)
    assert (unit.key in found.text, found.request_id) == (True, approved.pk)
    Unit.objects.filter(pk=unit.pk).update(
        state=U.DONE, done_at=timeline.now, receipt={"reference": "L-1", "data": {}}
    )
    assert standing(timeline.now + 2 * M) == []


def test_without_a_lookup_what_was_not_done_accounts_for_nothing(
    approved, worker, untold, timeline
):
    untold.books.fail(1, Rejected("422 no"))
    run_all(worker.hands)
    untold.told.append(key_of(approved))

    (found,) = standing(timeline.now)

    assert (key_of(approved) in found.text, found.request_id) == (True, approved.pk)


def test_without_a_lookup_what_stays_in_doubt_is_found_once_its_request_has_ended(
    approved, worker, untold, timeline
):
    untold.books.lose_answer(1, OutcomeUnknown("timeout"))
    run_all(worker.hands)
    untold.told.append(key_of(approved))
    assert standing(timeline.now) == []

    Unit.objects.filter(key=key_of(approved)).update(audited_at=timeline.now)

    assert len(standing(timeline.now + M)) == 1


def test_without_a_lookup_asking_all_again_hides_nothing_of_what_has_ended(
    approved, worker, untold, timeline
):
    untold.books.lose_answer(1, OutcomeUnknown("timeout"))
    run_all(worker.hands)
    untold.told.append(key_of(approved))
    ActionRequest.objects.update(state=S.STRANDED, due_at=None, ended_at=timeline.now)
    timeline.advance(minutes=10)
    assert standing(timeline.now) == []
    timeline.advance(microseconds=1)
    (found,) = standing(timeline.now)
    said = StringIO()

    call_command("recheck_effects", stdout=said)

    assert Unit.objects.get(key=key_of(approved)).audited_at is None
    assert "; 1 effects in targets" in said.getvalue()
    assert [each.key for each in strays.effects_unaccounted_for(timeline.now)] == [found.key]
    assert standing(timeline.now) == [found]


def test_every_stray_is_looked_at_for_a_unit_however_many_there_are(
    done, telling, timeline, monkeypatch
):
    monkeypatch.setattr(strays, "SETTLED_AT_ONCE", 2)
    rows = [StrayFactory() for _ in range(5)]
    last = StrayFactory(target="books", key=key_of(done))

    standing(timeline.now)

    assert set(Stray.objects.filter(settled_at=None)) == set(rows)
    assert Stray.objects.get(settled_at=timeline.now) == last


def test_a_late_effect_of_what_was_asked_about_before_is_found(approved, worker, telling, timeline):
    """The other audit asked ten minutes after the end, was told no, and asks no more."""
    telling.books.fail(1, Rejected("422 no"))
    run_all(worker.hands)
    assert standing(timeline.now + 11 * M) == []
    unit = Unit.objects.get(request=approved, direction="forward", position=1)
    assert unit.audited_at is not None

    telling.told.append(unit.key)  # a mark that is left, and no effect
    assert standing(timeline.now + 12 * M) == []
    assert standing(timeline.now + 13 * M) == []
    unit.refresh_from_db()
    assert unit.audited_at == timeline.now + 13 * M, "it was asked about once more"
    telling.told.append(unit.key)
    telling.books.done[unit.key] = Receipt("L-late", {"line": 1})

    standing(timeline.now + 14 * M)
    auditing.run(now=timeline.now + 15 * M)

    (found,) = Finding.objects.filter(audit=OF_EFFECTS, cleared_at=None)
    assert (unit.key in found.text, found.request_id) == (True, approved.pk)
    assert not Stray.objects.exists()
    del telling.books.done[unit.key]


def test_a_key_that_its_target_never_answers_for_holds_up_no_list(
    approved, worker, telling, timeline, monkeypatch
):
    telling.books.fail(1, Rejected("422 no"))
    run_all(worker.hands)
    standing(timeline.now + 11 * M)
    unit = Unit.objects.get(request=approved, direction="forward", position=1)
    telling.told += [unit.key, "x", f"{approved.business_key}-lost~0/1"]

    def silent(key):
        raise OutcomeUnknown("timeout")

    with monkeypatch.context() as patch:
        patch.setattr(telling.books, "probe", silent)
        (found,) = standing(timeline.now + 2 * H)
        auditing.run(now=timeline.now + 2 * H + M)

    assert "-lost~0/1" in found.text
    assert Bookmark.objects.get().after == "3"
    (of_it,) = Finding.objects.filter(audit=OF_EFFECTS, cleared_at=None)
    assert f"cannot be asked about {unit.key}" in of_it.text


def test_the_bookmark_never_runs_ahead_of_what_is_kept(done, telling, timeline, monkeypatch):
    """A worker that dies on the way finds all of it again: page and bookmark are kept together."""
    keys = lose(done)
    telling.books.done.clear()
    kept = services.Stray.objects.bulk_create

    def dies(rows):
        kept(rows)
        raise RuntimeError("the worker was killed")

    with monkeypatch.context() as patch:
        patch.setattr(services.Stray.objects, "bulk_create", dies)
        (failed,) = standing(timeline.now)
    assert failed.key == "failed"
    assert not Stray.objects.exists()
    assert Bookmark.objects.get().after == ""

    assert len(standing(timeline.now + M)) == len(keys)


def test_a_page_that_cannot_be_read_is_read_again_and_what_was_before_it_is_kept(
    done, telling, timeline
):
    keys = lose(done)
    telling.books.done.clear()
    telling.fails[2] = OutcomeUnknown("500 Internal Server Error")

    assert len(standing(timeline.now)) == 2
    mark = Bookmark.objects.get()
    assert (mark.after, mark.problem) == ("2", "500 Internal Server Error")
    telling.fails.clear()

    assert len(standing(timeline.now + M)) == len(keys)
    assert Bookmark.objects.get().problem == ""


def test_a_round_reads_so_many_pages_and_the_next_one_goes_on(done, telling, timeline, monkeypatch):
    monkeypatch.setattr(strays, "PAGES_AT_ONCE", 1)
    monkeypatch.setattr(
        strays.read_on, "__kwdefaults__", {**strays.read_on.__kwdefaults__, "pages": 1}
    )

    for n in range(3):
        assert standing(timeline.now + n * M) == []

    assert telling.asked == ["", "2", "4"]


def test_a_target_that_is_down_is_a_finding_after_an_hour_and_holds_up_nothing(
    done, telling, timeline
):
    assert standing(timeline.now) == []
    telling.books.down = DOWN

    assert standing(timeline.now + H) == []
    (found,) = standing(timeline.now + H + timedelta(seconds=1))

    assert "has not told what it did since" in found.text
    assert "connection refused" in found.text
    others = Finding.objects.filter(cleared_at=None).exclude(audit=OF_STRAYS)
    assert [each.audit for each in others] == ["unsealed"], "the other audits went on"
    telling.books.down = None
    assert standing(timeline.now + 2 * H) == []


def test_a_list_that_says_it_goes_on_and_does_not_is_a_finding(
    done, telling, timeline, monkeypatch
):
    standing(timeline.now)
    monkeypatch.setattr(Telling, "listed", lambda self, name, after: Page([], after, True))

    assert standing(timeline.now + M) == []
    (found,) = standing(timeline.now + 2 * H)

    assert "tells the same again" in found.text


@pytest.fixture
def two_lists(telling, monkeypatch):
    """Read in this order: `bad`, then `done`."""
    telling.lists = ("bad", "done")
    monkeypatch.setattr(strays, "sample", lambda lists, n: sorted(lists, key=lambda x: x.name))
    listed = telling.listed
    telling.bad = lambda after: None
    telling.__dict__["listed"] = lambda name, after: (
        telling.bad(after) if name == "bad" else listed(name, after)
    )
    return telling


@pytest.mark.parametrize("page", [None, Page([], None, False), Page([Effect(7)], "1", False)])
def test_what_is_odd_in_one_list_stops_no_other(done, two_lists, timeline, page):
    keys = lose(done)
    two_lists.books.done.clear()
    two_lists.bad = lambda after: page

    assert len(standing(timeline.now)) == len(keys)

    assert "cannot be kept" in Bookmark.objects.get(name="bad").problem


@pytest.mark.parametrize(
    ("state", "config"),
    [
        ("production", ["no object"]),
        ("retired", ["no object"]),
        ("production", {"target": []}),
        ("production", {"target": "books", "listing": {"path": "{no end"}}),
    ],
)
def test_an_action_type_that_cannot_be_read_stops_no_list_of_others(
    done, telling, timeline, monkeypatch, state, config
):
    keys = lose(done)
    telling.books.done.clear()
    broken = ActionTypeFactory(connector="http", connector_config=config, state=state)
    monkeypatch.setattr(
        registry,
        "connector_for",
        lambda kind: HttpConnector(kind) if kind == broken else telling,
    )

    found = standing(timeline.now)

    assert [each.text.split()[2] for each in found if each.key.startswith("stray ")] == keys
    (told,) = [each for each in found if not each.key.startswith("stray ")]
    assert told.key == f"action type {broken.pk}"
    assert f"which lists {broken} has" in told.text
    said = StringIO()
    with pytest.raises(CommandError, match="1 action types were not read"):
        call_command("recheck_effects", stdout=said)
    assert told.text in said.getvalue()
    ActionType.objects.filter(pk=broken.pk).delete()
    assert len(standing(timeline.now + M)) == len(keys)


def test_a_target_that_is_away_is_noted_with_each_of_its_lists(done, two_lists, timeline):
    two_lists.books.down = DOWN

    def away(after):
        raise DOWN

    two_lists.bad = away

    standing(timeline.now)

    assert set(Bookmark.objects.values_list("name", "problem")) == {
        ("bad", "connection refused"),
        ("done", "connection refused"),
    }
    two_lists.books.down = None


def test_a_list_that_goes_round_comes_to_an_end_and_the_command_says_so(done, two_lists, timeline):
    asked = []

    def round_and_round(after):
        asked.append(after)
        return Page([], "b" if after == "a" else "a", True)

    two_lists.bad = round_and_round
    said = StringIO()

    with pytest.raises(CommandError, match="1 of 2 lists"):
        call_command("recheck_effects", stdout=said)

    assert asked == ["", "a", "b"]
    assert "books, bad: not read to its end: it goes round" in said.getvalue()
    assert Bookmark.objects.get(name="done").after == "5"


def test_a_list_that_goes_round_is_a_finding_after_an_hour_until_it_goes_on(
    done, two_lists, timeline
):
    assert standing(timeline.now) == []
    two_lists.bad = lambda after: Page([], "b" if after == "a" else "a", True)

    for n in range(1, 61):
        assert standing(timeline.now + n * M) == []
    (found,) = standing(timeline.now + 61 * M)

    assert "books has not told what it did since 02 Mar" in found.text
    assert "it goes round" in found.text
    assert standing(timeline.now + 62 * M) == [found]
    two_lists.bad = lambda after: Page([], "c", False)
    assert standing(timeline.now + 63 * M) == []


def test_a_list_that_is_far_behind_gets_on_however_long_it_takes(
    done, two_lists, timeline, monkeypatch
):
    monkeypatch.setattr(
        strays.read_on, "__kwdefaults__", {**strays.read_on.__kwdefaults__, "pages": 2}
    )
    two_lists.bad = lambda after: Page([], f"{after}x", True)

    for n in range(0, 150, 30):
        assert standing(timeline.now + n * M) == []

    assert "there is more" in Bookmark.objects.get(name="bad").problem


def test_a_list_that_never_ends_comes_to_one_and_the_command_says_so(
    done, two_lists, timeline, monkeypatch
):
    monkeypatch.setattr(recheck_effects, "PAGES", 4)
    two_lists.bad = lambda after: Page([], f"{after}x", True)
    said = StringIO()

    with pytest.raises(CommandError, match="1 of 2 lists"):
        call_command("recheck_effects", stdout=said)

    assert "there is more after 4 pages" in said.getvalue()
    assert Bookmark.objects.get(name="bad").after == "xxxx"


def test_a_list_that_another_round_is_reading_is_read_to_its_end(done, telling, timeline):
    listed = telling.listed

    def beside(name, after):
        page = listed(name, after)
        telling.__dict__.pop("listed")  # once
        strays.read_on(strays.sources()[0], timeline.now, pages=1)
        return page

    telling.__dict__["listed"] = beside

    call_command("recheck_effects", stdout=StringIO())

    assert Bookmark.objects.get().after == "5"


def test_two_rounds_at_once_keep_one_of_each_and_lose_nothing(done, telling, timeline):
    """The second one reads while the first has a page in its hands."""
    keys = lose(done)
    telling.books.done.clear()
    listed = telling.listed

    def beside(name, after):
        page = listed(name, after)
        telling.__dict__.pop("listed")  # once
        strays.read_on(strays.sources()[0], timeline.now)
        return page

    telling.__dict__["listed"] = beside

    found = standing(timeline.now)

    assert [each.text.split()[2] for each in found] == keys
    assert Bookmark.objects.get().after == "5"


def test_the_queries_of_a_round_do_not_grow_with_what_is_known(done, telling, timeline):
    def queries(keys):
        telling.told[:] = keys
        Bookmark.objects.update(after="")
        with CaptureQueriesContext(connection) as asked:
            strays.read_on(strays.sources()[0], timeline.now)
        return len(asked)

    telling.at_once = 1000
    every, _ = list(telling.told), standing(timeline.now)
    unknown = [f"{done.business_key}{n}~0/1" for n in range(90)]

    queries(unknown[:1])  # the first makes the chain that tells of it
    assert queries([every[0], unknown[1]]) == queries([*every, *unknown])
    assert Stray.objects.count() == 90


def test_a_target_to_which_nothing_can_be_sent_is_not_read(done, telling, timeline, settings):
    settings.TARGETS = {}
    lose(done)
    telling.books.done.clear()

    assert standing(timeline.now) == []
    assert telling.asked == []


def test_only_what_is_in_production_is_asked_for_its_list(done, telling, timeline):
    ActionType.objects.update(state=ActionType.State.RETIRED)

    assert standing(timeline.now) == []
    assert telling.asked == []


# --- Seen to by a person -----------------------------------------------------------------------


@pytest.fixture
def operator():
    return PersonFactory(username="op", roles=[RoleFactory(key="operator")])


def test_a_person_says_what_became_of_it_and_it_stays_so(done, telling, timeline, operator):
    lose(done)
    telling.books.done.clear()
    telling.told[:] = telling.told[:1]
    (found,) = standing(timeline.now)
    stray = Stray.objects.get()

    services.settle(
        stray=stray.pk,
        actor=operator,
        note=" Paid; the mail of the 3rd says so. ",
        now=timeline.now,
    )

    assert standing(timeline.now + M) == []
    found.refresh_from_db()
    assert found.cleared_at == timeline.now + M
    event = AuditEvent.objects.get(kind="stray.settled")  # one: settled is settled
    assert event.actor == "person:op"
    assert event.facts["key"] == stray.key
    assert event.facts["note"] == "Paid; the mail of the 3rd says so."
    Bookmark.objects.update(after="")
    assert standing(timeline.now + 2 * M) == []
    with pytest.raises(AlreadyDecided):
        services.settle(stray=stray.pk, actor=operator, note="Again.", now=timeline.now)


def test_of_more_than_are_shown_each_goes_once_it_is_settled(company, timeline, operator):
    rows = [StrayFactory() for _ in range(102)]
    assert len(standing(MONDAY_9AM)) == 100

    services.settle(stray=rows[0].pk, actor=operator, note="Seen to.", now=MONDAY_9AM)

    keys = {each.key for each in standing(MONDAY_9AM + M)}
    assert f"stray {rows[0].pk}" not in keys
    assert len(keys) == 100


def test_who_may_not_and_what_is_not_said_changes_nothing(operator, company):
    stray = StrayFactory()

    for actor, pk, note, refusal in (
        (PersonFactory(roles=[RoleFactory(key="auditor")]), stray.pk, "Seen to.", NotYours),
        (operator, stray.pk, "  ", Unprocessable),
        (operator, stray.pk, "x" * 1001, Unprocessable),
        (operator, stray.pk, "x\r\n" * 501, Unprocessable),
        (operator, stray.pk + 1, "Seen to.", NotFound),
    ):
        with pytest.raises(refusal):
            services.settle(stray=pk, actor=actor, note=note, now=MONDAY_9AM)

    stray.refresh_from_db()
    assert (stray.settled_at, stray.note) == (None, "")
    assert not AuditEvent.objects.filter(kind="stray.settled").exists()


def test_a_line_end_counts_once_as_in_the_browser(operator, company):
    note = "x" + "\r\n" * 998 + "x"

    settled = services.settle(stray=StrayFactory().pk, actor=operator, note=note, now=MONDAY_9AM)

    assert len(settled.note) == 1000


def test_the_page_lists_what_stands_and_takes_words_for_it(client, operator, company):
    stray, settled = StrayFactory(reference="PAY-<1>"), StrayFactory(settled_at=MONDAY_9AM)
    auditor = PersonFactory(roles=[RoleFactory(key="auditor")])
    client.force_login(auditor)
    page = client.get("/findings/effects/").content.decode()
    assert stray.key in page
    assert settled.key not in page
    assert "PAY-&lt;1&gt;" in page
    assert "It is seen to" not in page
    client.force_login(operator)

    refused = client.post(f"/findings/effects/{stray.pk}/", {"note": ""})
    taken = client.post(f"/findings/effects/{stray.pk}/", {"note": "Seen to."}, follow=True)

    assert refused.status_code == 422
    assert "Say what became of it" in refused.content.decode()
    assert taken.redirect_chain == [("/findings/effects/", 302)]
    assert "None: all that the targets list" in taken.content.decode()
    stray.refresh_from_db()
    assert (stray.note, stray.settled_by) == ("Seen to.", operator)


def test_the_page_of_findings_leads_there(client, operator, done, telling, timeline):
    lose(done)
    telling.books.done.clear()
    standing(timeline.now)
    client.force_login(operator)

    page = client.get("/findings/").content.decode()

    assert page.count('href="/findings/effects/"') == 5


# --- The demo's target, over HTTP ---------------------------------------------------------------


@pytest.fixture
def emptied(target):
    """The target and our units are no test's business afterwards: they differ on purpose."""
    yield target
    target.reset()
    Unit.objects.filter(direction=Direction.UNDO).delete()
    Unit.objects.all().delete()


def test_a_payment_and_an_undo_that_are_lost_here_are_named_by_the_target(
    approve, hands, emptied, timeline
):
    kept = approve("vendor_payment")
    run_all(hands)
    backup = list(Unit.objects.values()), standing(timeline.now), Bookmark.objects.get().after
    undo(kept, timeline)
    run_all(hands)
    assert now_(kept).state == S.ROLLED_BACK
    paid_since = approve("vendor_payment", invoice="INV-LOST")
    run_all(hands)
    assert standing(timeline.now) == []

    lose(paid_since)
    for row in backup[0]:
        Unit.objects.filter(pk=row.pop("id")).update(**row)
    Bookmark.objects.update(after=backup[2])
    undone, paid = standing(timeline.now)

    assert key_of(kept, undo=True) in undone.text
    assert undone.request_id == kept.pk
    assert key_of(paid_since) in paid.text
    (operation,) = emptied.operations(key_of(paid_since))
    assert f"({operation['reference']}, {operation['at']})" in paid.text


def test_the_list_of_the_demo_is_read_page_by_page_and_what_has_no_key_is_in_it(emptied):
    connector = registry.connector_for(ActionType(**EXAMPLES["vendor_payment"]))
    (name,) = connector.lists
    for n in range(230):
        emptied.write(
            "bills",
            {"vendor": "V", "invoice": f"B-{n}", "amount": money("1.00")},
            f"k-{n}" if n % 2 else "",
        )

    pages = [connector.listed(name, "")]
    while pages[-1].more:
        pages.append(connector.listed(name, pages[-1].after))

    assert [len(page.effects) for page in pages] == [100, 100, 30]
    assert [each.key for each in pages[0].effects[:4]] == ["", "k-1", "", "k-3"]
    nothing = connector.listed(name, pages[-1].after)
    assert (nothing.effects, nothing.after, nothing.more) == ([], pages[-1].after, False)


def test_a_target_that_refuses_to_tell_clears_nothing(approve, hands, emptied, timeline, settings):
    request = approve("vendor_payment")
    run_all(hands)
    lose(request)
    found = standing(timeline.now)
    assert len(found) == 1

    settings.TARGETS = {"demo": {**settings.TARGETS["demo"], "token": "another"}}

    assert standing(timeline.now + M) == found
    assert "401" in Bookmark.objects.get().problem
