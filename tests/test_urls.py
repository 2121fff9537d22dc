"""Every address, every verb, every kind of caller: closed unless this table opens it.

A new URL fails here until somebody has said who may do what with it.
"""

from __future__ import annotations

import re

import pytest
from django.apps import apps
from django.contrib import admin
from django.core.cache import cache
from django.test import Client
from django.urls import URLResolver, get_resolver

from governance.admin import ReadOnlyAdmin
from governance.models import AuditEvent
from tests.approvals.asking import ask_for_payment
from tests.factories import (
    MONDAY_9AM,
    AlertFactory,
    DrillFactory,
    PersonFactory,
    RoleFactory,
    RosterShiftFactory,
)

pytestmark = pytest.mark.django_db

VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE")
CALLERS = ("anonymous", "uninvolved", "involved", "operator", "agent")

# A route, and under it the answers to each verb, each for the callers in the order above.
ANSWERS = r"""
accounts/login/
    200 302 302 302 200 | 200 302 302 302 200 | 200 302 302 302 200 | 405 302 302 302 405 | 405 302 302 302 405
accounts/logout/
    302 200 200 200 302 | 302 302 302 302 302 | 405 405 405 405 405 | 405 405 405 405 405 | 405 405 405 405 405
accounts/inactive/
    200 200 200 200 200 | 405 405 405 405 405 | 405 405 405 405 405 | 405 405 405 405 405 | 405 405 405 405 405
accounts/signup/
    200 302 302 302 200 | 200 302 302 302 200 | 200 302 302 302 200 | 200 302 302 302 200 | 200 302 302 302 200
accounts/reauthenticate/
    302 200 200 200 302 | 302 200 200 200 302 | 302 200 200 200 302 | 302 405 405 405 302 | 302 405 405 405 302
accounts/password/change/
    302 200 200 200 302 | 302 200 200 200 302 | 302 200 200 200 302 | 302 405 405 405 302 | 302 405 405 405 302
accounts/password/set/
    302 302 302 302 302 | 302 302 302 302 302 | 302 302 302 302 302 | 302 302 302 302 302 | 302 302 302 302 302
accounts/password/reset/
    200 200 200 200 200 | 200 200 200 200 200 | 200 200 200 200 200 | 405 405 405 405 405 | 405 405 405 405 405
accounts/password/reset/key/done/
    200 200 200 200 200 | 405 405 405 405 405 | 405 405 405 405 405 | 405 405 405 405 405 | 405 405 405 405 405
accounts/^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$
    200 200 200 200 200 | 200 200 200 200 200 | 200 200 200 200 200 | 200 200 200 200 200 | 200 200 200 200 200
accounts/password/reset/done/
    200 200 200 200 200 | 405 405 405 405 405 | 405 405 405 405 405 | 405 405 405 405 405 | 405 405 405 405 405
accounts/2fa/
    302 200 200 200 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
accounts/2fa/authenticate/
    302 302 302 302 302 | 302 302 302 302 302 | 302 302 302 302 302 | 302 302 302 302 302 | 302 302 302 302 302
accounts/2fa/reauthenticate/
    302 302 302 302 302 | 302 302 302 302 302 | 302 302 302 302 302 | 302 302 302 302 302 | 302 302 302 302 302
accounts/2fa/totp/activate/
    302 302 302 302 302 | 302 302 302 302 302 | 302 302 302 302 302 | 302 302 302 302 302 | 302 302 302 302 302
accounts/2fa/totp/deactivate/
    302 302 302 302 302 | 302 302 302 302 302 | 302 302 302 302 302 | 302 302 302 302 302 | 302 302 302 302 302
accounts/2fa/codes/
    302 302 302 302 302 | 302 302 302 302 302 | 302 302 302 302 302 | 302 302 302 302 302 | 302 302 302 302 302
accounts/2fa/codes/generate/
    302 302 302 302 302 | 302 302 302 302 302 | 302 302 302 302 302 | 302 302 302 302 302 | 302 302 302 302 302
(root)
    302 302 302 302 302 | 302 302 302 302 302 | 302 302 302 302 302 | 302 302 302 302 302 | 302 302 302 302 302
healthz
    200 200 200 200 200 | 405 405 405 405 405 | 405 405 405 405 405 | 405 405 405 405 405 | 405 405 405 405 405
readyz
    200 200 200 200 200 | 405 405 405 405 405 | 405 405 405 405 405 | 405 405 405 405 405 | 405 405 405 405 405
status
    200 200 200 200 200 | 405 405 405 405 405 | 405 405 405 405 405 | 405 405 405 405 405 | 405 405 405 405 405
audit/
    302 403 403 403 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
audit/export/
    302 405 405 405 302 | 302 403 403 403 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
audit/verify/
    302 405 405 405 302 | 302 403 403 403 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
people/
    302 200 200 200 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
people/changes/<int:pk>/end/
    302 405 405 405 302 | 302 404 404 422 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
people/agents/<slug:name>/owner/
    302 405 405 405 302 | 302 404 404 422 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
people/<str:username>/
    302 404 200 200 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
people/<str:username>/change/<slug:kind>/
    302 405 405 405 302 | 302 404 422 422 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
absences/
    302 200 200 200 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
absences/enter/
    302 405 405 405 302 | 302 422 422 422 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
absences/import/
    302 200 200 200 302 | 302 422 422 422 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
absences/import/take/
    302 405 405 405 302 | 302 422 422 422 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
absences/<int:pk>/shorten/
    302 405 405 405 302 | 302 422 422 422 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
absences/<int:pk>/cancel/
    302 405 405 405 302 | 302 404 404 404 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
on-call/
    302 403 403 200 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
on-call/<str:target>/
    302 403 403 200 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
on-call/<str:target>/shifts/
    302 405 405 405 302 | 302 403 403 422 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
on-call/<str:target>/shifts/<int:pk>/
    302 405 405 405 302 | 302 403 403 422 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
inbox/
    302 200 200 200 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
inbox/seen/
    302 405 405 405 302 | 302 400 400 400 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
inbox/several/
    302 200 200 200 302 | 302 302 302 302 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
inbox/peek/<str:ref>/
    302 404 200 200 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
requests/
    302 403 403 200 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
requests/<str:ref>/
    302 404 200 200 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
requests/<str:ref>/decide/
    302 405 405 405 302 | 302 404 422 422 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
requests/<str:ref>/hand-over/
    302 405 405 405 302 | 302 404 422 422 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
requests/<str:ref>/ask/
    302 405 405 405 302 | 302 404 422 422 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
requests/<str:ref>/rule/
    302 405 405 405 302 | 302 404 422 422 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
requests/<str:ref>/step-up/
    302 404 302 302 302 | 302 404 302 302 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
requests/<str:ref>/spot-check/
    302 405 405 405 302 | 302 404 302 302 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
requests/<str:ref>/evidence/
    302 405 405 405 302 | 302 404 403 403 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
reviews/
    302 403 403 403 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
reviews/<int:pk>/
    302 404 404 404 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
reviews/<int:pk>/find/
    302 405 405 405 302 | 302 404 404 404 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
reviews/<int:pk>/confirm/
    302 405 405 405 302 | 302 404 404 404 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
reviews/<int:pk>/settle/
    302 405 405 405 302 | 302 404 404 404 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
reviews/<int:pk>/settled/
    302 405 405 405 302 | 302 404 404 404 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
reviews/<int:pk>/evidence/
    302 405 405 405 302 | 302 404 404 404 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
requests/<str:ref>/mend/
    302 405 405 405 302 | 302 404 422 422 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
requests/<str:ref>/comply/
    302 405 405 405 302 | 302 404 422 422 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
requests/<str:ref>/report/
    302 405 405 405 302 | 302 404 422 422 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
metrics/
    302 403 403 403 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
metrics/prometheus
    404 404 404 404 404 | 405 405 405 405 405 | 405 405 405 405 405 | 405 405 405 405 405 | 405 405 405 405 405
metrics/report/
    302 403 403 403 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
metrics/weeks.csv
    302 403 403 403 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
metrics/cases.csv
    302 405 405 405 302 | 302 403 403 403 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
policy/
    302 403 403 403 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
policy/who/
    302 403 403 200 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
policy/draft/
    302 405 405 405 302 | 302 403 403 403 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
policy/<int:number>/
    302 403 403 403 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
policy/<int:number>/changes/
    302 403 403 403 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
policy/<int:number>/check/
    302 403 403 403 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
policy/<int:number>/simulate/
    302 403 403 403 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
policy/<int:number>/discard/
    302 403 403 403 302 | 302 403 403 403 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
policy/<int:number>/sign/
    302 405 405 405 302 | 302 403 403 403 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
policy/<int:number>/activate/
    302 403 403 403 302 | 302 403 403 403 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
policy/<int:number>/matrix.csv
    302 403 403 403 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
policy/<int:number>/matrix/
    302 403 403 403 302 | 302 403 403 403 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
policy/<int:number>/rows/
    302 405 405 405 302 | 302 403 403 403 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
policy/<int:number>/rows/pasted/
    302 405 405 405 302 | 302 403 403 403 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
policy/<int:number>/rows/<int:row>/
    302 405 405 405 302 | 302 403 403 403 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
policy/<int:number>/windows/
    302 403 403 403 302 | 302 403 403 403 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
policy/<int:number>/tree/
    302 403 403 403 302 | 302 403 403 403 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
policy/<int:number>/offices/
    302 403 403 403 302 | 302 403 403 403 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
policy/<int:number>/rules/
    302 403 403 403 302 | 302 403 403 403 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
policy/<int:number>/rules/<slug:key>/
    302 403 403 403 302 | 302 403 403 403 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
policy/bench/
    302 403 403 403 302 | 302 403 403 403 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
requests/<str:ref>/seen/
    302 405 405 405 302 | 302 404 204 204 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
requests/<str:ref>/execution/
    302 404 200 200 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
requests/<str:ref>/by-hand/
    302 404 200 200 302 | 302 404 409 409 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
requests/<str:ref>/rollback/
    302 405 405 405 302 | 302 404 403 422 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
actions/
    302 403 403 200 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
actions/enter/
    302 403 403 403 302 | 302 403 403 403 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
actions/changes/<int:pk>/end/
    302 405 405 405 302 | 302 403 403 403 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
actions/changes/<int:pk>/confirm/
    302 403 403 403 302 | 302 403 403 403 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
actions/drills/<int:pk>/
    302 403 403 200 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
actions/<str:key>/drills/
    302 403 403 200 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
actions/<str:key>/drills/now/
    302 405 405 405 302 | 302 403 403 302 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
actions/<str:key>/
    302 403 403 200 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
actions/<str:key>/<int:version>/
    302 403 403 200 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
actions/<str:key>/<int:version>/changes/
    302 403 403 200 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
actions/<str:key>/<int:version>/try/
    302 403 403 200 302 | 302 403 403 422 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
actions/<str:key>/<int:version>/definition.json
    302 403 403 200 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
actions/<str:key>/<int:version>/ask/
    302 405 405 405 302 | 302 403 403 403 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
actions/<str:key>/<int:version>/set-aside/
    302 405 405 405 302 | 302 403 403 403 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
findings/
    302 403 403 200 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
findings/effects/
    302 403 403 200 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
findings/effects/<int:pk>/
    302 405 405 405 302 | 302 403 403 422 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
findings/messages/<int:pk>/again/
    302 405 405 405 302 | 302 403 403 302 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
findings/messages/<int:pk>/aside/
    302 405 405 405 302 | 302 403 403 302 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
findings/tasks/<slug:task>/again/
    302 405 405 405 302 | 302 403 403 302 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
findings/tasks/<slug:task>/aside/
    302 405 405 405 302 | 302 403 403 302 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
alerts/<int:pk>/acknowledge/
    302 405 405 405 302 | 302 403 403 302 302 | 302 405 405 405 302 | 302 405 405 405 302 | 302 405 405 405 302
api/schema/
    200 200 200 200 200 | 405 405 405 405 405 | 405 405 405 405 405 | 405 405 405 405 405 | 405 405 405 405 405
api/v1/requests/
    401 200 200 200 200 | 401 403 403 403 422 | 401 405 405 405 405 | 401 405 405 405 405 | 401 405 405 405 405
api/v1/requests/<str:ref>/
    401 404 200 200 200 | 401 405 405 405 405 | 401 405 405 405 405 | 401 405 405 405 405 | 401 405 405 405 405
api/v1/requests/<str:ref>/by-hand/
    401 404 200 200 403 | 401 404 422 422 403 | 401 405 405 405 403 | 401 405 405 405 403 | 401 405 405 405 403
api/v1/requests/<str:ref>/withdraw/
    401 403 403 403 405 | 401 403 403 403 200 | 401 403 403 403 405 | 401 403 403 403 405 | 401 403 403 403 405
api/v1/requests/<str:ref>/decisions/
    401 405 405 405 403 | 401 422 422 422 403 | 401 405 405 405 403 | 401 405 405 405 403 | 401 405 405 405 403
api/v1/requests/<str:ref>/violations/
    401 405 405 405 405 | 401 422 422 422 403 | 401 405 405 405 405 | 401 405 405 405 405 | 401 405 405 405 405
api/v1/requests/<str:ref>/rollback/
    401 405 405 405 403 | 401 403 403 422 403 | 401 405 405 405 403 | 401 405 405 405 403 | 401 405 405 405 403
api/v1/requests/<str:ref>/questions/
    401 405 405 405 403 | 401 422 422 422 403 | 401 405 405 405 403 | 401 405 405 405 403 | 401 405 405 405 403
api/v1/requests/<str:ref>/questions/<int:question>/answer/
    401 403 403 403 405 | 401 403 403 403 422 | 401 403 403 403 405 | 401 403 403 403 405 | 401 403 403 403 405
api/v1/actions/
    401 200 200 200 200 | 401 405 405 405 405 | 401 405 405 405 405 | 401 405 405 405 405 | 401 405 405 405 405
api/v1/actions/<str:key>/
    401 200 200 200 200 | 401 405 405 405 405 | 401 405 405 405 405 | 401 405 405 405 405 | 401 405 405 405 405
api/v1/metrics/
    401 403 403 403 403 | 401 405 405 405 403 | 401 405 405 405 403 | 401 405 405 405 403 | 401 405 405 405 403
api/v1/who-decides/
    401 403 403 422 403 | 401 405 405 405 403 | 401 405 405 405 403 | 401 405 405 405 403 | 401 405 405 405 403
api/^(?P<rest>.*)$
    401 404 404 404 404 | 401 404 404 404 404 | 401 404 404 404 404 | 401 404 404 404 404 | 401 404 404 404 404
"""
_LINES = ANSWERS.strip().splitlines()
TABLE = {
    route.replace("(root)", ""): answers.split(" | ")
    for route, answers in zip(_LINES[::2], _LINES[1::2], strict=True)
}


