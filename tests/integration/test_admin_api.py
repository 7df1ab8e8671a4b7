"""The admin API on a real socket: who may call, what comes back, that the published description is true."""

import asyncio
import hashlib
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from openapi_spec_validator import validate

from materializer.digest import digest_of_export
from peer.api.models import EventPage, Group, Invitation, InvitationMade, Peer, RecordingDetails, RecordingPage, Verified
from peer.api.status_models import Rebuilt, Status, Transfer
from peer.cli.sample import write_sample
from peer.core.encoding import decode
from peer.core.hashing import hash_bytes
from tests.integration.running_peer import DEADLINE_S, RunningPeer, running_peer

GROUPS, RECORDINGS = "/api/v1/sync/groups", "/api/v1/recordings"
START_NS = 1_790_000_000 * 10**9


@pytest.fixture
async def peer(tmp_path: Path) -> AsyncIterator[RunningPeer]:
    async with running_peer(tmp_path / "data", "alpha") as running:
        yield running


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    path = tmp_path / "run_0.mcap"
    write_sample(path, 256 * 1024, START_NS)
    return path


async def with_recording(peer: RunningPeer, bag: Path, **order: object) -> Any:
    await peer.post(GROUPS, {"name": "lab"}, Group, status=201)
    return await peer.post(RECORDINGS, {"paths": [str(bag)], **order}, RecordingDetails, status=201)


async def test_the_description_is_valid_and_names_every_route(peer: RunningPeer) -> None:
    document = await peer.get("/openapi.json")

    validate(document)
    assert {"/api/v1/status", "/health/live", "/health/ready", GROUPS, f"{GROUPS}/join", f"{RECORDINGS}/{{id}}/manifest"} <= set(document["paths"])
    for path, methods in document["paths"].items():
        for method in methods:
            url = peer.url + path.replace("{id}", "nothing-of-this-name").replace("{index}", "0")
            async with asyncio.timeout(DEADLINE_S), peer.http.request(method, url) as answer:
                problem = await answer.json() if answer.content_type.endswith("json") else {}  # A stream goes on for ever.
                assert answer.status not in {405, 500}, f"{method} {path}"
                assert answer.status < 300 or "fix" in problem, f"{method} {path}"


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Basic abc", "Bearer \u00e9"])
async def test_without_the_token_nothing_is_told_but_health(peer: RunningPeer, header: str | None) -> None:
    async with aiohttp.ClientSession(headers={"Authorization": header} if header else {}) as stranger:
        for path in ("/api/v1/status", "/openapi.json", "/nowhere"):
            answer = await stranger.get(peer.url + path)
            assert (answer.status, (await answer.json(content_type=None))["code"]) == (401, "token_invalid")
        for path in ("/health/live", "/health/ready"):
            assert (await stranger.get(peer.url + path)).status == 200


async def test_a_name_that_was_made_to_lead_here_is_refused(peer: RunningPeer) -> None:
    problem = await peer.get("/api/v1/status", headers={"Host": "evil.example:80"}, status=403)

    assert problem["code"] == "not_allowed"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "request_invalid"),
        (b'{"name": 5}', 400, "request_invalid"),
        (b'{"name": "a", "nonsense": 1}', 400, "request_invalid"),
        (b"{}", 400, "request_invalid"),
        (b'{"name": "a/b"}', 400, "name_invalid"),
        (b'{"name": ".a"}', 400, "name_invalid"),
        (b'{"name": "a", "owners": ["zz"]}', 400, "request_invalid"),
        (b'{"name": "' + b"a" * 2**20 + b'"}', 413, "body_too_large"),
    ],
)
async def test_a_body_that_is_not_as_it_should_be_is_refused(peer: RunningPeer, body: bytes, status: int, code: str) -> None:
    problem = await peer.call("POST", GROUPS, data=io.BytesIO(body), headers={"Content-Type": "application/json"}, status=status)

    assert problem["code"] == code
    assert await peer.get(GROUPS) == []


async def test_a_group_can_be_read_as_soon_as_it_was_made(peer: RunningPeer) -> None:
    made = await peer.post(GROUPS, {"name": "lab"}, Group, status=201)

    assert await peer.get(GROUPS, Group) == [made]
    assert (made["role"], made["owners"], made["members"]) == (
        "owner",
        [peer.peer_id],
        [{"peer_id": peer.peer_id, "name": "alpha", "role": "owner"}],
    )
    for reference in (made["group_id"], made["group_id"][:8], "lab", "LAB"):
        assert await peer.get(f"{GROUPS}/{reference}", Group) == made
    assert (await peer.post(GROUPS, {"name": "Lab"}, status=409))["code"] == "name_taken"
    assert (await peer.get(f"{GROUPS}/other", status=404))["code"] == "not_found"


