"""Pages that tell an operator what to type, typed: their blocks, and the machines that they speak of."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from peer.cli.sample import write_sample
from tests.end_to_end.machines import ROOT, Machine
from tests.end_to_end.processes import wait_until

SECTION = re.compile(r"^## (.+?)\n(.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE)
BLOCK = re.compile(r"```sh\n# (?:at|in|on) the ([a-z ]+)\n(.*?)```", re.DOTALL)
BACKUPS = "/mnt/backups"


def read_page(name: str) -> str:
    """A page of the documents."""
    return (ROOT / "docs" / name).read_text()


class Block(NamedTuple):
    """Lines that belong to one machine."""

    machine: str
    lines: list[str]


def blocks(page: str, section: str) -> list[Block]:
    """Those of a section, without the comments in them."""
    text = dict(SECTION.findall(page))[section]
    return [Block(name, [line.split("   #")[0].strip() for line in lines.splitlines()]) for name, lines in BLOCK.findall(text)]


class World:
    """The machines of the page, and what its placeholders stand for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._machines: dict[str, Machine] = {}
        self.count = 0
        self.stands_for: dict[str, str] = {BACKUPS: str(folder / "backups")}
        (folder / "backups").mkdir()

    def machine(self, name: str) -> Machine:
        """The machine that the page calls so."""
        if name not in self._machines:
            self._machines[name] = Machine(name.replace(" ", "-"), self._folder / name.replace(" ", "-"))
        return self._machines[name]

    def sets_up(self, name: str) -> Machine:
        """A machine with a running peer, as the README has it."""
        machine = self.machine(name)
        machine.types(f"recmesh init --name {name}")
        machine.leaves_open("recmesh serve")
        return machine

    def does(self, block: Block) -> str:
        """Type a block; what its last line printed."""
        machine, said = self.machine(block.machine.removesuffix(" machine") if "new" not in block.machine else "new machine"), ""
        for line in block.lines:
            said = self.types(machine, line) or said
        return said

    def types(self, machine: Machine, line: str) -> str:
        """Type a line, with what its placeholders stand for; what it printed."""
        for placeholder, text in self.stands_for.items():
            line = line.replace(placeholder, text)
        assert not re.search(r"<[a-z ]+>", line), line
        if line == "recmesh serve":
            machine.leaves_open(line)
            return ""
        if "--listen none" in line:
            machine.hides()
        said = machine.types(line)
        if said.startswith("recmesh1"):
            self.stands_for["recmesh1..."] = said
        return said

    def adds(self, name: str, count: int = 1) -> list[str]:
        """Add recordings at a machine; their names."""
        names: list[str] = []
        for _ in range(count):
            self.count += 1
            path = self._folder / f"run-{self.count}.mcap"
            write_sample(path, 8192, self.count)
            self.machine(name).types(f"recmesh recording add {path} --name run-{self.count} --group {self.group}")
            names.append(f"run-{self.count}")
        return names

    group = "field-tests"

    def joins(self, name: str, invitation: str) -> None:
        self.machine(name).types(f"recmesh group join '{invitation}'")

    def invitation(self, name: str) -> str:
        return self.machine(name).types(f"recmesh group invite {self.group}")

    def recordings(self, name: str) -> dict[str, Any]:
        """What a machine lists."""
        listed: list[dict[str, Any]] = json.loads(self.machine(name).types(f"recmesh recording list --group {self.group} --json"))
        return {each["name"]: each for each in listed}

    def have(self, names: list[str], *machines: str) -> None:
        """Wait until these machines have exactly these recordings, with all bytes."""
        for machine in machines:
            wait_until(
                lambda machine=machine: {key: each["state"] for key, each in self.recordings(machine).items()} == dict.fromkeys(names, "local"),  # type: ignore[misc]
                f"{machine} has {names}",
            )

    def status(self, name: str) -> dict[str, Any]:
        return json.loads(self.machine(name).types("recmesh status --json"))  # type: ignore[no-any-return]

    def end(self) -> None:
        for machine in self._machines.values():
            machine.leaves()
