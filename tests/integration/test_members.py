"""Members, invitations and logs through the admin API, between whole peers: what each decision does, and what is refused with its own code."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from peer.api.member_models import EventVoided, LogsRotated, MemberChanged
from peer.api.models import Group, Invitation
from peer.cli.sample import write_sample
from tests.integration.running_peer import RunningPeer, running_peer

LAB = "/api/v1/sync/groups/lab"


class Sites(NamedTuple):
    """The owner of `lab`, an admin and a writer, all linked to the owner."""

    owner: RunningPeer
    admin: RunningPeer
    writer: RunningPeer


async def enter(inviter: RunningPeer, joiner: RunningPeer, role: str) -> Any:
    """`joiner` becomes a member."""
    made = await inviter.post(f"{LAB}/invitations", {"role": role})
    return await joiner.post("/api/v1/sync/groups/join", {"invitation": made["invitation"]}, Group)


@pytest.fixture
async def sites(tmp_path: Path) -> AsyncIterator[Sites]:
    async with AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(running_peer(tmp_path / name, name)) for name in ("owner", "admin", "writer")]
        await peers[0].post("/api/v1/sync/groups", {"name": "lab"})
        await enter(peers[0], peers[1], "admin")
        await enter(peers[0], peers[2], "writer")
        await peers[1].until(LAB, lambda group: len(group["members"]) == 3)
        yield Sites(*peers)


async def add(peer: RunningPeer, folder: Path, name: str, status: int | None = None) -> Any:
    """A recording of `peer`."""
    write_sample(folder / f"{name}.mcap", 1, 1)
    return await peer.post("/api/v1/recordings", {"paths": [str(folder / f"{name}.mcap")], "group": "lab"}, status=status)


async def names(peer: RunningPeer) -> set[str]:
    """The recordings that count there."""
    return {each["name"] for each in (await peer.get("/api/v1/recordings"))["recordings"]}


def role_of(group: Any, name: str) -> str:
    """What `name` is in `group`."""
    return next((str(each["role"]) for each in group["members"] if each["name"] == name), "none")


async def test_an_invitation_is_listed_with_its_state_and_revoked_for_good(sites: Sites, tmp_path: Path) -> None:
    made = await sites.owner.post(f"{LAB}/invitations", {})

    revoked = await sites.owner.call("DELETE", f"{LAB}/invitations/{made['id'][:8]}", model=Invitation)

    assert (revoked["id"], revoked["state"]) == (made["id"], "revoked")
    states = sorted(each["state"] for each in await sites.owner.get(f"{LAB}/invitations", Invitation))
    assert states == ["revoked", "used", "used"]
    async with running_peer(tmp_path / "late", "late") as late:
        problem = await late.post("/api/v1/sync/groups/join", {"invitation": made["invitation"]}, status=400)
    assert problem["code"] == "invitation_refused"
    again = await sites.owner.call("DELETE", f"{LAB}/invitations/{made['id']}", status=409)
    assert again["code"] == "no_change"


async def test_an_invitation_that_was_used_cannot_be_revoked_but_who_used_it_removed(sites: Sites) -> None:
    used = (await sites.owner.get(f"{LAB}/invitations"))[0]

    problem = await sites.owner.call("DELETE", f"{LAB}/invitations/{used['id']}", status=409)

    assert problem["code"] == "no_change"
    assert f"group remove lab {used['used_by_name']}" in problem["fix"]
    assert (await sites.owner.call("DELETE", f"{LAB}/invitations/{'0' * 64}", status=404))["code"] == "not_found"


async def test_only_admins_revoke(sites: Sites) -> None:
    made = await sites.owner.post(f"{LAB}/invitations", {})
    await sites.writer.until(f"{LAB}/invitations", lambda listed: len(listed) == 3)

    problem = await sites.writer.call("DELETE", f"{LAB}/invitations/{made['id']}", status=403)

    assert problem["code"] == "not_allowed"


async def test_an_invitation_of_somebody_who_is_no_admin_any_more_is_void(sites: Sites, tmp_path: Path) -> None:
    made = await sites.admin.post(f"{LAB}/invitations", {})
    await sites.owner.until(f"{LAB}/invitations", lambda listed: len(listed) == 3)
    await sites.owner.call("PATCH", f"{LAB}/members/admin", json={"role": "writer"}, model=MemberChanged)
    listed = await sites.admin.until(f"{LAB}/invitations", lambda listed: any(each["state"] == "void" for each in listed))

    async with running_peer(tmp_path / "late", "late") as late:
        problem = await late.post("/api/v1/sync/groups/join", {"invitation": made["invitation"]}, status=400)

    assert [each["id"] for each in listed if each["state"] == "void"] == [made["id"]]
    assert problem["code"] == "invitation_refused"


async def test_a_demotion_keeps_what_was_written_and_ends_what_may_be_written(sites: Sites, tmp_path: Path) -> None:
    await add(sites.writer, tmp_path, "before")
    await sites.owner.until("/api/v1/recordings", lambda page: len(page["recordings"]) == 1)

    preview = await sites.owner.call("PATCH", f"{LAB}/members/writer", json={"role": "reader", "dry_run": True}, model=MemberChanged)
    assert role_of(await sites.owner.get(LAB), "writer") == "writer"
    changed = await sites.owner.call("PATCH", f"{LAB}/members/writer", json={"role": "reader"}, model=MemberChanged)

    assert preview == {**changed, "dry_run": True}
    assert (changed["role_before"], changed["role"], changed["would_leave_out"]) == ("writer", "reader", [])
    for peer in sites:
        await peer.until(LAB, lambda group: role_of(group, "writer") == "reader")
        assert await names(peer) == {"before"}
    assert (await add(sites.writer, tmp_path, "after", status=403))["code"] == "not_allowed"


async def test_a_promotion_makes_an_admin_who_decides(sites: Sites) -> None:
    await sites.owner.call("PATCH", f"{LAB}/members/writer", json={"role": "admin"}, model=MemberChanged)
    await sites.writer.until(LAB, lambda group: group["role"] == "admin")

    assert (await sites.writer.post(f"{LAB}/invitations", {}))["invitation"]
    problem = await sites.writer.call("PATCH", f"{LAB}/members/admin", json={"role": "reader"}, status=403)

    assert (problem["code"], "senior" in problem["detail"], "owner" in problem["fix"]) == ("not_allowed", True, True)


@pytest.mark.parametrize(
    ("who", "whom", "body", "status", "code"),
    [
        ("writer", "admin", {"role": "reader"}, 403, "not_allowed"),
        ("admin", "owner", {"role": "reader"}, 403, "not_allowed"),
        ("owner", "owner", {"role": "reader"}, 403, "not_allowed"),
        ("owner", "writer", {"role": "writer"}, 409, "no_change"),
        ("owner", "writer", {"role": "owner"}, 400, "request_invalid"),
        ("owner", "writer", {"role": "none"}, 400, "request_invalid"),
        ("owner", "writer", {}, 400, "request_invalid"),
        ("owner", "writer", {"role": "admin", "since_ms": -1}, 400, "request_invalid"),
        ("owner", "nobody", {"role": "admin"}, 404, "not_found"),
    ],
)
async def test_a_role_that_cannot_be_given_is_refused_and_nothing_is_written(
    sites: Sites, who: str, whom: str, body: dict[str, object], status: int, code: str
) -> None:
    peer: RunningPeer = getattr(sites, who)
    before = await peer.get(LAB)

    problem = await peer.call("PATCH", f"{LAB}/members/{whom}", json=body, status=status)

    assert (problem["code"], bool(problem["fix"])) == (code, True)
    assert await peer.get(LAB) == before


async def test_a_removal_keeps_what_was_there_and_takes_the_member_off(sites: Sites, tmp_path: Path) -> None:
    await add(sites.writer, tmp_path, "before")
    await sites.owner.until("/api/v1/recordings", lambda page: len(page["recordings"]) == 1)

    removed = await sites.owner.call("DELETE", f"{LAB}/members/writer", model=MemberChanged)

    assert (removed["role"], removed["would_leave_out"]) == ("none", [])
    for peer in (sites.owner, sites.admin):
        await peer.until(LAB, lambda group: role_of(group, "writer") == "none")
        assert await names(peer) == {"before"}
    assert (await sites.owner.call("DELETE", f"{LAB}/members/writer", status=409))["code"] == "no_change"
    assert (await sites.owner.call("DELETE", f"{LAB}/members/writer?dry_run=2", status=400))["code"] == "request_invalid"


async def test_a_removal_of_a_stolen_machine_says_what_it_leaves_out_before_it_does(sites: Sites, tmp_path: Path) -> None:
    await add(sites.writer, tmp_path, "stolen")
    await sites.owner.until("/api/v1/recordings", lambda page: len(page["recordings"]) == 1)
    path = f"{LAB}/members/writer?since_ms=0"

    preview = await sites.owner.call("DELETE", f"{path}&dry_run=1", model=MemberChanged)
    assert role_of(await sites.owner.get(LAB), "writer") == "writer"
    removed = await sites.owner.call("DELETE", path, model=MemberChanged)

    assert sum(each["events"] for each in preview["would_leave_out"]) == 3
    assert removed == {**preview, "dry_run": False}
    await sites.admin.until("/api/v1/recordings", lambda page: page["recordings"] == [])
    assert await names(sites.owner) == set()


async def test_what_was_written_before_the_time_stays_and_what_came_after_does_not(sites: Sites, tmp_path: Path) -> None:
    await add(sites.writer, tmp_path, "good")
    events = (await sites.writer.get(f"{LAB}/events?limit=1000"))["events"]
    since_ms = max(each["time_ms"] for each in events) + 1
    await sites.writer.until("/api/v1/status", lambda _: time.time_ns() // 1_000_000 > since_ms)
    await add(sites.writer, tmp_path, "bad")
    await sites.owner.until("/api/v1/recordings", lambda page: len(page["recordings"]) == 2)

    removed = await sites.owner.call("DELETE", f"{LAB}/members/writer?since_ms={since_ms}", model=MemberChanged)

    assert [each["events"] for each in removed["would_leave_out"]] == [3]
    for peer in (sites.owner, sites.admin):
        await peer.until("/api/v1/recordings", lambda page: [each["name"] for each in page["recordings"]] == ["good"])


async def test_a_removed_member_is_taken_back_only_by_somebody_as_senior(sites: Sites) -> None:
    await sites.owner.call("DELETE", f"{LAB}/members/writer")
    await sites.admin.until(LAB, lambda group: role_of(group, "writer") == "none")

    problem = await sites.admin.call("PATCH", f"{LAB}/members/writer", json={"role": "writer"}, status=403)
    await sites.owner.call("PATCH", f"{LAB}/members/writer", json={"role": "reader"}, model=MemberChanged)

    assert (problem["code"], "at least as senior" in problem["detail"], "owner" in problem["fix"]) == ("not_allowed", True, True)
    await sites.admin.until(LAB, lambda group: role_of(group, "writer") == "reader")


async def test_decisions_that_do_not_agree_are_shown_until_somebody_decides_anew(sites: Sites) -> None:
    """Owner and admin give the writer different roles while they are apart: the lower one holds, and both are shown."""
    for peer in (sites.admin, sites.writer):
        await peer.call("PATCH", "/api/v1/sync/peers/owner", json={"paused": True})
    await sites.admin.post("/api/v1/sync/peers", {"name": "new", "peer_id": "ab" * 32, "shared_groups": ["lab"], "role": "admin"}, status=201)
    await sites.owner.post("/api/v1/sync/peers", {"name": "new", "peer_id": "ab" * 32, "shared_groups": ["lab"], "role": "reader"}, status=201)
    for peer in (sites.admin, sites.writer):
        await peer.call("PATCH", "/api/v1/sync/peers/owner", json={"paused": False})

    for peer in sites:
        group = await peer.until(LAB, lambda group: group["conflicts"])
        (conflict,) = group["conflicts"]
        assert (conflict["register"], conflict["name"], conflict["value"]) == (f"role:{'ab' * 32}", "new", "reader")
        assert {(each["role"], each["author_name"]) for each in conflict["values"]} == {("reader", "owner"), ("admin", "admin")}
    await sites.owner.call("PATCH", f"{LAB}/members/new", json={"role": "writer"}, model=MemberChanged)
    for peer in sites:
        group = await peer.until(LAB, lambda group: not group["conflicts"])
        assert role_of(group, "new") == "writer"


async def test_a_preview_tells_who_else_gets_another_role(sites: Sites) -> None:
    await sites.admin.post("/api/v1/sync/peers", {"name": "puppet", "peer_id": "ab" * 32, "shared_groups": ["lab"]}, status=201)
    await sites.owner.until(LAB, lambda group: role_of(group, "puppet") == "writer")

    plain = await sites.owner.call("DELETE", f"{LAB}/members/admin?dry_run=1", model=MemberChanged)
    stolen = await sites.owner.call("DELETE", f"{LAB}/members/admin?dry_run=1&since_ms=0", model=MemberChanged)

    assert (plain["also_changed"], plain["is_current"]) == ([], True)
    assert [(each["name"], each["role_before"], each["role"]) for each in stolen["also_changed"]] == [("puppet", "writer", "none")]
    assert role_of(await sites.owner.get(LAB), "puppet") == "writer"


async def test_an_event_is_voided_by_its_author_or_an_admin_and_only_once(sites: Sites, tmp_path: Path) -> None:
    added = await add(sites.writer, tmp_path, "wrong")
    await sites.owner.until("/api/v1/recordings", lambda page: len(page["recordings"]) == 1)

    voided = await sites.owner.post(f"{LAB}/void", {"event": added["id"][:12]}, EventVoided)

    assert (voided["event_id"], voided["type"], voided["author_name"], voided["void"]) == (added["id"], "recording.create", "writer", True)
    for peer in sites:
        await peer.until("/api/v1/recordings", lambda page: page["recordings"] == [])
    assert (await sites.owner.post(f"{LAB}/void", {"event": added["id"]}, status=409))["code"] == "no_change"


@pytest.mark.parametrize(
    ("event", "status", "code"), [("xyz", 400, "request_invalid"), ("0" * 64, 404, "not_found"), ("control", 400, "request_invalid")]
)
async def test_what_cannot_be_voided_is_refused(sites: Sites, event: str, status: int, code: str) -> None:
    if event == "control":
        event = (await sites.owner.get(f"{LAB}/events"))["events"][0]["event_id"]

    assert (await sites.owner.post(f"{LAB}/void", {"event": event}, status=status))["code"] == code


async def test_somebody_elses_event_is_not_voided_by_a_writer(sites: Sites, tmp_path: Path) -> None:
    added = await add(sites.owner, tmp_path, "mine")
    await sites.writer.until("/api/v1/recordings", lambda page: len(page["recordings"]) == 1)

    assert (await sites.writer.post(f"{LAB}/void", {"event": added["id"]}, status=403))["code"] == "not_allowed"
    assert await names(sites.writer) == {"mine"}


async def test_a_rotated_log_is_not_written_on_and_a_sealed_one_keeps_what_is_here(sites: Sites, tmp_path: Path) -> None:
    await add(sites.writer, tmp_path, "one")

    rotated = await sites.writer.post(f"{LAB}/rotate-log", {}, LogsRotated)
    await add(sites.writer, tmp_path, "two")
    (old,) = [each["log"] for each in rotated["rotated"] if each["kind"] == "data"]
    sealed = await sites.writer.post(f"{LAB}/rotate-log", {"seal": old[:10]}, LogsRotated)
    await add(sites.writer, tmp_path, "three")

    assert sealed["sealed"] == old
    me = sites.writer.peer_id
    logs = [each["log"] for each in (await sites.writer.get(f"{LAB}/events?limit=1000"))["events"] if each["author"] == me and each["kind"] == "data"]
    assert len(dict.fromkeys(logs)) == 3
    assert logs.count(old) == 3
    for peer in sites:
        await peer.until("/api/v1/recordings", lambda page: {each["name"] for each in page["recordings"]} == {"one", "two", "three"})


async def test_a_log_of_somebody_else_is_not_sealed(sites: Sites, tmp_path: Path) -> None:
    await add(sites.owner, tmp_path, "mine")
    log = (await sites.owner.get(f"{LAB}/events"))["events"][0]["log"]

    assert (await sites.admin.post(f"{LAB}/rotate-log", {"seal": log}, status=403))["code"] == "not_allowed"
    assert (await sites.admin.post(f"{LAB}/rotate-log", {"seal": "0" * 64}, status=404))["code"] == "not_found"
