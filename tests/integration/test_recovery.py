"""A damaged or lost log.db: moved aside, and everything that can still be read and proven is in the new one."""

import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from peer.core.certificate import LogKind
from peer.core.encoding import encode
from peer.core.event import link_event, read_header
from peer.core.group import Genesis
from peer.core.identity import EventId, GroupId
from peer.errors import DataDirectoryVersionError, DiskFullError
from peer.store.database import PAGE_SIZE
from peer.store.directory import DataDirectory
from peer.store.keys import KeyFiles
from peer.store.known import KNOWN_FILE, KnownKeeper
from peer.store.peers import KnownPeer
from peer.store.recovery import Salvaged, recover, reports, waiting_path
from peer.store.verification import verify_log
from tests.integration.store_site import fork, running_store
from tests.samples import GROUP, SampleLog, genesis, key_pair, note
from tests.small_disk import small_disk

__all__ = ["small_disk"]

EVENTS = 900
FLIPS = 40
BOB = KnownPeer(key_pair("bob").peer_id, "bob", ("http://127.0.0.1:7850",), (GROUP,))


async def fill(root: Path, *, known: bool = True) -> set[EventId]:
    """A log with own events, a foreign log with a fork, control events and a peer; returns all ids."""
    log = SampleLog("alice")
    base = log.write_notes(100)
    async with running_store(root) as store:
        await store.create_group(genesis())
        await store.put_peer(BOB)
        if known:
            await KnownKeeper(root / KNOWN_FILE, store).write()
        await store.append(log.certificate, base)
        for _ in range(30):
            await store.append(log.certificate, log.write_notes(10))
        await store.append(log.certificate, fork(log, base.events[20], "right").write_notes(50))
        control = SampleLog("alice", kind=LogKind.CONTROL)
        await store.append(control.certificate, control.write_notes(50))
        for number in range(40):
            await store.write(GROUP, LogKind.DATA, [note(number)] * 10)
        assert store.counts(GROUP).events == EVENTS
        return await ids_in(root)


async def ids_in(root: Path) -> set[EventId]:
    """What SQLite itself says is in a log."""
    connection = sqlite3.connect(root / "log.db")
    found = {EventId(row[0]) for row in connection.execute("SELECT id FROM events")}
    connection.close()
    return found


async def repair(root: Path) -> Salvaged | None:
    """What the start of a peer does first."""
    directory = DataDirectory(root)
    return await recover(directory, KeyFiles(directory.keys).peer_key(), lambda *_: None)


async def check_new(root: Path, original: set[EventId]) -> set[EventId]:
    """The new log verifies, holds nothing that was not in the old one, and goes on in a new log of its own; returns what it holds."""
    assert (await verify_log(root / "log.db", KeyFiles(root / "keys"))).problems == []
    held = await ids_in(root)
    assert held <= original
    async with running_store(root) as store:
        assert (await store.peers())[0] == BOB
        (stored,) = await store.write(GROUP, LogKind.DATA, [note()])
        assert stored.event.header.seq == 0
    return held


def flip(path: Path, offset: int, mask: int = 0xFF) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= mask
    path.write_bytes(data)


def fill_page(path: Path, number: int, byte: int) -> None:
    data = bytearray(path.read_bytes())
    data[(number - 1) * PAGE_SIZE : number * PAGE_SIZE] = bytes([byte]) * PAGE_SIZE
    path.write_bytes(data)


def cut(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)


def root_page(path: Path, name: str) -> int:
    connection = sqlite3.connect(path)
    (number,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,)).fetchone()
    connection.close()
    return int(number)


async def test_an_intact_log_is_left_alone(tmp_path: Path) -> None:
    await fill(tmp_path / "site")
    before = (tmp_path / "site/log.db").read_bytes()

    assert await repair(tmp_path / "site") is None

    assert (tmp_path / "site/log.db").read_bytes() == before
    assert reports(DataDirectory(tmp_path / "site")) == []


