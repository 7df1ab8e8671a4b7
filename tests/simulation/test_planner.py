"""The plan of a fetch with peers that are fast, slow, silent, gone or lying, in a time of its own. Each seed is another such world."""

import heapq
import os
import random
from collections import Counter
from dataclasses import dataclass, field

import pytest

from peer.blobs.plan import FetchPlan, Layout
from peer.blobs.providers import PieceRequest, Way
from peer.core.identity import PeerId

LONG = os.environ.get("RECMESH_TEST_LONG") == "1"
SEEDS = 5000 if LONG else 500
MIB = 1024 * 1024
STEP_MS = 20
LOOK_MS = 100
END_MS = 40_000_000


@dataclass
class Peer:
    """Somebody who has the blob, or says so."""

    id: PeerId
    rate: float
    """Bytes a millisecond."""
    delay_ms: int
    lies_at: int | None = None
    """Gives a wrong piece there."""
    falls_silent: int | None = None
    """After so many bytes nothing comes any more, for so long that a timeout ends it."""
    breaks_at: int | None = None
    """After so many bytes it is gone."""
    given: int = 0

    @property
    def is_honest(self) -> bool:
        return self.lies_at is None and self.falls_silent is None and self.breaks_at is None


@dataclass
class World:
    """Requests that are answered, as the shell does it."""

    plan: FetchPlan
    layout: Layout
    peers: list[Peer]
    now_ms: int = 0
    running: dict[int, PieceRequest] = field(default_factory=dict)
    queue: list[tuple[int, int, str, PieceRequest, int]] = field(default_factory=list)
    number: int = 0
    travelled: int = 0
    most_at_once: int = 0
    asked_after_lie: int = 0
    counted: Counter[int] = field(default_factory=Counter)
    happened: Counter[str] = field(default_factory=Counter)

    def later(self, delay_ms: int, what: str, request: PieceRequest, piece: int) -> None:
        self.number += 1
        heapq.heappush(self.queue, (self.now_ms + delay_ms, self.number, what, request, piece))

    def run(self) -> None:
        while not self.plan.complete and self.now_ms < END_MS:
            for request in self.plan.too_slow(self.now_ms):
                self.happened["given up"] += 1
                self.end(request)
            while (request := self.plan.next_request(self.now_ms)) is not None:
                peer = self.peers[request.source]
                self.asked_after_lie += peer.id in self.plan.liars
                self.happened["asked twice"] += any(each.first < request.stop and request.first < each.stop for each in self.running.values())
                self.running[request.source] = request
                self.later(peer.delay_ms, "piece", request, request.first)
            self.most_at_once = max(self.most_at_once, len(self.running))
            if not self.running:
                return
            if self.plan.has_idle and (not self.queue or self.queue[0][0] > self.now_ms + LOOK_MS):
                self.now_ms += LOOK_MS
                continue
            self.now_ms, _, what, request, piece = heapq.heappop(self.queue)
            if self.running.get(request.source) is request:
                self.step(what, request, piece)

    def step(self, what: str, request: PieceRequest, piece: int) -> None:
        peer, size = self.peers[request.source], self.layout.stop(piece) - self.layout.start(piece)
        if what == "timeout":
            self.end(request, failed=True)
        elif what == "piece" and not self.plan.is_missing(piece):
            self.happened["others were faster"] += 1
            self.end(request)
        elif what == "piece":
            self.later(max(1, int(size / peer.rate)), "came", request, piece)
        elif peer.falls_silent is not None and peer.given >= peer.falls_silent:
            self.happened["silent"] += 1
            self.later(30_000, "timeout", request, piece)
        elif peer.breaks_at is not None and peer.given >= peer.breaks_at:
            self.happened["gone"] += 1
            self.end(request, failed=True)
        else:
            self.take(peer, request, piece, size)

    def take(self, peer: Peer, request: PieceRequest, piece: int, size: int) -> None:
        peer.given += size
        self.travelled += size
        self.plan.came(request, size, self.now_ms)
        if peer.lies_at is not None and peer.given > peer.lies_at:
            self.happened["lie"] += 1
            self.end(request)
            self.plan.lied(request.source)
            return
        if self.plan.is_missing(piece):
            self.counted[piece] += 1
            self.plan.verified(piece)
        if piece + 1 == request.stop:
            self.end(request)
        else:
            self.later(0, "piece", request, piece + 1)
        for other in [each for each in self.running.values() if not self.plan.is_needed(each)]:
            self.end(other)

    def end(self, request: PieceRequest, *, failed: bool = False) -> None:
        del self.running[request.source]
        self.plan.ended(request)
        if failed:
            self.plan.failed(request.source)


