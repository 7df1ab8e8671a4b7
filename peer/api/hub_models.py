"""What travels over the admin API about the hub of this peer."""

from typing import Literal

from pydantic import Field

from peer.api.models import TEXT_MAX, Answer, Count, Request


class HubKeyCreate(Request):
    """A pre-auth key to make."""

    hive: str | None = Field(default=None, max_length=TEXT_MAX, description="Who comes with it is in this hive; made where it is not there")
    uses: int = Field(default=1, ge=1, le=1000, description="How many peers may come with it")
    expires_in_ms: int = Field(default=30 * 24 * 3600 * 1000, ge=1)


class HubKey(Answer):
    """A pre-auth key, without its secret."""

    id: str
    hive: str | None
    uses_left: Count
    state: Literal["valid", "used_up", "expired"]
    created_by: str
    created_ms: Count
    expires_ms: Count | None
    last_used_ms: Count | None


class HubKeyMade(HubKey):
    """A new one. Its secret is told this once and kept nowhere."""

    key: str
    url: str | None


class HubEntry(Answer):
    """What somebody registered at the hub."""

    id: str
    name: str
    endpoint: str
    status: Literal["online", "offline", "unreachable"]
    last_seen_ms: Count
    hives: list[str]


class HubPeer(Answer):
    """Somebody who came with a key."""

    id: str
    name: str
    state: Literal["new", "online", "offline"]
    last_seen_ms: Count | None
    created_ms: Count
    hives: list[str]
    registered: list[HubEntry]


class HubSummary(Answer):
    """The hub in the status of its peer."""

    enabled: bool
    url: str | None
    peers: Count
    peers_online: Count
