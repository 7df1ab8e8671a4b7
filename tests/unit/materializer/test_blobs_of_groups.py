"""Which bytes may be asked for within a group: those that its recordings have, and no others."""

from materializer.bodies import AttachmentAdd, ChunkAdd, attachment_add
from materializer.queries import FILES_OF_BLOB_MAX, Projections
from peer.core.byte_store import BlobFacts
from peer.core.identity import BlobId
from tests.histories import MemoryViews, NoFollower, Story, facts_of
from tests.samples import GROUP, genesis, key_pair

OTHER_GROUP = genesis(name="other").group


def files_of(story: Story) -> list[BlobId]:
    """Every blob and piece list that an event of `story` names."""
    bodies = [story.body(stored.event.id) for stored in story.events]
    files = [body for body in bodies if isinstance(body, ChunkAdd | AttachmentAdd)]
    return [blob for file in files for blob in (file.blob, file.pieces)]


async def test_a_blob_is_only_in_the_groups_whose_recordings_have_it() -> None:
    story, other = Story(), Story()
    recording, elsewhere = story.create("bob"), other.create("bob", "elsewhere")
    story.add_chunk("bob", recording)
    story.write("bob", attachment_add(recording, "metadata.yaml", facts_of(b"here")))
    other.add_chunk("bob", elsewhere, 1)
    other.write("bob", attachment_add(elsewhere, "metadata.yaml", facts_of(b"there")))
    views = MemoryViews()
    views.project([*story.events, *(stored._replace(group=OTHER_GROUP) for stored in other.events)])
    projections = Projections(views, NoFollower())

    assert len(set(files_of(story) + files_of(other))) == 8
    for group, own, foreign in ((GROUP, story, other), (OTHER_GROUP, other, story)):
        assert all([await projections.has_blob(group, blob) for blob in files_of(own)])
        assert not any([await projections.has_blob(group, blob) for blob in files_of(foreign)])


async def test_naming_a_blob_in_a_chunk_that_does_not_count_opens_nothing() -> None:
    """Whoever hears of a file of another group cannot ask for it by claiming that it belongs to somebody's recording here."""
    story = Story()
    recording = story.create("bob")
    story.add_chunk("dave", recording)
    story.add_chunk("alice", recording, 1)
    story.write("alice", attachment_add(recording, "metadata.yaml", facts_of(b"secret")))
    views = MemoryViews()
    views.project(story.events)

    assert not any([await Projections(views, NoFollower()).has_blob(GROUP, blob) for blob in files_of(story)])


async def test_a_file_is_found_by_its_bytes_and_by_its_piece_list_with_all_that_its_event_says() -> None:
    story = Story()
    recording = story.create("bob")
    story.add_chunk("bob", recording)
    views = MemoryViews()
    views.project(story.events)
    projections = Projections(views, NoFollower())
    (wanted,) = await projections.wanted_blobs(GROUP)

    assert await projections.files_with(GROUP, wanted.blob) == await projections.files_with(GROUP, wanted.pieces) == [wanted]
    assert wanted.site == key_pair("bob").peer_id
    assert not await projections.files_with(OTHER_GROUP, wanted.blob)


async def test_what_was_said_first_of_a_blob_comes_first_and_few_claims_are_looked_at() -> None:
    """Somebody else's recording may name the same bytes and tell lies about them."""
    story = Story()
    story.add_chunk("bob", story.create("bob"))
    views = MemoryViews()
    views.project(story.events)
    (true,) = await Projections(views, NoFollower()).wanted_blobs(GROUP)
    known = len(story.events)
    mine = story.create("carol", "mine")
    for number in range(FILES_OF_BLOB_MAX + 2):
        lie = BlobFacts(true.blob, bytes(32), number + 1, true.piece_size, BlobId(bytes(32)))
        story.write("carol", attachment_add(mine, f"{number}.txt", lie))
    views.project(story.events[known:])

    files = await Projections(views, NoFollower()).files_with(GROUP, true.blob)

    assert files[0] == true
    assert len(files) == 1 + FILES_OF_BLOB_MAX
