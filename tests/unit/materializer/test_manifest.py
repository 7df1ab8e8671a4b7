"""Manifests, against a golden vector and an encoder of the test's own: another implementation must come to the same id."""

import json
import random
from pathlib import Path
from typing import Any

import rfc8785
from blake3 import blake3

from materializer.bodies import AttachmentAdd, ChunkAdd, RecordingCreate
from materializer.manifest import RecordingFacts, file_names, folder_name, make_manifest
from peer.core.identity import BlobId, EventId, GroupId, PeerId
from peer.core.names import is_name
from tests.histories import SCHEMA_HASH, chunk_body, create_body, facts_of

VECTOR = Path(__file__).parents[2] / "vectors" / "manifest.json"
FACTS = RecordingFacts(GroupId(b"g" * 32), EventId(b"r" * 32), PeerId(b"p" * 32), create_body("run-1"))
RECORDING = FACTS.recording


def attachment(name: str, data: bytes = b"yaml") -> AttachmentAdd:
    return AttachmentAdd(RECORDING, name, *facts_of(data))


def sample_files() -> tuple[list[ChunkAdd], list[AttachmentAdd]]:
    """Two chunks with one topic in common, one with a name that cannot stay, and an attachment."""
    second = chunk_body(
        RECORDING, 1, source_name="../../etc/passwd", topics=[("/b", "", "", "json", 3, b""), ("/a", "S", "ros2msg", "cdr", 7, SCHEMA_HASH)]
    )
    empty = chunk_body(RECORDING, 2, message_count=0, start_ns=None, end_ns=None, topics=[], size=0)
    return [chunk_body(RECORDING), second, empty], [attachment("metadata.yaml")]


def test_the_manifest_is_that_of_the_golden_vector() -> None:
    vector = json.loads(VECTOR.read_text())
    manifest = make_manifest(FACTS, *sample_files(), version=1)
    assert manifest.cbor.hex() == vector["cbor"]
    assert manifest.json.decode() == vector["json"]
    assert manifest.manifest_id.hex() == vector["manifest_id"]


def test_the_vector_holds_for_an_encoder_that_is_not_ours() -> None:
    vector = json.loads(VECTOR.read_text())
    document = json.loads(vector["json"])
    assert rfc8785.dumps(document).decode() == vector["json"]
    assert encode(from_json(document)).hex() == vector["cbor"]
    assert blake3(bytes.fromhex(vector["cbor"])).hexdigest() == vector["manifest_id"]
    assert document["start_time_ns"] == "100"
    assert document["topics"][0] == {"topic": "/a", "schema": "S", "schema_encoding": "ros2msg", "encoding": "cdr", "message_count": 17}


def test_the_order_in_which_files_are_given_changes_nothing() -> None:
    chunks, attachments = sample_files()
    attachments += [attachment("b.yaml", b"b"), attachment("a.yaml", b"a")]
    expected = make_manifest(FACTS, chunks, attachments).cbor
    for seed in range(10):
        chance = random.Random(seed)
        shuffled = chance.sample(attachments, len(attachments))
        assert make_manifest(FACTS, chance.sample(chunks, len(chunks)), shuffled).cbor == expected


def test_every_fact_changes_the_id() -> None:
    chunks, attachments = sample_files()
    ids = {make_manifest(FACTS, chunks, attachments).manifest_id}
    first = chunks[0]
    changed = [first._replace(**{name: value}) for name, value in CHANGES.items()]
    for chunk in changed:
        ids.add(make_manifest(FACTS, [chunk, *chunks[1:]], attachments).manifest_id)
    ids.add(make_manifest(FACTS, chunks, []).manifest_id)
    ids.add(make_manifest(FACTS._replace(site=PeerId(b"q" * 32)), chunks, attachments).manifest_id)
    ids.add(make_manifest(FACTS._replace(create=RecordingCreate("run-2", "", 0, "")), chunks, attachments).manifest_id)
    assert len(ids) == len(CHANGES) + 4


CHANGES: dict[str, Any] = {
    "index": 7,
    "source_name": "other.mcap",
    "blob": BlobId(b"b" * 32),
    "sha256": b"s" * 32,
    "size": 999,
    "message_count": 999,
    "start_ns": 1,
    "end_ns": 999,
    "topics": [("/c", "", "", "", 1, b"")],
}


