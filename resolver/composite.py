"""All sources as one, merged by peer id with the precedence manual, hub, gossip, mesh: whose word comes first is dialled first."""

from collections.abc import Callable, Sequence

from peer.core.identity import PeerId
from resolver.base import ChangeListener, KnownPeer, PeerResolver, SourceState


def _as_it_is(known: KnownPeer) -> KnownPeer:
    return known


class CompositePeerResolver(PeerResolver):
    """Several resolvers, the one with precedence first."""

    def __init__(self, resolvers: Sequence[PeerResolver], arranged: Callable[[KnownPeer], KnownPeer] = _as_it_is) -> None:
        """`resolvers` in the order of precedence; `arranged` puts those addresses of a peer first that are better to be dialled, whoever said so."""
        self._resolvers = tuple(resolvers)
        self._arranged = arranged

    def peers(self) -> Sequence[KnownPeer]:
        """Everybody that any source knows, by peer id."""
        found: dict[PeerId, list[KnownPeer]] = {}
        for resolver in self._resolvers:
            for entry in resolver.peers():
                found.setdefault(entry.peer, []).append(entry)
        return [self._arranged(merge(found[peer])) for peer in sorted(found)]

    def is_online(self, peer: PeerId) -> bool | None:
        """What the first source says that knows."""
        return next((online for resolver in self._resolvers if (online := resolver.is_online(peer)) is not None), None)

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


def merge(entries: Sequence[KnownPeer]) -> KnownPeer:
    """What several sources say of one peer, the one with precedence first.

    Name, source and pause are the first one's, but that an entry without anything else than a pause leaves the source to the next. Endpoints, groups
    and expected names are everybody's. A hint is what nobody but hints named. TTL and informant are of the first that has a TTL.
    """
    first = entries[0]
    speaking = next((each for each in entries if not each.is_empty), first)
    counted = next((each for each in entries if each.ttl is not None), first)
    endpoints = tuple(dict.fromkeys(endpoint for each in entries for endpoint in each.endpoints))
    sure = {endpoint for each in entries for endpoint in each.endpoints if endpoint not in each.hints}
    return first._replace(
        endpoints=endpoints,
        groups=frozenset().union(*(each.groups for each in entries)),
        source=speaking.source,
        expects=frozenset().union(*(each.expects for each in entries)),
        hints=frozenset(endpoints) - sure,
        learned_from=counted.learned_from,
        ttl=counted.ttl,
    )
