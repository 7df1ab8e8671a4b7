"""One request, one session: frames in, frames out, for callers that hold no link.

The same session as on a link decides; here it begins at a caller whose signature was verified, is given the frames of one request, and ends with it.
"""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from peer.core.identity import GroupId, PeerId
from peer.core.interfaces import EventStore
from peer.errors import EventRejectedError
from peer.sync import effects as fx
from peer.sync.session import SyncSession

ANSWER_SIZE_MAX = 5 * 1024 * 1024
"""Bytes of frames in one answer: the credit of a fresh link, and what is said beside it."""


class Outcome(NamedTuple):
    """What came of a request."""

    frames: list[bytes]
    """What the session had to say, in order."""
    end: fx.CloseLink | None
    """Why it refused to go on, None if it did not."""
    knocked: fx.Knocked | None = None
    """Set where the caller is a member of nothing here."""


async def exchange(session: SyncSession, store: EventStore, caller: PeerId, group: GroupId, frames: Iterable[bytes], now_ms: int) -> Outcome:
    """Give `frames` of `caller`, about `group`, to a fresh `session`, and do what it asks for until it asks for nothing more.

    Everything that it took is durable then. Raises `StoreError` when the disk fails.
    """
    said = _Said(store)
    facts: list[fx.Fact] = [fx.CallerProven(caller, (group,)), *(fx.FrameReceived(frame) for frame in frames)]
    for fact in facts:
        waiting = deque(session.handle(fact, now_ms))
        while waiting and said.end is None:
            answer = await said.perform(waiting.popleft())
            if answer is not None:
                waiting.extend(session.handle(answer, now_ms))
    return Outcome(said.frames, said.end, said.knocked)


class _Said:
    """What a session has asked for so far."""

    def __init__(self, store: EventStore) -> None:
        self.frames: list[bytes] = []
        self.end: fx.CloseLink | None = None
        self.knocked: fx.Knocked | None = None
        self._store = store
        self._size = 0

    async def perform(self, effect: fx.Effect) -> fx.Fact | None:
        """Do it; the fact that answers it, if one does. What only a link can do is not done."""
        match effect:
            case fx.SendFrame(frame):
                self._size += len(frame)
                if self._size <= ANSWER_SIZE_MAX:
                    self.frames.append(frame)
            case fx.CloseLink():
                self.end = effect
            case fx.Knocked():
                self.knocked = effect
            case fx.StoreRun():
                return fx.RunStored(effect, await self._stored(effect))
            case fx.ReadRuns():
                return fx.RunsRead(effect, await self._store.read_after(effect.group, effect.log, effect.positions, effect.size_max))
            case fx.FindEvents():
                return fx.EventsFound(effect, frozenset(await self._store.held(effect.group, effect.events)))
            case fx.ReadLocator():
                return fx.LocatorRead(effect, await self._store.locator(effect.group, effect.log))
            case _:
                pass
        return None

    async def _stored(self, effect: fx.StoreRun) -> str | None:
        try:
            await self._store.append(effect.certificate, effect.run)
        except EventRejectedError as error:
            return error.code
        return None
