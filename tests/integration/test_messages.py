"""Messages of recordings over the admin API: of files that are here, and of those of which only what holds them is brought here."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer

from materializer.mcap_index import read_index
from peer.api import message_routes
from peer.blobs.reading import BlobBytes
from peer.operations.messages import READERS_MAX
from tests.blob_site import MIB
from tests.conftest import LONG
from tests.counting_proxy import CountingProxy, counting_proxy
from tests.integration.running_peer import RunningPeer, running_peer
from tests.mcap_samples import REAL_RECORDINGS, START_NS, write_mcap

GROUPS = "/api/v1/sync/groups"
RECORDINGS = "/api/v1/recordings"
DEADLINE_S = 60.0
NS_PER_S = 1_000_000_000
LARGE = 1024 * MIB if LONG else 144 * MIB
LARGE_S = 1000
"""What the large recording lasts: 10 s of it are a hundredth."""

FRAME_SIZE = 64 * 1024


def write_drive(path: Path, size: int, seconds: int) -> Path:
    """A recording of about `size` bytes: frames of a camera, a pose with each of them; no two pieces are equal."""
    writer = Writer(str(path), chunk_size=768 * 1024, compression=CompressionType.NONE)
    writer.start(profile="", library="test")
    pose = writer.register_channel("/pose", "json", writer.register_schema("Pose", "jsonschema", b"{}"))
    camera = writer.register_channel("/camera", "raw", 0)
    frames = size // FRAME_SIZE
    for number in range(frames):
        time_ns = START_NS + number * seconds * NS_PER_S // frames
        writer.add_message(pose, time_ns, json.dumps({"x": number}).encode(), time_ns, number)
        writer.add_message(camera, time_ns, number.to_bytes(8, "big") * (FRAME_SIZE // 8), time_ns, number)
    writer.finish()
    return path


def expected(path: Path, **wanted: Any) -> list[tuple[str, str, int, int, bytes]]:
    """By the library's own reader, in its order."""
    with path.open("rb") as file:
        return [(c.topic, str(m.log_time), m.publish_time, m.sequence, m.data) for _, c, m in make_reader(file).iter_messages(**wanted)]


async def cat(site: RunningPeer, name: str, **query: Any) -> list[tuple[str, str, int, int, bytes]]:
    """The same, from the API."""
    async with (
        asyncio.timeout(DEADLINE_S),
        site.http.get(f"{site.url}{RECORDINGS}/{name}/messages", params={"raw": "1", **query}) as answer,
    ):
        assert answer.status == 200, await answer.text()
        assert answer.content_type == "application/x-ndjson"
        rows = [json.loads(row) for row in (await answer.read()).splitlines()]
    assert not rows or "error" not in rows[-1], rows[-1]
    return [plain(row) for row in rows]


def plain(row: Any) -> tuple[str, str, int, int, bytes]:
    data = base64.b64decode(row["data"])
    assert len(data) == row["size"]
    return row["topic"], row["log_time_ns"], int(row["publish_time_ns"]), row["sequence"], data


async def add(site: RunningPeer, *paths: Path) -> Any:
    return await site.post(RECORDINGS, {"paths": [str(path) for path in paths]})


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[RunningPeer]:
    async with running_peer(tmp_path / "site", "site", listen="none") as made:
        await made.post(GROUPS, {"name": "lab"})
        yield made


async def test_messages_are_those_of_the_file_and_say_what_they_are(site: RunningPeer, tmp_path: Path) -> None:
    path = write_drive(tmp_path / "drive.mcap", 4 * MIB, 100)
    await add(site, path)

    assert await cat(site, "drive") == expected(path)
    start, stop = START_NS + 10 * NS_PER_S, START_NS + 20 * NS_PER_S
    assert await cat(site, "drive", topic="/pose", start=start, end=stop) == expected(path, topics=["/pose"], starting_at=start, ending_before=stop)
    assert await cat(site, "drive", start="2023-11-14T22:13:30Z", limit=3) == expected(path, starting_at=START_NS + 10 * NS_PER_S)[:3]
    async with site.http.get(f"{site.url}{RECORDINGS}/drive/messages?topic=/pose&topic=/camera&limit=2") as answer:
        pose, camera = (json.loads(row) for row in (await answer.read()).splitlines())
    assert pose == {
        "topic": "/pose",
        "log_time_ns": str(START_NS),
        "log_time": "2023-11-14T22:13:20.000000000Z",
        "publish_time_ns": str(START_NS),
        "publish_time": "2023-11-14T22:13:20.000000000Z",
        "sequence": 0,
        "schema": "Pose",
        "schema_encoding": "jsonschema",
        "encoding": "json",
        "size": 8,
        "data_encoding": "json",
        "data": {"x": 0},
    }
    assert (camera["schema"], camera["data_encoding"]) == ("", "base64")


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("topic=/nothing", 404, "not_found"),
        ("start=soon", 400, "request_invalid"),
        ("end=99999999999999999999999", 400, "request_invalid"),
        ("limit=0", 400, "request_invalid"),
        ("limit=-1", 400, "request_invalid"),
        ("raw=yes", 400, "request_invalid"),
        ("start=20&end=10", 400, "request_invalid"),
    ],
)
async def test_what_cannot_be_asked_for_is_refused(site: RunningPeer, tmp_path: Path, query: str, status: int, code: str) -> None:
    await add(site, write_mcap(tmp_path / "sample.mcap"))

    document = await site.get(f"{RECORDINGS}/sample/messages?{query}", status=status)

    assert (document["code"], bool(document["fix"])) == (code, True)
    assert (await site.get(f"{RECORDINGS}/nowhere/messages", status=404))["code"] == "not_found"


