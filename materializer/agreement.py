"""Compares with linked members what all make of the same events: tells them the digests of the projections, and looks for rows that differ.

Nothing is told while projections are behind the log, are computed anew, or are those of another version. What others ask for is read one part after
the other, with a rest after each: whoever asks without end has a small share of the time in which projections can be read.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

from gossip.site import frontier_digest
from materializer.digest import PROJECTION_VERSION
from materializer.digest_parts import Summary, count_slices, read_summary, read_sums
from materializer.tables import Connection
from peer.core.encoding import encode
from peer.core.hashing import hash_bytes
from peer.core.identity import GroupId, PeerId
from peer.core.interfaces import GroupView, Replica
from peer.sync import limits
from peer.sync.comparing import Ask, Comparing, Difference, part_of
from peer.sync.digests import DigestMessage, DigestPart, Digests, DigestWant
from peer.sync.effects import TellDigests

TICK_S = 1.0
HEARTBEAT_MS = 10_000
"""How often members are told again what they were told."""
WAITING_MAX = 64
"""Parts that wait to be read; more are passed over."""
WAITING_OF_PEER_MAX = 8
"""Those of one peer: whoever asks without end leaves room for others."""
REST = 9
"""After a part nothing is read for so many times as long as that took."""

T = TypeVar("T")


class ReadableViews(Protocol):
    """`views.db`, open for reading."""

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on one state of the database."""
        ...


class Log(Protocol):
    """`log.db`."""

    @property
    def position(self) -> int:
        """Of the last event in this peer's own order."""
        ...


class Telling(Protocol):
    """The links."""

    def group_peers(self, group: GroupId) -> Sequence[PeerId]:
        """Linked peers with which `group` is spoken about."""
        ...

    def feed_to(self, peer: PeerId, fact: TellDigests) -> None:
        """Let the session with one of them tell it."""
        ...


class _Told(NamedTuple):
    """What somebody was told last, and when."""

    digests: Digests
    time_ms: int


