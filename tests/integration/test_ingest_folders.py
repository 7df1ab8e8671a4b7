"""Paths of the peer's machine in requests: what a token that came from elsewhere may name."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from peer.api.models import RecordingDetails
from peer.cli.sample import write_sample
from tests.integration.running_peer import RunningPeer, running_peer

RECORDINGS, TOKENS = "/api/v1/recordings", "/api/v1/tokens"


@pytest.fixture
def ingest(tmp_path: Path) -> Path:
    folder = tmp_path / "ingest"
    (folder / "drive").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    for path in (folder / "a.mcap", folder / "drive" / "drive_0.mcap", tmp_path / "outside" / "b.mcap"):
        write_sample(path, 64 * 1024, 1)
    (tmp_path / "outside" / "private.yaml").write_text("password: 12345\n")
    return folder


@pytest.fixture
async def peer(tmp_path: Path, ingest: Path) -> AsyncIterator[RunningPeer]:
    settings: dict[str, Any] = {"ingest_folders": [str(ingest)]}
    async with running_peer(tmp_path / "data", "alpha", **settings) as running:
        await running.post("/api/v1/sync/groups", {"name": "lab"}, status=201)
        yield running


async def bearer(peer: RunningPeer, tier: str) -> dict[str, str]:
    made = await peer.post(TOKENS, {"name": tier, "tier": tier}, status=201)
    return {"Authorization": f"Bearer {made['token']}"}


async def test_an_admin_adds_from_an_ingest_folder(peer: RunningPeer, ingest: Path) -> None:
    headers = await bearer(peer, "admin")

    for path, name in ((ingest / "a.mcap", "a"), (ingest / "drive", "drive")):
        added = await peer.post(RECORDINGS, {"paths": [str(path)]}, RecordingDetails, headers=headers, status=201)
        assert (added["name"], added["state"]) == (name, "local")


@pytest.mark.parametrize("take", ["copy", "link", "move"])
async def test_nothing_outside_is_read_or_moved(peer: RunningPeer, ingest: Path, take: str) -> None:
    outside = ingest.parent / "outside"
    (ingest / "drive" / "metadata.yaml").symlink_to(outside / "private.yaml")
    (ingest / "b.mcap").symlink_to(outside / "b.mcap")
    headers = await bearer(peer, "admin")
    own = peer.root / "blobs"

    for paths in (
        [outside / "b.mcap"],
        [ingest / "a.mcap", outside / "b.mcap"],
        [ingest / "b.mcap"],
        [ingest / "drive"],
        [f"{ingest}/../outside/b.mcap"],
        [own],
        ["/"],
    ):
        order = {"paths": [str(path) for path in paths], "take": take}
        assert (await peer.post(RECORDINGS, order, headers=headers, status=403))["code"] == "path_not_allowed", paths

    assert (await peer.get(RECORDINGS))["recordings"] == []
    assert (outside / "b.mcap").exists()
    assert (ingest / "a.mcap").exists()
    assert not [path for path in own.rglob("*") if path.is_file()]


async def test_an_operator_names_no_path_and_the_own_token_any(peer: RunningPeer, ingest: Path) -> None:
    headers = await bearer(peer, "operator")

    refused = await peer.post(RECORDINGS, {"paths": [str(ingest / "a.mcap")]}, headers=headers, status=403)
    await peer.post(RECORDINGS, {"paths": [str(ingest.parent / "outside" / "b.mcap")]}, RecordingDetails, status=201)

    assert refused["code"] == "path_not_allowed"
    assert "operator" in refused["detail"]


async def test_a_path_that_is_not_allowed_tells_nothing_of_what_is_there(peer: RunningPeer, ingest: Path) -> None:
    headers = await bearer(peer, "admin")

    there, missing, closed = [
        await peer.post(RECORDINGS, {"paths": [path]}, headers=headers, status=403)
        for path in (str(ingest.parent / "outside" / "b.mcap"), str(ingest.parent / "outside" / "c.mcap"), "/proc/1/cwd/x")
    ]

    assert there == missing == closed


async def test_a_path_with_nul_is_refused_whoever_asks(peer: RunningPeer, ingest: Path) -> None:
    for headers in (None, await bearer(peer, "admin")):
        problem = await peer.post(RECORDINGS, {"paths": [f"{ingest}/a\0.mcap"]}, headers=headers, status=400)
        assert problem["code"] == "request_invalid"
