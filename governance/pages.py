"""The pages of this package: the way in, and the answers for machines."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.urls import include, path
from django.views.generic import RedirectView

from governance import health, prometheus
from governance.views import metrics

app_name = "governance"
urlpatterns = [
    # The inbox asks for the log-in, so that the address to return to is the inbox.
    path("", login_not_required(RedirectView.as_view(url="/inbox/")), name="home"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("status", health.status, name="status"),
    path("metrics/", metrics.metrics, name="metrics"),
    path("metrics/prometheus", prometheus.prometheus, name="prometheus"),
    path("metrics/report/", metrics.report, name="metrics-report"),
    path("metrics/weeks.csv", metrics.weeks_file, name="metrics-weeks"),
    path("metrics/cases.csv", metrics.cases_file, name="metrics-cases"),
    path("policy/", include("governance.views.policy.urls")),
    path("audit/", include("governance.views.audit.urls")),
    path("", include("governance.views.people.urls")),
]
