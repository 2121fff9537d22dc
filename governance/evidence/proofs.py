"""Inclusion proofs: that one leaf is in a tree of which only the root is known."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence


def paths(leaves: Sequence[bytes], positions: Iterable[int]) -> dict[int, list[bytes]]:
    """Return by position the audit path of a leaf: the nodes beside its way up, the lowest first.

    Args:
        leaves: the contents of all leaves, in their order.
        positions: of the leaves asked for, from 0.

    Source: RFC 6962, 2.1.1. The tree is built level by level; a node without a
    neighbour goes up as it is, which gives the same tree as its recursive definition.
    """
    found: dict[int, list[bytes]] = {position: [] for position in positions}
    level = [hashlib.sha256(b"\x00" + leaf).digest() for leaf in leaves]
    height = 0
    while len(level) > 1:
        for position, path in found.items():
            beside = (position >> height) ^ 1
            if beside < len(level):
                path.append(level[beside])
        pairs = zip(level[::2], level[1::2], strict=False)
        above = [hashlib.sha256(b"\x01" + left + right).digest() for left, right in pairs]
        level = above + level[len(above) * 2 :]
        height += 1
    return found
