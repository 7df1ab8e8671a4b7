"""Histories of recordings for tests, and views to project them into: a real SQLite database with the real schema, in memory."""

import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from materializer.bodies import (
    AttachmentAdd,
    ChunkAdd,
    RecordingCreate,
    attachment_add,
    chunk_add,
    chunk_topics,
    read_body,
    recording_create,
    recording_finalize,
)
from materializer.digest import TABLES, export
from materializer.edits import (
    AnnotationAdd,
    AnnotationEdit,
    annotation_add,
    annotation_delete,
    annotation_edit,
    group_set,
    machine_set,
    recording_delete,
    recording_restore,
    recording_set,
    recording_tag,
    review_set,
)
from materializer.events import projected_events
from materializer.judging import JudgedRow, apply_roles, last_numbers, read_window, windows
from materializer.keeping import RecordingHold, RecordingRetain, recording_hold, recording_retain
from materializer.manifest import RecordingFacts, make_manifest
from materializer.projector import Projector
from materializer.receipts import blob_receipt, blob_release
from materializer.tables import projected_rows
from peer.core.byte_store import BlobFacts
from peer.core.certificate import LogKind
from peer.core.control import Role
from peer.core.encoding import encode
from peer.core.event import Event
from peer.core.hashing import hash_bytes, sha256
from peer.core.identity import BlobId, EventId, GroupId
from peer.core.interfaces import StoredEvent
from peer.core.run import Draft
from tests.samples import GROUP, SampleLog, key_pair

SCHEMA = Path(__file__).parents[1] / "peer" / "store" / "schema" / "views"
PEOPLE = {"alice": Role.OWNER, "bob": Role.WRITER, "carol": Role.ADMIN, "dave": Role.READER, "mallory": Role.NONE}
T = TypeVar("T")
ROLES = tuple(Role)
BLOBS = [BlobId(bytes([number]) * 32) for number in range(4)]
TAGS = ("good", "bad", "ugly")
KEYS = ("title", "robot.arm")
VALUES = ("", "one", "two\u00e9", "3")
TYPED = (*VALUES, 3, -1, True, False)
MACHINES = ("robot-1", "arm:2")
NAMES = ("run", "RUN", "lab", "drive")


class MemoryViews:
    """`views.db` without a file."""

    def __init__(self) -> None:
        """Empty."""
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        for migration in sorted(SCHEMA.iterdir()):
            self.connection.executescript(migration.read_text())
        self.projector = Projector()

    def project(self, events: Sequence[StoredEvent]) -> set[tuple[GroupId, EventId]]:
        """One page."""
        self.connection.execute("BEGIN")
        touched = self.projector.apply(self.connection, {}, projected_events(events))
        self.connection.execute("COMMIT")
        return touched

    def judge(self, role_of: Callable[[JudgedRow], Role]) -> int:
        """Let all rows of the group have these roles, window by window. How many had others."""
        changed = 0
        for table, after in windows(last_numbers(self.connection)):
            rows = read_window(self.connection, GROUP, table, after)
            changes = [(row, role_of(row)) for row in rows if role_of(row) is not row.role]
            self.projector.forget()
            self.connection.execute("BEGIN")
            apply_roles(self.connection, GROUP, changes)
            self.connection.execute("COMMIT")
            changed += len(changes)
        return changed

    def judge_people(self, **roles: Role) -> int:
        """Let these people have these roles at everything that they wrote, and others none."""
        by_key = {bytes(key_pair(name).peer_id): role for name, role in roles.items()}
        return self.judge(lambda row: by_key.get(row.author, Role.NONE))

    async def transaction(self, work: Any) -> Any:
        """Run `work`, whole or not at all."""
        self.connection.execute("BEGIN")
        try:
            done = work(self.connection)
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")
        return done

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

    def finalize(
        self, author: str, recording: EventId, chunks: Sequence[Event], *, site: str | None = None, others: Sequence[EventId] | None = None
    ) -> Event:
        """A finalize with the right manifest id of these chunks, and of those of `others` that are attachments."""
        create = self.body(recording)
        assert isinstance(create, RecordingCreate)
        facts = RecordingFacts(GROUP, recording, key_pair(site or author).peer_id, create)
        files = [body for body in (self.body(event.id) for event in chunks) if isinstance(body, ChunkAdd)]
        extra = [body for body in map(self.body, others or ()) if isinstance(body, AttachmentAdd)]
        manifest = make_manifest(facts, files, extra)
        return self.write(author, recording_finalize(recording, manifest.manifest_id, [event.id for event in chunks], others=others))

    def body(self, event_id: EventId) -> object:
        """What an event says."""
        return next(read_body(each.event.header.type, each.event.body) for each in self.events if each.event.id == event_id)