def routes(resolver=None, prefix=""):
    for pattern in (resolver or get_resolver()).url_patterns:
        if isinstance(pattern, URLResolver):
            yield from routes(pattern, prefix + str(pattern.pattern))
        else:
            yield prefix + str(pattern.pattern)


OURS = [route for route in routes() if not route.startswith("admin/")]


@pytest.fixture
def world(company, api, timeline):
    """One request, asked of the Finance Manager; an alert; and everybody who may knock."""
    request = ask_for_payment(company)
    alert = AlertFactory(request=request)
    operator = PersonFactory(username="operator", name="Operator")
    operator.roles.add(RoleFactory(key="operator"))
    other_agent = api(company.agent, now=MONDAY_9AM)
    people = {
        "uninvolved": PersonFactory(),
        "involved": company.finance_manager,
        "operator": operator,
    }

    def client_of(caller, **options):
        client = Client(raise_request_exception=False, **options)
        if caller == "agent":
            client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {other_agent.token}"
        elif caller in people:
            client.force_login(people[caller], backend="django.contrib.auth.backends.ModelBackend")
        return client

    client_of.request, client_of.alert = request, alert
    client_of.shift = RosterShiftFactory(target="demo")
    client_of.drill = DrillFactory(action_type=company.vendor_payment)
    return client_of


