"""Endpoints for agents and people. Same services as the pages; only the wire differs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.cache import cache
from django.db.models import QuerySet
from django.urls import reverse
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import exceptions, status
from rest_framework.authentication import SessionAuthentication
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from approvals import selectors
from approvals.api import shapes
from approvals.api.authentication import Caller, NotAuthenticated
from approvals.api.permissions import IsAgent, IsAgentOrPerson, IsPerson
from approvals.models import ActionRequest, Decision
from approvals.services import mending
from approvals.services.close import withdraw
from approvals.services.compliance import VERDICTS, rule_on_violation
from approvals.services.decide import decide
from approvals.services.orders import order_rollback
from approvals.services.questions import answer_question, ask_agent
from approvals.services.ruling import rule
from approvals.services.submission import Malformed
from approvals.services.submit import NotAllowed, record_refusal, submit
from approvals.services.violations import Became, report
from approvals.views.edge import read_number
from governance import actors, clock, logs, wording
from governance.errors import NotFound, NotYours, Refused
from governance.models import ActionType, Person
from governance.stepup import Presence, presence_of
from governance.vocabulary import Scope, Verdict

KEY_MAX = 2**63 - 1
REFUSED_CALLS_A_MINUTE = 60  # kept in the record, from one address without a credential

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    required=True,
    description="1 to 200 visible ASCII characters.",
)
PROBLEM = OpenApiResponse(shapes.Problem, description="A problem document (RFC 9457).")


class TooManyRefusals(Refused):
    """An address without a credential knocks too often."""

    status, problem, title = 429, "too-many-refusals", "Too many calls without a valid credential"


class Api(APIView):
    """What all endpoints share: writes that are refused leave an event."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if any("\0" in str(part) for part in kwargs.values()):
            # PostgreSQL cannot even be asked for one.
            raise NotFound("There is nothing at this address.")

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, exceptions.NotAuthenticated):
            exc = NotAuthenticated("Send Authorization: Bearer with a credential that is in force.")
        elif isinstance(exc, exceptions.PermissionDenied):
            exc = NotYours("This is not for you: " + str(exc.detail))
        if isinstance(exc, Refused) and self.request.method == "POST":
            exc = self._keep(exc)
        return super().handle_exception(exc)

    def _keep(self, refusal: Refused) -> Refused:
        """Record a refused write; past a limit, for callers who are nobody, count it instead."""
        now = clock.now()
        if isinstance(refusal, NotAuthenticated):
            address = str(self.request.META.get("REMOTE_ADDR", ""))
            key = f"refused:{address}:{now:%H%M}"
            cache.add(key, 0, timeout=60)
            if cache.incr(key) > REFUSED_CALLS_A_MINUTE:
                return TooManyRefusals("Wait a minute.")
            actor = f"agent:{refusal.agent}" if refusal.agent else "anonymous"
        else:
            actor = _actor(self.request.user)
        facts = {"path": wording.plain(self.request.path, 200)}
        record_refusal(actor=actor, refusal=refusal, facts=facts, now=now)
        return refusal


def _actor(caller: object) -> str:
    if isinstance(caller, Caller):
        return actors.agent(caller.credential.agent)
    return actors.person(caller) if isinstance(caller, Person) else "anonymous"


class Newest(CursorPagination):
    """Newest first, by a cursor that stays right while rows are added."""

    ordering = "-id"
    page_size = 50
    page_size_query_param = "limit"
    max_page_size = 200

    def decode_cursor(self, request: Request) -> Cursor | None:
        """Return the cursor sent, if one was. Raises NotFound for one that we never gave."""
        cursor: Cursor | None = super().decode_cursor(request)
        if (
            cursor is not None
            and cursor.position is not None
            and read_number(str(cursor.position)) is None
        ):
            raise exceptions.NotFound(self.invalid_cursor_message)
        return cursor


