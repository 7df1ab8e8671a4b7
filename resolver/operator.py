"""What the operator said of peers, live or in the configuration file, as one book."""

from collections.abc import Callable, Iterable, Sequence

from peer.core.identity import GroupId, PeerId
from peer.core.names import folded
from peer.errors import PeerInConfigurationError
from resolver.base import KnownPeer
from resolver.composite import merge
from resolver.manual import ManualPeerResolver
from resolver.static import StaticPeerResolver

NamePeer = Callable[[PeerId, Iterable[GroupId]], None]
"""Lets a peer be spoken to about groups on whose rosters it is not yet, until this peer starts again."""


class OperatorBook:
    """Live entries come first. What stands in the configuration file is changed there."""

    def __init__(self, manual: ManualPeerResolver, static: StaticPeerResolver, name_peer: NamePeer, name_of: Callable[[GroupId], str]) -> None:
        """`name_of` knows groups that this site has left as well."""
        self._manual, self._static = manual, static
        self._name_peer, self._name_of = name_peer, name_of

    def entry(self, peer: PeerId) -> KnownPeer | None:
        """What is known of `peer`."""
        found = [each for each in (self._manual.entry(peer), self._static.entry(peer)) if each is not None]
        return merge(found) if found else None

    async def introduce(self, peer: PeerId, name: str, endpoints: Sequence[str], groups: Iterable[GroupId], expects: Iterable[str]) -> None:
        """Keep it, beside what is known of the same peer."""
        configured = self._static.entry(peer)
        taken = configured.groups if configured else frozenset()
        await self._manual.introduce(peer, name, endpoints, taken.union(groups), expects)

    async def set_paused(self, peer: PeerId, name: str, *, paused: bool) -> None:
        """Do not dial `peer`, or do again."""
        await self._manual.set_paused(peer, name, paused=paused)

    async def fulfil(self, peer: PeerId, name: str, group: GroupId) -> None:
        """The group called `name` that `peer` was expected to share is `group`."""
        held, configured = self._manual.entry(peer), self._static.entry(peer)
        if configured is not None and folded(name) in {folded(each) for each in configured.expects}:
            if held is None:
                self._name_peer(peer, configured.groups | {group})
            self._static.fulfil(peer, group)
        await self._manual.fulfil(peer, name, group)

    async def forget_group(self, group: GroupId) -> None:
        """Nobody is expected to share `group` any more."""
        self._static.forget_group(self._name_of(group))
        await self._manual.forget_group(group)

    async def remove(self, peer: PeerId) -> None:
        """Forget `peer`. Raises `PeerInConfigurationError` if the file names it."""
        configured = self._static.entry(peer)
        if configured is not None:
            raise PeerInConfigurationError(
                f"{configured.name} stands in the configuration file: it would be back with the next start",
                fix="take its [[peers]] section out of config.toml and restart the peer; `recmesh peer pause` keeps it from being linked until then",
            )
        await self._manual.remove(peer)
