"""`docs/security.md` lists every limit with its default and the test that hits it: the list and the code say the same."""

import ast
import importlib
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from peer.config import Config

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "security.md"
LISTED = ("peer/transport", "peer/sync/limits.py", "peer/hub/limits.py")
"""Where every constant that looks like a limit has to be in the list."""

LIMIT = re.compile(r"(_MAX|_MAX_S|_MAX_MS|_TIMEOUT_S|_TIMEOUT_MS|_PER_SECOND)\Z")
NOT_FOR_OTHERS = {
    "peer.transport.blob_client.CONNECT_TIMEOUT_S": "as for links",
    "peer.transport.blob_client.ERROR_SIZE_MAX": "what is read of a refusal to keep the connection",
    "peer.transport.blob_client.NONCES_MAX": "nonces for later that we keep",
    "peer.transport.blob_client.TRIES_MAX": "how often we ask",
    "peer.transport.blob_sources.CLIENTS_MAX": "connections that we keep open",
    "peer.transport.asked.BLOB_TIMEOUT_S": "how long we wait for a part",
    "peer.transport.asked.POSSESSION_TIMEOUT_S": "how long we wait for proofs",
    "peer.transport.links.LEARN_TIMEOUT_S": "how long our own first write waits",
    "peer.transport.listener.CLOSE_TIMEOUT_S": "how long we take to stop",
    "peer.transport.reaching.GROUP_TIMEOUT_S": "how long a test of a peer takes",
    "peer.transport.reaching.LINK_TIMEOUT_S": "as above",
    "peer.transport.reaching.STEP_TIMEOUT_S": "as above",
    "peer.transport.tls.FILE_SIZE_MAX": "the operator's own files",
    "peer.sync.limits.HAVE_SIZE_MAX": "what we send",
}
UNITS = {"": 1, "KiB": 1024, "MiB": 1024**2, "s": 1}


class Row(NamedTuple):
    """One limit, as it is documented."""

    name: str
    default: str
    setting: str
    over: str
    test: str


def rows() -> list[Row]:
    section = DOCUMENT.read_text().split("\n## Limits\n", maxsplit=1)[1].split("\n## ", maxsplit=1)[0]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in section.splitlines() if line.startswith("| `")]
    assert {len(row) for row in cells} == {6}
    return [Row(row[0].strip("`"), row[2], row[3].strip("`"), row[4], row[5].strip("`")) for row in cells]


ROWS = rows()


def value_of(name: str) -> float:
    module, _, constant = name.rpartition(".")
    return float(getattr(importlib.import_module(module), constant))


def documented(row: Row) -> float:
    """In the unit of the constant: its name says which."""
    number, _, unit = row.default.replace(" 000", "000").replace("262 144", "262144").replace("65 536", "65536").partition(" ")
    milliseconds = 1000 if unit == "s" and "_MS" in row.name.rpartition(".")[2] else 1
    return float(number) * UNITS[unit] * milliseconds


def test_the_table_is_found() -> None:
    assert len(ROWS) > 40
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert all(row.over for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_a_limit_has_the_documented_default(row: Row) -> None:
    assert value_of(row.name) == documented(row)
    if row.setting:
        assert Config.model_fields[row.setting].default == value_of(row.name)


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_a_limit_names_a_test_that_there_is(row: Row) -> None:
    check_test(row.test)


def test_every_test_that_the_document_names_is_there() -> None:
    named = re.findall(r"`(tests/[^`]+::[^`]+)`", DOCUMENT.read_text())

    assert len(named) >= len(ROWS)
    for each in named:
        check_test(each)


def check_test(named: str) -> None:
    """Fail unless `file::test`, or `file::test[case]` with a case that stands in the file, is there."""
    path, _, test = named.partition("::")
    name, _, case = test.partition("[")
    text = (ROOT / path).read_text()
    functions = {each.name for each in ast.walk(ast.parse(text)) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert name in functions, f"{named} is not there"
    wanted = case.rstrip("]")
    assert not wanted or f'"{wanted}"' in text or f'"{wanted.replace("-", " ")}"' in text, f"{named}: no such case"


def test_every_limit_is_in_the_table() -> None:
    files = [path for place in LISTED for path in ([ROOT / place] if place.endswith(".py") else sorted((ROOT / place).glob("*.py")))]
    found = {
        f"{path.relative_to(ROOT).with_suffix('').as_posix().replace('/', '.')}.{target.id}"
        for path in files
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and LIMIT.search(target.id)
    }

    assert found - {row.name for row in ROWS} == NOT_FOR_OTHERS.keys() & found
    assert NOT_FOR_OTHERS.keys() <= found