class RequestList(Api):
    """Submit a request, or list those the caller may see."""

    def get_permissions(self) -> list[Any]:
        return [IsAgent() if self.request.method == "POST" else IsAgentOrPerson()]

    @extend_schema(
        operation_id="request_list",
        parameters=[
            OpenApiParameter("state", str, description="Only requests in this state."),
            OpenApiParameter("cursor", str),
            OpenApiParameter("limit", int, description="1 to 200, 50 by default."),
        ],
        responses={200: shapes.RequestPage, 401: PROBLEM},
    )
    def get(self, request: Request) -> Response:
        """List requests, newest first: an agent's own, or those a person may see."""
        rows = _visible(request)
        state = request.query_params.get("state")
        if state:
            if state not in ActionRequest.State.values:
                raise Malformed(
                    f"There is no state {state[:40]!r}.", allowed=ActionRequest.State.values
                )
            rows = rows.filter(state=state)
        pages = Newest()
        page: list[ActionRequest] = pages.paginate_queryset(rows, request, view=self) or []
        return pages.get_paginated_response([shapes.row(each) for each in page])

    @extend_schema(
        operation_id="request_submit",
        parameters=[IDEMPOTENCY_KEY],
        request=shapes.Submission,
        responses={
            201: shapes.Accepted, 200: shapes.Accepted, 401: PROBLEM, 403: PROBLEM, 409: PROBLEM,
            413: PROBLEM, 422: PROBLEM,
        },
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        """Ask leave to act. 201 the first time a key is seen, 200 for every repeat."""
        caller = _agent(request)
        taken, created = submit(
            credential=caller.credential,
            policy=caller.policy,
            idempotency_key=request.headers.get("Idempotency-Key", ""),
            body=request.data,
            now=clock.now(),
        )
        logs.now_about(taken.ref)
        code = status.HTTP_201_CREATED if created else status.HTTP_200_OK
        url = request.build_absolute_uri(reverse("approvals-api:request-detail", args=[taken.ref]))
        return Response(shapes.accepted(taken, url), status=code, headers={"Location": url})


class RequestDetail(Api):
    permission_classes = [IsAgentOrPerson]

    @extend_schema(
        operation_id="request_read",
        responses={200: OpenApiResponse(shapes.RequestForPeople), 401: PROBLEM, 404: PROBLEM},
    )
    def get(self, request: Request, ref: str) -> Response:
        """Read one request: the whole story for people, its state and what is wanted of it for its agent."""
        caller: object = request.user
        seen = _visible(request)
        if isinstance(caller, Caller):
            seen = seen.select_related(
                "action_type", "agent", "department", "on_behalf_of", "resource"
            )
        found = seen.filter(ref=ref).first()
        if found is None:
            raise NotFound(f"There is no request {ref[:20]}, or you may not see it.")
        if isinstance(caller, Caller):
            return Response(shapes.for_agent(found))
        return Response(shapes.for_people(found))


class RequestWithdraw(Api):
    permission_classes = [IsAgent]

    @extend_schema(
        operation_id="request_withdraw",
        request=None,
        responses={200: shapes.RequestForAgent, 401: PROBLEM, 404: PROBLEM, 409: PROBLEM},
    )
    def post(self, request: Request, ref: str) -> Response:
        """Take back one's own request before anything was done. Again is the same as once."""
        caller = _agent(request)
        if Scope.WITHDRAW not in caller.credential.scopes:
            raise NotAllowed("This credential may not withdraw: it lacks the scope withdraw.")
        withdrawn = withdraw(ref=ref, agent=caller.credential.agent, now=clock.now())
        return Response(shapes.for_agent(withdrawn))


class RequestDecisions(Api):
    permission_classes = [IsPerson]

    @extend_schema(
        operation_id="request_decide",
        request=shapes.Verdict,
        responses={
            200: shapes.RequestForPeople,
            401: PROBLEM,
            403: PROBLEM,
            409: PROBLEM,
            422: PROBLEM,
        },
    )
    def post(self, request: Request, ref: str) -> Response:
        """Answer the step that waits on the caller, naming the digest they saw."""
        person = _person(request)
        given = shapes.verdict(request.data)
        call: Callable[..., ActionRequest] = decide
        if given["verdict"] == Verdict.RULE:
            del given["verdict"]
            call = rule
        elif given["verdict"] in mending.ANSWERS:
            call = mending.mend
        elif given["verdict"] in VERDICTS:
            given.pop("severity", None)  # a violation's was fixed when its case opened
            call = rule_on_violation
        if call is not rule_on_violation:
            given["presence"] = _presence(request, ref)
        call(ref=ref, actor=person, now=clock.now(), via=Decision.Via.API, **given)
        decided = selectors.visible_to(person).get(ref=ref)
        return Response(shapes.for_people(decided))


class RequestViolations(Api):
    permission_classes = [IsAgentOrPerson]

    @extend_schema(
        operation_id="request_report_violation",
        request=shapes.Report,
        responses={
            202: shapes.ReportedShape, 200: shapes.ReportedShape, 401: PROBLEM, 403: PROBLEM,
            404: PROBLEM, 422: PROBLEM,
        },
    )  # fmt: skip
    def post(self, request: Request, ref: str) -> Response:
        """Report that a request breaks a rule: 202 where it is stopped or looked at, 200 where nothing changes."""
        caller: object = request.user
        check, text = shapes.report(request.data)
        if isinstance(caller, Caller):
            scopes = caller.credential.scopes
            if Scope.VIOLATIONS not in scopes and Scope.VIOLATIONS_ANY not in scopes:
                raise NotAllowed(
                    "This credential may not report violations: it lacks the scope violations."
                )
            agent = caller.credential.agent
            answer = report(
                ref=ref,
                by=agent,
                any_request=Scope.VIOLATIONS_ANY in scopes,
                now=clock.now(),
                check=check,
                text=text,
            )
            own = answer.request.agent_id == agent.pk
        else:
            answer, own = (
                report(ref=ref, by=_person(request), now=clock.now(), check=check, text=text),
                True,
            )
        new = answer.became in (Became.BLOCKED, Became.STOPPING, Became.REVIEW)
        code = status.HTTP_202_ACCEPTED if new else status.HTTP_200_OK
        return Response(shapes.reported(answer, own=own), status=code)


class RequestRollback(Api):
    permission_classes = [IsPerson]

    @extend_schema(
        operation_id="request_roll_back",
        request=shapes.Reason,
        responses={
            202: shapes.RollbackShape,
            200: shapes.RollbackShape,
            401: PROBLEM,
            403: PROBLEM,
            404: PROBLEM,
            409: PROBLEM,
            422: PROBLEM,
        },
    )
    def post(self, request: Request, ref: str) -> Response:
        """Order that it be undone (202), or confirm somebody else's order (200). Again is the same as once."""
        reason = shapes.reason(request.data)
        found = order_rollback(ref=ref, actor=_person(request), reason=reason, now=clock.now())
        code = status.HTTP_202_ACCEPTED if found.accepted else status.HTTP_200_OK
        return Response(shapes.ordered(found), status=code)


class RequestQuestions(Api):
    permission_classes = [IsPerson]

    @extend_schema(
        operation_id="request_ask",
        request=shapes.Text,
        responses={
            201: shapes.QuestionShape,
            401: PROBLEM,
            403: PROBLEM,
            404: PROBLEM,
            409: PROBLEM,
            422: PROBLEM,
        },
    )
    def post(self, request: Request, ref: str) -> Response:
        """Ask the agent something, from the step that waits on the caller. It stops no clock."""
        text = shapes.text(request.data)
        asked = ask_agent(ref=ref, actor=_person(request), text=text, now=clock.now())
        return Response(shapes.question(asked), status=status.HTTP_201_CREATED)


class QuestionAnswer(Api):
    permission_classes = [IsAgent]

    @extend_schema(
        operation_id="question_answer",
        request=shapes.Text,
        responses={
            200: shapes.RequestForAgent,
            401: PROBLEM,
            403: PROBLEM,
            404: PROBLEM,
            409: PROBLEM,
            422: PROBLEM,
        },
    )
    def post(self, request: Request, ref: str, question: int) -> Response:
        """Answer a question about one's own request, once. The same again is the same as once."""
        credential = _agent(request).credential
        if Scope.SUBMIT not in credential.scopes:
            raise NotAllowed("This credential may not answer: it lacks the scope submit.")
        if question > KEY_MAX:
            raise NotFound("There is no such question.")
        answered = answer_question(
            ref=ref,
            question=question,
            agent=credential.agent,
            text=shapes.text(request.data),
            now=clock.now(),
        )
        return Response(shapes.for_agent(answered))


class ActionList(Api):
    permission_classes = [IsAgentOrPerson]

    @extend_schema(
        operation_id="action_list", responses={200: shapes.ActionShape(many=True), 401: PROBLEM}
    )
    def get(self, request: Request) -> Response:
        """List the actions in production: those an agent's credential covers, or all for people."""
        return Response({"results": [shapes.action(each) for each in _actions(request)]})


class ActionDetail(Api):
    permission_classes = [IsAgentOrPerson]

    @extend_schema(
        operation_id="action_read", responses={200: shapes.ActionShape, 401: PROBLEM, 404: PROBLEM}
    )
    def get(self, request: Request, key: str) -> Response:
        """Read one action: its schema, and a body that is valid."""
        for each in _actions(request):
            if each.key == key:
                return Response(shapes.action(each))
        raise NotFound(f"There is no action {key[:60]}, or this credential does not cover it.")


class Nowhere(Api):
    """What answers for an address under /api/ that does not exist."""

    permission_classes = [IsAgentOrPerson]

    @extend_schema(exclude=True)
    def get(self, request: Request, rest: str = "") -> Response:
        raise NotFound("There is no such endpoint. See /api/schema/.")

    post = put = patch = delete = get


def _agent(request: Request) -> Caller:
    """Return the calling agent; the view's permission let nobody else in."""
    caller: object = request.user
    if not isinstance(caller, Caller):
        raise NotYours("This is for agents.")
    return caller


def _person(request: Request) -> Person:
    """Return the calling person; the view's permission let nobody else in."""
    caller: object = request.user
    if not isinstance(caller, Person):
        raise NotYours("This is for people.")
    return caller


def _presence(request: Request, ref: str) -> Presence | None:
    """Return the second factor given for this request in the caller's session. A token has none to give."""
    by_session = isinstance(request.successful_authenticator, SessionAuthentication)
    return presence_of(request._request, matter=ref) if by_session else None


def _visible(request: Request) -> QuerySet[ActionRequest]:
    caller: object = request.user
    if isinstance(caller, Caller):
        credential = caller.credential
        if Scope.READ not in credential.scopes:
            raise NotAllowed("This credential may not read: it lacks the scope read.")
        own: QuerySet[ActionRequest] = ActionRequest.objects.filter(agent=credential.agent)
        return own.select_related("action_type")
    return selectors.visible_to(_person(request))


def _actions(request: Request) -> list[ActionType]:
    rows = ActionType.objects.filter(state=ActionType.State.PRODUCTION).order_by("key")
    caller: object = request.user
    if isinstance(caller, Caller):
        rows = rows.filter(key__in=caller.credential.actions)
    return list(rows)
