"""Reconciling at whole peers: each of the ten cases of docs/bytes.md; and every damage a test can do is found, mended, and given to nobody."""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from materializer.receipts import blob_receipt
from peer.cli.sample import write_sample
from peer.core.certificate import LogKind
from peer.core.identity import BlobId
from peer.operations.dropping import Dropping
from peer.store.directory import DataDirectory
from peer.wiring.core import opened_core
from tests.blob_site import MIB
from tests.integration.reconcile_lab import DEADLINE_S, GROUPS, RECORDINGS, SIZE, Lab, a_lab, until
from tests.small_damage import flip_byte


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with a_lab(tmp_path) as made:
        yield made


@pytest.fixture
async def pair(lab: Lab) -> Lab:
    await lab.start_bob()
    return lab


async def test_case_1_what_is_only_here_is_said_and_stays(lab: Lab) -> None:
    blob = await lab.record()

    first = await lab.reconcile()

    assert [(each["row"], each["number"], each["action"]) for each in first["files"]] == [("only_here", 1, "said")]
    again = await lab.reconcile()
    assert [(each["row"], each["action"]) for each in again["files"]] == [("only_here", "")]
    assert again["ok"]
    assert lab.path(blob).read_bytes() == lab.sources["run"].read_bytes()


async def test_case_2_and_3_what_is_everywhere_is_said_once_and_sound_from_then_on(pair: Lab) -> None:
    await pair.record()
    await pair.at_bob()

    first = await pair.reconcile()
    assert [(each["row"], each["number"], each["action"], each["holders"]) for each in first["files"]] == [("unsaid", 2, "said", {"bob": "right"})]
    events = (await pair.alice.get(f"{GROUPS}/lab"))["events"]
    for _ in range(2):
        assert await pair.rows() == {"sound": 1}
    assert (await pair.alice.get(f"{GROUPS}/lab"))["events"] == events, "looking again says nothing again"


async def test_who_cannot_be_dialled_is_asked_over_its_link(lab: Lab) -> None:
    """Also where it does not have any more what it says to have: then it is no copy."""
    await lab.start_bob(listen="none")
    blob = await lab.record()
    await lab.at_bob()

    assert (await lab.reconcile())["files"][0]["holders"] == {"bob": "right"}
    lab.path(blob, "bob").unlink()

    found = await lab.reconcile()
    assert [(each["row"], each["holders"]) for each in found["files"]] == [("only_here", {"bob": "absent"})]


async def test_case_4_who_gives_wrong_bytes_is_named_told_and_mends_itself(pair: Lab) -> None:
    """Bits that bob's disk lost, so that nothing about his file shows it: he would give them to everybody."""
    blob = await pair.record()
    await pair.at_bob()
    await pair.stop_bob()
    theirs = pair.path(blob, "bob")
    for offset in range(0, theirs.stat().st_size, MIB):
        flip_byte(theirs, offset)  # In each piece, also in the short one at the end: one is asked for by chance.
    await asyncio.to_thread(_believe, pair.folder / "bob" / "ledger.db", blob, theirs)
    await pair.start_bob()

    found = await pair.reconcile()

    assert [(each["row"], each["number"], each["holders"]) for each in found["files"]] == [("wrong_elsewhere", 4, {"bob": "wrong"})]
    assert not found["ok"]
    async with asyncio.timeout(DEADLINE_S):
        while theirs.read_bytes() != pair.sources["run"].read_bytes():  # noqa: ASYNC110  (a file has no event)
            await asyncio.sleep(0.01)
    await until(pair.bob, f"{RECORDINGS}/run", lambda recording: recording["state"] == "local")
    assert "wrong_elsewhere" not in await pair.rows()


async def test_case_5_damage_is_told_given_to_nobody_and_mended_only_when_asked(pair: Lab) -> None:
    blob = await pair.record()
    await pair.at_bob()
    flip_byte(pair.path(blob), MIB + 5)
    damaged = pair.path(blob).read_bytes()

    for _ in range(2):
        assert await pair.rows() == {"damaged": 1}
    assert pair.path(blob).read_bytes() == damaged
    listed = (await pair.alice.get(RECORDINGS))["recordings"]
    assert [each["state"] for each in listed] == ["corrupt"]
    assert "bytes_damaged" in {each["code"] for each in (await pair.alice.get("/api/v1/status"))["problems"]}
    assert await pair.given(blob) is None

    found = await pair.reconcile(restore=True)
    assert (found["files"][0]["number"], found["files"][0]["action"], len(found["restoring"])) == (5, "restoring", 1)
    await pair.restored()
    assert [path.read_bytes() for path in (pair.folder / "alice/blobs/damaged").iterdir()] == [damaged], "nothing is deleted"
    assert await pair.rows(restore=True) == {"unsaid": 1}
    assert "bytes_damaged" not in {each["code"] for each in (await pair.alice.get("/api/v1/status"))["problems"]}


