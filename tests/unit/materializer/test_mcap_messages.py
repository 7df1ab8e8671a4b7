import hashlib
import random
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from mcap.reader import make_reader
from mcap.writer import CompressionType, IndexType, Writer

from materializer import mcap_messages, mcap_records
from materializer.mcap_messages import Message, Part, Selection, read_messages
from materializer.mcap_records import Span
from materializer.mcap_times import message_times
from peer.errors import McapDamagedError, MessagesTooLargeError
from tests.mcap_samples import REAL_RECORDINGS, START_NS, read_raw, write_mcap


class Bytes:
    """A `RandomAccess` over memory that counts."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.reads: list[tuple[int, int]] = []
        self.expected: list[tuple[int, int]] = []
        self.closed = 0

    @property
    def size(self) -> int:
        return len(self.data)

    async def read(self, start: int, size: int) -> bytes:
        assert 0 <= start <= start + size <= len(self.data), "nobody asks for what lies outside"
        self.reads.append((start, size))
        return self.data[start : start + size]

    def expect(self, start: int, size: int) -> None:
        self.expected.append((start, size))

    async def close(self) -> None:
        self.closed += 1

    @property
    def bytes_read(self) -> int:
        return sum(size for _, size in self.reads)


def part(data: bytes | Bytes, name: str = "file.mcap", times: tuple[int, int] | None = None) -> Part:
    source = data if isinstance(data, Bytes) else Bytes(data)
    if times is None:
        facts = read_raw(source.data)
        assert facts.start_ns is not None
        assert facts.end_ns is not None
        times = facts.start_ns, facts.end_ns
    return Part(name, lambda: source, *times)


async def read(*parts: Part, topics: Sequence[str] | None = None, start: int = 0, stop: int = 2**64) -> list[Message]:
    selection = Selection(None if topics is None else frozenset(topics), Span(start, stop))
    return [message async for batch in read_messages(parts, selection) for message in batch]


def by_library(path: Path, **wanted: object) -> list[tuple[object, ...]]:
    """What the library's own reader finds, in its order of times."""
    with path.open("rb") as file:
        found = make_reader(file, validate_crcs=True).iter_messages(**wanted)  # type: ignore[arg-type]
        return [(c.topic, s.name if s else "", m.sequence, m.log_time, m.publish_time, m.data) for s, c, m in found]


def plain(messages: Sequence[Message]) -> list[tuple[object, ...]]:
    return [(m.channel.topic, m.channel.schema.name if m.channel.schema else "", m.sequence, m.log_ns, m.publish_ns, m.data) for m in messages]


