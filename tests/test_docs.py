"""What the documentation says of the code is what the code is."""

from __future__ import annotations

import ast
import re
from datetime import timedelta
from importlib import import_module

import pytest
from django.apps import apps
from django.conf import settings
from django_fsm import FSMField

from approvals.auditing import all_audits
from approvals.due import due_of
from approvals.models import OPEN, ActionRequest
from governance import neighbours
from governance.decision_tree import ENTERS_AT, cells
from governance.vocabulary import Impact, Severity
from tests.factories import MONDAY_9AM, RequestFactory, StepFactory
from tools import state_machines


def test_the_state_machines_page_is_as_the_code_is():
    written = state_machines.FILE.read_text()

    assert written == state_machines.render(), "run: python -m tools.state_machines"


@pytest.mark.parametrize("model", state_machines.drawn(), ids=lambda model: model.__name__)
def test_every_transition_says_what_it_means(model):
    undocumented = [
        each.name
        for each in model._meta.get_field("state").get_all_transitions(model)
        if not each.method.__doc__
    ]

    assert undocumented == []


def test_every_model_with_transitions_is_drawn():
    moving = {
        model
        for model in apps.get_models()
        for field in model._meta.get_fields()
        if isinstance(field, FSMField)
    }

    assert moving == set(state_machines.drawn())


@pytest.mark.django_db
def test_the_page_lists_every_open_state():
    assert {each.state for each in state_machines.movers()} == set(OPEN)


@pytest.mark.django_db
def test_the_clock_of_each_state_is_the_one_the_page_names():
    states, now = ActionRequest.State, MONDAY_9AM
    minute = timedelta(minutes=1)
    pending = RequestFactory(state=states.PENDING)
    step = StepFactory(request=pending)
    approved = RequestFactory(state=states.APPROVED)
    present = RequestFactory(state=states.APPROVED, person_present=True)
    held = RequestFactory.build(state=states.HELD)
    run = RequestFactory.build(state=states.EXECUTING)
    run.lease_until, run.run_deadline = now + minute, now + 2 * minute

    assert due_of(pending, waiting=step) == step.due_at
    assert due_of(approved, waiting=None) == approved.approved_at + 30 * minute
    assert due_of(present, waiting=None) == present.approved_at + 15 * minute
    assert due_of(held, waiting=step) == step.due_at
    assert due_of(held, waiting=None, held_until=now + minute) == now + minute
    assert due_of(run, waiting=None) == run.lease_until
    run.lease_until = now + 3 * minute
    assert due_of(run, waiting=None) == run.run_deadline


@pytest.mark.django_db
@pytest.mark.parametrize("asked", [False, True])
def test_of_several_clocks_the_earliest_moves_a_request(asked):
    states, now = ActionRequest.State, MONDAY_9AM
    request = RequestFactory.build(state=states.ROLLING_BACK)
    step = StepFactory.build(due_at=now + timedelta(minutes=5)) if asked else None
    request.next_attempt_at, request.run_deadline = None, now + timedelta(minutes=1)

    assert due_of(request, waiting=step) == (step.due_at if asked else request.run_deadline)
    request.next_attempt_at = now
    assert due_of(request, waiting=step) == now


@pytest.mark.django_db
@pytest.mark.parametrize("state", OPEN)
def test_an_open_state_without_any_clock_is_a_defect(state):
    request = RequestFactory.build(state=state, approved_at=None)

    with pytest.raises(LookupError, match=state):
        due_of(request, waiting=None)


def test_every_sweep_that_the_page_names_is_driven_by_the_clock():
    named = {name for each in state_machines.movers() for name in each.swept_by}

    assert named <= set(settings.RECOURSE_SWEEPS)


# --- What is written by hand ---

