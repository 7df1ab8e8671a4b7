"""Who waits for limits, and for how long: at least. A machine that is busy may take longer, never less."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Iterator
from types import SimpleNamespace

import pytest

from peer.core.bandwidth import CATCH_UP_NS, NS_PER_S, SLICES_A_SECOND, read_timetable
from peer.core.identity import PeerId
from peer.transport import bandwidth as module
from peer.transport.bandwidth import Bandwidth, Pacing, Way

ALICE, BOB = PeerId(b"a" * 32), PeerId(b"b" * 32)
RATE = 1_000_000
AT_ONCE = RATE // SLICES_A_SECOND + RATE * CATCH_UP_NS // NS_PER_S
DEADLINE_S = 20.0


@pytest.fixture
async def limited() -> Bandwidth:
    """A million bytes a second, both ways."""
    bandwidth = Bandwidth()
    bandwidth.set(read_timetable("1M"), {})
    return bandwidth


class Source:
    """Gives zeros, and notes what is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    async def read(self, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        self.asked.append((start, stop))
        for each in range(start, stop, 1000):
            yield bytes(min(1000, stop - each))


async def test_a_read_asks_for_no_more_than_may_come_and_takes_as_long_as_the_limit_says(limited: Bandwidth) -> None:
    source, size, begun = Source(), 400_000, time.monotonic()
    async with asyncio.timeout(DEADLINE_S):
        data = b"".join([part async for part in Pacing(limited, 0).read(ALICE, 100, 100 + size, source.read)])
    assert len(data) == size
    assert time.monotonic() - begun >= (size - AT_ONCE) / RATE
    assert all(stop - start <= RATE // SLICES_A_SECOND for start, stop in source.asked)
    assert [start for start, _ in source.asked[1:]] == [stop for _, stop in source.asked[:-1]], "in order, nothing twice"


async def test_without_a_limit_all_is_asked_for_at_once() -> None:
    source = Source()
    async for _ in Pacing(Bandwidth(), 0).read(ALICE, 0, 10**7, source.read):
        pass
    assert source.asked == [(0, 10**7)]


async def test_a_limit_that_is_set_meanwhile_holds_for_what_is_under_way() -> None:
    bandwidth, source = Bandwidth(), Source()
    got = 0
    async for part in Pacing(bandwidth, 0).read(ALICE, 0, 200_000, source.read):
        got += len(part)
        if got == 50_000:
            bandwidth.set(read_timetable("1M"), {})
    assert got == 200_000
    assert source.asked[:2] == [(0, 200_000), (50_000, 50_000 + RATE // SLICES_A_SECOND)]


async def test_a_limit_that_is_taken_away_lets_everybody_go(limited: Bandwidth) -> None:
    limited.set(read_timetable("10k"), {})
    waiting = [asyncio.create_task(limited.take(Way.DOWN, ALICE, 10**6)) for _ in range(5)]
    await asyncio.sleep(0)
    limited.set(None, {})
    assert sum(await asyncio.wait_for(asyncio.gather(*waiting), DEADLINE_S)) > 3 * 10**6


async def test_who_gives_up_waiting_holds_up_nobody(limited: Bandwidth) -> None:
    waiting = [asyncio.create_task(limited.take(Way.UP, ALICE, 10**6)) for _ in range(20)]
    await asyncio.sleep(0)
    for each in waiting[:-1]:
        each.cancel()
    assert await asyncio.wait_for(waiting[-1], DEADLINE_S) == RATE // SLICES_A_SECOND
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_the_ways_do_not_wait_for_each_other_and_neither_do_other_peers() -> None:
    bandwidth = Bandwidth()
    bandwidth.set(None, {BOB: read_timetable("10k:off")})
    for _ in range(10):
        assert await asyncio.wait_for(bandwidth.take(Way.DOWN, BOB, 10**9), DEADLINE_S) == 10**9
        assert await asyncio.wait_for(bandwidth.take(Way.UP, ALICE, 10**9), DEADLINE_S) == 10**9
    await bandwidth.take(Way.UP, BOB, 10**9)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(bandwidth.take(Way.UP, BOB, 10**9), 0.2)


@pytest.fixture
def noon(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """A wall clock that the test sets; it begins on a Monday at noon."""
    day = SimpleNamespace(tm_wday=0, tm_hour=12, tm_min=0)
    with monkeypatch.context() as patch:
        patch.setattr(module, "time", SimpleNamespace(localtime=lambda: day, monotonic_ns=time.monotonic_ns))
        patch.setattr(module, "LOOK_S", 0.01)
        yield day


async def test_limits_follow_the_time_of_day(noon: SimpleNamespace) -> None:
    bandwidth = Bandwidth()
    bandwidth.set(read_timetable("08:00,1M:2M 18:00,off sat-00:00,50k"), {BOB: read_timetable("13:00,10k 14:00,off")})
    following = asyncio.create_task(bandwidth.run())
    assert bandwidth.now == (1_000_000, 2_000_000)
    assert dict(_limits(bandwidth)) == {"up": 1_000_000, "down": 2_000_000}
    noon.tm_hour = 18
    async with asyncio.timeout(DEADLINE_S):
        while bandwidth.now != (None, None):  # noqa: ASYNC110  (nobody tells)
            await asyncio.sleep(0.005)
        noon.tm_wday, noon.tm_hour = 5, 3
        while bandwidth.now != (50_000, 50_000):  # noqa: ASYNC110  (as above)
            await asyncio.sleep(0.005)
    following.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await following


def _limits(bandwidth: Bandwidth) -> Iterator[tuple[str, float]]:
    return ((each.labels["way"], each.value) for each in bandwidth.counts() if each.name == "limit_bytes_per_second")
