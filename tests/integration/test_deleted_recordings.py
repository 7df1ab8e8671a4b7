"""What happens to the bytes of a recording that is deleted while they are on their way."""

import asyncio
from collections.abc import AsyncGenerator, Collection, Sequence
from pathlib import Path
from typing import cast

from materializer.edits import recording_delete, recording_restore
from peer.core.identity import EventId, GroupId
from peer.core.run import sign_run
from peer.core.views import Views
from peer.core.wishes import Why, Wish
from peer.operations.fetching import Around, Fetching, KeptTransfers
from tests.histories import Story
from tests.integration.views_site import ViewsSite, running_views
from tests.samples import SampleLog

DEADLINE_S = 20.0


class Everything:
    """Wants all bytes."""

    def __init__(self, views: Views) -> None:
        self._views = views

    async def wishes(self, group: GroupId, recordings: Collection[EventId] | None) -> Sequence[Wish]:
        return [Wish(file, Why.POLICY, 100, "") for file in await self._views.wanted_blobs(group, recordings)]

    async def pages(self, group: GroupId) -> AsyncGenerator[Sequence[Wish], None]:
        yield await self.wishes(group, None)


class Nothing:
    """Fetches nothing: there is nobody to fetch from."""

    async def fetch(self, *_arguments: object) -> None:
        raise AssertionError


async def tell(site: ViewsSite, log: SampleLog, story: Story) -> None:
    """Let the rest of a story be stored and projected."""
    for stored in story.events:
        await site.store.append(log.certificate, sign_run(log.key, [stored.event]))
    story.events.clear()
    await site.materializer.reached(site.store.position)


async def until_waiting(fetching: Fetching, recordings: set[EventId]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while {wanted.recording for wanted in fetching.waiting(10)} != recordings:  # noqa: ASYNC110  (it tells nobody)
            await asyncio.sleep(0.005)


def ignore(*_facts: object) -> None:
    pass


async def test_what_is_deleted_is_waited_for_no_more_and_again_when_it_is_restored(tmp_path: Path) -> None:
    async with running_views(tmp_path) as site:
        log, story = SampleLog("alice"), Story()
        story.logs["alice"] = log
        kept, gone = story.create("alice", "kept"), story.create("alice", "gone")
        for recording in (kept, gone):
            story.add_chunk("alice", recording)
        await tell(site, log, story)
        stores = site.blobs, site.store.replica, cast("KeptTransfers", None)
        fetching = Fetching(Nothing(), stores, [Everything(site.views)], Around(lambda *_: [], ignore, ignore, ignore))
        site.materializer.subscribe(lambda touched: fetching.touched(frozenset(touched)))
        running = asyncio.create_task(fetching.run())
        fetching.links_changed()
        await until_waiting(fetching, {kept, gone})
        deleted = story.write("alice", recording_delete(gone))
        await tell(site, log, story)
        await until_waiting(fetching, {kept})
        story.write("alice", recording_restore(gone, [deleted.id]))
        await tell(site, log, story)
        await until_waiting(fetching, {kept, gone})
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
