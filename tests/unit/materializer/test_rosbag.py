from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from mcap.writer import Writer
from rosbags.interfaces import QosDurability, QosReliability
from rosbags.rosbag2 import Reader

from materializer.rosbag import METADATA_FILE, NO_TIME_NS, VERSION, YAML_SIZE_MAX, BagFile, fits, is_written, write_metadata
from tests.mcap_samples import REAL_RECORDINGS, START_NS
from tests.raw_mcap import raw_messages

REAL_BAG = sorted(REAL_RECORDINGS.glob("wbag_*.mcap"))
MANIFEST = bytes(range(32))
QOS_NUMBERS = """- history: 1
  depth: 10
  reliability: 1
  durability: 2
  deadline:
    sec: 9223372036
    nsec: 854775807
  lifespan:
    sec: 10
    nsec: 0
  liveliness: 1
  liveliness_lease_duration:
    sec: 9223372036
    nsec: 854775807
  avoid_ros_namespace_conventions: false"""
QOS_NAMES = (
    QOS_NUMBERS.replace("history: 1", "history: keep_last")
    .replace("reliability: 1", "reliability: best_effort")
    .replace("durability: 2", "durability: transient_local")
    .replace("liveliness: 1", "liveliness: automatic")
)
TYPE_HASH = "RIHS01_df668c740482bbd48fb39d76a70dfd4bd59db1288021743503259e948f6b1a18"


