"""Digests are compared by peers that have the same version of the projections: what goes into them must change with that version alone."""

import ast
from collections.abc import Iterator
from pathlib import Path

import materializer
from materializer import bodies
from materializer.digest import PROJECTION_VERSION, TABLES
from peer.core.encoding import encode
from peer.core.hashing import hash_bytes

REASONS = {"PoisonError", "need", "need_fields", "_blobs", "_ids"}
"""What is called with the text, or a part of it, that stands as a reason in the table of poison."""
PINNED = {4: "9927753f8f147933f3fda70ca3874464b7d71f26baa0c8e7df861bed12b54e4d"}


def reasons() -> Iterator[list[str]]:
    """The texts of all reasons, without what is filled in."""
    for path in sorted(Path(materializer.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in REASONS:
                text = node.args[min(len(node.args), 3 if node.func.id == "need_fields" else 2) - 1]
                yield [each.value for each in ast.walk(text) if isinstance(each, ast.Constant) and isinstance(each.value, str)]


def test_reasons_columns_and_known_types_change_with_the_version_of_projections_alone() -> None:
    """A reason in other words would be an alarm at each peer that has an unreadable event and another build."""
    found = sorted(each for each in reasons() if each)
    assert len(found) > 40
    columns = [[table, *names] for table, names in TABLES.items()]
    types = sorted(bodies._READERS)
    assert PINNED.get(PROJECTION_VERSION) == hash_bytes(encode([found, columns, types])).hex(), (
        "raise PROJECTION_VERSION, once for each release, and pin this"
    )
