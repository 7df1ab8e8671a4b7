"""A source that says what it was given, for tests of what is made of sources."""

from collections.abc import Callable, Sequence

from peer.core.identity import GroupId, PeerId
from resolver.base import ChangeListener, KnownPeer, Listeners, SourceState


class FixedSource:
    """Says the same until it is told to say something else."""

    def __init__(self, entries: Sequence[KnownPeer]) -> None:
        self.entries = list(entries)
        self.online: bool | None = None
        self.listeners = Listeners()

    def peers(self) -> Sequence[KnownPeer]:
        return self.entries

    def peers_of(self, group: GroupId) -> Sequence[KnownPeer]:
        return [each for each in self.entries if group in each.groups]

    def is_online(self, peer: PeerId) -> bool | None:
        return self.online if any(each.peer == peer for each in self.entries) else None

    def states(self) -> Sequence[SourceState]:
        return [SourceState("fixed", "ok")]

    def subscribe(self, listener: ChangeListener) -> Callable[[], None]:
        return self.listeners.subscribe(listener)