def test_files_keep_their_names_where_these_can_be_paths_and_are_unique() -> None:
    names = ["bag_0.mcap", "../x.mcap", ".hidden", "a/b", "", "manifest.json", "Manifest.CBOR", "twice.mcap", "TWICE.mcap", "é.mcap", "con\n"]
    chunks = [chunk_body(RECORDING, index, source_name=name) for index, name in enumerate(names)]
    given = file_names(chunks, [attachment("metadata.yaml"), attachment("bag_9.mcap"), attachment("../../metadata.yaml")])
    assert given[0] == "bag_0.mcap"
    for index, name in enumerate(given[1 : len(names)], 1):
        assert name == f"chunk-{index:06}-{chunks[index].sha256.hex()[:8]}.mcap"
    assert given[len(names) :] == ["metadata.yaml", "bag_9.mcap", f"attachment-000002-{facts_of(b'yaml').sha256.hex()[:8]}"]
    assert all(is_name(name) for name in given)
    assert len({name.casefold() for name in given}) == len(given)


def test_a_name_that_looks_like_one_that_is_made_here_is_not_kept() -> None:
    """Otherwise a file could take the name that another one is given."""
    other = chunk_body(RECORDING, 1, source_name="a/b")
    wanted = f"chunk-000001-{other.sha256.hex()[:8]}.mcap"
    thief = chunk_body(RECORDING, 0, source_name=wanted)
    upper = attachment(wanted.upper())
    names = file_names([thief, other], [upper])
    assert names[1] == wanted
    assert len({name.casefold() for name in names}) == 3


def test_the_folder_of_a_later_recording_carries_a_short_id() -> None:
    assert folder_name("run", RECORDING, first=True) == "run"
    assert folder_name("run", RECORDING, first=False) == f"run-{RECORDING.hex()[:8]}"
    taken = frozenset({f"run-{RECORDING.hex()[:8]}"})
    assert folder_name("run", RECORDING, first=False, taken=taken) == f"run-{RECORDING.hex()[:16]}"


def from_json(value: Any, key: str = "") -> Any:
    """The CBOR value that a manifest's JSON stands for."""
    if isinstance(value, dict):
        return {name: from_json(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if isinstance(value, str) and key.endswith("_ns"):
        return int(value)
    return bytes.fromhex(value) if key in {"group", "recording", "site", "blob_id", "sha256"} else value


def encode(value: Any) -> bytes:
    """Deterministic CBOR, as far as manifests need it."""
    if value is None:
        return b"\xf6"
    if isinstance(value, int):
        return head(0, value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(encode(item) for item in value)
    pairs = sorted((encode(name), encode(item)) for name, item in value.items())
    return head(5, len(pairs)) + b"".join(name + item for name, item in pairs)


def head(major: int, number: int) -> bytes:
    """Major type and length."""
    if number < 24:
        return bytes([major << 5 | number])
    size = next(size for size in (1, 2, 4, 8) if number < 256**size)
    return bytes([major << 5 | 23 + size.bit_length()]) + number.to_bytes(size, "big")


def test_dropped_messages_are_added_up_only_where_each_file_says_how_many() -> None:
    for said, expected in (((3, 4), 7), ((0, 0), 0), ((3, None), None), ((None, None), None), ((2**48,) * 40, 2**53 - 1)):
        chunks = [chunk_body(RECORDING, index, dropped=dropped) for index, dropped in enumerate(said)]
        fields = make_manifest(FACTS, chunks).fields
        assert (fields["dropped_message_count"], [chunk["dropped_message_count"] for chunk in fields["chunks"]]) == (expected, list(said))
        assert make_manifest(FACTS, chunks, version=1).fields["dropped_message_count"] is None
    assert make_manifest(FACTS, []).fields["dropped_message_count"] is None


def test_channels_whose_schemas_differ_in_their_data_alone_are_two_and_were_one_in_the_first_version() -> None:
    topics = [("/a", "S", "ros2msg", "cdr", 3, b"1" * 32), ("/a", "S", "ros2msg", "cdr", 4, b"2" * 32)]
    chunk = chunk_body(RECORDING, topics=topics)
    channels = make_manifest(FACTS, [chunk]).fields["channels"]
    assert [(each["schema_hash"], each["message_count"]) for each in channels] == [(b"1" * 32, 3), (b"2" * 32, 4)]
    assert [each["message_count"] for each in make_manifest(FACTS, [chunk], version=1).fields["topics"]] == [7]
