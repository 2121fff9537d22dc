"""Who may call an endpoint. Every view names one of these; the default lets nobody in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from approvals.api.authentication import Caller
from governance.models import Person

if TYPE_CHECKING:  # DRF loads this module while it loads its views
    from rest_framework.views import APIView


class Nobody(BasePermission):
    """The default, so that a view without a permission is closed."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return False


class IsAgent(BasePermission):
    def has_permission(self, request: Request, view: APIView) -> bool:
        return isinstance(request.user, Caller)


class IsPerson(BasePermission):
    def has_permission(self, request: Request, view: APIView) -> bool:
        return isinstance(request.user, Person) and request.user.is_active


class IsAgentOrPerson(BasePermission):
    def has_permission(self, request: Request, view: APIView) -> bool:
        return IsAgent().has_permission(request, view) or IsPerson().has_permission(request, view)
