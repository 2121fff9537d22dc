from __future__ import annotations

import hashlib
import json

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from governance import canonical
from governance.errors import Unprocessable

ASCII = st.text(st.characters(max_codepoint=127, exclude_characters="\0"))
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
INTEGERS = st.integers(-canonical.LARGEST_INT, canonical.LARGEST_INT)
FACTS = st.recursive(
    st.none() | st.booleans() | INTEGERS | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(ASCII, inner),
)


@given(FACTS)
def test_the_fast_form_is_the_one_rfc_8785_prescribes(value):
    assert canonical.fast(value) == rfc8785.dumps(value)


@given(FACTS)
def test_the_fast_form_survives_a_store_that_keeps_json(value):
    stored = json.loads(json.dumps(value))

    assert canonical.fast(stored) == canonical.fast(value)


def test_a_digest_does_not_depend_on_the_order_of_keys():
    assert canonical.digest({"b": 1, "a": 2}) == canonical.digest({"a": 2, "b": 1})


def test_a_digest_is_of_the_form_the_rfc_gives_for_its_own_example():
    """Source: RFC 8785, 3.2.2 (input) and 3.2.3 (output)."""
    example = json.loads(
        r"""{
          "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
          "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
          "literals": [null, true, false]
        }"""
    )

    digest = canonical.digest(example)

    form = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        r'"string":"€$\u000f\nA'
        r"""'B\"\\\\\"/"}"""
    )
    assert digest == hashlib.sha256(form.encode()).hexdigest()


@pytest.mark.parametrize(
    "value", [2**53, -(2**53), float("nan"), float("inf"), "\ud800", {"\ud800": 1}]
)
def test_what_rfc_8785_cannot_express_is_refused_with_a_reason(value):
    with pytest.raises(Unprocessable, match="RFC 8785"):
        canonical.digest({"amount": [value]})


@pytest.mark.parametrize("value", [2**53, -(2**53), "\ud800", "a\0b", {"a\0b": 1}])
def test_facts_that_only_their_sender_can_mend_are_refused(value):
    with pytest.raises(Unprocessable):
        canonical.fast({"note": [value]})


@pytest.mark.parametrize("value", [1.0, b"x", (1, 2), {"é": 1}, {1: 1}, object()])
def test_facts_outside_the_subset_are_a_defect(value):
    with pytest.raises(TypeError):
        canonical.fast({"fact": [value]})
