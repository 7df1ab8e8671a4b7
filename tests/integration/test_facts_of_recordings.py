"""What a recording says of itself for ever: where it comes from, what was dropped, what is in its files beside messages. All sites say the same."""

import json
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import jsonschema
import pytest
from blake3 import blake3
from mcap.writer import Writer

from materializer.manifest_reading import read_manifest
from peer import __version__
from peer.api.editing_models import RecordingShown
from tests.integration.running_peer import RunningPeer, running_peer
from tests.mcap_samples import write_mcap

PUBLISHED = Path(__file__).parents[2] / "docs" / "manifest.schema.json"
GROUPS, RECORDINGS = "/api/v1/sync/groups", "/api/v1/recordings"


@pytest.fixture
async def peer(tmp_path: Path) -> AsyncIterator[RunningPeer]:
    async with running_peer(tmp_path / "data", "alpha") as running:
        await running.post(GROUPS, {"name": "lab"})
        yield running


def write_bag(path: Path, number: int, dropped: str | None = None) -> Path:
    """One file of a split bag, with a map in it."""
    writer = Writer(str(path))
    writer.start(profile="ros2", library="a recorder 7")
    schema = writer.register_schema("std_msgs/msg/String", "ros2msg", b"string data")
    channel = writer.register_channel("/chatter", "cdr", schema)
    writer.add_message(channel, 1000 + number, b"hello", 1000 + number)
    writer.add_attachment(1, 1, "map.png", "image/png", b"png")
    if dropped is not None:
        writer.add_metadata("recorder", {"dropped_message_count": dropped})
    writer.finish()
    return path


async def test_a_recording_says_who_added_it_what_was_dropped_and_what_is_in_its_files(peer: RunningPeer, tmp_path: Path) -> None:
    folder = tmp_path / "bags"
    folder.mkdir()
    paths = [write_bag(folder / f"bag_{number}.mcap", number, str(number * 10)) for number in range(2)]

    order = {"paths": [str(path) for path in paths], "name": "run", "operator": "ann"}
    added = await peer.post(RECORDINGS, order, RecordingShown, status=201)

    assert added["provenance"] == {
        "tool": "recmesh",
        "version": __version__,
        "host": socket.gethostname(),
        "source_path": str(folder),
        "operator": "ann",
    }
    assert (added["profile"], added["dropped_message_count"], added["manifest_state"], added["late"]) == ("ros2", 10, "complete", [])
    assert [chunk["dropped_message_count"] for chunk in added["chunks"]] == [0, 10]
    assert [chunk["library"] for chunk in added["chunks"]] == ["a recorder 7"] * 2
    image = {"kind": "attachment", "name": "map.png", "media_type": "image/png", "size_bytes": 3}
    assert all(chunk["embedded"][0] == image for chunk in added["chunks"])
    assert [topic["schema_hash"] for topic in added["topics"]] == [blake3(b"string data").hexdigest()]

    async with peer.http.get(f"{peer.url}{RECORDINGS}/run/manifest", headers={"Accept": "application/json"}) as answer:
        manifest = json.loads(await answer.read())
    assert (manifest["version"], manifest["provenance"], manifest["dropped_message_count"]) == (2, added["provenance"], 10)
    schema = await peer.get("/api/v1/schemas/manifest")
    assert schema == json.loads(PUBLISHED.read_text())
    jsonschema.validate(manifest, schema)
    assert read_manifest(json.dumps(manifest).encode()).manifest_id.hex() == added["manifest_id"]
    assert manifest["channels"][0]["schema_hash"] == added["topics"][0]["schema_hash"]


async def test_what_is_said_of_dropped_messages_at_the_adding_holds_over_what_files_say(peer: RunningPeer, tmp_path: Path) -> None:
    paths = [str(write_bag(tmp_path / f"bag_{number}.mcap", number, said)) for number, said in enumerate(("5", None))]

    silent = await peer.post(RECORDINGS, {"paths": paths, "name": "silent"}, RecordingShown)
    assert ([chunk["dropped_message_count"] for chunk in silent["chunks"]], silent["dropped_message_count"]) == ([5, None], None)
    told = await peer.post(RECORDINGS, {"paths": paths, "name": "told", "dropped": [0, 7]}, RecordingShown)
    assert ([chunk["dropped_message_count"] for chunk in told["chunks"]], told["dropped_message_count"]) == ([0, 7], 7)
    for wrong in ([1], [1, 2, 3], [0, 2**60]):
        problem = await peer.post(RECORDINGS, {"paths": paths, "name": "wrong", "dropped": wrong}, status=400)
        assert problem["code"] == "request_invalid"
    assert {each["name"] for each in (await peer.get(RECORDINGS))["recordings"]} == {"silent", "told"}


async def test_an_operator_that_is_no_line_of_text_is_refused(peer: RunningPeer, tmp_path: Path) -> None:
    path = str(write_mcap(tmp_path / "a.mcap"))
    for wrong in ("a\nb", "\x1b[2J", "\u00e9" * 200):
        assert (await peer.post(RECORDINGS, {"paths": [path], "operator": wrong}, status=400))["code"] == "request_invalid"
    assert (await peer.post(RECORDINGS, {"paths": [path], "operator": "Zo\u00eb"}))["provenance"]["operator"] == "Zo\u00eb"


async def test_a_path_that_no_event_may_hold_is_told_as_far_as_it_may(peer: RunningPeer, tmp_path: Path) -> None:
    folder = tmp_path / "bad\nname"
    folder.mkdir()
    added = await peer.post(RECORDINGS, {"paths": [str(write_mcap(folder / "a.mcap"))], "name": "run"})
    assert added["provenance"]["source_path"] == f"{tmp_path}/bad?name/a.mcap"


async def test_a_damaged_chunk_is_refused_where_all_is_checked(peer: RunningPeer, tmp_path: Path) -> None:
    path = write_mcap(tmp_path / "a.mcap", messages=100)
    data = bytearray(path.read_bytes())
    position = 8
    while data[position] != 0x06:
        position += 9 + struct.unpack_from("<Q", data, position + 1)[0]
    data[position + 70] ^= 0xFF
    path.write_bytes(data)
    assert (await peer.post(RECORDINGS, {"paths": [str(path)], "check": True}, status=400))["code"] == "mcap_truncated"
    assert (await peer.post(RECORDINGS, {"paths": [str(path)]}))["message_count"] == 100