async def test_a_damaged_file_ends_the_stream_with_a_line_that_says_so(site: RunningPeer, tmp_path: Path) -> None:
    """One that was damaged before it was added: what is damaged here afterwards is not read at all."""
    path = write_drive(tmp_path / "drive.mcap", 4 * MIB, 100)
    whole = expected(path)
    with path.open("r+b") as file:
        file.seek(2 * MIB)
        file.write(b"damage")
    await add(site, path)

    async with site.http.get(f"{site.url}{RECORDINGS}/drive/messages?raw=1") as answer:
        *rows, last = [json.loads(row) for row in (await answer.read()).splitlines()]

    assert last["error"]["code"] == "mcap_damaged"
    assert last.keys() == {"error"}
    async with site.http.get(f"{site.url}{RECORDINGS}/drive/messages?format=mcap") as answer:
        with pytest.raises(aiohttp.ClientError):
            await answer.read()
    assert [plain(row) for row in rows] == whole[: len(rows)]
    assert len(whole) // 4 < len(rows) < len(whole) * 3 // 4


async def lets_in(site: RunningPeer, url: str) -> None:
    """Until one more may read; so long it is told that there are too many."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            async with site.http.get(f"{url}?limit=1") as answer:
                if answer.status == 200:
                    return
                assert answer.status == 503
            await asyncio.sleep(0.01)


async def test_who_goes_away_lets_others_read(site: RunningPeer, tmp_path: Path) -> None:
    """Streams that nobody reads stand still, and end with their connections: each takes one of few places."""
    await add(site, write_drive(tmp_path / "drive.mcap", 32 * MIB, 100))
    url = f"{site.url}{RECORDINGS}/drive/messages"
    async with AsyncExitStack() as stack:
        for _ in range(READERS_MAX):
            answer = await stack.enter_async_context(site.http.get(url))
            await answer.content.readline()
        assert (await site.get(f"{RECORDINGS}/drive/messages", status=503))["code"] == "too_many_readers"
        stack.callback(answer.close)

    await lets_in(site, url)


async def test_who_does_not_read_gives_way_to_who_would(site: RunningPeer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a token that may only look could keep all others from reading for ever."""
    monkeypatch.setattr(message_routes, "STALLED_S", 0.2)
    await add(site, write_drive(tmp_path / "drive.mcap", 64 * MIB, 100))
    url = f"{site.url}{RECORDINGS}/drive/messages"
    async with AsyncExitStack() as stack:
        for _ in range(READERS_MAX):
            answer = await stack.enter_async_context(site.http.get(url))
            await answer.content.readline()
        await lets_in(site, url)


async def test_messages_can_be_had_as_a_file_with_these_and_no_others(site: RunningPeer, tmp_path: Path) -> None:
    path = write_drive(tmp_path / "drive.mcap", 4 * MIB, 100)
    await add(site, path)
    start, stop = START_NS + 10 * NS_PER_S, START_NS + 20 * NS_PER_S
    query = {"format": "mcap", "start": start, "end": stop}

    async with site.http.get(f"{site.url}{RECORDINGS}/drive/messages", params=query) as answer:
        (tmp_path / "part.mcap").write_bytes(await answer.read())
    async with site.http.get(f"{site.url}{RECORDINGS}/drive/messages", params={**query, "end": start}) as answer:
        (tmp_path / "nothing.mcap").write_bytes(await answer.read())

    assert expected(tmp_path / "part.mcap", topics=["/pose"]) == expected(path, topics=["/pose"], starting_at=start, ending_before=stop)
    assert sorted(expected(tmp_path / "part.mcap")) == sorted(expected(path, starting_at=start, ending_before=stop))
    assert read_index(tmp_path / "part.mcap").message_count == len(expected(tmp_path / "part.mcap"))
    assert [each[:3] for each in read_index(tmp_path / "part.mcap").topics] == [each[:3] for each in read_index(path).topics]
    assert expected(tmp_path / "nothing.mcap") == []
    assert (await site.get(f"{RECORDINGS}/drive/messages?format=csv", status=400))["code"] == "request_invalid"


