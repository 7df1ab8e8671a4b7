"""1 000 recordings of 50 chunks each in a real peer: what a list, its filters and orders, and one recording cost over the admin API."""

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import httpx

from materializer.bodies import ChunkAdd, RecordingCreate, chunk_add, recording_create, recording_finalize
from materializer.edits import recording_set, recording_tag
from materializer.manifest import RecordingFacts, make_manifest
from peer.core.certificate import LogKind
from peer.core.hashing import hash_bytes, sha256
from peer.core.identity import BlobId, EventId, GroupId, PeerId
from peer.core.run import Draft
from peer.store.directory import DataDirectory
from peer.wiring.core import opened_core
from tests.end_to_end.processes import Site, found, wait_until

RECORDINGS = 1000
CHUNKS = 50
TOPICS = 20
REPEATS = 20
DEADLINE_S = 600.0
START_NS = 1_800_000_000 * 10**9
CHUNK_NS = 60 * 10**9
QUERIES = (
    "",
    "limit=500",
    "sort=name",
    "sort=site&reverse=1",
    "sort=messages&limit=500",
    "topic=/camera_7/image",
    "topic=/camera_1*",
    "schema=sensor_msgs/msg/Image",
    "tag=tag-3",
    "property=place=hall-3",
    "text=BAG-00099",
    "text=nothing of the kind",
    "machine=robot-3",
    "site=alpha",
    "state=missing&limit=500",
    "state=local",
    f"since_ns={START_NS}&until_ns={START_NS + 10**12}",
)


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        site = Site("alpha", Path(folder) / "alpha")
        site.start()
        found(site)
        site.stop()
        asyncio.run(_write_history(site))
        site.start()
        try:
            wait_until(lambda: site.group()["view_events"] >= RECORDINGS * CHUNKS, "all is projected", DEADLINE_S)
            _measure(site)
        finally:
            site.stop()


def _measure(site: Site) -> None:
    token = (site.folder / "admin.token").read_text().strip()
    with httpx.Client(base_url=f"http://127.0.0.1:{site.admin}/api/v1", headers={"Authorization": f"Bearer {token}"}, timeout=DEADLINE_S) as client:
        begun = time.perf_counter()
        assert len(client.get("/recordings?limit=1000").raise_for_status().json()["recordings"]) == RECORDINGS
        first_s = time.perf_counter() - begun
        print(f"{RECORDINGS} recordings, {RECORDINGS * CHUNKS} chunks of {TOPICS} topics; the first list after the start: {first_s:.2f} s")
        print("median and slowest of the answers over HTTP, ms:")
        for query in QUERIES:
            _time(client, f"/recordings?{query}")
        _time(client, "/recordings/bag-000500")


def _time(client: httpx.Client, path: str) -> None:
    times = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        answer = client.get(path)
        times.append((time.perf_counter() - begun) * 1000)
        answer.raise_for_status()
    document = answer.json()
    print(f"  {statistics.median(times):7.1f} {max(times):7.1f}  {path}  ({len(document.get('recordings', [document]))} shown)")


async def _write_history(site: Site) -> None:
    """Fill the one group of a stopped site, and its views."""
    async with opened_core(DataDirectory(site.folder)) as core:
        me, store = core.key.peer_id, core.store
        group = next(iter(store.replica.groups))
        for number in range(RECORDINGS):
            create = RecordingCreate(f"bag-{number:06}", f"robot-{number % 10}", START_NS + number, "ros2")
            (created,) = await store.write(group, LogKind.DATA, [recording_create(create)])
            recording = created.event.id
            bodies = [_chunk(recording, number, index) for index in range(CHUNKS)]
            chunks = await store.write(group, LogKind.DATA, [chunk_add(body) for body in bodies])
            await store.write(
                group, LogKind.DATA, _said(recording, number, _manifest_id(group, me, recording, create, bodies), [each.event.id for each in chunks])
            )
        await core.materializer.reached(store.position)


def _said(recording: EventId, number: int, manifest_id: bytes, chunks: list[EventId]) -> list[Draft]:
    return [
        recording_finalize(recording, manifest_id, chunks),
        recording_tag(recording, f"tag-{number % 10}", present=True),
        recording_set(recording, "place", f"hall-{number % 7}"),
    ]


def _manifest_id(group: GroupId, site: PeerId, recording: EventId, create: RecordingCreate, chunks: list[ChunkAdd]) -> bytes:
    return make_manifest(RecordingFacts(group, recording, site, create), chunks).manifest_id


def _chunk(recording: EventId, number: int, index: int) -> ChunkAdd:
    """A chunk whose bytes nobody has."""
    name = f"bag_{number}_{index}".encode()
    blob, start = BlobId(hash_bytes(name)), START_NS + number * CHUNK_NS + index * CHUNK_NS
    topics = [(f"/camera_{each}/image", "sensor_msgs/msg/Image", "ros2msg", "cdr", 100 + number, hash_bytes(b"schema")) for each in range(TOPICS)]
    file = (blob, sha256(name), 10**6 + number, 1 << 20, BlobId(hash_bytes(blob)))
    return ChunkAdd(recording, index, f"bag_{index}.mcap", *file, 2000 + 20 * number, start, start + CHUNK_NS - 1, "lib", "ros2", topics)
