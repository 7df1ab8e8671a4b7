"""Events that are read together: nothing gets in that would not, one by one, and nothing is kept out."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.core import chain
from peer.core.chain import read_chain
from peer.core.encoding import encode
from peer.core.event import REFS_MAX, UINT64_MAX, Event, read_event
from peer.core.hashing import event_hash, hash_bytes
from peer.errors import EventRejectedError, LogGapError, WrongLogError
from tests.samples import GROUP, SampleLog, parts
from tests.unit.core.test_event import FIELDS, ID, WRONG

Parts = list[tuple[bytes, bytes]]


def linked(*headers: dict[str, object], first: int = 1000) -> Parts:
    """Events that follow each other, whatever stands in the fields that are named: as a member would link them who means harm."""
    made: Parts = []
    previous = ID
    for index, changed in enumerate(headers):
        body = b"body %d" % index
        good: dict[str, object] = {
            "version": 1,
            "group": GROUP,
            "log": ID,
            "seq": first + index,
            "previous": previous,
            "hlc": 2**60 + index,
            "type": "note",
            "refs": [],
            "body_size": len(body),
            "body_hash": hash_bytes(body),
        }
        header = encode([*(good | {name: value for name, value in changed.items() if name in FIELDS}).values()])
        made.append((header, body))
        previous = event_hash(header)
    return made


def one_by_one(made: Sequence[tuple[bytes, bytes]]) -> list[Event]:
    """What reading together has to agree with."""
    events = [read_event(*part) for part in made]
    for before, event in itertools.pairwise(events):
        event.check_follows(before)
    return events


def shown(events: Sequence[Event]) -> list[tuple[object, ...]]:
    return [(event.header, event.header_bytes, event.id, event.body) for event in events]


def is_refused_as_one_by_one(made: Parts) -> None:
    """The same error as without the short way, which is not taken."""
    with pytest.raises(EventRejectedError) as expected:
        one_by_one(made)
    assert chain._read_together(made) is None
    with pytest.raises(type(expected.value)) as caught:
        read_chain(made)
    assert caught.value.text == expected.value.text


def test_good_events_are_read_together_as_they_are_one_by_one() -> None:
    made = linked({}, {"refs": [ID, ID[::-1]]}, {"type": "ré"}, {"refs": [ID] * REFS_MAX}, {})

    together = chain._read_together(made)

    assert together is not None, "nothing is wrong with them: the short way is taken"
    assert shown(together) == shown(one_by_one(made)) == shown(read_chain(made))


@pytest.mark.parametrize("first", [0, 22, 23, 254, 65534, 65535, UINT64_MAX - 4])
def test_numbers_that_get_longer_between_two_events_change_nothing(first: int) -> None:
    made = linked({}, {}, {}, {}, first=first)

    assert shown(read_chain(made)) == shown(one_by_one(made))


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, value, _ in WRONG])
@pytest.mark.parametrize("place", [0, 2, 4])
def test_a_wrong_field_in_a_chain_that_is_linked_well_is_refused(place: int, name: str, value: object) -> None:
    changed: list[dict[str, object]] = [{} for _ in range(5)]
    changed[place] = {name: value}

    is_refused_as_one_by_one(linked(*changed))


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, value, _ in WRONG if name not in ("seq", "previous", "hlc")])
def test_a_field_that_is_wrong_all_over_is_refused(name: str, value: object) -> None:
    is_refused_as_one_by_one(linked(*({name: value} for _ in range(4))))


@pytest.mark.parametrize("name", ["group", "log"])
def test_an_event_of_another_log_in_a_chain_is_refused(name: str) -> None:
    made = linked({}, {}, {name: ID[1:] + b"\x12"}, {})

    is_refused_as_one_by_one(made)
    with pytest.raises(WrongLogError):
        read_chain(made)


@pytest.mark.parametrize("changed", [{"seq": 1003}, {"seq": 1001}, {"previous": ID}, {"hlc": 2**60 + 1}, {"hlc": 2**60}, {"hlc": 5}])
def test_an_event_that_does_not_follow_is_refused(changed: dict[str, object]) -> None:
    is_refused_as_one_by_one(linked({}, {}, changed, {}))


def test_bytes_that_one_header_leaves_to_the_next_are_refused() -> None:
    """In one row they decode to the same values, each header linked to the bytes that the one before was given."""
    good = linked({}, {}, {})
    for taken in (1, 40, 60):
        short = good[1][0][:-taken]
        fields = [1, GROUP, ID, 1002, event_hash(short), 2**60 + 2, "note", [], len(good[2][1]), hash_bytes(good[2][1])]
        is_refused_as_one_by_one([good[0], (short, good[1][1]), (good[1][0][-taken:] + encode(fields), good[2][1])])


@pytest.mark.parametrize(
    "longer", [lambda header: b"\x98\x0a" + header[1:], lambda header: header + b"\0", lambda header: b"\x9f" + header[1:] + b"\xff"]
)
def test_a_header_that_is_longer_than_need_be_is_refused(longer: object) -> None:
    good = linked({}, {}, {}, {})
    assert callable(longer)

    is_refused_as_one_by_one([*good[:3], (longer(good[3][0]), good[3][1])])


def test_bodies_that_have_changed_places_are_refused() -> None:
    good = linked({}, {}, {}, {})

    is_refused_as_one_by_one([good[0], (good[1][0], good[2][1]), (good[2][0], good[1][1]), good[3]])


@pytest.mark.parametrize("header", [b"", b"\xf6", encode([]), encode([1]), encode({"a": 1}), encode([[1] * 10])])
def test_what_is_no_header_is_refused_among_others(header: bytes) -> None:
    good = linked({}, {}, {}, {})

    is_refused_as_one_by_one([*good[:2], (header, good[2][1]), good[3]])


def test_missing_events_are_gaps() -> None:
    good = linked({}, {}, {}, {}, {})

    with pytest.raises(LogGapError):
        read_chain([*good[:2], *good[3:]])


@given(st.integers(3, 12), st.data())
def test_a_changed_byte_is_seen_the_same_way_together_and_one_by_one(count: int, data: st.DataObject) -> None:
    log = SampleLog("alice")
    log.write_notes(30)
    pieces = [bytearray(piece) for part in parts(log.write_notes(count)) for piece in part]
    piece = data.draw(st.sampled_from(pieces))
    piece[data.draw(st.integers(0, len(piece) - 1))] ^= data.draw(st.integers(0, 255))
    made = list(zip(map(bytes, pieces[::2]), map(bytes, pieces[1::2]), strict=True))

    try:
        expected = shown(one_by_one(made))
    except EventRejectedError:
        is_refused_as_one_by_one(made)
    else:
        assert shown(read_chain(made)) == expected
