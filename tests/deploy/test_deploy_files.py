"""What lies in deploy/ is well-formed, and starts what the Procfile starts."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml
from honcho.environ import parse_procfile
from jsonschema import Draft7Validator

from governance.management.commands.worker import Command as Worker
from rollback.services.runs import CALL_S
from tools.processes import ROOT

DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
PROCFILE = parse_procfile((ROOT / "Procfile").read_text()).processes
SPEC = json.loads((Path(__file__).parent / "compose-spec" / "compose-spec.json").read_text())
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
GRACE_S = Worker().create_parser("manage.py", "worker").get_default("grace")


def words_of(command):
    """Return a command's words, without what differs from place to place: its address and how many."""
    plain = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", command)
    plain = re.sub(r"--(bind|workers) \S+", "", plain)
    return plain.replace("/opt/recourse/.venv/bin/", "").removeprefix("exec ").split()


def complaints(document):
    return [error.message for error in Draft7Validator(SPEC).iter_errors(document)]


# --- compose.yaml -------------------------------------------------------------------------------


def test_the_compose_file_is_what_the_specification_asks_for():
    Draft7Validator.check_schema(SPEC)

    assert complaints(COMPOSE) == []


@pytest.mark.parametrize(
    ("name", "value"), [("restarts", "always"), ("command", 7), ("depends_on", "db")]
)
def test_a_mistake_in_the_compose_file_would_be_found(name, value):
    broken = json.loads(json.dumps(COMPOSE))
    broken["services"]["web"][name] = value

    assert complaints(broken)


@pytest.mark.parametrize("name", PROCFILE)
def test_containers_start_what_the_procfile_starts_and_two_of_each(name):
    service = COMPOSE["services"][name]

    command = service["command"]
    assert words_of(command[-1] if command[0] == "/bin/sh" else " ".join(command)) == words_of(
        PROCFILE[name]
    )
    assert service["deploy"]["replicas"] == 2
    assert service["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    assert service["init"] is True  # or the worker's children would be told to stop as well
    assert seconds(service["stop_grace_period"]) >= least_stop_s(name)


def seconds(text):
    return int(text.removesuffix("s"))


def least_stop_s(name):
    """How long a process may take to stop, by itself, and some."""
    own = {"web": 10, "clock": 10, "worker": GRACE_S}
    return own[name] + 10


def test_a_worker_is_given_longer_than_a_call_may_take():
    assert GRACE_S > CALL_S


def test_secrets_and_data_are_not_in_the_compose_file():
    text = (DEPLOY / "compose.yaml").read_text()

    assert "password@" not in text
    assert {volume.split(":")[0] for volume in COMPOSE["services"]["web"]["volumes"]} <= set(
        COMPOSE["volumes"]
    )
    assert "deploy/recourse.env" in (ROOT / ".gitignore").read_text().splitlines()


def test_every_variable_of_the_compose_file_stands_in_the_example_and_in_the_manual():
    text = (DEPLOY / "compose.yaml").read_text()
    wanted = set(re.findall(r"\$\{(\w+)", text))
    manual = (ROOT / "docs" / "operations.md").read_text()

    assert wanted >= {"POSTGRES_PASSWORD", "SITE_HOST"}
    assert wanted <= example().keys()
    assert [name for name in wanted if f"`{name}`" not in manual] == []
    for block in re.findall(r"```sh docker\n(.+?)```", manual, re.DOTALL):
        for line in block.splitlines():
            assert "--env-file deploy/recourse.env --file deploy/compose.yaml" in line


def test_every_secret_file_of_the_example_is_mounted_where_it_is_read():
    files = {name: path for name, path in example().items() if name.endswith("_FILE")}
    ours = [COMPOSE["services"][name] for name in (*PROCFILE, "migrate")]

    assert files
    for path in files.values():
        folder, _, secret = path.rpartition("/")
        assert folder == "/run/secrets"
        assert COMPOSE["secrets"][secret]["file"] == f"secrets/{secret}"
        assert all(secret in service["secrets"] for service in ours)
    assert "deploy/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


# --- Dockerfile ---------------------------------------------------------------------------------


def test_the_image_is_made_of_what_is_there_and_of_all_the_product_needs():
    text = (DEPLOY / "Dockerfile").read_text()
    copied = {
        source
        for line in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE)
        for source in line.split()
    }
    let_in = {
        line[1:]
        for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    }

    assert all((ROOT / source).exists() for source in copied)
    assert copied == let_in
    assert {"governance", "approvals", "rollback", "templates", "static", "manage.py"} <= copied
    assert f"FROM python:{lowest_python()}" in text
    assert "\nUSER recourse\n" in text


