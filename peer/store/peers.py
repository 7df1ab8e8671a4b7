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
    expects: tuple[str, ...] = ()
    """Names of groups that it is expected to share with us, while none of that name is here."""


IGNORED_MAX = 1000
"""Peers that are ignored; the oldest are forgotten first."""


def read_peers(connection: Connection) -> Iterable[KnownPeer]:
    """All of them, by name."""
    expected: dict[bytes, list[str]] = {}
    for peer_id, name in connection.execute("SELECT peer_id, name FROM expected_groups ORDER BY peer_id, name"):
        expected.setdefault(peer_id, []).append(name)
    for peer_id, name, endpoints, groups, source, paused in connection.execute(
        "SELECT peer_id, name, endpoints, groups, source, paused FROM peers ORDER BY name, peer_id"
    ):
        ids = tuple(GroupId(bytes.fromhex(group)) for group in json.loads(groups))
        yield KnownPeer(PeerId(peer_id), name, tuple(json.loads(endpoints)), ids, source, bool(paused), tuple(expected.get(peer_id, ())))


def write_peer(connection: Connection, peer: KnownPeer) -> None:
    """Remember `peer` in place of what was told about it before."""
    groups = json.dumps([group.hex() for group in peer.groups])
    connection.execute(
        "INSERT OR REPLACE INTO peers (peer_id, name, endpoints, groups, source, paused) VALUES (?, ?, ?, ?, ?, ?)",
        (peer.peer_id, peer.name, json.dumps(peer.endpoints), groups, peer.source, peer.paused),
    )
    connection.execute("DELETE FROM expected_groups WHERE peer_id = ?", (peer.peer_id,))
    connection.executemany("INSERT INTO expected_groups (peer_id, name) VALUES (?, ?)", [(peer.peer_id, name) for name in sorted(set(peer.expects))])


def delete_peer(connection: Connection, peer: PeerId) -> bool:
    """Forget what was told about `peer`; False if nothing was."""
    connection.execute("DELETE FROM expected_groups WHERE peer_id = ?", (peer,))
    return connection.execute("DELETE FROM peers WHERE peer_id = ?", (peer,)).rowcount > 0


def read_ignored(connection: Connection) -> list[PeerId]:
    """Everybody that is ignored, the longest first."""
    return [PeerId(peer) for (peer,) in connection.execute("SELECT peer_id FROM ignored_peers ORDER BY since_ms, peer_id")]


def write_ignored(connection: Connection, peer: PeerId, since_ms: int) -> None:
    """Ignore `peer` from now on."""
    connection.execute("INSERT OR REPLACE INTO ignored_peers (peer_id, since_ms) VALUES (?, ?)", (peer, since_ms))
    sql = "DELETE FROM ignored_peers WHERE peer_id IN (SELECT peer_id FROM ignored_peers ORDER BY since_ms DESC, peer_id LIMIT -1 OFFSET ?)"
    connection.execute(sql, (IGNORED_MAX,))


def delete_ignored(connection: Connection, peer: PeerId) -> None:
    """Ignore `peer` no more."""
    connection.execute("DELETE FROM ignored_peers WHERE peer_id = ?", (peer,))
