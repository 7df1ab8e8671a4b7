"""A clock that is wrong by ten years, and set right later, decides nothing that somebody has seen and changed since."""

import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from materializer import bodies
from materializer.bodies import (
    CHUNK_IDS_MAX,
    MARK_SIZE,
    MARKED_CHUNKS_MAX,
    AttachmentAdd,
    RecordingCreate,
    RecordingFinalize,
    attachment_add,
    chunk_add,
    chunk_topics,
    names_all,
    read_body,
    recording_finalize,
)
from materializer.edits import group_set, recording_delete, recording_restore, recording_set, recording_tag, review_set
from materializer.manifest import RecordingFacts, make_manifest, merge_topics
from materializer.recordings import Chunk, Parts
from peer.core.identity import EventId
from peer.core.run import Draft
from peer.errors import RequestError
from peer.operations import opening
from tests.histories import MemoryViews, Story, chunk_body, create_body, facts_of
from tests.samples import GROUP, START_MS, SampleLog, key_pair

TEN_YEARS_MS = 10 * 365 * 24 * 3600 * 1000
WRONG_BY = (-TEN_YEARS_MS, 0, TEN_YEARS_MS)
WRITERS = ("alice", "bob", "carol")
Make = Callable[[EventId, int, Sequence[EventId]], Draft]
REGISTERS: dict[str, Make] = {
    "title": lambda recording, number, seen: recording_set(recording, "title", f"title {number}", seen),
    "tag": lambda recording, number, seen: recording_tag(recording, "good", present=number % 3 == 0, replaces=seen),
    "deletion": lambda recording, number, seen: (recording_restore if number % 3 else recording_delete)(recording, seen),
    "setting": lambda _recording, number, seen: group_set("description", f"text {number}", seen),
    "review": lambda recording, number, seen: review_set(recording, str(number), seen),
}


class WrongClocks(Story):
    """People whose clocks are wrong by what they please, and go on from where they were once they are set right."""

    def __init__(self) -> None:
        """Nothing has happened, and all clocks are right."""
        super().__init__()
        self.now_ms = START_MS

    def set_clock(self, name: str, wrong_by_ms: int) -> None:
        """A minute later the clock of `name` is wrong by this. No log goes back."""
        self.now_ms += 60_000
        self.logs[name].clock_ms = max(self.logs[name].clock_ms, self.now_ms + wrong_by_ms)

    def open_log(self, name: str) -> None:
        """`name` has not written yet: it may begin ten years ago."""
        self.logs[name].clock_ms = START_MS - 2 * TEN_YEARS_MS


def told(story: Story, chance: random.Random) -> MemoryViews:
    """All that happened, in some order, page by page."""
    views = MemoryViews()
    events = chance.sample(story.events, len(story.events))
    for start in range(0, len(events), 3):
        views.project(events[start : start + 3])
    return views


@pytest.mark.parametrize("register", REGISTERS)
@given(st.integers(0, 2**64 - 1))
def test_who_has_seen_a_write_replaces_it_whatever_the_clocks_say(register: str, seed: int) -> None:
    story, chance = WrongClocks(), random.Random(seed)
    for name in WRITERS:
        story.open_log(name)
    recording = story.create("alice", "run")
    author = chance.choice(WRITERS) if register == "review" else ""
    unseen: list[EventId] = []
    for number in range(chance.randrange(2, 7)):
        name = author or chance.choice(["alice", "carol"] if register in ("setting", "deletion") else WRITERS)
        story.set_clock(name, chance.choice(WRONG_BY))
        seen = list(unseen) if chance.random() < 0.7 else unseen[: chance.randrange(len(unseen) + 1)]
        unseen = [each for each in unseen if each not in seen] + [story.write(name, REGISTERS[register](recording, number, seen)).id]
    name = author or chance.choice(["alice", "carol"])
    story.set_clock(name, chance.choice(WRONG_BY))
    last = story.write(name, REGISTERS[register](recording, 7, unseen)).id

    tables = told(story, chance).export()["tables"]

    rows = tables["settings" if register == "setting" else "registers"]
    assert [row["id"] for row in rows if row["wins"]] == [last]
    assert len(rows) == 1, "nothing that was seen is in conflict with what replaced it"


class Finalized(WrongClocks):
    """A recording of bob with an attachment and topics in events of their own, that carol, an admin, finalizes."""

    def __init__(self, bob_wrong_by_ms: int, carol_wrong_by_ms: int) -> None:
        """Each by their own clock."""
        super().__init__()
        for name in WRITERS:
            self.open_log(name)
        self.set_clock("bob", bob_wrong_by_ms)
        self.recording = self.create("bob")
        many = chunk_body(self.recording, topics=[("/x" * 2000, "", "", "", number, b"") for number in range(30)])
        self.chunk = self.write("bob", chunk_add(many))
        self.others = [self.write("bob", draft).id for draft in chunk_topics(many, self.chunk.id)]
        self.others.append(self.attach("metadata.yaml"))
        create = self.body(self.recording)
        assert isinstance(create, RecordingCreate)
        facts = RecordingFacts(GROUP, self.recording, key_pair("bob").peer_id, create)
        manifest = make_manifest(facts, [many._replace(topics=merge_topics([many.topics]))], [self.attachment("metadata.yaml")])
        self.manifest_id = manifest.manifest_id
        self.set_clock("carol", carol_wrong_by_ms)
        self.write("carol", recording_finalize(self.recording, self.manifest_id, [self.chunk.id], others=self.others))

    def attachment(self, name: str) -> AttachmentAdd:
        """A file with bytes of its own."""
        return AttachmentAdd(self.recording, name, *facts_of(name.encode()))

    def attach(self, name: str) -> EventId:
        """It is added."""
        return self.write("bob", attachment_add(self.recording, name, facts_of(name.encode()))).id


