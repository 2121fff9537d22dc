"""What compliance sees and sends, the bench, and what agents read of it over the API."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse

from approvals.models import ActionRequest, Case, Violation
from approvals.services.violations import report
from tests.approvals.asking import add_check, ask_for_payment, name_compliance
from tests.factories import PersonFactory, RecordReadFactory, RoleFactory

pytestmark = pytest.mark.django_db

M = timedelta(minutes=1)
FORBIDDEN = "payload.terms != 'Net 30' && total([payload.amount.minor]) > 0"


@pytest.fixture(autouse=True)
def compliance(company, timeline):
    return name_compliance(company)


@pytest.fixture
def blocked(company):
    add_check(company, FORBIDDEN, on_break="These terms are <b>not</b> ours.")
    return ask_for_payment(company)


@pytest.fixture
def see():
    def as_(person):
        client = Client()
        client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
        return client

    return as_


def page_of(request):
    return reverse("approvals:request", args=[request.ref])


def comply(client, request, verdict="deny", **over):
    sent = {"verdict": verdict, "note": "As agreed.", "digest": request.digest, "shown": "1"} | over
    return client.post(reverse("approvals:request-comply", args=[request.ref]), sent)


def again(request):
    return ActionRequest.objects.get(pk=request.pk)


def test_compliance_sees_rule_facts_signatures_and_what_each_verdict_leads_to(
    blocked, see, compliance
):
    page = see(compliance[0]).get(page_of(blocked)).content.decode()

    assert "Terms are known, revision 1" in page
    assert "These terms are &lt;b&gt;not&lt;/b&gt; ours." in page
    assert "payload.terms" in page
    assert "Net 30" in page
    assert "Found by the policy" in page
    assert "it takes 2 people of compliance" in page
    for words in ("Deny it", "Sign the waiver", "Ask for a change", "Your no alone is enough"):
        assert words in page
    assert "The ladder, and where it stands" in page
    assert "A violation is never bypassed" in page


def test_the_second_to_sign_reads_who_signed_first(blocked, see, compliance):
    comply(see(compliance[0]), blocked, "waive", note="Known <vendor>.")

    page = see(compliance[1]).get(page_of(blocked)).content.decode()

    assert "1 of 2 signatures" in page
    assert "Known &lt;vendor&gt;." in page
    assert "Sign second, and let it pass" in page
    first = see(compliance[0]).get(page_of(blocked)).content.decode()
    assert "You signed the waiver" in first
    assert comply(see(compliance[1]), blocked, "waive").status_code == 302
    assert again(blocked).state == "pending"


@pytest.mark.parametrize(("verdict", "state"), [("deny", "denied"), ("change_requested", "denied")])
def test_a_verdict_is_sent_without_script(blocked, see, compliance, verdict, state):
    answer = comply(see(compliance[0]), blocked, verdict)

    assert answer.status_code == 302
    assert again(blocked).state == state
    page = see(compliance[0]).get(page_of(blocked))
    assert page.status_code == 200


def test_a_verdict_without_a_reason_or_on_other_reports_is_not_stored(
    company, blocked, see, compliance, timeline
):
    assert comply(see(compliance[0]), blocked, note="").status_code == 422
    report(ref=blocked.ref, by=company.agent, text="And paid before.", now=timeline.now)
    answer = comply(see(compliance[0]), blocked)
    assert answer.status_code == 409
    assert "This is not what the page showed you" in answer.content.decode()
    assert again(blocked).state == "blocked"


def test_it_stands_in_the_lane_of_violations(blocked, see, compliance):
    inbox = see(compliance[0]).get(reverse("approvals:inbox")).content.decode()

    lane = inbox[inbox.index('id="lane-policy_violation"') :]
    assert blocked.ref in lane[: lane.index("</section>")]


def test_the_approver_reads_that_their_time_is_kept(company, see, timeline):
    request = ask_for_payment(company)
    timeline.now += M
    report(ref=request.ref, by=company.agent, text="Wrong vendor.", now=timeline.now)

    page = see(company.finance_manager).get(page_of(request)).content.decode()

    assert "It is blocked: a rule is broken." in page
    assert "keeps the time they had left" in page
    assert "Deny it" not in page


def test_an_officer_reports_from_the_page_and_others_are_not_offered_it(company, see, compliance):
    request = ask_for_payment(company)
    assert "Report a violation…" in see(compliance[0]).get(page_of(request)).content.decode()
    assert (
        "Report a violation…"
        not in see(company.finance_manager).get(page_of(request)).content.decode()
    )
    url = reverse("approvals:request-report", args=[request.ref])

    assert see(company.finance_manager).post(url, {"text": "No."}).status_code == 403
    assert see(compliance[0]).post(url, {"text": ""}).status_code == 422
    assert see(compliance[0]).post(url, {"text": "A barred vendor."}).status_code == 302

    assert again(request).state == "blocked"
    assert Violation.objects.get(request=request).by_person == compliance[0]


# --- The API -------------------------------------------------------------------------------------


def test_an_agent_reports_its_own_request_and_reads_no_names(company, api):
    request = ask_for_payment(company)
    client = api(company.agent, scopes=["read", "violations"])
    url = f"/api/v1/requests/{request.ref}/violations/"

    first = client.post(url, {"reason": "The vendor is barred."}, format="json")
    again_ = client.post(url, {"reason": "The vendor is barred."}, format="json")

    assert (first.status_code, again_.status_code) == (202, 200)
    assert first.json() == {
        "ref": request.ref,
        "outcome": "blocked",
        "detail": "It is blocked, and compliance is asked.",
        "state": "blocked",
    }
    assert again_.json()["outcome"] == "joined"
    assert Case.objects.filter(request=request).count() == 1
    read = client.get(f"/api/v1/requests/{request.ref}/").json()
    assert (read["state"], read["reason"]) == ("blocked", "policy")


def test_reporting_needs_its_scope_and_others_requests_another(company, api):
    from tests.factories import AgentFactory

    request = ask_for_payment(company)
    url = f"/api/v1/requests/{request.ref}/violations/"
    other = AgentFactory()

    assert (
        api(company.agent, scopes=["read"]).post(url, {"reason": "x"}, format="json").status_code
        == 403
    )
    assert (
        api(other, scopes=["violations"]).post(url, {"reason": "x"}, format="json").status_code
        == 404
    )
    taken = api(other, scopes=["violations:any"]).post(url, {"reason": "x"}, format="json")
    assert (taken.status_code, taken.json()["state"]) == (202, None)
    assert again(request).state == "blocked"


@pytest.mark.parametrize(
    "body", [{}, {"reason": ""}, {"check": "no-such"}, {"reason": 1}, {"note": "x"}, ["x"]]
)
def test_a_report_that_says_nothing_is_not_one(company, api, body):
    request = ask_for_payment(company)
    client = api(company.agent, scopes=["violations"])

    answer = client.post(f"/api/v1/requests/{request.ref}/violations/", body, format="json")

    assert answer.status_code == 422
    assert again(request).state == "pending"


def test_verdicts_are_given_over_the_api(blocked, see, compliance):
    url = f"/api/v1/requests/{blocked.ref}/decisions/"
    body = {"verdict": "waive", "digest": blocked.digest, "note": "Known."}

    first = see(compliance[0]).post(url, body, content_type="application/json")
    assert (first.status_code, first.json()["state"]) == (200, "blocked")
    second = see(compliance[1]).post(url, body, content_type="application/json")
    assert (second.status_code, second.json()["state"]) == (200, "pending")
    assert second.json()["cases"][0]["outcome"] == "waived"
    given = [each["verdict"] for step in second.json()["steps"] for each in step["decisions"]]
    assert given == ["waive", "waive"]


# --- The bench -------------------------------------------------------------------------------------


def tried(client, request, expression):
    return client.post(reverse("approvals:bench"), {"ref": request.ref, "expression": expression})


def test_the_bench_shows_what_an_expression_comes_to_and_what_it_looked_at(
    company, see, compliance
):
    company.vendor_payment.connector_config = {
        "facts": {"limit": {"record": "limits", "pointer": "/limit"}}
    }
    company.vendor_payment.save()
    request = ask_for_payment(company)
    RecordReadFactory(request=request, record="limits", state={"limit": 100})
    client = see(compliance[0])

    page = tried(client, request, "payload.amount.minor == 1200000 && facts.limit == 100")
    assert page.status_code == 200
    text = page.content.decode()
    assert "It holds." in text
    assert "$12,000.00" in text
    assert "facts.limit" in text
    assert "It does not hold." in tried(client, request, "request.minor < 1").content.decode()
    assert "It failed" in tried(client, request, "payload.nothing == 1").content.decode()
    unknown = tried(client, request, "facts.unheard == 1 || true").content.decode()
    assert "A fact is not known" in unknown
    assert again(request).state == "pending"


def test_the_bench_refuses_what_could_not_be_saved(company, see, compliance):
    request = ask_for_payment(company)

    page = tried(see(compliance[0]), request, "payload.a.all(x, payload.a.all(y, x == y))")

    assert page.status_code == 422
    assert "A loop within a loop" in page.content.decode()


def test_the_bench_is_for_compliance_and_policy_administrators(company, see, compliance):
    request = ask_for_payment(company)
    admin = PersonFactory()
    admin.roles.add(RoleFactory(key="policy_admin"))

    assert see(admin).get(reverse("approvals:bench")).status_code == 200
    assert tried(see(company.finance_manager), request, "true").status_code == 403
    assert see(company.finance_manager).get(reverse("approvals:bench")).status_code == 403
