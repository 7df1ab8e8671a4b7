import json
import random
import resource
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mcap.reader import make_reader
from mcap.writer import CompressionType, IndexType, Writer

from materializer import mcap_recovery, mcap_taking
from materializer.mcap_index import read_index
from materializer.mcap_recovery import METADATA_NAME, Recovery, examine, recover
from peer.core.hashing import sha256
from peer.errors import McapTruncatedError, McapUnrecoverableError, NotMcapError, RecoveryUnverifiedError, TargetFullError, TargetTakenError
from tests.mcap_samples import REAL_RECORDINGS, START_NS, write_mcap
from tests.raw_mcap import RawMessage, raw_chunks, raw_extras, raw_messages

REAL = ["talker", "topics_and_services", "wbag_0", "wbag_4"]
CUTS = 20
COMPRESSIONS = [CompressionType.NONE, CompressionType.LZ4, CompressionType.ZSTD]


def recovered(path: Path, data: bytes) -> tuple[Recovery, list[RawMessage]]:
    """What became of a file with these bytes, checked for all that must hold of any recovery."""
    path.write_bytes(data)
    target = path.with_suffix(".recovered")
    target.unlink(missing_ok=True)
    recovery = recover(path, target, "recmesh test")
    assert path.read_bytes() == data, "the original is never changed"
    messages = raw_messages(target.read_bytes())
    assert recovery.message_count == len(messages) == read_index(target).message_count
    assert (recovery.source_sha256, recovery.source_size_bytes) == (sha256(data), len(data))
    assert examine(path) == recovery
    with target.open("rb") as file:
        reader = make_reader(file)
        summary = reader.get_summary()
        assert summary is not None
        assert summary.statistics is not None
        assert summary.statistics.message_count == len(messages) == sum(1 for _ in reader.iter_messages())
        assert [each.name for each in reader.iter_metadata()][-1] == METADATA_NAME
    assert sum(place.size_bytes for place in recovery.places) == recovery.lost_bytes
    return recovery, messages


def check_cut(path: Path, whole: bytes, cut: int) -> bool:
    """Recovered and lost are the original together; False where nothing could be read."""
    original, there = raw_messages(whole), raw_messages(whole[:cut])
    if not there and not raw_extras(whole[:cut]) and not _describes_channels(whole, cut):
        path.write_bytes(whole[:cut])
        with pytest.raises(McapUnrecoverableError):
            recover(path, path.with_suffix(".refused"), "recmesh test")
        return False
    recovery, messages = recovered(path, whole[:cut])
    assert messages == there == original[: len(there)], "what was recovered is the beginning of the original, message by message"
    assert not recovery.is_closed
    lost = original[len(there) :]
    told = [chunk for chunk in raw_chunks(whole) if chunk.start + 9 + 24 <= cut < chunk.stop]
    for message in lost:
        if any(chunk.start_ns <= message.log_time <= chunk.end_ns for chunk in told):
            assert any(
                place.start_time_ns is not None and place.start_time_ns <= message.log_time <= (place.end_time_ns or 0) for place in recovery.places
            )
    assert recovery.ends_early or not lost
    return True