ROOT = state_machines.FILE.parent.parent
DECISIONS = ROOT / "docs" / "decisions"
PACKAGES = ("governance", "approvals", "rollback")
TREES = (
    *PACKAGES,
    "bench",
    "demo_target",
    "deploy",
    "docs",
    "requirements",
    "static",
    "templates",
    "tests",
    "tools",
)
WRITTEN = [
    path
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
    if path != state_machines.FILE
]
OWN_TO_A_MACHINE = (".demo.json", ".env")
# Ways of raising an alert, and where each takes its kind: as `kind=`, or as that argument.
RAISING = {
    "raise_alert": None, "raise_in": None, "sound": None, "alarm": None, "report": None, "_of": 1,
}  # fmt: skip


def texts():
    """Yield every text file of the product, with its content."""
    found = [
        path for path in ROOT.iterdir() if path.is_file() and path.name not in OWN_TO_A_MACHINE
    ]
    for tree in TREES:
        found += [path for path in (ROOT / tree).rglob("*") if path.is_file()]
    for path in found:
        if "__pycache__" in path.parts or path.suffix in (".png", ".woff2", ".pyc"):
            continue
        yield path.relative_to(ROOT), path.read_text()


def product_modules():
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            if "migrations" not in path.parts:
                yield ".".join(path.relative_to(ROOT).with_suffix("").parts), path.read_text()


def table_after(text, heading):
    """Return the first cell of each row of the first table after a heading, without backticks."""
    rows = text.split(heading, 1)[1].split("\n\n|", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [row.strip("| ").split(" | ")[0] for row in rows]


def test_every_variable_that_is_read_stands_in_the_readme_and_no_other():
    read = set()
    for name in ("settings", "env"):
        source = (ROOT / "governance" / f"{name}.py").read_text()
        read |= set(re.findall(r"\benv(?:\.\w+)?\(\s*\"([A-Z_]+)\"", source))
        read |= set(re.findall(r"\brequired\(\s*\"([A-Z_]+)\"", source))
        secrets = re.findall(r"\bsecret\(\s*\"([A-Z_]+)\"", source)
        read |= {name for secret in secrets for name in (secret, f"{secret}_FILE")}
    read |= set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "Procfile").read_text()))

    cells = table_after((ROOT / "README.md").read_text(), "### Environment")
    told = {name for cell in cells for name in re.findall(r"`([A-Z_]+)`", cell)}

    assert told == read


def test_what_production_requires_is_called_required():
    source = (ROOT / "governance" / "settings.py").read_text()
    needed = set(re.findall(r"\brequired\(\s*\"([A-Z_]+)\"", source))

    text = (ROOT / "README.md").read_text().split("### Environment")[1].split("\n### ")[0]

    for name in needed:
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]
        assert row.rstrip("| ").endswith("yes"), row


def test_every_decision_is_in_the_index_under_the_next_number():
    files = sorted(path.name for path in DECISIONS.glob("[0-9]*.md"))
    index = (DECISIONS / "README.md").read_text()
    linked = re.findall(r"^\| (\d{4}) \| \[(.+)\]\((\S+)\) \|$", index, re.MULTILINE)

    assert [file for _, _, file in linked] == files
    assert [number for number, _, _ in linked] == [f"{n:04d}" for n in range(1, len(files) + 1)]
    for number, title, file in linked:
        text = (DECISIONS / file).read_text()
        assert file.startswith(number)
        assert text.startswith(f"# {number} {title}\n")
        headings = [line[3:].split(",")[0] for line in text.splitlines() if line.startswith("## ")]
        assert headings == ["Context", "Decision", "Alternatives", "Consequences"], file