def world_of(seed: int) -> tuple[World, list[int]]:
    chance = random.Random(seed)
    layout = Layout(chance.randrange(1, 200 * MIB), MIB)
    held = [piece for piece in range(layout.piece_count) if chance.random() < chance.choice((0, 0.1, 0.9))]
    peers = []
    for number in range(chance.randrange(1, 8)):
        peer = Peer(PeerId(bytes([number]) * 32), chance.choice((30, 1000, 10_000, 1_000_000)) * chance.uniform(0.5, 2), chance.choice((0, 5, 300)))
        at = chance.randrange(layout.size)
        match chance.randrange(6):
            case 0:
                peer.lies_at = at
            case 1:
                peer.falls_silent = at
            case 2:
                peer.breaks_at = at
        peers.append(peer)
    ways = [Way(peer.id, chance.random() < 0.2) for peer in peers]
    return World(FetchPlan(layout, held, ways), layout, peers), held


def test_a_fetch_ends_if_somebody_honest_is_there_and_never_otherwise_hangs() -> None:
    happened = Counter[str]()
    for seed in range(SEEDS):
        world, held = world_of(seed)
        world.run()
        happened += world.happened
        assert world.plan.complete or not any(peer.is_honest for peer in world.peers), seed
        assert world.plan.complete or not world.running, f"{seed}: waits for ever"
        assert all(count == 1 for count in world.counted.values()), seed
        if world.plan.complete:
            assert sorted([*world.counted, *held]) == list(range(world.layout.piece_count)), seed
        assert world.asked_after_lie == 0, seed
        assert world.most_at_once <= 4, seed
        happened["complete"] += world.plan.complete
        happened["nobody left"] += not world.plan.complete
    print(f"{SEEDS} fetches: {dict(sorted(happened.items()))}")  # noqa: T201
    for kind in ("lie", "silent", "gone", "asked twice", "nobody left"):
        assert happened[kind] >= SEEDS // 20, f"{kind} happened too seldom"


@pytest.mark.parametrize("seed", range(20))
def test_a_slow_one_and_a_liar_cost_next_to_no_time_and_little_traffic(seed: int) -> None:
    """Beside one of 10 MB/s: within a fifth and a second of what that one would take alone, and at most a fifth of it twice."""
    chance = random.Random(seed)
    layout = Layout(chance.randrange(50 * MIB, 300 * MIB), MIB)
    peers = [
        Peer(PeerId(b"f" * 32), 10_000, 5),
        Peer(PeerId(b"s" * 32), chance.uniform(1, 1000), 5),
        Peer(PeerId(b"l" * 32), 10_000, 5, lies_at=chance.randrange(20 * MIB)),
    ]
    chance.shuffle(peers)
    world = World(FetchPlan(layout, [], [Way(peer.id, asks_others=False) for peer in peers]), layout, peers)
    world.run()

    assert world.plan.complete
    assert world.plan.liars == [PeerId(b"l" * 32)]
    assert world.now_ms <= layout.size / 10_000 * 1.2 + 1000
    assert world.travelled <= layout.size * 1.2 + 4 * MIB


def test_members_that_give_next_to_nothing_keep_nobody_from_being_asked() -> None:
    """However many there are, and though none of them ever fails."""
    layout = Layout(30 * MIB, MIB)
    drips = [Peer(PeerId(bytes([number]) * 32), 0.01, 5) for number in range(11)]
    peers = [*drips, Peer(PeerId(b"f" * 32), 10_000, 5)]
    world = World(FetchPlan(layout, [], [Way(peer.id, asks_others=False) for peer in peers]), layout, peers)
    world.run()

    assert world.plan.complete
    assert world.happened["given up"] >= len(drips) - 3
    assert world.now_ms <= 40_000
