"""What requests to `/sync/v1/poll` and their answers consist of: both the same. `PROTOCOL.md` section 2 says what they mean."""

from typing import NamedTuple

from peer.core.encoding import decode, encode
from peer.errors import MalformedFrameError, NotCanonicalError
from peer.sync.limits import FRAME_SIZE_MAX

POLL_PATH = "/sync/v1/poll"
CONTENT_TYPE = "application/cbor"
CONNECTION_SIZE = 32
FRAMES_MAX = 256
"""Frames in one batch."""

BATCH_BYTES_MAX = 512 * 1024
"""Bytes of the frames that we put into one batch; a single frame may have more. It passes a proxy that takes bodies of 1 MB."""

POLL_BODY_SIZE_MAX = FRAME_SIZE_MAX + 4096
"""What is taken: the longest frame, and what is around it."""

_FIELDS = 4


class Batch(NamedTuple):
    """Frames of one connection, under way in one direction."""

    connection: bytes
    """Empty in the request that opens one."""
    number: int
    """Of the request, among those of its kind; the answer repeats it."""
    last: bool
    """Nothing comes from this side after these frames."""
    frames: tuple[bytes, ...]

    @property
    def is_question(self) -> bool:
        """True for a request that brings nothing: it waits for what the listener has to say."""
        return not self.frames and not self.last


def encode_batch(batch: Batch) -> bytes:
    """As it stands in a body."""
    return encode([batch.connection, batch.number, batch.last, list(batch.frames)])


def decode_batch(body: bytes) -> Batch:
    """What stands in `body`. Raises `MalformedFrameError`."""
    try:
        fields = decode(body)
    except NotCanonicalError as error:
        raise MalformedFrameError("a body that is no batch of frames") from error
    if type(fields) is not list or len(fields) != _FIELDS:
        raise MalformedFrameError(f"a batch of frames has {_FIELDS} fields")
    connection, number, last, frames = fields
    if type(connection) is not bytes or len(connection) not in (0, CONNECTION_SIZE):
        raise MalformedFrameError(f"the id of a connection is {CONNECTION_SIZE} bytes")
    if type(number) is not int or number < 0 or type(last) is not bool:
        raise MalformedFrameError("a batch of frames has a number and says whether it is the last")
    if type(frames) is not list or len(frames) > FRAMES_MAX:
        raise MalformedFrameError(f"a batch has at most {FRAMES_MAX} frames")
    found = tuple(frame for frame in frames if type(frame) is bytes and len(frame) <= FRAME_SIZE_MAX)
    if len(found) != len(frames):
        raise MalformedFrameError("a frame that is not bytes, or too long")
    return Batch(connection, number, last, found)
