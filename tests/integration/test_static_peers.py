"""Peers of the configuration file, between whole peers."""

from pathlib import Path
from typing import Any

import pytest

from peer.api.models import Peer
from peer.api.peer_models import PeerTested
from tests.integration.running_peer import RunningPeer, running_peer

GROUPS, PEERS = "/api/v1/sync/groups", "/api/v1/sync/peers"


def in_the_file(other: RunningPeer, *groups: str) -> dict[str, Any]:
    return {"peers": [{"name": "alpha", "peer_id": other.peer_id, "endpoints": [other.listen], "groups": list(groups)}]}


async def test_a_peer_of_the_file_gives_the_group_that_is_expected_from_it_and_goes_with_the_file(tmp_path: Path) -> None:
    """As if it had been added by hand, but that only the file takes it away."""
    async with running_peer(tmp_path / "alpha", "alpha") as alpha:
        await alpha.post(GROUPS, {"name": "lab"})
        async with running_peer(tmp_path / "beta", "beta") as beta:
            await alpha.post(PEERS, {"name": "beta", "peer_id": beta.peer_id, "shared_groups": ["lab"]}, Peer, status=201)
        for _ in range(2):  # The second time the group is here already.
            async with running_peer(tmp_path / "beta", "beta", **in_the_file(alpha, "LAB")) as beta:
                known = await beta.until(f"{PEERS}/alpha", lambda peer: [each["role"] for each in peer["shared_groups"]] == ["owner"])
                assert (known["source"], known["ttl"], known["expected_groups"], known["endpoints"]) == ("manual", 2, [], [alpha.listen])
                assert (await beta.post(f"{PEERS}/alpha/test", {}, PeerTested))["ok"]
                problem = await beta.call("DELETE", f"{PEERS}/alpha", status=409)
                assert (problem["code"], "config.toml" in problem["fix"]) == ("peer_in_configuration", True)
                assert (await beta.get(f"{PEERS}/alpha"))["endpoints"] == [alpha.listen]
        async with running_peer(tmp_path / "beta", "beta", gossip={"enabled": False}) as beta:  # Others may have told of it meanwhile.
            known = await beta.get(f"{PEERS}/alpha", Peer)
            assert (known["source"], known["endpoints"]) == ("roster", [])


async def test_a_pause_of_a_peer_of_the_file_outlives_a_restart(tmp_path: Path) -> None:
    async with running_peer(tmp_path / "alpha", "alpha") as alpha:
        async with running_peer(tmp_path / "beta", "beta", **in_the_file(alpha, "lab")) as beta:
            await beta.call("PATCH", f"{PEERS}/alpha", json={"paused": True}, model=Peer)
        async with running_peer(tmp_path / "beta", "beta", **in_the_file(alpha, "lab")) as beta:
            assert (await beta.get(f"{PEERS}/alpha", Peer))["paused"]
            resumed = await beta.call("PATCH", f"{PEERS}/alpha", json={"paused": False}, model=Peer)
            assert (resumed["paused"], resumed["expected_groups"], resumed["source"]) == (False, ["lab"], "manual")


async def test_a_group_that_was_left_is_not_taken_again_before_the_next_start(tmp_path: Path) -> None:
    async with running_peer(tmp_path / "alpha", "alpha") as alpha, running_peer(tmp_path / "beta", "beta") as idle:
        await alpha.post(GROUPS, {"name": "lab"})
        await alpha.post(PEERS, {"name": "beta", "peer_id": idle.peer_id, "shared_groups": ["lab"]}, Peer, status=201)
    async with running_peer(tmp_path / "alpha", "alpha") as alpha, running_peer(tmp_path / "beta", "beta", **in_the_file(alpha, "lab")) as beta:
        await beta.until(GROUPS, lambda groups: [each["role"] for each in groups] == ["writer"])
        await beta.call("DELETE", f"{GROUPS}/lab", params={"now": "1"})
        assert await beta.get(GROUPS) == []
        assert (await beta.get(f"{PEERS}/alpha", Peer))["expected_groups"] == []


@pytest.mark.parametrize("dial", [True, False])
async def test_a_peer_of_the_file_that_also_was_added_is_one_peer(tmp_path: Path, *, dial: bool) -> None:
    async with running_peer(tmp_path / "alpha", "alpha") as alpha, running_peer(tmp_path / "beta", "beta", **in_the_file(alpha, "lab")) as beta:
        body = {"name": "first", "peer_id": alpha.peer_id, "shared_groups": ["other"], "sync_endpoint": "http://127.0.0.1:1" if dial else None}
        added = await beta.post(PEERS, body, Peer, status=201)

        assert added["endpoints"] == ([body["sync_endpoint"]] if dial else []) + [alpha.listen]
        assert (added["name"], added["expected_groups"]) == ("first", ["lab", "other"])
        assert (await beta.call("DELETE", f"{PEERS}/first", status=409))["code"] == "peer_in_configuration"
