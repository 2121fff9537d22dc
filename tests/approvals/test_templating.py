"""Keys and titles made from what an agent sent."""

from __future__ import annotations

import pytest

from approvals.templating import at_pointer, key, title

TEMPLATE = "demo:{/vendor}/{/invoice}/{/instalment}"


def test_a_key_is_made_of_what_the_pointers_find():
    payload = {"vendor": "V-1", "invoice": "INV-7", "instalment": 2}

    assert key(TEMPLATE, payload) == "demo:v-1/inv-7/2"


def test_what_is_left_out_stands_as_nothing():
    assert key(TEMPLATE, {"vendor": "a", "invoice": "b"}) == "demo:a/b/"


@pytest.mark.parametrize(
    "vendor",
    [
        "Acme GmbH",
        "acme gmbh",
        " Acme  GmbH ",
        "\uff21\uff23\uff2d\uff25 GmbH",
        "ACME\u00a0GmbH",
        "Acme\tGmbH",
    ],
)
def test_spelling_makes_no_other_document(vendor):
    assert key("{/vendor}", {"vendor": vendor}) == "acme%20gmbh"


def test_a_separator_in_a_value_makes_no_other_key():
    one = key("{/a}/{/b}", {"a": "x/y", "b": "z"})
    other = key("{/a}/{/b}", {"a": "x", "b": "y/z"})

    assert one != other


def test_a_value_is_never_a_template():
    assert (
        title("Pay {amount} to {/v}", {"v": "{amount}"}, amount="$1.00") == "Pay $1.00 to {amount}"
    )


@pytest.mark.parametrize("pointer", ["/nothing", "/a/b/c", "/list/7", "no-slash"])
def test_a_pointer_to_nothing_finds_nothing(pointer):
    assert at_pointer({"a": "x", "list": [1]}, pointer) is None
