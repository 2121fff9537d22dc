"""The forms of a draft beside its matrix: windows, the 45 cells, offices, rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from governance import cel, clock
from governance.drafting import NotRight, parts, shown
from governance.drafting import names as naming
from governance.drafting.names import Names
from governance.errors import Refused
from governance.models import ActionType, Appointment, PolicyCheck, PolicyVersion
from governance.services import policy as services
from governance.views.policy.edge import (
    PolicyRequest,
    for_editors,
    frame_of,
    revision_of,
    version_or_404,
)

Office = Appointment.Office
BLANK_OWNERS = 3
Save = Callable[[dict[str, Any]], object]
FORM = require_http_methods(["GET", "HEAD", "POST"])


def _editable(number: int) -> PolicyVersion:
    """Return a draft. What is in force has no form."""
    version = version_or_404(number)
    if version.state != PolicyVersion.State.DRAFT:
        raise Http404("not a draft")
    return version


def _answer(
    request: PolicyRequest,
    version: PolicyVersion,
    template: str,
    context: dict[str, Any],
    save: Save,
    *,
    anchor: str,
) -> HttpResponse:
    """Show a form, or store it and go back to the version. 422 for one to mend, else what the refusal says."""
    context = frame_of(request, version) | context
    if request.method != "POST":
        return render(request, template, context)
    given = {
        "number": version.number,
        "revision": revision_of(request),
        "actor": request.user,
        "now": clock.now(),
    }
    try:
        save(given)
    except NotRight as refusal:
        context |= {"wrong": refusal.of(None), "refusal": None}
        return render(request, template, context, status=refusal.status)
    except Refused as refusal:
        return render(request, template, context | {"refusal": refusal}, status=refusal.status)
    messages.success(request, "Stored in the draft.")
    page = reverse("governance:policy-version", args=[version.number])
    return redirect(f"{page}#{anchor}")


@FORM
@for_editors
def windows_edit(request: PolicyRequest, number: int) -> HttpResponse:
    """How long each rung waits."""
    version = _editable(number)
    typed = {key: request.POST.get(key, "") for key in (*parts.WINDOWS, parts.CAP)}
    context = {
        "windows": shown.windows(version),
        "cap": parts.write_span(version.queue_cap),
        "typed": typed if request.method == "POST" else None,
    }
    return _answer(
        request, version, "policy/windows.html", context,
        lambda given: services.save_windows(windows=typed, **given),
        anchor="s-win",
    )  # fmt: skip


@FORM
@for_editors
def tree_edit(request: PolicyRequest, number: int) -> HttpResponse:
    """What answers an exception."""
    version = _editable(number)
    typed = {key: request.POST[key] for key in parts.CELLS if key in request.POST}
    context = {
        "lines": [
            (exception, severity, [(key, impact, typed.get(key, held)) for key, impact, held in cells],
             shown.choices(exception))
            for exception, severity, cells in shown.cells_to_edit(version)
        ],
        "impacts": shown.IMPACTS,
    }  # fmt: skip
    return _answer(
        request, version, "policy/tree.html", context,
        lambda given: services.save_cells(responses=typed, **given),
        anchor="s-tree",
    )  # fmt: skip


@FORM
@for_editors
def offices_edit(request: PolicyRequest, number: int) -> HttpResponse:
    """Who holds an office."""
    version = _editable(number)
    names = naming.load()
    typed = (
        _offices_typed(request, names) if request.method == "POST" else _offices_of(version, names)
    )
    context = {
        "names": names,
        "heads": [
            (f"head:{each.key}", each.name, typed["heads"].get(each.key, ""))
            for each in names.departments.entries
        ],
        "fallbacks": [(f"fallback:{key}", key, text) for key, text in typed["fallbacks"].items()],
        "owners": [
            (f"owner:{place}", pattern, person, f"Owner {place}" if place else "Owner")
            for place, (pattern, person) in enumerate(
                [*typed["owners"], *[("", "")] * BLANK_OWNERS][: parts.MOST_HOLDERS]
            )
        ],
        "several": [
            (office.value, shown.OFFICES[office], typed["several"].get(office, ""))
            for office in parts.IN_ORDER
        ],
    }  # fmt: skip
    return _answer(
        request, version, "policy/offices.html", context,
        lambda given: services.save_offices(**typed, **given),
        anchor="s-offices",
    )  # fmt: skip


def _targets(version: PolicyVersion) -> list[str]:
    """Return what can have somebody on call: the targets that the catalogue writes to, and what the draft names."""
    named = Appointment.objects.filter(version=version, office=Office.ONCALL_FALLBACK)
    known = ActionType.objects.exclude(state=ActionType.State.RETIRED)
    written = known.values_list("connector_config__target", flat=True)
    return sorted({*filter(None, written), *named.values_list("scope", flat=True)})


def _offices_of(version: PolicyVersion, names: Names) -> dict[str, Any]:
    """Return an office's holders as they would be typed."""
    held = Appointment.objects.filter(version=version).order_by("pk")
    found: dict[str, list[tuple[str, str]]] = {}
    for office, scope, person in held.values_list("office", "scope", "person_id"):
        found.setdefault(office, []).append((scope, names.people.text(person)))
    owners = sorted(found.get(Office.RESOURCE_OWNER, []))
    return {
        "heads": dict(found.get(Office.DEPARTMENT_HEAD, [])),
        "owners": owners if owners and not owners[0][0] else [("", ""), *owners],
        "fallbacks": dict.fromkeys(_targets(version), "")
        | dict(found.get(Office.ONCALL_FALLBACK, [])),
        "several": {
            office: ", ".join(person for _, person in found.get(office, []))
            for office in parts.IN_ORDER
        },
    }


