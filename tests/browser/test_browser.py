"""The browser fixtures themselves: what they must notice."""

from __future__ import annotations

import pytest

SHELL = '<!doctype html><html lang="en"><head><title>t</title>{head}</head><body><main><h1>t</h1>{body}</main></body></html>'  # noqa: E501


@pytest.fixture
def show(page):
    """Show a document at an address of our own, with a Content-Security-Policy."""

    def go(body, *, head="", status=200):
        def answer(route):
            route.fulfill(
                status=status,
                content_type="text/html",
                headers={"Content-Security-Policy": "script-src 'self'"},
                body=SHELL.format(head=head, body=body),
            )

        page.route("**/shown", answer)
        page.goto("/shown")
        return page

    return go


def test_a_blocked_script_is_noticed(show, complaints):
    complaints.expect("CSP: script-src-elem blocked inline")
    complaints.expect("Executing inline script violates")

    show("<script>1</script>").wait_for_timeout(100)

    assert any(one.startswith("CSP: ") for one in complaints)
    assert not complaints.unexpected


def test_a_console_message_and_an_error_of_the_page_are_noticed(show, complaints):
    complaints.expect("console warning: take care")
    complaints.expect("error: .*it broke")

    page = show("fine")
    page.evaluate("console.warn('take care'); setTimeout(() => { throw new Error('it broke') })")
    page.wait_for_timeout(100)

    assert len(complaints) == 2


def test_axe_finds_a_picture_without_a_text(show, axe):
    page = show('<img src="data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=">')

    assert [one.split()[0] for one in axe(page)] == ["image-alt"]


def test_axe_is_content_with_a_plain_page(show, axe):
    assert axe(show("fine")) == []


def test_a_narrow_page_in_the_dark_is_one(new_page):
    page = new_page(width=390, dark=True)

    assert page.evaluate("[innerWidth, matchMedia('(prefers-color-scheme: dark)').matches]") == [
        390,
        True,
    ]
