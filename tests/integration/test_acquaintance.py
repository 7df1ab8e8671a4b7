"""Peers that know each other by their ids, without an invitation: between whole peers, over their admin APIs."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from peer.api.models import Group, Peer
from peer.api.peer_models import PeerRemoved, PeerTested, PendingDecided, PendingPeer
from peer.api.status_models import Status
from peer.cli.sample import write_sample
from tests.integration.running_peer import RunningPeer, running_peer

GROUPS, LAB, PEERS = "/api/v1/sync/groups", "/api/v1/sync/groups/lab", "/api/v1/sync/peers"
NOBODY = "http://127.0.0.1:1"


class Pair(NamedTuple):
    """Two peers, the first of which has the group `lab`."""

    alpha: RunningPeer
    beta: RunningPeer


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(running_peer(tmp_path / name, name)) for name in ("alpha", "beta")]
        await peers[0].post(GROUPS, {"name": "lab"})
        yield Pair(*peers)


async def name_peer(peer: RunningPeer, other: RunningPeer, name: str, groups: list[str], *, dial: bool = True, **more: object) -> Any:
    """`peer` adds `other`."""
    body = {"name": name, "peer_id": other.peer_id, "shared_groups": groups, **({"sync_endpoint": other.listen} if dial else {}), **more}
    return await peer.post(PEERS, body, Peer, status=201)


@pytest.mark.parametrize("first", ["alpha", "beta"])
@pytest.mark.parametrize("dials", ["alpha", "beta", "both"])
async def test_two_that_add_each_other_share_the_group(pair: Pair, tmp_path: Path, first: str, dials: str) -> None:
    """Whoever adds first, and whoever dials: the one without the group takes it from the one that was named."""
    write_sample(tmp_path / "a.mcap", 1, 1)
    await pair.alpha.post("/api/v1/recordings", {"paths": [str(tmp_path / "a.mcap")]})
    steps = [
        lambda: name_peer(pair.alpha, pair.beta, "beta", ["lab"], dial=dials != "beta", role="reader"),
        lambda: name_peer(pair.beta, pair.alpha, "alpha", ["lab"], dial=dials != "alpha"),
    ]
    for step in steps if first == "alpha" else reversed(steps):
        await step()

    await pair.beta.until("/api/v1/recordings", lambda page: [each["name"] for each in page["recordings"]] == ["a"])
    group = await pair.beta.get(LAB, Group)
    assert (group["role"], {each["name"] for each in group["members"]}) == ("reader", {"alpha", "beta"})
    known = await pair.beta.get(f"{PEERS}/alpha", Peer)
    assert (known["expected_groups"], [each["name"] for each in known["shared_groups"]]) == ([], ["lab"])


async def test_a_group_that_nobody_expects_is_passed_over(pair: Pair) -> None:
    """No trust on first use: alpha makes beta a member, but beta did not name alpha for any group of that name."""
    await name_peer(pair.beta, pair.alpha, "alpha", ["other"])
    await name_peer(pair.alpha, pair.beta, "beta", ["lab"])

    problem = await pair.alpha.post(f"{PEERS}/beta/test", {}, PeerTested)

    assert problem["failed"] in {"group", "handshake"}
    assert await pair.beta.get(GROUPS) == []
    assert (await pair.beta.get(f"{PEERS}/alpha", Peer))["expected_groups"] == ["other"]


async def test_a_group_of_the_same_name_is_refused_with_both_ids(pair: Pair) -> None:
    await name_peer(pair.beta, pair.alpha, "alpha", ["lab"])
    other = await pair.beta.post(GROUPS, {"name": "LAB"}, Group)
    group = await pair.alpha.get(LAB)
    await name_peer(pair.alpha, pair.beta, "beta", ["lab"])

    def is_told(status: Any) -> bool:
        return any(each["code"] == "name_taken" for each in status["problems"]) and all(link["last_error"] for link in status["links"])

    status = await pair.beta.until("/api/v1/status", is_told)

    (problem,) = [each for each in status["problems"] if each["code"] == "name_taken"]
    assert [link["last_error"]["code"] for link in status["links"]] == ["name_taken"]
    assert group["group_id"] in problem["text"]
    assert other["group_id"] in problem["text"]
    assert [each["group_id"] for each in await pair.beta.get(GROUPS)] == [other["group_id"]]


async def test_somebody_unknown_is_pending_gets_nothing_and_can_be_accepted(pair: Pair) -> None:
    await name_peer(pair.beta, pair.alpha, "alpha", ["lab"])

    (knocker,) = await pair.alpha.until(f"{PEERS}/pending", len)
    PendingPeer.model_validate(knocker)
    status = await pair.alpha.get("/api/v1/status", Status)
    assert (knocker["peer_id"], knocker["name"]) == (pair.beta.peer_id, "beta")
    assert [each["peer_id"] for each in status["pending_peers"]] == [pair.beta.peer_id]
    assert "peer_pending" in {each["code"] for each in status["problems"]}
    assert await pair.beta.get(GROUPS) == []

    accepted = await pair.alpha.post(f"{PEERS}/pending", {"peer_id": "beta", "action": "accept", "group": "lab"}, PendingDecided)

    assert accepted["peer_id"] == pair.beta.peer_id
    await pair.beta.until(GROUPS, lambda groups: [each["role"] for each in groups] == ["writer"])
    assert await pair.alpha.get(f"{PEERS}/pending") == []


async def test_who_is_ignored_is_not_shown_again_also_after_a_restart(tmp_path: Path) -> None:
    async with running_peer(tmp_path / "beta", "beta") as beta:
        async with running_peer(tmp_path / "alpha", "alpha") as alpha:
            await alpha.post(GROUPS, {"name": "lab"})
            await name_peer(beta, alpha, "alpha", ["lab"])
            await alpha.until(f"{PEERS}/pending", len)
            decided = await alpha.post(f"{PEERS}/pending", {"peer_id": beta.peer_id[:8], "action": "ignore"}, PendingDecided)
            assert (decided["action"], await alpha.get(f"{PEERS}/pending")) == ("ignore", [])
            problem = await alpha.post(f"{PEERS}/pending", {"peer_id": "beta", "action": "accept", "group": "lab"}, status=404)
            assert problem["code"] == "not_found"
            address = alpha.listen.rpartition("/")[2]
        async with running_peer(tmp_path / "alpha", "alpha", listen=address) as alpha:
            await beta.until("/api/v1/status", lambda status: any(each["state"] == "refused" for each in status["links"]))
            assert await alpha.get(f"{PEERS}/pending") == []
            await name_peer(alpha, beta, "beta", ["lab"])
            await beta.until(GROUPS, len)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"peer_id": "zz"}, 400, "request_invalid"),
        ({"name": "a/b"}, 400, "name_invalid"),
        ({"sync_endpoint": "ftp://x"}, 400, "request_invalid"),
        ({"shared_groups": ["a/b"]}, 400, "name_invalid"),
        ({"role": "owner"}, 400, "request_invalid"),
        ({"peer_id": "own"}, 400, "request_invalid"),
        ({"nonsense": 1}, 400, "request_invalid"),
    ],
)
async def test_a_peer_that_cannot_be_is_not_added(pair: Pair, body: dict[str, object], status: int, code: str) -> None:
    if body.get("peer_id") == "own":
        body = {"peer_id": pair.alpha.peer_id}
    whole = {"name": "beta", "peer_id": pair.beta.peer_id, "sync_endpoint": pair.beta.listen, "shared_groups": ["lab"], **body}

    problem = await pair.alpha.post(PEERS, whole, status=status)

    assert (problem["code"], bool(problem["fix"])) == (code, True)
    assert await pair.alpha.get(PEERS) == []
    assert len((await pair.alpha.get(LAB))["members"]) == 1


async def test_a_member_that_is_no_admin_adds_nobody(pair: Pair, tmp_path: Path) -> None:
    await name_peer(pair.alpha, pair.beta, "beta", ["lab"])
    await name_peer(pair.beta, pair.alpha, "alpha", ["lab"])
    await pair.beta.until(GROUPS, len)

    async with running_peer(tmp_path / "gamma", "gamma") as gamma:
        body = {"name": "gamma", "peer_id": gamma.peer_id, "shared_groups": ["lab"]}
        problem = await pair.beta.post(PEERS, body, status=403)

    assert (problem["code"], "alpha" in problem["fix"]) == ("not_allowed", True)


async def test_a_paused_peer_is_not_linked_also_after_a_restart(pair: Pair, tmp_path: Path) -> None:
    async with running_peer(tmp_path / "gamma", "gamma") as gamma:
        await name_peer(pair.alpha, gamma, "gamma", ["lab"])
        await name_peer(gamma, pair.alpha, "alpha", ["lab"])
        await gamma.until(f"{PEERS}/alpha", lambda peer: peer["shared_groups"])
        paused = await gamma.call("PATCH", f"{PEERS}/alpha", json={"paused": True}, model=Peer)
        assert paused["paused"]
        await gamma.until("/api/v1/status", lambda status: [each["state"] for each in status["links"]] == ["paused"])
        assert (await gamma.post(f"{PEERS}/alpha/test", {}, PeerTested))["failed"] == "handshake"
    async with running_peer(tmp_path / "gamma", "gamma") as gamma:
        assert (await gamma.get(f"{PEERS}/alpha", Peer))["paused"]
        assert [each["state"] for each in (await gamma.get("/api/v1/status"))["links"]] == ["paused"]
        await gamma.call("PATCH", f"{PEERS}/alpha", json={"paused": False}, model=Peer)
        await gamma.until("/api/v1/status", lambda status: [each["state"] for each in status["links"]] == ["up_to_date"])
    assert (await pair.alpha.call("PATCH", f"{PEERS}/nobody", json={"paused": True}, status=404))["code"] == "not_found"


async def test_forgetting_a_peer_does_not_remove_the_member(pair: Pair) -> None:
    await name_peer(pair.alpha, pair.beta, "beta", ["lab"])

    removed = await pair.alpha.call("DELETE", f"{PEERS}/beta", model=PeerRemoved)

    assert removed["still_member_of"] == ["lab"]
    assert [each["name"] for each in (await pair.alpha.get(LAB))["members"]] == ["alpha", "beta"]
    again = await pair.alpha.call("DELETE", f"{PEERS}/beta", status=404)
    assert (again["code"], "group remove lab" in again["fix"]) == ("not_found", True)
    assert (await pair.alpha.call("DELETE", f"{PEERS}/nobody", status=404))["code"] == "not_found"


async def test_a_test_says_at_which_step_it_fails(pair: Pair) -> None:
    await name_peer(pair.alpha, pair.beta, "beta", ["lab"])
    await name_peer(pair.beta, pair.alpha, "alpha", ["lab"])
    await pair.beta.until(GROUPS, len)
    good = await pair.alpha.post(f"{PEERS}/beta/test", {}, PeerTested)
    assert (good["ok"], good["failed"], [each["step"] for each in good["steps"]]) == (True, None, ["name", "tcp", "tls", "handshake", "group"])

    for number, (endpoint, step) in enumerate((("http://nowhere.invalid:1", "name"), (NOBODY, "tcp"), (pair.alpha.listen, "handshake"))):
        body = {"name": f"bad{number}", "peer_id": f"{number:064x}", "sync_endpoint": endpoint}
        await pair.alpha.post(PEERS, body, Peer, status=201)
        bad = await pair.alpha.post(f"{PEERS}/bad{number}/test", {}, PeerTested)
        assert (bad["ok"], bad["failed"], bool(bad["fix"])) == (False, step, True)
    assert (await pair.alpha.post(f"{PEERS}/nobody/test", {}, status=404))["code"] == "not_found"
