"""A hub as a source of addresses: who is taken from it, what is kept, what it cannot do. Over real connections to a hub made for tests."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from peer.core.identity import KeyPair
from peer.core.names import hive_of
from resolver import hub, hub_client, hub_presence
from resolver.base import SourceState
from resolver.hub_events import FRAME_SIZE_MAX
from tests.unit.resolver.fake_hub import PREAUTH, FakeHub, served
from tests.unit.resolver.hub_lab import QUICK, Groups, Site, group_id, metadata_of, of_our_kind, record_of, until

ALPHA, BETA, STRANGER = (KeyPair(bytes([number]) * 32) for number in (1, 2, 3))
OURS, THEIRS = "https://10.0.0.1:7850", "https://10.0.0.2:7850"


class Scene(NamedTuple):
    """A hub, and alpha that asks it. Both it and beta are members of the group `lab`."""

    hub: FakeHub
    alpha: Site

    def beta(self, **fields: object) -> str:
        """Beta as a swarm of the hub, in the hive `lab`."""
        given = {"metadata": metadata_of(BETA, THEIRS), "capabilities": of_our_kind(), "name": "beta"}
        return self.hub.put("agent_beta", {"lab"}, **{**given, **fields})


@pytest.fixture
async def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr(hub_client, "CALLS_PER_MINUTE_MAX", 10_000)  # Tests are in a hurry.
    fake = FakeHub()
    async with served(fake.app()) as url:
        yield Scene(fake, Site(tmp_path, url, Groups(lab=[ALPHA.peer_id, BETA.peer_id]), key=ALPHA))


async def test_two_sites_find_one_another(scene: Scene, tmp_path: Path) -> None:
    beta = Site(tmp_path, scene.alpha.url, scene.alpha.groups, BETA, "key-of-beta", THEIRS, "beta")
    async with scene.alpha.asking() as ours, beta.asking() as theirs:
        await until(lambda: ours.peers() and theirs.peers())

        (found,) = ours.peers()
        assert (found.peer, found.name, found.endpoints, found.source, found.ttl) == (BETA.peer_id, "beta", (THEIRS,), "hub", 1)
        assert (found.hints, found.groups, found.expects) == ({THEIRS}, {group_id("lab")}, frozenset())
        assert [each.peer for each in theirs.peers_of(group_id("lab"))] == [ALPHA.peer_id]
        assert ours.states() == [SourceState("hub", "ok")]
        await until(lambda: ours.is_online(BETA.peer_id))  # On a busy machine the last look is soon too old to tell.
        assert ours.is_online(STRANGER.peer_id) is None
    registered = scene.hub.bodies[0]
    assert (registered["map_transport"], registered["map_endpoint"] in (OURS, THEIRS)) == ("http-sse", True)


async def test_who_is_on_no_roster_here_is_not_taken_and_the_hub_is_told_of_our_hives_alone(scene: Scene) -> None:
    """Anybody may join a hive: that makes nobody a member of the group. Who becomes one is taken at once."""
    scene.hub.put("agent_stranger", {"lab", "other"}, metadata=metadata_of(STRANGER, "https://10.0.0.3:7850"), capabilities=of_our_kind())
    scene.beta()
    async with scene.alpha.asking() as resolver:
        await until(resolver.peers)
        await until(lambda: scene.hub.calls["GET /map/swarms/{id}"] >= 2)
        assert [each.peer for each in resolver.peers()] == [BETA.peer_id]

        scene.alpha.groups.groups[group_id("lab")].roster.members.add(STRANGER.peer_id)
        resolver.roster_changed()

        assert {each.peer for each in resolver.peers()} == {BETA.peer_id, STRANGER.peer_id}
        assert next(each["hives"] for each in scene.hub.swarms.values() if each["map_endpoint"] == OURS) == {"lab"}


async def test_a_member_of_one_group_is_not_one_of_another_because_the_hub_says_so(scene: Scene) -> None:
    scene.alpha.groups.add("secret", [ALPHA.peer_id])
    scene.hub.put("agent_beta", {"lab", "secret"}, metadata=metadata_of(BETA, THEIRS), capabilities=of_our_kind())

    async with scene.alpha.asking() as resolver:
        await until(resolver.peers)

        assert resolver.peers()[0].groups == {group_id("lab")}


async def test_who_is_expected_to_bring_a_group_is_found_before_the_group_is_here(scene: Scene) -> None:
    scene.alpha.groups = Groups()
    scene.alpha.expects(BETA.peer_id, "LAB")
    scene.hub.put("agent_stranger", {"lab"}, metadata=metadata_of(STRANGER, "https://10.0.0.3:7850"), capabilities=of_our_kind())
    scene.beta()

    async with scene.alpha.asking() as resolver:
        await until(resolver.peers)
        await until(lambda: scene.hub.calls["GET /map/swarms/{id}"] >= 2)

        assert [(each.peer, each.groups) for each in resolver.peers()] == [(BETA.peer_id, frozenset())]


async def test_a_peers_own_newest_record_goes_before_what_anybody_may_have_written(scene: Scene) -> None:
    scene.beta(metadata=metadata_of(BETA, "https://10.6.6.6:1", record_of(BETA, "https://10.0.0.7:1", seq=7)))
    scene.hub.put("agent_stranger", {"lab"}, metadata=metadata_of(BETA, "https://10.6.6.6:2"), capabilities=of_our_kind())
    old = metadata_of(BETA, "https://10.6.6.6:3", record_of(BETA, "https://10.0.0.6:1", seq=6))
    scene.hub.put("agent_stranger", {"lab"}, metadata=old, capabilities=of_our_kind())

    async with scene.alpha.asking() as resolver:
        await until(lambda: scene.hub.calls["GET /map/swarms/{id}"] >= 3)
        await until(lambda: resolver.peers() and resolver.peers()[0].endpoints == ("https://10.0.0.7:1",))


async def test_a_site_that_nobody_can_dial_finds_others_and_says_no_address(scene: Scene) -> None:
    scene.alpha.endpoint = None
    scene.beta()

    async with scene.alpha.asking() as resolver:
        await until(resolver.peers)

        assert scene.hub.bodies[0]["map_endpoint"].endswith(".invalid")
        assert "sync_endpoint" not in scene.hub.bodies[0]["metadata"]


async def test_hives_follow_groups(scene: Scene) -> None:
    scene.hub.hives["kept"] = "hive_kept"
    odd = "A.Name.That.No.Hub.Takes"
    async with scene.alpha.asking() as resolver:
        await until(lambda: scene.hub.swarms)
        (swarm,) = scene.hub.swarms.values()
        await until(lambda: swarm["hives"] == {"lab"})
        swarm["hives"].add("kept")  # Somebody else's doing, such as a pre-auth key's: not ours to undo.

        scene.alpha.groups.add(odd, [ALPHA.peer_id])
        resolver.roster_changed()
        await until(lambda: swarm["hives"] == {"lab", "kept", hive_of(odd)})
        del scene.alpha.groups.groups[group_id("lab")]
        resolver.roster_changed()
        await until(lambda: swarm["hives"] == {"kept", hive_of(odd)})


async def test_a_hive_that_the_hub_does_not_make_is_shown_and_not_asked_for_again_and_again(scene: Scene) -> None:
    scene.hub.may_make_hives = False
    scene.alpha.groups.add("known", [ALPHA.peer_id, BETA.peer_id])
    scene.hub.put("agent_beta", {"known"}, metadata=metadata_of(BETA, THEIRS), capabilities=of_our_kind())

    async with scene.alpha.asking() as resolver:
        await until(resolver.peers)
        looks = scene.hub.calls["GET /map/peers/{id}"]
        await until(lambda: scene.hub.calls["GET /map/peers/{id}"] > looks + 3)

        assert resolver.states() == [SourceState("hub", "failing", "the hub refuses joining the hive lab [FORBIDDEN]")]
        assert scene.hub.calls["POST /hives"] == 1


async def test_a_restart_finds_its_own_swarm_again_and_a_lost_one_is_registered_anew(scene: Scene) -> None:
    async with scene.alpha.asking():
        await until(scene.alpha.cache.exists)
    first = list(scene.hub.swarms)
    scene.alpha.cache.unlink()  # Forgotten here, known there: 409, then found by its address.
    async with scene.alpha.asking() as resolver:
        await until(lambda: scene.hub.calls["PUT /map/swarms/{id}"])
        await until(lambda: resolver.states() == [SourceState("hub", "ok")])
        assert list(scene.hub.swarms) == first

        scene.hub.swarms.clear()  # Forgotten there: 403 for everything.
        await until(lambda: scene.hub.swarms and next(iter(scene.hub.swarms.values()))["hives"] == {"lab"})
        await until(lambda: resolver.states() == [SourceState("hub", "ok")])


async def test_an_address_that_somebody_else_registered_is_shown(scene: Scene) -> None:
    scene.hub.put("agent_stranger", {"lab"}, map_endpoint=OURS)

    async with scene.alpha.asking() as resolver:
        await until(lambda: resolver.states()[0].last_error)

    assert "somebody else registered https://10.0.0.1:7850 at the hub [DUPLICATE_ENDPOINT]" in str(resolver.states()[0].last_error)


async def test_a_new_address_is_told(scene: Scene) -> None:
    async with scene.alpha.asking():
        await until(lambda: scene.hub.calls["GET /map/peers/{id}"])
        scene.alpha.endpoint = "https://10.0.0.9:7850"

        await until(lambda: [each["map_endpoint"] for each in scene.hub.swarms.values()] == ["https://10.0.0.9:7850"])


async def test_a_preauth_key_gets_a_key_once(scene: Scene) -> None:
    scene.alpha.credential = PREAUTH
    for _ in range(2):
        async with scene.alpha.asking() as resolver:
            looks = scene.hub.calls["GET /map/peers/{id}"]
            await until(lambda looks=looks: scene.hub.calls["GET /map/peers/{id}"] > looks)
            await until(lambda resolver=resolver: resolver.states() == [SourceState("hub", "ok")])  # Once the answer is read.
            await until(scene.alpha.cache.exists)  # It is written after that.

    assert scene.hub.calls["POST /agents/register"] == 1
    assert scene.hub.bodies[0]["preauth_key"] == PREAUTH
    assert scene.alpha.key_file.read_text() not in scene.alpha.cache.read_text()


async def test_a_key_that_the_disk_has_no_room_for_is_used_and_kept_later(scene: Scene) -> None:
    """The pre-auth key is used up by then: nobody gets another one with it."""
    scene.alpha.credential, scene.alpha.is_disk_full = PREAUTH, True
    async with scene.alpha.asking() as resolver:
        await until(lambda: scene.hub.calls["GET /map/peers/{id}"])
        assert not scene.alpha.key_file.exists()
        scene.alpha.is_disk_full = False
        await until(lambda: scene.alpha.key_file.exists() and scene.alpha.key_file.read_text() in scene.hub.keys)
        assert resolver.states() == [SourceState("hub", "ok")]

    assert scene.hub.calls["POST /agents/register"] == 1


async def test_a_key_that_is_revoked_is_got_anew_under_another_name(scene: Scene) -> None:
    scene.alpha.credential = PREAUTH
    async with scene.alpha.asking() as resolver:
        await until(lambda: resolver.states() == [SourceState("hub", "ok")] and scene.hub.calls["GET /map/peers/{id}"])
        name = next(name for name in scene.hub.keys.values() if name.startswith("alpha-"))
        scene.hub.keys = {"gone": name}
        scene.hub.swarms.clear()

        await until(lambda: len(scene.hub.keys) == 2)
        await until(lambda: scene.hub.swarms)


@pytest.mark.parametrize("damage", ["none", "cut", "other hub"])
async def test_what_the_hub_told_is_known_after_a_restart_without_the_hub(scene: Scene, damage: str) -> None:
    scene.beta()
    async with scene.alpha.asking() as resolver:
        await until(resolver.peers)
        await until(lambda: scene.alpha.cache.exists() and BETA.peer_id.hex() in scene.alpha.cache.read_text())
        before = list(resolver.peers())
    if damage == "cut":
        scene.alpha.cache.write_bytes(scene.alpha.cache.read_bytes()[:-40])
    scene.alpha.url = "http://127.0.0.1:1" if damage == "other hub" else scene.alpha.url
    scene.hub.fault = lambda _request: asyncio.get_running_loop().create_future()  # It answers nobody.

    assert list(scene.alpha.make().peers()) == (before if damage == "none" else [])


async def test_a_hub_that_comes_back_with_other_data_wins_over_what_was_kept(scene: Scene) -> None:
    swarm = scene.beta()
    async with scene.alpha.asking() as resolver:
        await until(lambda: scene.alpha.cache.exists() and BETA.peer_id.hex() in scene.alpha.cache.read_text())
    scene.hub.swarms[swarm]["metadata"] = metadata_of(BETA, "https://10.0.0.5:7850")

    async with scene.alpha.asking() as resolver:
        assert [each.endpoints for each in resolver.peers()] == [(THEIRS,)]
        await until(lambda: [each.endpoints for each in resolver.peers()] == [("https://10.0.0.5:7850",)])

        del scene.hub.swarms[swarm]
        await until(lambda: not resolver.peers())
        await until(lambda: BETA.peer_id.hex() not in scene.alpha.cache.read_text())


async def test_whether_somebody_is_online_is_told_on(scene: Scene) -> None:
    swarm = scene.beta()
    async with scene.alpha.asking() as resolver:
        await until(lambda: resolver.is_online(BETA.peer_id))
        told: list[bool | None] = []
        resolver.subscribe(lambda: told.append(resolver.is_online(BETA.peer_id)))

        scene.hub.swarms[swarm]["status"] = "offline"
        await until(lambda: told == [False])
        assert len(resolver.peers()) == 1  # It is dialled all the same.


async def test_peers_are_asked_for_by_name_once_and_few_at_a_time(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "LOOKS_MAX", 2)
    keys = [KeyPair(bytes([100 + number]) * 32) for number in range(5)]
    for number, key in enumerate(keys):
        scene.alpha.groups.groups[group_id("lab")].roster.members.add(key.peer_id)
        scene.hub.put("agent_beta", {"lab"}, metadata=metadata_of(key, f"https://10.0.1.{number}:1"), capabilities=of_our_kind())
    scene.hub.put("agent_beta", {"lab"}, metadata={"no": "peer"}, capabilities=of_our_kind())

    async with scene.alpha.asking() as resolver:
        await until(lambda: len(resolver.peers()) == 5)
        await until(lambda: scene.hub.calls["GET /map/peers/{id}"] >= 8)

    assert scene.hub.calls["GET /map/swarms/{id}"] == 6  # The one that says nothing of use as well.


async def test_an_announcement_is_a_reason_to_look_at_once_and_a_flood_of_them_to_look_no_more_often(scene: Scene) -> None:
    """The only call that an hour's interval leaves is that of a hint."""
    scene.alpha.pace = QUICK._replace(interval_s=3600)
    async with scene.alpha.asking() as resolver:
        await until(lambda: scene.hub.sockets and scene.hub.heard)
        assert scene.hub.heard[0] == {"type": "subscribe", "channels": ["map:discovery", f"map:hive:{scene.hub.hives['lab']}"]}
        assert scene.hub.tokens == ["Bearer key-of-alpha"]
        scene.beta()
        await scene.hub.announce("map:hive:x", "swarm_joined_hive")
        await until(resolver.peers)

        looks, since_s = scene.hub.calls["GET /map/peers/{id}"], time.monotonic()
        for _ in range(500):
            await scene.hub.announce("map:discovery", "swarm_registered")
        await until(lambda: scene.hub.calls["GET /map/peers/{id}"] > looks)
        assert scene.hub.calls["GET /map/peers/{id}"] <= looks + 2 + (time.monotonic() - since_s) / QUICK.gap_s
        await until(lambda: {"type": "ping"} in scene.hub.heard)

        await scene.hub.sockets[0].close()  # What is cut is opened again, and something may have been missed meanwhile.
        await until(lambda: len(scene.hub.tokens) >= 2)


