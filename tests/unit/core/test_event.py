"""Headers and events: each thing that can be wrong with one has its own error."""

import pytest

from peer.core.encoding import encode
from peer.core.event import BODY_SIZE_MAX, HEADER_SIZE_MAX, REFS_MAX, TYPE_BYTES_MAX, UINT64_MAX, Event, link_event, read_event, read_header
from peer.core.hashing import event_hash, hash_bytes
from peer.core.identity import GroupId, LogId
from peer.errors import (
    BodyMismatchError,
    ClockNotIncreasingError,
    EventRejectedError,
    HeaderInvalidError,
    LogGapError,
    NotCanonicalError,
    VersionUnknownError,
    WrongLogError,
)
from tests.samples import GROUP, SampleLog, key_pair, note

FIELDS = ("version", "group", "log", "seq", "previous", "hlc", "type", "refs", "body_size", "body_hash")
ID = b"\x11" * 32


def fields(**changed: object) -> list[object]:
    """The fields of a good header, some of them replaced."""
    good: list[object] = [1, GROUP, ID, 3, ID, 2**40, "note", [ID], 1, ID]
    for name, value in changed.items():
        good[FIELDS.index(name)] = value
    return good


def event(before: Event | None = None, **changed: object) -> Event:
    """An event after `before`, as a log writes it unless changed."""
    place: dict[str, object] = {"group": GROUP, "log": LogId(key_pair("log").public), "seq": 0, "previous": ID, "hlc": 1000}
    if before:
        place |= {"seq": before.header.seq + 1, "previous": before.id, "hlc": before.header.hlc + 1}
    place |= {"type_": "note", "refs": [], "body": b"\xa0"} | changed
    return link_event(**place)  # type: ignore[arg-type]


def test_a_header_is_read_as_it_was_written() -> None:
    header = read_header(encode(fields()))

    assert list(header) == fields()


WRONG = [
    ("version", 0, VersionUnknownError),
    ("version", 2, VersionUnknownError),
    ("version", UINT64_MAX, VersionUnknownError),
    ("version", True, HeaderInvalidError),
    ("version", "1", HeaderInvalidError),
    ("version", None, HeaderInvalidError),
    *(
        (name, value, HeaderInvalidError)
        for name in ("group", "log", "previous", "body_hash")
        for value in (b"", ID[:31], ID + b"\0", "x" * 32, 0, None, [ID])
    ),
    *((name, value, HeaderInvalidError) for name in ("seq", "hlc", "body_size") for value in (-1, "1", None, True, b"\1", [1], {})),
    ("seq", UINT64_MAX, HeaderInvalidError),
    ("body_size", BODY_SIZE_MAX + 1, HeaderInvalidError),
    *(("type", value, HeaderInvalidError) for value in ("", "x" * (TYPE_BYTES_MAX + 1), "é" * 33, b"note", 1, None)),
    *(("refs", value, HeaderInvalidError) for value in ([ID] * (REFS_MAX + 1), [ID[:31]], ["x" * 32], [None], [[ID]], {}, ID, None)),
]


@pytest.mark.parametrize(("name", "value", "error"), WRONG)
def test_a_header_with_a_wrong_field_is_refused(name: str, value: object, error: type[EventRejectedError]) -> None:
    with pytest.raises(error) as caught:
        read_header(encode(fields(**{name: value})))
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seq", 0),
        ("seq", UINT64_MAX - 1),
        ("hlc", 0),
        ("hlc", UINT64_MAX),
        ("body_size", 0),
        ("body_size", BODY_SIZE_MAX),
        ("type", "x" * TYPE_BYTES_MAX),
        ("type", "é" * 32),
        ("refs", []),
        ("refs", [ID] * REFS_MAX),
    ],
)
def test_a_field_may_go_to_its_limit(name: str, value: object) -> None:
    assert read_header(encode(fields(**{name: value})))[FIELDS.index(name)] == value


@pytest.mark.parametrize("count", [0, 1, 9, 11])
def test_a_header_has_ten_fields(count: int) -> None:
    with pytest.raises(HeaderInvalidError):
        read_header(encode([*fields(), 0][:count]))


@pytest.mark.parametrize("value", [None, 1, "header", {}, {"version": 1}, b"x"])
def test_a_header_is_an_array(value: object) -> None:
    with pytest.raises(HeaderInvalidError):
        read_header(encode(value))


