"""A program that is written by the protocol page alone, without a WebSocket, is a member like others."""

import ast
import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import blake3
import cbor2
import pytest

from tests.end_to_end.processes import DEADLINE_S, Site, found, join, wait_until
from tests.end_to_end.test_kills import write_bag

SCRIPT = Path(__file__).with_name("plain_script.py")
FOREIGN = {"blake3", "cbor2", "nacl"}


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Site]:
    """A site with a group and a recording in it."""
    site = Site("office", tmp_path / "office")
    site.start()
    found(site)
    write_bag(tmp_path / "one.mcap", 1)
    site.add(tmp_path / "one.mcap")
    yield site
    if site.is_running:
        site.kill()


def test_the_script_has_nothing_of_this_project_and_no_websocket() -> None:
    tree = ast.parse(SCRIPT.read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= FOREIGN | sys.stdlib_module_names


@pytest.mark.parametrize("through", ["admin", "writer"])
def test_a_plain_script_joins_pulls_pushes_and_leaves(office: Site, tmp_path: Path, through: str) -> None:
    """What it pushes shows at a peer that it never met; where a mere writer is asked, that one asks an admin over its link."""
    field = Site("field", tmp_path / "field")
    try:
        field.start()
        join(office, field)
        wait_until(lambda: field.recordings().keys() == {"one"}, "the writer has what is there")
        text = office.command("group", "invite", "lab", "--role", "writer").stdout.strip()
        if through == "writer":
            text = _through(text, field)
        _run_script(office, field, text, leaves=through == "admin")
    finally:
        if field.is_running:
            field.kill()


def _run_script(office: Site, field: Site, invitation: str, *, leaves: bool) -> None:
    script = subprocess.Popen(
        [sys.executable, "-I", str(SCRIPT), invitation], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert script.stdout is not None
    try:
        line = script.stdout.readline()
        assert line, script.communicate(timeout=DEADLINE_S)[1]
        told = json.loads(line)
        assert told["genesis"] == "lab"
        assert told["types"]["recording.create"] == 1
        assert told["types"]["member.set"] == 3
        wait_until(
            lambda: "by-hand" in office.recordings()["one"]["tags"] and "by-hand" in field.recordings()["one"]["tags"], "the tag shows at both"
        )
        events = office.group()["events"]
        assert events == told["events"] + 1, "the script holds what the peer holds, and its own event on top"
        assert _role(office, told["peer_id"]) == "writer"
        if leaves:
            output, errors = script.communicate("\n", timeout=DEADLINE_S)
            assert (script.returncode, json.loads(output)) == (0, {"left": True}), errors
            wait_until(lambda: _role(field, told["peer_id"]) == "none", "the other member knows that it left")
            assert "by-hand" in office.recordings()["one"]["tags"], "what it wrote as a member stays"
    finally:
        script.kill()
        script.communicate(timeout=DEADLINE_S)


def _role(site: Site, peer_id: str) -> str:
    members = site.json("group", "show", "lab")["members"]
    return next((str(each["role"]) for each in members if each["peer_id"] == peer_id), "none")


def _through(text: str, site: Site) -> str:
    """The same invitation, to be used at another member."""
    encoded = text.removeprefix("recmesh1").upper()
    fields = cbor2.loads(base64.b32decode(encoded + "=" * (-len(encoded) % 8))[:-4])
    fields[4], fields[5] = bytes.fromhex(site.status()["peer_id"]), f"http://127.0.0.1:{site.listen}"
    data = cbor2.dumps(fields)
    return "recmesh1" + base64.b32encode(data + blake3.blake3(data).digest()[:4]).decode().rstrip("=").lower()