def address(route, world):
    """Fill a route's places with what is there."""
    known = {
        "<str:ref>": world.request.ref,
        "<str:key>": "vendor_payment",
        "<str:username>": "finance_manager",
        "<slug:name>": "ap-agent",
        "<slug:kind>": "limit",
        "<str:target>/shifts/<int:pk>": f"demo/shifts/{world.shift.pk}",
        "<str:target>": "demo",
        "drills/<int:pk>": f"drills/{world.drill.pk}",
        "<int:pk>": str(world.alert.pk),
        "<slug:task>": "no-such-task",
        "<int:question>": "1",
        "<int:number>": "1",
        "<int:row>": "14",
        "<int:version>": "1",
        "<slug:key>": "terms",
        r"^confirm-email/(?P<key>[-:\w]+)/$": "confirm-email/abc/",
        r"^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$": "password/reset/key/1-abc/",
        r"^(?P<rest>.*)$": "nowhere",
    }
    for place, value in known.items():
        route = route.replace(place, value)
    assert not re.search(r"[<>^$]", route), f"say what {route} stands for"
    return f"/{route}"


def answer(client, verb, url):
    cache.clear()  # allauth counts there how often it was asked
    response = client.generic(verb, url, content_type="application/x-www-form-urlencoded")
    return str(response.status_code)


