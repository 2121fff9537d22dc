"""The panel on a request's page, what is ordered there, and the catalogue."""

from __future__ import annotations

from django.urls import include, path

from rollback import hand_views, stray_views, views

app_name = "rollback"
urlpatterns = [
    path("requests/<str:ref>/execution/", views.execution, name="panel"),
    path("requests/<str:ref>/by-hand/", hand_views.by_hand_page, name="by-hand"),
    path("requests/<str:ref>/rollback/", views.rollback_order, name="order"),
    path("findings/effects/", stray_views.strays, name="strays"),
    path("findings/effects/<int:pk>/", stray_views.settle, name="stray-settle"),
    # Last: what stands under /actions/ besides it is more exact than a key and a number.
    path("actions/", include("rollback.catalogue.urls")),
]
