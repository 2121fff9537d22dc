"""The pages of this package: the way in, and the answers for machines."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.urls import include, path
from django.views.generic import RedirectView

from governance import health
from governance.people_pages import calendar, everybody, importing, person, rosters

app_name = "governance"
urlpatterns = [
    # The inbox asks for the log-in, so that the address to return to is the inbox.
    path("", login_not_required(RedirectView.as_view(url="/inbox/")), name="home"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("status", health.status, name="status"),
    path("policy/", include("governance.views.policy.urls")),
    path("people/", everybody.everybody, name="people"),
    path("people/changes/<int:pk>/end/", everybody.end_change, name="change-end"),
    path("people/agents/<slug:name>/owner/", everybody.ask_for_owner, name="agent-owner"),
    path("people/<str:username>/", person.person, name="person"),
    path("people/<str:username>/change/<slug:kind>/", person.ask, name="person-change"),
    path("absences/", calendar.calendar, name="absences"),
    path("absences/enter/", calendar.enter, name="absence-enter"),
    path("absences/import/", importing.read_file, name="absences-import"),
    path("absences/import/take/", importing.take, name="absences-take"),
    path("absences/<int:pk>/shorten/", calendar.shorten, name="absence-shorten"),
    path("absences/<int:pk>/cancel/", calendar.cancel, name="absence-cancel"),
    path("on-call/", rosters.rosters, name="rosters"),
    path("on-call/<str:target>/", rosters.roster, name="roster"),
    path("on-call/<str:target>/shifts/", rosters.add_shifts, name="shift-add"),
    path("on-call/<str:target>/shifts/<int:pk>/", rosters.take_out, name="shift-take-out"),
]
