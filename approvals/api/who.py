"""Who would get this, over the API: the same answer as `manage.py who_decides` and the page."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from approvals.api.permissions import IsPerson
from approvals.api.shapes import Problem
from approvals.api.views import Api
from approvals.selectors import SEES_ALL
from approvals.services.submission import Malformed
from governance import clock
from governance.errors import NotYours
from governance.models import Person
from governance.vocabulary import ExceptionType, Impact, Level, Path, Severity
from governance.vocabulary import Response as Responses
from governance.who_decides import document, who_decides

PROBLEM = OpenApiResponse(Problem, description="A problem document (RFC 9457).")


class Asked(serializers.Serializer[Any]):
    """A request that nobody has made."""

    action = serializers.CharField(max_length=60)
    department = serializers.CharField(max_length=60)
    amount = serializers.DecimalField(
        max_digits=20, decimal_places=4, min_value=Decimal(0), required=False
    )
    currency = serializers.CharField(max_length=3, required=False)
    at = serializers.DateTimeField(required=False)
    exception = serializers.ChoiceField(ExceptionType.choices, required=False)
    severity = serializers.ChoiceField(Severity.choices, required=False)
    impact = serializers.ChoiceField(Impact.choices, required=False)
    agent = serializers.CharField(max_length=60, required=False)
    on_behalf_of = serializers.CharField(max_length=150, required=False)
    resource = serializers.CharField(max_length=300, required=False)
    policy_version = serializers.IntegerField(min_value=1, max_value=2**31 - 1, required=False)


class WouldBeAsked(serializers.Serializer[Any]):
    person = serializers.CharField()
    name = serializers.CharField()
    reason = serializers.CharField()
    reachable = serializers.BooleanField()


class WouldBePassedOver(serializers.Serializer[Any]):
    person = serializers.CharField()
    name = serializers.CharField()
    reason = serializers.CharField()
    code = serializers.CharField()


class RungAhead(serializers.Serializer[Any]):
    path = serializers.ChoiceField(Path.choices)
    level = serializers.ChoiceField(Level.choices)
    opens_at = serializers.DateTimeField()
    due_at = serializers.DateTimeField(allow_null=True)
    automatic = serializers.BooleanField()
    needed = serializers.IntegerField()
    asked = WouldBeAsked(many=True)
    passed_over = WouldBePassedOver(many=True)


class WhoDecidesShape(serializers.Serializer[Any]):
    policy_version = serializers.IntegerField()
    matrix_row = serializers.IntegerField()
    action = serializers.CharField()
    department = serializers.CharField()
    amount = serializers.CharField(allow_null=True)
    currency = serializers.CharField(allow_blank=True)
    severity = serializers.ChoiceField(Severity.choices)
    impact = serializers.ChoiceField(Impact.choices)
    path = serializers.ChoiceField(Path.choices)
    response = serializers.ChoiceField(Responses.choices)
    at = serializers.DateTimeField()
    rungs = RungAhead(many=True)
    ends_at = serializers.DateTimeField()
    ends = serializers.CharField()
    stalls = serializers.BooleanField()


class WhoDecides(Api):
    permission_classes = [IsPerson]

    @extend_schema(
        operation_id="who_decides",
        parameters=[Asked],
        responses={
            200: WhoDecidesShape, 400: PROBLEM, 401: PROBLEM, 403: PROBLEM, 404: PROBLEM, 422: PROBLEM,
        },
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        """Say who would be asked about such a request, rung by rung, and why not others.

        For operators, auditors, compliance and policy administrators: it tells of absences and limits.
        """
        caller: object = request.user
        if not isinstance(caller, Person) or not (
            caller.is_superuser or caller.has_duty(*SEES_ALL)
        ):
            raise NotYours("This is for operators, auditors, compliance and policy administrators.")
        given = _given(request)
        at: datetime = given.pop("at", None) or clock.now()
        version = given.pop("policy_version", None)
        for key, choice in (
            ("exception", ExceptionType),
            ("severity", Severity),
            ("impact", Impact),
        ):
            if key in given:
                given[key] = choice(given[key])
        return Response(document(who_decides(**given, at=at, version=version)))


def _given(request: Request) -> dict[str, Any]:
    """Return the query's parameters. Raises Malformed, naming each at fault."""
    sent = request.query_params
    errors = {str(key)[:60]: "Say it once." for key, said in sent.lists() if len(said) > 1}
    errors |= {str(key)[:60]: "Unknown." for key in sent.keys() - Asked().fields.keys()}
    form = Asked(data={key: value for key, value in sent.items() if value != ""})
    if not form.is_valid():
        errors |= {key: " ".join(map(str, found)) for key, found in form.errors.items()}
    if sent.get("amount") and not sent.get("currency"):
        errors["currency"] = "Say it beside the amount."
    if errors:
        raise Malformed("Mend these parameters and ask again.", errors=errors)
    return dict(form.validated_data)