def run_alone(script: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    """A process of its own."""
    top = Path(__file__).parents[3]
    return subprocess.run([sys.executable, "-c", script, *paths], cwd=top, capture_output=True, text=True, check=False, timeout=120)


def _describes_channels(whole: bytes, cut: int) -> bool:
    """True if a channel stands in front of the cut, outside of chunks or in what can be read of one."""
    from tests.raw_mcap import _data_records  # noqa: PLC0415  (of no use to others)

    return any(opcode in (0x03, 0x04) for opcode, _ in _data_records(whole[:cut]))


@pytest.mark.needs("real recordings")
@pytest.mark.skipif(not (REAL_RECORDINGS / "talker.mcap").exists(), reason="real recordings are not here: ../shared/recordings is missing")
@pytest.mark.parametrize("name", REAL)
def test_a_real_recording_cut_anywhere_is_recovered_as_far_as_it_goes(tmp_path: Path, name: str) -> None:
    whole = (REAL_RECORDINGS / f"{name}.mcap").read_bytes()
    chance = random.Random(f"cuts of {name}")
    done = [check_cut(tmp_path / "cut.mcap", whole, chance.randrange(9, len(whole))) for _ in range(CUTS)]
    assert any(done)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("chunked", [True, False])
def test_a_recording_cut_anywhere_is_recovered_as_far_as_it_goes(tmp_path: Path, compression: CompressionType, chunked: bool) -> None:  # noqa: FBT001
    path = write_mcap(tmp_path / "whole.mcap", messages=120, topics=4, compression=compression, chunked=chunked, payload=b"p" * 20)
    whole = path.read_bytes()
    chance = random.Random(f"{compression} {chunked}")
    done = [check_cut(tmp_path / "cut.mcap", whole, chance.randrange(9, len(whole))) for _ in range(CUTS)]
    assert done.count(True) > CUTS // 2


def test_only_what_was_not_written_whole_is_lost_of_an_uncompressed_chunk(tmp_path: Path) -> None:
    whole = write_mcap(tmp_path / "whole.mcap", messages=100, compression=CompressionType.NONE).read_bytes()
    chunk = raw_chunks(whole)[3]
    cut = chunk.stop - 10

    recovery, messages = recovered(tmp_path / "cut.mcap", whole[:cut])

    (place,) = recovery.places
    assert place.what == "a chunk that is cut off"
    assert place.offset + place.size_bytes == cut
    assert place.missing_bytes == 10
    assert (place.start_time_ns, place.end_time_ns) == (chunk.start_ns, chunk.end_ns)
    assert place.content_bytes == place.size_bytes + 10
    last = messages[-1].log_time
    assert chunk.start_ns <= last < chunk.end_ns
    assert (recovery.ends_early, recovery.lost_message_count, place.message_count) == (True, None, None)


def test_a_file_without_its_summary_has_lost_nothing(tmp_path: Path) -> None:
    whole = write_mcap(tmp_path / "whole.mcap", messages=100).read_bytes()

    recovery, messages = recovered(tmp_path / "cut.mcap", whole[:-4])

    assert messages == raw_messages(whole)
    assert (recovery.is_closed, recovery.ends_early, recovery.lost_message_count, recovery.lost_bytes) == (False, False, 0, 0)


def test_of_a_damaged_chunk_nothing_is_taken_for_a_message_and_its_messages_are_counted(tmp_path: Path) -> None:
    """The indexes behind the chunk say how many there were, with a summary or without."""
    for compression in COMPRESSIONS:
        whole = write_mcap(tmp_path / "whole.mcap", messages=100, compression=compression).read_bytes()
        original = raw_messages(whole)
        chunk = raw_chunks(whole)[2]
        inside = [each for each in original if chunk.start_ns <= each.log_time <= chunk.end_ns]
        damaged = bytearray(whole)
        damaged[chunk.stop - 20] ^= 0xFF

        for data in (bytes(damaged), bytes(damaged[:-4])):
            recovery, messages = recovered(tmp_path / "damaged.mcap", data)

            assert messages == [each for each in original if each not in inside]
            assert recovery.lost_message_count == len(inside) > 0
            assert [place.message_count for place in recovery.places] == [len(inside)]
            assert recovery.lost_bytes == chunk.stop - chunk.start
            assert (recovery.places[0].start_time_ns, recovery.places[0].end_time_ns) == (chunk.start_ns, chunk.end_ns)


def test_a_damaged_length_loses_no_more_than_up_to_the_next_chunk(tmp_path: Path) -> None:
    whole = write_mcap(tmp_path / "whole.mcap", messages=100).read_bytes()
    original = raw_messages(whole)
    before, first, following = raw_chunks(whole)[1:4]
    lost = [each for each in original if first.start_ns <= each.log_time <= first.end_ns]
    for at, value in ((first.start + 1, 0xFF), (first.start + 8, 0x7F), (first.start, 0x00), (first.start, 0x05), (first.start + 40, 0x09)):
        damaged = bytearray(whole)
        damaged[at] = value

        recovery, messages = recovered(tmp_path / "damaged.mcap", bytes(damaged))

        assert messages == [each for each in original if each not in lost], at - first.start
        assert recovery.lost_message_count == len(lost), "the summary says how many there were"
        assert before.stop <= recovery.places[0].offset <= first.start
        assert first.stop - first.start <= recovery.lost_bytes <= following.start - before.stop


def test_channels_that_only_the_lost_chunk_described_are_taken_from_the_summary(tmp_path: Path) -> None:
    whole = write_mcap(tmp_path / "whole.mcap", messages=100).read_bytes()
    original = raw_messages(whole)
    first = raw_chunks(whole)[0]
    damaged = bytearray(whole)
    damaged[first.stop - 20] ^= 0xFF

    _, messages = recovered(tmp_path / "damaged.mcap", bytes(damaged))
    assert messages == [each for each in original if each.log_time > first.end_ns]

    (tmp_path / "damaged.mcap").write_bytes(damaged[:-4])
    with pytest.raises(McapUnrecoverableError):
        recover(tmp_path / "damaged.mcap", tmp_path / "out.mcap", "")


def test_a_tail_of_zeros_costs_nothing_of_what_stands_before_it(tmp_path: Path) -> None:
    """As a disk leaves it when the power goes."""
    for chunked in (True, False):
        whole = write_mcap(tmp_path / "whole.mcap", messages=50, chunked=chunked).read_bytes()
        cut = raw_chunks(whole)[2].start if chunked else len(whole) // 2
        there = raw_messages(whole[:cut])
        while not chunked and raw_messages(whole[: cut - 1]) == there:
            cut -= 1  # To the end of a message.

        recovery, messages = recovered(tmp_path / "cut.mcap", whole[:cut] + bytes(3000))

        assert messages == there
        assert recovery.lost_bytes == 3000


def test_profile_library_metadata_attachments_schemas_and_channels_stay(tmp_path: Path) -> None:
    path = tmp_path / "whole.mcap"
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=300, compression=CompressionType.LZ4)
        writer.start(profile="ros2", library="recorder 3")
        writer.add_metadata("robot", {"name": "r2", "note": "ä"})
        writer.add_attachment(5, 6, "map.png", "image/png", bytes(range(256)))
        schema = writer.register_schema("pkg/msg/A", "ros2msg", b"int32 a")
        channel = writer.register_channel("/a", "cdr", schema, {"offered_qos_profiles": "- history: 1"})
        for number in range(50):
            writer.add_message(channel, START_NS + number, bytes(40), START_NS, number)
        writer.finish()
    whole = path.read_bytes()
    cut = whole[: raw_chunks(whole)[-1].stop - 5]

    recovered(tmp_path / "cut.mcap", cut)

    data = (tmp_path / "cut.recovered").read_bytes()
    assert raw_extras(data)[:2] == raw_extras(whole)
    assert len(raw_extras(data)) == 3
    index = read_index(tmp_path / "cut.recovered")
    assert (index.profile, index.library) == ("ros2", "recorder 3; recovered by recmesh test")
    with (tmp_path / "cut.recovered").open("rb") as file:
        reader = make_reader(file)
        summary = reader.get_summary()
        assert summary is not None
        assert summary.channels[channel].metadata == {"offered_qos_profiles": "- history: 1"}
        note = [each.metadata for each in reader.iter_metadata() if each.name == METADATA_NAME]
        assert [each.name for each in reader.iter_attachments()] == ["map.png"]
    assert note[0]["source_sha256"] == sha256(cut).hex()
    assert note[0]["messages_recovered"] == str(index.message_count)
    assert json.loads(note[0]["places"])[0]["what"] == "a chunk that is cut off"


