"""Tells members how this site is, hands on how others are, and remembers it for the screen."""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from gossip.site import NUMBER_MAX, VALID_FOR_MAX_S, SiteStatus, frontier_digest, sign_status
from gossip.sites import VALID_INTERVALS, HeardStatus, SiteTable, interval_ms
from peer.core.frontier import events_held
from peer.core.identity import GroupId, KeyPair, PeerId
from peer.core.interfaces import GroupView, Replica
from peer.core.neighbours import NoNeighbours, SiteSeen, Told

TICK_S = 1.0


class Disk(NamedTuple):
    """Bytes."""

    free: int
    total: int


class Clocks(NamedTuple):
    """Where time comes from."""

    monotonic_ms: Callable[[], int]
    unix_ms: Callable[[], int]


class SiteLinks(Protocol):
    """The links, as far as statuses travel on them."""

    def group_peers(self, group: GroupId) -> Sequence[PeerId]:
        """Linked peers with which `group` is spoken about."""
        ...

    def tell_sites(self, peer: PeerId, group: GroupId, entries: Told) -> None:
        """Tell one of them."""
        ...


class SiteService(NoNeighbours):
    """One peer's part in it."""

    def __init__(
        self, key: KeyPair, version: str, replica: Replica, links: Callable[[], SiteLinks], disk: Callable[[], Disk], clocks: Clocks
    ) -> None:
        """`links` gives the links, which are made later."""
        self._key = key
        self._version = version
        self._replica = replica
        self._links = links
        self._disk = disk
        self._clocks = clocks
        self._table = SiteTable(key.peer_id, self._is_member)
        self._told_ms: dict[GroupId, int] = {}
        self._greeted: set[tuple[GroupId, PeerId]] = set()

    def hear_sites(self, peer: PeerId, group: GroupId, entries: Told) -> None:
        """`peer` told of others: what is new goes on over all other links."""
        if not self._is_member(group, peer):
            return
        fresh = self._table.hear(peer, group, entries, self._clocks.monotonic_ms())
        if fresh:
            for other in self._links().group_peers(group):
                if other != peer:
                    self._links().tell_sites(other, group, fresh)

    def seen(self, group: GroupId) -> list[SiteSeen]:
        """How other members are, as far as was heard lately, by peer id."""
        view = self._replica.groups.get(group)
        if view is None:
            return []
        now_ms, ours = self._clocks.monotonic_ms(), frontier_digest(view.tips)
        return [_seen(heard, ours, now_ms) for heard in self._table.of_group(group, now_ms)]

    async def run(self) -> None:
        """Tell until cancelled."""
        while True:
            self._tell_all()
            await asyncio.sleep(TICK_S)

    def _tell_all(self) -> None:
        now_ms = self._clocks.monotonic_ms()
        spoken = {(group, peer) for group in self._replica.groups for peer in self._links().group_peers(group) if self._is_member(group, peer)}
        self._greeted &= spoken
        for group in {group for group, _ in spoken}:
            view = self._replica.groups[group]
            peers = sorted(peer for each, peer in spoken if each == group)
            due = now_ms - self._told_ms.get(group, -(2**62)) >= interval_ms(len(view.roster.members))
            strangers = [peer for peer in peers if (group, peer) not in self._greeted]
            if not due and not strangers:
                continue
            own = [(self._own(group, view), 0)]
            for peer in peers if due else strangers:
                known = self._table.to_tell(peer, group, now_ms) if peer in strangers else []
                self._links().tell_sites(peer, group, own + known)
                self._greeted.add((group, peer))
            if due:
                self._told_ms[group] = now_ms

    def _own(self, group: GroupId, view: GroupView) -> bytes:
        seq = self._table.own_seq_seen = min(NUMBER_MAX, max(self._clocks.unix_ms(), self._table.own_seq_seen + 1))
        (free, total), held = self._disk(), events_held(view.tips)
        valid_for_s = min(VALID_FOR_MAX_S, interval_ms(len(view.roster.members)) * VALID_INTERVALS // 1000)
        status = SiteStatus(group, self._key.peer_id, seq, valid_for_s, self._version, held, frontier_digest(view.tips), free, total)
        return sign_status(self._key, status).data

    def _is_member(self, group: GroupId, peer: PeerId) -> bool:
        view = self._replica.groups.get(group)
        return view is not None and peer in view.roster.members


def _seen(heard: HeardStatus, frontier: bytes, now_ms: int) -> SiteSeen:
    status = heard.signed.status
    equal, age_ms = status.frontier == frontier, now_ms - heard.heard_ms
    return SiteSeen(status.peer, status.version, status.events, equal, status.disk_free, status.disk_total, heard.via, heard.hops, age_ms)
