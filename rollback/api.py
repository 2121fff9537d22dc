"""What somebody has in hand, over the API: the list of its units, and what they say of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from approvals import selectors, undoing
from approvals.api.permissions import IsPerson
from approvals.api.shapes import Problem
from approvals.api.views import Api
from approvals.models import ActionRequest, Claim
from approvals.services.submission import Malformed
from governance import clock
from governance.errors import NotFound, NotYours
from governance.models import Person
from rollback.services import by_hand

PROBLEM = OpenApiResponse(Problem, description="A problem document (RFC 9457).")
FIELDS = {
    "note": {"units"},
    "finish": {"units", "target_reference", "note"},
    "confirm": set(),
    "give_back": {"note"},
}
TEXTS = {"act", "shown", "target_reference", "note"}


class Unit(serializers.Serializer[Any]):
    n = serializers.IntegerField()
    state = serializers.ChoiceField(Claim.Said.choices)
    reference = serializers.CharField(required=False, allow_blank=True, max_length=200)


class ByHand(serializers.Serializer[Any]):
    """What its person says, or what a second person does. `shown` names what they saw."""

    act = serializers.ChoiceField(list(FIELDS))
    shown = serializers.CharField(required=False)
    units = Unit(many=True, required=False)
    target_reference = serializers.CharField(required=False, max_length=200)
    note = serializers.CharField(required=False, allow_blank=True, max_length=4000)


class Listed(Unit):
    name = serializers.CharField()
    recorded = serializers.ChoiceField(Claim.Said.choices)


class InHand(serializers.Serializer[Any]):
    ref = serializers.CharField()
    state = serializers.ChoiceField(ActionRequest.State.choices)
    person = serializers.CharField(allow_null=True)
    claimed_at = serializers.DateTimeField(allow_null=True)
    asked_first_until = serializers.DateTimeField(allow_null=True)
    units = Listed(many=True)
    target_reference = serializers.CharField(allow_blank=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    shown = serializers.CharField(allow_blank=True)


class RequestByHand(Api):
    permission_classes = [IsPerson]

    @extend_schema(
        operation_id="request_by_hand_read", responses={200: InHand, 401: PROBLEM, 404: PROBLEM}
    )
    def get(self, request: Request, ref: str) -> Response:
        """Read who has it in hand, and what is said of each unit."""
        return Response(_document(_found(request, ref)))

    @extend_schema(
        operation_id="request_by_hand",
        request=ByHand,
        responses={
            200: InHand, 401: PROBLEM, 403: PROBLEM, 404: PROBLEM, 409: PROBLEM, 422: PROBLEM,
        },
    )  # fmt: skip
    def post(self, request: Request, ref: str) -> Response:
        """Say what became of the units, finish it, confirm it as the second person, or give it back."""
        found, given = _found(request, ref), _body(request.data)
        common: dict[str, Any] = {
            "ref": found.ref,
            "actor": _person(request),
            "now": clock.now(),
        }
        said = {"said": given.get("units", []), "shown": given.get("shown", "")}
        words = given.get("note", "")
        calls: dict[str, Callable[[], Claim]] = {
            "note": lambda: by_hand.note(**common, **said),
            "finish": lambda: by_hand.settle(
                **common, **said, reference=given.get("target_reference", ""), words=words
            ),
            "confirm": lambda: by_hand.confirm(**common, shown=said["shown"]),
            "give_back": lambda: by_hand.give_back(**common, words=words),
        }
        calls[given["act"]]()
        return Response(_document(_found(request, ref)))


def _person(request: Request) -> Person:
    caller: object = request.user
    if not isinstance(caller, Person):
        raise NotYours("This is for people.")
    return caller


def _found(request: Request, ref: str) -> ActionRequest:
    found = selectors.visible_to(_person(request)).filter(ref=ref).first()
    if found is None:
        raise NotFound(f"There is no request {ref[:20]}, or you may not see it.")
    return found


def _document(request: ActionRequest) -> dict[str, Any]:
    claim = undoing.open_claim(request)
    items = by_hand.items_of(request, claim) if claim is not None else []
    return {
        "ref": request.ref,
        "state": request.state,
        "person": claim.person.username if claim else None,
        "claimed_at": claim.claimed_at if claim else None,
        "asked_first_until": by_hand.asked_first_until(request, clock.now()),
        "units": [item._asdict() for item in items],
        "target_reference": claim.target_reference if claim else "",
        "finished_at": claim.finished_at if claim else None,
        "shown": by_hand.stamp_of(claim, items) if claim else "",
    }


def _body(body: object) -> dict[str, Any]:
    """Return what was sent. Raises Malformed, naming every field at fault."""
    if not isinstance(body, dict):
        raise Malformed("The body is not a JSON object.")
    act = body.get("act")
    if not isinstance(act, str) or act not in FIELDS:
        errors = {"act": f"One of {', '.join(FIELDS)}."}
        raise Malformed("Mend these fields and send it again.", errors=errors)
    known = FIELDS[act] | {"act", "shown"}
    errors = {str(name)[:60]: "Unknown field." for name in body.keys() - known}
    errors |= {
        name: "Text." for name in TEXTS & body.keys() & known if not isinstance(body[name], str)
    }
    rows = body.get("units", [])
    if "units" in known and not (isinstance(rows, list) and all(_is_unit(row) for row in rows)):
        errors["units"] = "A list of units: n, state, reference."
    if errors:
        raise Malformed("Mend these fields and send it again.", errors=errors)
    return body


def _is_unit(row: object) -> bool:
    return (
        isinstance(row, dict)
        and row.keys() <= {"n", "state", "reference"}
        and type(row.get("n")) is int  # true is an int as well
        and isinstance(row.get("state"), str)
        and isinstance(row.get("reference", ""), str)
    )
