"""A peer that stops ends all its links, also where others dial it again meanwhile."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from peer.core.identity import BlobId
from peer.core.relaying import WantedPart
from peer.errors import TransportError
from peer.sync import messages
from tests.integration.hostile_peer import admit, hostile_link, hostile_peer
from tests.link_lab import DEADLINE_S, Lab, target
from tests.samples import key_pair


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    """Sites that end with the test."""
    async with AsyncExitStack() as stack:
        yield Lab(tmp_path, stack)


async def test_who_dials_again_while_others_are_seen_off_is_not_let_in(lab: Lab) -> None:
    """Alice ends all links; on one there is something to be decided first. Bob dials again meanwhile: his link would never end."""
    alice, bob = await lab.site("alice"), await lab.site("bob")
    group, mallory = await lab.found(alice), key_pair("mallory")
    await bob.links.join(await lab.invitation(alice, group))
    bob.links.set_targets([target(alice)])
    await lab.wait(lambda: alice.tips(group) == bob.tips(group))
    deciding, may_end = asyncio.Event(), asyncio.Event()

    async def decide_slowly(*_: object) -> None:
        deciding.set()
        await may_end.wait()

    alice.links.decide_join = decide_slowly
    async with hostile_link(alice.endpoint, alice.key.peer_id, mallory, await lab.invitation(alice, group)), asyncio.timeout(DEADLINE_S):
        await deciding.wait()
        dialled = bob.links._numbers
        stopping = asyncio.ensure_future(alice.stop())
        await lab.wait(lambda: bob.links._numbers > dialled)
        may_end.set()
        await stopping

    assert alice.links._connections == {}


async def test_bytes_that_nobody_hears_any_more_keep_no_link_from_ending(lab: Lab) -> None:
    """Alice reads for Mallory what does not come: from somebody else, perhaps, who waits for something of hers."""
    alice = await lab.site("alice")
    group, mallory = await lab.found(alice), key_pair("mallory")
    await admit(alice, group, mallory.peer_id)
    reading = asyncio.Event()

    async def read_for_ever(*_: object) -> bytes | None:
        reading.set()
        await asyncio.Event().wait()
        return None

    alice.links.read_blob = read_for_ever
    async with hostile_peer(alice, mallory) as other, asyncio.timeout(DEADLINE_S):
        await other.hears(lambda message: isinstance(message, messages.Have))
        await other.say(messages.BlobWant(1, group, BlobId(os.urandom(32)), 0, 100, relay=False))
        await reading.wait()
        asked = asyncio.create_task(alice.links.ask_blob(mallory.peer_id, WantedPart(group, BlobId(os.urandom(32)), 0, 100, relay=False)))
        await other.hears(lambda message: isinstance(message, messages.BlobWant))
        await alice.stop()

        with pytest.raises(TransportError):
            await asked
    assert alice.links._connections == {}
