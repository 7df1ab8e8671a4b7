"""Leaving a group, its settings, and comparing everything anew: between whole peers."""

from pathlib import Path
from typing import Any

import pytest

from peer.api.member_models import Setting
from peer.api.models import Group
from peer.api.peer_models import GroupLeft, Resynced
from peer.api.status_models import Status
from peer.cli.sample import write_sample
from tests.integration.running_peer import RunningPeer, running_peer
from tests.integration.test_members import LAB, Sites, add, enter, names, role_of, sites

__all__ = ["sites"]
GROUPS = "/api/v1/sync/groups"


def group_status(status: Any) -> Any:
    """The one group of a site."""
    return status["groups"][0]


async def test_who_leaves_is_off_every_roster_and_what_it_wrote_stays(sites: Sites, tmp_path: Path) -> None:
    await add(sites.writer, tmp_path, "mine")
    await sites.owner.until("/api/v1/recordings", lambda page: len(page["recordings"]) == 1)

    left = await sites.writer.call("DELETE", LAB, model=GroupLeft)

    assert (left["asked"], left["removed"], left["forgotten"]) == (True, True, True)
    assert await sites.writer.get(GROUPS) == []
    assert (await sites.writer.get("/api/v1/recordings"))["recordings"] == []
    problems = (await sites.writer.get("/api/v1/status", Status))["problems"]
    assert {each["code"] for each in problems} <= {"peer_pending"}  # Who has not heard of it yet may still knock.
    for peer in (sites.owner, sites.admin):
        await peer.until(LAB, lambda group: role_of(group, "writer") == "none")
        assert await names(peer) == {"mine"}
    assert (await sites.writer.call("DELETE", LAB, status=404))["code"] == "not_found"


async def test_a_group_that_was_left_stays_away_after_a_restart_and_can_be_joined_again(tmp_path: Path) -> None:
    async with running_peer(tmp_path / "owner", "owner") as owner:
        await owner.post(GROUPS, {"name": "lab"})
        async with running_peer(tmp_path / "guest", "guest") as guest:
            await enter(owner, guest, "writer")
            await add(guest, tmp_path, "first")
            await guest.call("DELETE", LAB, model=GroupLeft)
        async with running_peer(tmp_path / "guest", "guest") as guest:
            assert await guest.get(GROUPS) == []
            assert (await guest.post("/api/v1/rebuild", {}))["groups"] == []
            assert (await guest.post("/api/v1/verify", {"deep": True}))["ok"]
            write_sample(tmp_path / "x.mcap", 1, 1)
            made = await owner.post(f"{LAB}/invitations", {})
            problem = await guest.post(f"{GROUPS}/join", {"invitation": made["invitation"]}, Group)
            assert problem["role"] == "writer"
            await add(guest, tmp_path, "second")
            await owner.until("/api/v1/recordings", lambda page: {each["name"] for each in page["recordings"]} == {"first", "second"})
            here = await guest.get(LAB, Group)
            assert here["state_digest"] == (await owner.get(LAB))["state_digest"]


async def test_a_request_that_nobody_answers_waits_and_is_answered_later(tmp_path: Path) -> None:
    async with running_peer(tmp_path / "guest", "guest") as guest:
        async with running_peer(tmp_path / "owner", "owner") as owner:
            port = owner.listen.rsplit(":", 1)[1]
            await owner.post(GROUPS, {"name": "lab"})
            await enter(owner, guest, "writer")
        left = await guest.call("DELETE", f"{LAB}?timeout_ms=0", model=GroupLeft)
        assert (left["asked"], left["forgotten"]) == (True, False)
        assert group_status(await guest.get("/api/v1/status", Status))["leaving"]
        async with running_peer(tmp_path / "owner", "owner", listen=f"127.0.0.1:{port}") as owner:
            await owner.until(LAB, lambda group: role_of(group, "guest") == "none")
            await guest.until(GROUPS, lambda groups: groups == [])


async def test_who_cannot_wait_forgets_the_group_at_once(sites: Sites) -> None:
    left = await sites.writer.call("DELETE", f"{LAB}?now=1", model=GroupLeft)

    assert left["forgotten"]
    assert await sites.writer.get(GROUPS) == []
    await sites.owner.until(LAB, lambda group: role_of(group, "writer") == "none")