def write_bag(folder: Path, channels: Mapping[str, Mapping[str, str]], *, files: int = 3, messages: int = 30) -> list[Path]:
    """MCAP files as rosbag2 splits them: each with all channels, and its share of the messages."""
    folder.mkdir(exist_ok=True)
    paths = []
    for number in range(files):
        path = folder / f"drive_{number}.mcap"
        with path.open("wb") as file:
            writer = Writer(file, chunk_size=512)
            writer.start(profile="ros2", library="recorder")
            schema = writer.register_schema("std_msgs/msg/String", "ros2msg", b"string data\n")
            ids = [writer.register_channel(topic, "cdr", schema, dict(metadata)) for topic, metadata in channels.items()]
            for each in range(messages // files):
                time_ns = START_NS + (number * messages + each) * 1_000_000
                writer.add_message(ids[each % len(ids)], time_ns, b"\x00\x01\x00\x00\x02\x00\x00\x00a\x00", time_ns, each)
            writer.finish()
        paths.append(path)
    return paths


def described(paths: list[Path], kept: bytes | None = None) -> dict[str, Any]:
    """What is written for these files, which are left with it as a folder that a reader of rosbag2 opens."""
    text = write_metadata([BagFile(path.name, path) for path in paths], MANIFEST, kept)
    (paths[0].parent / METADATA_FILE).write_bytes(text)
    document: dict[str, Any] = yaml.safe_load(text)
    return document["rosbag2_bagfile_information"]  # type: ignore[no-any-return]


def check_bag(folder: Path, paths: list[Path]) -> dict[str, Any]:
    """What is written says what the raw records say, and a reader that shares no code with us opens the folder and reads all messages."""
    information = described(paths)
    raw = {path.name: raw_messages(path.read_bytes()) for path in paths}
    everything = [message for messages in raw.values() for message in messages]
    times = [message.log_time for message in everything]
    assert information["version"] == VERSION
    assert information["storage_identifier"] == "mcap"
    assert information["relative_file_paths"] == [path.name for path in paths] == [each["path"] for each in information["files"]]
    assert information["message_count"] == len(everything)
    assert information["starting_time"] == {"nanoseconds_since_epoch": min(times)}
    assert information["duration"] == {"nanoseconds": max(times) - min(times)}
    topics = {each["topic_metadata"]["name"]: each for each in information["topics_with_message_count"]}
    counts = Counter(message.topic for message in everything)
    assert {name: each["message_count"] for name, each in topics.items() if each["message_count"]} == counts
    for message in everything:
        assert (topics[message.topic]["topic_metadata"]["type"], message.encoding) == (message.schema[0], "cdr")
    for each in information["files"]:
        inside = [message.log_time for message in raw[each["path"]]]
        assert each["message_count"] == len(inside)
        assert each["starting_time"]["nanoseconds_since_epoch"] == min(inside)
        assert each["duration"]["nanoseconds"] == max(inside) - min(inside)
    with Reader(folder) as reader:
        assert reader.message_count == len(everything)
        assert (reader.start_time, reader.end_time) == (min(times), max(times) + 1)
        read = Counter((connection.topic, time_ns, bytes(data)) for connection, time_ns, data in reader.messages())
        assert {connection.topic: connection.msgcount for connection in reader.connections if connection.msgcount} == counts
    assert read == Counter((message.topic, message.log_time, message.data) for message in everything)
    return information


@pytest.mark.needs("real recordings")
@pytest.mark.skipif(len(REAL_BAG) < 5, reason="real recordings are not here: ../shared/recordings is missing")
def test_what_is_written_for_a_real_split_bag_names_the_files_topics_counts_and_times_that_it_has(tmp_path: Path) -> None:
    paths = [tmp_path / path.name for path in REAL_BAG]
    for path, original in zip(paths, REAL_BAG, strict=True):
        path.symlink_to(original)
    information = check_bag(tmp_path, paths)
    assert len(information["topics_with_message_count"]) == 8


@pytest.mark.needs("real recordings")
@pytest.mark.skipif(
    not (REAL_RECORDINGS / "topics_and_services.mcap").exists(), reason="real recordings are not here: ../shared/recordings is missing"
)
def test_what_is_written_agrees_with_what_a_real_recorder_wrote(tmp_path: Path) -> None:
    """The recorder left its own metadata in the file: the topics are the same, with qualities of service and hashes of types."""
    original = REAL_RECORDINGS / "topics_and_services.mcap"
    (tmp_path / "abc_0.mcap").symlink_to(original)
    information = described([tmp_path / "abc_0.mcap"])
    data = original.read_bytes()
    text = data[data.rindex(b"version: 8\nstorage_identifier") :].split(b"ros_distro: rolling", maxsplit=1)[0]
    recorded = yaml.safe_load(text)
    assert recorded["message_count"] == information["message_count"] > 0
    assert [recorded[key] for key in ("starting_time", "duration", "relative_file_paths")] == [
        information[key] for key in ("starting_time", "duration", "relative_file_paths")
    ]
    ours = {each["topic_metadata"]["name"]: each for each in information["topics_with_message_count"]}
    theirs = {each["topic_metadata"]["name"]: each for each in recorded["topics_with_message_count"]}
    assert ours == theirs


def test_qualities_of_service_and_hashes_of_types_come_from_the_channels(tmp_path: Path) -> None:
    channels = {
        "/a": {"offered_qos_profiles": QOS_NUMBERS, "topic_type_hash": TYPE_HASH},
        "/b": {"offered_qos_profiles": QOS_NAMES},
        "/c": {},
    }
    paths = write_bag(tmp_path / "bag", channels)
    information = check_bag(tmp_path / "bag", paths)
    topics = {each["topic_metadata"]["name"]: each["topic_metadata"] for each in information["topics_with_message_count"]}
    assert topics["/a"]["offered_qos_profiles"] == QOS_NUMBERS
    assert topics["/a"]["type_description_hash"] == TYPE_HASH
    named = QOS_NUMBERS.replace("reliability: 1", "reliability: 2").replace("durability: 2", "durability: 1")
    assert topics["/b"]["offered_qos_profiles"] == named, "in numbers, as every version reads them"
    assert topics["/c"]["offered_qos_profiles"] == ""
    with Reader(tmp_path / "bag") as reader:
        offered = {each.topic: each.ext.offered_qos_profiles for each in reader.connections}  # type: ignore[union-attr]
    assert (offered["/a"][0].reliability, offered["/a"][0].durability) == (QosReliability.RELIABLE, QosDurability.VOLATILE)
    assert (offered["/b"][0].reliability, offered["/b"][0].durability) == (QosReliability.BEST_EFFORT, QosDurability.TRANSIENT_LOCAL)


def test_qualities_of_service_that_nobody_can_read_are_left_out(tmp_path: Path) -> None:
    for number, text in enumerate(("[[[", "- history: sometimes", "7", "- 7", "- {}")):
        information = described(write_bag(tmp_path / str(number), {"/a": {"offered_qos_profiles": text}}))
        assert [each["topic_metadata"]["offered_qos_profiles"] for each in information["topics_with_message_count"]] == [""]


def test_a_bag_without_messages_has_no_times(tmp_path: Path) -> None:
    information = described(write_bag(tmp_path / "bag", {"/a": {}}, files=1, messages=0))
    assert information["message_count"] == 0
    assert (information["starting_time"], information["duration"]) == ({"nanoseconds_since_epoch": NO_TIME_NS}, {"nanoseconds": 0})


def test_a_kept_file_fits_only_if_it_names_the_files_and_counts_that_there_are(tmp_path: Path) -> None:
    paths = write_bag(tmp_path / "bag", {"/a": {}})
    names = [path.name for path in paths]
    information = described(paths)

    def says(**changes: object) -> bytes:
        return yaml.safe_dump({"rosbag2_bagfile_information": {**information, **changes}}).encode()

    assert fits(says(), names, 30)
    assert fits(says(files=[]), names, 30), "older versions tell nothing of single files"
    assert not fits(says(), names, 29)
    assert not fits(says(), names[:2], 30)
    assert not fits(says(), [names[1], names[0], names[2]], 30)
    assert not fits(says(relative_file_paths=[f"bag/{name}" for name in names]), names, 30)
    assert not fits(says(files=[{"path": "other.mcap"}]), names, 30)
    assert not fits(says(files=[7]), names, 30)
    assert not fits(says(storage_identifier="sqlite3"), names, 30)
    assert not fits(says(compression_mode="FILE"), names, 30)
    assert not fits(b"rosbag2_bagfile_information: {}", names, 30)


def test_what_a_recorder_noted_beside_files_and_topics_stays(tmp_path: Path) -> None:
    paths = write_bag(tmp_path / "bag", {"/a": {}})
    kept = yaml.safe_dump({"rosbag2_bagfile_information": {"custom_data": {"robot": "r2"}, "ros_distro": "jazzy"}}).encode()
    information = described(paths, kept)
    assert (information["custom_data"], information["ros_distro"]) == ({"robot": "r2"}, "jazzy")


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 200_000,
        b"a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: [*c,*c]\n",
        b"rosbag2_bagfile_information: &a [*a]",
        b"x" * (YAML_SIZE_MAX + 1),
        b"\xff\xfe\x00",
        b"!!python/object/apply:os.system ['false']",
        b"rosbag2_bagfile_information: {relative_file_paths: 2001-99-99}",
        b"a: 2001-99-99",
        b"? {[]: 1}\n: {}",
        b"",
    ],
)
def test_no_text_from_elsewhere_does_harm(tmp_path: Path, text: bytes) -> None:
    """The loader in C ends the process at the first of these."""
    assert not fits(text, ["a.mcap"], 1)
    paths = write_bag(tmp_path / "bag", {"/a": {"offered_qos_profiles": text.decode("latin-1")[:100_000]}})
    assert described(paths, text)["message_count"] == 30


