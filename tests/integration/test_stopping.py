"""A peer that stops ends all its links, also where others dial it again meanwhile."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from peer.core.identity import BlobId
from peer.sync import messages
from tests.integration.hostile_peer import admit, hostile_peer
from tests.link_lab import DEADLINE_S, Lab, target
from tests.samples import key_pair


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    """Sites that end with the test."""
    async with AsyncExitStack() as stack:
        yield Lab(tmp_path, stack)


async def test_who_dials_again_while_others_are_seen_off_is_not_let_in(lab: Lab) -> None:
    """Alice ends all links; one has still something to read from her disk. Bob dials again meanwhile: his link would never end."""
    alice, bob = await lab.site("alice"), await lab.site("bob")
    group, mallory = await lab.found(alice), key_pair("mallory")
    await bob.links.join(await lab.invitation(alice, group))
    bob.links.set_targets([target(alice)])
    await admit(alice, group, mallory.peer_id)
    await lab.wait(lambda: alice.tips(group) == bob.tips(group))
    reading, may_end = asyncio.Event(), asyncio.Event()

    async def read_slowly(*_: object) -> bytes | None:
        reading.set()
        await may_end.wait()
        return None

    alice.links.read_blob = read_slowly
    async with hostile_peer(alice, mallory) as slow, asyncio.timeout(DEADLINE_S):
        await slow.hears(lambda message: isinstance(message, messages.Have))
        await slow.say(messages.BlobWant(1, group, BlobId(os.urandom(32)), 0, 100, relay=False))
        await reading.wait()
        dialled = bob.links._numbers
        stopping = asyncio.ensure_future(alice.stop())
        await lab.wait(lambda: bob.links._numbers > dialled)
        may_end.set()
        await stopping

    assert alice.links._connections == {}
