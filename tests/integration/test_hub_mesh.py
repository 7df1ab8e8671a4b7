"""Whole peers that find one another through a hub, which is a peer as well. Nobody enters an address."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from peer.api.models import Peer
from peer.api.peer_models import PeerTested
from peer.api.status_models import Status
from peer.cli.sample import write_sample
from peer.core.identity import KeyPair
from peer.errors import HubCredentialError
from resolver.hub import Pace
from tests.hub_lab import KEYS
from tests.integration.running_peer import RunningPeer, running_peer
from tests.unit.resolver.hub_lab import Groups, Site, until

GROUPS, PEERS, STATUS = "/api/v1/sync/groups", "/api/v1/sync/peers", "/api/v1/status"
HUB_PEERS = "/api/v1/hub/peers"
NAMES = ("alpha", "beta", "gamma")


def asking(folder: Path, url: str, key: str) -> dict[str, Any]:
    """The settings of a site that asks the hub at `url`."""
    file = folder.with_suffix(".hubkey")
    file.write_text(f"{key}\n")
    file.chmod(0o600)
    return {"hub_source": {"url": url, "credential_file": str(file), "interval": 1}}


@asynccontextmanager
async def a_hub(tmp_path: Path) -> AsyncIterator[tuple[RunningPeer, str]]:
    """A peer that is a hub, with a key for three sites."""
    async with running_peer(tmp_path / "hub", "hub", hub={"enabled": True}) as hub:
        made = await hub.post(KEYS, {"hive": "lab", "uses": 3}, status=201)
        yield hub, made["key"]


async def introduce(alpha: RunningPeer, other: RunningPeer, name: str) -> None:
    """By ids alone."""
    await alpha.post(PEERS, {"name": name, "peer_id": other.peer_id, "shared_groups": ["lab"]}, Peer, status=201)
    await other.post(PEERS, {"name": "alpha", "peer_id": alpha.peer_id, "shared_groups": ["lab"]}, Peer, status=201)


def hub_state(status: Any) -> str:
    return next(each["state"] for each in status["sources"] if each["source"] == "hub")


def is_linked_with(count: int) -> Any:
    return lambda status: sum(each["state"] == "up_to_date" for each in status["links"]) == count


async def test_three_sites_meet_through_a_hub_that_is_then_gone(tmp_path: Path) -> None:
    """Everything written afterwards arrives, and a site that starts anew finds the others by what it kept."""
    async with AsyncExitStack() as stack:
        async with a_hub(tmp_path) as (hub, key):
            settings = {name: asking(tmp_path / name, hub.listen, key) for name in NAMES}
            alpha, beta = [await stack.enter_async_context(running_peer(tmp_path / name, name, **settings[name])) for name in NAMES[:2]]
            await alpha.post(GROUPS, {"name": "lab"})
            async with running_peer(tmp_path / "gamma", "gamma", **settings["gamma"]) as gamma:
                await introduce(alpha, beta, "beta")
                await introduce(alpha, gamma, "gamma")
                for peer in (alpha, beta, gamma):
                    status = await peer.until(STATUS, is_linked_with(2))
                    Status.model_validate(status)
                    assert hub_state(status) == "ok"
                known = await beta.until(f"{PEERS}/{gamma.peer_id}", lambda peer: peer["source"] == "hub")
                assert (known["ttl"], known["endpoints"], known["online"]) == (1, [gamma.listen], True)
                assert (await beta.post(f"{PEERS}/{gamma.peer_id}/test", {}, PeerTested))["ok"]
        await beta.until(STATUS, lambda status: hub_state(status) == "failing")

        # What the operator entered holds no address, gossip has forgotten nobody yet, and the hub is gone: what it told is on the disk.
        gamma = await stack.enter_async_context(running_peer(tmp_path / "gamma", "gamma", **settings["gamma"]))
        assert (await gamma.get(f"{PEERS}/{beta.peer_id}", Peer))["endpoints"] == [beta.listen]
        await gamma.until(STATUS, is_linked_with(2))
        for number, peer in enumerate((alpha, beta, gamma)):
            write_sample(tmp_path / f"{number}.mcap", number, 1)
            await peer.post("/api/v1/recordings", {"paths": [str(tmp_path / f"{number}.mcap")]})
        for peer in (alpha, beta, gamma):
            await peer.until("/api/v1/recordings", lambda page: sorted(each["state"] for each in page["recordings"]) == ["local"] * 3)


async def test_who_leaves_the_hub_is_not_dialled_by_its_word_and_its_link_stays(tmp_path: Path) -> None:
    """Beta and gamma know one another by the hub alone. Its operator takes the entry of the one away whom the other dialled."""
    async with AsyncExitStack() as stack:
        hub, key = await stack.enter_async_context(a_hub(tmp_path))

        async def site(name: str, **more: object) -> RunningPeer:
            settings = {**asking(tmp_path / name, hub.listen, key), "gossip": {"enabled": False}, **more}
            return await stack.enter_async_context(running_peer(tmp_path / name, name, **settings))

        alpha, beta, gamma = await site("alpha"), await site("beta"), await site("gamma")
        await alpha.post(GROUPS, {"name": "lab"})
        await introduce(alpha, beta, "beta")
        await introduce(alpha, gamma, "gamma")
        for peer, other in ((beta, gamma), (gamma, beta)):
            await peer.until(STATUS, is_linked_with(2))
            await peer.until(f"{PEERS}/{other.peer_id}", lambda peer: peer["source"] == "hub")
        before = await link_of(beta, gamma)
        assert (before["source"], before["ttl"]) == ("hub", 1)
        here, there, name = (beta, gamma, "gamma") if before["dialled_by_us"] else (gamma, beta, "beta")

        (entry,) = [each for each in await hub.get(HUB_PEERS) if each["name"].startswith(f"{name}-")]
        await hub.call("DELETE", f"{HUB_PEERS}/{entry['id']}")
        await here.until(f"{PEERS}/{there.peer_id}", lambda peer: peer["endpoints"] == [])

        write_sample(tmp_path / "a.mcap", 1, 1)
        await there.post("/api/v1/recordings", {"paths": [str(tmp_path / "a.mcap")]})
        await here.until("/api/v1/recordings", lambda page: [each["state"] for each in page["recordings"]] == ["local"])
        after = await link_of(here, there)
        assert (after["state"], after["dialled_by_us"], after["source"]) == ("up_to_date", True, "inbound")


async def link_of(peer: RunningPeer, other: RunningPeer) -> Any:
    """The link of `peer` with `other`, as `status` has it."""
    return next(each for each in (await peer.get(STATUS))["links"] if each["peer_id"] == other.peer_id)


@pytest.mark.parametrize(("mode", "content"), [(0o640, "key-of-alpha"), (0o600, ""), (0o600, "no key\nat all")])
async def test_a_credential_that_is_open_or_none_is_refused_at_the_start(tmp_path: Path, mode: int, content: str) -> None:
    file = tmp_path / "key"
    file.write_text(content)
    file.chmod(mode)

    with pytest.RaisesGroup(pytest.RaisesExc(HubCredentialError), allow_unwrapped=True, flatten_subgroups=True):
        async with running_peer(tmp_path / "alpha", "alpha", hub_source={"url": "http://127.0.0.1:1", "credential_file": str(file)}):
            raise AssertionError("it runs")


async def test_a_key_comes_from_the_environment_as_well_and_a_wrong_one_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECMESH_HUB_KEY", "ohpak_" + "0" * 64)
    async with a_hub(tmp_path) as (hub, key):
        async with running_peer(tmp_path / "alpha", "alpha", hub_source={"url": hub.listen, "interval": 1}) as alpha:
            status = await alpha.until(STATUS, lambda status: hub_state(status) == "failing")
            assert "[hub_refused]" in next(each["last_error"] for each in status["sources"] if each["source"] == "hub")
        monkeypatch.setenv("RECMESH_HUB_KEY", key)
        async with running_peer(tmp_path / "alpha", "alpha", hub_source={"url": hub.listen, "interval": 1}) as alpha:
            await hub.until(HUB_PEERS, lambda peers: any(each["registered"] for each in peers))
            await alpha.until(STATUS, lambda status: hub_state(status) == "ok")
            assert [each["source"] for each in (await alpha.get(STATUS, Status))["sources"]] == ["manual", "hub", "gossip"]
            kept = [path for path in (tmp_path / "alpha").rglob("*") if path.is_file() and b'"key"' in path.read_bytes()]
            assert [(path.name, path.stat().st_mode & 0o777) for path in kept] == [("hub.key", 0o600)]


async def test_without_a_hub_the_source_is_off(tmp_path: Path) -> None:
    async with running_peer(tmp_path / "alpha", "alpha", gossip={"enabled": False}) as alpha:
        sources = (await alpha.get(STATUS, Status))["sources"]

    assert [(each["source"], each["state"], each["last_error"]) for each in sources] == [
        ("manual", "ok", None),
        ("hub", "off", None),
        ("gossip", "off", None),
    ]


async def test_what_a_hub_of_ours_announces_is_heard(tmp_path: Path) -> None:
    """With an hour between two looks nothing else brings the second site to the first."""
    keys = [KeyPair(bytes([number]) * 32) for number in (1, 2)]
    groups = Groups(lab=[key.peer_id for key in keys])
    async with a_hub(tmp_path) as (hub, key):
        first, second = [
            Site(tmp_path, hub.listen, groups, own, key, f"https://10.0.0.{number}:7850", f"site{number}", Pace(3600, 0.02))
            for number, own in enumerate(keys)
        ]
        async with first.asking() as resolver:
            await until(lambda: resolver._channels)
            looked_s = resolver._looked_s
            async with second.asking():
                await until(resolver.peers)

            assert resolver._looked_s > looked_s
            assert [each.peer for each in resolver.peers()] == [keys[1].peer_id]
