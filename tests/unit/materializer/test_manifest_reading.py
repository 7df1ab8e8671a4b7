"""Manifests of all versions are read back, in both forms, and are what the published schema says."""

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cbor2
import jsonschema
import pytest

from materializer.bodies import AttachmentAdd, ChunkAdd
from materializer.fields import EmbeddedEntry
from materializer.manifest import Manifest, RecordingFacts, make_manifest
from materializer.manifest_reading import read_manifest
from materializer.manifest_schema import check_document, json_schema
from peer.core.encoding import encode
from peer.core.identity import EventId, GroupId, PeerId
from peer.errors import ManifestInvalidError
from tests.histories import SCHEMA_HASH, chunk_body, create_body, facts_of

ROOT = Path(__file__).parents[3]
PUBLISHED = jsonschema.Draft202012Validator(json.loads((ROOT / "docs" / "manifest.schema.json").read_text()))
FIRST = json.loads((ROOT / "tests" / "vectors" / "manifest.json").read_text())
FACTS = RecordingFacts(GroupId(b"g" * 32), EventId(b"r" * 32), PeerId(b"p" * 32), create_body("run-1"))
IMAGE: EmbeddedEntry = ("attachment", "map.png", "image/png", 7)


def sample(version: int) -> Manifest:
    """A manifest with a value in every field."""
    topics = [("/b", "", "", "json", 3, b""), ("/a", "S", "ros2msg", "cdr", 7, SCHEMA_HASH)]
    chunks: list[ChunkAdd] = [
        chunk_body(FACTS.recording, dropped=3, embedded=[IMAGE]),
        chunk_body(FACTS.recording, 1, topics=topics, dropped=4),
        chunk_body(FACTS.recording, 2, message_count=0, start_ns=None, end_ns=None, topics=[], size=0, dropped=0),
    ]
    return make_manifest(FACTS, chunks, [AttachmentAdd(FACTS.recording, "metadata.yaml", *facts_of(b"yaml"))], version=version)


def read_as(manifest: Manifest) -> list[Manifest]:
    """What is read of a manifest in each of its forms, the last one with its fields in another order and blanks between them."""
    loose = json.dumps(_shuffled(json.loads(manifest.json)), indent=1)
    return [read_manifest(data) for data in (manifest.cbor, manifest.json, loose.encode(), b"\n" + loose.encode("utf-8"))]


def _shuffled(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shuffled(value[key]) for key in reversed(value)}
    return [_shuffled(item) for item in value] if isinstance(value, list) else value


def test_the_published_schema_is_that_of_the_models() -> None:
    """Write it anew with `json_schema` where this fails."""
    assert (ROOT / "docs" / "manifest.schema.json").read_text() == json_schema()
    PUBLISHED.check_schema(PUBLISHED.schema)


@pytest.mark.parametrize("version", [1, 2])
def test_a_manifest_of_each_version_is_read_back_in_both_forms_as_what_it_was(version: int) -> None:
    manifest = sample(version)
    for read in read_as(manifest):
        assert (read.cbor, read.json, read.manifest_id, read.fields) == (manifest.cbor, manifest.json, manifest.manifest_id, manifest.fields)
    PUBLISHED.validate(json.loads(manifest.json))


def test_the_golden_manifest_of_the_first_version_is_read_back_for_ever() -> None:
    for data in (bytes.fromhex(FIRST["cbor"]), FIRST["json"].encode()):
        read = read_manifest(data)
        assert (read.cbor.hex(), read.json.decode(), read.manifest_id.hex()) == (FIRST["cbor"], FIRST["json"], FIRST["manifest_id"])
    PUBLISHED.validate(json.loads(FIRST["json"]))


def test_the_second_version_is_that_of_its_golden_vector() -> None:
    vector = json.loads((ROOT / "tests" / "vectors" / "manifest_2.json").read_text())
    manifest = sample(2)
    assert (manifest.cbor.hex(), manifest.json.decode(), manifest.manifest_id.hex()) == (vector["cbor"], vector["json"], vector["manifest_id"])
    document = json.loads(vector["json"])
    assert (document["dropped_message_count"], [chunk["dropped_message_count"] for chunk in document["chunks"]]) == (7, [3, 4, 0])
    assert document["channels"][0] == {
        "topic": "/a",
        "schema": "S",
        "schema_encoding": "ros2msg",
        "encoding": "cdr",
        "message_count": 17,
        "schema_hash": SCHEMA_HASH.hex(),
    }
    assert document["channels"][1]["schema_hash"] is None
    assert document["provenance"] == {"tool": "recmesh", "version": "0.1", "host": "desk", "source_path": "/bags/run", "operator": "ann"}
    assert document["chunks"][0]["embedded"] == [{"kind": "attachment", "name": "map.png", "media_type": "image/png", "size_bytes": 7}]


def test_manifests_with_any_text_and_numbers_in_them_come_back_the_same() -> None:
    chance = random.Random(5)
    for _ in range(60):
        manifest = _random(chance)
        for read in read_as(manifest):
            assert (read.cbor, read.json, read.manifest_id) == (manifest.cbor, manifest.json, manifest.manifest_id)
        PUBLISHED.validate(json.loads(manifest.json))