class Agreement:
    """One peer's part in it."""

    def __init__(self, views: ReadableViews, log: Log, replica: Replica, links: Callable[[], Telling], now_ms: Callable[[], int]) -> None:
        """`links` gives the links, which are made later."""
        self._views = views
        self._log = log
        self._replica = replica
        self._links = links
        self._now_ms = now_ms
        self._comparing = Comparing(self._is_member)
        self._told: dict[tuple[GroupId, PeerId], _Told] = {}
        self._bases: dict[GroupId, tuple[int, object, bytes]] = {}
        """By group its basis, with the position and the judgement that it is of."""
        self._waiting: deque[tuple[PeerId, DigestWant | DigestPart]] = deque()
        self._wake = asyncio.Event()

    def differences(self) -> Sequence[Difference]:
        """What differs from what members show that hold the same."""
        return self._comparing.differences()

    def hear(self, peer: PeerId, message: DigestMessage) -> None:
        """A member said this. Returns at once."""
        if not self._is_member(message.group, peer):
            return
        if isinstance(message, Digests):
            self._ask(self._comparing.hear(peer, message, self._now_ms()))
        elif self._has_room(peer) and (isinstance(message, DigestWant) or self._comparing.is_awaited(peer, message)):
            self._waiting.append((peer, message))
            self._wake.set()

    def _has_room(self, peer: PeerId) -> bool:
        return len(self._waiting) < WAITING_MAX and sum(each == peer for each, _ in self._waiting) < WAITING_OF_PEER_MAX

    async def run(self) -> None:
        """Tell and answer until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tell_forever())
            tasks.create_task(self._read_forever())

    # What we tell

    async def _tell_forever(self) -> None:
        while True:
            await self._tell_all()
            await asyncio.sleep(TICK_S)

    async def _tell_all(self) -> None:
        linked = {(group, peer) for group in self._replica.groups for peer in self._links().group_peers(group) if self._is_member(group, peer)}
        for peer in {peer for _, peer in self._told.keys() - linked} - {peer for _, peer in linked}:
            self._comparing.unlinked(peer, self._now_ms())
        self._told = {pair: told for pair, told in self._told.items() if pair in linked}
        self._comparing.tidy(self._now_ms())
        for group in sorted({group for group, _ in linked}):
            digests = await self._digests(group)
            if digests is None:
                continue
            now_ms = self._now_ms()
            self._ask(self._comparing.tell(digests, now_ms))
            for peer in sorted(peer for each, peer in linked if each == group):
                told = self._told.get((group, peer))
                if told is None or told.digests != digests or now_ms - told.time_ms >= HEARTBEAT_MS:
                    self._told[group, peer] = _Told(digests, now_ms)
                    self._links().feed_to(peer, TellDigests(digests))

    async def _digests(self, group: GroupId) -> Digests | None:
        """Our tables; None while they are not those of all that is held."""
        summary = await self._views.read(partial(read_summary, group=group))
        basis = self._basis_of(group, summary)
        return Digests(group, summary.version, basis, tuple(sorted(summary.tables.items()))) if basis is not None else None

    def _basis_of(self, group: GroupId, summary: Summary) -> bytes | None:
        """What was projected, as others can compare it; None if it is not all that is held now, by the present rules."""
        view = self._replica.groups.get(group)
        if view is None or (summary.version, summary.position) != (PROJECTION_VERSION, self._log.position):
            return None
        if summary.judgement not in (None, view.judgement.digest):
            return None
        known = self._bases.get(group)
        if known is None or known[0] != summary.position or known[1] is not view.judgement:
            known = self._bases[group] = (summary.position, view.judgement, basis_of(view))
        return known[2]

    # What others ask for, and what we asked for

    async def _read_forever(self) -> None:
        while True:
            self._wake.clear()
            while self._waiting:
                began = time.monotonic()
                await self._read(*self._waiting.popleft())
                await asyncio.sleep((time.monotonic() - began) * REST)
            await self._wake.wait()

    async def _read(self, peer: PeerId, message: DigestWant | DigestPart) -> None:
        want = DigestWant(message.group, message.basis, message.table, message.prefix)
        ours = await self._part(want)
        if isinstance(message, DigestPart):
            self._ask(self._comparing.heard_part(peer, message, ours, self._now_ms()))
        elif ours is not None:
            self._links().feed_to(peer, TellDigests(ours))

    async def _part(self, want: DigestWant) -> DigestPart | None:
        """What is asked for; None if our tables have another basis."""
        group, basis, table, prefix = want

        def read(connection: Connection, number: int) -> tuple[Summary, int, dict[bytes, int]]:
            return read_summary(connection, group), count_slices(connection, table), read_sums(connection, group, table, prefix, number)

        ours = self._comparing.ours(group)
        if ours is None or ours.basis != basis:
            return None
        sums: Counter[bytes] = Counter()
        number, slices = 0, 1
        while number < slices:
            summary, slices, some = await self._views.read(partial(read, number=number))
            if self._basis_of(group, summary) != basis:
                return None
            sums.update(some)
            number += 1
        return part_of(want, sums, limits.DIGEST_ENTRIES_MAX)

    def _ask(self, asks: Sequence[Ask]) -> None:
        for ask in asks:
            self._links().feed_to(ask.peer, TellDigests(ask.want))

    def _is_member(self, group: GroupId, peer: PeerId) -> bool:
        view = self._replica.groups.get(group)
        return view is not None and peer in view.roster.members


def basis_of(view: GroupView) -> bytes:
    """A hash of what is offered to others, and of who is who: where it is the same, so is what counts, and the role at each event."""
    roles = sorted([peer, int(member.role)] for peer, member in view.roster.members.items())
    return hash_bytes(encode([frontier_digest(view.tips), roles]))
