"""The operator's own entries: never overwritten by other sources, never removed by themselves. They live in the store's peer book."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from peer.core.identity import GroupId, PeerId
from resolver.base import ChangeListener, KnownPeer, Listeners, PeerResolver, SourceState

SOURCE = "manual"


class PeerBook(Protocol):
    """Where entries are kept across restarts."""

    async def save(self, entry: KnownPeer) -> None:
        """Keep `entry`, instead of one for the same peer."""
        ...

    async def remove(self, peer: PeerId) -> None:
        """Forget the entry of `peer`, if there is one."""
        ...


class ManualPeerResolver(PeerResolver):
    """What was entered by hand or came with an invitation."""

    def __init__(self, book: PeerBook, entries: Iterable[KnownPeer], ttl: int | None = None) -> None:
        """`entries` are those that the book holds now; `ttl` is how often their addresses may be passed on."""
        self._book = book
        self._ttl = ttl
        self._entries = {entry.peer: entry for entry in entries}
        self._listeners = Listeners()

    def peers(self) -> Sequence[KnownPeer]:
        """All entries, by peer id."""
        return [self._told(self._entries[peer]) for peer in sorted(self._entries)]

    def states(self) -> Sequence[SourceState]:
        """A list kept here cannot fail."""
        return [SourceState(SOURCE, "ok")]

    def subscribe(self, listener: ChangeListener) -> Callable[[], None]:
        """Call `listener` after each change."""
        return self._listeners.subscribe(listener)

    async def add(self, entry: KnownPeer, *, tell: bool = True) -> KnownPeer:
        """Keep `entry`; what is there already of the same peer stays beside it: new endpoints come first, groups add up.

        Without `tell` the listeners hear of it with the next change.
        """
        held = self._entries.get(entry.peer)
        if held is not None:
            endpoints = tuple(dict.fromkeys((*entry.endpoints, *held.endpoints)))
            entry = entry._replace(
                endpoints=endpoints, groups=entry.groups | held.groups, expects=entry.expects | held.expects, paused=entry.paused or held.paused
            )
        await self._book.save(entry)
        self._entries[entry.peer] = entry
        if tell:
            self._listeners.tell()
        return entry

    def entry(self, peer: PeerId) -> KnownPeer | None:
        """What is known of `peer`."""
        return self._entries.get(peer)

    async def introduce(self, peer: PeerId, name: str, endpoints: Sequence[str], groups: Iterable[GroupId], expects: Iterable[str]) -> None:
        """Keep what the operator says of `peer`, beside what is known of it already. The name is the newest."""
        await self.add(KnownPeer(peer, name, tuple(endpoints), frozenset(groups), SOURCE, expects=frozenset(expects)))

    async def set_paused(self, peer: PeerId, name: str, *, paused: bool) -> None:
        """Do not dial `peer`, which people call `name`, or do again."""
        held = (self._entries.get(peer) or KnownPeer(peer, name, (), frozenset(), SOURCE))._replace(paused=paused)
        if held.is_empty and not paused:
            await self.remove(peer)  # There was nothing to say but the pause.
        else:
            await self._put(held)

    async def fulfil(self, peer: PeerId, name: str, group: GroupId) -> None:
        """The group called `name` that `peer` was expected to share is `group`."""
        held = self._entries.get(peer)
        if held is not None:
            expects = frozenset(each for each in held.expects if each.casefold() != name.casefold())
            await self._put(held._replace(expects=expects, groups=held.groups | {group}))

    async def forget_group(self, group: GroupId) -> None:
        """Nobody is expected to share `group` with us any more."""
        for entry in self.peers_of(group):
            kept = entry._replace(groups=entry.groups - {group})
            await self._book.save(kept)
            self._entries[entry.peer] = kept
        self._listeners.tell()

    def _told(self, entry: KnownPeer) -> KnownPeer:
        """As others see it: a mere pause is no reason to pass an address on."""
        return entry if entry.is_empty else entry._replace(ttl=self._ttl)

    async def _put(self, entry: KnownPeer) -> None:
        await self._book.save(entry)
        self._entries[entry.peer] = entry
        self._listeners.tell()

    async def remember(self, peer: PeerId, name: str, endpoint: str, group: GroupId, *, tell: bool = True) -> None:
        """Keep an address that came with an invitation to `group`."""
        await self.add(KnownPeer(peer, name, (endpoint,), frozenset({group}), SOURCE), tell=tell)

    async def remove(self, peer: PeerId) -> None:
        """Forget `peer`."""
        await self._book.remove(peer)
        if self._entries.pop(peer, None) is not None:
            self._listeners.tell()