def test_a_whole_file_is_found_to_be_whole(tmp_path: Path) -> None:
    paths = [
        write_mcap(tmp_path / "a.mcap"),
        write_mcap(tmp_path / "b.mcap", chunked=False, summary=False),
        write_mcap(tmp_path / "c.mcap", messages=0),
    ]
    assert all(examine(path).is_whole for path in [*paths, *REAL_RECORDINGS.glob("*.mcap")])


def test_what_is_no_mcap_file_or_holds_nothing_is_refused(tmp_path: Path) -> None:
    whole = write_mcap(tmp_path / "whole.mcap").read_bytes()
    for data in (whole[:5], whole[:8], whole[:12], whole[:30], whole[:8] + bytes(1000)):
        (tmp_path / "cut.mcap").write_bytes(data)
        with pytest.raises(McapUnrecoverableError):
            recover(tmp_path / "cut.mcap", tmp_path / "out.mcap", "")
        assert not (tmp_path / "out.mcap").exists()
    (tmp_path / "cut.mcap").write_bytes(b"#ROSBAG V2.0\n")
    with pytest.raises(NotMcapError):
        recover(tmp_path / "cut.mcap", tmp_path / "out.mcap", "")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(write_mcap(tmp_path / "whole.mcap").read_bytes()[:-4])
    (tmp_path / "out.mcap").write_bytes(b"mine")
    with pytest.raises(TargetTakenError):
        recover(cut, tmp_path / "out.mcap", "")
    assert (tmp_path / "out.mcap").read_bytes() == b"mine"


