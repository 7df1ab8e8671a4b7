"""Bags that robots' software wrote, from one site to another: the same bytes, names, manifest, and counts as in the raw records."""

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest
from mcap.reader import make_reader
from mcap.records import Channel, Message
from mcap.stream_reader import StreamReader

from peer.api.models import RecordingDetails
from tests.integration.running_peer import RunningPeer, running_peer

BAGS = Path(__file__).parents[3] / "shared" / "recordings"
SPLIT = [BAGS / f"wbag_{number}.mcap" for number in range(5)]
GROUPS = "/api/v1/sync/groups"

pytestmark = [
    pytest.mark.needs("real recordings"),
    pytest.mark.skipif(not all(path.is_file() for path in SPLIT), reason="real recordings are not here: ../shared/recordings is missing"),
]


class Pair(NamedTuple):
    """Two sites of one group."""

    here: RunningPeer
    there: RunningPeer


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with running_peer(tmp_path / "here", "here") as here, running_peer(tmp_path / "there", "there") as there:
        await here.post(GROUPS, {"name": "lab"})
        made = await here.post(f"{GROUPS}/lab/invitations", {})
        await there.post(f"{GROUPS}/join", {"invitation": made["invitation"]})
        yield Pair(here, there)


def raw_counts(paths: list[Path]) -> Counter[str]:
    """Messages by topic, counted one by one in the records themselves."""
    counts: Counter[str] = Counter()
    for path in paths:
        topics: dict[int, str] = {}
        with path.open("rb") as file:
            for record in StreamReader(file).records:
                if isinstance(record, Channel):
                    topics[record.id] = record.topic
                elif isinstance(record, Message):
                    counts[topics[record.channel_id]] += 1
    return counts


async def test_a_split_bag_arrives_as_it_was_recorded(pair: Pair) -> None:
    added = await pair.here.post("/api/v1/recordings", {"paths": [str(path) for path in SPLIT], "name": "wbag"}, RecordingDetails)

    await pair.there.until("/api/v1/recordings", lambda page: [each["state"] for each in page["recordings"]] == ["local"])
    arrived = await pair.there.get("/api/v1/recordings/wbag", RecordingDetails)

    assert arrived["manifest_id"] == added["manifest_id"]
    assert [chunk["name"] for chunk in arrived["chunks"]] == [path.name for path in SPLIT]
    counts = raw_counts(SPLIT)
    assert {topic["topic"]: topic["message_count"] for topic in arrived["topics"]} == counts
    assert arrived["message_count"] == sum(counts.values())
    (folder,) = await _shown(pair.there)
    for path in SPLIT:
        assert (folder / path.name).read_bytes() == path.read_bytes()
        with (folder / path.name).open("rb") as file:
            summary = make_reader(file).get_summary()
        assert summary is not None
        assert summary.statistics is not None
        assert summary.statistics.message_count == raw_counts([path]).total()
    assert (folder / "manifest.cbor").read_bytes() == await _manifest(pair.here)
    assert (await pair.here.get(f"{GROUPS}/lab"))["state_digest"] == (await pair.there.get(f"{GROUPS}/lab"))["state_digest"]


@pytest.mark.parametrize("name", ["talker", "topics_and_services"])
async def test_a_single_bag_goes_the_other_way(pair: Pair, name: str) -> None:
    """The site that was invited records; the one that nobody told where to dial fetches."""
    path = BAGS / f"{name}.mcap"
    added = await pair.there.post("/api/v1/recordings", {"paths": [str(path)]}, RecordingDetails)

    arrived = await pair.here.until(
        "/api/v1/recordings", lambda page: [each["state"] for each in page["recordings"] if each["name"] == name] == ["local"]
    )

    (recording,) = arrived["recordings"]
    assert recording["manifest_id"] == added["manifest_id"]
    assert {topic["topic"]: topic["message_count"] for topic in added["topics"] if topic["message_count"]} == raw_counts([path])


async def _shown(peer: RunningPeer) -> list[Path]:
    """The folder of the recording, once the tree has it."""

    def folders() -> list[Path]:
        return list((peer.root / "recordings").glob("lab-*/wbag"))

    await peer.until("/health/live", lambda _: folders())
    return folders()


async def _manifest(peer: RunningPeer) -> bytes:
    async with peer.http.get(f"{peer.url}/api/v1/recordings/wbag/manifest", headers={"Accept": "application/cbor"}) as answer:
        return await answer.read()
