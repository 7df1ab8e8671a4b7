"""What keeps bytes where they are: leaves of `RequestError`."""

from peer.errors.base import RequestError


class RecordingHeldError(RequestError):
    """A hold stands: nothing of the recording may go."""

    code = "recording_held"
    status = 409


class RecordingRetainedError(RequestError):
    """The recording is to be kept for longer."""

    code = "recording_retained"
    status = 409


class ViewsBehindError(RequestError):
    """What holds the recording cannot be told now, so nothing of it goes."""

    code = "views_behind"
    status = 503
