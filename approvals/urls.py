"""The pages of approvers and operators."""

from __future__ import annotations

from django.urls import path

from approvals.views import (
    bench,
    evidence,
    findings,
    inbox,
    notices,
    open,
    request,
    reviews,
    several,
    step_up,
    violation,
)

app_name = "approvals"
urlpatterns = [
    path("inbox/", inbox.inbox, name="inbox"),
    path("inbox/several/", several.inbox_several, name="inbox-several"),
    path("inbox/seen/", notices.notices_seen, name="notices-seen"),
    path("inbox/peek/<str:ref>/", inbox.peek, name="peek"),
    path("requests/", open.open_requests, name="open"),
    path("requests/<str:ref>/", request.request_page, name="request"),
    path("requests/<str:ref>/decide/", request.request_decide, name="request-decide"),
    path("requests/<str:ref>/hand-over/", request.request_hand_over, name="request-hand-over"),
    path("requests/<str:ref>/ask/", request.request_ask, name="request-ask"),
    path("requests/<str:ref>/rule/", request.request_rule, name="request-rule"),
    path("requests/<str:ref>/step-up/", step_up.request_step_up, name="request-step-up"),
    path("requests/<str:ref>/mend/", request.request_mend, name="request-mend"),
    path("requests/<str:ref>/comply/", violation.request_comply, name="request-comply"),
    path("requests/<str:ref>/report/", violation.request_report, name="request-report"),
    path("policy/bench/", bench.bench, name="bench"),
    path("requests/<str:ref>/seen/", request.request_seen, name="request-seen"),
    path("requests/<str:ref>/spot-check/", reviews.spot_check_open, name="spot-check-open"),
    path("requests/<str:ref>/evidence/", evidence.request_evidence, name="request-evidence"),
    path("reviews/", reviews.review_queue, name="reviews"),
    path("reviews/<int:pk>/", reviews.review_page, name="review"),
    path("reviews/<int:pk>/find/", reviews.review_find, name="review-find"),
    path("reviews/<int:pk>/confirm/", reviews.review_confirm, name="review-confirm"),
    path("reviews/<int:pk>/settle/", reviews.review_settle, name="review-settle"),
    path("reviews/<int:pk>/settled/", reviews.review_settled, name="review-settled"),
    path("findings/", findings.findings, name="findings"),
    path(
        "findings/messages/<int:pk>/again/", findings.message_send_again, name="message-send-again"
    ),
    path("findings/messages/<int:pk>/aside/", findings.message_put_aside, name="message-put-aside"),
    path("findings/tasks/<slug:task>/again/", findings.task_run_again, name="task-run-again"),
    path("findings/tasks/<slug:task>/aside/", findings.task_put_aside, name="task-put-aside"),
    path("reviews/<int:pk>/evidence/", evidence.review_evidence, name="review-evidence"),
    path("alerts/<int:pk>/acknowledge/", notices.alert_acknowledge, name="alert-acknowledge"),
]
