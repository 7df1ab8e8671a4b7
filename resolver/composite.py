"""All sources as one, merged by peer id with the precedence manual, hub, gossip: whose word comes first is dialled first."""

from collections.abc import Callable, Sequence

from peer.core.identity import GroupId, PeerId
from resolver.base import ChangeListener, KnownPeer, PeerResolver, SourceState


class CompositePeerResolver:
    """Several resolvers, the one with precedence first."""

    def __init__(self, resolvers: Sequence[PeerResolver]) -> None:
        """`resolvers` in the order of precedence."""
        self._resolvers = tuple(resolvers)

    def peers(self) -> Sequence[KnownPeer]:
        """Everybody that any source knows, by peer id: name, source and pause of the first source, endpoints and groups of all."""
        merged: dict[PeerId, KnownPeer] = {}
        for resolver in self._resolvers:
            for entry in resolver.peers():
                first = merged.get(entry.peer)
                merged[entry.peer] = _merge(first, entry) if first else entry
        return [merged[peer] for peer in sorted(merged)]

    def peers_of(self, group: GroupId) -> Sequence[KnownPeer]:
        """Those that share `group` by any source's word."""
        return [entry for entry in self.peers() if group in entry.groups]

    def states(self) -> Sequence[SourceState]:
        """How each source fares, in the order of precedence."""
        return [state for resolver in self._resolvers for state in resolver.states()]

    def subscribe(self, listener: ChangeListener) -> Callable[[], None]:
        """Call `listener` when any source changed."""
        ends = [resolver.subscribe(listener) for resolver in self._resolvers]

        def end() -> None:
            for each in ends:
                each()

        return end


def _merge(first: KnownPeer, second: KnownPeer) -> KnownPeer:
    endpoints = tuple(dict.fromkeys((*first.endpoints, *second.endpoints)))
    return first._replace(endpoints=endpoints, groups=first.groups | second.groups, expects=first.expects | second.expects)
