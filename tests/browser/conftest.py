"""A real browser: Debian's Chromium, driven by Playwright, over pytest-django's live server."""

from __future__ import annotations

import os
import re
import shutil

import pytest
from django.test import override_settings

ARGUMENTS = [
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
USUAL_PLACES = ("chromium", "chromium-browser", "google-chrome")
TIMEOUT_MS = 15_000
# Runs before any script of the page. The report comes as an event, which no page can turn off.
REPORT_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) => {
  const what = event.blockedURI || event.sample || "inline";
  window.reportViolation(`${event.effectiveDirective} blocked ${what} at ${event.sourceFile}`);
});
"""


def chromium():
    """Return the path of CHROMIUM, or of one in a usual place. None: there is none."""
    named = os.environ.get("CHROMIUM")
    if named:
        return shutil.which(named)
    return next(filter(None, map(shutil.which, USUAL_PLACES)), None)


def pytest_collection_modifyitems(items):
    """Whatever uses the browser is a browser test, and can be left out as such."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session", autouse=True)
def _static_files_need_not_be_collected():
    """The live server, which lasts for the session, hands them out from where they are written."""
    with override_settings(WHITENOISE_AUTOREFRESH=True):
        yield


@pytest.fixture(scope="package")
def browser():
    """One Chromium for all tests of this package.

    While Playwright is at work this thread has a running event loop, and
    Django refuses its ORM there. The permission goes when the browser goes.
    """
    path = chromium()
    if path is None:
        pytest.skip("no Chromium")
    from playwright.sync_api import sync_playwright

    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        found = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield found
        found.close()


class Complaints(list):
    """What the browser complained about: CSP violations, console messages, errors of the page."""

    def __init__(self):
        super().__init__()
        self._expected = []

    def expect(self, pattern):
        """Say that complaints that match this are part of the test: a refusal is a 409, say."""
        self._expected.append(re.compile(pattern))

    @property
    def unexpected(self):
        return [one for one in self if not any(e.search(one) for e in self._expected)]


@pytest.fixture
def complaints():
    """Collect the browser's complaints of this test. One that was not expected fails it."""
    found = Complaints()
    yield found
    assert not found.unexpected, "the browser complained:\n" + "\n".join(found.unexpected)


@pytest.fixture
def new_page(browser, complaints, live_server):
    """Return a function that opens a page of its own: `new_page(width=390, dark=True, person=...)`.

    Each has its own session; with `person` it is that person's. `goto` takes
    paths. What the browser complains about goes into `complaints`.
    """
    contexts = []

    def open_page(*, width=1440, height=900, dark=False, person=None, base_url=None, **options):
        context = browser.new_context(
            base_url=base_url or live_server.url,
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
            **options,
        )
        contexts.append(context)
        context.set_default_timeout(TIMEOUT_MS)
        context.expose_function("reportViolation", lambda what: complaints.append(f"CSP: {what}"))
        context.add_init_script(REPORT_VIOLATIONS)
        context.on("console", lambda message: _hear(complaints, message))
        context.on("weberror", lambda error: complaints.append(f"error: {error.error}"))
        if person is not None:
            _sign_in(context, person, base_url or live_server.url)
        return context.new_page()

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def page(new_page):
    """A page at 1440 px, in light, of nobody in particular."""
    return new_page()


@pytest.fixture
def axe():
    """Return a function that looks at a page and returns axe's violations: `axe(page) == []`."""
    from axe_playwright_python.sync_playwright import Axe

    def violations(page):
        found = Axe().run(page).response["violations"]
        return [
            f"{one['id']} ({one['impact']}): {node['html'][:200]}"
            for one in found
            for node in one["nodes"]
        ]

    return violations


def _hear(complaints, message):
    if message.type in {"error", "warning"}:
        complaints.append(
            f"console {message.type}: {message.text} {message.location.get('url', '')}"
        )


def _sign_in(context, person, url):
    """Give the context a session of this person, as after the log-in page."""
    from django.conf import settings
    from django.test import Client

    client = Client()
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    cookie = client.cookies[settings.SESSION_COOKIE_NAME]
    context.add_cookies([{"name": cookie.key, "value": cookie.value, "url": url}])
