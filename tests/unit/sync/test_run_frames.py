"""The short way for frames that carry runs: it says what the long way says, or leaves the word to it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.core.encoding import Value, encode
from peer.core.event import HEADER_SIZE_MAX
from peer.core.run import RUN_EVENTS_MAX, Draft
from peer.errors import LimitExceededError, MalformedFrameError
from peer.sync import messages, run_frames
from peer.sync.messages import Events, decode_message
from tests.samples import GROUP, SampleLog, parts

LOG, SIGNATURE = b"l" * 32, b"s" * 64


def the_long_way(frame: bytes) -> messages.Message | type[Exception]:
    """What reading says without the short way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(messages, "read_run_frame", lambda _frame: None)
        try:
            return decode_message(frame)
        except (MalformedFrameError, LimitExceededError) as error:
            return type(error)


def is_left_to_the_long_way(frame: bytes) -> None:
    """Whatever is wrong is found and said there."""
    assert run_frames.read_run_frame(frame) is None
    with pytest.raises((MalformedFrameError, LimitExceededError)) as caught:
        decode_message(frame)
    assert the_long_way(frame) is type(caught.value)


@given(st.lists(st.binary(max_size=300).map(lambda body: Draft("note", body)), min_size=1, max_size=40))
def test_a_run_is_written_and_read_as_the_message_that_it_is(drafts: list[Draft]) -> None:
    log = SampleLog("alice")
    run = log.write(*drafts)

    frame = run_frames.write_run_frame(GROUP, run.log, run)

    expected = Events(GROUP, run.log, run.signature, tuple(parts(run)))
    assert frame == messages.encode_message(expected)
    assert run_frames.read_run_frame(frame) == tuple(expected), "nothing is wrong with it: the short way is taken"
    assert decode_message(frame) == expected == the_long_way(frame)


PAIR: list[Value] = [b"header", b"body"]
WRONG: dict[str, list[Value]] = {
    "no events": [GROUP, LOG, SIGNATURE, []],
    "too many events": [GROUP, LOG, SIGNATURE, [PAIR] * (RUN_EVENTS_MAX + 1)],
    "a header that is too long": [GROUP, LOG, SIGNATURE, [PAIR, [bytes(HEADER_SIZE_MAX + 1), b""]]],
    "a header of text": [GROUP, LOG, SIGNATURE, [PAIR, ["header", b""]]],
    "a body of text": [GROUP, LOG, SIGNATURE, [PAIR, [b"header", "body"]]],
    "a body that is no bytes": [GROUP, LOG, SIGNATURE, [[b"header", None]]],
    "a pair of one": [GROUP, LOG, SIGNATURE, [PAIR, [b"header"]]],
    "a pair of three": [GROUP, LOG, SIGNATURE, [PAIR, [b"header", b"", b""]]],
    "a pair of bytes": [GROUP, LOG, SIGNATURE, [PAIR, b"ab"]],
    "a pair of text": [GROUP, LOG, SIGNATURE, ["ab"]],
    "events that are a map": [GROUP, LOG, SIGNATURE, {"a": PAIR}],
    "events that are none": [GROUP, LOG, SIGNATURE, None],
    "a short group": [GROUP[1:], LOG, SIGNATURE, [PAIR]],
    "a long log": [GROUP, LOG + b"l", SIGNATURE, [PAIR]],
    "a log of text": [GROUP, "l" * 32, SIGNATURE, [PAIR]],
    "a signature of text": [GROUP, LOG, "s" * 64, [PAIR]],
    "a short signature": [GROUP, LOG, SIGNATURE[1:], [PAIR]],
}


@pytest.mark.parametrize("what", WRONG)
def test_a_frame_is_refused_with(what: str) -> None:
    is_left_to_the_long_way(encode(["events", *WRONG[what]]))


GOOD = encode(["events", GROUP, LOG, SIGNATURE, [PAIR, PAIR]])


@pytest.mark.parametrize(
    "frame",
    [
        GOOD + b"\0",
        GOOD[:-1],
        b"\x85" + b"\x78\x06events" + GOOD[8:],
        GOOD.replace(b"\x46header", b"\x58\x06header", 1),
        GOOD.replace(b"\x44body", b"\x58\x04body"),
        GOOD.replace(b"\x44body", b"\x5f\x44body\xff"),
        GOOD.replace(b"\x82\x82", b"\x9f\x82", 1) + b"\xff",
        GOOD.replace(b"\x82\x82", b"\x98\x02\x82", 1),
        GOOD.replace(b"\x82\x46", b"\xc1\x82\x46", 1),
        GOOD[:8],
    ],
    ids=range(10),
)
def test_another_encoding_of_a_good_frame_is_refused(frame: bytes) -> None:
    assert decode_message(GOOD), "it is good"
    is_left_to_the_long_way(frame)


@given(st.data())
def test_a_changed_byte_says_the_same_either_way(data: st.DataObject) -> None:
    changed = bytearray(GOOD)
    changed[data.draw(st.integers(0, len(GOOD) - 1))] ^= data.draw(st.integers(0, 255))
    frame = bytes(changed)

    expected = the_long_way(frame)
    if isinstance(expected, type):
        is_left_to_the_long_way(frame)
    else:
        assert decode_message(frame) == expected
