"""The history of a group, event by event, in the order in which they came to this peer."""

import asyncio
from collections.abc import AsyncGenerator
from typing import NamedTuple

from materializer.bodies import read_body
from materializer.fields import PoisonError
from peer.core.certificate import LogKind
from peer.core.clock import hlc_ms
from peer.core.encoding import decode_map
from peer.core.identity import GroupId
from peer.core.interfaces import Commit, EventStore, Replica, StoredEvent
from peer.errors import NotCanonicalError, RequestError
from peer.operations.json_form import Json, to_json
from peer.operations.references import find_group

PAGE_MAX = 1000
SHORT_DIGITS = 8
KEEP_ALIVE_S = 15.0


class EventPage(NamedTuple):
    """Some events, and where to go on."""

    events: list[Json]
    next: int


class Events:
    """Reads events for people and programs."""

    def __init__(self, store: EventStore, replica: Replica) -> None:
        """Of this store."""
        self._store = store
        self._replica = replica

    async def page(self, reference: str, after: int, limit: int) -> EventPage:
        """Up to `limit` events of a group above the position `after`, which means something to this peer alone."""
        if after < 0 or not 1 <= limit <= PAGE_MAX:
            raise RequestError(f"after is 0 or more and limit 1 to {PAGE_MAX}", fix="correct them")
        group, _ = find_group(self._replica, reference)
        return await self._page(group, after, limit)

    async def follow(self, reference: str, after: int) -> AsyncGenerator[Json | None, None]:
        """Events above `after` as they come, for ever; None now and then, while there is nothing to tell."""
        group, _ = find_group(self._replica, reference)
        news = asyncio.Event()

        def tell(commit: Commit) -> None:
            if commit.group == group:
                news.set()

        end = self._store.subscribe(tell)
        try:
            while True:
                news.clear()
                page = await self._page(group, after, PAGE_MAX)
                for event in page.events:
                    yield event
                if page.next > after:
                    after = page.next
                    continue
                try:
                    async with asyncio.timeout(KEEP_ALIVE_S):
                        await news.wait()
                except TimeoutError:
                    yield None
        finally:
            end()

    async def _page(self, group: GroupId, after: int, limit: int) -> EventPage:
        found: list[Json] = []
        while len(found) < limit and (stored := await self._store.group_events(group, after, limit - len(found))):
            found += [self.describe(entry) for entry in stored]
            after = stored[-1].position
        return EventPage(found, after)

    def describe(self, entry: StoredEvent) -> Json:
        """One of them."""
        header = entry.event.header
        member = self._replica.groups[entry.group].roster.members.get(entry.author) if entry.group in self._replica.groups else None
        try:
            body = to_json(decode_map(entry.event.body))
        except NotCanonicalError:
            body = None
        return {
            "position": entry.position,
            "event_id": entry.event.id.hex(),
            "group_id": entry.group.hex(),
            "log": header.log.hex(),
            "kind": entry.kind.name.lower(),
            "seq": header.seq,
            "author": entry.author.hex(),
            "author_name": member.name if member else entry.author.hex()[:SHORT_DIGITS],
            "type": header.type,
            "time_ms": hlc_ms(header.hlc),
            "hlc": str(header.hlc),
            "refs": [ref.hex() for ref in header.refs],
            "body": body,
            "unreadable": _unreadable(entry),
        }


def _unreadable(entry: StoredEvent) -> str | None:
    """Why an event says nothing, None if it fits the schema of its type, or its type is not known here."""
    if entry.kind is LogKind.CONTROL:
        return None
    try:
        read_body(entry.event.header.type, entry.event.body)
    except PoisonError as error:
        return str(error)
    return None
