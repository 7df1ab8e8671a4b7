"""Work in threads: who is stopped waits for it."""

import asyncio
import threading

import pytest

from peer.threads import in_thread
from tests.patience import PATIENCE_S


async def test_the_result_or_the_error_of_a_thread_comes_back() -> None:
    assert await in_thread(None, lambda stop: stop.is_set()) is False
    with pytest.raises(ZeroDivisionError):
        await in_thread(None, lambda _: 1 // 0)


@pytest.mark.parametrize("times", [1, 3])
async def test_who_is_cancelled_waits_until_the_thread_has_stopped_however_often_it_is_told(times: int) -> None:
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def work(stop: threading.Event) -> None:
        begun.set()
        assert stop.wait(PATIENCE_S)
        assert go_on.wait(PATIENCE_S)
        ended.set()
        raise OSError("nobody hears this")

    waiting = asyncio.create_task(in_thread(None, work))
    assert await asyncio.to_thread(begun.wait, PATIENCE_S)
    for _ in range(times):
        waiting.cancel()
        await asyncio.wait([waiting], timeout=0.05)
    assert not waiting.done()
    go_on.set()
    await asyncio.wait([waiting], timeout=PATIENCE_S)

    assert (waiting.cancelled(), ended.is_set()) == (True, True)
