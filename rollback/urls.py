"""The panel on a request's page, and what is ordered there."""

from __future__ import annotations

from django.urls import path

from rollback import views

app_name = "rollback"
urlpatterns = [
    path("requests/<str:ref>/execution/", views.execution, name="panel"),
    path("requests/<str:ref>/rollback/", views.rollback_order, name="order"),
]
