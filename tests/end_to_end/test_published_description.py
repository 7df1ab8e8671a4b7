"""Somebody else's reader of our published description, schemathesis, against a running peer: what the description says holds for any request.

All routes that the description has, with valid and with invalid requests, half of them with ids and paths that are really there, so that they get
past the door. Two things are left out: answers that do not end (`follow` is taken from queries), and whether every request that fits the schema is
accepted (`positive_data_acceptance`): JSON Schema cannot say that a recording exists, or that a folder may be read.
"""

import json
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS

from peer.cli.sample import write_sample
from peer.errors import MeshError
from tests.conftest import LONG
from tests.end_to_end.processes import DEADLINE_S, Site

EXAMPLES = 300 if LONG else 10
OTHER_OWNER, FRIEND = "ab" * 32, "cd" * 32
LEFT_OUT = ("positive_data_acceptance",)
ENDLESS = {"/api/v1/stream"}
FAILURES_SHOWN = 10
Schema = Any


class World:
    """A peer with something of each kind, whatever the requests have taken away."""

    def __init__(self, folder: Path) -> None:
        self.ingest = folder / "ingest"
        self.ingest.mkdir()
        self.sample = self.ingest / "first.mcap"
        write_sample(self.sample, 32 * 1024, 1)
        self.site = Site("solo", folder / "data")
        self.site.start({"RECMESH_INGEST_FOLDERS": json.dumps([str(self.ingest)]), "RECMESH_HUB__ENABLED": "true"})
        made = self.site.ask("POST", "tokens", json={"name": "reader-of-descriptions", "tier": "admin"})
        self.headers = {"Authorization": f"Bearer {made['token']}"}
        self.url = f"http://127.0.0.1:{self.site.admin}"
        own = (self.site.folder / "admin.token").read_text().strip()
        self._own = httpx.Client(base_url=f"{self.url}/api/v1/", headers={"Authorization": f"Bearer {own}"}, timeout=DEADLINE_S)
        self.recording = ""
        self.numbers = iter(range(10**9))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.nowhere = f"https://127.0.0.1:{free.getsockname()[1]}"

    def ask(self, method: str, path: str, **arguments: Any) -> Any:
        """What the peer says to its own token."""
        answer = self._own.request(method, path, **arguments)
        answer.raise_for_status()
        return answer.json()

    def stop(self) -> int:
        """Its exit status."""
        self._own.close()
        return self.site.stop()

    def furnish(self) -> None:
        """Put back what was there at first."""
        ask = self.ask
        if "lab" not in {each["name"] for each in ask("GET", "sync/groups")}:
            ask("POST", "sync/groups", json={"name": "lab", "owners": [OTHER_OWNER]})
        members = {each["peer_id"]: each["role"] for each in ask("GET", "sync/groups/lab")["members"]}
        if members.get(FRIEND, "none") == "none":
            friend = {"name": "friend", "peer_id": FRIEND, "sync_endpoint": self.nowhere, "shared_groups": ["lab"]}
            ask("POST", "sync/peers", json=friend)
        recordings = ask("GET", "recordings", params={"group": "lab", "text": "first"})["recordings"]
        if not recordings:
            if not self.sample.exists():
                write_sample(self.sample, 32 * 1024, 1)
            recordings = [ask("POST", "recordings", json={"paths": [str(self.sample)], "name": f"first-{next(self.numbers)}", "group": "lab"})]
        self.recording = recordings[-1]["id"]
        if "spare" not in {each["name"] for each in ask("GET", "tokens")}:
            ask("POST", "tokens", json={"name": "spare"})
        if not ask("GET", "hub/peers"):
            order = {"name": "robot", "preauth_key": ask("POST", "hub/keys", json={})["key"]}
            httpx.post(f"http://127.0.0.1:{self.site.listen}/api/v1/agents/register", json=order, timeout=DEADLINE_S).raise_for_status()
        if not ask("GET", "hub/keys"):
            ask("POST", "hub/keys", json={"hive": "lab"})

    def path_parameters(self, path: str) -> dict[str, str]:
        """What is really there, for each parameter of `path`."""
        invitations = [each["id"] for each in self.ask("GET", "sync/groups/lab/invitations") if each["state"] == "open"]
        first = {"/api/v1/sync/groups": "lab", "/api/v1/sync/peers": FRIEND, "/api/v1/recordings": self.recording, "/api/v1/tokens": "spare"}
        hub = {f"/api/v1/hub/{kind}": self.ask("GET", f"hub/{kind}")[0]["id"] for kind in ("keys", "peers")}
        invitation = invitations[0] if invitations else "0" * 64
        return {
            "id": next((value for start, value in {**first, **hub}.items() if path.startswith(start)), "lab"),
            "name": "spare",
            "peer": FRIEND,
            "index": "0",
            "key": invitation,
            "invitation": invitation,
        }

    def plausible(self, body: dict[str, Any]) -> dict[str, Any]:
        """`body` with things that are really there in the places where only such things do anything."""
        events = self.ask("GET", "sync/groups/lab/events", params={"limit": 1000})["events"] if "event" in body else []
        folder = self.ingest / f"watched-{next(self.numbers)}"
        folder.mkdir()
        there = {
            "folder": str(folder),
            "paths": [str(self.sample)],
            "directory": str(self.ingest / f"new-{next(self.numbers)}"),
            "group": "lab",
            "hive": "lab",
            "groups": ["lab"],
            "shared_groups": ["lab"],
            "owners": [OTHER_OWNER],
            "peer_id": FRIEND,
            "peer": FRIEND,
            "event": next((each["event_id"] for each in reversed(events) if each["kind"] == "data"), ""),
            "seal": None,
            "key": "title",
            "value": f"value {next(self.numbers)}",
            "name": f"name-{next(self.numbers)}",
        }
        return {key: there.get(key, value) for key, value in body.items()}

    def harmless(self, body: dict[str, Any]) -> dict[str, Any]:
        """`body` with addresses that lead nowhere beyond this machine."""
        return {key: self.nowhere if "endpoint" in key and isinstance(value, str) and "://" in value else value for key, value in body.items()}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    assert made.site.is_running
    assert made.stop() == 0


