"""What the admin API says of this peer as a whole, and of its links to others."""

from typing import Literal

from pydantic import ConfigDict

from peer.api.hub_models import HubSummary
from peer.api.models import Answer, Count, Hex
from peer.api.transfer_models import Transfer


class GroupStatus(Answer):
    """How far a group is."""

    group_id: Hex
    name: str
    events: Count
    view_events: Count
    state_digest: Hex
    quarantined: Count
    poison: Count
    waiting_logs: Count
    leaving: bool
    forks: Count
    under_replicated: Count


class LastError(Answer):
    """What went wrong last on a link."""

    code: str
    text: str
    fix: str


class LinkNode(Answer):
    """The machine of the mesh at the other end of a link, in the words of the mesh: who the peer is only its key says."""

    node_id: str
    name: str
    user: str
    tags: list[str]


class Link(Answer):
    """A link to another peer."""

    model_config = ConfigDict(extra="allow")

    peer_id: Hex | None
    name: str | None
    state: Literal["connecting", "receiving", "up_to_date", "paused", "offline", "refused"]
    phase: Literal["handshake", "backfill", "push", "reconnect"]
    route: Literal["direct", "tailnet", "relayed", "none"]
    """`tailnet` where it runs over addresses of the mesh, `relayed` where others tell of the site."""
    node: LinkNode | None
    carrier: Literal["websocket", "poll"] | None
    """How frames travel: `poll` where something in between refuses WebSockets."""
    address: str | None
    missing_events: Count
    unreachable_since_ms: int | None
    """When it was heard of last, or looked for first, if that is longer ago than `peer_timeout`. It is dialled all the same."""
    last_error: LastError | None


class SiteSeen(Answer):
    """How another site of a group is, as it said itself."""

    peer_id: Hex
    name: str
    group_id: Hex
    group: str
    version: str
    events: Count
    up_to_date: bool
    disk_free_bytes: Count
    disk_total_bytes: Count
    hops: Count
    via: Hex
    via_name: str
    last_seen_ms: int


class NotBelieved(Answer):
    """A member whose word about addresses was worth nothing."""

    peer_id: Hex
    for_ms: Count


class GossipStatus(Answer):
    """What members tell one another of addresses."""

    enabled: bool
    peers: Count
    exchanges: Count
    not_believed: list[NotBelieved]


class SourceStatus(Answer):
    """How a source of addresses fares."""

    source: str
    state: str
    last_error: str | None


class Disk(Answer):
    """The disk below the data directory."""

    free_bytes: Count
    floor_bytes: Count
    quota_bytes: Count | None
    used_bytes: Count
    cache_bytes: Count
    """Of what passes through for other sites, beside `used_bytes`."""
    cache_limit_bytes: Count


class StatusProblem(Answer):
    """Something that an operator should do."""

    code: str
    text: str
    fix: str


class RebuildingShown(Answer):
    """Projections that are computed anew while the present ones answer."""

    events_done: Count
    events_total: Count


class DifferenceShown(Answer):
    """A table that is another one at a site which holds the same."""

    group_id: Hex
    group: str
    peer_id: Hex
    name: str
    table: str
    rows: list[Hex]
    """Keys of rows that differ, or that one of both sites lacks: some of them; none while they are not known."""


class Status(Answer):
    """This peer."""

    peer_id: Hex
    name: str
    version: str
    endpoint: str | None
    """Where others dial this peer, with the pin of its key if it is not the peer's own."""
    ready: bool
    groups: list[GroupStatus]
    links: list[Link]
    sites: list[SiteSeen]
    pending_peers: list[object]
    sources: list[SourceStatus]
    gossip: GossipStatus
    transfers: list[Transfer]
    hub: HubSummary
    disk: Disk
    rebuilding: RebuildingShown | None
    differences: list[DifferenceShown]
    problems: list[StatusProblem]


class Rebuilt(Answer):
    """The groups after a rebuild."""

    groups: list[GroupStatus]
