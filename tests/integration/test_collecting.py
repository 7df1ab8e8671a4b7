"""Which bytes of deleted recordings go, from events of chosen times to files: those that nothing keeps, and no others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest

from materializer.edits import group_set, recording_delete, recording_restore
from materializer.keeping import RecordingHold, RecordingRetain, recording_hold, recording_retain
from materializer.queries import FILES_OF_BLOB_MAX
from materializer.summaries import Summaries
from peer.core.byte_store import BlobFacts
from peer.core.identity import EventId
from peer.core.retention import DAY_NS, GRACE_NS
from peer.errors import ViewsBehindError
from peer.operations import collecting
from peer.operations.collecting import CLAIMS_MAX, Collecting, CollectingParts
from peer.operations.retention import Retention
from tests.histories import Story, chunk_body
from tests.integration.views_site import ViewsSite, running_views, tell
from tests.samples import START_MS, SampleLog

LATER_NS = START_MS * 1_000_000 + GRACE_NS + DAY_NS


class Lab(NamedTuple):
    """A site with a history, whose time a test sets."""

    site: ViewsSite
    log: SampleLog
    story: Story
    now_ns: list[int]
    collecting: Collecting

    async def recording(self, name: str, data: bytes) -> tuple[EventId, BlobFacts]:
        """One file, whose bytes came from elsewhere."""
        recording = self.story.create("alice", name)
        with (self.site.directory.root / "file").open("wb") as file:
            file.write(data)
        facts = await self.site.blobs.ingest(self.site.directory.root / "file", take="copy")
        self.story.add_chunk("alice", recording, **{key: value for key, value in facts._asdict().items() if key in chunk_body(recording)._fields})
        await self.tell()
        self.site.blobs._pins._blobs.clear()  # As after a restart.
        return recording, facts

    async def write(self, *drafts: Any) -> list[EventId]:
        written = [self.story.write("alice", draft).id for draft in drafts]
        await self.tell()
        return written

    async def tell(self) -> None:
        await tell(self.site, self.log, self.story)

    def here(self, facts: BlobFacts) -> tuple[bool, bool]:
        return self.site.blobs.path(facts.blob).exists(), self.site.blobs.path(facts.pieces).exists()


@asynccontextmanager
async def lab(root: Path) -> AsyncIterator[Lab]:
    async with running_views(root) as site:
        log, story, now_ns = SampleLog("alice"), Story(), [LATER_NS]
        story.logs["alice"] = log
        retention = Retention(site.views, lambda: site.store.position, lambda: now_ns[0])
        groups = site.store.replica.groups
        parts = CollectingParts(
            site.store.replica, lambda: list(groups), site.views, Summaries(site.database), cast("Any", site.views), site.blobs, retention
        )
        yield Lab(site, log, story, now_ns, Collecting(parts, lambda *_: None))


async def test_bytes_go_when_the_grace_is_over_and_come_to_no_harm_before(tmp_path: Path) -> None:
    async with lab(tmp_path) as lab_:
        kept, kept_facts = await lab_.recording("kept", b"kept" * 1000)
        gone, gone_facts = await lab_.recording("gone", b"gone" * 1000)
        assert await lab_.collecting.now() == 0
        await lab_.write(recording_delete(gone))
        view = await lab_.site.views.recording(next(iter(lab_.site.store.replica.groups)), gone)
        assert view is not None
        assert view.deleted_hlc is not None
        end_ns = (view.deleted_hlc >> 16) * 1_000_000 + GRACE_NS
        lab_.now_ns[0] = end_ns - 1
        assert await lab_.collecting.now() == 0
        assert lab_.here(gone_facts) == (True, True)
        lab_.now_ns[0] = end_ns
        assert await lab_.collecting.now() == 2
        assert (lab_.here(gone_facts), lab_.here(kept_facts)) == ((False, False), (True, True))
        assert await lab_.collecting.now() == 0
        assert kept != gone
        assert [each.value for each in lab_.collecting.counts()] == [2]


@pytest.mark.parametrize(
    "keep",
    [
        lambda rec, _: [recording_hold(RecordingHold(rec, held=True, reason="crash"))],
        lambda rec, _: [recording_retain(RecordingRetain(rec, "permanent", None, "museum"))],
        lambda rec, _: [recording_retain(RecordingRetain(rec, "raw", LATER_NS + 1, "law"))],
        lambda _rec, _: [group_set("retention", "permanent")],
        lambda rec, deletion: [recording_restore(rec, [deletion])],
    ],
    ids=["held", "permanent", "until", "of the group", "restored"],
)
async def test_what_keeps_a_recording_keeps_its_bytes_and_when_it_ends_they_go(tmp_path: Path, keep: Any) -> None:
    async with lab(tmp_path) as lab_:
        recording, facts = await lab_.recording("run", b"run" * 1000)
        (deletion,) = await lab_.write(recording_delete(recording))
        drafts = keep(recording, deletion)
        written = await lab_.write(*drafts)
        assert await lab_.collecting.now() == 0
        assert lab_.here(facts) == (True, True)
        ends = {
            "recording.hold": lambda: recording_hold(RecordingHold(recording, held=False, reason=""), written),
            "recording.retain": lambda: recording_retain(RecordingRetain(recording, "transient", None, "no longer"), written),
            "group.set": lambda: group_set("retention", "", written),
            "recording.restore": lambda: recording_delete(recording, written),
        }
        await lab_.write(ends[drafts[0].type]())
        assert await lab_.collecting.now() == 2
        assert lab_.here(facts) == (False, False)


async def test_bytes_that_a_recording_shares_stay_until_it_is_deleted_as_well(tmp_path: Path) -> None:
    async with lab(tmp_path) as lab_:
        one, facts = await lab_.recording("one", b"same" * 1000)
        two, again = await lab_.recording("two", b"same" * 1000)
        assert facts == again
        await lab_.write(recording_delete(one))
        assert await lab_.collecting.now() == 0
        assert lab_.here(facts) == (True, True)
        await lab_.write(recording_delete(two))
        assert await lab_.collecting.now() == 2
        assert lab_.here(facts) == (False, False)


async def test_what_is_added_again_at_this_moment_stays(tmp_path: Path) -> None:
    async with lab(tmp_path) as lab_:
        recording, facts = await lab_.recording("run", b"run" * 1000)
        await lab_.write(recording_delete(recording))
        await lab_.site.blobs.ingest(lab_.site.directory.root / "file", take="copy")
        assert await lab_.collecting.now() == 0
        assert lab_.here(facts) == (True, True)


async def test_of_more_claims_than_are_told_of_one_may_be_alive(tmp_path: Path) -> None:
    assert CLAIMS_MAX == FILES_OF_BLOB_MAX
    async with lab(tmp_path) as lab_:
        found = [await lab_.recording(f"run-{number}", b"same" * 1000) for number in range(CLAIMS_MAX + 1)]
        facts = found[0][1]
        await lab_.write(*(recording_delete(recording) for recording, _ in found[:CLAIMS_MAX]))
        assert await lab_.collecting.now() == 0
        assert lab_.here(facts) == (True, True)


async def test_nothing_goes_while_the_tables_are_behind_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hold may be among what they lack."""
    monkeypatch.setattr("peer.operations.retention.CATCH_UP_S", 0.05)
    async with lab(tmp_path) as lab_:
        recording, facts = await lab_.recording("run", b"run" * 1000)
        await lab_.write(recording_delete(recording))

        async def never(_position: int) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr(lab_.site.views, "reached", never)
        with pytest.raises(ViewsBehindError):
            await lab_.collecting.now()
        assert lab_.here(facts) == (True, True)


async def test_it_looks_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "FIRST_S", 0.01)
    monkeypatch.setattr(collecting, "LOOK_S", 0.01)
    async with lab(tmp_path) as lab_:
        recording, facts = await lab_.recording("run", b"run" * 1000)
        await lab_.write(recording_delete(recording))
        running = asyncio.create_task(lab_.collecting.run())
        async with asyncio.timeout(30):
            while lab_.here(facts) != (False, False):  # noqa: ASYNC110  (it tells nobody)
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_bytes_stay_that_a_recording_has_of_which_events_come_at_this_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with lab(tmp_path) as lab_:
        recording, facts = await lab_.recording("run", b"run" * 1000)
        await lab_.write(recording_delete(recording))
        caught_up, calls = Retention.caught_up, 0

        async def come_before_the_last_look(self: Retention) -> None:
            nonlocal calls
            calls += 1
            if calls == 2:
                await lab_.recording("again", b"run" * 1000)
            await caught_up(self)

        monkeypatch.setattr(Retention, "caught_up", come_before_the_last_look)
        assert await lab_.collecting.now() == 0
        assert calls == 2
        assert lab_.here(facts) == (True, True)