async def test_the_creator_comes_last_among_owners_unless_it_is_named(peer: RunningPeer) -> None:
    other = "ab" * 32

    last = await peer.post(GROUPS, {"name": "one", "owners": [other]}, Group)
    first = await peer.post(GROUPS, {"name": "two", "owners": [peer.peer_id, other]}, Group)

    assert last["owners"] == [other, peer.peer_id]
    assert first["owners"] == [peer.peer_id, other]
    assert (await peer.post(GROUPS, {"name": "three", "owners": [other, other]}, status=400))["code"] == "request_invalid"


async def test_a_recording_can_be_read_as_soon_as_it_was_added(peer: RunningPeer, bag: Path) -> None:
    added = await with_recording(peer, bag, tags=["night", "rain", "night"], machine="r2")

    assert (added["name"], added["state"], added["finalized"], added["tags"], added["machine"]) == ("run_0", "local", True, ["night", "rain"], "r2")
    assert (added["message_count"], added["chunk_count"]) == (8, 1)
    assert added["start_time_ns"] == str(START_NS)
    assert added["start_time"].startswith("2026-09-21T14:13:20.000000000Z"[:10])
    assert {topic["topic"]: topic["message_count"] for topic in added["topics"]} == {"/camera": 4, "/pose": 4}
    assert added["chunks"][0]["sha256"] == hashlib.sha256(bag.read_bytes()).hexdigest()
    assert added["chunks"][0]["blob_id"] == hash_bytes(bag.read_bytes()).hex()
    assert {**await peer.get(f"{RECORDINGS}/{added['id'][:10]}", RecordingDetails), "recovered": []} == added


async def test_the_manifest_is_what_its_id_says(peer: RunningPeer, bag: Path) -> None:
    added = await with_recording(peer, bag)

    answer = await peer.http.get(f"{peer.url}{RECORDINGS}/run_0/manifest", headers={"Accept": "application/cbor"})
    cbor = await answer.read()
    document = await peer.get(f"{RECORDINGS}/run_0/manifest")

    assert hash_bytes(cbor).hex() == added["manifest_id"]
    fields = decode(cbor)
    assert isinstance(fields, dict)
    assert (document["name"], document["created_ns"], document["recording"]) == ("run_0", str(fields["created_ns"]), added["id"])


async def test_a_part_of_a_chunk_can_be_had(peer: RunningPeer, bag: Path) -> None:
    await with_recording(peer, bag)
    url = f"{peer.url}{RECORDINGS}/run_0/chunks/0"

    whole = await peer.http.get(url)
    part = await peer.http.get(url, headers={"Range": "bytes=0-7"})
    beyond = await peer.http.get(url, headers={"Range": "bytes=99999999-"})

    assert await whole.read() == bag.read_bytes()
    assert (part.status, await part.read()) == (206, b"\x89MCAP0\r\n")
    assert beyond.status == 416
    assert (await peer.get(f"{RECORDINGS}/run_0/chunks/1", status=404))["code"] == "not_found"
    assert (await peer.get(f"{RECORDINGS}/run_0/chunks/x", status=400))["code"] == "request_invalid"


async def test_recordings_are_found_by_what_they_are(peer: RunningPeer, bag: Path) -> None:
    await with_recording(peer, bag, tags=["rain", "night"], machine="r2")
    await peer.post(RECORDINGS, {"paths": [str(bag)], "name": "plain"}, RecordingDetails)
    end = START_NS + 10**9

    async def found(query: str) -> set[str]:
        return {each["name"] for each in (await peer.get(f"{RECORDINGS}?{query}", RecordingPage))["recordings"]}

    for query in ("tag=rain&tag=night", "machine=r2", "text=NIGHT"):
        assert await found(query) == {"run_0"}
    for query in (
        "topic=/pose",
        "schema=demo.Pose",
        "site=alpha",
        f"since_ns={START_NS}",
        f"until_ns={end}",
        "state=local",
        "text=camera",
        "group=lab",
    ):
        assert await found(query) == {"run_0", "plain"}
    for query in ("tag=rain&tag=dry", "topic=/none", "schema=x", "site=beta", f"since_ns={end}", "until_ns=1", "state=remote", "text=zzz"):
        assert await found(query) == set()
    for query in ("state=gone", "colour=red", "since_ns=today", "limit=0", "limit=1001", "limit=x", "group=none"):
        await peer.get(f"{RECORDINGS}?{query}", status=404 if query == "group=none" else 400)