def _random(chance: random.Random) -> Manifest:
    def text() -> str:
        return "".join(chance.choice('a"\\/ \u00e9\u2028\U0001f916{') for _ in range(chance.randrange(1, 9)))

    def number(most: int = 2**48) -> int:
        return chance.choice([0, 1, chance.randrange(most), most])

    def chunk(index: int) -> ChunkAdd:
        topics = [(text(), text(), text(), text(), number(), chance.choice([b"", chance.randbytes(32)])) for _ in range(chance.randrange(4))]
        start = chance.choice([None, number(2**63 - 1)])
        changes: dict[str, Any] = {"source_name": text(), "size": number(), "message_count": number(), "library": text(), "topics": topics}
        changes |= {"start_ns": start, "end_ns": start, "dropped": chance.choice([None, number()])}
        changes["embedded"] = [(chance.choice(["metadata", "attachment"]), text(), text(), number()) for _ in range(chance.randrange(3))]
        return chunk_body(FACTS.recording, index, **changes)

    said = [text() for _ in range(6)]
    create = create_body("run")._replace(machine=said[0], tool=said[1], tool_version=said[2], host=said[3], source_path=said[4], operator=said[5])
    chunks = [chunk(index) for index in sorted(chance.sample(range(1_000_000), chance.randrange(5)))]
    attachments = [AttachmentAdd(FACTS.recording, text(), *facts_of(chance.randbytes(4))) for _ in range(chance.randrange(3))]
    return make_manifest(FACTS._replace(create=create), chunks, attachments, version=chance.choice([1, 2]))


CHANGES: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
    ("a field that is not known", lambda document: document.update(other=1)),
    ("a field that is missing", lambda document: document.pop("machine")),
    ("a field of the other version", lambda document: document.update(topics=document.get("channels", []), channels=document.get("topics", []))),
    ("a later version", lambda document: document.update(version=3)),
    ("no version", lambda document: document.pop("version")),
    ("a hash in capitals", lambda document: document.update(group="G" * 64)),
    ("a hash that is too short", lambda document: document.update(site="ab")),
    ("a time as a number", lambda document: document.update(created_ns=5)),
    ("a time with a zero in front", lambda document: document.update(created_ns="05")),
    ("a negative time", lambda document: document.update(start_time_ns="-5")),
    ("a count as text", lambda document: document.update(message_count="5")),
    ("a count that is negative", lambda document: document.update(message_count=-1)),
    ("a count that is true", lambda document: document.update(message_count=True)),
    ("a chunk with a field too many", lambda document: document["chunks"][0].update(other=1)),
    ("a chunk without an index", lambda document: document["chunks"][0].pop("index")),
    ("a name that is a number", lambda document: document["attachments"][0].update(name=1)),
    ("attachments that are null", lambda document: document.update(attachments=None)),
]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("change", [change for _, change in CHANGES], ids=[name for name, _ in CHANGES])
def test_a_changed_field_is_refused_by_the_schema_and_by_the_reader(version: int, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(sample(version).json)
    check_document(document)
    change(document)
    with pytest.raises(ManifestInvalidError):
        read_manifest(json.dumps(document).encode())
    with pytest.raises(jsonschema.ValidationError):
        PUBLISHED.validate(document)


@pytest.mark.parametrize("version", [1, 2])
def test_any_other_value_is_another_id(version: int) -> None:
    manifest = sample(version)
    seen = {manifest.manifest_id}
    for changed in _changed(json.loads(manifest.json)):
        seen.add(read_manifest(json.dumps(changed).encode()).manifest_id)
    assert len(seen) > 40


def _changed(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The document with each of its texts and numbers changed, one at a time."""
    found = []

    def walk(value: Any, path: list[Any]) -> None:
        if isinstance(value, dict | list):
            for key in value if isinstance(value, dict) else range(len(value)):
                walk(value[key], [*path, key])
        elif (value is not None and path[-1] not in {"version", "kind"}) or path == ["provenance", "version"]:
            changed = copy.deepcopy(document)
            holder = changed
            for key in path[:-1]:
                holder = holder[key]
            digits = isinstance(value, str) and (len(value) == 64 or path[-1].endswith("_ns"))
            holder[path[-1]] = value + 1 if isinstance(value, int) else value[:-1] + ("1" if value[-1:] != "1" else "2") if digits else value + "x"
            found.append(changed)

    walk(document, [])
    return found


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"{}",
        b"[]",
        b"null",
        b'{"version": 2}',
        b'{"version": 2, "version": 2}',
        b"\xff\xfe",
        b'{"a": "\xff"}',
        b'{"a":' * 100_000,
        b"[" * 100_000,
        encode([1]),
        encode({}),
        encode({"version": 2}),
        b"\xa1\x67version\x02\x00",
        sample(2).json[:-1],
        sample(2).cbor + b"\x00",
        sample(2).json.replace(b'"message_count":20', b'"message_count":20.0'),
        sample(2).json.replace(b'"run-1"', b'"\\ud800"'),
        sample(2).json.replace(b'"version":2', b'"version":2,"version":2'),
        sample(2).json.replace(b'"created_ns":"1700000000000000000"', b'"created_ns":"9999999999999999999"'),
        sample(2).json.replace(b'"message_count":20', b'"message_count":' + b"9" * 5000),
    ],
)
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(ManifestInvalidError) as caught:
        read_manifest(data)
    assert "\n" not in caught.value.text


def test_cbor_with_values_of_other_types_is_refused() -> None:
    fields = sample(2).fields
    for name, value in (("group", fields["group"].hex()), ("machine", b"robot-1"), ("created_ns", "1700000000000000000"), ("message_count", 2**60)):
        with pytest.raises(ManifestInvalidError):
            read_manifest(encode({**fields, name: value}))
    with pytest.raises(ManifestInvalidError):
        read_manifest(cbor2.dumps(fields))  # Its keys are not sorted.
