"""What sites of a later version write goes through sites of this one unharmed, and harms nothing. What nobody writes yet, others may."""

import time
from pathlib import Path
from typing import Any

from materializer.edits import recording_set
from materializer.receipts import blob_receipt, blob_release
from peer.api.editing_models import RecordingShown
from peer.api.models import EventPage
from peer.core.certificate import LogKind
from peer.core.encoding import decode_map, encode
from peer.core.identity import BlobId, EventId
from peer.core.run import Draft
from peer.store.database import open_database
from peer.store.directory import DataDirectory
from peer.store.events import opened_event_store
from peer.store.keys import KeyFiles
from tests.integration.running_peer import RunningPeer, running_peer
from tests.integration.test_members import LAB, add, enter

RECORDINGS, ONE = "/api/v1/recordings", "/api/v1/recordings/run"


async def write(root: Path, drafts: list[Draft]) -> list[tuple[EventId, bytes]]:
    """Let a stopped site write these in its one group; their ids and bodies."""
    directory = DataDirectory(root)
    keys = KeyFiles(directory.keys)
    database = await open_database(directory.log_database, "log")
    async with database, opened_event_store(database, keys, keys.peer_key(), lambda: time.time_ns() // 1_000_000) as store:
        written = await store.write(next(iter(store.replica.groups)), LogKind.DATA, drafts)
        return [(stored.event.id, stored.event.body) for stored in written]


async def stored(root: Path, events: list[EventId]) -> list[bytes]:
    """The bodies that a stopped site holds of these."""
    directory = DataDirectory(root)
    keys = KeyFiles(directory.keys)
    database = await open_database(directory.log_database, "log")
    async with database, opened_event_store(database, keys, keys.peer_key(), lambda: time.time_ns() // 1_000_000) as store:
        found = [await store.event(event) for event in events]
        return [each.event.body for each in found if each is not None]


def with_more(draft: Draft) -> Draft:
    """The same, as a later version might write it."""
    return Draft(draft.type, encode({**decode_map(draft.body), "z_mood": [1, {"deep": b"\0"}], "by": "v9"}), draft.refs)


async def here(peer: RunningPeer, recording: str, title: str) -> Any:
    return await peer.until(f"{RECORDINGS}/{recording}", lambda shown: shown["title"] == title)


async def test_types_and_fields_of_a_later_version_go_through_unharmed(tmp_path: Path) -> None:
    async with running_peer(tmp_path / "owner", "owner") as owner:
        await owner.post("/api/v1/sync/groups", {"name": "lab"})
        recording = (await add(owner, tmp_path, "run"))["id"]
        async with running_peer(tmp_path / "guest", "guest") as guest:
            await enter(owner, guest, "writer")
            await guest.until(RECORDINGS, lambda page: len(page["recordings"]) == 1)
        of = EventId(bytes.fromhex(recording))
        drafts = [
            Draft("future.thing", encode({"recording": of, "what": [1, None, {"a": b"b"}]})),
            Draft("recording.hug", b"\xff not even CBOR"),
            with_more(recording_set(of, "title", "from the future")),
        ]
        written = await write(tmp_path / "guest", drafts)
        async with running_peer(tmp_path / "guest", "guest") as guest:
            assert (await here(owner, recording, "from the future"))["conflicts"] == []
            assert (await here(guest, recording, "from the future"))["title"] == "from the future"
            digests = [(await peer.get(LAB))["state_digest"] for peer in (owner, guest)]
            assert digests[0] == digests[1]
        async with running_peer(tmp_path / "late", "late") as late:  # From the owner alone: the guest is gone.
            await enter(owner, late, "writer")
            await here(late, recording, "from the future")
            for peer in (owner, late):
                events = {each["event_id"]: each for each in (await peer.get(f"{LAB}/events", EventPage))["events"]}
                shown = [events[event_id.hex()] for event_id, _ in written]
                assert [each["type"] for each in shown] == ["future.thing", "recording.hug", "recording.set"]
                assert shown[0]["body"]["what"] == [1, None, {"a": "62"}]
                assert (shown[1]["body"], shown[2]["body"]["by"]) == (None, "v9")
            assert not [each for each in (await late.get("/api/v1/status"))["problems"] if "poison" in each["code"]]
            assert (await late.post("/api/v1/verify", {"deep": True}))["ok"]
    for site in ("owner", "guest", "late"):
        assert await stored(tmp_path / site, [event_id for event_id, _ in written]) == [body for _, body in written]


async def test_a_site_that_says_that_it_holds_all_bytes_of_a_recording_is_a_copy(tmp_path: Path) -> None:
    async with running_peer(tmp_path / "owner", "owner") as owner:
        await owner.post("/api/v1/sync/groups", {"name": "lab"})
        await add(owner, tmp_path, "run")
        shown = await owner.get(ONE, RecordingShown)
        blobs = [BlobId(bytes.fromhex(each["blob_id"])) for each in (*shown["chunks"], *shown["attachments"])]
        assert (shown["copies"], [each["name"] for each in shown["replicas"]]) == (1, ["owner"])
        async with running_peer(tmp_path / "guest", "guest") as guest:
            await enter(owner, guest, "reader")
            await guest.until(RECORDINGS, lambda page: len(page["recordings"]) == 1)
        ((receipt, _),) = await write(tmp_path / "guest", [blob_receipt(blobs)])
        async with running_peer(tmp_path / "guest", "guest") as guest:
            shown = await owner.until(ONE, lambda shown: shown["copies"] == 2)
            assert [each["name"] for each in shown["replicas"]] == ["guest", "owner"]
            assert [each["copies"] for each in (await owner.get(RECORDINGS))["recordings"]] == [2]
        await write(tmp_path / "guest", [blob_release(blobs, [receipt]), blob_receipt(blobs)])
        async with running_peer(tmp_path / "guest", "guest"):
            await owner.until(f"{LAB}/events", lambda page: sum(each["type"] == "blob.receipt" for each in page["events"]) == 2)
            await owner.until(ONE, lambda shown: shown["copies"] == 2)
        await owner.call("DELETE", f"{LAB}/members/guest")
        await owner.until(ONE, lambda shown: shown["copies"] == 1)
