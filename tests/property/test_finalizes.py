"""Finalizes that come early, late, twice or in vain: whatever the order in which events arrive, all peers show the same in the end."""

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import pytest

from materializer.bodies import MANIFEST_VERSION, AttachmentAdd, ChunkAdd, attachment_add, chunk_topics, recording_finalize
from materializer.manifest import RecordingFacts, make_manifest
from materializer.queries import Projections
from peer.core.encoding import encode
from peer.core.event import Event
from peer.core.identity import EventId
from peer.core.interfaces import StoredEvent
from peer.core.views import RecordingView
from tests.histories import MemoryViews, NoFollower, Story, chunk_body, facts_of, run
from tests.samples import GROUP, key_pair

ORDERS_MAX = 60


class Scene(NamedTuple):
    """A history of one recording of bob's."""

    story: Story
    recording: EventId
    check: Callable[[RecordingView], None]
    """What all see in the end."""


def begun(chunks: int) -> tuple[Story, EventId, list[Event]]:
    story = Story()
    recording = story.create("bob")
    return story, recording, [story.add_chunk("bob", recording, index) for index in range(chunks)]


def finalize(
    story: Story, author: str, chunks: Sequence[Event], replaces: Sequence[Event] = (), version: int = MANIFEST_VERSION
) -> tuple[Event, bytes]:
    """A finalize of bob's recording by `author`, with the right manifest of these chunks."""
    recording = story.events[0].event.id
    facts = RecordingFacts(GROUP, recording, key_pair("bob").peer_id, story.body(recording))  # type: ignore[arg-type]
    bodies = [body for body in (story.body(chunk.id) for chunk in chunks) if isinstance(body, ChunkAdd)]
    manifest_id = make_manifest(facts, bodies, version=version).manifest_id
    refs = [event.id for event in replaces]
    return story.write(
        author, recording_finalize(recording, manifest_id, [chunk.id for chunk in chunks], refs, others=[], version=version)
    ), manifest_id


def numbers(view: RecordingView) -> tuple[list[int], list[int]]:
    return [chunk.number for chunk in view.chunks], [chunk.number for chunk in view.late_chunks]


def late_files() -> Scene:
    """A chunk, topics and an attachment that came after the finalize stand in no manifest."""
    story, recording, (chunk,) = begun(1)
    _, manifest_id = finalize(story, "bob", [chunk])
    story.add_chunk("bob", recording, 1)
    story.write("bob", chunk_topics(chunk_body(recording, topics=[("/x" * 2000, "", "", "", 1, b"")] * 30), chunk.id)[0])
    story.write("bob", attachment_add(recording, "metadata.yaml", facts_of(b"x")))

    def check(view: RecordingView) -> None:
        assert (view.manifest_state, view.manifest_id, view.finalized) == ("complete", manifest_id, True)
        assert numbers(view) == ([0], [1])
        assert ([each.source_name for each in view.attachments], [each.source_name for each in view.late_attachments]) == ([], ["metadata.yaml"])
        assert [topic[0] for topic in view.topics] == ["/a"]
        assert view.conflicts == []

    return Scene(story, recording, check)


def two_finalizes() -> Scene:
    """Neither has seen the other: that of the admin holds, and both are shown as a conflict."""
    story, recording, chunks = begun(2)
    _, other = finalize(story, "bob", chunks)
    _, held = finalize(story, "carol", chunks[:1])

    def check(view: RecordingView) -> None:
        assert (view.manifest_state, view.manifest_id) == ("complete", held)
        assert numbers(view) == ([0], [1])
        (conflict,) = view.conflicts
        assert (conflict.name, [write.value for write in conflict.writes]) == ("finalize", [held, other])

    return Scene(story, recording, check)


def replaced_finalize() -> Scene:
    """The second has seen the first."""
    story, recording, chunks = begun(2)
    first, _ = finalize(story, "carol", chunks[:1])
    _, held = finalize(story, "bob", chunks, [first])

    def check(view: RecordingView) -> None:
        assert (view.manifest_state, view.manifest_id, view.conflicts) == ("complete", held, [])
        assert numbers(view) == ([0, 1], [])

    return Scene(story, recording, check)


def chunk_that_comes_later() -> Scene:
    """Of what the finalize lists, something is always the last to arrive in one of the orders."""
    story, recording, chunks = begun(3)
    _, manifest_id = finalize(story, "bob", chunks)

    def check(view: RecordingView) -> None:
        assert (view.manifest_state, view.manifest_id) == ("complete", manifest_id)
        assert numbers(view) == ([0, 1, 2], [])

    return Scene(story, recording, check)


def chunk_that_never_comes() -> Scene:
    """It waits for ever, and what is here is shown."""
    story, recording, chunks = begun(2)
    story.write("bob", recording_finalize(recording, bytes(32), [chunks[0].id, EventId(b"n" * 32)]))

    def check(view: RecordingView) -> None:
        assert (view.manifest_state, view.manifest_id, view.finalized) == ("waiting", None, True)
        assert numbers(view) == ([0, 1], [])

    return Scene(story, recording, check)


