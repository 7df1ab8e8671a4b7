"""What is said about recordings, through the admin API of a running peer: what it does, and what it refuses."""

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from materializer.edits import recording_set
from peer.api.editing_models import Annotation, Machine, RecordingShown
from peer.api.member_models import Setting
from peer.api.models import Group, RecordingPage
from peer.api.status_models import Status
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
MACHINES = "/api/v1/machines"
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


async def under_replicated(peer: RunningPeer) -> int:
    (group,) = (await peer.get("/api/v1/status", Status))["groups"]
    return int(group["under_replicated"])


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
    refused = await peer.get(ONE, status=404)
    assert (refused["code"], "'run_0' is deleted" in refused["detail"]) == ("not_found", True)
    assert (await peer.get(f"{RECORDINGS}/{found['id']}", RecordingShown))["deleted"] is True
    await peer.until(f"{RECORDINGS}/{found['id']}", lambda _: not list(folder.iterdir()))
    assert (await peer.post(f"{RECORDINGS}/{found['id']}/fetch", status=400))["code"] == "request_invalid"
    assert (await peer.call("DELETE", f"{RECORDINGS}/{found['id'][:8]}", status=409))["code"] == "no_change"
    back = await peer.post(f"{ONE}/restore", model=RecordingShown)
    assert (back["deleted"], back["state"], back["manifest_id"]) == (False, "local", found["manifest_id"])
    assert await listed(peer) == ["run_0"]
    await peer.until(f"{RECORDINGS}/{found['id']}", lambda _: [path.name for path in folder.iterdir()] == ["run_0"])
    assert (await peer.post(f"{ONE}/restore", status=409))["code"] == "no_change"
    assert "6 digits" in (await peer.get(f"{RECORDINGS}/abc12", status=404))["fix"], "too short for the start of an id"


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
        ("PATCH", "", {"properties": {"title": 3}}),
        ("PATCH", "", {"properties": {"robot": True}}),
        ("PATCH", "", {"properties": {"runs": 1.5}}),
        ("PATCH", "", {"properties": {"runs": 2**53}}),
        ("PATCH", "", {"properties": {"runs": None}}),
        ("POST", "/annotations", {"label": "a", "person": "x\ny"}),
        ("POST", "/annotations", {"label": "a", "person": "x" * 129}),
        ("POST", "/reviews", {"value": "good"}),
        ("POST", "/reviews", {"value": 0}),
        ("POST", "/reviews", {"value": 6}),
        ("POST", "/reviews", {"value": 4.5}),
        ("POST", "/reviews", {"value": True}),
        ("POST", "/reviews", {"value": 4, "person": "\ud800"}),
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
    assert [(each["id"], each["depth"]) for each in await peer.get(f"{ONE}/annotations", Annotation)] == [(first["id"], 0), (reply["id"], 1)]
    assert [each["id"] for each in (await peer.get(ONE, RecordingShown))["annotations"]] == [first["id"], reply["id"]]
    assert (await peer.post(f"{ONE}/annotations", {"label": "x", "reply_to": "ab" * 32}, status=404))["code"] == "not_found"
    left = await peer.call("DELETE", f"{ANNOTATIONS}/{first['id'][:12]}", model=RecordingShown)
    assert [(each["id"], each["depth"]) for each in left["annotations"]] == [(reply["id"], 0)], "what answers something that is gone stands by itself"
    assert (await peer.call("DELETE", f"{ANNOTATIONS}/{first['id']}", status=404))["code"] == "not_found"


