"""Which piece of a blob is fetched from whom next. Pure: it counts pieces, sources and milliseconds, and touches none of them.

A piece counts once its bytes have been verified, wherever they came from. Several peers are asked at once, each for a slice of its own; who is
through takes from what the others have before them, so that all are through at about the same time, however fast each of them is.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from peer.blobs.providers import PieceRequest, Provider, Running, Way
from peer.core.hashing import HASH_SIZE
from peer.core.identity import PeerId
from peer.errors import BlobImpossibleError

PIECE_SIZE_MIN = 1024 * 1024
PIECE_SIZE_MAX = 4 * 1024 * 1024
PIECES_WANTED_MAX = 2048
REQUEST_PIECES_MAX = 256
"""Pieces that one request may ask for: at most 1 GiB, so that a stopped transfer is noticed and shared out."""

FIRST_PIECES = 2
"""Pieces that a peer is asked for of which nothing is known."""

REQUEST_MS = 2000
"""Later it is asked for as much as it should give in that time."""

PROVIDERS_MAX = 4
"""Peers that are asked for one blob at once."""

ASKED_MAX = 2
"""Peers that are asked for one piece at once: the second one where the first is slow."""

SLOWER_MAX = 2
"""How many times as fast as another one who is asked instead of it has to be."""

DOUBLE_AFTER_MS = 300
"""A request that was sent less long ago is not held to be slow."""

RATE_AFTER_MS = 50
"""Bytes that came within less time tell nothing of how fast a peer is, but for all bytes of a request."""

PATIENCE_MS = 10_000
SLOWEST_RATE = 16
"""Bytes a millisecond: who gives less after that time makes room for somebody who was not asked yet."""

BLOB_SIZE_MAX = 2**44
"""16 TiB: the piece list of a larger one would not fit into memory."""


class Layout(NamedTuple):
    """How a blob is cut into pieces."""

    size: int
    piece_size: int

    @property
    def piece_count(self) -> int:
        """Number of pieces; none for the empty blob."""
        return -(-self.size // self.piece_size)

    @property
    def list_size(self) -> int:
        """Bytes of the list of piece hashes."""
        return HASH_SIZE * self.piece_count

    def start(self, piece: int) -> int:
        """Where `piece` begins."""
        return piece * self.piece_size

    def stop(self, piece: int) -> int:
        """Where `piece` ends."""
        return min(self.size, (piece + 1) * self.piece_size)


def piece_size_for(size: int) -> int:
    """The smallest power of two from 1 MiB on that cuts `size` bytes into at most 2048 pieces, but never above 4 MiB."""
    piece_size = PIECE_SIZE_MIN
    while piece_size < PIECE_SIZE_MAX and size > piece_size * PIECES_WANTED_MAX:
        piece_size *= 2
    return piece_size


def layout_for(size: int) -> Layout:
    """The layout that this peer gives to a blob of `size` bytes."""
    return Layout(size, piece_size_for(size))


def check_layout(size: int, piece_size: int) -> Layout:
    """The layout that an event claims. Raises `BlobImpossibleError` for one that no blob can have."""
    if not 0 <= size <= BLOB_SIZE_MAX or piece_size != piece_size_for(size):
        raise BlobImpossibleError(f"a blob of {size} bytes is never cut into pieces of {piece_size}")
    return Layout(size, piece_size)


def split_piece_list(data: bytes) -> list[bytes]:
    """The hashes in a piece list."""
    return [data[start : start + HASH_SIZE] for start in range(0, len(data), HASH_SIZE)]


class FetchPlan:
    """What is missing of one blob, and whom to ask for it.

    Whoever has nothing to do is given something: first of its own slice, then of what another one has before it, at last what others have been asked
    for already and are slower with. A peer that sent something wrong is asked for nothing more.
    """

    def __init__(self, layout: Layout, held: Iterable[int], ways: Sequence[Way]) -> None:
        """`ways` are numbered as they come, best first."""
        self._layout = layout
        self._missing = bytearray(b"\1") * layout.piece_count
        for piece in held:
            self._missing[piece] = 0
        self._count = self._missing.count(1)
        self._by_way: dict[Way, Provider] = {}
        self._of: dict[int, Provider] = {}
        self._number(ways)
        self._free = self._runs(range(layout.piece_count))
        """Pieces that nobody is to be asked for yet, in order."""
        self.liars = list[PeerId]()
        self._cut_slices()

    def join(self, ways: Sequence[Way]) -> list[Way]:
        """Those of them that lead to somebody who cannot be asked yet, or not any more, and who told no lies: they are numbered on, in order."""
        known = {way for way, provider in self._by_way.items() if provider.ways}
        joining = [way for way in ways if way not in known and way.peer not in self.liars]
        self._number(joining)
        return joining

    def _number(self, ways: Iterable[Way]) -> None:
        for number, way in enumerate(ways, len(self._of)):
            provider = self._by_way.setdefault(way, Provider(way.peer, way.asks_others, []))
            provider.ways.append(number)
            self._of[number] = provider

    @property
    def complete(self) -> bool:
        """True if no piece is missing."""
        return not self._count

    @property
    def has_idle(self) -> bool:
        """True if somebody could be asked who is not: later there may be something to ask for."""
        return any(provider.running is None for provider in self._live())

    @property
    def bytes_held(self) -> int:
        """Bytes of the pieces that count."""
        last = self._layout.piece_count - 1
        missing = self._count * self._layout.piece_size
        if self._count and self._missing[last]:
            missing -= (last + 1) * self._layout.piece_size - self._layout.size
        return self._layout.size - missing

    def size_of(self, piece: int) -> int:
        """How many bytes it has."""
        return self._layout.stop(piece) - self._layout.start(piece)

    def missing(self) -> list[int]:
        """The pieces that are still to come, in order."""
        return [piece for run in self._runs(range(self._layout.piece_count)) for piece in run]

    def is_missing(self, piece: int) -> bool:
        """True until its bytes are here and are the right ones."""
        return bool(self._missing[piece])

    def is_needed(self, request: PieceRequest) -> bool:
        """False once all that was asked for there has come, from wherever."""
        return 1 in self._missing[request.first : request.stop]

    def next_request(self, now_ms: int) -> PieceRequest | None:
        """Somebody who has nothing to do, and what to ask for; none if there is nobody, or nothing at the moment. Later there may be."""
        live = self._live()
        busy = sum(provider.running is not None for provider in live)
        if not self._count or busy >= PROVIDERS_MAX:
            return None
        untried = max(SLOWEST_RATE, max((provider.rate for provider in live), default=0.0) / SLOWER_MAX)
        for provider in sorted((each for each in live if each.running is None), key=lambda each: -(each.rate or untried)):
            pieces = self._next_own(provider, is_alone=len(live) == 1) or self._doubled(provider, live, now_ms)
            if pieces:
                request = PieceRequest(provider.ways[0], pieces.start, pieces.stop)
                provider.running = Running(request, now_ms)
                return request
        return None

    def too_slow(self, now_ms: int, *, is_full: bool = False) -> list[PieceRequest]:
        """Requests to be ended, so that others are asked who were not yet: members that give next to nothing keep nobody from it.

        `is_full` says that nobody more can be asked for another reason than that these are enough.
        """
        live = self._live()
        running = [provider for provider in live if provider.running is not None]
        untried = sum(provider.running is None and not provider.rate for provider in live)
        if not untried or (len(running) < PROVIDERS_MAX and not is_full):
            return []
        found = list[tuple[float, PieceRequest]]()
        for provider in running:
            assert provider.running is not None
            rate = provider.running.rate(now_ms)
            if now_ms - provider.running.began_ms >= PATIENCE_MS and rate < SLOWEST_RATE:
                provider.rate = max(rate, 1 / PATIENCE_MS)
                found.append((rate, provider.running.request))
        return [request for _, request in sorted(found)[:untried]]

    def came(self, request: PieceRequest, size: int, now_ms: int) -> None:
        """So many bytes of it arrived, right or wrong."""
        running = self._of[request.source].running
        assert running is not None
        running.size += size
        running.last_ms = now_ms
        if now_ms - running.began_ms >= RATE_AFTER_MS:
            provider = self._of[request.source]
            provider.rate = running.rate(now_ms)

    def verified(self, piece: int) -> None:
        """The bytes of `piece` are here and are the right ones."""
        self._count -= self._missing[piece]
        self._missing[piece] = 0

    def ended(self, request: PieceRequest) -> None:
        """Nothing more comes of it. What it did not bring is for anybody."""
        provider = self._of[request.source]
        assert provider.running is not None
        if provider.running.size:
            provider.rate = provider.running.rate(provider.running.last_ms)
        provider.running = None
        elsewhere = [each.running.request for each in self._by_way.values() if each.running is not None]
        for run in self._runs(range(request.first, request.stop)):
            left = [piece for piece in run if not any(other.first <= piece < other.stop for other in elsewhere)]
            self._free += _as_ranges(left)

    def can_ask(self, source: int) -> bool:
        """Whether that way has not failed."""
        return source in self._of[source].ways

    def failed(self, source: int) -> None:
        """Do not ask in this way any more; there may be others to the same peer."""
        provider = self._of[source]
        if source in provider.ways:
            provider.ways.remove(source)
        self._give_up(provider)

    def lied(self, source: int) -> None:
        """Do not ask the peer behind it for this blob any more, in no way."""
        peer = self._of[source].peer
        self.liars.append(peer)
        for provider in self._by_way.values():
            if provider.peer == peer:
                provider.ways.clear()
                self._give_up(provider)

    def _give_up(self, provider: Provider) -> None:
        if not provider.ways:
            self._free += provider.own
            provider.own = []

    def _live(self) -> list[Provider]:
        """Who can be asked: who has the bytes itself, else who may get them."""
        live = [provider for provider in self._by_way.values() if provider.ways]
        return [provider for provider in live if not provider.asks_others] or live

    def _cut_slices(self) -> None:
        """A slice for each of the first providers, so that no two begin at the same place."""
        first = self._live()[:PROVIDERS_MAX]
        for number, provider in enumerate(first):
            provider.own = self._cut(self._free, -(-sum(map(len, self._free)) // (len(first) - number)))

    @staticmethod
    def _cut(ranges: list[range], count: int) -> list[range]:
        """Take so many pieces off the front."""
        taken = list[range]()
        while ranges and count:
            head = ranges[0][:count]
            taken.append(head)
            count -= len(head)
            ranges[0] = ranges[0][len(head) :]
            if not ranges[0]:
                del ranges[0]
        return taken

    def _next_own(self, provider: Provider, *, is_alone: bool) -> range | None:
        if not provider.own and self._free:
            provider.own = [self._free.pop(0)]
        if not provider.own:
            provider.own = self._stolen(provider)
        while provider.own:
            runs = self._runs(provider.own.pop(0))  # Somebody else may have brought some of it.
            if runs:
                count = REQUEST_PIECES_MAX if is_alone else self._pieces_at_once(provider)
                taken, rest = runs[0][:count], runs[0][count:]
                provider.own = [*filter(None, [rest]), *runs[1:], *provider.own]
                return taken
        return None

    def _stolen(self, thief: Provider) -> list[range]:
        """A share, by speed, of what the one with the most before it has not been asked for yet."""
        victims = [each for each in self._by_way.values() if each is not thief and each.own]
        if not victims:
            return []
        victim = max(victims, key=lambda each: each.waiting / each.rate if each.rate else math.inf)
        if thief.rate and victim.rate and thief.rate * victim.waiting * SLOWER_MAX < victim.rate:
            return []  # The other one is through before one piece has come from here.
        share = thief.rate / (thief.rate + victim.rate) if thief.rate and victim.rate else 0.5
        kept = self._cut(victim.own, victim.waiting - max(1, int(victim.waiting * share)))
        stolen, victim.own = victim.own, kept
        return stolen

    def _doubled(self, provider: Provider, live: list[Provider], now_ms: int) -> range | None:
        """The end of what a slower one is being asked for: it is not waited for."""
        best, longest = None, 0.0
        if 0 < provider.rate < SLOWEST_RATE:
            return None
        for other in self._by_way.values():
            running = other.running
            if running is None or other is provider or now_ms - running.began_ms < DOUBLE_AFTER_MS:
                continue
            left = [piece for piece in range(running.request.first, running.request.stop) if self._missing[piece]]
            left = [piece for piece in left if self._asked(piece, live, now_ms) < ASKED_MAX]
            rate = running.rate(now_ms)
            expected_ms = len(left) * self._layout.piece_size / rate if rate else math.inf
            mine_ms = self._layout.piece_size / provider.rate if provider.rate else 0.0
            if left and expected_ms > longest and mine_ms * SLOWER_MAX < expected_ms:
                best, longest = left, expected_ms
        if best is None:
            return None
        tail = _as_ranges(best)[-1]
        return tail[-min(self._pieces_at_once(provider), -(-len(tail) // 2)) :]

    @staticmethod
    def _asked(piece: int, live: list[Provider], now_ms: int) -> int:
        """Who is asked for it and may be expected to give it."""
        running = [each.running for each in live if each.running is not None]
        return sum(
            each.request.first <= piece < each.request.stop and (now_ms - each.began_ms < PATIENCE_MS or each.rate(now_ms) >= SLOWEST_RATE)
            for each in running
        )

    def _pieces_at_once(self, provider: Provider) -> int:
        if not provider.rate:
            return FIRST_PIECES
        return max(1, min(REQUEST_PIECES_MAX, int(provider.rate * REQUEST_MS / self._layout.piece_size)))

    def _runs(self, pieces: range) -> list[range]:
        """The runs of missing pieces within `pieces`."""
        runs = list[range]()
        start = self._missing.find(1, pieces.start, pieces.stop)
        while start >= 0:
            stop = self._missing.find(0, start, pieces.stop)
            stop = pieces.stop if stop < 0 else stop
            runs.append(range(start, stop))
            start = self._missing.find(1, stop, pieces.stop)
        return runs


def _as_ranges(pieces: Iterable[int]) -> list[range]:
    """Runs of consecutive numbers."""
    found = list[range]()
    for piece in pieces:
        if found and found[-1].stop == piece:
            found[-1] = range(found[-1].start, piece + 1)
        else:
            found.append(range(piece, piece + 1))
    return found
