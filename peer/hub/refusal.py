"""How a hub says no: with the words and statuses that clients of hubs know. Pure."""

from collections.abc import Sequence

from peer.errors import RequestError


class RefusedError(RequestError):
    """A request to the hub that is not done."""

    def __init__(self, status: int, error: str, text: str, *, details: Sequence[object] = (), retry_after_s: int | None = None) -> None:
        """`error` is the word for programs."""
        super().__init__(text)
        self.status = status
        self.error = error
        self.details = details
        self.retry_after_s = retry_after_s
        self.headers: dict[str, str] = {}
        """To go with it."""


def unauthorised() -> RefusedError:
    """Nobody's key."""
    return RefusedError(401, "Unauthorized", "Invalid authentication token")


def key_invalid() -> RefusedError:
    """A pre-auth key that lets nobody in, for whatever reason."""
    return RefusedError(401, "INVALID_PREAUTH_KEY", "Pre-auth key is invalid, expired, or exhausted")


def not_owner() -> RefusedError:
    """Somebody else's swarm, or nobody's: that is the same to a stranger."""
    return RefusedError(403, "NOT_SWARM_OWNER", "You do not own this swarm")


def too_many(what: str) -> RefusedError:
    """One of the limits of what a hub holds."""
    return RefusedError(403, "LIMIT_REACHED", f"Too many {what}")
