from typing import Any

import pytest

from peer.core.certificate import CERTIFICATE_SIZE_MAX
from peer.core.encoding import Value, decode, encode
from peer.core.event import HEADER_SIZE_MAX
from peer.core.frontier import Tip
from peer.core.group import GENESIS_SIZE_MAX
from peer.core.identity import BlobId, EventId, GroupId, LogId, PeerId
from peer.core.run import RUN_EVENTS_MAX
from peer.errors import LimitExceededError, MalformedFrameError
from peer.sync import limits, messages
from peer.sync.messages import decode_message, encode_message

GROUP, LOG, PEER = GroupId(b"g" * 32), LogId(b"l" * 32), PeerId(b"p" * 32)
ID, OTHER_ID = EventId(b"e" * 32), EventId(b"f" * 32)
SIGNATURE = b"s" * 64

SAMPLES: tuple[messages.Message, ...] = (
    messages.Hello((1, 2), PEER, b"n" * 32, b"i" * 16, b"q" * 16, "site-a", b"record"),
    messages.Proof(SIGNATURE, joining=True, groups=(GROUP, GROUP)),
    messages.Join(GROUP, b"k" * 32, SIGNATURE, "site-b"),
    messages.Joined(GROUP, b"genesis"),
    messages.JoinRequest(GROUP, b"k" * 32, PEER, "site-b", b"n" * 32, SIGNATURE, 1),
    messages.JoinRefused(GROUP, b"k" * 32, PEER, "invitation_refused"),
    messages.Guest(GROUP),
    messages.Member(GROUP),
    messages.Offer(GROUP, b"genesis"),
    messages.Have(GROUP, complete=True, more=False, logs=(messages.LogEntry(LOG, b"certificate", (Tip(1, ID), Tip(2, OTHER_ID))),)),
    messages.Want(GROUP, LOG, (ID, OTHER_ID), search=True),
    messages.Unwant(GROUP, LOG),
    messages.Unknown(GROUP, LOG),
    messages.Events(GROUP, LOG, SIGNATURE, ((b"header", b"body"), (b"header", b""))),
    messages.Rejected(GROUP, LOG, "log_gap"),
    messages.Credit(1),
    messages.BlobWant(1, GROUP, BlobId(ID), 0, 4096, relay=False),
    messages.Records(GROUP, ((b"record", 10**9), (b"", 0))),
    messages.Sites(GROUP, ((b"status", 3),)),
    messages.Digests(GROUP, 3, b"b" * 32, (("chunks", b"d" * 32), ("recordings", b"e" * 32))),
    messages.DigestWant(GROUP, b"b" * 32, "chunks", b"\1"),
    messages.DigestPart(GROUP, b"b" * 32, "chunks", b"\1", rows=True, entries=((b"key", b"d" * 32),)),
    messages.BlobPart(1, "", b"bytes"),
    messages.PossessionWant(1, GROUP, EventId(ID), b"r" * 32, ((BlobId(ID), 0), (BlobId(OTHER_ID), 2**40))),
    messages.Possession(1, "", (b"p" * 32, b"q" * 32)),
    messages.RoundsWant(GROUP, (b"r" * 32,)),
    messages.RoundsEnded(GROUP, (b"r" * 32, b"s" * 32)),
    messages.Ping(0),
    messages.Pong(2**64 - 1),
    messages.Error("not_a_member", "no", GROUP),
    messages.Error("protocol_violation", "why", b""),
)
"""Every message at least once."""

FIELDS = [(message, place) for message in SAMPLES for place in range(1, len(message) + 1)]
WRONG: tuple[Value, ...] = (None, {}, {"a": 1}, -1)
"""What no field of any message may be."""


def name_of(message: messages.Message) -> str:
    return str(fields_of(message)[0])


def fields_of(message: messages.Message) -> list[Any]:
    fields = decode(encode_message(message))
    assert isinstance(fields, list)
    return fields


def with_field(message: messages.Message, place: int, value: object) -> bytes:
    fields = fields_of(message)
    fields[place] = value
    return encode(fields)


def sample(name: str) -> messages.Message:
    return next(message for message in SAMPLES if name_of(message) == name)


def test_the_samples_are_all_messages() -> None:
    assert {name_of(message) for message in SAMPLES} == set(messages._READERS)


@pytest.mark.parametrize("message", SAMPLES, ids=name_of)
def test_a_message_survives_its_frame(message: messages.Message) -> None:
    frame = encode_message(message)

    assert decode_message(frame) == message
    assert encode_message(decode_message(frame)) == frame


