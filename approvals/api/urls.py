from __future__ import annotations

from django.urls import path, re_path
from drf_spectacular.views import SpectacularAPIView

from approvals.api import (
    metrics,
    openapi,  # noqa: F401 - the schema finds it once it is loaded
    views,
    who,
)

app_name = "approvals-api"
urlpatterns = [
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    path("v1/requests/", views.RequestList.as_view(), name="request-list"),
    path("v1/requests/<str:ref>/", views.RequestDetail.as_view(), name="request-detail"),
    path(
        "v1/requests/<str:ref>/withdraw/", views.RequestWithdraw.as_view(), name="request-withdraw"
    ),
    path(
        "v1/requests/<str:ref>/decisions/", views.RequestDecisions.as_view(), name="request-decide"
    ),
    path(
        "v1/requests/<str:ref>/rollback/", views.RequestRollback.as_view(), name="request-rollback"
    ),
    path("v1/requests/<str:ref>/questions/", views.RequestQuestions.as_view(), name="request-ask"),
    path(
        "v1/requests/<str:ref>/questions/<int:question>/answer/",
        views.QuestionAnswer.as_view(),
        name="question-answer",
    ),
    path(
        "v1/requests/<str:ref>/violations/",
        views.RequestViolations.as_view(),
        name="request-violations",
    ),
    path("v1/actions/", views.ActionList.as_view(), name="action-list"),
    path("v1/actions/<str:key>/", views.ActionDetail.as_view(), name="action-detail"),
    path("v1/metrics/", metrics.Metrics.as_view(), name="metrics"),
    path("v1/who-decides/", who.WhoDecides.as_view(), name="who-decides"),
    re_path(r"^(?P<rest>.*)$", views.Nowhere.as_view(), name="nowhere"),
]
