"""What is put together or read by hand for speed gives what the plain way gives, whatever the bytes."""

from hypothesis import given
from hypothesis import strategies as st

from materializer.digest import row_hash, write_hash
from materializer.edits import EDIT_READERS, RECORDING_TAG, RecordingTag, recording_tag
from materializer.fields import TAG_BYTES_MAX, PoisonError, is_tag, read_fields
from materializer.usual import usual_tag
from peer.core.identity import EventId, GroupId

IDS = st.binary(min_size=32, max_size=32)
TAGS = st.text(max_size=TAG_BYTES_MAX).filter(is_tag) | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=150).filter(is_tag)
SAMPLE = recording_tag(EventId(bytes(range(32))), "gpresent", present=True).body


def plain_tag(body: bytes) -> object:
    """What the way that every body can go says of this one, None for poison."""
    try:
        return EDIT_READERS[RECORDING_TAG](read_fields(body))
    except PoisonError:
        return None


@given(recording=IDS, tag=TAGS, present=st.booleans())
def test_a_usual_tag_is_read_as_any_other(recording: bytes, tag: str, *, present: bool) -> None:
    body = recording_tag(EventId(recording), tag, present=present).body
    assert plain_tag(body) == RecordingTag(EventId(recording), tag, present)
    assert usual_tag(body) == (plain_tag(body) if tag.isascii() else None)


@given(st.integers(0, len(SAMPLE)), st.integers(0, 3), st.binary(max_size=3))
def test_what_is_nearly_a_usual_tag_is_none_or_one_that_counts(place: int, cut: int, put: bytes) -> None:
    """No other bytes are taken for a tag that the plain way refuses, or reads in another way."""
    body = SAMPLE[:place] + put + SAMPLE[place + cut :]
    assert usual_tag(body) in {None, plain_tag(body)}


@given(head=st.binary(min_size=1, max_size=1), size=st.integers(0, 140), long=st.booleans())
def test_a_usual_tag_has_the_shortest_head_of_its_length(head: bytes, size: int, *, long: bool) -> None:
    """Two encodings of one value would be two events that say the same: one of them is poison, everywhere."""
    front = b"\x78" + head if long else head
    body = b"\xa3ctag" + front + b"x" * size + SAMPLE[SAMPLE.rindex(b"gpresent") :]
    assert usual_tag(body) == plain_tag(body)


WRITES = st.tuples(IDS, IDS, st.text(max_size=300), IDS, st.integers(0, 4), st.binary(min_size=8, max_size=8), st.binary(max_size=300))


@given(IDS, WRITES)
def test_a_write_has_the_hash_of_its_row(group: bytes, write: tuple[bytes, bytes, str, bytes, int, bytes, bytes]) -> None:
    assert write_hash(GroupId(group), *write) == row_hash("registers", GroupId(group), (*write, 1))