def listed_by_nobody_who_counts() -> Scene:
    """Those who may not finalize list a chunk: the recording stays open, its chunks are what they were, and no file of theirs counts."""
    story, recording, chunks = begun(2)
    foreign = story.add_chunk("carol", recording, 7)
    for author in ("dave", "mallory", "alice"):
        finalize(story, author, [*chunks, foreign] if author == "alice" else chunks[:1])

    def check(view: RecordingView) -> None:
        assert (view.manifest_state, view.manifest_id, view.conflicts) == ("waiting", None, [])
        assert numbers(view) == ([0, 1], [])

    return Scene(story, recording, check)


def open_though_strangers_finalize() -> Scene:
    """A finalize that does not count is as if it were not there."""
    story, recording, chunks = begun(2)
    for author in ("dave", "mallory"):
        finalize(story, author, chunks[:1])

    def check(view: RecordingView) -> None:
        assert (view.manifest_state, view.manifest_id, view.finalized) == (None, None, False)
        assert numbers(view) == ([0, 1], [])

    return Scene(story, recording, check)


def manifests_of_two_versions() -> Scene:
    """One that was made by the first version is judged by it; the later one has replaced it."""
    story, recording, chunks = begun(2)
    first, older = finalize(story, "bob", chunks, version=1)
    _, newer = finalize(story, "bob", chunks, [first])
    assert older != newer

    def check(view: RecordingView) -> None:
        assert (view.manifest_state, view.manifest_id) == ("complete", newer)

    return Scene(story, recording, check)


def manifest_of_the_first_version() -> Scene:
    """Others have made it before there was a second one."""
    story, recording, chunks = begun(2)
    _, manifest_id = finalize(story, "bob", chunks, version=1)

    def check(view: RecordingView) -> None:
        assert (view.manifest_state, view.manifest_id) == ("complete", manifest_id)

    return Scene(story, recording, check)


def manifest_of_a_later_version() -> Scene:
    """Nobody here can tell what it is worth."""
    story, recording, chunks = begun(2)
    story.write("bob", recording_finalize(recording, bytes(32), [chunks[0].id], others=[], version=MANIFEST_VERSION + 1))

    def check(view: RecordingView) -> None:
        assert (view.manifest_state, view.manifest_id, view.finalized) == ("newer", None, True)
        assert numbers(view) == ([0], [1])

    return Scene(story, recording, check)


def attachment_that_comes_later() -> Scene:
    """It was listed, and is waited for."""
    story, recording, chunks = begun(1)
    yaml = story.write("bob", attachment_add(recording, "metadata.yaml", facts_of(b"x")))
    body = story.body(yaml.id)
    assert isinstance(body, AttachmentAdd)
    facts = RecordingFacts(GROUP, recording, key_pair("bob").peer_id, story.body(recording))  # type: ignore[arg-type]
    manifest_id = make_manifest(facts, [story.body(chunks[0].id)], [body]).manifest_id  # type: ignore[list-item]
    story.write("bob", recording_finalize(recording, manifest_id, [chunks[0].id], others=[yaml.id]))

    def check(view: RecordingView) -> None:
        assert (view.manifest_state, view.manifest_id, len(view.attachments)) == ("complete", manifest_id, 1)

    return Scene(story, recording, check)


SCENES = (
    *(late_files, two_finalizes, replaced_finalize, chunk_that_comes_later, chunk_that_never_comes, listed_by_nobody_who_counts),
    *(open_though_strangers_finalize, manifests_of_two_versions, manifest_of_the_first_version, manifest_of_a_later_version),
    attachment_that_comes_later,
)


@pytest.mark.parametrize("make", SCENES, ids=lambda make: make.__name__)
def test_every_order_of_arrival_comes_to_the_same_end(make: Callable[[], Scene]) -> None:
    scene = make()
    expected = None
    seen = set[str]()
    for number, order in enumerate(orders(scene.story.events)):
        views = MemoryViews()
        for page in pages(order, random.Random(number)):
            views.project(page)
            seen.update(row["state"] for row in views.export()["tables"]["manifests"])
        end = encode(views.export())
        expected = expected or end
        assert end == expected
        view = run(Projections(views, NoFollower()).recording(GROUP, scene.recording))
        assert view is not None
        scene.check(view)
    assert "mismatch" not in seen, "a finalize was judged before all that it lists was there"
    assert "waiting" in seen or make not in {chunk_that_comes_later, attachment_that_comes_later, replaced_finalize}


def orders(events: Sequence[StoredEvent]) -> Iterator[Sequence[StoredEvent]]:
    """All orders of a few events, or some of those of many."""
    if len(events) < 5:
        yield from itertools.permutations(events)
        return
    chance = random.Random(1)
    yield from (events, list(reversed(events)))
    for _ in range(ORDERS_MAX - 2):
        yield chance.sample(list(events), len(events))


def pages(events: Sequence[StoredEvent], chance: random.Random) -> Iterator[list[StoredEvent]]:
    """Events in parts of one to three."""
    start = 0
    while start < len(events):
        size = chance.randrange(1, 4)
        yield list(events[start : start + size])
        start += size
