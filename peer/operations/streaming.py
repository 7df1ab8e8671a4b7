"""Everything that changes here, as it does: events of all groups, once and in this peer's order, and now and then how links and transfers are."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from typing import NamedTuple

from peer.core.interfaces import EventStore, StoredEvent
from peer.errors import RequestError
from peer.operations.json_form import Json

PAGE = 500
LOOK_S = 1.0
"""So often it is looked whether what is no event has changed."""

KEEP_ALIVE_LOOKS = 15
"""After so many looks at which nothing had, something is said nevertheless."""


class Told(NamedTuple):
    """One thing that changed."""

    kind: str
    """`event`, or the name of what is looked at."""
    position: int | None
    """Of an event: who comes back with it hears of all that came later."""
    data: object


class Streaming:
    """Tells of it."""

    def __init__(
        self, store: EventStore, position: Callable[[], int], describe: Callable[[StoredEvent], Json], looked_at: Mapping[str, Callable[[], object]]
    ) -> None:
        """`position` is that of the last event, `looked_at` gives what is told whenever it is another than before."""
        self._store = store
        self._position = position
        self._describe = describe
        self._looked_at = looked_at

    async def follow(self, after: int | None) -> AsyncGenerator[Told | None, None]:
        """What changes after that position, or from now on, for ever; None now and then, while there is nothing to tell."""
        if after is not None and after < 0:
            raise RequestError("a position is 0 or more", fix="leave it out to hear of what changes from now on")
        position = self._position() if after is None else after
        news = asyncio.Event()
        end = self._store.subscribe(lambda _: news.set())
        seen: dict[str, object] = {}
        quiet, time = 0, asyncio.get_running_loop().time
        look_s = time()
        try:
            while True:
                news.clear()
                told = 0
                while events := await self._store.events_after(position, PAGE):
                    for event in events:
                        told, position = told + 1, event.position
                        yield Told("event", event.position, self._describe(event))
                if time() >= look_s:  # However many events come: a look costs more than they do.
                    look_s = time() + LOOK_S
                    for each in self._changed(seen):
                        told += 1
                        yield each
                    quiet += 1
                quiet = 0 if told else quiet
                if quiet >= KEEP_ALIVE_LOOKS:
                    quiet = 0
                    yield None
                await _until(news, look_s)
        finally:
            end()

    def _changed(self, seen: dict[str, object]) -> Iterator[Told]:
        """What is another than it was."""
        for name, look in self._looked_at.items():
            found = look()
            if name not in seen or seen[name] != found:
                seen[name] = found
                yield Told(name, None, found)


async def _until(news: asyncio.Event, look_s: float) -> None:
    try:
        async with asyncio.timeout_at(look_s):
            await news.wait()
    except TimeoutError:
        return