async def test_an_owner_forgets_and_stays_an_owner(sites: Sites) -> None:
    left = await sites.owner.call("DELETE", LAB, model=GroupLeft)

    assert (left["role"], left["asked"], left["removed"], left["forgotten"]) == ("owner", False, False, True)
    assert role_of(await sites.admin.get(LAB), "owner") == "owner"


@pytest.mark.parametrize("query", ["now=2", "now=yes", "timeout_ms=x", "timeout_ms=99999999999"])
async def test_leaving_in_a_way_that_there_is_not_changes_nothing(sites: Sites, query: str) -> None:
    assert (await sites.writer.call("DELETE", f"{LAB}?{query}", status=400))["code"] == "request_invalid"
    assert (await sites.writer.get(LAB))["role"] == "writer"


async def test_who_was_removed_is_told_by_whom(sites: Sites) -> None:
    await sites.owner.call("DELETE", f"{LAB}/members/writer")

    status = await sites.writer.until("/api/v1/status", lambda status: any(each["code"] == "removed_from_group" for each in status["problems"]))

    (problem,) = [each for each in status["problems"] if each["code"] == "removed_from_group"]
    assert "from lab by owner" in problem["text"]
    assert "group leave lab" in problem["fix"]


async def test_a_setting_of_an_admin_is_read_everywhere(sites: Sites) -> None:
    made = await sites.admin.call("PATCH", f"{LAB}/settings", json={"key": "retention", "value": "reference"}, model=Setting)

    assert (made["value"], made["conflict"], made["values"][0]["author_name"]) == ("reference", False, "admin")
    for peer in sites:
        await peer.until(f"{LAB}/settings", lambda listed: listed == [made])
    again = await sites.admin.call("PATCH", f"{LAB}/settings", json={"key": "retention", "value": "reference"}, status=409)
    assert again["code"] == "no_change"
    await sites.owner.call("PATCH", f"{LAB}/settings", json={"key": "retention", "value": ""}, model=Setting)
    await sites.writer.until(f"{LAB}/settings", lambda listed: listed == [])


@pytest.mark.parametrize(
    ("who", "body", "status", "code"),
    [
        ("writer", {"key": "a", "value": "b"}, 403, "not_allowed"),
        ("owner", {"key": "a b", "value": "b"}, 400, "request_invalid"),
        ("owner", {"key": "a", "value": "b\nc"}, 400, "request_invalid"),
        ("owner", {"key": "a"}, 400, "request_invalid"),
    ],
)
async def test_a_setting_that_cannot_be_is_refused(sites: Sites, who: str, body: dict[str, str], status: int, code: str) -> None:
    peer: RunningPeer = getattr(sites, who)

    assert (await peer.call("PATCH", f"{LAB}/settings", json=body, status=status))["code"] == code
    assert await sites.owner.get(f"{LAB}/settings") == []


async def test_settings_that_two_admins_made_apart_are_shown_as_a_conflict_until_one_decides(tmp_path: Path) -> None:
    async with running_peer(tmp_path / "owner", "owner") as owner:
        await owner.post(GROUPS, {"name": "lab"})
        async with running_peer(tmp_path / "admin", "admin") as admin:
            await enter(owner, admin, "admin")
            await admin.call("PATCH", "/api/v1/sync/peers/owner", json={"paused": True})
            await owner.call("PATCH", f"{LAB}/settings", json={"key": "k", "value": "a"})
            await admin.call("PATCH", f"{LAB}/settings", json={"key": "k", "value": "b"})
            await admin.call("PATCH", "/api/v1/sync/peers/owner", json={"paused": False})
            for peer in (owner, admin):
                group = await peer.until(LAB, lambda group: group["conflicts"])
                assert [(each["register"], each["value"]) for each in group["conflicts"]] == [("setting:k", "a")]
            await admin.call("PATCH", f"{LAB}/settings", json={"key": "k", "value": "c"}, model=Setting)
            for peer in (owner, admin):
                await peer.until(LAB, lambda group: not group["conflicts"])


async def test_comparing_anew_brings_the_links_back(sites: Sites) -> None:
    answer = await sites.owner.post(f"{LAB}/resync", {}, Resynced)

    assert sorted(answer["peers"]) == sorted([sites.admin.peer_id, sites.writer.peer_id])
    await sites.owner.until("/api/v1/status", lambda status: [each["state"] for each in status["links"]] == ["up_to_date", "up_to_date"])
    assert (await sites.owner.post(f"{GROUPS}/nothing/resync", {}, status=404))["code"] == "not_found"
