"""Alice, who is attacked, and Bob, whose good link to her has to go on, whatever a third one does."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from peer.core.certificate import LogKind
from peer.core.identity import GroupId
from peer.core.run import Draft
from tests.integration.hostile_peer import admit
from tests.link_lab import Lab, Site
from tests.samples import key_pair


class Mesh(NamedTuple):
    """Alice, who is attacked, Bob, who is linked to her, and Mallory's right to be there."""

    lab: Lab
    alice: Site
    bob: Site
    group: GroupId

    async def goes_on(self) -> None:
        """The good link still carries events, and it is the same link."""
        before = self.alice.links.link_to(self.bob.key.peer_id)
        await self.alice.store.write(self.group, LogKind.DATA, [Draft("test.note", b"\xa0")])
        await self.bob.store.write(self.group, LogKind.DATA, [Draft("test.note", b"\xa0")])
        await self.lab.wait(lambda: all(self.bob.tips(self.group).get(log) == tips for log, tips in self.alice.tips(self.group).items()))  # type: ignore[attr-defined]
        assert before is not None
        assert self.alice.links.link_to(self.bob.key.peer_id) is before
        assert self.alice.errors == self.bob.errors == []


@contextlib.asynccontextmanager
async def meshed(folder: Path, *, tls: bool = False) -> AsyncIterator[Mesh]:
    """Two linked sites and a member without a site."""
    async with AsyncExitStack() as stack:
        lab = Lab(folder, stack)
        alice, bob = await lab.site("alice", tls=tls), await lab.site("bob")
        group = await lab.found(alice)
        await bob.links.join(await lab.invitation(alice, group))
        await admit(alice, group, key_pair("mallory").peer_id)
        await lab.wait(lambda: alice.tips(group) == bob.tips(group))
        yield Mesh(lab, alice, bob, group)


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    async with meshed(tmp_path) as made:
        yield made