async def test_pages_of_recordings_neither_repeat_nor_skip(peer: RunningPeer, bag: Path) -> None:
    await with_recording(peer, bag, name="r0")
    for number in range(1, 5):
        await peer.post(RECORDINGS, {"paths": [str(bag)], "name": f"r{number}"})

    names: list[str] = []
    cursor = ""
    while True:
        page = await peer.get(f"{RECORDINGS}?limit=2{cursor}", RecordingPage)
        names += [each["name"] for each in page["recordings"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"

    assert sorted(names) == ["r0", "r1", "r2", "r3", "r4"]


@pytest.mark.parametrize(
    ("case", "code"),
    [
        ("missing", "file_unreadable"),
        ("empty", "mcap_empty"),
        ("text", "not_mcap"),
        ("cut", "mcap_truncated"),
        ("folder without", "file_unreadable"),
        ("bad name", "name_invalid"),
        ("second is bad", "mcap_truncated"),
        ("bad tag", "request_invalid"),
        ("no group", "not_found"),
    ],
)
@pytest.mark.parametrize("take", ["copy", "move"])
async def test_a_file_that_is_no_recording_leaves_nothing_behind(
    peer: RunningPeer, bag: Path, tmp_path: Path, case: str, code: str, take: str
) -> None:
    await peer.post(GROUPS, {"name": "lab"})
    (tmp_path / "empty.mcap").touch()
    (tmp_path / "text.mcap").write_text("this is no recording, it is a text")
    (tmp_path / "cut.mcap").write_bytes(bag.read_bytes()[:100_000])
    (tmp_path / "folder").mkdir()
    orders: dict[str, dict[str, object]] = {
        "missing": {"paths": [str(tmp_path / "missing.mcap")]},
        "empty": {"paths": [str(tmp_path / "empty.mcap")]},
        "text": {"paths": [str(tmp_path / "text.mcap")]},
        "cut": {"paths": [str(tmp_path / "cut.mcap")]},
        "folder without": {"paths": [str(tmp_path / "folder")]},
        "bad name": {"paths": [str(bag)], "name": "../up"},
        "second is bad": {"paths": [str(bag), str(tmp_path / "cut.mcap")]},
        "bad tag": {"paths": [str(bag)], "tags": ["a\nb"]},
        "no group": {"paths": [str(bag)], "group": "other"},
    }
    before = await peer.get(f"{GROUPS}/lab")

    problem = await peer.post(RECORDINGS, {**orders[case], "take": take}, status=404 if case == "no group" else 400)

    assert problem["code"] == code
    assert "\n" not in problem["detail"]
    assert problem["fix"]
    assert await peer.get(f"{GROUPS}/lab") == before
    assert not [path for path in (peer.root / "blobs").rglob("*") if path.is_file()]
    assert bag.exists()


async def test_moved_files_are_gone_and_linked_ones_are_shared(peer: RunningPeer, bag: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.mcap"
    write_sample(other, 64 * 1024, START_NS)

    moved = await with_recording(peer, bag, take="move")
    linked = await peer.post(RECORDINGS, {"paths": [str(other)], "take": "link"}, RecordingDetails)

    assert not bag.exists()
    assert moved["state"] == linked["state"] == "local"
    assert other.stat().st_nlink > 1


async def test_a_folder_keeps_its_metadata_and_its_order(peer: RunningPeer, tmp_path: Path) -> None:
    folder = tmp_path / "drive"
    folder.mkdir()
    for number in (0, 2, 10):
        write_sample(folder / f"drive_{number}.mcap", 64 * 1024, START_NS + number)
    (folder / "metadata.yaml").write_text("rosbag2_bagfile_information: {}\n")

    added = await with_recording(peer, folder)

    assert added["name"] == "drive"
    assert [chunk["name"] for chunk in added["chunks"]] == ["drive_0.mcap", "drive_2.mcap", "drive_10.mcap"]
    assert [each["name"] for each in added["attachments"]] == ["metadata.yaml"]
    (shown,) = (peer.root / "recordings").glob("lab-*/drive")
    assert {path.name for path in shown.iterdir()} == {
        "drive_0.mcap",
        "drive_2.mcap",
        "drive_10.mcap",
        "metadata.yaml",
        "manifest.json",
        "manifest.cbor",
    }


async def test_events_come_in_pages_and_as_a_stream(peer: RunningPeer, bag: Path) -> None:
    await with_recording(peer, bag)

    first = await peer.get(f"{GROUPS}/lab/events?limit=2", EventPage)
    rest = await peer.get(f"{GROUPS}/lab/events?after={first['next']}", EventPage)
    async with peer.http.get(f"{peer.url}{GROUPS}/lab/events?follow=1&after={first['next']}") as stream:
        followed = [await _next_event(stream) for _ in rest["events"]]
        await peer.post(f"{GROUPS}/lab/invitations", {}, InvitationMade, status=201)
        new = await _next_event(stream)
    async with peer.http.get(f"{peer.url}{GROUPS}/lab/events?follow=1", headers={"Last-Event-ID": str(rest["next"])}) as stream:
        again = await _next_event(stream)

    assert [event["type"] for event in first["events"] + rest["events"]] == ["member.set", "recording.create", "chunk.add", "recording.finalize"]
    assert followed == rest["events"]
    assert new == again
    assert new["type"] == "invite"
    assert (await peer.get(f"{GROUPS}/lab/events?limit=0", status=400))["code"] == "request_invalid"


async def _next_event(stream: aiohttp.ClientResponse) -> Any:
    while True:
        row = (await stream.content.readline()).decode()
        if row.startswith("data:"):
            return json.loads(row.removeprefix("data:"))


async def test_status_tells_all_there_is(peer: RunningPeer, bag: Path) -> None:
    await with_recording(peer, bag)

    status = await peer.get("/api/v1/status", Status)

    assert (status["peer_id"], status["name"], status["ready"], status["links"], status["problems"]) == (peer.peer_id, "alpha", True, [], [])
    (group,) = status["groups"]
    assert (group["events"], group["view_events"]) == (4, 4)
    assert group["state_digest"] == (await peer.get(f"{GROUPS}/lab"))["state_digest"]
    assert status["disk"]["used_bytes"] > 0
    assert await peer.get("/api/v1/transfers", Transfer) == []


async def test_the_export_has_the_digest_of_the_state_and_survives_a_rebuild(peer: RunningPeer, bag: Path) -> None:
    await with_recording(peer, bag)
    answer = await peer.http.get(f"{peer.url}{GROUPS}/lab/state", headers={"Accept": "application/cbor"})
    exported = decode(await answer.read())
    assert isinstance(exported, dict)
    before = await peer.get(f"{GROUPS}/lab")

    rebuilt = await peer.post("/api/v1/rebuild", model=Rebuilt)

    assert digest_of_export(exported).hex() == before["state_digest"]
    assert rebuilt["groups"][0]["state_digest"] == before["state_digest"]
    assert (await peer.get(f"{GROUPS}/lab/state"))["tables"]["recordings"][0]["name"] == "run_0"


async def test_verify_finds_bytes_that_changed(peer: RunningPeer, bag: Path) -> None:
    added = await with_recording(peer, bag)
    blob = added["chunks"][0]["blob_id"]
    path = peer.root / "blobs" / blob[:2] / blob[2:4] / blob
    clean = await peer.post("/api/v1/verify", {"deep": True}, Verified)
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)

    shallow = await peer.post("/api/v1/verify", {}, Verified)
    deep = await peer.post("/api/v1/verify", {"deep": True}, Verified)
    path.unlink()
    missing = await peer.post("/api/v1/verify", {}, Verified)

    assert clean["ok"]
    assert shallow["ok"]
    assert [problem["code"] for problem in deep["problems"]] == ["blob_corrupt"]
    assert [problem["code"] for problem in missing["problems"]] == ["blob_missing"]
    assert (await peer.get(f"{RECORDINGS}/run_0"))["state"] == "missing"


async def test_invitations_are_listed_and_their_secret_is_not(peer: RunningPeer) -> None:
    await peer.post(GROUPS, {"name": "lab"})

    made = await peer.post(f"{GROUPS}/lab/invitations", {"role": "reader", "expires_in_ms": 60_000}, InvitationMade, status=201)

    (listed,) = await peer.get(f"{GROUPS}/lab/invitations", Invitation)
    assert (listed["id"], listed["state"], listed["role"], listed["used_by"]) == (made["id"], "open", "reader", None)
    assert made["invitation"] not in json.dumps(await peer.get(f"{GROUPS}/lab/events"))
    for body in ({"role": "owner"}, {"expires_in_ms": 0}, {"expires_in_ms": 10**12}):
        assert (await peer.post(f"{GROUPS}/lab/invitations", body, status=400))["code"] == "request_invalid"


async def test_peers_are_none_at_first(peer: RunningPeer) -> None:
    assert await peer.get("/api/v1/sync/peers", Peer) == []
    assert (await peer.get("/api/v1/sync/peers/nobody", status=404))["code"] == "not_found"
