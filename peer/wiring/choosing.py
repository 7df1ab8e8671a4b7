"""Which of the known peers are dialled, and which link ends: the overlay, asked whenever links or addresses change, and every few seconds."""

import asyncio
import contextlib
from collections.abc import Callable

from peer.core.identity import PeerId
from peer.core.interfaces import Replica
from peer.errors import EnoughLinksError
from peer.sync import effects as fx
from peer.sync.overlay import TURN_MS, Known, OpenLink, Overlay
from peer.transport.connection import now_ms as link_time_ms
from peer.transport.links import PeerLinks
from peer.wiring.core import now_ms
from resolver.base import KnownPeer, PeerResolver

INTERVAL_S = 5.0
TRIES_MIN = 2
"""A peer that was not reached at any address so often in a row comes after others."""

FOUND_BY_PROGRAMS = frozenset({"hub", "gossip", "tailnet"})
"""Sources of peers that no operator named."""


class Choosing:
    """The links of this peer, kept to what it needs."""

    def __init__(self, me: PeerId, replica: Replica, links: Callable[[], PeerLinks], resolver: Callable[[], PeerResolver]) -> None:
        """`links` and `resolver` are made later than this."""
        self._overlay = Overlay(me)
        self._replica = replica
        self._links = links
        self._resolver = resolver
        self._letting_go: set[PeerId] = set()
        self._set: tuple[list[KnownPeer], frozenset[PeerId]] | None = None

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL_S):
                    await self._links().changed()
            self.choose()

    def ended(self, peer: PeerId, code: str) -> None:
        """The link to `peer` ended: perhaps since it has enough of them."""
        if code == EnoughLinksError.code and peer not in self._letting_go:
            self._overlay.told_enough(peer, link_time_ms())
        self._letting_go.discard(peer)

    def choose(self) -> None:
        """Dial whom we need, and let go of whom we do not."""
        links, targets = self._links(), list(self._resolver().peers())
        stand = self._open_links(links)
        for target in targets:
            dialler = links.dialler_of(target.peer)
            if dialler is not None and dialler.tries >= TRIES_MIN and not links.is_linked(target.peer):
                self._overlay.failed(target.peer, link_time_ms())
        members = {group: view.roster.members.keys() for group, view in self._replica.groups.items()}
        known = [Known(each.peer, bool(each.endpoints) and not each.paused, each.source not in FOUND_BY_PROGRAMS) for each in targets]
        unknown = {link.peer for link in stand} - {each.peer for each in targets}
        known += [Known(peer, bool(links.endpoints_of(peer))) for peer in sorted(unknown)]
        choice = self._overlay.choose(members, known, stand, link_time_ms(), now_ms() // TURN_MS)
        resting = frozenset(each.peer for each in targets) - choice.dialled
        if self._set != (targets, resting):
            self._set = targets, resting
            links.set_targets(targets, resting)
        if choice.let_go is not None:
            self._let_go(links, choice.let_go)

    def _open_links(self, links: PeerLinks) -> list[OpenLink]:
        found = []
        for peer in links.linked_peers():
            link = links.link_to(peer)
            if link is not None:
                session = link.session
                is_busy = session.phase is not fx.Phase.PUSH or session.missing_events > 0
                found.append(OpenLink(peer, session.shared_groups(), link.number, session.we_dialled, is_busy=is_busy))
        return found

    def _let_go(self, links: PeerLinks, peer: PeerId) -> None:
        link = links.link_to(peer)
        if link is not None:
            self._letting_go.add(peer)
            link.feed(fx.LetGo())
