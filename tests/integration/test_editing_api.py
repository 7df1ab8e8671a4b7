"""What is said about recordings, through the admin API of a running peer: what it does, and what it refuses."""

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from materializer.edits import recording_set
from peer.api.editing_models import Annotation, RecordingShown
from peer.api.models import Group, RecordingPage
from peer.cli.sample import write_sample
from peer.core.certificate import LogKind
from peer.core.event import REFS_MAX
from peer.core.identity import EventId
from peer.core.run import Draft
from peer.store.database import open_database
from peer.store.directory import DataDirectory
from peer.store.events import opened_event_store
from peer.store.keys import KeyFiles
from tests.integration.running_peer import RunningPeer, running_peer

GROUPS, RECORDINGS, ANNOTATIONS = "/api/v1/sync/groups", "/api/v1/recordings", "/api/v1/annotations"
START_NS = 1_790_000_000 * 10**9


@pytest.fixture
async def peer(tmp_path: Path) -> AsyncIterator[RunningPeer]:
    async with running_peer(tmp_path / "data", "alpha") as running:
        bag = tmp_path / "run_0.mcap"
        write_sample(bag, 64 * 1024, START_NS)
        await running.post(GROUPS, {"name": "lab"}, Group, status=201)
        await running.post(RECORDINGS, {"paths": [str(bag)]}, RecordingShown, status=201)
        yield running


ONE = f"{RECORDINGS}/run_0"


async def listed(peer: RunningPeer, **query: str) -> list[str]:
    page = await peer.get(RECORDINGS, RecordingPage, params=query)
    return [each["name"] for each in page["recordings"]]


async def test_a_deleted_recording_is_hidden_everywhere_until_it_is_restored(peer: RunningPeer) -> None:
    found = await peer.get(ONE, RecordingShown)
    folder = next((peer.root / "recordings").glob("lab-*"))
    assert [path.name for path in folder.iterdir()] == ["run_0"]
    before = (await peer.get(f"{GROUPS}/lab"))["state_digest"]
    gone = await peer.call("DELETE", ONE, model=RecordingShown, status=200)
    assert (gone["deleted"], gone["id"]) == (True, found["id"])
    assert await listed(peer) == []
    assert await listed(peer, deleted="1") == ["run_0"]
    assert (await peer.get(f"{GROUPS}/lab"))["state_digest"] != before
    assert (await peer.get(ONE, status=404))["code"] == "not_found"
    assert (await peer.get(f"{RECORDINGS}/{found['id']}", RecordingShown))["deleted"] is True
    await peer.until(f"{RECORDINGS}/{found['id']}", lambda _: not list(folder.iterdir()))
    assert (await peer.post(f"{RECORDINGS}/{found['id']}/fetch", status=400))["code"] == "request_invalid"
    assert (await peer.call("DELETE", f"{RECORDINGS}/{found['id'][:8]}", status=409))["code"] == "no_change"
    back = await peer.post(f"{ONE}/restore", model=RecordingShown)
    assert (back["deleted"], back["state"], back["manifest_id"]) == (False, "local", found["manifest_id"])
    assert await listed(peer) == ["run_0"]
    await peer.until(f"{RECORDINGS}/{found['id']}", lambda _: [path.name for path in folder.iterdir()] == ["run_0"])
    assert (await peer.post(f"{ONE}/restore", status=409))["code"] == "no_change"


async def test_properties_are_set_found_and_taken_away(peer: RunningPeer) -> None:
    done = await peer.call("PATCH", ONE, json={"properties": {"title": "Night run", "weather": "rain"}}, model=RecordingShown)
    assert (done["title"], done["properties"]) == ("Night run", {"title": "Night run", "weather": "rain"})
    assert await listed(peer, property="weather=rain") == ["run_0"]
    assert await listed(peer, property="weather=snow") == []
    assert await listed(peer, text="night") == ["run_0"]
    assert (await peer.get(RECORDINGS, status=400, params={"property": "weather"}))["code"] == "request_invalid"
    done = await peer.call("PATCH", ONE, json={"properties": {"weather": ""}}, model=RecordingShown)
    assert done["properties"] == {"title": "Night run"}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "", {"properties": {}}),
        ("PATCH", "", {"properties": {"a b": "x"}}),
        ("PATCH", "", {"properties": {"title": "a\nb"}}),
        ("PATCH", "", {"properties": {"title": "x" * 4097}}),
        ("PATCH", "", {"properties": {"title": "\u00e9" * 2049}}),
        ("PATCH", "", {"title": "x"}),
        ("POST", "/tags", {}),
        ("POST", "/tags", {"add": ["a"], "remove": ["a"]}),
        ("POST", "/tags", {"add": [" a"]}),
        ("POST", "/annotations", {}),
        ("POST", "/annotations", {"label": " "}),
        ("POST", "/annotations", {"label": "a", "start_ns": "9", "end_ns": "8"}),
        ("POST", "/annotations", {"label": "a", "end_ns": "8"}),
        ("POST", "/annotations", {"label": "a", "start_ns": "9" * 19}),
        ("POST", "/annotations", {"label": "a", "start_ns": 9}),
        ("POST", "/annotations", {"label": "a", "text": "\x1b[2J"}),
        ("POST", "/reviews", {"value": "a\nb"}),
        ("POST", "/reviews", {"value": "\ud800"}),
        ("POST", "/reviews", {}),
    ],
)
async def test_what_cannot_be_said_is_refused_and_nothing_is_written(peer: RunningPeer, method: str, path: str, body: object) -> None:
    before = (await peer.get(f"{GROUPS}/lab"))["events"]
    data = json.dumps(body)
    problem = await peer.call(method, ONE + path, data=data, headers={"Content-Type": "application/json"}, status=400)
    assert problem["code"] == "request_invalid"
    assert (await peer.get(f"{GROUPS}/lab"))["events"] == before


