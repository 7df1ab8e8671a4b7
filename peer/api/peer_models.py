"""What travels over the admin API about other peers: adding them, letting in who knocked, how far they can be reached."""

from typing import Literal

from pydantic import Field

from peer.api.member_models import GivenRole
from peer.api.models import TEXT_MAX, Answer, Count, Hex, Request

Step = Literal["name", "tcp", "tls", "handshake", "group"]


class PeerCreate(Request):
    """A peer to share groups with."""

    name: str = Field(max_length=TEXT_MAX)
    sync_endpoint: str | None = Field(default=None, max_length=TEXT_MAX, description="Where it is dialled; null for a peer that dials us")
    peer_id: str = Field(max_length=TEXT_MAX)
    shared_groups: list[str] = Field(default_factory=list, max_length=64, description="Names, or ids of groups that are here")
    role: GivenRole = Field(default="writer", description="What it becomes where it is no member yet and this site is an admin")


class PeerChange(Request):
    """What is to be different about a peer."""

    paused: bool


class PeerRemoved(Answer):
    """A peer whose address is forgotten."""

    peer_id: Hex
    name: str
    still_member_of: list[str]


class PendingPeer(Answer):
    """Somebody who dialled with a key that is a member of nothing here."""

    peer_id: Hex
    name: str
    address: str
    first_seen_ms: Count
    last_seen_ms: Count
    groups: list[Hex]
    count: Count


class PendingDecision(Request):
    """What becomes of somebody who knocked."""

    peer_id: str = Field(max_length=TEXT_MAX, description="Id or name, or the start of the id")
    action: Literal["accept", "ignore"]
    group: str | None = Field(default=None, max_length=TEXT_MAX, description="The group that it is to share")
    role: GivenRole = "writer"


class PendingDecided(Answer):
    """Who it was."""

    peer_id: Hex
    name: str
    action: Literal["accept", "ignore"]


class TestStep(Answer):
    """One step on the way to a peer."""

    step: Step
    ok: bool
    text: str


class PeerTested(Answer):
    """How far a peer can be reached."""

    peer_id: Hex
    name: str
    endpoint: str | None
    ok: bool
    failed: Step | None
    code: str | None
    fix: str
    steps: list[TestStep]


class GroupLeft(Answer):
    """How far this site is out of a group."""

    group_id: Hex
    name: str
    role: str
    asked: bool
    removed: bool
    forgotten: bool


class Resynced(Answer):
    """With whom everything is compared again."""

    group_id: Hex
    name: str
    peers: list[Hex]
