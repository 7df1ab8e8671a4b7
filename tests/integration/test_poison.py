"""Events that a member signs and that say nothing, or nothing good: two real peers isolate, count and show them, and nothing else is touched."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from materializer.bodies import recording_create
from materializer.edits import AnnotationAdd, annotation_add, recording_tag
from peer.api.models import EventPage
from peer.api.status_models import Status
from peer.core.certificate import LogKind
from peer.core.encoding import encode
from peer.core.event import BODY_SIZE_MAX
from peer.core.identity import EventId, GroupId
from peer.core.run import Draft
from peer.store.database import open_database
from peer.store.directory import DataDirectory
from peer.store.events import opened_event_store
from peer.store.keys import KeyFiles
from tests.histories import chunk_body, create_body
from tests.integration.running_peer import RunningPeer, running_peer
from tests.mcap_samples import write_mcap
from tests.plain_digest import plain_digest
from tests.samples import START_MS

NOWHERE = EventId(b"n" * 32)


def cbor(fields: dict[str, Any], **changes: Any) -> bytes:
    """Fields, some of them changed; None takes one away."""
    return encode({key: value for key, value in {**fields, **changes}.items() if value is not ...})


def nested(depth: int) -> bytes:
    """Arrays in one another."""
    return b"\x81" * depth + b"\x00"


def poison(recording: EventId) -> list[Draft]:
    """Bodies of known types that fit no schema."""
    chunk = {key: list(value) if isinstance(value, tuple) else value for key, value in chunk_body(recording)._asdict().items()}
    chunk["topics"] = [list(topic) for topic in chunk["topics"]]
    create = create_body("run")._asdict()
    note = AnnotationAdd(recording, "scratch", "", None, None, None)._asdict()
    tag = {"recording": recording, "tag": "good", "present": True}
    return [
        Draft("recording.create", b""),
        Draft("recording.create", b"\xff\xff\xff"),
        Draft("recording.create", encode([])),
        Draft("recording.create", cbor(create, name="../../etc/passwd")),
        Draft("recording.create", cbor(create, name="x" * 40_000)),
        Draft("recording.create", cbor(create, machine=7)),
        Draft("recording.create", cbor(create, created_ns=-1)),
        Draft("recording.create", cbor(create, name=...)),
        Draft("recording.create", cbor(create, name=None)),
        Draft("chunk.add", cbor(chunk, index=2**64 - 1)),
        Draft("chunk.add", cbor(chunk, size=True)),
        Draft("chunk.add", cbor(chunk, start_ns=9, end_ns=8)),
        Draft("chunk.add", cbor(chunk, topics=[["/a"]])),
        Draft("chunk.add", cbor(chunk, blob=b"short")),
        Draft("chunk.add", cbor(chunk, piece_size=3)),
        Draft("recording.tag", cbor(tag, present=1)),
        Draft("recording.tag", cbor(tag, tag="\x1b[2J")),
        Draft("recording.tag", cbor(tag, recording="run")),
        Draft("recording.tag", cbor(tag, recording=nested(3))),
        Draft("recording.delete", nested(BODY_SIZE_MAX - 1)),
        Draft("recording.delete", nested(17)),
        Draft("recording.delete", b"\xa1\x69recording\xd8\x1c\x80"),
        Draft("recording.finalize", b"\x00" * BODY_SIZE_MAX),
        Draft("recording.finalize", encode({"recording": recording, "manifest_id": bytes(32), "chunks": [recording, recording]})),
        Draft("annotation.add", cbor(note, label="")),
        Draft("annotation.add", cbor(note, text="x" * 60_000)),
        Draft("annotation.add", cbor(note, reply_to=b"x")),
        Draft("annotation.add", cbor(note, end_ns=5)),
        Draft("group.set", encode({"key": ".hidden", "value": "x"})),
        Draft("group.set", encode({"key": "a", "value": {"b": {}}})),
        Draft("review.set", encode({"recording": recording, "value": [5]})),
    ]


def odd(recording: EventId, others: EventId) -> list[Draft]:
    """Bodies that fit, and speak of what is not there, of themselves, of each other, or of too much."""
    note = AnnotationAdd(recording, "lost", "", None, None, None)
    tag = {"recording": recording, "tag": "odd", "present": True}
    return [
        annotation_add(note._replace(reply_to=NOWHERE)),
        annotation_add(note._replace(reply_to=recording)),
        annotation_add(note._replace(recording=NOWHERE)),
        recording_tag(NOWHERE, "good", present=True),
        Draft("recording.delete", encode({"recording": NOWHERE})),
        Draft("annotation.delete", encode({"recording": recording, "annotation": NOWHERE})),
        Draft("annotation.delete", encode({"recording": NOWHERE, "annotation": recording})),
        Draft("recording.delete", encode({"recording": others})),
        Draft("chunk.add", chunk_draft(others)),
        Draft("recording.tag", encode({**tag, "a field of a later version": "x" * 60_000})),
        Draft("recording.tag", encode(tag), (recording, others, NOWHERE)),
        Draft("future.thing", b"\x00" * BODY_SIZE_MAX),
        Draft("future.thing", b""),
    ]


def chunk_draft(recording: EventId) -> bytes:
    """A chunk that its author may not add."""
    body = chunk_body(recording)._asdict()
    return encode({**body, "topics": [list(topic) for topic in body["topics"]], "embedded": []})


async def write(root: Path, drafts: Sequence[Draft]) -> list[EventId]:
    """Let the stopped peer at `root` sign whatever stands in `drafts`."""
    directory = DataDirectory(root)
    keys = KeyFiles(directory.keys)
    async with (
        await open_database(directory.log_database, "log", backups=directory.backups) as database,
        opened_event_store(database, keys, keys.peer_key(), lambda: START_MS) as store,
    ):
        group = next(iter(store.replica.groups))
        return [stored.event.id for stored in await store.write(GroupId(group), LogKind.DATA, drafts)]


async def add(peer: RunningPeer, path: Path) -> EventId:
    """A recording that is here whole; its id."""
    shown = await peer.post("/api/v1/recordings", {"paths": [str(path)], "name": path.stem})
    return EventId(bytes.fromhex(shown["id"]))


async def agree(peers: Sequence[RunningPeer], poison_count: int) -> str:
    """Wait until all of `peers` hold the same, so much poison among it; their digest."""
    async with asyncio.timeout(60):
        while True:
            groups = [(await peer.get("/api/v1/status", model=Status))["groups"][0] for peer in peers]
            if {group["poison"] for group in groups} == {poison_count} and len(
                {(group["view_events"], group["state_digest"]) for group in groups}
            ) == 1:
                return str(groups[0]["state_digest"])
            await asyncio.sleep(0.05)


async def shown(peer: RunningPeer) -> list[dict[str, Any]]:
    """All recordings with all that belongs to them."""
    found = (await peer.get("/api/v1/recordings"))["recordings"]
    return [await peer.get(f"/api/v1/recordings/{each['id']}") for each in found]


async def test_poison_between_two_peers_is_isolated_counted_and_shown(tmp_path: Path) -> None:
    robot_root = tmp_path / "robot"
    async with running_peer(tmp_path / "office", "office") as office:
        async with running_peer(robot_root, "robot") as robot:
            await office.post("/api/v1/sync/groups", {"name": "lab"})
            invitation = await office.post("/api/v1/sync/groups/lab/invitations", {"role": "writer"})
            await robot.post("/api/v1/sync/groups/join", {"invitation": invitation["invitation"]})
            of_office = await add(office, write_mcap(tmp_path / "at-office.mcap"))
            own = await add(robot, write_mcap(tmp_path / "at-robot.mcap"))
            await office.until(f"/api/v1/recordings/{own.hex()}", _is_local)
            await robot.until(f"/api/v1/recordings/{of_office.hex()}", _is_local)
            before = await shown(office)
        bad, strange = poison(own), odd(own, of_office)
        ids = await write(robot_root, [*bad, *strange])
        async with running_peer(robot_root, "robot") as robot:
            await agree([office, robot], len(bad))
            for peer in (office, robot):
                await shows_poison(peer, ids, len(bad))
            after = await shown(office)
            assert [_facts(each) for each in after] == [_facts(each) for each in before]
            assert {each["name"]: (each["tags"], len(each["annotations"])) for each in after} == {"at-office": ([], 0), "at-robot": (["odd"], 2)}

            await robot.post(f"/api/v1/recordings/{own.hex()}/tags", {"add": ["fine"], "remove": ["odd"]})
            third = await add(robot, write_mcap(tmp_path / "more.mcap"))
            await office.until(f"/api/v1/recordings/{third.hex()}", _is_local)
            await office.until(f"/api/v1/recordings/{own.hex()}", lambda view: view["tags"] == ["fine"])
            digest = await agree([office, robot], len(bad))
            await office.post("/api/v1/rebuild")
            assert await agree([office, robot], len(bad)) == digest
            exports = [await export(peer) for peer in (office, robot)]
            assert exports[0] == exports[1]
            assert plain_digest(exports[0]).hex() == digest


async def export(peer: RunningPeer) -> bytes:
    """What `recmesh state` prints."""
    async with peer.http.get(f"{peer.url}/api/v1/sync/groups/lab/state", headers={"Accept": "application/cbor"}) as answer:
        return await answer.read()


async def shows_poison(peer: RunningPeer, ids: list[EventId], count: int) -> None:
    """The first `count` of these events are shown as what they are, the others as any; and nothing is wrong with what is stored."""
    status = await peer.get("/api/v1/status")
    assert [each["text"] for each in status["problems"] if each["code"] == "events_unreadable"] == [f"{count} events in lab fit no schema"]
    verified = await peer.post("/api/v1/verify")
    assert verified["ok"], verified
    page = await peer.get("/api/v1/sync/groups/lab/events?limit=1000", model=EventPage)
    marked = [each["event_id"] for each in page["events"] if each["unreadable"]]
    assert marked == [event.hex() for event in ids[:count]]
    assert {each["event_id"] for each in page["events"]} >= {event.hex() for event in ids}
    exported = await peer.get("/api/v1/sync/groups/lab/state", headers={"Accept": "application/json"})
    assert sorted(row["id"] for row in exported["tables"]["poison"]) == sorted(marked)


def _is_local(view: dict[str, Any]) -> bool:
    return bool(view["state"] == "local")


def _facts(view: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in view.items() if key not in ("tags", "annotations", "revision", "copies", "replicas")}


async def test_annotations_that_answer_each_other_and_their_own_recording_end_in_no_loop(tmp_path: Path) -> None:
    """Ids are hashes, so that no event names a later one; what is forged names what is no annotation, or one of another recording."""
    root = tmp_path / "alone"
    async with running_peer(root, "alone") as peer:
        await peer.post("/api/v1/sync/groups", {"name": "lab"})
    one, other = await write(root, [recording_create(create_body("one")), recording_create(create_body("other"))])
    said = AnnotationAdd(one, "first", "", None, None, None)
    (first,) = await write(root, [annotation_add(said)])
    answers = [
        said._replace(recording=other, reply_to=first),
        said._replace(reply_to=one),
        said._replace(reply_to=NOWHERE),
        said._replace(reply_to=first),
    ]
    await write(root, [annotation_add(each) for each in answers])
    async with running_peer(root, "alone") as peer:
        async with asyncio.timeout(20):
            for recording, count in ((one, 4), (other, 1)):
                listed = await peer.get(f"/api/v1/recordings/{recording.hex()}/annotations")
                assert len(listed) == count
