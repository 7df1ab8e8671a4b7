"""Dropping copies, between real sites: nobody drops what too few others prove that they hold, however it is asked for."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from peer.api.drop_models import RecordingDropped
from tests.integration.running_peer import RunningPeer, running_peer
from tests.mcap_samples import write_mcap

GROUPS = "/api/v1/sync/groups"
RECORDINGS = "/api/v1/recordings"
RUN = f"{RECORDINGS}/run"
DROP = f"{RUN}/drop"
Peers = dict[str, RunningPeer]


async def join(owner: RunningPeer, *others: RunningPeer) -> None:
    """All of them in one group."""
    await owner.post(GROUPS, {"name": "lab"})
    for peer in others:
        made = await owner.post(f"{GROUPS}/lab/invitations", {"role": "writer", "expires_in_ms": 600_000})
        await peer.post(f"{GROUPS}/join", {"invitation": made["invitation"]})
    for peer in (owner, *others):
        await peer.until("/api/v1/status", lambda status: len([link for link in status["links"] if link["state"] == "up_to_date"]) == len(others))


async def wants(peer: RunningPeer, copies: int) -> None:
    await peer.call("PATCH", f"{GROUPS}/lab/settings", json={"key": "min_copies", "value": copies})


@pytest.fixture
async def peers(tmp_path: Path) -> AsyncIterator[Peers]:
    """Three sites with a copy each of a recording of which two are to stay."""
    async with AsyncExitStack() as stack:
        found = {}
        for name in ("alpha", "beta", "gamma"):
            found[name] = await stack.enter_async_context(running_peer(tmp_path / name, name, receipt_delay=0.05, take_copies=False))
        await join(*found.values())
        await wants(found["alpha"], 2)
        paths = [str(write_mcap(tmp_path / f"run_{number}.mcap", payload=b"%d" % number)) for number in range(3)]
        await found["alpha"].post(RECORDINGS, {"paths": paths, "name": "run"}, status=201)
        for peer in found.values():
            await peer.until(RUN, lambda shown: shown["copies"] == 3 and shown["state"] == "local")
        yield found


async def drop(peer: RunningPeer, *, dry_run: bool = False) -> tuple[int, Any]:
    async with peer.http.post(f"{peer.url}{DROP}", json={"dry_run": dry_run}) as answer:
        document = await answer.json(content_type=None)
        if answer.status == 200:
            RecordingDropped.model_validate(document)
        return answer.status, document


def blobs(peer: RunningPeer) -> list[Path]:
    return [path for path in (peer.root / "blobs").glob("??/??/*") if path.is_file()]


async def test_a_copy_goes_when_enough_others_prove_theirs_and_comes_back_when_somebody_asks(peers: Peers) -> None:
    alpha, beta, gamma = peers.values()
    size = (await alpha.get(RUN))["size_bytes"]

    status, tried = await drop(alpha, dry_run=True)
    assert (status, tried["dropped_bytes"], tried["state"]) == (200, size, "local")
    status, dropped = await drop(alpha)

    assert (status, dropped["dropped_bytes"], dropped["state"], dropped["bytes_here"]) == (200, size, "remote", 0)
    assert {each["name"] for each in dropped["proven"]} == {"beta", "gamma"}
    assert not blobs(alpha)
    assert not list((alpha.root / "recordings").rglob("*.mcap"))
    for peer in peers.values():
        shown = await peer.until(RUN, lambda shown: shown["copies"] == 2)
        assert {each["name"] for each in shown["replicas"]} == {"beta", "gamma"}

    for peer in (beta, gamma):
        status, refused = await drop(peer)
        assert (status, refused["code"]) == (409, "too_few_copies"), refused
        assert (await peer.get(RUN))["state"] == "local"
    await alpha.post(f"{RUN}/fetch")
    for peer in peers.values():
        await peer.until(RUN, lambda shown: shown["copies"] == 3)
    assert (await alpha.get(RUN))["state"] == "local"
