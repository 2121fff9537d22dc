"""The pages of approvers and operators."""

from __future__ import annotations

from django.urls import path

from approvals.views import inbox, notices, open, request, step_up

app_name = "approvals"
urlpatterns = [
    path("inbox/", inbox.inbox, name="inbox"),
    path("inbox/seen/", notices.notices_seen, name="notices-seen"),
    path("inbox/peek/<str:ref>/", inbox.peek, name="peek"),
    path("requests/", open.open_requests, name="open"),
    path("requests/<str:ref>/", request.request_page, name="request"),
    path("requests/<str:ref>/decide/", request.request_decide, name="request-decide"),
    path("requests/<str:ref>/hand-over/", request.request_hand_over, name="request-hand-over"),
    path("requests/<str:ref>/rule/", request.request_rule, name="request-rule"),
    path("requests/<str:ref>/step-up/", step_up.request_step_up, name="request-step-up"),
    path("requests/<str:ref>/seen/", request.request_seen, name="request-seen"),
    path("alerts/<int:pk>/acknowledge/", notices.alert_acknowledge, name="alert-acknowledge"),
]