def test_every_url_has_an_expected_answer():
    assert sorted(OURS) == sorted(TABLE)


@pytest.mark.parametrize("route", OURS)
def test_each_caller_is_answered_as_the_table_says(route, world):
    expected = dict(
        zip(VERBS, [row.split() for row in TABLE.get(route, [""] * len(VERBS))], strict=True)
    )
    url = address(route, world)

    found = {verb: [answer(world(caller), verb, url) for caller in CALLERS] for verb in VERBS}

    assert found == expected


@pytest.mark.parametrize("route", OURS)
def test_no_get_changes_anything(route, world):
    url = address(route, world)
    clients = [world(caller) for caller in CALLERS]

    def counts():
        packages = [apps.get_app_config(name) for name in ("governance", "approvals", "rollback")]
        ours = (model for package in packages for model in package.get_models())
        rows = {model.__name__: list(model.objects.order_by("pk").values()) for model in ours}
        rows["Person"] = [{**row, "last_login": None} for row in rows["Person"]]
        return rows

    before = counts()
    for client in clients:
        client.get(url)

    assert counts() == before
    assert AuditEvent.objects.exists()  # the comparison above was not of nothing with nothing


@pytest.mark.parametrize(
    "route", [route for route in OURS if not route.startswith(("api/", "accounts/"))]
)
def test_pages_take_no_post_without_a_token(route, world):
    client = world("involved", enforce_csrf_checks=True)

    assert client.post(address(route, world)).status_code in (
        (302, 403, 405) if not route else (403, 405)
    )


