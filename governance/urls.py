"""Every URL of the product. The other packages are named as strings, so that nothing here imports upwards."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("accounts/", include("allauth.urls")),
    path("admin/", admin.site.urls),
    path("", include("governance.pages")),
    path("", include("approvals.urls")),
    path("api/", include("approvals.api.urls")),
]
handler500 = "approvals.api.problems.server_error"
