"""A victim, a member that means harm, and what must hold after each of its words: not a row more, and the link goes on."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from peer.core.certificate import LogKind
from peer.core.encoding import encode
from peer.core.hashing import event_hash
from peer.core.identity import EventId, GroupId
from peer.core.run import signed_bytes
from tests.integration.hostile_peer import HostilePeer, admit, hostile_peer, rows
from tests.link_lab import Lab, Site
from tests.samples import SampleLog, key_pair

EVENTS = 3
"""In the runs that are changed."""

OTHER = bytes(range(32))
Parts = list[tuple[bytes, bytes]]


class Scene(NamedTuple):
    """A victim, and a member's link to it."""

    lab: Lab
    site: Site
    group: GroupId
    mallory: HostilePeer

    def log(self, label: str = "", kind: LogKind = LogKind.DATA) -> SampleLog:
        """A log of the member's of which nothing was said yet."""
        return SampleLog("mallory", self.group, kind=kind, label=label)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        lab = Lab(tmp_path, stack)
        site = await lab.site("victim")
        group = await lab.found(site)
        await admit(site, group, key_pair("mallory").peer_id)
        mallory = await stack.enter_async_context(hostile_peer(site))
        yield Scene(lab, site, group, mallory)


async def goes_on(scene: Scene, before: Mapping[str, int]) -> None:
    """Nothing more is stored than `before`, and what is written well on the same link still is."""
    await scene.mallory.is_heard_out()
    good = scene.log(f"good {len(scene.mallory.heard)}")
    run = good.write_notes(2)
    assert rows(scene.lab, scene.site) == before
    await scene.mallory.give(good, run)
    await scene.lab.wait(lambda: good.certificate.log in scene.site.store.replica.groups[scene.group].tips)
    stored = await scene.site.store.event(run.last.id)

    assert stored is not None
    assert (stored.author, stored.event.body) == (key_pair("mallory").peer_id, run.last.body)
    assert rows(scene.lab, scene.site) == {**before, "logs": before["logs"] + 1, "branches": before["branches"] + 1, "events": before["events"] + 2}
    assert scene.site.errors == []


def forged(fields: list[Any], body: bytes) -> tuple[bytes, bytes]:
    """An event with whatever is in `fields`."""
    return encode(fields), body


def event_id(header: bytes) -> EventId:
    return EventId(event_hash(header))


def signed_by(log: SampleLog, made: Parts, seq: int = EVENTS - 1) -> bytes:
    """The author's true signature over the last of these events."""
    return log.key.sign(signed_bytes(log.certificate.group, log.certificate.log, seq, event_id(made[-1][0])))
