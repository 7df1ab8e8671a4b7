"""What keeps a recording, through the admin API of a running peer: holds, and how long it is to be kept."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from materializer.edits import recording_delete
from materializer.keeping import RecordingHold, recording_hold
from peer.api.editing_models import RecordingShown
from peer.api.member_models import Setting
from peer.api.models import Group, RecordingPage
from peer.api.retention_models import Keeping
from peer.cli.sample import write_sample
from peer.core.identity import EventId
from peer.core.views import RecordingView
from tests.histories import Story
from tests.integration.running_peer import RunningPeer, running_peer
from tests.integration.views_site import ViewsSite, running_views, tell
from tests.samples import GROUP, SampleLog

GROUPS, RECORDINGS = "/api/v1/sync/groups", "/api/v1/recordings"
ONE = f"{RECORDINGS}/run_0"
KEEP = f"{ONE}/retention"
DAY_NS = 24 * 3600 * 10**9


@asynccontextmanager
async def with_one(tmp_path: Path) -> AsyncIterator[RunningPeer]:
    """A peer with one recording."""
    async with running_peer(tmp_path / "data", "alpha") as running:
        bag = tmp_path / "run_0.mcap"
        write_sample(bag, 64 * 1024, time.time_ns())
        await running.post(GROUPS, {"name": "lab"}, Group, status=201)
        await running.post(RECORDINGS, {"paths": [str(bag)]}, RecordingShown, status=201)
        yield running


@pytest.fixture
async def peer(tmp_path: Path) -> AsyncIterator[RunningPeer]:
    async with with_one(tmp_path) as running:
        yield running


async def test_a_hold_stops_a_deletion_until_it_is_lifted(peer: RunningPeer) -> None:
    held = await peer.post(KEEP, {"hold": True, "reason": "crash on the stairs", "person": "ann"}, RecordingShown)
    assert (held["hold"]["reason"], held["hold"]["by"]["person"], held["hold"]["by"]["site"]) == ("crash on the stairs", "ann", "alpha")
    refused = await peer.call("DELETE", ONE, status=409)
    assert (refused["code"], "crash on the stairs" in refused["detail"], "ann at alpha" in refused["detail"]) == ("recording_held", True, True)
    assert "unhold" in refused["fix"]
    again = await peer.post(KEEP, {"hold": True, "reason": "crash on the stairs"}, status=409)
    assert again["code"] == "no_change"
    free = await peer.post(KEEP, {"hold": False}, RecordingShown)
    assert free["hold"] is None
    assert (await peer.post(KEEP, {"hold": False}, status=409))["code"] == "no_change"
    assert (await peer.call("DELETE", ONE, model=RecordingShown, status=200))["deleted"] is True


async def test_only_a_retention_that_ran_out_allows_a_deletion(peer: RunningPeer) -> None:
    assert (await peer.get(KEEP, Keeping))["retention"] == {
        "class": None,
        "until_ns": None,
        "until": None,
        "reason": "",
        "of_group": False,
        "has_run_out": True,
    }
    await peer.call("PATCH", f"{GROUPS}/lab/settings", json={"key": "retention", "value": "raw"}, model=Setting)
    refused = await peer.call("DELETE", ONE, status=409)
    assert (refused["code"], "its group says so" in refused["detail"]) == ("recording_retained", True)
    end = time.time_ns() + 5 * 365 * DAY_NS
    kept = await peer.post(KEEP, {"class": "reference", "until_ns": str(end), "reason": "paper"}, RecordingShown)
    assert (kept["retention"]["class"], kept["retention"]["until_ns"], kept["retention"]["of_group"]) == ("reference", str(end), False)
    for shorter in (end, end - DAY_NS):
        refused = await peer.post(KEEP, {"class": "reference", "until_ns": str(shorter), "reason": "less"}, status=400)
        assert "longer already" in refused["detail"]
    extended = await peer.post(KEEP, {"class": "reference", "until_ns": str(end + DAY_NS), "reason": "more"}, RecordingShown)
    assert extended["retention"]["until_ns"] == str(end + DAY_NS)
    assert (await peer.call("DELETE", ONE, status=409))["code"] == "recording_retained"
    back = await peer.post(KEEP, {"class": "default", "reason": "as the others"}, RecordingShown)
    assert (back["retention"]["class"], back["retention"]["of_group"]) == ("raw", True)
    assert (await peer.call("DELETE", ONE, status=409))["code"] == "recording_retained"
    done = await peer.post(KEEP, {"class": "transient", "reason": "nothing in it"}, RecordingShown)
    assert done["retention"]["has_run_out"] is True
    assert (await peer.call("DELETE", ONE, model=RecordingShown, status=200))["deleted"] is True


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"hold": True},
        {"hold": True, "reason": " "},
        {"hold": True, "class": "raw", "reason": "x"},
        {"hold": True, "reason": "a\nb"},
        {"hold": True, "reason": "x", "until_ns": "9"},
        {"class": "raw"},
        {"class": "Raw", "reason": "x"},
        {"class": "raw", "reason": "x", "until_ns": "1"},
        {"class": "raw", "reason": "x", "until_ns": 1},
        {"class": "permanent", "reason": "x", "until_ns": "9" * 18},
        {"class": "default", "reason": "x", "until_ns": "9" * 18},
    ],
)
async def test_what_makes_no_sense_is_refused_and_writes_nothing(peer: RunningPeer, body: dict[str, object]) -> None:
    before = (await peer.get(f"{GROUPS}/lab"))["events"]
    assert (await peer.post(KEEP, body, status=400))["code"] == "request_invalid"
    assert (await peer.get(f"{GROUPS}/lab"))["events"] == before


async def view_of(site: ViewsSite, recording: EventId) -> RecordingView:
    found = await site.views.recording(GROUP, recording)
    assert found is not None
    return found


async def test_a_hold_wins_over_a_deletion_that_knew_nothing_of_it_whoever_came_first(tmp_path: Path) -> None:
    """A site that was away deletes what others hold meanwhile: it stays shown and wanted everywhere, and goes when the hold is lifted."""
    for number, order in enumerate((1, -1)):
        async with running_views(tmp_path / str(number)) as site:
            log, story = SampleLog("alice"), Story()
            story.logs["alice"] = log
            recording = story.create("alice", "run")
            story.add_chunk("alice", recording)
            await tell(site, log, story)
            writes = [recording_delete(recording), recording_hold(RecordingHold(recording, held=True, reason="crash"))][::order]
            written = [story.write("alice", draft) for draft in writes]
            await tell(site, log, story)
            view = await view_of(site, recording)
            assert (view.deleted, view.deleted_hlc is not None, view.hold is not None) == (False, True, True)
            assert [each.recording for each in await site.views.wanted_blobs(GROUP)] == [recording]
            assert [each.recording for each in await site.views.wanted_blobs(GROUP, [recording])] == [recording]
            assert [each.recording for each in await site.views.recordings([GROUP])] == [recording]
            hold = next(event.id for event in written if event.header.type == "recording.hold")
            story.write("alice", recording_hold(RecordingHold(recording, held=False, reason=""), [hold]))
            await tell(site, log, story)
            assert (await view_of(site, recording)).deleted
            assert await site.views.wanted_blobs(GROUP) == []
            assert await site.views.recordings([GROUP]) == []


async def test_lists_show_what_is_held_although_it_was_deleted(peer: RunningPeer) -> None:
    found = await peer.call("DELETE", ONE, model=RecordingShown, status=200)
    by_id = f"{RECORDINGS}/{found['id']}"
    await peer.post(f"{by_id}/retention", {"hold": True, "reason": "wait"}, RecordingShown)
    assert [each["name"] for each in (await peer.get(RECORDINGS, RecordingPage))["recordings"]] == ["run_0"]
    assert (await peer.get(ONE, RecordingShown))["deleted"] is False
    assert (await peer.call("DELETE", ONE, status=409))["code"] == "recording_held"
    await peer.post(f"{ONE}/restore", model=RecordingShown)
    assert (await peer.post(KEEP, {"hold": False}, RecordingShown))["deleted"] is False, "restored while it was held"