def test_a_header_of_an_unknown_version_may_have_any_fields() -> None:
    """What a later version looks like is not known here: the answer is to upgrade, not to blame."""
    with pytest.raises(VersionUnknownError, match="version 2") as caught:
        read_header(encode([2, "whatever", {"a": 1}]))
    assert "upgrade" in caught.value.fix


@pytest.mark.parametrize("data", [b"", b"\xff", encode(fields()) + b"\0", b"\x98\x0a" + encode(fields())[1:], b"\xc6" + encode(fields())])
def test_header_bytes_that_are_not_deterministic_are_refused(data: bytes) -> None:
    with pytest.raises(NotCanonicalError):
        read_header(data)


def test_a_header_with_a_float_where_an_integer_belongs_is_refused() -> None:
    data = encode(fields(hlc=0)).replace(b"\x00\x64note", b"\xf9\x00\x00\x64note")

    with pytest.raises(HeaderInvalidError):
        read_header(data)


def test_a_header_that_is_too_long_is_not_even_decoded() -> None:
    with pytest.raises(HeaderInvalidError, match=str(HEADER_SIZE_MAX)):
        read_header(b"\x81" * (HEADER_SIZE_MAX + 1))


def test_the_longest_header_that_the_rules_allow_fits() -> None:
    longest = fields(seq=UINT64_MAX - 1, hlc=UINT64_MAX, type="x" * TYPE_BYTES_MAX, refs=[ID] * REFS_MAX, body_size=BODY_SIZE_MAX)

    assert len(encode(longest)) <= HEADER_SIZE_MAX
    assert read_header(encode(longest))


def test_an_event_has_the_id_of_its_header_bytes() -> None:
    written = event()

    read = read_event(written.header_bytes, written.body)

    assert read.id == written.id == event_hash(written.header_bytes)
    assert (read.header, read.header_bytes, read.body) == (written.header, written.header_bytes, written.body)


def test_an_id_is_not_the_plain_hash_of_the_same_bytes() -> None:
    """Else a blob could be made whose id is that of an event."""
    written = event()

    assert written.id != hash_bytes(written.header_bytes)


@pytest.mark.parametrize("body", [b"", b"\xa1", b"\xa0\0", b"\xa0" * 2])
def test_a_body_that_is_not_the_promised_one_is_refused(body: bytes) -> None:
    with pytest.raises(BodyMismatchError):
        read_event(event().header_bytes, body)


def test_a_body_need_not_be_cbor() -> None:
    """Bodies are opaque here: what does not fit its type is the projections' matter."""
    poison = event(body=b"\xff\xff")

    assert read_event(poison.header_bytes, b"\xff\xff").body == b"\xff\xff"


def test_an_event_follows_the_one_before() -> None:
    first = event()

    event(first).check_follows(first)


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"seq": 0}, LogGapError),
        ({"seq": 2}, LogGapError),
        ({"previous": ID}, LogGapError),
        ({"hlc": 1000}, ClockNotIncreasingError),
        ({"hlc": 999}, ClockNotIncreasingError),
        ({"log": LogId(ID)}, WrongLogError),
        ({"group": GroupId(ID)}, WrongLogError),
    ],
)
def test_an_event_that_does_not_follow_says_why(changed: dict[str, object], error: type[EventRejectedError]) -> None:
    first = event()

    with pytest.raises(error):
        event(first, **changed).check_follows(first)


def test_an_event_that_skips_a_position_is_a_gap() -> None:
    """A log has no holes: seq 2 cannot follow seq 0, whoever signed it."""
    first = event()

    with pytest.raises(LogGapError):
        event(event(first)).check_follows(first)


def test_what_this_peer_writes_obeys_the_limits_too() -> None:
    with pytest.raises(HeaderInvalidError):
        SampleLog("alice").write(note()._replace(body=b"x" * (BODY_SIZE_MAX + 1)))


def test_the_size_of_an_event_counts_header_and_body() -> None:
    written = event(body=b"12345")

    assert written.size == len(written.header_bytes) + 5
    assert written.height == 1
    assert "note" in repr(written)


@pytest.mark.parametrize("size", [0, 2, BODY_SIZE_MAX])
def test_a_size_that_is_not_that_of_the_body_is_refused_though_the_hash_is_right(size: int) -> None:
    """Sizes are added up before bodies are there: one that lies would get past a limit."""
    header = encode(fields(body_size=size, body_hash=hash_bytes(b"\xa0")))

    with pytest.raises(BodyMismatchError):
        read_event(header, b"\xa0")
