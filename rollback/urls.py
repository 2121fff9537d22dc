"""The panel on a request's page, and what is ordered there."""

from __future__ import annotations

from django.urls import path

from rollback import hand_views, views

app_name = "rollback"
urlpatterns = [
    path("requests/<str:ref>/execution/", views.execution, name="panel"),
    path("requests/<str:ref>/by-hand/", hand_views.by_hand_page, name="by-hand"),
    path("requests/<str:ref>/rollback/", views.rollback_order, name="order"),
]