def kinds_of_alerts():
    """Return every kind of alert that the code raises.

    Fails for one whose kind cannot be read off the code: say then how to find it.
    """
    kinds = set()
    for module, source in product_modules():
        for call in ast.walk(ast.parse(source)):
            if not isinstance(call, ast.Call):
                continue
            called = getattr(call.func, "attr", getattr(call.func, "id", ""))
            if called not in RAISING:
                continue
            place = RAISING[called]
            given = [each.value for each in call.keywords if each.arg == "kind"]
            given += [] if place is None or given else call.args[place : place + 1]
            for kind in given:
                match kind:
                    case ast.Constant(value=str(value)):
                        kinds.add(value)
                    case ast.Name(id=name) if name.isupper():
                        kinds.add(getattr(import_module(module), name))
                    case ast.Name(id="kind"):
                        pass  # handed on: whoever calls says it
                    case ast.JoinedStr() if ast.unparse(kind) == "f'audit.{audit}'":
                        kinds |= {f"audit.{audit}" for audit in all_audits()}
                    case ast.Attribute() if ast.unparse(kind) == "self._sign.kind":
                        kinds |= {neighbours.CLOCK.kind, neighbours.WORKER.kind}
                    case _:
                        pytest.fail(f"{module}: an alert of kind {ast.unparse(kind)}")
    return kinds


def test_operators_are_told_what_to_do_about_every_kind_of_alert():
    text = (ROOT / "docs" / "operations.md").read_text()
    told = table_after(text, "## Alerts") + table_after(text, "## Findings of audits")
    named = {name for cell in told for name in re.findall(r"`([a-z._-]+)`", cell)}

    kinds = kinds_of_alerts()

    assert {"sweep.failed", "no-route", "request.expired", "audit.unsealed"} <= kinds
    assert named == kinds


def test_every_reference_to_the_design_leads_somewhere():
    headings = re.findall(
        r"^#{2,3} (\d(?:\.\d)?)?\s*(.+)$", (ROOT / "docs" / "design.md").read_text(), re.MULTILINE
    )
    numbers, titles = {number for number, _ in headings}, {title for _, title in headings}

    found = []
    for path, text in texts():
        for number, title in re.findall(r'\bDESIGN (\d(?:\.\d)?)(?:,\s+"([^"]+)")?', text):
            found.append(number)
            assert number in numbers, f"{path}: {number}"
            if title and title[0].isupper():
                bold = f"**{title}.**" in (ROOT / "docs" / "design.md").read_text()
                assert bold or any(each.startswith(title) for each in titles), f"{path}: {title}"
    assert found


def test_the_designs_tree_is_the_codes():
    text = (ROOT / "docs" / "design.md").read_text()
    rows = text.split("### 2.1", 1)[1].split("\n\n|", 1)[1].split("\n\n", 1)[0].splitlines()[2:]

    told = {}
    for row in rows:
        exception, severity, impact, response, level, source = row.strip("| ").split(" | ")
        for each in Severity.values if severity == "any" else severity.split(", "):
            for felt in Impact.values if impact == "any" else impact.split(", "):
                told[exception, each, felt] = (response.strip("`"), level, source)

    assert told == {
        (exception, severity, impact): (
            rule.response,
            f"L{ENTERS_AT[rule.response].value}",
            rule.source,
        )
        for exception, severity, impact, rule in cells()
    }


@pytest.mark.parametrize("page", WRITTEN, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_paths_and_targets_of_a_page_are_there(page):
    text = page.read_text()
    makefile = (ROOT / "Makefile").read_text()

    for link in re.findall(r"\]\((?!https?:)([^)#\s]+)", text):
        assert (page.parent / link).exists(), link
    for path in re.findall(r"`((?:\w[\w-]*/)+[\w.-]*)`", text):
        top = path.split("/")[0]
        if top in TREES:
            assert (ROOT / path).exists(), path
    for target in re.findall(r"`(?:[A-Z]+=\S+ )*make ([a-z-]+)", text):
        assert f"\n{target}:" in makefile, target


def test_no_file_names_a_directory_of_one_machine_or_somebodys_package_index():
    home = re.compile(r"(?<![\w.<}/-])/(?:home|root|Users|work)/")
    index = re.compile(r"\b(?:extra-)?index-url\b|\bregistry\.\w+\.|://pypi\.", re.IGNORECASE)

    found = [
        f"{path}: {match[0]}"
        for path, text in texts()
        if path.parts[:2] != ("static", "vendor") and path.name != "test_docs.py"
        for match in (*home.finditer(text), *index.finditer(text))
    ]

    assert found == []
