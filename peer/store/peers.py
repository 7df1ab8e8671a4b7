"""Peers whose addresses the operator gave, or another source that outlives a restart: one row each in `log.db`."""

import json
from collections.abc import Iterable
from typing import NamedTuple

from peer.core.identity import GroupId, PeerId
from peer.store.database import Connection


class KnownPeer(NamedTuple):
    """What was told about a peer, apart from any roster."""

    peer_id: PeerId
    name: str
    endpoints: tuple[str, ...]
    """URLs, best first."""
    groups: tuple[GroupId, ...] = ()
    """The groups that it may be spoken to about even before it is on their rosters."""
    source: str = "manual"
    paused: bool = False


def read_peers(connection: Connection) -> Iterable[KnownPeer]:
    """All of them, by name."""
    for peer_id, name, endpoints, groups, source, paused in connection.execute(
        "SELECT peer_id, name, endpoints, groups, source, paused FROM peers ORDER BY name, peer_id"
    ):
        ids = tuple(GroupId(bytes.fromhex(group)) for group in json.loads(groups))
        yield KnownPeer(PeerId(peer_id), name, tuple(json.loads(endpoints)), ids, source, bool(paused))


def write_peer(connection: Connection, peer: KnownPeer) -> None:
    """Remember `peer` in place of what was told about it before."""
    groups = json.dumps([group.hex() for group in peer.groups])
    connection.execute(
        "INSERT OR REPLACE INTO peers (peer_id, name, endpoints, groups, source, paused) VALUES (?, ?, ?, ?, ?, ?)",
        (peer.peer_id, peer.name, json.dumps(peer.endpoints), groups, peer.source, peer.paused),
    )


def delete_peer(connection: Connection, peer: PeerId) -> bool:
    """Forget what was told about `peer`; False if nothing was."""
    return connection.execute("DELETE FROM peers WHERE peer_id = ?", (peer,)).rowcount > 0
