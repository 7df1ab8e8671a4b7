"""Becoming a member, between whole peers: who is let in, who is not, and that nothing is left behind of those who are not."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from peer.api.models import Group, Peer, RecordingDetails
from peer.cli.sample import write_sample
from peer.core.group import read_invitation
from peer.core.identity import PeerId
from tests.integration.running_peer import RunningPeer, running_peer

GROUPS = "/api/v1/sync/groups"


class Sites(NamedTuple):
    """Three peers, the first of which has the group `lab`."""

    alpha: RunningPeer
    beta: RunningPeer
    gamma: RunningPeer


@pytest.fixture
async def sites(tmp_path: Path) -> AsyncIterator[Sites]:
    async with AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(running_peer(tmp_path / name, name)) for name in ("alpha", "beta", "gamma")]
        await peers[0].post(GROUPS, {"name": "lab"})
        yield Sites(*peers)


async def invite(peer: RunningPeer, role: str = "writer", expires_in_ms: int = 60_000) -> str:
    made = await peer.post(f"{GROUPS}/lab/invitations", {"role": role, "expires_in_ms": expires_in_ms})
    return str(made["invitation"])


async def test_a_joiner_has_the_whole_history_when_the_answer_comes(sites: Sites, tmp_path: Path) -> None:
    bag = tmp_path / "a.mcap"
    write_sample(bag, 128 * 1024, 1)
    added = await sites.alpha.post("/api/v1/recordings", {"paths": [str(bag)]}, RecordingDetails)

    joined = await sites.beta.post(f"{GROUPS}/join", {"invitation": await invite(sites.alpha)}, Group)

    here = await sites.alpha.get(f"{GROUPS}/lab", Group)
    assert (joined["role"], joined["state_digest"], joined["members"]) == ("writer", here["state_digest"], here["members"])
    assert [member["name"] for member in joined["members"]] == ["alpha", "beta"]
    shown = await sites.beta.until("/api/v1/recordings/a", lambda recording: recording["state"] == "local")
    assert (shown["manifest_id"], shown["site_name"]) == (added["manifest_id"], "alpha")
    assert [each["name"] for each in shown["replicas"]] == ["alpha", "beta"]


async def test_using_an_invitation_twice_at_one_site_changes_nothing(sites: Sites) -> None:
    invitation = await invite(sites.alpha)
    first = await sites.beta.post(f"{GROUPS}/join", {"invitation": invitation}, Group)

    second = await sites.beta.post(f"{GROUPS}/join", {"invitation": invitation}, Group)

    assert first == second


async def test_an_invitation_lets_one_site_in(sites: Sites) -> None:
    invitation = await invite(sites.alpha)
    await sites.beta.post(f"{GROUPS}/join", {"invitation": invitation})

    problem = await sites.gamma.post(f"{GROUPS}/join", {"invitation": invitation}, status=400)

    assert problem["code"] == "invitation_refused"
    assert "another site" in problem["detail"]
    assert await sites.gamma.get(GROUPS) == []
    assert [member["name"] for member in (await sites.alpha.get(f"{GROUPS}/lab"))["members"]] == ["alpha", "beta"]
    (listed,) = await sites.alpha.get(f"{GROUPS}/lab/invitations")
    assert (listed["state"], listed["used_by_name"]) == ("used", "beta")


async def test_an_expired_invitation_is_refused_before_anybody_is_asked(sites: Sites) -> None:
    text = await invite(sites.alpha)
    expired = read_invitation(text)._replace(expires_ms=1).to_text()

    problem = await sites.beta.post(f"{GROUPS}/join", {"invitation": expired}, status=403)

    assert (problem["code"], "expired" in problem["detail"]) == ("invitation_refused", True)


async def test_an_invitation_that_nobody_made_is_refused(sites: Sites) -> None:
    forged = read_invitation(await invite(sites.alpha))._replace(seed=bytes(32)).to_text()

    problem = await sites.beta.post(f"{GROUPS}/join", {"invitation": forged}, status=400)

    assert problem["code"] == "invitation_refused"
    assert await sites.beta.get(GROUPS) == []


async def test_somebody_else_at_the_address_is_not_believed(sites: Sites) -> None:
    """The invitation names who has to answer: gamma's key at alpha's address is another peer."""
    wrong = read_invitation(await invite(sites.alpha))._replace(member=PeerId(bytes.fromhex(sites.gamma.peer_id))).to_text()

    problem = await sites.beta.post(f"{GROUPS}/join", {"invitation": wrong}, status=400)

    assert problem["code"] == "handshake_failed"


@pytest.mark.parametrize("damage", [lambda text: text[:-1], lambda text: text.replace("a", "b", 1), lambda _: "hello", lambda _: ""])
async def test_a_typo_is_told_apart_from_a_refusal(sites: Sites, damage: object) -> None:
    assert callable(damage)

    problem = await sites.beta.post(f"{GROUPS}/join", {"invitation": damage(await invite(sites.alpha))}, status=400)

    assert problem["code"] == "invitation_typo"


async def test_a_second_group_of_the_same_name_is_refused_with_both_ids(sites: Sites) -> None:
    other = await sites.beta.post(GROUPS, {"name": "Lab"})
    invitation = await invite(sites.alpha)

    problem = await sites.beta.post(f"{GROUPS}/join", {"invitation": invitation}, status=409)

    assert problem["code"] == "name_taken"
    assert other["group_id"] in problem["detail"]
    assert read_invitation(invitation).group.hex() in problem["detail"]


async def test_an_invitation_under_another_name_than_the_group_has_is_refused_and_leaves_nothing(sites: Sites) -> None:
    await sites.beta.post(GROUPS, {"name": "lab"})
    renamed = read_invitation(await invite(sites.alpha))._replace(group_name="harmless").to_text()

    problem = await sites.beta.post(f"{GROUPS}/join", {"invitation": renamed}, status=400)

    assert "lab" in problem["detail"]
    assert len(await sites.beta.get(GROUPS)) == 1


async def test_nobody_at_the_address_is_a_problem_with_a_fix(sites: Sites) -> None:
    unreachable = read_invitation(await invite(sites.alpha))._replace(endpoint="http://127.0.0.1:1").to_text()

    problem = await sites.beta.post(f"{GROUPS}/join", {"invitation": unreachable}, status=502)

    assert (problem["code"], bool(problem["fix"])) == ("unreachable", True)


async def test_a_member_that_uses_an_invitation_is_in_already(sites: Sites) -> None:
    answer = await sites.alpha.post(f"{GROUPS}/join", {"invitation": await invite(sites.alpha)}, Group)

    assert answer["role"] == "owner"
    (listed,) = await sites.alpha.get(f"{GROUPS}/lab/invitations")
    assert listed["state"] == "open"


async def test_only_admins_invite_and_an_invited_admin_does(sites: Sites) -> None:
    await sites.beta.post(f"{GROUPS}/join", {"invitation": await invite(sites.alpha, "writer")})
    refused = await sites.beta.post(f"{GROUPS}/lab/invitations", {}, status=403)
    await sites.gamma.post(f"{GROUPS}/join", {"invitation": await invite(sites.alpha, "admin")})

    assert refused["code"] == "not_allowed"
    assert await invite(sites.gamma)


async def test_a_reader_adds_nothing(sites: Sites, tmp_path: Path) -> None:
    bag = tmp_path / "a.mcap"
    write_sample(bag, 1, 1)
    await sites.beta.post(f"{GROUPS}/join", {"invitation": await invite(sites.alpha, "reader")})

    problem = await sites.beta.post("/api/v1/recordings", {"paths": [str(bag)]}, status=403)

    assert problem["code"] == "not_allowed"


async def test_who_joined_is_shown_as_a_peer(sites: Sites) -> None:
    await sites.beta.post(f"{GROUPS}/join", {"invitation": await invite(sites.alpha)})

    (seen,) = await sites.alpha.get("/api/v1/sync/peers", Peer)
    known = await sites.beta.get(f"/api/v1/sync/peers/{sites.alpha.peer_id[:8]}", Peer)

    assert (seen["name"], seen["state"], seen["shared_groups"][0]["role"]) == ("beta", "up_to_date", "writer")
    assert (known["name"], known["source"], len(known["endpoints"])) == ("alpha", "manual", 1)


async def test_with_bytes_on_demand_only_what_is_asked_for_comes(sites: Sites, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_sample(tmp_path / f"{name}.mcap", 64 * 1024, 1)
        await sites.alpha.post("/api/v1/recordings", {"paths": [str(tmp_path / f"{name}.mcap")]})
    async with running_peer(tmp_path / "frugal", "frugal", fetch="none") as frugal:
        await frugal.post(f"{GROUPS}/join", {"invitation": await invite(sites.alpha)})
        before = await frugal.get("/api/v1/recordings/one")

        await frugal.post("/api/v1/recordings/one/fetch", {}, status=202)
        await frugal.until("/api/v1/recordings/one", lambda recording: recording["state"] == "local")
        other = await frugal.get("/api/v1/recordings/two")
        problem = await frugal.get("/api/v1/recordings/two/chunks/0", status=404)

    assert (before["state"], before["bytes_here"]) == ("remote", 0)
    assert (other["state"], other["bytes_here"]) == ("remote", 0)
    assert "fetch" in problem["fix"]


async def test_a_site_that_comes_back_catches_up_by_itself(sites: Sites, tmp_path: Path) -> None:
    async with running_peer(tmp_path / "guest", "guest") as guest:
        await guest.post(f"{GROUPS}/join", {"invitation": await invite(sites.alpha)})
    write_sample(tmp_path / "later.mcap", 64 * 1024, 1)
    await sites.alpha.post("/api/v1/recordings", {"paths": [str(tmp_path / "later.mcap")]})

    async with running_peer(tmp_path / "guest", "guest") as guest:
        await guest.until("/api/v1/recordings", lambda page: [each["state"] for each in page["recordings"]] == ["local"])
        digest = (await guest.get(f"{GROUPS}/lab"))["state_digest"]

    assert digest == (await sites.alpha.get(f"{GROUPS}/lab"))["state_digest"]