async def test_an_annotation_is_changed_and_keeps_its_id_its_times_and_its_replies(peer: RunningPeer) -> None:
    order = {"label": "slip", "text": "left", "start_ns": str(START_NS), "end_ns": str(START_NS + 5), "person": "ann"}
    first = await peer.post(f"{ONE}/annotations", order, Annotation, status=201)
    assert (first["by"]["site"], first["by"]["person"], first["edited_by"]) == ("alpha", "ann", None)
    reply = await peer.post(f"{ONE}/annotations", {"label": "why", "reply_to": first["id"]}, Annotation, status=201)
    note = f"{ANNOTATIONS}/{first['id']}"
    changed = await peer.call("PATCH", note, json={"label": "dent", "person": "bob"}, model=Annotation)
    assert (changed["id"], changed["label"], changed["text"], changed["end_ns"]) == (first["id"], "dent", "left", str(START_NS + 5))
    editor = changed["edited_by"]
    assert (changed["by"], editor["site"], editor["person"], changed["time_ms"]) == (first["by"], "alpha", "bob", first["time_ms"])
    changed = await peer.call("PATCH", note, json={"text": "right", "end_ns": None}, model=Annotation)
    assert (changed["label"], changed["text"], changed["start_ns"], changed["end_ns"]) == ("dent", "right", str(START_NS), None)
    assert await peer.get(note, Annotation) == changed
    shown = await peer.get(ONE, RecordingShown)
    assert [(each["id"], each["label"], each["depth"]) for each in shown["annotations"]] == [(first["id"], "dent", 0), (reply["id"], "why", 1)]
    assert shown["conflicts"] == []
    for wrong in ({"label": ""}, {"label": "a\nb"}, {"end_ns": "1"}, {"start_ns": None, "end_ns": "5"}, {"colour": "red"}):
        assert (await peer.call("PATCH", note, json=wrong, status=400))["code"] == "request_invalid"
    assert (await peer.call("PATCH", f"{ANNOTATIONS}/{'ab' * 32}", json={"label": "x"}, status=404))["code"] == "not_found"
    await peer.call("DELETE", note, model=RecordingShown)
    assert (await peer.call("PATCH", note, json={"label": "x"}, status=404))["code"] == "not_found"


async def test_a_person_has_one_review_of_a_recording_and_the_average_is_exact(peer: RunningPeer) -> None:
    await peer.post(f"{ONE}/reviews", {"value": 3}, RecordingShown)
    (review,) = (await peer.post(f"{ONE}/reviews", {"value": 4}, RecordingShown))["reviews"]
    assert (review["author_name"], review["by"], review["value"]) == ("alpha", {**review["by"], "site": "alpha", "person": ""}, 4)
    for person, value in (("ann", 5), ("bob", 4), ("ann", 2)):
        shown = await peer.post(f"{ONE}/reviews", {"value": value, "person": person}, RecordingShown)
    assert {each["by"]["person"]: each["value"] for each in shown["reviews"]} == {"": 4, "ann": 2, "bob": 4}
    assert (shown["review_count"], shown["review_average"]) == (3, "3.33")
    (row,) = (await peer.get(RECORDINGS, RecordingPage))["recordings"]
    assert (row["review_count"], row["review_average"]) == (3, "3.33")
    for person in ("", "ann", "bob"):
        shown = await peer.post(f"{ONE}/reviews", {"value": "none" if person else "", "person": person}, RecordingShown)
    assert (shown["reviews"], shown["review_count"], shown["review_average"]) == ([], 0, None)


async def test_a_review_of_an_annotation_is_none_of_the_recording(peer: RunningPeer) -> None:
    note = await peer.post(f"{ONE}/annotations", {"label": "slip"}, Annotation, status=201)
    shown = await peer.post(f"{ONE}/reviews", {"value": 2, "annotation": note["id"][:12], "person": "ann"}, RecordingShown)
    assert (shown["reviews"], shown["review_count"], shown["review_average"]) == ([], 0, None)
    (annotation,) = shown["annotations"]
    assert ([each["value"] for each in annotation["reviews"]], annotation["review_average"]) == ([2], "2.00")
    assert (await peer.post(f"{ONE}/reviews", {"value": 2, "annotation": "ab" * 32}, status=404))["code"] == "not_found"


