"""Requests to the admin API that no program of ours sends: numbers, bodies and encodings that some parser down below could stumble over."""

import gzip
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from peer.api.models import EventPage
from peer.cli.sample import write_sample
from tests.integration.running_peer import RunningPeer, running_peer

GROUPS, RECORDINGS = "/api/v1/sync/groups", "/api/v1/recordings"
MIB = 1024 * 1024


@pytest.fixture
async def peer(tmp_path: Path) -> AsyncIterator[RunningPeer]:
    async with running_peer(tmp_path / "data", "alpha") as running:
        yield running


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    path = tmp_path / "run_0.mcap"
    write_sample(path, 64 * 1024, 1)
    return path


async def test_numbers_are_numbers_wherever_they_stand(peer: RunningPeer, bag: Path) -> None:
    await peer.post(GROUPS, {"name": "lab"}, status=201)
    await peer.post(RECORDINGS, {"paths": [str(bag)]}, status=201)

    for wrong in ("x", "-1", "1.0", "9" * 21, "9" * 5000, "\u0664", "1e3"):
        for path, headers in (
            (f"{RECORDINGS}/run_0/chunks/{wrong}", {}),
            (f"{GROUPS}/lab/events?after={wrong}", {}),
            (f"{RECORDINGS}?limit={wrong}", {}),
            (f"{GROUPS}/lab/events?follow=1", {"Last-Event-ID": wrong}),
        ):
            assert (await peer.get(path, headers=headers, status=400))["code"] == "request_invalid"
    for large in (2**63, 2**64, 10**20 - 1):
        assert (await peer.get(f"{GROUPS}/lab/events?after={large}", EventPage))["events"] == []
        assert (await peer.get(f"{RECORDINGS}/run_0/chunks/{large}", status=404))["code"] == "not_found"


@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b"5",
        b"[]",
        b"[" * 500_000,
        b'{"name":' * 100_000,
        b'{"name": NaN}',
        b'{"name": "\xff\xfe"}',
        b'\xef\xbb\xbf{"name": "a"}',
        b'{"name": "\\ud800"}',
        b'{"name": "a", "owners": [' + b"9" * 100_000 + b"]}",
        b'{"name": "a"} {}',
        b"\0",
    ],
)
async def test_a_body_that_is_hardly_json_is_refused(peer: RunningPeer, body: bytes) -> None:
    problem = await peer.call("POST", GROUPS, data=body, headers={"Content-Type": "application/json"}, status=400)

    assert problem["code"] == "request_invalid"
    assert len(problem["detail"]) < 1000
    assert await peer.get(GROUPS) == []


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_body_that_unfolds_to_more_than_is_read_is_refused(peer: RunningPeer, encoding: str) -> None:
    large = b" " * (64 * MIB)
    body = gzip.compress(large) if encoding == "gzip" else zlib.compress(large)
    assert len(body) < MIB

    problem = await peer.call("POST", GROUPS, data=body, headers={"Content-Type": "application/json", "Content-Encoding": encoding}, status=413)

    assert problem["code"] == "body_too_large"


@pytest.mark.parametrize("name", ["%00", "%ff", "a%2fb", "%2e%2e", "a" * 7000, "%F0%9F%A6%BE", "*", "%", "%zz", "'--"])
async def test_a_name_that_nobody_gives_is_not_found(peer: RunningPeer, name: str) -> None:
    for path in (f"{GROUPS}/{name}", f"{RECORDINGS}/{name}", f"/api/v1/sync/peers/{name}"):
        problem = await peer.get(path, status=404)
        assert problem["code"] == "not_found"
        assert len(problem["detail"]) < 1000