async def test_case_6_what_another_site_has_is_brought_when_asked(pair: Lab) -> None:
    blob = await pair.record()
    await pair.at_bob()
    pair.path(blob).unlink()

    for _ in range(2):
        assert await pair.rows() == {"elsewhere": 1}
    assert not pair.path(blob).exists()

    await pair.reconcile(restore=True)
    await pair.restored()


async def test_case_7_what_nobody_has_is_an_error_that_lists_show(lab: Lab) -> None:
    blob = await lab.record()
    lab.path(blob).unlink()

    found = await lab.reconcile(restore=True)

    assert ([each["number"] for each in found["files"]], found["ok"]) == ([7], False)
    assert [each["state"] for each in (await lab.alice.get(RECORDINGS))["recordings"]] == ["missing"]


async def test_case_8_strays_here_are_told_and_left_alone(lab: Lab) -> None:
    await lab.record()
    stray = BlobId(bytes([0x77] * 32))
    lab.path(stray).parent.mkdir(parents=True)
    lab.path(stray).write_bytes(b"whose is this?")

    for restore in (False, True):
        found = await lab.reconcile(None, restore=restore)
        assert [(each["number"], each["path"]) for each in found["files"] if each["row"] == "stray_here"] == [(8, str(lab.path(stray)))]
        assert found["counts"]["stray_here"] == 1
    assert lab.path(stray).read_bytes() == b"whose is this?"


async def test_case_9_receipts_for_what_nobody_knows_are_told(pair: Lab) -> None:
    stray = BlobId(bytes([0x99] * 32))
    await pair.stop_bob()
    directory = DataDirectory(pair.folder / "bob")
    with directory.lock():
        async with opened_core(directory) as core:
            await core.store.write(pair.group, LogKind.DATA, [blob_receipt([stray])])
    await pair.start_bob()
    events = (await pair.bob.get("/api/v1/status"))["groups"][0]["view_events"]
    await until(pair.alice, "/api/v1/status", lambda status: status["groups"][0]["view_events"] == events)

    for _ in range(2):
        found = await pair.reconcile(None)
        assert [(each["number"], each["blob_id"], each["holders"]) for each in found["files"]] == [(9, stray.hex(), {"bob": "unasked"})]


async def test_case_10_nobody_is_believed_who_cannot_be_asked_and_what_comes_later_is_hashed(pair: Lab) -> None:
    blob = await pair.record()
    await pair.at_bob()
    await pair.stop_bob()
    pair.path(blob).unlink()

    found = await pair.reconcile(restore=True)
    assert [(each["number"], each["holders"], each["action"]) for each in found["files"]] == [(10, {"bob": "unasked"}, "restoring")]

    await pair.start_bob()
    await pair.restored()


def _believe(ledger: Path, blob: BlobId, path: Path) -> None:
    """Let what is noted of a file fit how it is now: what rots under the file system changes nothing that could be looked at."""
    state = path.stat()
    with contextlib.closing(sqlite3.connect(ledger)) as connection, connection:
        changed = connection.execute(
            "UPDATE blobs SET inode = ?, size = ?, modified_ns = ?, changed_ns = ?, is_sound = 1 WHERE blob = ?",
            (state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns, blob),
        ).rowcount
    assert changed == 1


Damage = Callable[[Lab, BlobId, BlobId], Path | None]
"""What is done to the first of two blobs; the path that `reconcile` complains of, if that is no blob."""


def shown(lab: Lab) -> Path:
    """The file of the first recording in the readable tree."""
    (found,) = (lab.folder / "alice/recordings").glob("lab-*/run/run.mcap")
    return found


def swap(lab: Lab, one: BlobId, other: BlobId) -> None:
    first, second = lab.path(one), lab.path(other)
    aside = first.with_name("aside")
    first.rename(aside)
    second.rename(first)
    aside.rename(second)


def edit_in_the_tree(lab: Lab, _one: BlobId, _other: BlobId) -> None:
    flip_byte(shown(lab), 100)


def replace_in_the_tree(lab: Lab, _one: BlobId, _other: BlobId) -> None:
    """As editors do: the bytes that are kept stay what they were."""
    path = shown(lab)
    path.unlink()
    path.write_bytes(b"my own notes")


