"""A site that serves blobs on a real socket: the real routes and store, a roster that the test wrote, and a count of what left.

`python tests/blob_site.py FETCH.json` is the other side: a process that fetches one blob and may be killed at a failpoint.
"""

import asyncio
import contextlib
import json
import random
import ssl
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

from peer.blobs.store import FileBlobStore
from peer.blobs.transfer import Fetcher
from peer.core.byte_store import BlobFacts
from peer.core.control import Role
from peer.core.identity import BlobId, EventId, GroupId, KeyPair, PeerId
from peer.core.interfaces import WantedBlob
from peer.core.roster import Member, Roster
from peer.store.ledger import open_ledger
from peer.transport.bandwidth import Bandwidth
from peer.transport.blob_client import BlobClient
from peer.transport.blob_routes import BlobRoutes
from peer.transport.channel import NO_RULES, protected
from peer.transport.signatures import RequestVerifier
from peer.transport.tls import peer_spki_sha256

MIB = 1024 * 1024
GROUP = GroupId(b"\x01" * 32)
OTHER_GROUP = GroupId(b"\x02" * 32)
RECORDING = EventId(b"\x03" * 32)
SERVER = KeyPair(b"server".ljust(32, b"\0"))
MEMBER = KeyPair(b"member".ljust(32, b"\0"))
STRANGER = KeyPair(b"stranger".ljust(32, b"\0"))


class GroupOfSite(NamedTuple):
    """Of a group, what the blob routes look at."""

    roster: Roster


class ReplicaOfSite:
    """Groups with fixed rosters."""

    def __init__(self, members: Mapping[GroupId, Iterable[PeerId]]) -> None:
        self.groups = {group: GroupOfSite(Roster({peer: Member(peer, "m", Role.READER) for peer in peers}, {})) for group, peers in members.items()}

    def shares(self, group: GroupId, peer: PeerId) -> bool:
        return peer in self.groups[group].roster.members


class Asked(NamedTuple):
    """One request for bytes that was answered with some."""

    blob: BlobId
    start: int
    size: int


class Site:
    """The serving side."""

    def __init__(self, store: FileBlobStore, members: Mapping[GroupId, Iterable[PeerId]]) -> None:
        self.store = store
        self.in_group: set[tuple[GroupId, BlobId]] = set()
        self.asked: list[Asked] = []
        self.requests = 0
        self.endpoint = ""
        self.bandwidth = Bandwidth()
        self.routes = BlobRoutes(
            ReplicaOfSite(members), store, (self._blob_in_group, self._blob_in_group), RequestVerifier(SERVER.peer_id), (self.bandwidth, None)
        )

    async def add(self, path: Path, group: GroupId = GROUP) -> BlobFacts:
        facts = await self.store.ingest(path, take="copy")
        self.in_group |= {(group, facts.blob), (group, facts.pieces)}
        return facts

    def sizes_asked(self, blob: BlobId) -> int:
        return sum(asked.size for asked in self.asked if asked.blob == blob)

    async def note(self, request: web.Request, response: web.StreamResponse) -> None:
        self.requests += 1
        if response.status in (200, 206) and response.content_length:
            content_range = response.headers.get("Content-Range", "bytes 0-").removeprefix("bytes ")
            self.asked.append(Asked(BlobId(bytes.fromhex(request.match_info["blob"])), int(content_range.partition("-")[0]), response.content_length))

    async def _blob_in_group(self, group: GroupId, blob: BlobId) -> bool:
        return (group, blob) in self.in_group


@contextlib.asynccontextmanager
async def serving(
    folder: Path, members: Mapping[GroupId, Iterable[PeerId]] | None = None, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[Site]:
    """A site on a free port, with or without TLS."""
    store = FileBlobStore(folder)
    site = Site(store, members or {GROUP: [MEMBER.peer_id], OTHER_GROUP: []})
    app = web.Application(middlewares=[protected(NO_RULES, peer_spki_sha256(SERVER.peer_id))])
    app.add_routes(site.routes.routes())
    app.on_response_prepare.append(site.note)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    try:
        listener = web.TCPSite(runner, host, 0, ssl_context=tls)
        await listener.start()
        port = runner.addresses[0][1]
        site.endpoint = f"http{'s' if tls else ''}://{host}:{port}"
        yield site
    finally:
        await runner.cleanup()
        store.close()


def write_file(path: Path, size: int, seed: int = 0) -> Path:
    """A file of random bytes, no two MiB of it equal."""
    block = random.Random(seed).randbytes(MIB)
    with path.open("wb") as file:
        for index, start in enumerate(range(0, size, MIB)):
            file.write((index.to_bytes(8, "big") + block[8:])[: size - start])
    return path


def wanted(facts: BlobFacts, group: GroupId = GROUP) -> WantedBlob:
    return WantedBlob(group, RECORDING, facts.blob, facts.size, facts.piece_size, facts.pieces, facts.sha256, SERVER.peer_id)


class FileSource:
    """A `BlobSource` that reads files, and may lie about some of them."""

    asks_others = False

    def __init__(self, files: Mapping[BlobId, Path], *, flip: Sequence[int] = (), ends_at: int | None = None, peer: PeerId = SERVER.peer_id) -> None:
        """`flip`: offsets of bytes that are given wrongly; `ends_at`: where it stops."""
        self.peer_id = peer
        self.asked: list[Asked] = []
        self._files, self._flip, self._ends_at = files, flip, ends_at

    async def read(self, group: GroupId, blob: BlobId, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        assert group == GROUP
        self.asked.append(Asked(blob, start, stop - start))
        with self._files[blob].open("rb") as file:
            file.seek(start)
            position = start
            while position < min(stop, self._ends_at if self._ends_at is not None else stop):
                data = bytearray(file.read(min(100_000, stop - position)))
                if not data:
                    break
                for offset in self._flip:
                    if position <= offset < position + len(data):
                        data[offset - position] ^= 1
                position += len(data)
                await asyncio.sleep(0)
                yield bytes(data)


async def fetch_one(order: Mapping[str, object]) -> None:
    """What the fetching process does: sweep, fetch, say what the peak of its memory was."""
    fields = [bytes.fromhex(str(order[name])) for name in ("blob", "pieces", "sha256")]
    sizes = int(str(order["size"])), int(str(order["piece_size"]))
    want = WantedBlob(GROUP, RECORDING, BlobId(fields[0]), *sizes, BlobId(fields[1]), fields[2], SERVER.peer_id)
    store = FileBlobStore(Path(str(order["folder"])), open_ledger(Path(str(order["ledger"]))) if "ledger" in order else None)
    await store.sweep([want.blob])
    fetcher = Fetcher(store)
    async with BlobClient(MEMBER, SERVER.peer_id, str(order["endpoint"])) as source:
        await fetcher.fetch(want, [source])
    fetcher.close()
    store.close()


if __name__ == "__main__":
    asyncio.run(fetch_one(json.loads(Path(sys.argv[1]).read_text())))
