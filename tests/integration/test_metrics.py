"""What Prometheus reads, with a reader of its own."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.running_peer import RunningPeer
from tests.integration.test_transfers import SIZE, Scene, decide, limit, made_scene, until

ROW = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*)\})? (\S+)')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\\n]|\\.)*)"')
Found = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with made_scene(tmp_path) as scene:
        yield scene


async def scraped(peer: RunningPeer) -> Found:
    """Everything, by name and labels; the form of the text is checked on the way."""
    async with peer.http.get(f"{peer.url}/metrics") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/plain"
        text = await answer.text()
    typed: dict[str, str] = {}
    found: Found = {}
    for row in text.splitlines():
        if row.startswith("#"):
            _, word, name, rest = row.split(" ", 3)
            if word == "TYPE":
                assert name not in typed, "one name twice"
                typed[name] = rest
            continue
        match = ROW.fullmatch(row)
        assert match is not None, row
        name, labels, value = match.groups()
        assert name.startswith("recmesh_")
        assert typed[name] == ("counter" if name.endswith("_total") else "gauge")
        key = (name, frozenset(LABEL.findall(labels or "")))
        assert key not in found
        found[key] = float(value)
    return found


def one(found: Found, name: str, **labels: str) -> float:
    values = [value for (each, of_it), value in found.items() if each == f"recmesh_{name}" and labels.items() <= dict(of_it).items()]
    assert len(values) == 1, (name, labels, values)
    return values[0]


async def test_what_is_counted_is_what_happened_and_what_the_status_says(scene: Scene) -> None:
    async with scene.fetcher() as peer:
        await decide(peer, "pause")
        await scene.record("one")
        await until(lambda: _wanted(peer, 1))
        found = await scraped(peer)
        assert one(found, "paused") == 1
        assert one(found, "transfers", state="paused") == 1
        assert SIZE < one(found, "wanted_bytes") < 1.1 * SIZE
        assert one(found, "recording_bytes_total", way="down") == 0
        await limit(peer, "1M:20M")
        await decide(peer, "resume")
        await until(lambda: _wanted(peer, 0))
        found, status = await scraped(peer), await peer.get("/api/v1/status")
        assert one(found, "fetched_files_total", outcome="arrived") == 1
        assert SIZE < one(found, "recording_bytes_total", way="down") < 1.1 * SIZE
        assert one(found, "limit_bytes_per_second", way="up") == 1_000_000
        assert one(found, "group_events", group="lab") == status["groups"][0]["events"]
        assert one(found, "disk_floor_bytes") == status["disk"]["floor_bytes"]
        assert one(found, "info", peer_id=peer.peer_id, version=status["version"]) == 1
        assert one(found, "links", state=status["links"][0]["state"]) == 1
    given = await scraped(scene.recorder)
    assert SIZE < one(given, "recording_bytes_total", way="up") < 1.2 * SIZE


async def _wanted(peer: RunningPeer, count: int) -> bool:
    return one(await scraped(peer), "wanted_files") == count


async def test_nobody_without_a_token_reads_them(scene: Scene) -> None:
    async with scene.recorder.http.get(f"{scene.recorder.url}/metrics", headers={"Authorization": "Bearer nonsense"}) as answer:
        assert answer.status == 401