@pytest.mark.parametrize(("message", "place"), FIELDS, ids=lambda value: value if isinstance(value, int) else name_of(value))
def test_a_field_of_another_type_is_malformed(message: messages.Message, place: int) -> None:
    for wrong in WRONG:
        with pytest.raises(MalformedFrameError):
            decode_message(with_field(message, place, wrong))


@pytest.mark.parametrize("message", SAMPLES, ids=name_of)
def test_a_message_with_a_field_too_few_or_too_many_is_malformed(message: messages.Message) -> None:
    fields = fields_of(message)

    for wrong in (fields[:-1], [*fields, 0], fields[:1]):
        with pytest.raises(MalformedFrameError):
            decode_message(encode(wrong))


@pytest.mark.parametrize(("message", "place"), FIELDS, ids=lambda value: value if isinstance(value, int) else name_of(value))
def test_an_id_key_or_signature_of_another_size_is_malformed(message: messages.Message, place: int) -> None:
    value = fields_of(message)[place]
    if not isinstance(value, bytes) or len(value) < 16:
        return
    for wrong in (value[:-1], value + b"\0", b"" if name_of(message) != "error" else b"x"):
        with pytest.raises(MalformedFrameError):
            decode_message(with_field(message, place, wrong))


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x80",
        b"\x00",
        encode("ping"),
        encode({"ping": 1}),
        encode(["nobody knows this", 1]),
        encode([1, 1]),
        encode([["ping"], 1]),
        encode(["ping", 1]) + b"\0",
        encode(["ping", 1])[:-1],
        bytes.fromhex("9f6470696e6701ff"),
        bytes.fromhex("826470696e671801"),
        bytes.fromhex("82647069" + "6e67c101"),
        bytes.fromhex("826470696e67f93c00"),
        bytes.fromhex("826470696e67f5"),
        b"\x81" * 5000 + b"\x00",
    ],
    ids=lambda frame: frame[:16].hex() or "nothing",
)
def test_bytes_that_are_no_message_are_malformed(frame: bytes) -> None:
    with pytest.raises(MalformedFrameError):
        decode_message(frame)


def test_a_frame_is_at_most_a_mebibyte() -> None:
    with pytest.raises(LimitExceededError):
        decode_message(bytes(limits.FRAME_SIZE_MAX + 1))


def entry(count: int = 1, log: bytes = LOG) -> list[object]:
    return [log, b"", [[height, bytes(32)] for height in range(1, count + 1)]]


