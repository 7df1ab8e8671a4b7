"""Where peers can be reached: what every source of addresses looks like.

Identity is the peer id: a change of address never makes a second peer. A source says where; who is there is proved in the handshake.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from peer.core.identity import GroupId, PeerId


class KnownPeer(NamedTuple):
    """A peer with the addresses that a source knows for it."""

    peer: PeerId
    name: str
    endpoints: tuple[str, ...]
    """URLs, the best first."""
    groups: frozenset[GroupId]
    """The groups that it is expected to share with us."""
    source: str
    """`manual`, `hub`, `gossip` or `tailnet`: whose word this is."""
    paused: bool = False
    """True if the operator does not want it to be dialled."""
    expects: frozenset[str] = frozenset()
    """Names of groups that it is expected to share with us, while none of that name is here."""
    hints: frozenset[str] = frozenset()
    """Those of the endpoints that neither the operator nor an invitation named: dialled only in networks where hints may lead."""
    learned_from: PeerId | None = None
    """Who told of it, where that was gossip."""
    ttl: int | None = None
    """How often its address may be passed on from here; None where it is not to be."""

    @property
    def is_empty(self) -> bool:
        """True if it says nothing of the peer, but whether the operator has paused it."""
        return not (self.endpoints or self.groups or self.expects)


class SourceState(NamedTuple):
    """How a source fares, to be shown."""

    source: str
    state: str
    """`ok`, `failing`, or `off` where the operator does not want it."""
    last_error: str | None = None
    """What went wrong last, with its code; never a secret."""


ChangeListener = Callable[[], None]


class PeerResolver(Protocol):
    """One source of peer addresses, or several merged into one. A source says only what it does otherwise than written here."""

    def peers(self) -> Sequence[KnownPeer]:
        """Everybody that this source knows, by peer id."""
        ...

    def peers_of(self, group: GroupId) -> Sequence[KnownPeer]:
        """Those of them that share `group`."""
        return [entry for entry in self.peers() if group in entry.groups]

    def is_online(self, peer: PeerId) -> bool | None:
        """Whether this source has heard of `peer` lately; None if it does not know. A word on a screen: it is dialled all the same."""
        del peer
        return None

    def states(self) -> Sequence[SourceState]:
        """How each source fares."""
        ...

    def subscribe(self, listener: ChangeListener) -> Callable[[], None]:
        """Call `listener` when what is known of peers changed, or whether they are online; returns what ends that."""
        ...


class Listeners:
    """Those who want to hear of changes."""

    def __init__(self) -> None:
        self._listeners: dict[object, ChangeListener] = {}

    def subscribe(self, listener: ChangeListener) -> Callable[[], None]:
        """Add `listener`; returns what removes it again."""
        token = object()
        self._listeners[token] = listener

        def end() -> None:
            self._listeners.pop(token, None)

        return end

    def tell(self) -> None:
        """Call everybody."""
        for listener in list(self._listeners.values()):
            listener()


class NoSource(PeerResolver):
    """A source that the operator does not want: knows nobody, and is shown as `off`."""

    def __init__(self, source: str) -> None:
        self._source = source

    def peers(self) -> Sequence[KnownPeer]:
        """Nobody."""
        return ()

    def states(self) -> Sequence[SourceState]:
        """Off."""
        return [SourceState(self._source, "off")]

    def subscribe(self, listener: ChangeListener) -> Callable[[], None]:
        """Nothing will change."""
        del listener
        return lambda: None
