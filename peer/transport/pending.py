"""Who dialled with a proven key and is a member of nothing here: for the operator to accept or ignore. Nothing is served to them.

Strangers make keys at no cost, so the list is short, and one address has only a few places in it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from peer.core.endpoint import counted_as
from peer.core.identity import GroupId, PeerId

PENDING_MAX = 100
PENDING_PER_ADDRESS_MAX = 4
GROUPS_SHOWN_MAX = 16


@dataclass(slots=True)
class _Stranger:
    """One of them."""

    name: str
    address: str
    groups: tuple[GroupId, ...]
    first_seen_ms: int
    last_seen_ms: int
    count: int = 1


class PendingPeers:
    """The latest of them."""

    def __init__(self) -> None:
        self._strangers: dict[PeerId, _Stranger] = {}

    def knocked(self, peer: PeerId, name: str, groups: Sequence[GroupId], address: str, now_ms: int) -> None:
        """`peer` dialled from `address`. The one of that address, or of all, that was seen least recently makes room."""
        before = self._strangers.pop(peer, None)
        stranger = _Stranger(name, address, tuple(groups[:GROUPS_SHOWN_MAX]), now_ms, now_ms)
        if before is not None:
            stranger.first_seen_ms, stranger.count = before.first_seen_ms, before.count + 1
        self._strangers[peer] = stranger
        of_address = [each for each, other in self._strangers.items() if counted_as(other.address) == counted_as(address)]
        for each in of_address[:-PENDING_PER_ADDRESS_MAX]:
            del self._strangers[each]
        while len(self._strangers) > PENDING_MAX:
            del self._strangers[next(iter(self._strangers))]

    def forget(self, peer: PeerId) -> bool:
        """Show `peer` no more; False if it was not shown."""
        return self._strangers.pop(peer, None) is not None

    def shown(self) -> Sequence[Mapping[str, object]]:
        """All of them, the latest first; ids in hex, times in Unix ms."""
        return [
            {
                "peer_id": peer.hex(),
                "name": each.name,
                "address": each.address,
                "groups": [group.hex() for group in each.groups],
                "first_seen_ms": each.first_seen_ms,
                "last_seen_ms": each.last_seen_ms,
                "count": each.count,
            }
            for peer, each in reversed(self._strangers.items())
        ]
