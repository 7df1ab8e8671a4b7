"""Who comes back by the word of a hub is dialled at once: back-off may have a minute to go."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from peer.core.certificate import LogKind
from peer.core.identity import KeyPair, PeerId
from peer.wiring.hub_source import follow_hub
from resolver import hub_client
from tests.unit.resolver.fake_hub import FakeHub, served
from tests.unit.resolver.hub_lab import Groups, Site, group_id, metadata_of, of_our_kind, until

ALPHA, BETA = (KeyPair(bytes([number]) * 32) for number in (1, 2))


class Links:
    """Nobody is linked; it counts who is to hurry."""

    def __init__(self) -> None:
        self.hurried: list[PeerId] = []

    def dialler_of(self, peer: PeerId) -> Any:
        return SimpleNamespace(hurry=lambda: self.hurried.append(peer))

    def is_linked(self, _peer: PeerId) -> bool:
        return False


class Store:
    """Tells of commits."""

    def __init__(self) -> None:
        self.listeners: list[Callable[[Any], None]] = []

    def subscribe(self, listener: Callable[[Any], None]) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)


async def test_who_comes_back_is_dialled_at_once_and_a_decision_makes_others_of_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_client, "CALLS_PER_MINUTE_MAX", 10_000)
    fake, links, store = FakeHub(), Links(), Store()
    swarm = fake.put("agent_beta", {"lab"}, metadata=metadata_of(BETA, "https://10.0.0.2:1"), capabilities=of_our_kind(), status="offline")
    groups = Groups(lab=[ALPHA.peer_id])
    async with served(fake.app()) as url:
        resolver = Site(tmp_path, url, groups, ALPHA).make()
        task = asyncio.create_task(follow_hub(resolver, SimpleNamespace(store=store), links))  # type: ignore[arg-type]
        await until(lambda: fake.calls["GET /map/swarms/{id}"] and resolver._looked_s > 0)
        assert resolver.peers() == ()

        groups.groups[group_id("lab")].roster.members.add(BETA.peer_id)
        store.listeners[0](SimpleNamespace(kind=LogKind.DATA, certificate=SimpleNamespace(kind=LogKind.DATA)))
        store.listeners[0](SimpleNamespace(certificate=SimpleNamespace(kind=LogKind.CONTROL)))
        await until(lambda: resolver.is_online(BETA.peer_id) is False and resolver.peers())
        assert links.hurried == []

        fake.swarms[swarm]["status"] = "online"
        await until(lambda: links.hurried == [BETA.peer_id])
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    assert store.listeners == []


async def test_without_a_hub_there_is_nothing_to_follow() -> None:
    await follow_hub(None, SimpleNamespace(), Links())  # type: ignore[arg-type]
