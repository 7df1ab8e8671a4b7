"""Recordings that are open: chunk after chunk, by one site alone, until they are finalized. And names, which are used once."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from peer.api.editing_models import RecordingShown
from tests.integration.running_peer import DEADLINE_S, RunningPeer, running_peer
from tests.mcap_samples import write_mcap

RECORDINGS, GROUPS = "/api/v1/recordings", "/api/v1/sync/groups"


@pytest.fixture
async def peer(tmp_path: Path) -> AsyncIterator[RunningPeer]:
    async with running_peer(tmp_path / "data", "alpha") as running:
        await running.post(GROUPS, {"name": "lab"}, status=201)
        yield running


def mcap(path: Path, number: int, *, topics: int = 2) -> str:
    return str(write_mcap(path, messages=4, topics=topics, payload=f"{number} ".encode()))


async def begin(peer: RunningPeer, path: str, name: str = "run") -> str:
    added = await peer.post(RECORDINGS, {"paths": [path], "name": name, "open": True, "tags": ["long"]}, RecordingShown, status=201)
    assert (added["state"], added["finalized"], added["tags"]) == ("open", False, ["long"])
    return str(added["id"])


async def test_two_sites_see_chunk_after_chunk_and_the_end(peer: RunningPeer, tmp_path: Path) -> None:
    first, second, third = (mcap(tmp_path / f"run_{number}.mcap", number, topics=2 + number) for number in range(3))
    async with running_peer(tmp_path / "b", "beta", fetch="none") as other:
        invitation = await peer.post(f"{GROUPS}/lab/invitations", {"role": "writer"}, status=201)
        await other.post(f"{GROUPS}/join", {"invitation": invitation["invitation"]})
        run = await begin(peer, first)
        await other.until(f"{RECORDINGS}/{run}", lambda found: found.get("chunk_count") == 1 and found["state"] == "open")
        await other.post(f"{RECORDINGS}/{run}/fetch", {}, status=202)
        await other.until(f"{RECORDINGS}/{run}", lambda found: found["chunks"][0]["here"])

        await peer.post(f"{RECORDINGS}/{run}/chunks", {"paths": [second]}, RecordingShown, status=201)
        await other.until(f"{RECORDINGS}/{run}", lambda found: [each["here"] for each in found["chunks"]] == [True, True])
        refused = await other.post(f"{RECORDINGS}/{run}/chunks", {"paths": [third]}, status=403)
        assert refused["code"] == "not_allowed"
        assert (await other.post(f"{RECORDINGS}/{run}/finalize", {}, status=403))["code"] == "not_allowed"
        await peer.post(f"{RECORDINGS}/{run}/chunks", {"paths": [third]}, status=201)
        ended = await peer.post(f"{RECORDINGS}/{run}/finalize", {}, RecordingShown)

        assert (ended["state"], ended["manifest_state"], ended["chunk_count"], ended["late"]) == ("local", "complete", 3, [])
        seen = await other.until(f"{RECORDINGS}/{run}", lambda found: found["state"] == "local")
        assert (seen["manifest_id"], seen["topics"]) == (ended["manifest_id"], ended["topics"])
        async with asyncio.timeout(DEADLINE_S):
            while len(list((other.root / "recordings").glob("lab-*/run/*.mcap"))) != 3:  # noqa: ASYNC110  (what is waited for has no event of its own)
                await asyncio.sleep(0.01)


async def test_what_is_given_again_is_passed_over_and_the_order_stays(peer: RunningPeer, tmp_path: Path) -> None:
    """Whoever was interrupted does it again; a folder is given as often as it has grown."""
    bag = tmp_path / "run"
    bag.mkdir()
    run = await begin(peer, mcap(bag / "run_0.mcap", 0))
    for number in (1, 2, 10):
        mcap(bag / f"run_{number}.mcap", number)
        for _ in range(2):
            await peer.post(f"{RECORDINGS}/run/chunks", {"paths": [str(bag)]}, status=201)
    (bag / "metadata.yaml").write_text("a: b\n")
    for _ in range(2):
        await peer.post(f"{RECORDINGS}/run/chunks", {"paths": [str(bag)]}, status=201)

    shown = await peer.post(f"{RECORDINGS}/{run}/finalize", {}, RecordingShown)

    assert [(each["index"], each["source_name"]) for each in shown["chunks"]] == [
        (0, "run_0.mcap"),
        (1, "run_1.mcap"),
        (2, "run_2.mcap"),
        (3, "run_10.mcap"),
    ]
    assert [each["source_name"] for each in shown["attachments"]] == ["metadata.yaml"]
    assert shown["manifest_state"] == "complete"


async def test_nothing_is_added_after_the_end_or_to_what_is_gone(peer: RunningPeer, tmp_path: Path) -> None:
    first, second = mcap(tmp_path / "a.mcap", 1), mcap(tmp_path / "b.mcap", 2)
    run = await begin(peer, first)
    await peer.post(f"{RECORDINGS}/{run}/finalize", {}, RecordingShown)

    assert (await peer.post(f"{RECORDINGS}/{run}/chunks", {"paths": [second]}, status=409))["code"] == "recording_finalized"
    assert (await peer.post(f"{RECORDINGS}/{run}/finalize", {}, status=409))["code"] == "no_change"
    other = await begin(peer, second, "other")
    (tmp_path / "broken.mcap").write_bytes(Path(first).read_bytes()[:-9])
    broken = await peer.post(f"{RECORDINGS}/{other}/chunks", {"paths": [str(tmp_path / "broken.mcap")]}, status=400)
    assert broken["code"] == "mcap_truncated"
    await peer.call("DELETE", f"{RECORDINGS}/{other}")
    for path, body in ((f"{RECORDINGS}/{other}/chunks", {"paths": [first]}), (f"{RECORDINGS}/{other}/finalize", {})):
        assert (await peer.post(path, body, status=400))["code"] == "request_invalid"
    assert (await peer.post(f"{RECORDINGS}/nowhere/finalize", {}, status=404))["code"] == "not_found"


async def test_an_open_recording_goes_on_after_a_restart(tmp_path: Path) -> None:
    first, second = mcap(tmp_path / "a.mcap", 1), mcap(tmp_path / "b.mcap", 2)
    async with running_peer(tmp_path / "data", "alpha") as peer:
        await peer.post(GROUPS, {"name": "lab"}, status=201)
        run = await begin(peer, first)
    for path in (tmp_path / "data").glob("views.db*"):
        os.unlink(path)  # noqa: PTH108  (a database and what lies beside it)

    async with running_peer(tmp_path / "data", "alpha") as peer:
        await peer.post(f"{RECORDINGS}/{run}/chunks", {"paths": [first, second]}, status=201)
        ended = await peer.post(f"{RECORDINGS}/{run}/finalize", {}, RecordingShown)

    assert [(each["index"], each["source_name"]) for each in ended["chunks"]] == [(0, "a.mcap"), (1, "b.mcap")]
    assert ended["state"] == "local"


async def test_an_admin_ends_what_a_dead_site_left_open_and_only_then(peer: RunningPeer, tmp_path: Path) -> None:
    first = mcap(tmp_path / "a.mcap", 1)
    async with running_peer(tmp_path / "b", "beta") as robot:
        invitation = await peer.post(f"{GROUPS}/lab/invitations", {"role": "writer"}, status=201)
        await robot.post(f"{GROUPS}/join", {"invitation": invitation["invitation"]})
        run = await begin(robot, first)
        await peer.until(f"{RECORDINGS}/{run}", lambda found: found.get("chunk_count") == 1)

    refused = await peer.post(f"{RECORDINGS}/{run}/chunks", {"paths": [first]}, status=403)
    ended = await peer.post(f"{RECORDINGS}/{run}/finalize", {}, RecordingShown)

    assert refused["code"] == "not_allowed"
    assert (ended["finalized"], ended["manifest_state"]) == (True, "complete")


async def test_a_name_that_was_used_here_is_refused_and_nothing_is_overwritten(peer: RunningPeer, tmp_path: Path) -> None:
    """Case-folded, chosen or taken from the file, and deleted ones too."""
    first, second = mcap(tmp_path / "Drive.mcap", 1), mcap(tmp_path / "other.mcap", 2)
    added = await peer.post(RECORDINGS, {"paths": [first]}, RecordingShown, status=201)

    for order in ({"paths": [first]}, {"paths": [second], "name": "dRIVE"}, {"paths": [second], "name": "drive", "open": True}):
        assert (await peer.post(RECORDINGS, order, status=409))["code"] == "name_taken"
    await peer.call("DELETE", f"{RECORDINGS}/{added['id']}")
    assert (await peer.post(RECORDINGS, {"paths": [second], "name": "drive"}, status=409))["code"] == "name_taken"
    await peer.post(f"{RECORDINGS}/{added['id']}/restore", {})
    await peer.post(GROUPS, {"name": "field"}, status=201)
    await peer.post(RECORDINGS, {"paths": [second], "name": "drive", "group": "field"}, RecordingShown, status=201)

    assert sorted(each["name"] for each in (await peer.get(RECORDINGS))["recordings"]) == ["Drive", "drive"]


async def test_of_two_who_choose_one_name_at_once_one_gets_it(peer: RunningPeer, tmp_path: Path) -> None:
    paths = [mcap(tmp_path / f"{number}.mcap", number) for number in range(4)]

    async def add(path: str) -> int:
        async with peer.http.post(f"{peer.url}{RECORDINGS}", json={"paths": [path], "name": "run"}) as answer:
            await answer.read()
            return answer.status

    assert sorted(await asyncio.gather(*(add(path) for path in paths))) == [201, 409, 409, 409]
