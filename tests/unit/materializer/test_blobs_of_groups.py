"""Which bytes may be asked for within a group: those that its recordings have, and no others."""

from materializer.bodies import AttachmentAdd, ChunkAdd, attachment_add
from materializer.queries import Projections
from peer.core.identity import BlobId
from tests.histories import MemoryViews, NoFollower, Story, facts_of
from tests.samples import GROUP, genesis

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
