"""What the README tells a newcomer to type, typed: two sites with default settings, TLS between them, in the order of the page."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from peer.cli.main import app
from peer.cli.sample import write_sample
from tests.end_to_end.machines import Machine
from tests.end_to_end.processes import wait_until

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
PLACEHOLDER = "recmesh1..."
COMMAND = re.compile(r"`recmesh ([a-z]+[a-z-]*)(?: ([a-z]+[a-z-]*))?")


def commands() -> list[list[str]]:
    """The lines of each block, without their comments."""
    return [[line.split("#")[0].strip() for line in block.splitlines()] for block in BLOCK.findall(README)]


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[tuple[Machine, Machine]]:
    office, field = Machine("office", tmp_path / "office"), Machine("field", tmp_path / "field")
    bag = tmp_path / "field/bags/run-1"
    bag.mkdir(parents=True)
    write_sample(bag / "run-1_0.mcap", 64 * 1024, 1_790_000_000 * 10**9)
    yield office, field
    field.leaves()
    office.leaves()


def test_two_machines_in_five_minutes(machines: tuple[Machine, Machine]) -> None:
    office, field = machines
    make, both, found, joined, looked = commands()
    for target in make:
        assert re.search(rf"^{target.removeprefix('make ')}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    office.sets_up(both)
    field.sets_up(both)
    create, invite = found
    office.types(create)
    invitation = office.types(invite)
    for line in joined:
        field.types(line.replace(PLACEHOLDER, invitation))

    def is_at_the_office() -> bool:
        recordings: list[dict[str, Any]] = json.loads(office.types(f"{looked[0]} --json"))
        return [(each["name"], each["state"]) for each in recordings] == [("run-1", "local")]

    wait_until(is_at_the_office, "the recording is at the office")
    (link,) = json.loads(field.types("recmesh status --json"))["links"]
    assert (link["name"], link["dialled_by_us"]) == ("office", True)
    for line in looked:
        assert "run-1" in office.types(line) or line == "recmesh status"
    (folder,) = office.data.glob("recordings/field-tests-*/run-1")
    assert {each.name for each in folder.iterdir()} == {"manifest.json", "manifest.cbor", "run-1_0.mcap"}
    assert (folder / "run-1_0.mcap").read_bytes() == (field.data.parents[2] / "bags/run-1/run-1_0.mcap").read_bytes()


@pytest.mark.parametrize("page", ["README.md", "CHANGELOG.md", *(f"docs/{each.name}" for each in sorted((ROOT / "docs").glob("*.md")))])
def test_the_commands_that_are_written_about_exist(page: str) -> None:
    root: Any = get_command(app)
    for noun, verb in COMMAND.findall((ROOT / page).read_text()):
        command = root.commands.get(noun)
        assert command is not None, noun
        assert not hasattr(command, "commands") or not verb or verb in command.commands, (noun, verb)
