"""Summaries in the real views: made before anybody asks, gone with what they were made of, and right while events pour in."""

import asyncio
from pathlib import Path

from materializer.summaries import Summaries
from materializer.summarizing import Summarizing
from peer.core.finding import RecordingQuery, summarize
from peer.core.run import sign_run
from tests.histories import Story
from tests.integration.views_site import ViewsSite, running_views
from tests.samples import GROUP

DEADLINE_S = 60.0


async def store(site: ViewsSite, story: Story, start: int = 0) -> None:
    """Let the log of the site hold what people wrote."""
    for stored in story.events[start:]:
        log = next(log for log in story.logs.values() if log.certificate.log == stored.event.header.log)
        await site.store.append(log.certificate, sign_run(log.key, [stored.event]))
    await site.materializer.reached(site.store.position)


async def count(site: ViewsSite) -> int:
    rows = await site.database.fetch("SELECT count(*) FROM summaries")
    return int(str(rows[0][0]))


async def test_summaries_are_made_ahead_once_nothing_changes_any_more(tmp_path: Path) -> None:
    story = Story()
    recordings = [story.create("alice", f"run-{number}") for number in range(20)]
    async with running_views(tmp_path) as site:
        summaries = Summaries(site.database)
        making = asyncio.create_task(Summarizing(summaries, lambda: [GROUP], may_make=lambda: True).run(site.materializer.subscribe))
        await store(site, story)
        async with asyncio.timeout(DEADLINE_S):
            while await count(site) < len(recordings):  # noqa: ASYNC110  (a database tells nobody)
                await asyncio.sleep(0.05)
        making.cancel()
        await asyncio.gather(making, return_exceptions=True)

        before = len(story.events)
        story.add_chunk("alice", recordings[3])
        await store(site, story, before)
        assert await count(site) == len(recordings) - 1, "what changed is gone in the same transaction"
        await site.materializer.rebuild()
        assert await count(site) == 0, "numbers of rows begin anew"


async def test_a_list_is_whole_while_events_pour_in(tmp_path: Path) -> None:
    """What is there all the time is in every list, however often its summary is taken away in between."""
    story = Story()
    recordings = [story.create("alice", f"run-{number}") for number in range(10)]
    async with running_views(tmp_path) as site:
        await store(site, story)
        summaries, before = Summaries(site.database), len(story.events)
        for index in range(40):
            for recording in recordings:
                story.add_chunk("alice", recording, index)
        writing = asyncio.create_task(store(site, story, before))
        lists = 0
        while not writing.done():
            found = await summaries.find(RecordingQuery([GROUP]), None, 100)
            assert {each.summary.recording for each in found} == set(recordings)
            lists += 1
        await writing
        assert lists >= 3

        found = await summaries.find(RecordingQuery([GROUP], order="name"), None, 100)
        views = {view.recording: view for view in await site.views.recordings([GROUP])}
        assert [each.summary for each in found] == [
            summarize(views[recording]) for recording in sorted(recordings, key=lambda each: views[each].name)
        ]
        files = await summaries.files([GROUP], recordings[:2])
        assert [[file.blob for file in files[each]] for each in recordings[:2]] == [
            [chunk.blob for chunk in views[each].chunks] for each in recordings[:2]
        ]


async def test_a_reference_finds_names_and_the_first_digits_of_ids(tmp_path: Path) -> None:
    story = Story()
    first, second = story.create("alice", "Run"), story.create("alice", "other")
    async with running_views(tmp_path) as site:
        await store(site, story)
        summaries = Summaries(site.database)

        assert [each for _, each, _ in await summaries.named([GROUP], "RUN")] == [first]
        for digits in (6, 15, 16, 17, 64):
            assert second in [each for _, each, _ in await summaries.named([GROUP], second.hex()[:digits])]
        assert await summaries.named([GROUP], "x\x00'\"%") == []
        assert await summaries.named([], "run") == []