async def test_a_change_of_what_somebody_else_has_changed_is_refused_if_that_is_asked_for(peer: RunningPeer) -> None:
    async with peer.http.get(peer.url + ONE) as answer:
        tag = answer.headers["ETag"]
    changed = await peer.call("PATCH", ONE, json={"properties": {"title": "one"}}, headers={"If-Match": tag}, status=200)
    assert f'"{changed["revision"]}"' != tag
    for stale in (tag, '"nonsense"'):
        problem = await peer.call("PATCH", ONE, json={"properties": {"title": "two"}}, headers={"If-Match": stale}, status=409)
        assert problem["code"] == "changed_meanwhile"
    assert (await peer.call("PATCH", ONE, json={"properties": {"title": "x"}}, headers={"If-Match": "x"}, status=400))["code"] == "request_invalid"
    for fine in (f'"{changed["revision"]}"', "*"):
        await peer.call("PATCH", ONE, json={"properties": {"title": "two"}}, headers={"If-Match": fine}, status=200)


async def test_tags_are_set_and_taken_away_and_nothing_is_written_for_what_is_so(peer: RunningPeer) -> None:
    done = await peer.post(f"{ONE}/tags", {"add": ["night", "rain"]}, RecordingShown)
    assert done["tags"] == ["night", "rain"]
    events = (await peer.get(f"{GROUPS}/lab"))["events"]
    await peer.post(f"{ONE}/tags", {"add": ["rain"], "remove": ["snow"]}, RecordingShown)
    assert (await peer.get(f"{GROUPS}/lab"))["events"] == events
    assert (await peer.post(f"{ONE}/tags", {"add": ["dry"], "remove": ["rain"]}, RecordingShown))["tags"] == ["dry", "night"]
    assert await listed(peer, tag="dry") == ["run_0"]


async def test_annotations_are_said_answered_shown_and_taken_back(peer: RunningPeer) -> None:
    first = await peer.post(f"{ONE}/annotations", {"label": "slip", "text": "left\nwheel", "start_ns": str(START_NS)}, Annotation, status=201)
    reply = await peer.post(f"{ONE}/annotations", {"label": "why", "reply_to": first["id"][:10]}, Annotation, status=201)
    assert (first["author_name"], first["text"], first["start_ns"], reply["reply_to"]) == ("alpha", "left\nwheel", str(START_NS), first["id"])
    assert [each["id"] for each in await peer.get(f"{ONE}/annotations", Annotation)] == [reply["id"], first["id"]]
    assert (await peer.get(ONE, RecordingShown))["annotations"] == [reply, first]
    assert (await peer.post(f"{ONE}/annotations", {"label": "x", "reply_to": "ab" * 32}, status=404))["code"] == "not_found"
    left = await peer.call("DELETE", f"{ANNOTATIONS}/{first['id'][:12]}", model=RecordingShown)
    assert [each["id"] for each in left["annotations"]] == [reply["id"]]
    assert (await peer.call("DELETE", f"{ANNOTATIONS}/{first['id']}", status=404))["code"] == "not_found"


async def test_a_site_has_one_review_of_a_recording(peer: RunningPeer) -> None:
    await peer.post(f"{ONE}/reviews", {"value": "good"}, RecordingShown)
    (review,) = (await peer.post(f"{ONE}/reviews", {"value": "bad"}, RecordingShown))["reviews"]
    assert (review["author_name"], review["value"]) == ("alpha", "bad")
    assert (await peer.post(f"{ONE}/reviews", {"value": ""}, RecordingShown))["reviews"] == []


async def test_a_conflict_of_more_writes_than_fit_one_event_ends_with_the_next_who_looks(tmp_path: Path) -> None:
    """More writes that have not seen each other than a header has room for refs."""
    root, count = tmp_path / "data", 2 * REFS_MAX + 3
    bag = tmp_path / "run_0.mcap"
    write_sample(bag, 64 * 1024, START_NS)
    async with running_peer(root, "alpha") as peer:
        await peer.post(GROUPS, {"name": "lab"}, Group, status=201)
        recording = (await peer.post(RECORDINGS, {"paths": [str(bag)]}, RecordingShown, status=201))["id"]
    await write_blindly(root, [recording_set(EventId(bytes.fromhex(recording)), "title", f"title {number}") for number in range(count)])
    async with running_peer(root, "alpha") as peer:
        (conflict,) = (await peer.until(ONE, lambda shown: shown["conflicts"]))["conflicts"]
        assert (conflict["key"], len(conflict["writes"])) == ("property:title", count)
        done = await peer.call("PATCH", ONE, json={"properties": {"title": "settled"}}, model=RecordingShown)
        assert (done["title"], done["conflicts"]) == ("settled", [])
        exported = await peer.get(f"{GROUPS}/lab/state", headers={"Accept": "application/json"})
        assert len([row for row in exported["tables"]["registers"] if row["register"] == "property:title"]) == 1


async def write_blindly(root: Path, drafts: list[Draft]) -> None:
    """Let a stopped site write these in its one group, though they have seen nothing."""
    directory = DataDirectory(root)
    keys = KeyFiles(directory.keys)
    database = await open_database(directory.log_database, "log")
    async with database, opened_event_store(database, keys, keys.peer_key(), lambda: time.time_ns() // 1_000_000) as store:
        await store.write(next(iter(store.replica.groups)), LogKind.DATA, drafts)
