"""Peer records: only the peer itself says where it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.record import (
    ENDPOINTS_MAX,
    RECORD_CONTEXT,
    RECORD_SIZE_MAX,
    VALID_FOR_MAX_S,
    PeerRecord,
    Reachability,
    is_endpoint,
    next_seq,
    read_record,
    sign_record,
)
from peer.core.encoding import encode
from peer.errors import RecordInvalidError
from tests.samples import key_pair

ALICE, BOB = key_pair("alice"), key_pair("bob")
ENDPOINT = "https://alice.example:7850"
RECORD = PeerRecord(ALICE.peer_id, 7, (ENDPOINT, "https://[fd00::1]:7850"), Reachability.DIALLABLE, 3600)
GOOD = (1, ALICE.public, 7, [ENDPOINT], 1, 3600)


def signed(*fields: object) -> bytes:
    """A record of these fields, validly signed by Alice: what is wrong is wrong further in."""
    data = encode(list(fields))
    return encode([data, ALICE.sign(RECORD_CONTEXT + data)])


def test_a_record_is_read_as_it_was_signed() -> None:
    written = sign_record(ALICE, RECORD)

    assert read_record(written.data) == written
    assert written.record == RECORD


def test_a_record_may_say_that_nobody_can_dial() -> None:
    quiet = RECORD._replace(endpoints=(), reachability=Reachability.OUTBOUND_ONLY)

    assert read_record(sign_record(ALICE, quiet).data).record == quiet


def test_nobody_signs_a_record_about_another() -> None:
    with pytest.raises(RecordInvalidError):
        sign_record(BOB, RECORD)


@given(st.data())
def test_a_changed_byte_is_noticed(data: st.DataObject) -> None:
    changed = bytearray(sign_record(ALICE, RECORD).data)
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))

    with pytest.raises(RecordInvalidError):
        read_record(bytes(changed))


@given(st.binary(max_size=1100))
def test_any_bytes_are_a_record_or_are_refused(data: bytes) -> None:
    for each in (data, encode([data, bytes(64)]), signed(data)):
        with pytest.raises(RecordInvalidError):
            read_record(each)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *((0, value) for value in (0, 2, True, None)),
        *((1, value) for value in (b"", bytes(31), bytes(33), "x" * 32, None, BOB.public)),
        *((2, value) for value in (-1, True, "7", None, -(2**64))),
        *((3, value) for value in ({}, None, ENDPOINT, [b"https://a:1"], [None], [ENDPOINT, ENDPOINT], ["ftp://a:1"], ["https://a:1/"])),
        (3, [f"https://a:{number}" for number in range(1, ENDPOINTS_MAX + 2)]),
        *((4, value) for value in (-1, 3, True, "diallable", None)),
        *((5, value) for value in (0, -1, VALID_FOR_MAX_S + 1, True, None)),
    ],
)
def test_a_wrong_field_is_refused_even_if_it_is_signed(place: int, value: object) -> None:
    fields: list[object] = [*GOOD]
    fields[place] = value

    with pytest.raises(RecordInvalidError):
        read_record(signed(*fields))
    assert read_record(signed(*GOOD))


@pytest.mark.parametrize("count", [0, 5, 7])
def test_a_record_has_six_fields(count: int) -> None:
    with pytest.raises(RecordInvalidError):
        read_record(signed(*[*GOOD, 0][:count]))


def test_a_record_with_its_signature_has_at_most_a_kibibyte() -> None:
    long = tuple(f"https://{'a' * 200}{number}.example:7850" for number in range(5))

    with pytest.raises(RecordInvalidError, match=str(RECORD_SIZE_MAX)):
        sign_record(ALICE, RECORD._replace(endpoints=long))


def test_a_signature_for_another_purpose_does_not_fit() -> None:
    data = RECORD.to_bytes()

    for context in (b"", b"recmesh/log/v1\0", b"recmesh/handshake/v1\0"):
        with pytest.raises(RecordInvalidError):
            read_record(encode([data, ALICE.sign(context + data)]))


def test_the_next_seq_is_above_what_others_remember() -> None:
    """After a restored backup a peer has forgotten records that others still hold."""
    assert next_seq(3, 0) == 4
    assert next_seq(3, 9) == 10


@pytest.mark.parametrize("text", [ENDPOINT, "http://127.0.0.1:1", "https://[::1]:65535", "https://Host-1:7850", "https://10.0.0.1:7850"])
def test_an_endpoint_is_scheme_host_and_port(text: str) -> None:
    assert is_endpoint(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "alice.example:7850",
        "https://alice.example",
        "https://:7850",
        "https://a:0",
        "https://a:65536",
        "https://a:-1",
        "https://a:07850",
        "https://a:7850/",
        "https://a:7850/path",
        "https://a:7850?q",
        "https://a:7850#f",
        "https://user@a:7850",
        "https://user:secret@a:7850",
        "https://a b:7850",
        "https://a\\b:7850",
        "https://a\n:7850",
        "https://a\x1b[2J:7850",
        "https://\u0430:7850",
        "https://[::1:7850",
        "https://" + "a" * 256 + ":7850",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "ws://a:7850",
        " https://a:7850",
    ],
)
def test_anything_else_is_no_endpoint(text: str) -> None:
    assert not is_endpoint(text)
