"""Peers that members told of: every address of theirs is a hint, since nobody here named it."""

from collections.abc import Callable, Sequence

from gossip.service import GossipService
from peer.core.identity import PeerId
from resolver.base import ChangeListener, KnownPeer, Listeners, PeerResolver, SourceState

SOURCE = "gossip"
SHORT_DIGITS = 8
MS_PER_MINUTE = 60_000


class GossipPeerResolver(PeerResolver):
    """What gossip knows, as a source of addresses."""

    def __init__(self, gossip: GossipService, name_of: Callable[[PeerId], str | None]) -> None:
        """`name_of` is what the groups call a member."""
        self._gossip = gossip
        self._name_of = name_of
        self._listeners = Listeners()
        gossip.subscribe(self._listeners.tell)

    def peers(self) -> Sequence[KnownPeer]:
        """Everybody who may be dialled by the word of a member, by peer id."""
        return [
            KnownPeer(
                each.peer,
                self._name(each.peer),
                each.endpoints,
                each.groups,
                SOURCE,
                hints=frozenset(each.endpoints),
                learned_from=each.learned_from,
                ttl=each.ttl,
            )
            for each in self._gossip.placed()
        ]

    def states(self) -> Sequence[SourceState]:
        """From whom nothing is taken for a while, if from anybody."""
        if not self._gossip.is_enabled:
            return [SourceState(SOURCE, "off")]
        paused = [f"{self._name(peer)} for {-(-left_ms // MS_PER_MINUTE)} min" for peer, left_ms in self._gossip.paused().items()]
        return [SourceState(SOURCE, "ok", f"what they told was worth nothing, so nothing is taken from: {', '.join(paused)}" if paused else None)]

    def subscribe(self, listener: ChangeListener) -> Callable[[], None]:
        """Call `listener` when somebody was told of, or is forgotten."""
        return self._listeners.subscribe(listener)

    def _name(self, peer: PeerId) -> str:
        return self._name_of(peer) or peer.hex()[:SHORT_DIGITS]
