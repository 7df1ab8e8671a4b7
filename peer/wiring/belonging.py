"""Who belongs to what, put together: the book of peers, and the use cases about members, invitations, logs, acquaintances."""

from collections.abc import Callable
from typing import NamedTuple

from peer.core.identity import PeerId
from peer.core.views import Views
from peer.operations.acquaintance import Acquaintance, Door
from peer.operations.invitations import Invitations
from peer.operations.leaving import Leaving
from peer.operations.logs import Logs
from peer.operations.membership import Membership
from peer.operations.settings import Settings
from peer.store.events import SqliteEventStore
from peer.store.known import KnownKeeper
from peer.store.peers import KnownPeer as StoredPeer
from resolver.base import KnownPeer
from resolver.manual import ManualPeerResolver
from resolver.operator import OperatorBook


class Belonging(NamedTuple):
    """The use cases."""

    invitations: Invitations
    membership: Membership
    logs: Logs
    leaving: Leaving
    settings: Settings
    acquaintance: Acquaintance


def make_belonging(
    peer: PeerId,
    parts: tuple[SqliteEventStore, Views, OperatorBook],
    door: Callable[[], Door],
    now_ms: Callable[[], int],
    report: Callable[[str, BaseException], None],
) -> Belonging:
    """For the site `peer`. `door` gives the links, which are made later."""
    store, views, book = parts
    replica = store.replica
    membership = Membership(peer, store, replica, views, lambda: door().links())
    return Belonging(
        Invitations(peer, store, replica, views, now_ms),
        membership,
        Logs(peer, store, replica, views),
        Leaving(peer, (store, replica, book, membership), report),
        Settings(peer, store, replica, views),
        Acquaintance(peer, (store, replica, book, door), membership),
    )


class _Book:
    """The resolver's peer book, kept in `log.db`, and in `known.json` as well."""

    def __init__(self, store: SqliteEventStore, keeper: KnownKeeper) -> None:
        self._store = store
        self._keeper = keeper

    async def save(self, entry: KnownPeer) -> None:
        groups, expects = tuple(sorted(entry.groups)), tuple(sorted(entry.expects))
        await self._store.put_peer(StoredPeer(entry.peer, entry.name, entry.endpoints, groups, entry.source, entry.paused, expects))
        await self._keeper.write()

    async def remove(self, peer: PeerId) -> None:
        await self._store.remove_peer(peer)
        await self._keeper.write()


async def open_book(store: SqliteEventStore, keeper: KnownKeeper, ttl: int) -> ManualPeerResolver:
    """The operator's own entries, as they were kept; `ttl` is how often they may be passed on."""
    entries = [
        KnownPeer(each.peer_id, each.name, each.endpoints, frozenset(each.groups), each.source, each.paused, frozenset(each.expects))
        for each in await store.peers()
    ]
    return ManualPeerResolver(_Book(store, keeper), entries, ttl)
