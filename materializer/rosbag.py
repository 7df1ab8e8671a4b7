"""`metadata.yaml`, without which rosbag2 plays no folder: kept as its recorder wrote it where it tells the truth, written anew where it does not.

Written in version 8 of the format, with the numbers for qualities of service that all versions of rosbag2 since then read. The only module that
imports `yaml`. What is in these files comes from elsewhere: they are read by the loader in Python, which a deep one does not crash, and without
aliases, by which a short one would stand for a document of any length.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from materializer.mcap_channels import ChannelFacts, read_channels
from materializer.mcap_index import McapIndex, read_index
from peer.core.hashing import hash_bytes

METADATA_FILE = "metadata.yaml"
ORIGINAL_FILE = "metadata.original.yaml"
"""What a recorder wrote and does not fit the files."""
VERSION = 8
YAML_SIZE_MAX = 256 * 1024
"""Of a file that is read. The one of a bag with a thousand topics has less."""
QOS_SIZE_MAX = 64 * 1024
QOS_FIELDS = ("history", "reliability", "durability", "liveliness")
QOS_NUMBERS: Mapping[str, Sequence[str]] = {
    "history": ("system_default", "keep_last", "keep_all", "unknown"),
    "reliability": ("system_default", "reliable", "best_effort", "unknown", "best_available"),
    "durability": ("system_default", "transient_local", "volatile", "unknown", "best_available"),
    "liveliness": ("system_default", "automatic", "manual_by_node", "manual_by_topic", "unknown", "best_available"),
}
"""Names that later recorders write, by the numbers that they stand for."""
NO_TIME_NS = 2**63 - 1
"""When a bag without messages starts, as rosbag2 has it."""
ROS_PROFILE = "ros2"
ROS_ENCODING = "cdr"
_PLAIN = (str, int, float, date)
_ROOT = "rosbag2_bagfile_information"
_HEADER = re.compile(rb"# Written by recmesh for the manifest ([0-9a-f]{64}); BLAKE3 of the rest: ([0-9a-f]{64})\n")


class BagFile(NamedTuple):
    """An MCAP file of a bag: its name there, and where its bytes are."""

    name: str
    path: Path


class _Topic(NamedTuple):
    name: str
    type: str
    encoding: str


def is_bag(manifest: Mapping[str, Any]) -> bool:
    """True if the recording of this manifest is one that rosbag2 plays."""
    topics = manifest.get("channels") or manifest.get("topics") or ()
    return manifest["profile"] == ROS_PROFILE or any(topic["encoding"] == ROS_ENCODING for topic in topics)


def fits(text: bytes, names: Sequence[str], message_count: int) -> bool:
    """True if a kept `metadata.yaml` names these files and no others, and as many messages as they have: then rosbag2 plays them with it."""
    information = _information(text)
    files = information.get("files", [])
    try:
        listed = [each["path"] for each in files]
    except (TypeError, KeyError):
        return False
    return (
        information.get("storage_identifier") == "mcap"
        and information.get("relative_file_paths") == list(names)
        and listed in ([], list(names))
        and information.get("message_count") == message_count
        and not information.get("compression_mode")
    )


def write_metadata(files: Sequence[BagFile], manifest_id: bytes, kept: bytes | None = None) -> bytes:
    """`metadata.yaml` for these files, by what they hold; `kept` is one whose other fields stay. Reads the files. Raises what `read_index` does."""
    indexes = [read_index(file.path) for file in files]
    channels = [read_channels(file.path) for file in files]
    before = _information(kept) if kept is not None else {}
    custom, distro = before.get("custom_data"), before.get("ros_distro")
    start_ns = min((index.start_ns for index in indexes if index.start_ns is not None), default=None)
    end_ns = max((index.end_ns for index in indexes if index.end_ns is not None), default=None)
    document = {
        "version": VERSION,
        "storage_identifier": "mcap",
        **_times(start_ns, end_ns),
        "message_count": sum(index.message_count for index in indexes),
        "topics_with_message_count": _topics(indexes, channels),
        "compression_format": "",
        "compression_mode": "",
        "relative_file_paths": [file.name for file in files],
        "files": [_file(file, index) for file, index in zip(files, indexes, strict=True)],
        "custom_data": _custom(custom) or None,
        "ros_distro": distro if isinstance(distro, str) and distro else "unknown",
    }
    text = yaml.dump({_ROOT: document}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=2**31).encode()
    return f"# Written by recmesh for the manifest {manifest_id.hex()}; BLAKE3 of the rest: {hash_bytes(text).hex()}\n".encode() + text


def is_written(text: bytes, manifest_id: bytes) -> bool:
    """True if `write_metadata` made this for that manifest, and nobody changed it since."""
    found = _HEADER.match(text)
    return found is not None and found[1] == manifest_id.hex().encode() and found[2] == hash_bytes(text[found.end() :]).hex().encode()


class _Loader(yaml.SafeLoader):
    """The one in Python: the one in C crashes at deep nesting. Each part of a document stands in it once."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "an alias", None)
        return super().compose_node(parent, index)


