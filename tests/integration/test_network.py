"""`network status` as the admin API and the command line give it, over a daemon on a real socket."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from peer.api.network_models import NetworkStatus
from peer.operations.network import Network
from resolver.tailscale_local import Daemon, LocalApi
from tests.fake_tailscaled import LOGGED_OUT, OWN, RUNNING, FakeDaemon

PEER = {"peer_id": "ab" * 32, "name": "field", "address": None, "node": {"node_id": "n2"}}
ELSEWHERE = {"peer_id": "cd" * 32, "name": "office", "address": "https://office.example.org:7850", "node": None}
SOUGHT = {"peer_id": "ef" * 32, "name": "away", "address": "https://100.64.0.3:7850", "node": None}
"""Is dialled there, and has shown no key."""


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[FakeDaemon]:
    """One that listens."""
    fake = FakeDaemon()
    async with fake.on_socket(tmp_path / "tailscaled.sock"):
        yield fake


async def status(tmp_path: Path, now: str = "2026-11-20T12:00:00Z") -> dict[str, Any]:
    """What is said of the mesh at a time."""
    links = [PEER, ELSEWHERE, SOUGHT]
    network = Network(LocalApi(Daemon(str(tmp_path / "tailscaled.sock"))), lambda: links, lambda: datetime.fromisoformat(now).astimezone(UTC))
    found: dict[str, Any] = await network.status()
    NetworkStatus.model_validate(found)
    return found


def codes(found: dict[str, Any]) -> list[str]:
    """Of the problems."""
    return [each["code"] for each in found["problems"]]


@pytest.mark.usefixtures("daemon")
async def test_machines_are_told_with_how_packets_go_there_and_who_they_are(tmp_path: Path) -> None:
    found = await status(tmp_path)

    assert (found["mesh"], found["tailnet"], found["own"]["name"]) == ("running", "robots.example", "arm-lab.mesh.example")
    routes = {each["host"]: (each["route"], each["through"], each["peer_name"]) for each in found["peers"]}
    assert routes == {
        "field": ("direct", "198.51.100.7:41641", "field"),
        "depot": ("relayed", "fra", None),
        "quiet": ("idle", "", None),
        "laptop": ("offline", "", None),
    }
    (relayed,) = found["problems"]
    assert (relayed["code"], "depot.mesh.example" in relayed["text"]) == ("mesh_relayed", True)


@pytest.mark.parametrize(
    ("backend", "fix"), [("Stopped", "tailscale up"), ("NeedsMachineAuth", "approve"), ("Starting", "nothing"), ("New", "status")]
)
async def test_a_mesh_that_carries_nothing_says_why_and_what_to_do(daemon: FakeDaemon, tmp_path: Path, backend: str, fix: str) -> None:
    daemon.status = {**RUNNING, "BackendState": backend, "Peer": None}

    found = await status(tmp_path)

    assert (found["mesh"], found["peers"], codes(found)) == ("stopped", [], ["mesh_stopped"])
    assert fix in found["problems"][0]["fix"]


async def test_a_machine_that_is_logged_out_keeps_the_address_to_log_in_at_to_itself(daemon: FakeDaemon, tmp_path: Path) -> None:
    daemon.status = LOGGED_OUT

    found = await status(tmp_path)

    assert (found["mesh"], found["own"], codes(found)) == ("stopped", None, ["mesh_stopped", "mesh_complains"])
    assert "login.example.org" not in str(found)


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ({"KeyExpiry": "2026-11-20T13:00:00Z"}, "expires 2026-11-20T13:00:00Z"),
        ({"KeyExpiry": "2026-11-20T11:00:00Z"}, "has expired"),
        ({"Expired": True}, "has expired"),
        ({"KeyExpiry": "2026-12-20T11:00:00Z"}, None),
        ({"KeyExpiry": "0001-01-01T00:00:00Z"}, None),
        ({"KeyExpiry": "soon"}, None),
        ({}, None),
    ],
)
async def test_a_key_that_ends_soon_is_told_of_in_time(daemon: FakeDaemon, tmp_path: Path, own: dict[str, Any], told: str | None) -> None:
    daemon.status = {**RUNNING, "Self": {**OWN, **own}, "Peer": None}

    problems = (await status(tmp_path))["problems"]

    assert [each["text"].partition(" in its mesh ")[2] for each in problems] == ([told] if told else [])


async def test_no_daemon_is_no_problem(tmp_path: Path) -> None:
    found = await status(tmp_path)

    assert (found["mesh"], found["problems"]) == ("absent", [])


async def test_a_daemon_that_cannot_be_asked_is_a_stopped_mesh_with_its_reason(daemon: FakeDaemon, tmp_path: Path) -> None:
    daemon.refuses = True
    assert codes(await status(tmp_path)) == ["mesh_refused"]
    daemon.refuses, daemon.raw = False, b"<html>"
    found = await status(tmp_path)
    assert (found["mesh"], codes(found)) == ("stopped", ["mesh_answer_invalid"])
