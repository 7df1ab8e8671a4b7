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
    """`manual`, `hub` or `gossip`: whose word this is."""
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


class SourceState(NamedTuple):
    """How a source fares, to be shown."""

    source: str
    state: str
    """`ok` or `failing`."""
    last_error: str | None = None


ChangeListener = Callable[[], None]


class PeerResolver(Protocol):
    """One source of peer addresses, or several merged into one."""

    def peers(self) -> Sequence[KnownPeer]:
        """Everybody that this source knows, by peer id."""
        ...

    def peers_of(self, group: GroupId) -> Sequence[KnownPeer]:
        """Those of them that share `group`."""
        ...

    def states(self) -> Sequence[SourceState]:
        """How each source fares."""
        ...

    def subscribe(self, listener: ChangeListener) -> Callable[[], None]:
        """Call `listener` when what is known changed; returns what ends that."""
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
