"""What docs/backup.md tells an operator to type, typed: restore, a lost machine, a stolen one, a lost owner. In the order of the page."""

import asyncio
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from peer.core.certificate import LogKind
from peer.core.encoding import encode
from peer.core.run import Draft
from tests.end_to_end.pages import Block, World, read_page
from tests.end_to_end.pages import blocks as blocks_of
from tests.end_to_end.processes import wait_until
from tests.integration.store_site import running_store

pytestmark = [pytest.mark.xdist_group("backup page"), pytest.mark.long_story]
PAGE = read_page("backup.md")
THEFT = "2026-11-20T14:00:00Z"


def blocks(section: str) -> list[Block]:
    """Those of a section of this page."""
    return blocks_of(PAGE, section)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """An office, and a site in the field that joined it, with a recording of each."""
    world = World(tmp_path_factory.mktemp("world"))
    world.sets_up("office").types("recmesh group create field-tests")
    world.sets_up("field")
    world.joins("field", world.invitation("office"))
    world.have(world.adds("office") + world.adds("field"), "office", "field")
    yield world
    world.end()


def check_that_a_backup_is_made_checked_and_restored(world: World) -> None:
    """What came after the backup comes back from the office, under its id; what is written then is there, too."""
    (make,), (restore,) = blocks("What is in a backup"), blocks("Restore")
    assert world.does(make).startswith("ok: ")
    later = world.adds("field", 2)
    names = ["run-1", "run-2", *later]
    world.have(names, "office")
    ids = {name: each["id"] for name, each in world.recordings("office").items()}
    world.machine("field").is_lost()

    world.does(restore)

    names += world.adds("field")
    world.have(names, "office", "field")
    assert ids.items() <= {name: each["id"] for name, each in world.recordings("field").items()}.items()
    assert world.status("office")["groups"][0]["forks"] == 0
    assert json.loads(world.machine("field").types("recmesh verify --deep --json"))["ok"] is True


def check_that_a_lost_machine_is_replaced_by_a_new_site(world: World) -> None:
    names = list(world.recordings("office"))
    world.machine("field").is_lost()
    remove, set_up, joins = blocks("A lost machine, and no backup")

    for block in (remove, set_up, joins):
        said = world.does(block)

    assert all(name in said for name in names)
    world.have(names, "new machine")
    group = json.loads(world.machine("new machine").types("recmesh group show field-tests --json"))
    assert {each["name"] for each in group["members"]} == {"office", "field-2"}


def check_that_a_stolen_machine_writes_nothing_that_counts_any_more(world: World) -> None:
    """It wrote before and after the theft: the first stays, the second goes, and what it still writes comes nowhere."""
    look, revoke, rotate = blocks("A stolen machine")
    names = list(world.recordings("office")) + world.adds("new machine")
    world.have(names, "office")
    world.stands_for[THEFT] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    world.have(names + world.adds("new machine"), "office")

    world.machine("new machine").is_lost()

    world.does(look)

    world.have(names, "office")
    recording = bytes.fromhex(world.recordings("office")["run-1"]["id"])
    asyncio.run(_write_as_a_thief(world.machine("new machine").data, recording))
    world.machine("new machine").leaves_open("recmesh serve")
    wait_until(lambda: {link["state"] for link in world.status("new machine")["links"]} <= {"refused", "offline"}, "the office does not talk to it")
    assert world.recordings("office")["run-1"]["tags"] == []
    world.have(names, "office")
    world.invitation("office")
    open_ones = [each["id"] for each in _json(world, "office", "recmesh group invitations field-tests") if each["state"] == "open"]
    world.stands_for["<invitation>"] = open_ones[0]
    world.machine("office").types("recmesh token create laptop")
    world.does(revoke)
    states = {each["id"]: each["state"] for each in _json(world, "office", "recmesh group invitations field-tests")}
    assert states[open_ones[0]] == "revoked"
    before = world.adds("office")
    events = _json(world, "office", "recmesh events field-tests")
    world.stands_for["<log>"] = next(each["log"] for each in events if each["kind"] == "data" and each["author_name"] == "office")
    world.does(rotate)
    world.have(names + before + world.adds("office"), "office")


async def _write_as_a_thief(data: Path, recording: bytes) -> None:
    """Sign with the keys on the machine, whatever its software says."""
    async with running_store(data, time.time_ns() // 1_000_000) as store:
        (group,) = store.replica.groups
        await store.write(group, LogKind.DATA, [Draft("recording.tag", encode({"recording": recording, "tag": "stolen", "present": True}))])


def check_that_the_first_owner_takes_the_group_back(world: World) -> None:
    """The daily owner is stolen; the first one comes out of its safe, from its backup, removes it and appoints another."""
    set_up, make, restore, tell, take_back = blocks("A lost owner")
    world.does(set_up)
    world.sets_up("depot")
    world.stands_for |= {f"<{name}>": world.machine(name).types("recmesh id") for name in ("safe", "office")}
    world.group = "archive"
    world.does(make)
    world.joins("office", world.stands_for["recmesh1..."])
    world.joins("depot", world.invitation("office"))
    names = world.adds("office") + world.adds("depot")
    world.have(names, "office", "depot", "safe")
    world.machine("safe").is_lost()
    world.machine("safe").types("rm -r ~/.local/share/recmesh")
    world.stands_for[THEFT] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    world.adds("office")
    world.machine("office").is_lost()
    world.stands_for["<address of safe>"] = world.machine("safe").endpoint

    for block in (restore, tell):
        world.does(block)
    world.have([*names, f"run-{world.count}"], "safe")
    world.does(take_back)

    world.have(names, "depot", "safe")
    for machine in ("safe", "depot"):
        wait_until(lambda machine=machine: _roles(world, machine) == {"safe": "owner", "depot": "admin"}, f"{machine} knows the new roles")  # type: ignore[misc]
    assert world.machine("depot").types("recmesh group invite archive").startswith("recmesh1")


def _roles(world: World, machine: str) -> dict[str, str]:
    return {each["name"]: each["role"] for each in _json(world, machine, "recmesh group show archive")["members"]}


def _json(world: World, machine: str, line: str) -> Any:
    return json.loads(world.machine(machine).types(f"{line} --json"))


def test_the_page_from_top_to_bottom(world: World) -> None:
    """One story: each part begins where the one before it ended."""
    check_that_a_backup_is_made_checked_and_restored(world)
    check_that_a_lost_machine_is_replaced_by_a_new_site(world)
    check_that_a_stolen_machine_writes_nothing_that_counts_any_more(world)
    check_that_the_first_owner_takes_the_group_back(world)


def test_every_command_of_the_page_is_typed() -> None:
    """No block is left out: each is of a section that a test above does."""
    done = ("What is in a backup", "Restore", "A lost machine, and no backup", "A stolen machine", "A lost owner")

    assert sum(len(blocks(section)) for section in done) == PAGE.count("```sh\n")