class _Dumper(yaml.SafeDumper):
    """Text of several lines is quoted, as rosbag2 writes it."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if not text.isprintable() else None)


_Dumper.add_representer(str, _represent_text)


def _information(text: bytes) -> dict[str, Any]:
    """What a `metadata.yaml` says; nothing if it is none."""
    document = _load(text, YAML_SIZE_MAX)
    information = document.get(_ROOT) if isinstance(document, dict) else None
    return information if isinstance(information, dict) else {}


def _load(text: bytes | str, size_max: int) -> Any:  # noqa: ANN401  (a YAML document)
    if len(text) > size_max:
        return None
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506  (a safe one)
    except (yaml.YAMLError, RecursionError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError):
        return None  # The loader raises all of these at values that are not what their tags say.


def _custom(found: object) -> dict[str, str]:
    """What a recorder noted as text, by text."""
    return {str(key): str(value) for key, value in found.items() if isinstance(value, _PLAIN)} if isinstance(found, dict) else {}


def _times(start_ns: int | None, end_ns: int | None) -> dict[str, Any]:
    duration_ns = 0 if start_ns is None or end_ns is None else end_ns - start_ns
    return {
        "duration": {"nanoseconds": duration_ns},
        "starting_time": {"nanoseconds_since_epoch": NO_TIME_NS if start_ns is None else start_ns},
    }


def _file(file: BagFile, index: McapIndex) -> dict[str, Any]:
    times = _times(index.start_ns, index.end_ns)
    return {"path": file.name, "starting_time": times["starting_time"], "duration": times["duration"], "message_count": index.message_count}


def _topics(indexes: Iterable[McapIndex], channels: Iterable[Iterable[ChannelFacts]]) -> list[dict[str, Any]]:
    counts: dict[_Topic, int] = {}
    for index in indexes:
        for each in index.topics:
            topic = _Topic(each.topic, each.schema, each.message_encoding)
            counts[topic] = counts.get(topic, 0) + each.message_count
    offered: dict[_Topic, list[Any]] = {}
    hashes: dict[_Topic, str] = {}
    for facts in (each for file in channels for each in file):
        topic = _Topic(facts.topic, facts.schema, facts.encoding)
        profiles = offered.setdefault(topic, [])
        profiles += [profile for profile in _profiles(facts.metadata.get("offered_qos_profiles", "")) if profile not in profiles]
        if facts.metadata.get("topic_type_hash"):
            hashes.setdefault(topic, facts.metadata["topic_type_hash"])
    return [
        {
            "topic_metadata": {
                "name": topic.name,
                "type": topic.type,
                "serialization_format": topic.encoding,
                "offered_qos_profiles": _dump_profiles(offered.get(topic, [])),
                "type_description_hash": hashes.get(topic, ""),
            },
            "message_count": count,
        }
        for topic, count in sorted(counts.items())
    ]


def _profiles(text: str) -> list[dict[str, Any]]:
    """Qualities of service with numbers instead of names; none where they cannot be read."""
    found = _load(text, QOS_SIZE_MAX)
    if not isinstance(found, list):
        return []
    return [number for profile in found if (number := _in_numbers(profile)) is not None]


def _in_numbers(profile: object) -> dict[str, Any] | None:
    if not isinstance(profile, dict):
        return None
    numbers = dict(profile)
    for field in QOS_FIELDS:
        value = numbers.get(field)
        if isinstance(value, str) and value in QOS_NUMBERS[field]:
            numbers[field] = QOS_NUMBERS[field].index(value)
        elif type(value) is not int:
            return None
    return numbers


def _dump_profiles(profiles: Sequence[dict[str, Any]]) -> str:
    try:
        return yaml.dump(list(profiles), Dumper=_Dumper, sort_keys=False).strip() if profiles else ""
    except RecursionError:
        return ""  # To write a deep one takes more than to read it.
