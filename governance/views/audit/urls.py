"""The addresses of the record."""

from __future__ import annotations

from django.urls import path

from governance.views.audit import pages

urlpatterns = [
    path("", pages.audit, name="audit"),
    path("export/", pages.export, name="audit-export"),
    path("verify/", pages.verify, name="audit-verify"),
]
