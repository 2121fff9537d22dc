"""The API of this package, beside that of `approvals`."""

from __future__ import annotations

from django.urls import path

from rollback import api

app_name = "rollback-api"
urlpatterns = [
    path("v1/requests/<str:ref>/by-hand/", api.RequestByHand.as_view(), name="by-hand"),
]
