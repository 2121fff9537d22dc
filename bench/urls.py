"""The product's addresses and the floor's."""

from __future__ import annotations

from django.urls import include, path

from bench.floor_view import Floor

urlpatterns = [path("bench/floor/", Floor.as_view()), path("", include("governance.urls"))]
handler500 = "approvals.api.problems.server_error"