SCHEMA_HASH = hash_bytes(b"uint8 data")
"""Of the schema of the one topic of made-up chunks."""


def create_body(name: str) -> RecordingCreate:
    """What a recording begins with."""
    return RecordingCreate(name, "robot-1", 1_700_000_000_000_000_000, "ros2", "recmesh", "0.1", "desk", "/bags/run", "ann")


def facts_of(data: bytes) -> BlobFacts:
    """The facts of a small blob."""
    blob = BlobId(hash_bytes(data))
    return BlobFacts(blob, sha256(data), len(data), 1 << 20, BlobId(hash_bytes(blob)))


def chunk_body(recording: EventId, index: int = 0, **changes: Any) -> ChunkAdd:
    """A chunk with made-up bytes."""
    data = f"bytes of {recording.hex()} {index}".encode()
    facts = changes.pop("facts", None) or facts_of(data)
    body = ChunkAdd(
        recording, index, f"bag_{index}.mcap", *facts, 10, 100 + index, 200 + index, "lib", "ros2", [("/a", "S", "ros2msg", "cdr", 10, SCHEMA_HASH)]
    )
    return body._replace(**changes)


def random_story(chance: random.Random, seen: Counter[str], size: int = 60) -> list[StoredEvent]:
    """A history in which people write what they may and what they may not. Counts in `seen` what happens."""
    author = RandomAuthor(chance, seen)
    for _ in range(size):
        author.act()
    return author.story.events