async def test_a_frame_that_is_too_large_ends_the_listening_and_not_the_asking(scene: Scene) -> None:
    async with scene.alpha.asking() as resolver:
        await until(lambda: scene.hub.sockets)
        await scene.hub.sockets[0].send_str('{"channel": "' + "x" * FRAME_SIZE_MAX + '"}')
        await until(lambda: len(scene.hub.tokens) >= 2)
        looks = scene.hub.calls["GET /map/peers/{id}"]
        await until(lambda: scene.hub.calls["GET /map/peers/{id}"] > looks)
        assert resolver.states() == [SourceState("hub", "ok")]


def test_the_name_of_a_hive_is_that_of_its_group_where_a_hub_takes_it() -> None:
    assert hive_of("Lab_1-x") == "lab_1-x"
    assert hive_of("lab.1") != hive_of("lab.2")
    assert all(2 <= len(hive_of(name)) <= 32 for name in ("x", "a" * 128, "lab.1"))
    assert hive_of("LAB.1") == hive_of("lab.1")


async def test_the_record_at_the_hub_is_renewed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_presence, "RENEW_S", 0.0)
    async with scene.alpha.asking():
        await until(lambda: scene.hub.calls["PUT /map/swarms/{id}"] >= 2)

    assert json.loads(scene.alpha.cache.read_text())["swarm"] in scene.hub.swarms