def test_a_result_that_is_not_what_was_written_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that loses a bit, or a bug of the code that writes."""
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(write_mcap(tmp_path / "whole.mcap", compression=CompressionType.NONE, messages=100).read_bytes()[:-4])
    whole = mcap_recovery._read_back
    offsets = iter(range(60, 4000, 97))

    def spoiled(target: Path, written: Any) -> None:
        data = bytearray(target.read_bytes())
        data[next(offsets)] ^= 0x10
        target.write_bytes(data)
        whole(target, written)

    monkeypatch.setattr(mcap_recovery, "_read_back", spoiled)
    for _ in range(20):
        with pytest.raises(RecoveryUnverifiedError):
            recover(cut, tmp_path / "out.mcap", "")
        assert not (tmp_path / "out.mcap").exists()


def test_a_full_disk_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(write_mcap(tmp_path / "whole.mcap", messages=3000, compression=CompressionType.NONE).read_bytes()[:-4])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    script = (
        "import resource, signal, sys\nfrom pathlib import Path\nfrom materializer.mcap_recovery import recover\n"
        "from peer.errors import TargetFullError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
        "try:\n    recover(Path(sys.argv[1]), Path(sys.argv[2]), '')\nexcept TargetFullError as error:\n    sys.stdout.write(error.code)\n"
    )
    done = run_alone(script, cut, tmp_path / "out.mcap")
    assert (done.stdout, done.stderr) == (TargetFullError.code, "")
    assert not (tmp_path / "out.mcap").exists()
    assert resource.getrlimit(resource.RLIMIT_FSIZE) == (soft, hard)


def test_any_damage_is_survived_and_nothing_is_invented(tmp_path: Path) -> None:
    """Bytes changed by chance in files of all kinds: every message that comes out stood in the original, unless no checksum covers it."""
    chance = random.Random("damage")
    survived = 0
    for number in range(60):
        compression = COMPRESSIONS[number % 3]
        whole = write_mcap(tmp_path / "whole.mcap", messages=60, compression=compression).read_bytes()
        original = set(raw_messages(whole))
        damaged = bytearray(whole)
        for _ in range(chance.randrange(1, 4)):
            damaged[chance.randrange(9, len(damaged))] = chance.randrange(256)
        (tmp_path / "damaged.mcap").write_bytes(damaged)
        target = tmp_path / f"{number}.mcap"
        try:
            recovery = recover(tmp_path / "damaged.mcap", target, "")
        except (McapUnrecoverableError, NotMcapError):
            continue
        survived += 1
        messages = raw_messages(target.read_bytes())
        strange = [each for each in messages if each not in original and not _is_redescribed(each, original)]
        assert not strange
        assert recovery.message_count == len(messages)
    assert survived > 50


def _is_redescribed(message: RawMessage, original: set[RawMessage]) -> bool:
    """The message is one of the original; only what is said of its channel, which no checksum covers in the summary, has changed."""
    return any(message[4:] == each[4:] for each in original)


def test_memory_stays_small_whatever_the_file(tmp_path: Path) -> None:
    path = tmp_path / "large.mcap"
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=1024 * 1024, compression=CompressionType.NONE, index_types=IndexType.ALL)
        writer.start(profile="ros2", library="sample")
        channel = writer.register_channel("/a", "cdr", writer.register_schema("a", "ros2msg", b""))
        for number in range(2500):
            writer.add_message(channel, START_NS + number, bytes(100_000), START_NS, number)
        writer.finish()
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 700_000)
    script = (
        "import resource, sys\nfrom pathlib import Path\nfrom materializer.mcap_recovery import recover\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "done = recover(Path(sys.argv[1]), Path(sys.argv[2]), '')\n"
        "print(done.message_count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = run_alone(script, path, tmp_path / "out.mcap")
    count, grown_kib = map(int, done.stdout.split())
    assert count > 2480
    assert grown_kib < 40 * 1024, "of a file of 250 MB"
    assert path.stat().st_size > 240_000_000
    path.unlink()


def test_places_are_told_up_to_a_number_and_counted_beyond(tmp_path: Path) -> None:
    whole = bytearray(write_mcap(tmp_path / "whole.mcap", messages=900, compression=CompressionType.NONE).read_bytes())
    chunks = raw_chunks(bytes(whole))[::2]
    assert len(chunks) > mcap_taking.PLACES_MAX
    for chunk in chunks:
        whole[chunk.stop - 15] ^= 0xFF
    path = tmp_path / "damaged.mcap"
    path.write_bytes(whole)
    recovery = examine(path)
    assert (len(recovery.places), recovery.place_count) == (mcap_taking.PLACES_MAX, len(chunks))
    assert recovery.lost_bytes == sum(chunk.stop - chunk.start for chunk in chunks)
    original = raw_messages(write_mcap(tmp_path / "again.mcap", messages=900, compression=CompressionType.NONE).read_bytes())
    assert recovery.lost_message_count == len(original) - recovery.message_count


def test_a_chunk_that_says_it_is_huge_takes_no_memory(tmp_path: Path) -> None:
    whole = bytearray(write_mcap(tmp_path / "whole.mcap", messages=40).read_bytes())
    chunk = raw_chunks(bytes(whole))[1]
    whole[chunk.start + 25 : chunk.start + 33] = struct.pack("<Q", 2**40)
    path = tmp_path / "damaged.mcap"
    path.write_bytes(whole)
    recovery = examine(path)
    assert recovery.place_count == 1
    assert "bytes, where up to" in recovery.places[0].what
    assert recovery.lost_message_count


def test_the_error_of_a_cut_file_names_the_way_out(tmp_path: Path) -> None:
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(write_mcap(tmp_path / "whole.mcap").read_bytes()[:-4])
    with pytest.raises(McapTruncatedError) as caught:
        read_index(cut)
    assert "--recover" in (caught.value.fix or "")