def _offices_typed(request: PolicyRequest, names: Names) -> dict[str, Any]:
    prefix = "fallback:"
    patterns, people = request.POST.getlist("pattern"), request.POST.getlist("owner")
    return {
        "heads": {
            each.key: request.POST.get(f"head:{each.key}", "") for each in names.departments.entries
        },
        # The first line is that without a pattern, and has no field for one.
        "owners": list(zip(["", *patterns], people, strict=False))[: parts.MOST_HOLDERS],
        "fallbacks": {
            name.removeprefix(prefix)[:60]: request.POST[name]
            for name in request.POST
            if name.startswith(prefix)
        },
        "several": {office: request.POST.get(office, "") for office in parts.IN_ORDER},
    }


@FORM
@for_editors
def rule_add(request: PolicyRequest, number: int) -> HttpResponse:
    """A rule that was not there."""
    return _rule(request, _editable(number), None)


@FORM
@for_editors
def rule_edit(request: PolicyRequest, number: int, key: str) -> HttpResponse:
    """A rule, changed or taken out."""
    version = _editable(number)
    rule = PolicyCheck.objects.filter(version=version, key=key).first()
    if rule is None and request.method != "POST":
        raise Http404("no such rule")
    return _rule(request, version, key, rule)


def _rule(
    request: PolicyRequest, version: PolicyVersion, key: str | None, rule: PolicyCheck | None = None
) -> HttpResponse:
    stored = {field: getattr(rule, field, "") for field in parts.RULE_FIELDS}
    posted = request.method == "POST" and "remove" not in request.POST
    typed = {f: request.POST.get(f, "") for f in parts.RULE_FIELDS} if posted else stored
    names = naming.load()
    context = {
        "key": key,
        "rule": rule,
        "typed": typed,
        "names": names,
        "reads": PolicyCheck.Reads.choices,
        "length": cel.LENGTH,
    }

    def save(given: dict[str, Any]) -> None:
        if "remove" in request.POST and key is not None:
            services.remove_rule(key=key, **given)
        else:
            services.save_rule(key=key, typed=typed, **given)

    return _answer(request, version, "policy/rule.html", context, save, anchor="s-rules")
