"""What is served stands under the strict policy, is what was vendored, and names no stranger."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
from django.core.management import call_command

ROOT = Path(__file__).resolve().parents[2]
STATIC = ROOT / "static"
VENDOR = STATIC / "vendor"
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
# Opened from a folder, not sent by us: it carries its styles, and a policy that lets nothing run.
PACKED = ROOT / "templates/evidence/index.html"
SERVED = sorted(p for p in STATIC.rglob("*") if p.suffix in {".css", ".js", ".svg"})
OWN = [path for path in SERVED if VENDOR not in path.parents]
# The namespace of SVG is a name that is written as an address; nothing is fetched from it.
NAMES_ONLY = {"http://www.w3.org/2000/svg"}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def manifest() -> dict[str, str]:
    lines = (VENDOR / "MANIFEST.sha256").read_text().splitlines()
    return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}


def test_every_vendored_file_is_the_one_in_the_manifest():
    present = {
        str(path.relative_to(VENDOR)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.rglob("*")
        if path.is_file() and path.name != "MANIFEST.sha256"
    }

    assert present == manifest()


def test_every_vendored_package_comes_with_its_licence():
    packages = {name.split("/")[0] for name in manifest()}

    assert {f"{package}/LICENSE" for package in packages} <= set(manifest())


def test_versions_are_pinned_exactly():
    pinned = json.loads((ROOT / "package.json").read_text())["dependencies"]

    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in pinned.values())


def test_no_lock_file_names_a_registry():
    assert not (ROOT / "package-lock.json").exists()


@pytest.mark.parametrize("path", SERVED, ids=named)
def test_no_file_asks_for_a_source_map(path):
    assert "sourceMappingURL" not in path.read_text()


@pytest.mark.parametrize("path", TEMPLATES, ids=named)
@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        ("a style attribute", r"\sstyle\s*="),
        ("a style element", r"<style\b"),
        ("an inline handler", r"\son[a-z]+\s*="),
        ("an htmx inline handler", r"\bhx-on\b"),
        ("an htmx script value", r"hx-va(?:ls|rs)\s*=\s*['\"]?\s*js(?:cript)?:"),
        ("an inline script", r"<script\b(?![^>]*\ssrc=)"),
        ("a javascript: address", r"javascript:"),
    ],
)
def test_no_template_has_what_the_policy_forbids(path, what, pattern):
    if (path, what) == (PACKED, "a style element"):
        pattern = r"<style\b[^>]*\bsrc|@import|url\("
    assert not re.search(pattern, path.read_text(), re.IGNORECASE), what


def test_what_a_pack_shows_lets_nothing_run_and_fetches_nothing():
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', PACKED.read_text())

    assert policy == "default-src 'none'; style-src 'unsafe-inline'"


@pytest.mark.parametrize("path", [p for p in OWN if p.suffix == ".js"], ids=named)
def test_no_script_needs_eval_or_writes_markup(path):
    text = path.read_text()

    assert not re.search(r"\beval\(|new Function|innerHTML|outerHTML|insertAdjacentHTML", text)
    assert not re.search(r"\.style\b|setAttribute\(\s*['\"](?:style|on)", text)


@pytest.mark.parametrize("path", [*TEMPLATES, *SERVED], ids=named)
def test_nothing_is_fetched_from_a_stranger(path):
    text = path.read_text()
    if path.parent.name in ("bootstrap", "chartjs"):  # licences, and the namespace in data: SVGs
        text = re.sub(r"/\*!.*?\*/", "", text, flags=re.DOTALL).replace("%3a", ":")

    found = set(re.findall(r"https?://[^\s'\"<>)]+", text)) - NAMES_ONLY

    assert not found


@pytest.mark.parametrize("path", TEMPLATES, ids=named)
def test_every_shape_a_template_names_is_in_the_sprite(path):
    shapes = set(re.findall(r'<symbol id="([^"]+)"', (STATIC / "img/sprite.svg").read_text()))

    assert set(re.findall(r'{% icon "([^"]+)"', path.read_text())) <= shapes


def test_the_static_files_can_be_collected_as_production_does(settings, tmp_path):
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"}
    }

    call_command("collectstatic", interactive=False, verbosity=0)

    hashed = json.loads((tmp_path / "staticfiles.json").read_text())["paths"]
    assert {"css/recourse.css", "js/theme.js", "vendor/htmx/htmx.min.js"} <= set(hashed)
