"""Lists of a running peer: filters, orders, pages that stay right while recordings come and go, and where the bytes are."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from peer.api.models import RecordingDetails, RecordingPage
from peer.cli.sample import write_sample
from peer.core.identity import BlobId
from peer.core.orders import ORDERS
from peer.store.directory import DataDirectory
from tests.integration.running_peer import RunningPeer, running_peer

GROUPS, RECORDINGS = "/api/v1/sync/groups", "/api/v1/recordings"


@pytest.fixture
async def peer(tmp_path: Path) -> AsyncIterator[RunningPeer]:
    """With three recordings of different sizes: large, Middle, small."""
    async with running_peer(tmp_path / "alpha", "alpha") as peer:
        await peer.post(GROUPS, {"name": "lab"})
        for number, (name, size) in enumerate((("large", 300_000), ("Middle", 200_000), ("small", 100_000))):
            write_sample(tmp_path / f"{number}.mcap", size, number)
            await peer.post(RECORDINGS, {"paths": [str(tmp_path / f"{number}.mcap")], "name": name, "machine": f"r{number}"})
        yield peer


async def names(peer: RunningPeer, query: str = "") -> list[str]:
    return [each["name"] for each in (await peer.get(f"{RECORDINGS}?{query}", RecordingPage))["recordings"]]


async def test_lists_come_in_the_order_that_is_asked_for(peer: RunningPeer) -> None:
    assert await names(peer) == await names(peer, "sort=created") == ["small", "Middle", "large"]
    assert await names(peer, "sort=size") == await names(peer, "sort=messages") == ["large", "Middle", "small"]
    assert await names(peer, "sort=name") == ["large", "Middle", "small"], "capitals make no difference"
    assert await names(peer, "sort=size&reverse=1") == ["small", "Middle", "large"]
    assert sorted(await names(peer, "sort=site")) == ["Middle", "large", "small"]


async def test_a_topic_may_have_wildcards_and_nothing_else_is_special(peer: RunningPeer) -> None:
    topics = {topic["topic"] for topic in (await peer.get(f"{RECORDINGS}/small", RecordingDetails))["topics"]}
    assert "/camera" in topics
    for topic in ("/cam*", "*mera", "/c*e*a", "*"):
        assert len(await names(peer, f"topic={topic}")) == 3
    for topic in ("/Cam*", "/camer?", "/[c]amera", "camera", "cam*"):
        assert await names(peer, f"topic={topic}") == []
    assert (await peer.get(f"{RECORDINGS}?topic=*a*b*c*d*e", status=400))["code"] == "request_invalid"


async def test_pages_stay_right_while_recordings_come_and_go(peer: RunningPeer, tmp_path: Path) -> None:
    """What was there all the time is listed once; what came or went meanwhile at most once."""
    write_sample(tmp_path / "new.mcap", 150_000, 9)
    for order in ORDERS:
        before = await names(peer, f"sort={order}")
        page = await peer.get(f"{RECORDINGS}?sort={order}&limit=1", RecordingPage)
        seen = [first] = page["recordings"]
        await peer.call("DELETE", f"{RECORDINGS}/{first['id']}")
        new = await peer.post(RECORDINGS, {"paths": [str(tmp_path / "new.mcap")], "name": f"new-{order}"})
        while page["next"] is not None:
            page = await peer.get(f"{RECORDINGS}?sort={order}&limit=1&cursor={page['next']}", RecordingPage)
            seen = [*seen, *page["recordings"]]

        found = [each["name"] for each in seen]
        assert [name for name in found if name != new["name"]] == before
        assert found.count(new["name"]) <= 1
        await peer.post(f"{RECORDINGS}/{first['id']}/restore")


async def test_a_cursor_of_another_order_is_one_clear_error(peer: RunningPeer) -> None:
    cursor = (await peer.get(f"{RECORDINGS}?sort=size&limit=1", RecordingPage))["next"]

    assert len(await names(peer, f"sort=size&cursor={cursor}")) == 2
    for query in (
        f"cursor={cursor}",
        f"sort=name&cursor={cursor}",
        f"sort=size&reverse=1&cursor={cursor}",
        "cursor=xyz",
        "cursor=00",
        "cursor=" + "ab" * 3000,
        "sort=colour",
    ):
        assert (await peer.get(f"{RECORDINGS}?{query}", status=400))["code"] == "request_invalid", query


async def test_a_recording_is_corrupt_from_when_damage_is_found_until_it_is_mended(peer: RunningPeer) -> None:
    blob = (await peer.get(f"{RECORDINGS}/small", RecordingDetails))["chunks"][0]["blob_id"]
    path = DataDirectory(peer.root).blobs / blob[:2] / blob[2:4] / blob
    sound = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(bytes(8) + sound[8:])
    assert await names(peer, "state=local&sort=name") == ["large", "Middle", "small"], "nobody has looked yet"
    assert not (await peer.post("/api/v1/verify", {"deep": True}))["ok"]
    assert await names(peer, "state=corrupt") == ["small"]
    shown = await peer.get(f"{RECORDINGS}/small", RecordingDetails)
    assert (shown["state"], shown["bytes_here"], shown["copies"]) == ("corrupt", 0, 0)
    path.write_bytes(sound)
    assert (await peer.post("/api/v1/verify", {"deep": True}))["ok"]
    assert await names(peer, "state=local&sort=name") == ["large", "Middle", "small"]


async def test_states_follow_the_bytes_as_they_come_and_go(peer: RunningPeer, tmp_path: Path) -> None:
    """What was remembered of where bytes are is looked for again."""
    async with running_peer(tmp_path / "beta", "beta") as beta:
        made = await peer.post(f"{GROUPS}/lab/invitations", {})
        await beta.post(f"{GROUPS}/join", {"invitation": made["invitation"]})
        await beta.until(f"{RECORDINGS}?state=local", lambda page: len(page["recordings"]) == 3)
        assert await names(beta, "state=remote") == []

    recording = await peer.get(f"{RECORDINGS}/small", RecordingDetails)
    assert await names(peer, "state=local&limit=1&sort=name") == ["large"]
    _blob(peer, recording).unlink()
    shown = await peer.get(f"{RECORDINGS}/small", RecordingDetails)
    assert (shown["state"], shown["bytes_here"]) == ("missing", 0)


async def test_one_recording_says_in_a_list_what_it_says_alone(peer: RunningPeer) -> None:
    await peer.post(f"{RECORDINGS}/small/tags", {"add": ["rain"]})
    (listed,) = (await peer.get(f"{RECORDINGS}?tag=rain", RecordingPage))["recordings"]
    alone: dict[str, Any] = await peer.get(f"{RECORDINGS}/small", RecordingDetails)

    assert listed == {key: alone[key] for key in listed}
    assert await names(peer, "tag=rain&machine=r2&site=alpha&text=SMALL&state=local&group=lab") == ["small"]


def _blob(peer: RunningPeer, recording: dict[str, Any]) -> Path:
    blob = BlobId(bytes.fromhex(recording["chunks"][0]["blob_id"])).hex()
    return DataDirectory(peer.root).blobs / blob[:2] / blob[2:4] / blob
