"""`verify.py` of a pack, by itself: what it computes must be what the libraries compute."""

from __future__ import annotations

import ast
import json
import runpy
import sys

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given
from hypothesis import strategies as st

from governance import canonical, commitments, seals
from governance.evidence.packing import VERIFIER
from governance.evidence.proofs import paths

SOURCE = VERIFIER.read_text()
ITS = runpy.run_path(str(VERIFIER), run_name="tested")
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53) + 1, 2**53 - 1)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=12,
)


def test_it_runs_on_python_3_9_with_nothing_installed():
    tree = ast.parse(SOURCE, feature_version=(3, 9))

    names = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])
    }  # fmt: skip
    assert names <= sys.stdlib_module_names


@given(values)
@example({"\ufb33": 1, "\U0001f600": 2})  # by UTF-16 the other way round than by code points
@example([1e21, 1e-7, 0.000001, 123456789012345680000.0, -0.0, 5e-324, 1e23, 4.50, 333333333.33333329])  # fmt: skip
def test_it_writes_json_as_rfc_8785_does(value):
    assert ITS["canonical"](value) == rfc8785.dumps(value)


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=40), st.data())
def test_it_takes_the_signatures_that_a_library_makes_and_no_others(seed, message, data):
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public, signature = key.public_key().public_bytes_raw(), key.sign(message)

    assert ITS["is_signed"](public, signature, message)
    assert not ITS["is_signed"](public, signature, message + b"x")
    bent = bytearray(signature)
    bent[data.draw(st.integers(0, 63))] ^= 1 << data.draw(st.integers(0, 7))
    assert not ITS["is_signed"](public, bytes(bent), message)


@pytest.mark.parametrize(
    ("public", "message", "signature"),
    [
        (
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bac"
            "c61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e"
            "458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
    ],
)
def test_it_takes_the_examples_of_rfc_8032(public, message, signature):
    """Source: RFC 8032, 7.1, tests 1 and 2."""
    given_ = [bytes.fromhex(each) for each in (public, signature, message)]

    assert ITS["is_signed"](*given_)


def test_it_takes_no_second_spelling_of_a_signature():
    """Source: RFC 8032, 5.1.7: S is below the order of the group, else anybody could write another one."""
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    public, signature = key.public_key().public_bytes_raw(), key.sign(b"")
    scalar = int.from_bytes(signature[32:], "little") + ITS["ORDER"]
    again = signature[:32] + scalar.to_bytes(32, "little")

    assert not ITS["is_signed"](public, again, b"")
    assert not ITS["is_signed"](public, signature[:63], b"")
    assert not ITS["is_signed"](public[:31], signature, b"")


@given(st.lists(st.binary(min_size=1, max_size=3), min_size=1, max_size=40, unique=True), st.data())
def test_a_path_leads_from_its_leaf_to_the_root_and_from_no_other(leaves, data):
    tree = seals.MerkleTree()
    for leaf in leaves:
        tree.add(leaf)
    position = data.draw(st.integers(0, len(leaves) - 1))

    path = [node.hex() for node in paths(leaves, [position])[position]]

    root_by, root = ITS["root_by"], tree.root().hex()
    assert root_by(leaves[position], position, len(leaves), path) == root
    assert root_by(leaves[position] + b"x", position, len(leaves), path) != root
    assert root_by(leaves[position], position, len(leaves), [*path, "00" * 32]) != root
    assert root_by(leaves[position], len(leaves), len(leaves), path) == ""
    if path:
        assert root_by(leaves[position], position, len(leaves), path[:-1]) != root
        assert root_by(leaves[position], position ^ 1, len(leaves), path) != root


@given(values, st.sets(st.sampled_from(["", "/a", "/b", "/a/0", "/b/a"])))
@example({"a": {"x": "IBAN"}, "b": [1.5]}, {"/a"})
def test_a_state_shown_in_part_gives_the_digest_of_the_whole(state, hidden):
    salt = commitments.new_salt()
    whole = commitments.digest_of(state, salt=salt, side="before", hidden=hidden)

    fields = [
        each.as_shown
        for each in (
            commitments.fields_of(state, salt=salt, side="before", hidden=hidden) if whole else ()
        )
    ]

    if whole:
        shown = json.loads(json.dumps(fields))
        assert ITS["digest_of_state"](shown) == whole
        for each in shown:
            assert ("value" in each) is (each["pointer"] not in hidden)
            assert ("salt" in each) is ("value" in each)


def test_the_same_value_has_another_digest_in_another_state_on_another_side():
    one, other = commitments.new_salt(), commitments.new_salt()

    digests = {
        commitments.digest_of({"a": 1}, salt=salt, side=side, hidden=())
        for salt in (one, other)
        for side in ("before", "after")
    }

    assert len(digests) == 4


def test_what_a_database_may_give_back_as_another_number_has_no_digest():
    for odd in (1e25, float(2**60), 2**60, float("nan")):
        assert commitments.digest_of({"a": odd}, salt="00", side="before", hidden=()) == ""


def test_a_payload_is_committed_to_with_what_is_kept_back_as_a_salted_digest():
    salt, payload = commitments.new_salt(), {"a": {"b": 1}, "c": [{"d": "x"}], "e": 2}

    found = commitments.committed(payload, ["/a/b", "/c/0"], salt=salt)

    assert (found["e"], set(found["a"]["b"]), set(found["c"][0])) == (2, {"sha256"}, {"sha256"})
    assert commitments.committed(payload, ["/a/b", "/c/0"], salt=salt) == found
    for other in ({**payload, "a": {"b": 2}}, {**payload, "c": [{"d": "y"}]}):
        assert commitments.committed(other, ["/a/b", "/c/0"], salt=salt) != found
    assert commitments.committed(payload, ["/a/b"], salt=commitments.new_salt()) != found
    assert commitments.committed(payload, [], salt=salt) == payload
    assert (
        commitments.committed(payload, ["/a/b"], salt="") == payload
    )  # from before there were any


def test_a_blinded_digest_is_of_its_salt_its_place_and_its_value():
    one, other = commitments.new_salt(), commitments.new_salt()

    digests = {
        commitments.blinded(value, salt=salt, what=what)
        for value in ({"a": 1}, {"a": 2})
        for salt in ("", one, other)
        for what in ("forward 1", "undo 1")
    }

    assert len(digests) == 10  # without a salt the place says nothing
    assert canonical.digest({"a": 1}) in digests


def test_what_is_hidden_is_left_out_of_a_payload_and_all_else_stays():
    payload = {"a": {"b": 1, "c": [1, {"d/e": 2}]}, "f": None}

    found = commitments.without(payload, ["/a/c/1/d~1e", "/f"])

    kept_back = commitments.HIDDEN
    assert found == {"a": {"b": 1, "c": [1, {"d/e": kept_back}]}, "f": kept_back}