def lowest_python():
    return re.search(r'requires-python = ">=([\d.]+)"', (ROOT / "pyproject.toml").read_text())[1]


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (302, 1)])
def test_the_probe_says_whether_the_web_process_can_serve(status, code):
    asked = []

    class Web(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers["Host"]))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"3 migrations are to be applied.")

        def log_message(self, *args):
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Web)
    threading.Thread(target=server.handle_request, daemon=True).start()

    done = probe(server.server_port)

    server.server_close()
    assert asked == [("/readyz", "recourse.example.com")]
    assert (done.returncode, "migrations" in done.stderr) == (code, code == 1)


def test_the_probe_says_so_where_nobody_listens():
    assert probe(1).returncode == 1


def probe(port):
    return subprocess.run(
        [sys.executable, "deploy/ready.py"], cwd=ROOT, capture_output=True, text=True, timeout=30,
        env={"PORT": str(port), "SITE_URL": "https://recourse.example.com"}, check=False,
    )  # fmt: skip


# --- systemd ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def verify(tmp_path_factory):
    """Run `systemd-analyze verify` over units as they would be installed; return what it says."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze")
    place = tmp_path_factory.mktemp("units")
    installed = place / "opt" / "recourse"
    (installed / ".venv" / "bin").mkdir(parents=True)
    (installed / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (installed / "docs").symlink_to(ROOT / "docs")

    def run(**changed):
        for unit in UNITS:
            text = changed.get(unit.name, unit.read_text())
            (place / unit.name).write_text(text.replace("/opt/recourse", str(installed)))
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", *(place / unit.name for unit in UNITS)],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        said = [line for line in done.stderr.splitlines() if "recourse" in line]
        return done.returncode, said

    return run


def test_systemd_has_nothing_to_say_about_the_units(verify):
    assert verify() == (0, [])


@pytest.mark.parametrize(
    ("was", "written"),
    [("KillMode=mixed", "KillMode=mixd"), ("ExecStart=/opt/recourse/.venv/bin/", "ExecStart=/no/"),
     ("NoNewPrivileges=yes", "NoNewPrivilege=yes")],
)  # fmt: skip
def test_a_mistake_in_a_unit_would_be_found(verify, was, written):
    text = (DEPLOY / "systemd" / "recourse-worker.service").read_text()
    assert was in text

    code, said = verify(**{"recourse-worker.service": text.replace(was, written)})

    assert code or said


@pytest.mark.parametrize("name", PROCFILE)
def test_units_start_what_the_procfile_starts_and_stop_it_with_time(name):
    unit = dict(
        line.split("=", 1)
        for line in (DEPLOY / "systemd" / f"recourse-{name}.service").read_text().splitlines()
        if "=" in line and not line.startswith("#")
    )

    assert words_of(unit["ExecStart"]) == words_of(PROCFILE[name])
    assert unit["KillMode"] == "mixed"  # the parent alone is told
    assert int(unit["TimeoutStopSec"]) >= least_stop_s(name)
    assert unit["Restart"] == "always"


# --- The environment ----------------------------------------------------------------------------


def test_the_example_of_an_environment_names_what_production_requires_and_nothing_unknown():
    readme = (ROOT / "README.md").read_text().split("### Environment")[1].split("\n### ")[0]
    rows = re.findall(r"^\| (`.+?) \|.*\| (.+) \|$", readme, re.MULTILINE)
    known = {name for cell, _ in rows for name in re.findall(r"`([A-Z_]+)`", cell)}
    required = {
        name for cell, when in rows if when.startswith("yes")
        for name in re.findall(r"`([A-Z_]+)`", cell)
    }  # fmt: skip
    given = example()
    of_compose = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text()))

    assert required <= given.keys()
    assert {name for name in given if not name.startswith("TARGET_")} <= known | of_compose
    assert not any(given[name] for name in ("SECRET_KEY", "SEAL_KEY", "WEBHOOK_KEY"))


def example():
    """The variables that the example of an environment gives, with what it gives them."""
    lines = (DEPLOY / "recourse.env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.mark.parametrize(
    "unit", [unit for unit in UNITS if unit.suffix == ".service"], ids=lambda unit: unit.name
)
def test_a_unit_may_write_what_it_keeps_and_where_the_example_exports_seals(unit):
    text = unit.read_text()
    exported = re.search(
        r"^# SEAL_EXPORT=(.+)$", (DEPLOY / "recourse.env.example").read_text(), re.M
    )

    assert "\nProtectSystem=strict\n" in text
    assert "\nStateDirectory=recourse\n" in text
    assert "RECOURSE_VAR=/var/lib/recourse" in text
    assert f"\nReadWritePaths=-{exported[1]}\n" in text
