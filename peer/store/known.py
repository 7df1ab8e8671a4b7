"""`known.json`: the little without which a lost `log.db` could not be refilled: how each group began, who was in it, where peers are dialled.

A second copy of what `log.db` holds, in a file of its own, written anew after each change. Nothing in it gives anybody rights for long: a genesis
record proves itself by its hash, and a member listed here is only let in as long as the group's own decisions are not here yet.
"""

import asyncio
import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from peer.core.certificate import LogKind
from peer.core.group import read_genesis
from peer.core.identity import ID_SIZE, GroupId, PeerId
from peer.core.interfaces import Commit
from peer.errors import MeshError, StoreError
from peer.store.directory import is_disk_full, write_durably
from peer.store.events import SqliteEventStore
from peer.store.peers import KnownPeer

KNOWN_FILE = "known.json"
FORMAT = 1
LOOK_AGAIN_S = 10.0
FILE_BYTES_MAX = 16 * 1024 * 1024


class Known(NamedTuple):
    """What is written there."""

    genesis: Mapping[GroupId, bytes]
    members: Mapping[GroupId, frozenset[PeerId]]
    peers: Sequence[KnownPeer]

    def to_bytes(self) -> bytes:
        """One JSON document, the same for the same content."""
        groups = [
            {"group_id": group.hex(), "genesis": genesis.hex(), "members": sorted(peer.hex() for peer in self.members.get(group, ()))}
            for group, genesis in sorted(self.genesis.items())
        ]
        peers = [
            {
                "peer_id": each.peer_id.hex(),
                "name": each.name,
                "endpoints": list(each.endpoints),
                "groups": [group.hex() for group in each.groups],
                "source": each.source,
                "paused": each.paused,
                "expects": list(each.expects),
            }
            for each in self.peers
        ]
        return (json.dumps({"format": FORMAT, "groups": groups, "peers": peers}, indent=1) + "\n").encode()


def read_known(path: Path) -> Known | None:
    """What stands in the file at `path`; None if it is missing or not as it was written. A group that its genesis does not prove is left out."""
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(FILE_BYTES_MAX))
        genesis: dict[GroupId, bytes] = {}
        members: dict[GroupId, frozenset[PeerId]] = {}
        for each in document["groups"]:
            group, data = GroupId(_id(each["group_id"])), bytes.fromhex(each["genesis"])
            if is_genesis(data, group):
                genesis[group] = data
                members[group] = frozenset(PeerId(_id(peer)) for peer in each["members"])
        peers = [
            KnownPeer(
                PeerId(_id(each["peer_id"])),
                str(each["name"]),
                tuple(str(endpoint) for endpoint in each["endpoints"]),
                tuple(GroupId(_id(group)) for group in each["groups"]),
                str(each["source"]),
                bool(each["paused"]),
                tuple(str(name) for name in each["expects"]),
            )
            for each in document["peers"]
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return Known(genesis, members, peers)


def is_genesis(data: bytes, group: GroupId) -> bool:
    """True if `data` is how `group` began."""
    try:
        read_genesis(data, group)
    except MeshError:
        return False
    return True


class KnownKeeper:
    """Keeps the file as the store is."""

    def __init__(self, path: Path, store: SqliteEventStore) -> None:
        """Writes nothing before `write`."""
        self._path = path
        self._store = store
        self._written = b""
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Write after each change of a roster, and look now and then whether anything else has changed, until cancelled."""
        end = self._store.subscribe(self._committed)
        try:
            while True:
                await self.write()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_AGAIN_S):
                        await self._changed.wait()
                self._changed.clear()
        finally:
            end()

    async def write(self) -> None:
        """Write what is known now, if that is something else than what was written last. Durable when this returns."""
        async with self._turn:
            groups = self._store.replica.groups
            genesis = {group: record.genesis.to_bytes() for group, record in groups.items()}
            members = {group: frozenset(record.roster.members) for group, record in groups.items()}
            data = Known(genesis, members, await self._store.peers()).to_bytes()
            if data == self._written:
                return
            try:
                await asyncio.to_thread(write_durably, self._path, data)
            except OSError as error:
                if not is_disk_full(error):
                    raise StoreError(f"{self._path} cannot be written: {error.strerror}", fix="check the disk and its permissions") from error
                return  # It is a second copy: the next change tries again.
            self._written = data

    def _committed(self, commit: Commit) -> None:
        if commit.certificate.kind is LogKind.CONTROL:
            self._changed.set()


def _id(text: str) -> bytes:
    value = bytes.fromhex(text)
    if len(value) != ID_SIZE:
        raise ValueError("not an id")
    return value
