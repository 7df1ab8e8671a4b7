"""What is sent first on a link."""

import asyncio
from typing import cast

from peer.transport.carrier import Carrier, CarrierKind
from peer.transport.outgoing import QUEUE_BYTES_MAX, Outgoing

DEADLINE_S = 20.0


class SlowCarrier:
    """Takes a frame only when it is let."""

    kind = CarrierKind.WEBSOCKET
    address = ""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.room = asyncio.Semaphore(0)
        self.closed = False

    async def send(self, frame: bytes) -> None:
        await self.room.acquire()
        self.sent.append(frame)

    async def close(self) -> None:
        self.closed = True

    def cut(self) -> None:
        self.closed = True


async def test_bytes_of_recordings_wait_for_everything_else_and_all_keeps_its_order() -> None:
    carrier = SlowCarrier()
    outgoing = Outgoing(cast("Carrier", carrier), lambda: 0)
    running = asyncio.create_task(outgoing.run())
    for number in range(3):
        outgoing.put(b"part %d" % number, may_wait=True)
    await asyncio.sleep(0)  # The first is being sent.
    for number in range(3):
        outgoing.put(b"event %d" % number)
    outgoing.put(b"part 3", may_wait=True)
    outgoing.close()
    assert outgoing.put(b"too late")
    for _ in range(9):
        carrier.room.release()
    await asyncio.wait_for(running, DEADLINE_S)
    assert carrier.sent == [b"part 0", b"event 0", b"event 1", b"event 2", b"part 1", b"part 2", b"part 3"]
    assert (carrier.closed, outgoing.waiting) == (True, 0)
    outgoing.ended()


async def test_what_may_wait_counts_for_what_may_be_queued() -> None:
    outgoing = Outgoing(cast("Carrier", SlowCarrier()), lambda: 0)
    assert outgoing.put(bytes(QUEUE_BYTES_MAX), may_wait=True)
    assert not outgoing.put(b"x")
