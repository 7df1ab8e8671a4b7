"""What is put together or read by hand for speed gives what the plain way gives, whatever the bytes."""

from hypothesis import given
from hypothesis import strategies as st

from materializer.bodies import _READERS, RECORDING_CREATE, RecordingCreate, read_body, recording_create
from materializer.digest import WriteHash, row_hash
from materializer.edits import EDIT_READERS, RECORDING_TAG, RecordingTag, recording_tag
from materializer.fields import TAG_BYTES_MAX, TIME_MAX_NS, PoisonError, is_line, is_tag, read_fields
from materializer.usual import CREATE_FIELDS, TEXTS_MAX, usual_create, usual_tag
from peer.core.encoding import encode
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


LINES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40) | st.text(max_size=300).filter(lambda text: is_line(text, 256))
CREATES = st.builds(
    RecordingCreate,
    st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}", fullmatch=True),
    LINES,
    st.integers(0, TIME_MAX_NS) | st.sampled_from([0, 23, 24, 255, 256, 2**16, 2**32 - 1, 2**32]),
    *[LINES] * 6,
)
A_CREATE = recording_create(RecordingCreate("run-1", "robot", 1_800_000_000_000_000_000, "ros2", "recmesh", "1.0", "host", "/data/run", "ann")).body


def plain_create(body: bytes) -> object:
    """As `plain_tag`."""
    try:
        return _READERS[RECORDING_CREATE](read_fields(body))
    except PoisonError:
        return None


@given(CREATES)
def test_a_usual_recording_is_read_as_any_other(create: RecordingCreate) -> None:
    body = recording_create(create).body
    texts = "".join(each for each in create if isinstance(each, str))
    assert usual_create(body) == (create if texts.isascii() and len(texts) <= TEXTS_MAX else None)
    assert read_body(RECORDING_CREATE, body) == plain_create(body) == create


@given(st.integers(0, len(A_CREATE)), st.integers(0, 3), st.binary(max_size=3))
def test_what_is_nearly_a_usual_recording_is_none_or_one_that_counts(place: int, cut: int, put: bytes) -> None:
    body = A_CREATE[:place] + put + A_CREATE[place + cut :]
    assert usual_create(body) in {None, plain_create(body)}


@given(CREATES, st.integers(0, 8), st.sampled_from([b"\x18", b"\x19\x00", b"\x1a\x00\x00\x00", b"\x1b" + bytes(7)]))
def test_a_recording_with_a_head_that_is_longer_than_needed_is_not_usual(create: RecordingCreate, number: int, longer: bytes) -> None:
    """Two encodings of one value would be two events that say the same."""
    fields = create._asdict()
    data = bytearray(encode(fields)[:1])
    for index, name in enumerate(CREATE_FIELDS):
        value = encode(fields[name])
        is_shortest = (value[0] & 0x1F) <= 23
        data += encode(name)
        data += bytes([value[0] & 0xE0 | longer[0]]) + longer[1:] + bytes([value[0] & 0x1F]) + value[1:] if index == number and is_shortest else value
        if index == number and not is_shortest:
            return
    assert plain_create(bytes(data)) is None
    assert usual_create(bytes(data)) is None


WRITES = st.tuples(IDS, IDS, st.text(max_size=300), IDS, st.integers(0, 4), st.binary(min_size=8, max_size=8), st.binary(max_size=300))


@given(IDS, WRITES)
def test_a_write_has_the_hash_of_its_row(group: bytes, write: tuple[bytes, bytes, str, bytes, int, bytes, bytes]) -> None:
    event_id, recording, register, author, rank, hlc, value = write
    hashed = WriteHash(GroupId(group), register, author, rank)
    assert hashed.of(event_id, recording, hlc, value) == row_hash("registers", GroupId(group), (*write, 1))
