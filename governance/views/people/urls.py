"""Where the pages about people are."""

from __future__ import annotations

from django.urls import path

from governance.views.people import calendar, everybody, importing, person, rosters

urlpatterns = [
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