def all_codes(error: type[MeshError] = MeshError) -> set[str]:
    return {error.code}.union(*(all_codes(each) for each in error.__subclasses__()))


@pytest.mark.long_story
def test_what_the_description_says_holds_for_any_request(world: World) -> None:
    world.furnish()
    document = world.ask("GET", "../../openapi.json")
    document.pop("security")  # Tokens have tests of their own: here all requests get past that door.
    schema = schemathesis.openapi.from_dict(document)
    statuses: Counter[str] = Counter()
    failures: list[str] = []
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) == sum(len(methods) for methods in document["paths"].values())

    operations = [each for each in operations if each.path not in ENDLESS]
    for operation in operations:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            if mode is GenerationMode.NEGATIVE and not (operation.query or operation.body):
                continue  # Any text is a valid path, and is tried as one.
            failures += try_operation(world, operation, mode, statuses)

    shown = "\n".join(failures[:FAILURES_SHOWN])
    assert not failures, f"{len(failures)} failures, of these kinds: {sorted({each.split(':')[0] for each in failures})}\n{shown}"
    answered = {label: {status: count for (each, status), count in sorted(statuses.items()) if each == label} for label, _ in statuses}
    reached = [label for label, counts in answered.items() if any(status < 300 for status in counts)]
    assert sum(statuses.values()) >= EXAMPLES * len(operations)
    assert len(reached) >= 0.7 * len(operations), f"too few routes did anything: {answered}"


def try_operation(world: World, operation: Schema, mode: GenerationMode, statuses: Counter[tuple[str, int]]) -> list[str]:
    """Send many requests to one route; what was wrong with the answers."""
    failures: list[str] = []
    excluded = [CHECKS.get_one(name) for name in LEFT_OUT]
    codes = all_codes()

    def check(case: Any, response: Any) -> None:
        try:
            case.validate_response(response, excluded_checks=excluded, headers=world.headers)
            if response.status_code >= 400:
                code = response.json()["code"]
                assert code in codes, f"unknown code {code}"
        except (AssertionError, ExceptionGroup, KeyError, ValueError) as error:
            failures.append(f"{operation.label} {mode.value}: {error}")

    send = sender(world, operation, mode, statuses, check)
    try:
        send()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE, f"no valid request to {operation.label} can be made"
    return failures


def sender(
    world: World, operation: Schema, mode: GenerationMode, statuses: Counter[tuple[str, int]], check: Callable[[Any, Any], None]
) -> Callable[[], None]:
    """The test of one route, to be called."""
    world.furnish()
    there = world.path_parameters(operation.path)

    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=not LONG, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
    )
    @given(case=operation.as_strategy(generation_mode=mode), known=st.booleans())
    def send(case: Any, known: bool) -> None:  # noqa: FBT001  (a drawn value)
        if case.query:
            case.query.pop("follow", None)
        if isinstance(case.body, dict):
            case.body = world.harmless(case.body)
        if known:
            case.path_parameters = {name: there.get(name, value) for name, value in (case.path_parameters or {}).items()}
            if mode is GenerationMode.POSITIVE and isinstance(case.body, dict):
                case.body = world.plausible(case.body)
        response = case.call(base_url=world.url, headers=world.headers, timeout=DEADLINE_S)
        statuses[operation.label, response.status_code] += 1
        check(case, response)
        if operation.method != "get" and response.status_code < 300:
            world.furnish()

    return send
