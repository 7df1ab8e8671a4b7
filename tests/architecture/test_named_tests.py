"""Documents that name a test as proof name one that is there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(tests/[a-z_/]+\.py)(?:::(test_[a-z0-9_]+))?(?:\[[^`]*\])?`")
DOCUMENTS = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md"])


def named_tests(document: Path) -> list[tuple[str, str]]:
    """File and function, if one is named, of each test that a document names."""
    return [(file, function or "") for file, function in NAMED.findall(document.read_text())]


def functions(file: Path) -> set[str]:
    """The tests in a file."""
    tree = ast.parse(file.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_test_that_a_document_names_is_there(document: Path) -> None:
    missing = [
        f"{file}::{function}"
        for file, function in named_tests(document)
        if not (ROOT / file).is_file() or (function and function not in functions(ROOT / file))
    ]
    assert not missing


def test_security_names_many() -> None:
    """A pattern that finds nothing proves nothing."""
    assert len(named_tests(ROOT / "docs" / "security.md")) > 50
