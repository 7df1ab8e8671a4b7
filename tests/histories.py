"""Histories of recordings for tests, and views to project them into: a real SQLite database with the real schema, in memory."""

import random
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from materializer.bodies import (
    ChunkAdd,
    RecordingCreate,
    attachment_add,
    chunk_add,
    read_body,
    recording_create,
    recording_finalize,
    recording_tag,
)
from materializer.digest import TABLES, export
from materializer.manifest import RecordingFacts, make_manifest
from materializer.projector import Projector
from materializer.tables import projected_rows
from peer.core.certificate import LogKind
from peer.core.control import Role
from peer.core.encoding import encode
from peer.core.event import Event
from peer.core.hashing import hash_bytes, sha256
from peer.core.identity import BlobId, EventId, GroupId, PeerId
from peer.core.interfaces import BlobFacts, StoredEvent
from peer.core.roster import Member, Roster
from peer.core.run import Draft
from tests.samples import GROUP, SampleLog, key_pair

SCHEMA = Path(__file__).parents[1] / "peer" / "store" / "schema" / "views" / "0001_views.sql"
PEOPLE = {"alice": Role.OWNER, "bob": Role.WRITER, "carol": Role.ADMIN, "dave": Role.READER, "mallory": Role.NONE}
TAGS = ("good", "bad", "ugly")
NAMES = ("run", "RUN", "lab", "drive")


def roster(**roles: Role) -> Roster:
    """A group of these people."""
    members = {key_pair(name).peer_id: Member(key_pair(name).peer_id, name, role) for name, role in roles.items() if role is not Role.NONE}
    return Roster(members, {})


EVERYBODY = roster(**PEOPLE)


class MemoryViews:
    """`views.db` without a file."""

    def __init__(self) -> None:
        """Empty."""
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.executescript(SCHEMA.read_text())
        self.projector = Projector()

    def project(self, events: Sequence[StoredEvent], rosters: Mapping[GroupId, Roster] | None = None) -> set[tuple[GroupId, EventId]]:
        """One page."""
        rosters = {GROUP: EVERYBODY} if rosters is None else rosters
        self.connection.execute("BEGIN")
        self.projector.check_rosters(self.connection, rosters)
        touched = self.projector.apply(self.connection, rosters, events)
        self.connection.execute("COMMIT")
        return touched

    async def read(self, work: Any) -> Any:
        """Run `work`."""
        return work(self.connection)

    def export(self, group: GroupId = GROUP) -> dict[str, Any]:
        """All projected rows."""
        (group_no,) = self.connection.execute("SELECT group_no FROM groups WHERE group_id = ?", (group,)).fetchone()
        return export(group, {name: projected_rows(self.connection, name, group_no) for name in TABLES})


class NoFollower:
    """For projections that are read where nobody waits."""

    async def reached(self, position: int) -> None:
        """Fail: there is nothing to wait for."""
        raise AssertionError(position)


class Story:
    """Somebody's events, as they are written one after the other by different people."""

    def __init__(self) -> None:
        """Nothing has happened."""
        self.logs = {name: SampleLog(name) for name in PEOPLE}
        self.events: list[StoredEvent] = []

    def write(self, author: str, draft: Draft) -> Event:
        """`author` writes `draft`."""
        event = self.logs[author].write(draft).last
        self.events.append(StoredEvent(len(self.events) + 1, GROUP, LogKind.DATA, key_pair(author).peer_id, event, PEOPLE[author]))
        return event

    def create(self, author: str = "alice", name: str = "run") -> EventId:
        """A recording."""
        return self.write(author, recording_create(create_body(name))).id

    def add_chunk(self, author: str, recording: EventId, index: int = 0, **changes: Any) -> Event:
        """A chunk."""
        return self.write(author, chunk_add(chunk_body(recording, index, **changes)))

    def finalize(self, author: str, recording: EventId, chunks: Sequence[Event], *, site: str | None = None) -> Event:
        """A finalize with the right manifest id of these chunks, and no attachments."""
        create = self.body(recording)
        assert isinstance(create, RecordingCreate)
        facts = RecordingFacts(GROUP, recording, key_pair(site or author).peer_id, create)
        files = [body for body in (self.body(event.id) for event in chunks) if isinstance(body, ChunkAdd)]
        return self.write(author, recording_finalize(recording, make_manifest(facts, files).manifest_id, [event.id for event in chunks]))

    def body(self, event_id: EventId) -> object:
        """What an event says."""
        return next(read_body(each.event.header.type, each.event.body) for each in self.events if each.event.id == event_id)


def create_body(name: str) -> RecordingCreate:
    """What a recording begins with."""
    return RecordingCreate(name, "robot-1", 1_700_000_000_000_000_000, "ros2")


