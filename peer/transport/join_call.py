"""A request to join that waits for its answer, as a joiner on a link does: decided here, or by an admin that is reached over links."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from peer.core.identity import PeerId
from peer.errors import LocalProtocolError, MeshError, RequestError, StoreError
from peer.sync import effects as fx
from peer.sync.asking import AskingOnce
from peer.sync.messages import Join
from peer.transport.connection import DecideJoinCall, now_ms


class CallOwner(Protocol):
    """Who keeps the links of this peer."""

    decide_join: DecideJoinCall

    def pass_on(self, fact: fx.JoinPassed, connection: object) -> None:
        """Give a request to join to all links."""
        ...

    def failed(self, error: StoreError) -> None:
        """The disk is not to be written any more."""
        ...

    def report(self, error: Exception) -> None:
        """A bug of ours ended it: tell the operator."""
        ...


class JoinCall:
    """One of them."""

    def __init__(self, asking: AskingOnce, owner: CallOwner, waits: Callable[[], None]) -> None:
        """`waits` is called once it has to wait for others. Needs a running event loop."""
        self._asking = asking
        self._owner = owner
        self._waits = waits
        self._ended: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._deciding: asyncio.Task[None] | None = None

    async def answer(self, caller: PeerId, join: Join) -> bytes:
        """The frame that says that `caller` is in. Raises `RequestError` with the code of what stands against it, or `StoreError`."""
        try:
            self._obey(self._asking.begin(caller, join))
            return await self._ended
        finally:
            if self._deciding is not None:
                await asyncio.gather(self._deciding, return_exceptions=True)

    def feed(self, fact: fx.Fact) -> None:
        """Something happened. Raises nothing: who tells of a commit has others to tell."""
        if self._ended.done():
            return
        try:
            self._obey(self._asking.handle(fact, now_ms()))
        except Exception as error:  # noqa: BLE001  (a bug of ours must not end more than this request)
            self._broke(error)

    def close(self, code: str, text: str) -> None:
        """Wait no longer."""
        self._obey([fx.CloseLink(code, text)])

    def _obey(self, effects: list[fx.Effect]) -> None:
        for effect in effects:
            match effect:
                case fx.DecideJoin():
                    self._deciding = asyncio.create_task(self._decide(effect))
                case fx.PassJoin(asked):
                    self._waits()
                    self._owner.pass_on(fx.JoinPassed(asked), self)
                case fx.SendFrame(frame) if not self._ended.done():
                    self._ended.set_result(frame)
                case fx.CloseLink(code, text) if not self._ended.done():
                    self._ended.set_exception(_refusal(code, text))
                case _:
                    pass

    async def _decide(self, effect: fx.DecideJoin) -> None:
        code, text, asked = None, "", effect.asked
        try:
            await self._owner.decide_join(asked.group, asked.key, asked.peer, asked.name)
        except RequestError as error:
            code, text = error.code, error.text
        except StoreError as error:
            self._owner.failed(error)
            if not self._ended.done():
                self._ended.set_exception(error)
            return
        except Exception as error:  # noqa: BLE001  (see `feed`)
            self._broke(error)
            return
        self.feed(fx.JoinDecided(effect, code, text))

    def _broke(self, error: Exception) -> None:
        self._owner.report(error)
        self.close(LocalProtocolError.code, "an error of this peer; its log says more")


def _refusal(code: str, text: str) -> MeshError:
    """With the code of whoever refuses."""
    error = RequestError(text)
    error.code = code
    return error