class Scene(NamedTuple):
    """A site that has recordings, dialled through a proxy that counts, and one that keeps none of them."""

    folder: Path
    origin: RunningPeer
    reader: RunningPeer
    proxy: CountingProxy


async def join(site: RunningPeer, host: RunningPeer, **changes: Any) -> None:
    made = await host.post(f"{GROUPS}/lab/invitations", {"role": "writer", "expires_in_ms": 60_000})
    await site.post(f"{GROUPS}/join", {"invitation": made["invitation"], **changes})


@asynccontextmanager
async def made_scene(folder: Path) -> AsyncIterator[Scene]:
    """All that goes between the two goes through the proxy: requests to the one that can be dialled, and the link to the other."""
    async with AsyncExitStack() as stack, _with_reader_that_stays(folder, stack) as scene:
        yield scene


async def known(site: RunningPeer, name: str) -> Any:
    return await site.until(f"{RECORDINGS}/{name}", lambda recording: recording["finalized"])


@pytest.mark.long_story
@pytest.mark.parametrize("over", ["http", "link"])
async def test_ten_seconds_of_a_large_recording_that_is_elsewhere_move_a_small_part_of_it(tmp_path: Path, over: str) -> None:
    async with made_scene(tmp_path) as scene:
        holder, reader = (scene.origin, scene.reader) if over == "http" else (scene.reader, scene.origin)
        path = write_drive(tmp_path / "drive.mcap", LARGE, LARGE_S)
        await add(holder, path)
        await known(reader, "drive")
        before = sum(scene.proxy.carried.values())
        start, stop = START_NS + 400 * NS_PER_S, START_NS + 410 * NS_PER_S

        found = await cat(reader, "drive", topic="/pose", start=start, end=stop)

        moved = sum(scene.proxy.carried.values()) - before
        assert found == expected(path, topics=["/pose"], starting_at=start, ending_before=stop)
        assert len(found) > 10
        assert MIB < moved < path.stat().st_size / 20
        assert (await reader.get(f"{RECORDINGS}/drive"))["bytes_here"] == 0
        before = sum(scene.proxy.carried.values())
        assert await cat(reader, "drive", topic="/pose", start=start, end=stop) == found
        assert sum(scene.proxy.carried.values()) - before < MIB / 4, "what was read lies in the cache"


async def test_all_of_a_recording_that_is_elsewhere_comes_once(tmp_path: Path) -> None:
    """Also for two that read it at the same time."""
    async with made_scene(tmp_path) as scene:
        path = write_drive(tmp_path / "drive.mcap", 12 * MIB, 100)
        await add(scene.origin, path)
        await known(scene.reader, "drive")
        before = scene.proxy.carried["out"]

        first, second = await asyncio.gather(cat(scene.reader, "drive"), cat(scene.reader, "drive"))

        assert first == second == expected(path)
        assert scene.proxy.carried["out"] - before < path.stat().st_size * 1.05


async def test_a_site_that_nobody_can_dial_is_read_through_a_member_in_between(tmp_path: Path) -> None:
    """It reaches neither the holder nor anybody else who has it; what passes through is not kept as a copy there."""
    async with made_scene(tmp_path) as scene, running_peer(tmp_path / "far", "far", listen="none", fetch="none") as far:
        await join(far, scene.origin)
        path = write_drive(tmp_path / "drive.mcap", 8 * MIB, 100)
        await add(far, path)
        await known(scene.reader, "drive")
        start, stop = START_NS + 40 * NS_PER_S, START_NS + 60 * NS_PER_S

        assert await cat(scene.reader, "drive", start=start, end=stop) == expected(path, starting_at=start, ending_before=stop)
        assert (await scene.origin.get(f"{RECORDINGS}/drive"))["bytes_here"] == 0