class RandomAuthor:
    """Lets people do things in the one group of a story."""

    def __init__(self, chance: random.Random, seen: Counter[str]) -> None:
        """Nothing has happened."""
        self.story = Story()
        self.chance = chance
        self.seen = seen
        self.names_others = False
        """True if some finalizes name the attachments that they have seen."""
        self._recordings: list[tuple[str, EventId]] = []
        self._chunks: dict[EventId, list[Event]] = {}
        self._attachments: dict[EventId, list[EventId]] = {}
        self._annotations: dict[EventId, list[EventId]] = {}
        self._writes: dict[tuple[object, ...], list[EventId]] = {}

    def act(self) -> None:
        """Somebody does something."""
        author, action = self.chance.choice(list(PEOPLE)), self.chance.random()
        if not self._recordings or action < 0.12:
            self._recordings.append((author, self.story.create(author, self.chance.choice(NAMES))))
            return
        if action < 0.15:
            self._group_edit(author)
            return
        if action < 0.19:
            key, author = self.chance.choice(KEYS), self.chance.choice(["alice", "carol", author])
            self._write(author, ("setting", key), lambda refs: group_set(key, self.chance.choice(VALUES), refs))
            return
        creator, recording = self.chance.choice(self._recordings)
        if action < 0.45:
            self._add_file(author, creator, recording)
        elif action < 0.78:
            self._edit(author, creator, recording)
        elif action < 0.92:
            self._finalize(self.chance.choice([creator, creator, "carol", author]), creator, recording)
        elif action < 0.97:
            self.seen["poison"] += 1
            self.story.write(author, self.chance.choice(_poison(recording)))
        else:
            self.story.write(author, Draft("future.thing", encode({"recording": recording, "what": 1})))

    def _group_edit(self, author: str) -> None:
        """Something that belongs to no recording: what a machine is, and who has which bytes."""
        chance = self.chance
        if chance.random() < 0.3:
            machine, key, value = chance.choice(MACHINES), chance.choice(KEYS), chance.choice(TYPED)
            self._write(author, ("machine", machine, key), lambda refs: machine_set(machine, key, value, refs))
            return
        blobs = chance.sample(BLOBS, chance.randrange(1, len(BLOBS)))
        author = chance.choice(["alice", "dave"])
        make = chance.choice([lambda _refs: blob_receipt(blobs), lambda refs: blob_release(blobs, refs)])
        self._write(author, ("blobs", author), make)

    def _add_file(self, author: str, creator: str, recording: EventId) -> None:
        author = creator if self.chance.random() < 0.7 else author
        self.seen["forged"] += author != creator
        known = self._chunks.setdefault(recording, [])
        kind = self.chance.random()
        if kind < 0.15:
            attached = self.story.write(author, attachment_add(recording, "metadata.yaml", facts_of(recording)))
            self._attachments.setdefault(recording, []).append(attached.id)
        elif kind < 0.25 and known:
            many = chunk_body(recording, topics=[("/x" * 2000, "", "", "", 1, b"")] * 30)
            self.story.write(author, chunk_topics(many, self.chance.choice(known).id)[0])
        else:
            event = self.story.add_chunk(author, recording, len(known))
            known += [event] if author == creator else []

    def _edit(self, author: str, creator: str, recording: EventId) -> None:
        chance, kind = self.chance, self.chance.random()
        if kind < 0.2:
            tag, present = chance.choice(TAGS), chance.random() < 0.5
            self._write(author, (recording, tag), lambda refs: recording_tag(recording, tag, present=present, replaces=refs))
        elif kind < 0.35:
            key = chance.choice(KEYS)
            value = chance.choice(VALUES if key == "title" else TYPED)
            self._write(author, (recording, key), lambda refs: recording_set(recording, key, value, refs))
        elif kind < 0.53:
            author = chance.choice([creator, "carol", author])
            if chance.random() < 0.3:
                self._keep(author, recording)
                return
            make = chance.choice([recording_delete, recording_delete, recording_restore])
            self.seen["deletions"] += make is recording_delete
            self._write(author, (recording, "deleted"), lambda refs: make(recording, refs))
        elif kind < 0.63:
            value, person = chance.choice(["", "fine", 1, 4, 5]), chance.choice(["", "ann", "b:o"])
            about = chance.choice([None, *self._annotations.get(recording, [])])
            register = (recording, "review", author, person, about)
            self._write(author, register, lambda refs: review_set(recording, value, refs, site=author, person=person, annotation=about))
        elif kind < 0.82:
            start = chance.choice([None, 5, 7])
            replies = [None, *self._annotations.get(recording, [])]
            said = ("scratch", "a\nb", start, None if start is None else chance.choice([None, 9]))
            body = AnnotationAdd(recording, *said, chance.choice(replies), author, chance.choice(["", "ann"]))
            self._annotations.setdefault(recording, []).append(self.story.write(author, annotation_add(body)).id)
        elif self._annotations.get(recording) and chance.random() < 0.45:
            annotation = chance.choice(self._annotations[recording])
            edit = AnnotationEdit(recording, annotation, chance.choice(["dent", "hole"]), "", chance.choice([None, 3]), None, author, "ann")
            self._write(chance.choice(["alice", "carol", author]), (recording, "edit", annotation), lambda refs: annotation_edit(edit, refs))
        elif self._annotations.get(recording):
            self.seen["annotations taken back"] += 1
            annotation = chance.choice(self._annotations[recording])
            self._write(author, (recording, annotation), lambda refs: annotation_delete(recording, annotation, refs))

    def _keep(self, author: str, recording: EventId) -> None:
        """A hold, or how long it is to be kept."""
        chance = self.chance
        if chance.random() < 0.5:
            hold = RecordingHold(recording, chance.random() < 0.5, "crash", author, "ann")
            self.seen["holds"] += hold.held
            self._write(author, (recording, "hold"), lambda refs: recording_hold(hold, refs))
        else:
            kept = RecordingRetain(recording, chance.choice(["", "transient", "raw", "permanent"]), None, "law", author, "")
            self._write(author, (recording, "retention"), lambda refs: recording_retain(kept, refs))

    def _write(self, author: str, register: tuple[object, ...], make: Callable[[Sequence[EventId]], Draft]) -> None:
        """A write that has seen some of the earlier ones."""
        before = self._writes.setdefault(register, [])
        refs = self.chance.sample(before, min(len(before), self.chance.randrange(3)))
        before.append(self.story.write(author, make(refs)).id)

    def _finalize(self, author: str, creator: str, recording: EventId) -> None:
        if self.chance.random() < 0.2:  # A chunk that never arrives.
            self.story.write(author, recording_finalize(recording, bytes(32), [EventId(self.chance.randbytes(32))]))
        else:
            attached = self._attachments.get(recording, [])
            others = self.chance.choice([None, [], attached]) if self.names_others else None
            self.story.finalize(author, recording, self._chunks.get(recording, []), site=creator, others=others)


def _poison(recording: EventId) -> list[Draft]:
    good = dict(chunk_body(recording)._asdict())
    return [
        Draft("recording.tag", encode({"recording": recording, "tag": "x"})),
        Draft("recording.create", encode({**create_body("x")._asdict(), "name": "../../etc"})),
        Draft("chunk.add", encode({**good, "topics": [], "index": -1})),
        Draft("chunk.add", encode({**good, "topics": [["/a"]]})),
        Draft("recording.finalize", b"\xff\xff"),
        Draft("group.set", encode({"key": "a b", "value": "x"})),
        Draft("annotation.add", encode({**AnnotationAdd(recording, "", "", None, None, None)._asdict()})),
        Draft("annotation.edit", encode({"recording": recording, "annotation": recording, "label": "x", "text": ""})),
        Draft("review.set", encode({"recording": recording, "value": 6})),
        Draft("group.set", encode({"key": "min_copies", "value": "3"})),
        Draft("blob.receipt", encode({"blobs": []})),
    ]


def run(coroutine: Coroutine[None, None, T]) -> T:
    """What `coroutine`, which waits for nothing, returns. Goes also where a loop runs already."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    raise AssertionError("it waits")