@pytest.mark.parametrize("bob_wrong_by_ms", WRONG_BY)
@pytest.mark.parametrize("carol_wrong_by_ms", WRONG_BY)
def test_a_manifest_holds_what_its_finalize_had_seen_and_nothing_that_came_later(bob_wrong_by_ms: int, carol_wrong_by_ms: int) -> None:
    story, chance = Finalized(bob_wrong_by_ms, carol_wrong_by_ms), random.Random(0)
    assert states(told(story, chance)) == [(story.manifest_id, "complete")]

    story.set_clock("bob", 0)
    story.attach("notes.txt")
    story.logs["bob"] = SampleLog("bob", label="after a restore, with the clock set right")
    story.set_clock("bob", 0)
    story.attach("more.txt")
    story.add_chunk("bob", story.recording, 1)

    assert states(told(story, chance)) == [(story.manifest_id, "complete")]


def test_a_finalize_waits_for_all_that_it_names() -> None:
    story = Finalized(0, 0)
    for missing in story.others:
        views = MemoryViews()
        views.project([stored for stored in story.events if stored.event.id != missing])
        assert states(views) == [(story.manifest_id, "waiting")]


def states(views: MemoryViews) -> list[tuple[bytes, str]]:
    """Manifest ids, and what they are worth."""
    return [(row["manifest_id"], row["state"]) for row in views.export()["tables"]["manifests"]]


@pytest.mark.parametrize("bob_wrong_by_ms", WRONG_BY)
@pytest.mark.parametrize("carol_wrong_by_ms", WRONG_BY)
def test_a_finalize_without_room_for_ids_means_the_same_chunks_whatever_the_clocks(
    monkeypatch: pytest.MonkeyPatch, bob_wrong_by_ms: int, carol_wrong_by_ms: int
) -> None:
    story, chance = Finalized(bob_wrong_by_ms, carol_wrong_by_ms), random.Random(0)
    monkeypatch.setattr(bodies, "CHUNK_IDS_MAX", 3)
    recording = story.create("bob")
    written = [story.add_chunk("bob", recording, index) for index in range(9)]
    assert states(told(story, chance)) == [(story.manifest_id, "complete")]
    story.set_clock("carol", carol_wrong_by_ms)
    finalize = story.finalize("carol", recording, written, site="bob", others=[])
    assert len(finalize.body) < 9 * 32, "it has no room for ids"
    before = states(told(story, chance))
    assert [state for _, state in before] == ["complete", "complete"]

    story.set_clock("bob", 0)
    story.add_chunk("bob", recording, 9)
    story.logs["bob"] = SampleLog("bob", label="after a restore, with the clock set right")
    story.set_clock("bob", 0)
    story.add_chunk("bob", recording, 10)

    assert states(told(story, chance)) == before
    without = MemoryViews()
    without.project([stored for stored in story.events if stored.event.id != written[4].id])
    assert {state for _, state in states(without)} == {"complete", "waiting"}


IDS = [EventId(number.to_bytes(32, "big")) for number in range(MARKED_CHUNKS_MAX + 1)]


@pytest.mark.parametrize(
    ("chunks", "others", "are_listed", "are_named"),
    [
        (1, 0, True, True),
        (CHUNK_IDS_MAX - 1, 1, True, True),
        (CHUNK_IDS_MAX, 1, False, True),
        (CHUNK_IDS_MAX + 1, 3, False, True),
        (600, CHUNK_IDS_MAX - 600 * MARK_SIZE // 32, False, False),
        (MARKED_CHUNKS_MAX, 0, False, True),
        (MARKED_CHUNKS_MAX, 1, False, False),
        (MARKED_CHUNKS_MAX + 1, 1, False, False),
    ],
)
def test_a_finalize_names_what_fits_it(chunks: int, others: int, *, are_listed: bool, are_named: bool) -> None:
    draft = recording_finalize(EventId(bytes(32)), bytes(32), IDS[:chunks], others=IDS[-others:] if others else [])
    body = read_body(draft.type, draft.body)
    assert isinstance(body, RecordingFinalize)
    assert (body.chunks is not None) == are_listed
    assert (body.chunk_marks is None) == (are_listed or chunks > MARKED_CHUNKS_MAX)
    assert names_all(chunks, others) == are_named
    assert are_named == (body.others is not None and (body.chunks is not None or body.chunk_marks is not None))


def test_only_what_a_finalize_cannot_name_asks_for_clocks_that_are_near(monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story()
    create = create_body("run")
    facts = RecordingFacts(GROUP, story.create("bob"), key_pair("bob").peer_id, create)
    ahead = [Chunk(IDS[number], 2**63, chunk_body(facts.recording, number)) for number in range(20)]
    opening._check_parts(Parts(facts, ahead, [], []))
    monkeypatch.setattr(bodies, "CHUNK_IDS_MAX", 3)
    with pytest.raises(RequestError, match="far ahead"):
        opening._check_parts(Parts(facts, ahead, [], []))
