"""Batches of frames, as they stand in bodies."""

import pytest

from peer.core.encoding import encode
from peer.errors import MalformedFrameError
from peer.sync.limits import FRAME_SIZE_MAX
from peer.transport.poll_batches import FRAMES_MAX, POLL_BODY_SIZE_MAX, Batch, decode_batch, encode_batch

ID = bytes(32)


@pytest.mark.parametrize(
    "batch",
    [
        Batch(b"", 0, last=False, frames=()),
        Batch(ID, 7, last=True, frames=(b"", b"x")),
        Batch(ID, 1, last=False, frames=(b"",) * FRAMES_MAX),
        Batch(ID, 2**63, last=False, frames=(bytes(FRAME_SIZE_MAX),)),
    ],
)
def test_what_is_written_is_read(batch: Batch) -> None:
    body = encode_batch(batch)

    assert decode_batch(body) == batch
    assert len(body) <= POLL_BODY_SIZE_MAX


@pytest.mark.parametrize(
    "fields",
    [
        None,
        [],
        [ID, 1, False],
        [ID, 1, False, [], None],
        [ID[1:], 1, False, []],
        ["x" * 32, 1, False, []],
        [ID, -1, False, []],
        [ID, True, False, []],
        [ID, 1, 0, []],
        [ID, 1, False, None],
        [ID, 1, False, ["text"]],
        [ID, 1, False, [bytes(FRAME_SIZE_MAX + 1)]],
        [ID, 1, False, [b""] * (FRAMES_MAX + 1)],
        {"connection": ID},
    ],
)
def test_what_is_no_batch_is_refused(fields: object) -> None:
    with pytest.raises(MalformedFrameError):
        decode_batch(encode(fields))


def test_bytes_that_are_no_canonical_encoding_are_refused() -> None:
    for body in (b"", b"\xff", encode([ID, 1, False, []]) + b"\0"):
        with pytest.raises(MalformedFrameError):
            decode_batch(body)