DAMAGES: dict[str, tuple[Callable[[Lab, BlobId, BlobId], None], set[str]]] = {
    "flipped bit": (lambda lab, one, _: flip_byte(lab.path(one), 2 * MIB), {"blob_corrupt"}),
    "flipped bit, times set back": (lambda lab, one, _: flip_byte(lab.path(one), 2 * MIB, hidden=True), {"blob_corrupt"}),
    "truncated blob": (lambda lab, one, _: os.truncate(lab.path(one), MIB), {"blob_corrupt"}),
    "deleted blob": (lambda lab, one, _: lab.path(one).unlink(), {"blob_missing"}),
    "swapped files": (swap, {"blob_corrupt"}),
    "edited file in the readable tree": (edit_in_the_tree, {"blob_corrupt"}),
    "replaced file in the readable tree": (replace_in_the_tree, {"folder_differs"}),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damage_is_never_given_found_by_verify_and_mended_by_restoring(pair: Lab, damage: str) -> None:
    one, other = await pair.record(), await pair.record("other")
    for name in ("run", "other"):
        await pair.at_bob(name)
    act, codes = DAMAGES[damage]
    assert await pair.problems() == []

    await asyncio.to_thread(act, pair, one, other)

    for blob, name in ((one, "run"), (other, "other")):
        assert await pair.given(blob) in {None, pair.sources[name].read_bytes()[: SIZE // 2]}
        async with pair.alice.http.get(f"{pair.alice.url}{RECORDINGS}/{name}/chunks/0") as answer:
            assert answer.status in {404, 500} or await answer.read() == pair.sources[name].read_bytes()
    assert set(await pair.problems()) == codes
    await pair.reconcile(None, restore=True)
    await pair.restored()
    await pair.restored("other")
    async with asyncio.timeout(DEADLINE_S):
        while await pair.problems() or not list((pair.folder / "alice/recordings").glob("lab-*/run/run.mcap")):  # noqa: ASYNC110  (no event)
            await asyncio.sleep(0.05)  # Folders follow a moment after their bytes.
    assert shown(pair).read_bytes() == pair.sources["run"].read_bytes()
    assert (await pair.reconcile(None))["ok"]


@pytest.mark.parametrize("how", ["deleted", "flipped"])
async def test_a_piece_list_that_is_gone_or_damaged_is_computed_anew(pair: Lab, how: str) -> None:
    """Nothing has to travel for that: the bytes that it is a list of are here."""
    await pair.record()
    (pieces,) = [path for path in (pair.folder / "alice/blobs").glob("??/??/*") if path.stat().st_size < 1000]
    before = pieces.read_bytes()
    pieces.unlink() if how == "deleted" else flip_byte(pieces)

    assert await pair.problems() == ["blob_missing" if how == "deleted" else "blob_corrupt"]
    assert (await pair.reconcile())["files"][0]["piece_list"] == ("missing" if how == "deleted" else "damaged")
    assert not (await pair.reconcile())["ok"]

    assert (await pair.reconcile(restore=True))["files"][0]["piece_list"] == "made anew"
    assert pieces.read_bytes() == before
    assert await pair.problems() == []
    assert (await pair.reconcile())["ok"]


async def test_what_had_come_and_is_lost_is_found_and_comes_anew(pair: Lab) -> None:
    """The partial file of a download, gone with a disk that was cleaned up."""
    blob = await pair.record()
    await pair.at_bob()
    pair.path(blob).unlink()
    await pair.stop_bob()
    await pair.reconcile(restore=True)
    ledger = pair.folder / "alice" / "ledger.db"
    with contextlib.closing(sqlite3.connect(ledger)) as connection, connection:
        connection.execute("DELETE FROM blobs WHERE blob = ?", (blob,))
        connection.execute("INSERT OR IGNORE INTO begun (blob) VALUES (?)", (blob,))

    assert "blob_unfinished" in await pair.problems()

    await pair.start_bob()
    await pair.reconcile(None, restore=True)
    await pair.restored()
    assert await pair.problems() == []


async def test_of_bytes_that_came_in_another_group_nothing_is_said(pair: Lab) -> None:
    """A name is no reason to tell that they are here, nor could this site prove it to anybody in that group."""
    path = pair.folder / "secret.mcap"
    write_sample(path, SIZE, 1)
    await pair.alice.post(GROUPS, {"name": "own"})
    await pair.alice.post(RECORDINGS, {"paths": [str(path)], "name": "secret", "group": "own"})
    await pair.bob.post(RECORDINGS, {"paths": [str(path)], "name": "guess"})
    await until(pair.alice, f"{RECORDINGS}/guess", lambda recording: recording["state"] == "local")

    found = await pair.reconcile("guess")

    assert [(each["row"], each["action"]) for each in found["files"]] == [("unsaid", "")]
    assert [each["name"] for each in (await pair.bob.get(f"{RECORDINGS}/guess"))["replicas"]] == ["bob"]


async def test_nothing_is_said_of_what_is_being_dropped_at_that_moment(pair: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its release is in the log, its bytes are still there and sound: who said so again would be counted as a copy."""
    blob = await pair.record()
    await pair.at_bob()
    is_released, may_go, remove = asyncio.Event(), asyncio.Event(), Dropping._remove

    async def slowly(*parts: Any) -> None:
        is_released.set()
        await may_go.wait()
        await remove(*parts)

    monkeypatch.setattr(Dropping, "_remove", slowly)
    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as tasks:
        dropping = tasks.create_task(pair.alice.post(f"{RECORDINGS}/run/drop"))
        await is_released.wait()
        assert pair.path(blob).exists()

        found = await pair.reconcile()

        assert [(each["row"], each["action"]) for each in found["files"]] == [("unsaid", "")]
        may_go.set()
        assert (await dropping)["state"] == "remote"
    assert not pair.path(blob).exists()
    assert [each["name"] for each in (await pair.alice.get(f"{RECORDINGS}/run"))["replicas"]] == ["bob"]