@pytest.mark.parametrize("caller", CALLERS)
def test_the_admin_lets_nobody_in_but_superusers(caller, world):
    pages = [
        "/admin/",
        "/admin/approvals/actionrequest/",
        "/admin/governance/person/",
        "/admin/governance/auditevent/add/",
    ]

    answers = {world(caller).get(page).status_code for page in pages}

    assert answers == {302}


def test_the_admin_shows_and_changes_nothing(world):
    boss = PersonFactory(is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(boss, backend="django.contrib.auth.backends.ModelBackend")
    row = f"/admin/approvals/actionrequest/{world.request.pk}"

    shown = client.get(f"{row}/change/")
    refused = [
        client.post(f"{row}/change/", {"title": "x"}).status_code,
        client.post(f"{row}/delete/", {"post": "yes"}).status_code,
        client.get("/admin/approvals/actionrequest/add/").status_code,
    ]

    assert shown.status_code == 200
    assert "Save" not in shown.content.decode()
    assert refused == [403, 403, 403]


def test_staff_who_are_no_superusers_see_no_rows(world):
    staff = PersonFactory(is_staff=True)
    client = Client()
    client.force_login(staff, backend="django.contrib.auth.backends.ModelBackend")

    assert client.get("/admin/approvals/actionrequest/").status_code == 403


SHOWN_IN_ADMIN = sorted(admin.site._registry, key=lambda model: model._meta.label)


@pytest.mark.parametrize("model", SHOWN_IN_ADMIN, ids=lambda model: model._meta.label)
def test_every_model_in_the_admin_can_only_be_looked_at(model, world):
    boss = PersonFactory(is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(boss, backend="django.contrib.auth.backends.ModelBackend")

    assert isinstance(admin.site._registry[model], ReadOnlyAdmin)
    assert (
        client.get(f"/admin/{model._meta.app_label}/{model._meta.model_name}/").status_code == 200
    )


def test_no_secret_is_shown_in_the_admin(world):
    boss = PersonFactory(is_staff=True, is_superuser=True, password="pbkdf2-of-something")
    client = Client()
    client.force_login(boss, backend="django.contrib.auth.backends.ModelBackend")
    credential = world.request.credential

    person = client.get(f"/admin/governance/person/{boss.pk}/change/").content.decode()
    token = client.get(
        f"/admin/governance/agentcredential/{credential.pk}/change/"
    ).content.decode()

    assert "pbkdf2-of-something" not in person
    assert credential.prefix in token
    assert credential.digest not in token
