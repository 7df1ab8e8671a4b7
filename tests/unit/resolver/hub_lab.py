"""Hub sources without a peer around them: real calls to a hub, groups and files of the test's own."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from gossip.record import PeerRecord, Reachability, sign_record
from peer.core.control import Role
from peer.core.identity import GroupId, KeyPair, PeerId
from peer.transport.retry_after import retry_after_ms
from peer.transport.tls import spki_sha256
from resolver.base import KnownPeer
from resolver.hub import HubPeerResolver, Known, Pace
from resolver.hub_answers import PROTOCOL
from resolver.hub_cache import CacheFile
from resolver.hub_client import HubClient, Outside
from resolver.hub_presence import HubPresence, KeyFile, Ours
from tests.unit.resolver.fixed_source import FixedSource

DEADLINE_S = 30.0
QUICK = Pace(interval_s=0.05, gap_s=0.02, ping_s=0.05)


class Roster:
    """Who is a member of a group."""

    def __init__(self, members: Iterable[PeerId]) -> None:
        self.members = set(members)

    def role(self, peer: PeerId) -> Role:
        return Role.WRITER if peer in self.members else Role.NONE


class Groups:
    """Groups by name, each with its members."""

    def __init__(self, **members: Iterable[PeerId]) -> None:
        self.groups: dict[GroupId, Any] = {}
        for name, each in members.items():
            self.add(name, each)

    def add(self, name: str, members: Iterable[PeerId]) -> None:
        self.groups[group_id(name)] = SimpleNamespace(genesis=SimpleNamespace(name=name), roster=Roster(members))

    def shares(self, group: GroupId, peer: PeerId) -> bool:
        return group in self.groups and self.groups[group].roster.role(peer) is not Role.NONE


def group_id(name: str) -> GroupId:
    return GroupId(name.encode().ljust(32, b"."))


def record_of(key: KeyPair, *endpoints: str, seq: int = 1) -> bytes:
    return sign_record(key, PeerRecord(key.peer_id, seq, endpoints, Reachability.UNKNOWN, 3600)).data


def metadata_of(key: KeyPair, endpoint: str, record: bytes = b"") -> dict[str, Any]:
    """What a site says of itself at a hub."""
    found = {"peer_id": key.peer_id.hex(), "sync_endpoint": endpoint}
    return found | ({"record": base64.b64encode(record).decode()} if record else {})


def of_our_kind() -> dict[str, Any]:
    return {"federation": True, "protocols": [PROTOCOL]}


@dataclass
class Site:
    """One site that asks a hub."""

    folder: Path
    url: str
    groups: Groups
    key: KeyPair
    credential: str = "key-of-alpha"
    endpoint: str | None = "https://10.0.0.1:7850"
    name: str = "alpha"
    pace: Pace = QUICK
    operator: FixedSource = field(default_factory=lambda: FixedSource([]))
    errors: list[Exception] = field(default_factory=list)
    is_disk_full: bool = False

    @property
    def cache(self) -> Path:
        return self.folder / f"{self.name}.json"

    @property
    def key_file(self) -> Path:
        return self.folder / f"{self.name}.key"

    def make(self) -> HubPeerResolver:
        client = HubClient(self.url, Outside(spki_sha256, retry_after_ms))
        ours = Ours(self.key.peer_id, self.name, lambda: self.endpoint, lambda: record_of(self.key, *([self.endpoint] if self.endpoint else [])))
        keys = KeyFile(lambda: self.key_file.read_text() if self.key_file.exists() else "", self._keep_key)
        cache = CacheFile(lambda: self.cache.read_bytes() if self.cache.exists() else None, lambda data: _write(self.cache, data))
        known = Known(self.groups, self.operator, lambda _event, error: self.errors.append(error))  # type: ignore[arg-type]
        return HubPeerResolver(client, HubPresence(client, self.credential, ours, keys), known, cache, pace=self.pace, ttl=1)

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[HubPeerResolver]:
        """While it asks. Nothing that is a bug of ours may have happened."""
        resolver = self.make()
        task = asyncio.create_task(resolver.run())
        try:
            yield resolver
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert self.errors == []

    def _keep_key(self, key: str) -> bool:
        if not self.is_disk_full:
            _write(self.key_file, key.encode())
        return not self.is_disk_full

    def expects(self, peer: PeerId, *names: str) -> None:
        """The operator names `peer` for groups that are not here."""
        self.operator.entries = [KnownPeer(peer, "named", (), frozenset(), "manual", expects=frozenset(names))]


async def until(condition: Callable[[], object]) -> None:
    """Until `condition` holds."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110  (what is waited for is not told)
            await asyncio.sleep(0.005)


def _write(path: Path, data: bytes) -> None:
    """All of it or nothing, as a peer does it: whoever asks may be cancelled while this goes on."""
    part = path.with_suffix(".part")
    part.write_bytes(data)
    part.replace(path)
