"""A small disk that keeps up with a group: the oldest recordings go that others hold, and never more than that."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from peer.api.models import Group, InvitationMade
from peer.cli.sample import write_sample
from peer.operations import room
from tests.integration.running_peer import RunningPeer, running_peer

GROUPS, RECORDINGS = "/api/v1/sync/groups", "/api/v1/recordings"
SIZE = 256 * 1024
QUOTA = 700 * 1024
"""Two recordings fit, three do not."""


@asynccontextmanager
async def pair(folder: Path, *, wants: str = "all") -> AsyncIterator[tuple[RunningPeer, RunningPeer]]:
    """One with all the room that there is, which `wants` all bytes or none, and one with little."""
    async with (
        running_peer(folder / "large", "large", receipt_delay=0.2, fetch=wants) as large,
        running_peer(folder / "small", "small", disk={"floor_bytes": 0, "quota_bytes": QUOTA}, take_copies=False, receipt_delay=0.2) as small,
    ):
        await large.post(GROUPS, {"name": "lab"}, Group, status=201)
        made = await large.post(f"{GROUPS}/lab/invitations", {}, InvitationMade, status=201)
        await small.post(f"{GROUPS}/join", {"invitation": made["invitation"]})
        yield large, small


async def add(peer: RunningPeer, folder: Path, name: str, size: int = SIZE) -> str:
    write_sample(folder / f"{name}.mcap", size, time.time_ns())
    return str((await peer.post(RECORDINGS, {"paths": [str(folder / f"{name}.mcap")]}, status=201))["id"])


async def states(peer: RunningPeer) -> dict[str, str]:
    return {each["name"]: each["state"] for each in (await peer.get(RECORDINGS))["recordings"]}


async def test_the_oldest_go_that_others_hold_when_new_ones_come(tmp_path: Path) -> None:
    async with pair(tmp_path) as (large, small):
        for name in ("one", "two"):
            found = await add(large, tmp_path, name)
            await small.until(f"{RECORDINGS}/{found}", lambda each: each["state"] == "local")
        three = await add(large, tmp_path, "three")
        await small.until(f"{RECORDINGS}/{three}", lambda each: each["state"] == "local")
        assert await states(small) == {"one": "remote", "two": "local", "three": "local"}
        used = (await small.get("/api/v1/status"))["disk"]["used_bytes"]
        assert used <= QUOTA
        async with small.http.get(f"{small.url}/metrics") as answer:
            assert "room_made_recordings_total 1.0" in await answer.text()
        await add(large, tmp_path, "four")
        await small.until(f"{RECORDINGS}/four", lambda each: each["state"] == "local")
        assert await states(small) == {"one": "remote", "two": "remote", "three": "local", "four": "local"}
        assert set((await states(large)).values()) == {"local"}


async def test_nothing_goes_for_what_is_larger_than_the_quota(tmp_path: Path) -> None:
    async with pair(tmp_path) as (large, small):
        for name in ("one", "two"):
            found = await add(large, tmp_path, name)
            await small.until(f"{RECORDINGS}/{found}", lambda each: each["state"] == "local")
            await large.until(f"{RECORDINGS}/{found}", lambda each: each["copies"] == 2)
        await add(large, tmp_path, "huge", 2 * QUOTA)
        await small.until("/api/v1/status", lambda each: "disk_full" in [problem["code"] for problem in each["problems"]])
        assert await states(small) == {"one": "local", "two": "local", "huge": "remote"}


async def test_what_is_held_stays_and_the_new_one_waits_with_a_reason(tmp_path: Path) -> None:
    async with pair(tmp_path) as (large, small):
        for name in ("one", "two"):
            found = await add(large, tmp_path, name)
            await small.until(f"{RECORDINGS}/{found}", lambda each: each["state"] == "local")
            await large.post(f"{RECORDINGS}/{name}/retention", {"hold": True, "reason": "crash"})
            await small.until(f"{RECORDINGS}/{found}", lambda each: each["hold"] is not None)
        three = await add(large, tmp_path, "three")
        await small.until("/api/v1/status", lambda each: "disk_full" in [problem["code"] for problem in each["problems"]])
        assert await states(small) == {"one": "local", "two": "local", "three": "remote"}
        assert (await small.post(f"{RECORDINGS}/one/drop", status=409))["code"] == "recording_held", "not by hand either"
        await large.post(f"{RECORDINGS}/one/retention", {"hold": False})
        await large.call("PATCH", f"{RECORDINGS}/{three}", json={"properties": {"title": "events go on"}})
        await small.until(f"{RECORDINGS}/{three}", lambda each: each["title"] == "events go on")


async def test_a_site_lets_its_own_go_as_well_but_not_what_is_held(tmp_path: Path) -> None:
    async with pair(tmp_path) as (large, small):
        mine = await add(small, tmp_path, "mine")
        await large.until(f"{RECORDINGS}/{mine}", lambda each: each["state"] == "local")
        await add(small, tmp_path, "only-here")
        await large.until(f"{RECORDINGS}/only-here", lambda each: each["state"] == "local")
        await large.post(f"{RECORDINGS}/{mine}/retention", {"hold": True, "reason": "not this one"})
        await small.until(f"{RECORDINGS}/{mine}", lambda each: each["hold"] is not None)
        three = await add(large, tmp_path, "three")
        await small.until(f"{RECORDINGS}/{three}", lambda each: each["state"] == "local")
        await small.until(f"{RECORDINGS}/only-here", lambda each: each["state"] == "remote")
        assert await states(small) == {"mine": "local", "only-here": "remote", "three": "local"}
        assert set((await states(large)).values()) == {"local"}


async def test_what_is_added_here_takes_the_place_of_what_others_hold(tmp_path: Path) -> None:
    async with pair(tmp_path) as (large, small):
        for name in ("one", "two"):
            found = await add(small, tmp_path, name)
            await large.until(f"{RECORDINGS}/{found}", lambda each: each["state"] == "local")
        three = await add(small, tmp_path, "three")
        await large.until(f"{RECORDINGS}/{three}", lambda each: each["state"] == "local")
        await small.until(f"{RECORDINGS}/one", lambda each: each["state"] == "remote")
        assert await states(small) == {"one": "remote", "two": "local", "three": "local"}


async def test_nothing_goes_that_nobody_else_holds(tmp_path: Path) -> None:
    async with pair(tmp_path, wants="none") as (large, small):
        for name in ("one", "two"):
            await add(small, tmp_path, name)
        await large.until(f"{RECORDINGS}/two", lambda shown: shown["finalized"])
        await add(large, tmp_path, "three")
        await small.until("/api/v1/status", lambda each: "disk_full" in [problem["code"] for problem in each["problems"]])
        assert await states(small) == {"one": "local", "two": "local", "three": "remote"}
        write_sample(tmp_path / "four.mcap", SIZE, time.time_ns())
        assert (await small.post(RECORDINGS, {"paths": [str(tmp_path / "four.mcap")]}, status=503))["code"] == "disk_full"


async def test_what_went_to_make_room_for_the_rest_of_a_recording_is_kept_with_it(tmp_path: Path) -> None:
    """A file of it was here already, as that of the oldest recording."""
    async with pair(tmp_path) as (large, small):
        for name, size in (("one", SIZE), ("two", 100 * 1024)):
            found = await add(large, tmp_path, name, size)
            await small.until(f"{RECORDINGS}/{found}", lambda each: each["state"] == "local")
        write_sample(tmp_path / "rest.mcap", 400 * 1024, time.time_ns())

        paths = [str(tmp_path / "one.mcap"), str(tmp_path / "rest.mcap")]
        await small.post(RECORDINGS, {"paths": paths, "name": "both"}, status=201)

        assert (await small.get(f"{RECORDINGS}/both"))["state"] == "local"
        await small.until("/api/v1/status", lambda each: each["disk"]["used_bytes"] <= QUOTA)


async def test_nothing_goes_where_all_that_may_go_is_not_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of two may go, and the new one needs the room of both."""
    monkeypatch.setattr(room, "REFUSED_S", 0.0)
    async with pair(tmp_path) as (large, small):
        for name in ("one", "two"):
            found = await add(large, tmp_path, name)
            await small.until(f"{RECORDINGS}/{found}", lambda each: each["state"] == "local")
            await small.until(f"{RECORDINGS}/{found}", lambda each: each["copies"] == 2)
        await large.post(f"{RECORDINGS}/two/retention", {"hold": True, "reason": "not this one"})
        await small.until(f"{RECORDINGS}/two", lambda each: each["hold"] is not None)
        three = await add(large, tmp_path, "three", 600 * 1024)
        await small.until("/api/v1/status", lambda each: "disk_full" in [problem["code"] for problem in each["problems"]])
        assert await states(small) == {"one": "local", "two": "local", "three": "remote"}
        await large.post(f"{RECORDINGS}/two/retention", {"hold": False})
        await small.until(f"{RECORDINGS}/two", lambda each: each["hold"] is None)
        await small.post("/api/v1/transfers/retry")
        await small.until(f"{RECORDINGS}/{three}", lambda each: each["state"] == "local")
        assert await states(small) == {"one": "remote", "two": "remote", "three": "local"}