def facts_of(data: bytes) -> BlobFacts:
    """The facts of a small blob."""
    blob = BlobId(hash_bytes(data))
    return BlobFacts(blob, sha256(data), len(data), 1 << 20, BlobId(hash_bytes(blob)))


def chunk_body(recording: EventId, index: int = 0, **changes: Any) -> ChunkAdd:
    """A chunk with made-up bytes."""
    data = f"bytes of {recording.hex()} {index}".encode()
    facts = changes.pop("facts", None) or facts_of(data)
    body = ChunkAdd(recording, index, f"bag_{index}.mcap", *facts, 10, 100 + index, 200 + index, "lib", "ros2", [("/a", "S", "ros2msg", "cdr", 10)])
    return body._replace(**changes)


def random_story(chance: random.Random, seen: Counter[str], size: int = 60) -> list[StoredEvent]:
    """A history in which people write what they may and what they may not. Counts in `seen` what happens."""
    story = Story()
    recordings: list[tuple[str, EventId]] = []
    chunks: dict[EventId, list[Event]] = {}
    writes: dict[tuple[EventId, str], list[EventId]] = {}
    for _ in range(size):
        author = chance.choice(list(PEOPLE))
        action = chance.random()
        if not recordings or action < 0.15:
            recordings.append((author, story.create(author, chance.choice(NAMES))))
            continue
        creator, recording = chance.choice(recordings)
        if action < 0.45:
            author = creator if chance.random() < 0.7 else author
            seen["forged"] += author != creator
            event = story.add_chunk(author, recording, len(chunks.get(recording, ())))
            if author == creator:
                chunks.setdefault(recording, []).append(event)
        elif action < 0.5:
            story.write(creator, attachment_add(recording, "metadata.yaml", facts_of(recording)))
        elif action < 0.8:
            tag = chance.choice(TAGS)
            before = writes.setdefault((recording, tag), [])
            refs = chance.sample(before, min(len(before), chance.randrange(3)))
            before.append(story.write(author, recording_tag(recording, tag, present=chance.random() < 0.5, replaces=refs)).id)
        elif action < 0.9:
            author = chance.choice([creator, creator, "carol", author])
            if chance.random() < 0.2:  # A chunk that never arrives.
                story.write(author, recording_finalize(recording, bytes(32), [EventId(chance.randbytes(32))]))
            else:
                story.finalize(author, recording, chunks.get(recording, []), site=creator)
        else:
            seen["poison"] += 1
            story.write(author, chance.choice(_poison(recording)))
    return story.events


def _poison(recording: EventId) -> list[Draft]:
    good = dict(chunk_body(recording)._asdict())
    return [
        Draft("recording.tag", encode({"recording": recording, "tag": "x"})),
        Draft("recording.create", encode({**create_body("x")._asdict(), "name": "../../etc"})),
        Draft("chunk.add", encode({**good, "topics": [], "index": -1})),
        Draft("chunk.add", encode({**good, "topics": [["/a"]]})),
        Draft("recording.finalize", b"\xff\xff"),
    ]


def brute_force(events: Iterable[StoredEvent]) -> tuple[set[bytes], set[bytes], dict[tuple[bytes, str], bool]]:
    """Recordings and chunks that count and whether tags are present, by the plain reading of the rules, all events at once."""
    may_write = {key_pair(name).peer_id: role >= Role.WRITER for name, role in PEOPLE.items()}
    rank = {key_pair(name).peer_id: int(role) for name, role in PEOPLE.items()}
    bodies: list[tuple[StoredEvent, Any]] = []
    for each in events:
        try:
            bodies.append((each, read_body(each.event.header.type, each.event.body)))
        except Exception:  # noqa: BLE001, S112  (poison of whatever kind)
            continue
    sites: dict[bytes, PeerId] = {each.event.id: each.author for each, body in bodies if type(body) is RecordingCreate and may_write[each.author]}
    chunks = {each.event.id for each, body in bodies if type(body) is ChunkAdd and sites.get(body.recording) == each.author}
    tags: dict[tuple[bytes, str], list[tuple[StoredEvent, Any]]] = {}
    for each, body in bodies:
        if each.event.header.type == "recording.tag" and body.recording in sites and may_write[each.author]:
            tags.setdefault((body.recording, body.tag), []).append((each, body))
    present = {}
    for key, writes in tags.items():
        gone = {ref for each, _ in writes for ref in each.event.header.refs}
        live = [(body.present, rank[each.author], each.event.header.hlc, each.event.id) for each, body in writes if each.event.id not in gone]
        present[key] = max(live)[0]
    return set(sites), chunks, present
