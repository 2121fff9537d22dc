"""Where the catalogue's pages are. What begins with a word of ours comes first: no key is one of them."""

from __future__ import annotations

from django.urls import path

from rollback.catalogue import drills, entering, moving, trying, views

urlpatterns = [
    path("", views.actions, name="actions"),
    path("enter/", entering.enter, name="action-enter"),
    path("changes/<int:pk>/end/", moving.end, name="action-change-end"),
    path("changes/<int:pk>/confirm/", moving.confirm, name="action-change-confirm"),
    path("drills/<int:pk>/", drills.drill, name="drill"),
    path("<str:key>/", views.action, name="action"),
    path("<str:key>/drills/", drills.drills, name="drills"),
    path("<str:key>/drills/now/", drills.drill_now, name="drill-now"),
    path("<str:key>/<int:version>/", views.action_version, name="action-version"),
    path("<str:key>/<int:version>/changes/", views.changes, name="action-changes"),
    path("<str:key>/<int:version>/try/", trying.try_page, name="action-try"),
    path("<str:key>/<int:version>/definition.json", views.definition, name="action-definition"),
    path("<str:key>/<int:version>/ask/", moving.ask, name="action-ask"),
    path("<str:key>/<int:version>/set-aside/", moving.set_aside, name="action-set-aside"),
]
