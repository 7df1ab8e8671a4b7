"""Questions about bytes over a link that wait for their answers, by number."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from peer.core.identity import PeerId
from peer.core.relaying import WantedPart
from peer.errors import LinkBrokenError, MeshError, StoreError, TransportError
from peer.sync import effects as fx
from peer.sync.blob_messages import PossessionWant
from peer.sync.possession import Custody, PossessionArrived, PossessionRead, ReadPossession, WantPossession

BLOB_TIMEOUT_S = 60.0
POSSESSION_TIMEOUT_S = 60.0
ANSWER_TIMEOUTS = 15
"""While others are answered, one answer may take so many times as long: the other side may have a limit, and gives one after the other."""

T = TypeVar("T")


class Asked(Generic[T]):
    """Those of one kind on one link."""

    def __init__(self, what: str) -> None:
        """`what` is waited for, in words."""
        self._what = what
        self._count = 0
        self._waiting: dict[int, asyncio.Future[T]] = {}
        self._heard_s = 0.0
        """When an answer came last."""

    async def ask(self, send: Callable[[int], None], timeout_s: float) -> T:
        """The answer to what `send` asks under a number. Raises `TransportError` if it does not come."""
        self._count += 1
        number = self._count
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            send(number)
            return await self._awaited(answer, timeout_s)
        except TimeoutError as error:
            raise TransportError(f"the {self._what} do not come") from error
        finally:
            del self._waiting[number]

    async def _awaited(self, answer: "asyncio.Future[T]", timeout_s: float) -> T:
        """It, once it is there. Raises `TimeoutError` after a silence, or after far too long."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while True:
            silent_s = loop.time() - max(begun, self._heard_s)
            if silent_s >= timeout_s or loop.time() - begun >= ANSWER_TIMEOUTS * timeout_s:
                raise TimeoutError
            await asyncio.wait([answer], timeout=timeout_s - silent_s)
            if answer.done():
                return answer.result()

    def answered(self, number: int, answer: T | TransportError) -> None:
        """It has come, or what stands against it; nobody may wait for it any more."""
        self._heard_s = asyncio.get_running_loop().time()
        waiting = self._waiting.get(number)
        if waiting is None or waiting.done():
            return
        if isinstance(answer, TransportError):
            waiting.set_exception(answer)
        else:
            waiting.set_result(answer)

    def broken(self) -> None:
        """The link has ended."""
        for number in list(self._waiting):
            self.answered(number, LinkBrokenError(f"the link ended before the {self._what} came"))


class BytesAsked:
    """All questions about bytes on one link."""

    def __init__(self, feed: Callable[[fx.Fact], None]) -> None:
        """`feed` gives a fact to the session of the link."""
        self._feed = feed
        self._parts: Asked[bytes] = Asked("bytes")
        self._proofs: Asked[Sequence[bytes]] = Asked("proofs")

    async def blob(self, part: WantedPart) -> bytes:
        """A part of a blob. Raises `TransportError` if it does not come."""
        return await self._parts.ask(lambda number: self._feed(fx.WantBlob(number, part)), BLOB_TIMEOUT_S)

    async def possession(self, want: PossessionWant) -> Sequence[bytes]:
        """Proofs. Raises `TransportError`, with the code of what stands against them."""
        return await self._proofs.ask(lambda number: self._feed(WantPossession(want._replace(number=number))), POSSESSION_TIMEOUT_S)

    def arrived(self, effect: fx.BlobArrived | PossessionArrived) -> None:
        """An answer."""
        if isinstance(effect, fx.BlobArrived):
            self._parts.answered(effect.number, _answer(effect.code, effect.data, "the other side has no such bytes for us"))
        else:
            self._proofs.answered(effect.number, _answer(effect.code, effect.proofs, "the other side does not prove that it holds them"))

    def broken(self) -> None:
        """The link has ended."""
        self._parts.broken()
        self._proofs.broken()


async def proven(custody: Custody, remote: PeerId, effect: ReadPossession) -> PossessionRead:
    """What is answered to who asks for proofs. Raises `StoreError`."""
    try:
        return PossessionRead(effect, None, await custody.prove(remote, effect.want))
    except StoreError:
        raise
    except MeshError as error:
        return PossessionRead(effect, error.code, ())


def _answer(code: str | None, answer: T, text: str) -> T | TransportError:
    """It, or what the other side said against it, under its own code."""
    if code is None:
        return answer
    error = TransportError(f"{text}: {code}")
    error.code = code
    return error