def aliases(levels: int) -> str:
    """A text that stands for 10 to the power of `levels` values."""
    rows = ["a0: &a0 x"] + [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels + 1)]
    return "\n".join(rows)


def merges(levels: int) -> str:
    rows = ["m0: &m0 {x: 1}"] + [f"m{n}: &m{n} {{<<: [{','.join([f'*m{n - 1}'] * 10)}]}}" for n in range(1, levels + 1)]
    return "\n".join(rows)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "text",
    [
        aliases(9) + "\nrosbag2_bagfile_information: {custom_data: {bomb: *a9}}",
        merges(9) + "\nrosbag2_bagfile_information: {custom_data: {bomb: 1}}",
        "rosbag2_bagfile_information: {message_count: !!int ''}",
        "rosbag2_bagfile_information: {message_count: !!bool maybe}",
        "rosbag2_bagfile_information: {message_count: !!timestamp soon}",
        "rosbag2_bagfile_information: {custom_data: {deep: " + "[" * 200 + "]" * 200 + "}}",
    ],
)
def test_a_kept_file_that_was_made_to_do_harm_does_none(tmp_path: Path, text: str) -> None:
    assert not fits(text.encode(), ["a.mcap"], 1)
    information = described(write_bag(tmp_path / "bag", {"/a": {}}), text.encode())
    assert information["custom_data"] is None


@pytest.mark.parametrize("depth", [100, 200, 300, 400])
def test_qualities_of_service_of_any_depth_are_written_or_left_out(tmp_path: Path, depth: int) -> None:
    profile = "- {history: 1, reliability: 1, durability: 2, liveliness: 1, deep: " + "[" * depth + "]" * depth + "}"
    assert described(write_bag(tmp_path / "bag", {"/a": {"offered_qos_profiles": profile}}))["message_count"] == 30


def test_names_that_mean_something_else_in_yaml_stay_names(tmp_path: Path) -> None:
    topics = ["yes", "null", "1", "0x10", "~", "- a", "a: b", "#x", "ä/ü", "\u2028", "a\nb", "{", "!x", "&y", "*z", "1:30", "2001-01-01"]
    information = check_bag(tmp_path / "bag", write_bag(tmp_path / "bag", {topic: {} for topic in topics}, messages=90))
    assert {each["topic_metadata"]["name"] for each in information["topics_with_message_count"]} == set(topics)


def test_what_was_written_here_is_known_until_it_is_changed(tmp_path: Path) -> None:
    text = write_metadata([BagFile(path.name, path) for path in write_bag(tmp_path / "bag", {"/a": {}})], MANIFEST)
    assert is_written(text, MANIFEST)
    assert not is_written(text, bytes(32))
    assert not is_written(text + b" ", MANIFEST)
    assert not is_written(text.replace(b"message_count: 30", b"message_count: 31"), MANIFEST)
    assert not is_written(text.split(b"\n", 1)[1], MANIFEST)
    assert not is_written(b"", MANIFEST)
