"""Who asks the admin API for something, and how much that is allowed to do. Tokens carry a tier; routes need one."""

from enum import IntEnum
from typing import NamedTuple

OWN_TOKEN_NAME = "admin.token"  # noqa: S105  (a file's name)
"""What the data directory's own token is called; no other may be."""

TOKEN_PREFIX = "recmesh_token_"  # noqa: S105  (no secret)
"""How the secret of a token begins, so that people and scanners recognise one that lies where it should not."""


class Tier(IntEnum):
    """How much somebody may do. Each tier may do what those below it may."""

    ANYONE = 0
    """Without a token: whether the process lives."""
    VIEWER = 1
    """Looks."""
    OPERATOR = 2
    """Does the work of the day: recordings, transfers, pauses."""
    ADMIN = 3
    """Decides who belongs here: members, peers, tokens."""

    @property
    def label(self) -> str:
        """As it is written."""
        return self.name.lower()


TOKEN_TIERS = (Tier.VIEWER, Tier.OPERATOR, Tier.ADMIN)
"""What a token can have."""


class Caller(NamedTuple):
    """Somebody who has shown a valid token."""

    name: str
    tier: Tier
    is_own: bool = False
    """True for the data directory's own token: who can read that file can read everything here."""


class StoredToken(NamedTuple):
    """What is kept of a token: enough to recognise its secret, not to know it."""

    name: str
    tier: Tier
    digest: bytes
    """SHA-256 of the secret, 32 bytes."""
    created_ms: int
    expires_ms: int