@pytest.mark.parametrize(
    ("name", "place", "most", "one_more"),
    [
        ("hello", 1, [1] * messages.VERSIONS_MAX, [1] * (messages.VERSIONS_MAX + 1)),
        ("hello", 7, bytes(limits.RECORD_SIZE_MAX), bytes(limits.RECORD_SIZE_MAX + 1)),
        ("records", 2, [[b"", 0]] * limits.NEIGHBOURS_MAX, [[b"", 0]] * (limits.NEIGHBOURS_MAX + 1)),
        ("sites", 2, [[bytes(limits.RECORD_SIZE_MAX), 0]], [[bytes(limits.RECORD_SIZE_MAX + 1), 0]]),
        ("digests", 4, [["t", bytes(32)]] * limits.DIGEST_TABLES_MAX, [["t", bytes(32)]] * (limits.DIGEST_TABLES_MAX + 1)),
        ("digest_want", 4, bytes(limits.DIGEST_KEY_SIZE_MAX), bytes(limits.DIGEST_KEY_SIZE_MAX + 1)),
        ("digest_part", 4, bytes(limits.DIGEST_KEY_SIZE_MAX), bytes(limits.DIGEST_KEY_SIZE_MAX + 1)),
        ("digest_part", 6, [[bytes(limits.DIGEST_KEY_SIZE_MAX), bytes(32)]], [[bytes(limits.DIGEST_KEY_SIZE_MAX + 1), bytes(32)]]),
        ("digest_part", 6, [[b"k", bytes(32)]] * limits.DIGEST_ENTRIES_MAX, [[b"k", bytes(32)]] * (limits.DIGEST_ENTRIES_MAX + 1)),
        ("possession_want", 5, [[ID, 0]] * limits.PROOFS_MAX, [[ID, 0]] * (limits.PROOFS_MAX + 1)),
        ("possession", 3, [ID] * limits.PROOFS_MAX, [ID] * (limits.PROOFS_MAX + 1)),
        ("rounds_want", 2, [ID] * limits.ROUNDS_MAX, [ID] * (limits.ROUNDS_MAX + 1)),
        ("rounds_ended", 2, [ID] * limits.ROUNDS_MAX, [ID] * (limits.ROUNDS_MAX + 1)),
        ("proof", 3, [GROUP] * limits.GROUPS_PER_LINK_MAX, [GROUP] * (limits.GROUPS_PER_LINK_MAX + 1)),
        ("join_request", 7, limits.JOIN_HOPS_MAX, limits.JOIN_HOPS_MAX + 1),
        ("offer", 2, bytes(GENESIS_SIZE_MAX), bytes(GENESIS_SIZE_MAX + 1)),
        ("joined", 2, bytes(GENESIS_SIZE_MAX), bytes(GENESIS_SIZE_MAX + 1)),
        ("have", 4, [entry()] * limits.HAVE_LOGS_MAX, [entry()] * (limits.HAVE_LOGS_MAX + 1)),
        ("have", 4, [entry(limits.TIPS_PER_LOG_MAX)], [entry(limits.TIPS_PER_LOG_MAX + 1)]),
        ("have", 4, [[LOG, bytes(CERTIFICATE_SIZE_MAX), [[1, ID]]]], [[LOG, bytes(CERTIFICATE_SIZE_MAX + 1), [[1, ID]]]]),
        ("want", 3, [ID] * limits.POSITIONS_MAX, [ID] * (limits.POSITIONS_MAX + 1)),
        ("events", 4, [[b"", b""]] * RUN_EVENTS_MAX, [[b"", b""]] * (RUN_EVENTS_MAX + 1)),
        ("events", 4, [[bytes(HEADER_SIZE_MAX), b""]], [[bytes(HEADER_SIZE_MAX + 1), b""]]),
    ],
)
def test_a_limit_is_met_and_not_exceeded(name: str, place: int, most: object, one_more: object) -> None:
    decode_message(with_field(sample(name), place, most))

    with pytest.raises(LimitExceededError):
        decode_message(with_field(sample(name), place, one_more))


@pytest.mark.parametrize(
    ("name", "place", "wrong"),
    [
        ("hello", 1, [True]),
        ("hello", 1, [-1]),
        ("hello", 6, ""),
        ("hello", 6, ".hidden"),
        ("hello", 6, "a/b"),
        ("hello", 6, "x" * 129),
        ("proof", 2, 1),
        ("proof", 3, [b"short"]),
        ("join", 4, "../up"),
        ("join_request", 4, "../up"),
        ("join_request", 7, True),
        ("join_refused", 4, "Not a code"),
        ("have", 4, [[LOG, b"", []]]),
        ("have", 4, [[LOG, b"", [[0, ID]]]]),
        ("have", 4, [[LOG, b"", [[True, ID]]]]),
        ("have", 4, [[LOG, b"", [[2, ID], [1, ID]]]]),
        ("have", 4, [[LOG, b"", [[1, ID], [1, ID]]]]),
        ("have", 4, [[LOG, b"", [[1, ID, 0]]]]),
        ("have", 4, [[LOG, b""]]),
        ("have", 4, [LOG]),
        ("events", 4, []),
        ("events", 4, [[b""]]),
        ("events", 4, [[b"", "text"]]),
        ("rejected", 3, "x" * (limits.TEXT_CHARACTERS_MAX + 1)),
        ("rejected", 3, "Not a code\n"),
        ("credit", 1, 0),
        ("credit", 1, messages.GRANT_MAX + 1),
        ("digests", 4, [["Not a name", bytes(32)]]),
        ("digests", 4, [["chunks", bytes(31)]]),
        ("digest_part", 6, [[b"key", b""]]),
        ("possession_want", 4, bytes(31)),
        ("possession_want", 5, []),
        ("possession_want", 5, [[ID, -1]]),
        ("possession_want", 5, [[ID]]),
        ("possession", 2, "Not a code"),
        ("possession", 3, [bytes(31)]),
        ("rounds_ended", 2, [bytes(33)]),
        ("ping", 1, False),
        ("error", 1, ""),
        ("error", 1, "\x1b[31mred"),
        ("error", 2, "x" * (limits.TEXT_CHARACTERS_MAX + 1)),
        ("error", 3, b"short"),
    ],
)
def test_a_value_out_of_range_is_malformed(name: str, place: int, wrong: object) -> None:
    with pytest.raises(MalformedFrameError):
        decode_message(with_field(sample(name), place, wrong))
