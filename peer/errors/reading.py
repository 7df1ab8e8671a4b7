"""What can be wrong where messages of a recording are read: leaves of `RequestError` and `TransportError`."""

from peer.errors.base import RequestError, TransportError


class McapDamagedError(RequestError):
    """A part of an MCAP file cannot be read: what came before it is good."""

    code = "mcap_damaged"


class MessagesTooLargeError(RequestError):
    """More messages at once than are held in memory to be put in order."""

    code = "messages_too_large"


class RecordingEmptyError(RequestError):
    """A recording without a message has nothing to count or to draw."""

    code = "recording_empty"


class TooManyReadersError(RequestError):
    """As many as may are reading messages at this peer now."""

    code = "too_many_readers"
    status = 503


class BytesUnreachableError(TransportError):
    """Nobody gives the bytes that are read now, or not in time."""

    code = "bytes_unreachable"
