"""What stands against dropping the copy of a recording that is here: leaves of `RequestError`."""

from peer.errors.base import RequestError


class TooFewCopiesError(RequestError):
    """Not enough other sites proved that they hold the recording."""

    code = "too_few_copies"
    status = 409


class CopyPromisedError(RequestError):
    """Another site that drops its copy was told that the one here stays."""

    code = "copy_promised"
    status = 409


class CopyReleasingError(RequestError):
    """The copy is being dropped: nobody is told that it stays."""

    code = "copy_releasing"
    status = 409


class PromisesLostError(RequestError):
    """What was promised to others may have been lost with a database: nothing is dropped for a while."""

    code = "promises_lost"
    status = 503


class CopyUnprovenError(RequestError):
    """A site says that it holds a recording, and could not prove it."""

    code = "copy_unproven"