@pytest.mark.parametrize("known", [True, False], ids=["with known.json", "without"])
@pytest.mark.parametrize(
    ("harm", "at_least"),
    [
        (lambda path: flip(path, 0), EVENTS),
        (lambda path: flip(path, 60, 0x40), EVENTS),
        (lambda path: fill_page(path, 1, 0), EVENTS),
        (lambda path: fill_page(path, 1, 0xA5), EVENTS),
        (lambda path: fill_page(path, root_page(path, "events"), 0), EVENTS),
        (lambda path: flip(path, (root_page(path, "events") - 1) * PAGE_SIZE), EVENTS),
        (lambda path: fill_page(path, root_page(path, "events_by_id"), 0), EVENTS),
        (lambda path: fill_page(path, root_page(path, "events_by_height"), 0), EVENTS),
        (lambda path: fill_page(path, root_page(path, "branches"), 0), EVENTS),
        (lambda path: fill_page(path, root_page(path, "facts"), 0), EVENTS),
        (lambda path: fill_page(path, root_page(path, "open_logs"), 0), EVENTS),
        (lambda path: cut(path, path.stat().st_size - PAGE_SIZE), EVENTS // 2),
        (lambda path: cut(path, path.stat().st_size // 2), EVENTS // 4),
    ],
    ids=[
        "magic",
        "version",
        "no header",
        "noise as header",
        "no root",
        "root type",
        "ids",
        "heights",
        "branches",
        "facts",
        "open logs",
        "end",
        "half",
    ],
)
async def test_what_can_be_read_is_taken_over(tmp_path: Path, harm: Callable[[Path], None], at_least: int, *, known: bool) -> None:
    original = await fill(tmp_path / "site", known=known)
    harm(tmp_path / "site/log.db")
    damaged = (tmp_path / "site/log.db").read_bytes()
    assert (await verify_log(tmp_path / "site/log.db", KeyFiles(tmp_path / "site/keys"))).problems

    salvaged = await repair(tmp_path / "site")

    assert salvaged is not None
    assert salvaged.moved_to is not None
    assert (tmp_path / "site" / salvaged.moved_to).read_bytes() == damaged
    held = await check_new(tmp_path / "site", original)
    assert len(held) == salvaged.events >= at_least
    assert [each.problem.code for each in reports(DataDirectory(tmp_path / "site"))] == ["log_damaged"]
    assert await repair(tmp_path / "site") is None


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(b""), lambda path: path.write_bytes(b"\xa5" * 100_000)])
async def test_where_nothing_can_be_read_groups_and_addresses_are_still_known(tmp_path: Path, harm: Callable[[Path], object]) -> None:
    original = await fill(tmp_path / "site")
    harm(tmp_path / "site/log.db")

    salvaged = await repair(tmp_path / "site")

    assert salvaged is not None
    assert (salvaged.groups, salvaged.events) == (1, 0)
    assert await check_new(tmp_path / "site", original) == set()


async def test_bytes_flipped_anywhere_are_noticed_or_harmless_and_nothing_false_comes_in(tmp_path: Path) -> None:
    """After each flip either the log verifies as it is, or a new one is made that lacks what one page can hold at most."""
    original = await fill(tmp_path / "site")
    chance = random.Random(20_261_121)
    size = (tmp_path / "site/log.db").stat().st_size
    repaired = lost = 0
    for number in range(FLIPS):
        copy = tmp_path / f"copy-{number}"
        shutil.copytree(tmp_path / "site", copy)
        flip(copy / "log.db", chance.randrange(size), 1 << chance.randrange(8))
        salvaged = await repair(copy)
        held = await check_new(copy, original)
        if salvaged is None:
            assert held == original
        else:
            repaired += 1
            lost += len(original) - len(held)
            assert salvaged.waiting + len(held) >= len(original) - 64
        shutil.rmtree(copy)
    print(f"{FLIPS} flips: {repaired} repaired, {lost} events to be had from others")  # noqa: T201
    assert repaired >= FLIPS // 2
    assert lost


async def test_what_stands_above_a_hole_waits_and_comes_in_when_the_hole_is_filled(tmp_path: Path) -> None:
    log = SampleLog("alice")
    runs = [log.write_notes(1) for _ in range(200)]
    async with running_store(tmp_path / "site") as store:
        await store.create_group(genesis())
        await store.put_peer(BOB)
        for run in runs:
            await store.append(log.certificate, run)
    position = (tmp_path / "site/log.db").read_bytes().index(runs[100].events[0].header_bytes)
    flip(tmp_path / "site/log.db", position + 20)

    salvaged = await repair(tmp_path / "site")

    assert salvaged is not None
    assert (salvaged.events, salvaged.waiting) == (100, 99)
    assert waiting_path(DataDirectory(tmp_path / "site")).exists()


async def test_a_row_that_was_forged_into_the_file_is_not_taken_over(tmp_path: Path) -> None:
    """SQLite finds nothing wrong with it: the signatures do. One body is changed, and one event added that follows well but is not signed."""
    original = await fill(tmp_path / "site")
    connection = sqlite3.connect(tmp_path / "site/log.db")
    sql = "SELECT branch_no, height, id, header FROM events WHERE branch_no = 1 ORDER BY height DESC"
    branch, height, tip, header_bytes = connection.execute(sql).fetchone()
    header = read_header(header_bytes)
    forged = link_event(
        group=header.group, log=header.log, seq=height, previous=tip, hlc=header.hlc + 1, type_="note", refs=[], body=encode({"number": 666})
    )
    row = (9999, branch, height + 1, forged.id, forged.header_bytes, forged.body, bytes(64))
    connection.execute("INSERT INTO events (position, branch_no, height, id, header, body, signature) VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    connection.execute("UPDATE events SET body = x'a0' WHERE position = 700")
    connection.execute("UPDATE groups SET genesis = ?", (Genesis("mine", (key_pair("eve").peer_id,), bytes(32), 0, {}).to_bytes(),))
    connection.commit()
    connection.close()

    salvaged = await repair(tmp_path / "site")

    assert salvaged is not None
    held = await check_new(tmp_path / "site", original)
    assert len(held) < EVENTS


async def test_a_log_of_a_newer_version_is_not_damaged(tmp_path: Path) -> None:
    await fill(tmp_path / "site")
    connection = sqlite3.connect(tmp_path / "site/log.db")
    connection.execute("CREATE TABLE news (what TEXT)")
    connection.execute("PRAGMA user_version=99")
    connection.close()

    with pytest.raises(DataDirectoryVersionError):
        await repair(tmp_path / "site")

    assert list((tmp_path / "site").glob("log.db.*")) == []


async def test_without_room_for_a_second_log_nothing_is_changed(tmp_path: Path, small_disk: Path) -> None:
    log = SampleLog("alice")
    async with running_store(tmp_path / "site") as store:
        await store.create_group(genesis())
        for _ in range(70):
            await store.append(log.certificate, log.write_notes(200))
    shutil.copytree(tmp_path / "site", small_disk / "site")
    flip(small_disk / "site/log.db", 0)
    damaged = (small_disk / "site/log.db").read_bytes()

    with pytest.raises(DiskFullError):
        await repair(small_disk / "site")

    assert (small_disk / "site/log.db").read_bytes() == damaged
    assert [path.name for path in (small_disk / "site").glob("log.db?*")] == []


async def test_a_group_that_this_site_has_left_does_not_come_back_out_of_old_pages(tmp_path: Path) -> None:
    """known.json says which groups there are; what lies in pages that were given free does not."""
    await fill(tmp_path / "site")
    other = genesis(name="left-long-ago")
    connection = sqlite3.connect(tmp_path / "site/log.db")
    connection.execute("INSERT INTO groups (group_id, genesis) VALUES (?, ?)", (other.group, other.to_bytes()))
    connection.commit()
    connection.close()
    flip(tmp_path / "site/log.db", 0)

    await repair(tmp_path / "site")

    async with running_store(tmp_path / "site") as store:
        assert set(store.replica.groups) == {GroupId(GROUP)}
