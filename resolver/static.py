"""Peers of the configuration file: as if entered each time the peer starts, and gone once they are taken out of the file. As good as manual ones."""

from collections.abc import Callable, Iterable, Sequence

from peer.core.control import Role
from peer.core.identity import GroupId, PeerId
from peer.core.interfaces import Replica
from peer.core.names import folded
from resolver.base import ChangeListener, KnownPeer, Listeners, PeerResolver, SourceState


class StaticPeerResolver(PeerResolver):
    """What the configuration file says. A group that such a peer is to share is expected from it until it is here."""

    def __init__(self, entries: Iterable[KnownPeer], replica: Replica) -> None:
        """`entries` name groups in `expects`."""
        self._entries = {entry.peer: entry for entry in entries}
        self._replica = replica
        self._taken: dict[PeerId, frozenset[GroupId]] = {}
        self._listeners = Listeners()

    def peers(self) -> Sequence[KnownPeer]:
        """All entries, by peer id, with the groups that are here by now."""
        return [self._told(self._entries[peer]) for peer in sorted(self._entries)]

    def states(self) -> Sequence[SourceState]:
        """None of its own: what is wrong with the file is told before the peer starts."""
        return []

    def subscribe(self, listener: ChangeListener) -> Callable[[], None]:
        """Call `listener` after each change."""
        return self._listeners.subscribe(listener)

    def entry(self, peer: PeerId) -> KnownPeer | None:
        """What the file says of `peer`, with the groups that are here by now."""
        found = self._entries.get(peer)
        return None if found is None else self._told(found)

    def fulfil(self, peer: PeerId, group: GroupId) -> None:
        """A group that `peer` was expected to share is `group`."""
        if peer in self._entries:
            self._taken[peer] = self._taken.get(peer, frozenset()) | {group}
            self._listeners.tell()

    def forget_group(self, name: str) -> None:
        """This site left the group called `name`: it is expected from nobody, until the peer starts again."""
        for peer, entry in self._entries.items():
            kept = frozenset(each for each in entry.expects if folded(each) != folded(name))
            self._entries[peer] = entry._replace(expects=kept)
        self._listeners.tell()

    def _told(self, entry: KnownPeer) -> KnownPeer:
        taken = self._taken.get(entry.peer, frozenset())
        groups = {
            group: folded(view.genesis.name)
            for group, view in self._replica.groups.items()
            if group in taken or view.roster.role(entry.peer) is not Role.NONE
        }
        named = {folded(name) for name in entry.expects}
        shared = frozenset(group for group, name in groups.items() if name in named)
        there = {groups[group] for group in shared}
        return entry._replace(groups=shared, expects=frozenset(name for name in entry.expects if folded(name) not in there))