@pytest.fixture(params=["zstd", "lz4", "", "no summary", "no chunks", "no chunks and no summary", "no index"])
def sample(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Files of all kinds with the same messages."""
    kind = request.param
    if kind == "no index":
        return write_shuffled(tmp_path / "sample.mcap", 200, spread=0, index=False)
    compression = {"lz4": CompressionType.LZ4, "": CompressionType.NONE}.get(kind, CompressionType.ZSTD)
    return write_mcap(
        tmp_path / "sample.mcap", messages=200, topics=4, compression=compression, summary="no summary" not in kind, chunked="no chunks" not in kind
    )


def write_shuffled(path: Path, count: int, *, spread: int, index: bool = True, seed: int = 1) -> Path:
    """Messages of three topics whose times go back by up to `spread`, so that chunks overlap."""
    chance = random.Random(seed)
    writer = Writer(str(path), chunk_size=300, index_types=IndexType.ALL if index else IndexType.ALL & ~IndexType.MESSAGE)
    writer.start()
    schema = writer.register_schema("text", "jsonschema", b"{}")
    channels = [writer.register_channel(f"/topic_{number}", "json", schema) for number in range(3)]
    for number in range(count):
        time_ns = START_NS + 1000 * number - chance.randint(0, spread) if spread else START_NS + 1000 * number
        writer.add_message(chance.choice(channels), time_ns, chance.randbytes(chance.randint(0, 40)), time_ns + 7, number)
    writer.finish()
    return path


async def test_all_messages_are_those_that_another_reader_finds(sample: Path) -> None:
    assert plain(await read(part(sample.read_bytes()))) == by_library(sample)


async def test_a_topic_and_a_time_are_selected_as_another_reader_does(sample: Path) -> None:
    start, stop = START_NS + 50_000, START_NS + 122_000

    found = await read(part(sample.read_bytes()), topics=["/topic_1", "/topic_2"], start=start, stop=stop)

    assert plain(found) == by_library(sample, topics=["/topic_1", "/topic_2"], starting_at=start, ending_before=stop)
    assert 10 < len(found) < 70
    assert await read(part(sample.read_bytes()), topics=["/nothing"]) == []


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("summary", [True, False])
async def test_messages_of_chunks_that_overlap_come_in_order(tmp_path: Path, seed: int, *, summary: bool) -> None:
    path = write_shuffled(tmp_path / "shuffled.mcap", 300, spread=40_000, seed=seed)
    data = path.read_bytes() if summary else without_summary(path.read_bytes())

    found = await read(part(data))

    times = [message.log_ns for message in found]
    assert times == sorted(times)
    assert Counter(plain(found)) == Counter(by_library(path))
    middle = times[150]
    assert plain(await read(part(data), start=middle)) == [each for each in plain(found) if each[3] >= middle]  # type: ignore[operator]


def without_summary(data: bytes) -> bytes:
    """The file as it would be without one: the data section, a footer that says so."""
    (summary_start,) = struct.unpack_from("<Q", data, len(data) - 8 - 20)
    return data[:summary_start] + struct.pack("<BQQQI", 2, 20, 0, 0, 0) + data[-8:]


async def test_files_of_a_recording_are_merged(tmp_path: Path) -> None:
    paths = [write_shuffled(tmp_path / f"{number}.mcap", 100, spread=5000, seed=number) for number in range(3)]

    found = await read(*(part(path.read_bytes(), path.name) for path in paths))

    times = [message.log_ns for message in found]
    assert times == sorted(times)
    assert Counter(plain(found)) == sum((Counter(by_library(path)) for path in paths), Counter())


def big(path: Path) -> Path:
    """Two topics that take turns chunk by chunk, 100 chunks of about 20 kB each."""
    writer = Writer(str(path), chunk_size=20_000, compression=CompressionType.NONE)
    writer.start()
    channels = [writer.register_channel(f"/topic_{number}", "raw", 0) for number in range(2)]
    for number in range(200):
        writer.add_message(channels[number // 2 % 2], START_NS + number, bytes(10_000), START_NS + number, number)
    writer.finish()
    return path


async def test_only_chunks_that_hold_what_is_wanted_are_read(tmp_path: Path) -> None:
    source = Bytes(big(tmp_path / "big.mcap").read_bytes())

    assert len(await read(part(source), topics=["/topic_1"], start=START_NS + 40, stop=START_NS + 60)) == 10

    chunks = [size for start, size in source.reads if size > 19_000 and start + size < source.size - 40_000]
    assert len(chunks) == 5
    assert source.bytes_read < source.size / 8
    assert source.closed == 1


async def test_a_file_of_another_time_is_not_even_opened(tmp_path: Path) -> None:
    source = Bytes(write_mcap(tmp_path / "sample.mcap").read_bytes())

    assert await read(part(source), start=START_NS + 10**9) == []
    assert source.reads == []


async def test_times_come_from_the_index_alone_and_are_those_of_the_messages(tmp_path: Path) -> None:
    path = big(tmp_path / "big.mcap")
    source = Bytes(path.read_bytes())

    found: Counter[tuple[str, int]] = Counter()
    async for times in message_times(source, "big.mcap", Selection()):
        found.update((topic, time_ns) for topic, topic_times in times.items() for time_ns in topic_times)

    assert found == Counter((str(each[0]), each[3]) for each in by_library(path))
    assert source.bytes_read < source.size / 10


async def test_times_are_found_in_files_of_all_kinds(sample: Path) -> None:
    found: Counter[str] = Counter()
    async for times in message_times(Bytes(sample.read_bytes()), "sample.mcap", Selection(span=Span(START_NS + 50_000, START_NS + 120_000))):
        found.update({topic: len(topic_times) for topic, topic_times in times.items()})

    assert +found == Counter(str(each[0]) for each in by_library(sample, starting_at=START_NS + 50_000, ending_before=START_NS + 120_000))


def chunk_places(data: bytes) -> Iterator[tuple[int, int]]:
    """Start and length of the contents of chunk records, found by hand."""
    position = 8
    while data[position] != 0x0F:
        (length,) = struct.unpack_from("<Q", data, position + 1)
        if data[position] == 0x06:
            yield position + 9, length
        position += 9 + length


async def collect(found: list[Message], data: bytes) -> None:
    """Add what a file gives before its error."""
    async for batch in read_messages([part(Bytes(data), "sample.mcap", (START_NS, START_NS + 10**6))], Selection()):
        found += batch


@pytest.mark.parametrize("summary", [True, False])
async def test_a_damaged_chunk_is_one_error_after_what_was_good_before_it(tmp_path: Path, *, summary: bool) -> None:
    path = write_mcap(tmp_path / "sample.mcap", messages=100, compression=CompressionType.NONE)
    whole = by_library(path)
    data = bytearray(path.read_bytes() if summary else without_summary(path.read_bytes()))
    places = list(chunk_places(bytes(data)))
    start, length = places[len(places) // 2]
    data[start + length - 3] ^= 1
    found: list[Message] = []

    with pytest.raises(McapDamagedError, match=r"sample.mcap: .*checksum"):
        await collect(found, bytes(data))

    assert plain(found) == whole[: len(found)]
    assert len(whole) // 2 - 10 < len(found) < len(whole) // 2 + 10


async def test_a_file_that_ends_in_the_middle_gives_what_it_has_and_says_so(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / "sample.mcap", messages=100)
    data = path.read_bytes()
    start, length = list(chunk_places(data))[10]
    found: list[Message] = []

    with pytest.raises(McapDamagedError, match="longer than the file"):
        await collect(found, data[: start + length // 2])

    assert plain(found) == by_library(path)[: len(found)]
    assert len(found) > 20


async def test_messages_beside_the_chunks_that_a_summary_names_are_not_passed_over(tmp_path: Path) -> None:
    """A summary that forgets a chunk, with a checksum that is right: what it says would hide messages."""
    path = write_mcap(tmp_path / "sample.mcap", messages=100, compression=CompressionType.NONE)
    data = forget_a_chunk(path.read_bytes())

    assert plain(await read(part(Bytes(data), times=(START_NS, START_NS + 10**6)))) == by_library(path)


def forget_a_chunk(data: bytes) -> bytes:
    """The same file with a summary that leaves one chunk out and counts one less."""
    (summary_start,) = struct.unpack_from("<Q", data, len(data) - 8 - 20)
    records, position, left_out = [], summary_start, False
    while data[position] != 0x02:
        opcode, length = struct.unpack_from("<BQ", data, position)
        record = bytearray(data[position : position + 9 + length])
        position += 9 + length
        if opcode == 0x08 and not left_out:
            left_out = True
            continue
        if opcode == 0x0B:
            (chunks,) = struct.unpack_from("<I", record, 9 + 8 + 2 + 4 + 4 + 4)
            struct.pack_into("<I", record, 9 + 8 + 2 + 4 + 4 + 4, chunks - 1)
        if opcode in (0x03, 0x04, 0x08, 0x0B):
            records.append(bytes(record))
    return data[:summary_start] + b"".join(records) + struct.pack("<BQQQI", 2, 20, summary_start, 0, 0) + data[-8:]


async def test_what_is_packed_too_tightly_is_refused_before_it_takes_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.mcap"
    writer = Writer(str(path), chunk_size=2**40, compression=CompressionType.ZSTD)
    writer.start()
    channel = writer.register_channel("/zeros", "raw", 0)
    for number in range(130):
        writer.add_message(channel, START_NS + number, bytes(1024 * 1024), START_NS + number)
    writer.finish()

    with pytest.raises(MessagesTooLargeError, match="are read"):
        await read(part(Bytes(path.read_bytes()), times=(START_NS, START_NS + 10**6)))


async def test_garbage_is_refused_with_an_error_of_ours(tmp_path: Path) -> None:
    """Any byte of a file may be another one: what is given then is a beginning of what was there, and no other exception comes out."""
    data = write_mcap(tmp_path / "sample.mcap", messages=30).read_bytes()
    chance = random.Random(5)
    for _ in range(300):
        damaged = bytearray(data)
        for _ in range(chance.randint(1, 3)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            await read(part(Bytes(bytes(damaged)), times=(START_NS, START_NS + 10**6)))
        except (McapDamagedError, MessagesTooLargeError):
            continue


@pytest.mark.needs("the recordings of a real recorder")
@pytest.mark.parametrize("name", ["talker", "topics_and_services", *(f"wbag_{number}" for number in range(5))])
async def test_real_recordings_are_read_as_another_reader_reads_them(name: str) -> None:
    path = REAL_RECORDINGS / f"{name}.mcap"
    if not path.exists():
        pytest.skip("the recordings of a real recorder are not here")
    found = await read(part(path.read_bytes()))

    digest = hashlib.sha256(repr(sorted(plain(found), key=repr)).encode()).hexdigest()
    assert digest == hashlib.sha256(repr(sorted(by_library(path), key=repr)).encode()).hexdigest()
    assert Counter(each.channel.topic for each in found) == Counter(read_raw(path.read_bytes()).counts)
    assert [each.log_ns for each in found] == sorted(each.log_ns for each in found)


async def test_no_more_messages_wait_than_there_is_memory_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks that all overlap would have to be held together to be put in order; one after the other they need little."""
    tangled = write_shuffled(tmp_path / "tangled.mcap", 300, spread=10**9)
    orderly = write_shuffled(tmp_path / "orderly.mcap", 300, spread=0)
    monkeypatch.setattr(mcap_messages, "HELD_BYTES_MAX", 30_000)

    with pytest.raises(MessagesTooLargeError, match="at once") as caught:
        await read(part(tangled.read_bytes()))
    assert caught.value.code == "messages_too_large"
    assert len(await read(part(orderly.read_bytes()))) == 300


async def test_messages_of_one_chunk_are_no_more_than_there_is_memory_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few bytes each has."""
    path = write_mcap(tmp_path / "sample.mcap", messages=100, topics=1, payload=b"")
    monkeypatch.setattr(mcap_records, "HELD_BYTES_MAX", 1000)

    with pytest.raises(MessagesTooLargeError, match="in one chunk"):
        await read(part(path.read_bytes()))


async def test_a_file_whose_event_tells_wrong_times_is_an_error_and_no_disorder(tmp_path: Path) -> None:
    first = write_shuffled(tmp_path / "first.mcap", 100, spread=0)
    second = write_shuffled(tmp_path / "second.mcap", 100, spread=0, seed=2)
    late = part(second.read_bytes(), "second.mcap", (START_NS + 90_000, START_NS + 99_000))

    with pytest.raises(McapDamagedError, match=r"second.mcap: .*earlier"):
        await read(part(first.read_bytes()), late)


@pytest.mark.parametrize("place", range(0, 60, 7))
async def test_a_summary_that_says_something_else_than_the_file_hides_nothing(tmp_path: Path, place: int) -> None:
    """Without a checksum: what cannot be true is not believed, what may be is looked at where it leads."""
    path = write_mcap(tmp_path / "sample.mcap", messages=100, compression=CompressionType.NONE)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, len(data) - 12, 0)
    (summary_start,) = struct.unpack_from("<Q", data, len(data) - 28)
    start = data.index(b"\x08" + struct.pack("<Q", 64 + 10)[:1], summary_start) + 9
    data[start + place] ^= 0x15
    found: list[Message] = []
    try:
        await collect(found, bytes(data))
    except McapDamagedError:
        return

    assert plain(found) == by_library(path)