@asynccontextmanager
async def made_copies(folder: Path, size: int) -> AsyncIterator[tuple[AsyncExitStack, Scene, RunningPeer, Path]]:
    """A recording at its origin, which ends with the stack, a copy of it at another site, and a reader that is linked to both."""
    async with AsyncExitStack() as stack:
        second = await stack.enter_async_context(running_peer(folder / "second", "second", fetch="all"))
        first = AsyncExitStack()
        stack.push_async_callback(first.aclose)
        scene = await first.enter_async_context(_with_reader_that_stays(folder, stack))
        await join(second, scene.origin)
        named = {"name": "second", "sync_endpoint": second.listen, "peer_id": second.peer_id, "shared_groups": ["lab"]}
        await scene.reader.post("/api/v1/sync/peers", named)
        path = write_drive(folder / "drive.mcap", size, 100)
        await add(scene.origin, path)
        await second.until(f"{RECORDINGS}/drive", lambda recording: recording["state"] == "local")
        await known(scene.reader, "drive")
        await scene.reader.until("/api/v1/status", lambda status: len([link for link in status["links"] if link["route"] == "direct"]) == 2)
        yield first, scene, second, path


@asynccontextmanager
async def _with_reader_that_stays(folder: Path, stack: AsyncExitStack) -> AsyncIterator[Scene]:
    async with (
        counting_proxy("http://127.0.0.1:1") as proxy,
        running_peer(folder / "origin", "origin", advertise=[proxy.url], fetch="none") as origin,
    ):
        proxy._behind = int(origin.listen.rpartition(":")[2])
        await origin.post(GROUPS, {"name": "lab"})
        reader = await stack.enter_async_context(running_peer(folder / "reader", "reader", listen="none", fetch="none"))
        await join(reader, origin)
        yield Scene(folder, origin, reader, proxy)


async def test_a_site_that_goes_away_in_the_middle_is_left_for_another(tmp_path: Path) -> None:
    async with made_copies(tmp_path, 48 * MIB) as (first, scene, _, path):
        before = scene.proxy.carried["out"]
        async with asyncio.timeout(DEADLINE_S), scene.reader.http.get(f"{scene.reader.url}{RECORDINGS}/drive/messages?raw=1") as answer:
            stream = Rows(answer)
            rows = [await stream.next() for _ in range(4)]
            assert scene.proxy.carried["out"] - before < 40 * MIB, "it is not over yet"

            await first.aclose()
            rows += await stream.rest()

        assert [plain(row) for row in rows] == expected(path)


class Rows:
    """The lines of a stream, as slowly as somebody wants them."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer
        self._data = b""

    async def next(self) -> Any:
        while b"\n" not in self._data:
            self._data += await self._answer.content.readany()
        row, _, self._data = self._data.partition(b"\n")
        return json.loads(row)

    async def rest(self) -> list[Any]:
        return [json.loads(row) for row in (self._data + await self._answer.read()).splitlines()]


async def test_who_gives_wrong_bytes_is_refused_and_left_for_another(tmp_path: Path) -> None:
    async with made_copies(tmp_path, 8 * MIB) as (_, scene, _, path):
        blob = (await scene.origin.get(f"{RECORDINGS}/drive"))["chunks"][0]["blob_id"]
        stored = scene.origin.root / "blobs" / blob[:2] / blob[2:4] / blob
        stored.chmod(0o644)
        with stored.open("r+b") as file:
            for piece in (2, 5):
                file.seek(piece * MIB + 500_000)
                file.write(b"another message")

        assert await cat(scene.reader, "drive") == expected(path)


async def test_where_nobody_has_it_any_more_the_stream_ends_with_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peer.wiring.relaying.BlobBytes", partial(BlobBytes, give_up_s=1.0))
    async with AsyncExitStack() as stack, AsyncExitStack() as first:
        scene = await first.enter_async_context(_with_reader_that_stays(tmp_path, stack))
        path = write_drive(tmp_path / "drive.mcap", 48 * MIB, 100)
        await add(scene.origin, path)
        await known(scene.reader, "drive")
        async with asyncio.timeout(DEADLINE_S), scene.reader.http.get(f"{scene.reader.url}{RECORDINGS}/drive/messages?raw=1") as answer:
            stream = Rows(answer)
            rows = [await stream.next() for _ in range(4)]
            await first.aclose()
            rows += await stream.rest()

        assert rows.pop()["error"]["code"] == "bytes_unreachable"
        assert [plain(row) for row in rows] == expected(path)[: len(rows)]
        document = await scene.reader.get(f"{RECORDINGS}/drive/messages?start={START_NS + 99 * NS_PER_S}", status=502)
        assert document["code"] == "bytes_unreachable"


@pytest.mark.needs("the recordings of a real recorder")
async def test_a_split_bag_of_a_real_recorder_is_read_as_one(site: RunningPeer) -> None:
    paths = sorted(REAL_RECORDINGS.glob("wbag_*.mcap"))
    if not paths:
        pytest.skip("the recordings of a real recorder are not here")
    name = (await add(site, *paths))["id"]

    found = await cat(site, name)

    assert sorted(found) == sorted(each for path in paths for each in expected(path))
    times = [int(each[1]) for each in found]
    assert times == sorted(times)
