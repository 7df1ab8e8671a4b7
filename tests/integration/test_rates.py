"""Message rates: each message in the part of the recording's time in which the records themselves say that it was logged."""

from collections import Counter
from pathlib import Path

import pytest
from mcap.reader import make_reader
from mcap.records import Channel, Message
from mcap.stream_reader import StreamReader
from mcap.writer import Writer

from peer.api.models import RecordingDetails
from peer.api.rate_models import RecordingRates
from tests.integration.running_peer import RunningPeer, running_peer

BAGS = Path(__file__).parents[3] / "shared" / "recordings"
SPLIT = [BAGS / f"wbag_{number}.mcap" for number in range(5)]
GROUPS, RECORDINGS = "/api/v1/sync/groups", "/api/v1/recordings"
START_NS = 1_700_000_000_000_000_007
WITH_INDEX = {}
WITHOUT_INDEX = {"use_chunking": False, "use_statistics": False, "use_summary_offsets": False, "repeat_channels": False}


def raw_times(paths: list[Path]) -> dict[str, list[int]]:
    """When messages were logged, by topic, read from the records one by one."""
    times: dict[str, list[int]] = {}
    for path in paths:
        topics: dict[int, str] = {}
        with path.open("rb") as file:
            for record in StreamReader(file).records:
                if isinstance(record, Channel):
                    topics[record.id] = record.topic
                elif isinstance(record, Message):
                    times.setdefault(topics[record.channel_id], []).append(record.log_time)
    return times


def expected(times: dict[str, list[int]], bins: int) -> dict[str, dict[int, int]]:
    """How many messages of each topic are in each part that has any."""
    every = [time for all_times in times.values() for time in all_times]
    start, span = min(every), max(every) - min(every) + 1
    return {topic: dict(Counter((time - start) * bins // span for time in all_times)) for topic, all_times in times.items()}


def filled(rates: dict[str, object]) -> dict[str, dict[int, int]]:
    """The same of an answer, whose sums must be right."""
    found = {}
    for each in rates["topics"]:  # type: ignore[attr-defined]
        assert len(each["counts"]) == rates["bins"]
        assert sum(each["counts"]) == each["message_count"]
        if each["message_count"]:
            found[each["topic"]] = {number: count for number, count in enumerate(each["counts"]) if count}
    return found


def write_bag(path: Path, settings: dict[str, object], counts: tuple[int, ...] = (700, 90, 1)) -> None:
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=4096, **settings)  # type: ignore[arg-type]
        writer.start()
        for number, count in enumerate(counts):
            channel = writer.register_channel(f"/topic_{number}", "raw", 0)
            for message in range(count):
                writer.add_message(channel, START_NS + message * 10_000_001 * (number + 1), b"x" * 40, START_NS)
        writer.finish()


@pytest.mark.needs("real recordings")
@pytest.mark.skipif(not all(path.is_file() for path in SPLIT), reason="real recordings are not here: ../shared/recordings is missing")
@pytest.mark.parametrize("bags", [SPLIT, [BAGS / "talker.mcap"], [BAGS / "topics_and_services.mcap"]], ids=["split", "talker", "services"])
async def test_the_rates_of_real_recordings_are_those_of_their_records_at_both_sites(tmp_path: Path, bags: list[Path]) -> None:
    async with running_peer(tmp_path / "here", "here") as here, running_peer(tmp_path / "there", "there") as there:
        await here.post(GROUPS, {"name": "lab"})
        made = await here.post(f"{GROUPS}/lab/invitations", {})
        await there.post(f"{GROUPS}/join", {"invitation": made["invitation"]})
        added = await here.post(RECORDINGS, {"paths": [str(path) for path in bags], "name": "bag"}, RecordingDetails)
        await there.until(RECORDINGS, lambda page: len(page["recordings"]) == 1)
        times = raw_times(bags)
        for peer in (here, there):
            for bins in (1, 7, 100):
                rates = await peer.get(f"{RECORDINGS}/bag/rates?bins={bins}", RecordingRates)
                assert filled(rates) == expected(times, bins)
            counts = {each["topic"]: each["message_count"] for each in rates["topics"]}
            assert counts == {each["topic"]: each["message_count"] for each in added["topics"]}
            assert sum(counts.values()) == sum(len(each) for each in times.values()) == added["message_count"]


@pytest.mark.parametrize("settings", [WITH_INDEX, WITHOUT_INDEX], ids=["with indexes", "without"])
async def test_rates_come_from_indexes_or_from_the_messages_themselves(tmp_path: Path, settings: dict[str, object]) -> None:
    bag = tmp_path / "bag.mcap"
    write_bag(bag, settings)
    with bag.open("rb") as file:
        summary = make_reader(file).get_summary()
    assert bool(summary is not None and summary.chunk_indexes) == (settings == WITH_INDEX)
    async with running_peer(tmp_path / "alpha", "alpha") as peer:
        await peer.post(GROUPS, {"name": "lab"})
        await peer.post(RECORDINGS, {"paths": [str(bag)]})

        assert filled(await peer.get(f"{RECORDINGS}/bag/rates", RecordingRates)) == expected(raw_times([bag]), 100)
        few = await peer.get(f"{RECORDINGS}/bag/rates?bins=3&topic=/topic_1", RecordingRates)
        assert [each["topic"] for each in few["topics"]] == ["/topic_1"]
        assert filled(few)["/topic_1"] == expected(raw_times([bag]), 3)["/topic_1"]


async def test_what_cannot_be_counted_is_one_clear_error(tmp_path: Path) -> None:
    bag, empty, alone = tmp_path / "bag.mcap", tmp_path / "empty.mcap", tmp_path / "alone.mcap"
    write_bag(bag, {})
    write_bag(empty, {}, ())
    write_bag(alone, {}, (1,))
    async with running_peer(tmp_path / "alpha", "alpha") as peer:
        await peer.post(GROUPS, {"name": "lab"})
        for path in (bag, empty, alone):
            await peer.post(RECORDINGS, {"paths": [str(path)]})

        for query, code, status in (
            ("bins=0", "request_invalid", 400),
            ("bins=10001", "request_invalid", 400),
            ("bins=x", "request_invalid", 400),
            ("topic=/none", "not_found", 404),
        ):
            assert (await peer.get(f"{RECORDINGS}/bag/rates?{query}", status=status))["code"] == code
        assert (await peer.get(f"{RECORDINGS}/empty/rates", status=400))["code"] == "recording_empty"
        assert await _counts(peer, "alone", 4) == [1, 0, 0, 0]


async def _counts(peer: RunningPeer, name: str, bins: int) -> list[int]:
    (series,) = (await peer.get(f"{RECORDINGS}/{name}/rates?bins={bins}", RecordingRates))["topics"]
    counts: list[int] = series["counts"]
    return counts
