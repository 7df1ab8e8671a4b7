"""Dialling: what becomes of each address, and who hears of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from peer.core.identity import PeerId
from peer.core.neighbours import NoNeighbours
from tests.link_lab import Lab, target


class Tried(NoNeighbours):
    """Remembers what was dialled."""

    def __init__(self) -> None:
        self.found: list[tuple[PeerId, str, str | None]] = []

    def tried(self, peer: PeerId, endpoint: str, code: str | None) -> None:
        """One more."""
        self.found.append((peer, endpoint, code))


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    """Sites that end with the test."""
    async with contextlib.AsyncExitStack() as stack:
        yield Lab(tmp_path, stack)


async def silent_port() -> int:
    """A port where nobody listens."""
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port = int(server.sockets[0].getsockname()[1])
    server.close()
    await server.wait_closed()
    return port


async def test_who_looks_after_neighbours_hears_what_became_of_each_address(lab: Lab) -> None:
    """An address where nobody is, and one where somebody else is, each with a code; none for the address where the peer proved itself."""
    tried = Tried()
    a, b, c = await lab.site("a", neighbours=tried), await lab.site("b"), await lab.site("c")
    group = await lab.found(a)
    await b.links.join(await lab.invitation(a, group))
    b.hang_up()
    dead = f"http://127.0.0.1:{await silent_port()}"
    a.links.set_targets([replace(target(b), endpoints=(dead, c.endpoint, b.endpoint))])
    await lab.wait(lambda: len(tried.found) >= 3)

    peer = b.key.peer_id
    assert tried.found[:3] == [(peer, dead, "unreachable"), (peer, c.endpoint, "handshake_failed"), (peer, b.endpoint, None)]
    assert a.links.is_linked(peer)


async def test_an_address_counts_as_good_as_soon_as_the_peer_has_proved_itself_there(lab: Lab) -> None:
    """Not only when the link ends, which may be next year; nor is an end of it a failure of the address."""
    tried = Tried()
    a, b = await lab.site("a"), await lab.site("b", neighbours=tried)
    group = await lab.found(a)
    await b.links.join(await lab.invitation(a, group))

    assert tried.found == [(a.key.peer_id, a.endpoint, None)]
    b.links.set_targets([target(a)])
    a.hang_up()
    await lab.wait(lambda: len(tried.found) == 2)
    assert tried.found[1] == tried.found[0]