async def test_properties_have_types_and_are_found_by_their_text(peer: RunningPeer) -> None:
    done = await peer.call("PATCH", ONE, json={"properties": {"runs": 12, "wet": True, "robot": "arm-1", "cold": False}}, model=RecordingShown)
    assert done["properties"] == {"runs": 12, "wet": True, "robot": "arm-1", "cold": False}
    for found in ("runs=12", "wet=true", "robot=arm-1", "cold=false"):
        assert await listed(peer, property=found) == ["run_0"]
    for other in ("runs=012", "wet=1", "wet=True", "cold=", "cold=0"):
        assert await listed(peer, property=other) == []


async def test_what_a_group_asks_for_is_shown_with_each_recording(peer: RunningPeer) -> None:
    settings = f"{GROUPS}/lab/settings"
    row = (await peer.get(RECORDINGS, RecordingPage))["recordings"][0]
    assert (row["copies_wanted"], row["missing_properties"]) == (1, [])
    for key, text, value in (("min_copies", 3, 3), ("required_properties", "robot, task", ["robot", "task"])):
        assert (await peer.call("PATCH", settings, json={"key": key, "value": text}, model=Setting))["value"] == value
    await peer.call("PATCH", ONE, json={"properties": {"robot": "arm-1"}}, status=200)
    for row in ((await peer.get(RECORDINGS, RecordingPage))["recordings"][0], await peer.get(ONE, RecordingShown)):
        assert (row["copies"], row["copies_wanted"], row["missing_properties"]) == (1, 3, ["task"])
    assert await under_replicated(peer) == 1
    await peer.call("DELETE", ONE, status=200)
    assert await under_replicated(peer) == 0, "nobody needs copies of what was deleted"
    await peer.post(f"{ONE}/restore")
    assert await under_replicated(peer) == 1
    events = (await peer.get(f"{GROUPS}/lab"))["events"]
    wrong: list[tuple[str, object]] = [("retention", "30"), ("description", 3), ("colour", ["red"])]
    wrong += [("min_copies", 0), ("min_copies", "many"), ("min_copies", 101), ("min_copies", True)]
    for key, value in [*wrong, ("required_properties", ["a", "a"]), ("required_properties", "a b")]:
        assert (await peer.call("PATCH", settings, json={"key": key, "value": value}, status=400))["code"] == "request_invalid"
    assert (await peer.get(f"{GROUPS}/lab"))["events"] == events
    await peer.call("PATCH", settings, json={"key": "min_copies", "value": ""}, model=Setting)
    assert (await peer.get(ONE, RecordingShown))["copies_wanted"] == 1
    assert await under_replicated(peer) == 0


async def test_machines_are_described_and_counted(peer: RunningPeer) -> None:
    assert await peer.get(MACHINES, Machine) == []
    assert (await peer.get(f"{MACHINES}/arm", status=404))["code"] == "not_found"
    done = await peer.call("PATCH", f"{MACHINES}/arm%2F1", json={"key": "model", "value": "x7"}, model=Machine)
    done = await peer.call("PATCH", f"{MACHINES}/arm%2F1", json={"key": "axes", "value": 6, "group": "lab"}, model=Machine)
    assert (done["name"], done["properties"], done["recordings"], done["group_name"]) == ("arm/1", {"axes": 6, "model": "x7"}, 0, "lab")
    assert await peer.get(MACHINES, Machine) == await peer.get(f"{MACHINES}/arm%2F1", Machine, params={"group": "lab"}) == [done]
    done = await peer.call("PATCH", f"{MACHINES}/arm%2F1", json={"key": "model", "value": ""}, model=Machine)
    assert done["properties"] == {"axes": 6}
    for wrong in ({"key": "a b", "value": "x"}, {"key": "a", "value": 1.5}, {"key": "a"}, {"key": "a", "value": "x\ny"}):
        assert (await peer.call("PATCH", f"{MACHINES}/arm", json=wrong, status=400))["code"] == "request_invalid"
    assert (await peer.call("PATCH", f"{MACHINES}/%20", json={"key": "a", "value": 1}, status=400))["code"] == "request_invalid"
    assert (await peer.get(MACHINES, status=404, params={"group": "nowhere"}))["code"] == "not_found"
    assert (await peer.get(MACHINES, status=400, params={"colour": "red"}))["code"] == "request_invalid"


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
