"""What a site gives under a limit: over plain HTTP, TLS and links. It takes as long as the limit says, at least, and cuts nobody off who reads."""

import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from peer.core.bandwidth import CATCH_UP_NS, NS_PER_S, SLICES_A_SECOND, read_timetable
from peer.core.byte_store import BlobFacts
from peer.transport import blob_routes
from peer.transport.blob_client import BlobClient
from peer.transport.tls import server_context
from tests.blob_site import GROUP, MEMBER, SERVER, STRANGER, Site, serving, write_file
from tests.integration.running_peer import RunningPeer, running_peer
from tests.integration.test_transfers import GROUPS, LIMIT, RECORDINGS, until
from tests.mcap_samples import write_mcap

RATE = 500_000
SIZE = 500_000
AT_ONCE = RATE // SLICES_A_SECOND + RATE * CATCH_UP_NS // NS_PER_S
SHORTEST_S = (SIZE - AT_ONCE) / RATE


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
async def site(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    members = {GROUP: [MEMBER.peer_id, STRANGER.peer_id]}
    async with serving(tmp_path / "served", members, tls=server_context(SERVER) if request.param else None) as served:
        yield served


@pytest.fixture
async def facts(site: Site, tmp_path: Path) -> BlobFacts:
    return await site.add(write_file(tmp_path / "source", SIZE))


async def read(site: Site, facts: BlobFacts, *, stranger: bool = False) -> float:
    """Read all of it; how long that took."""
    begun = time.monotonic()
    async with BlobClient(STRANGER if stranger else MEMBER, SERVER.peer_id, site.endpoint) as client:
        data = b"".join([part async for part in client.read(GROUP, facts.blob, 0, SIZE)])
    assert data == site.store.path(facts.blob).read_bytes()
    return time.monotonic() - begun


async def test_what_is_given_takes_as_long_as_the_limit_says_and_that_is_not_the_readers_fault(
    site: Site, facts: BlobFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.bandwidth.set(read_timetable(f"{RATE}:off"), {})
    monkeypatch.setattr(blob_routes, "SEND_TIMEOUT_S", SHORTEST_S / 2)
    monkeypatch.setattr(blob_routes, "SLOWEST_RATE", 100 * SIZE)
    assert await read(site, facts) >= SHORTEST_S


async def test_a_limit_for_one_member_holds_up_no_other(site: Site, facts: BlobFacts) -> None:
    site.bandwidth.set(None, {MEMBER.peer_id: read_timetable("10k:off")})
    assert await read(site, facts, stranger=True) < SIZE / 10_000 / 2


async def test_a_limit_holds_on_a_link_to_a_site_that_nobody_can_dial(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        settings: dict[str, object] = {"gossip": {"enabled": False}}
        taker = await stack.enter_async_context(running_peer(tmp_path / "taker", "taker", **settings))
        giver = await stack.enter_async_context(running_peer(tmp_path / "giver", "giver", listen="none", **settings))
        await taker.post(GROUPS, {"name": "lab"})
        made = await taker.post(f"{GROUPS}/lab/invitations", {"role": "writer", "expires_in_ms": 600_000})
        await giver.post(f"{GROUPS}/join", {"invitation": made["invitation"]})
        await giver.call("PATCH", LIMIT, json={"limit": f"{RATE}:off", "peer": "taker"})
        path = write_mcap(tmp_path / "one.mcap", messages=1, topics=1, payload=random.Random(1).randbytes(SIZE))
        begun = time.monotonic()
        added = await giver.post(RECORDINGS, {"paths": [str(path)], "group": "lab", "name": "one"})
        await until(lambda: _is_local(taker, added["id"]))
        assert time.monotonic() - begun >= (path.stat().st_size - AT_ONCE) / RATE


async def _is_local(peer: RunningPeer, recording: str) -> bool:
    return any(each["id"] == recording and each["state"] == "local" for each in (await peer.get(RECORDINGS))["recordings"])
