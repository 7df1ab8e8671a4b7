"""The part of gossip that meets links and the disk: what it does where it is off, after a restart, and where the disk does not want to."""

import asyncio
import errno
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from gossip import kept, service
from gossip.kept import read_kept
from gossip.record import read_record
from gossip.rules import GossipRules
from gossip.service import Clocks, GossipParts, GossipService
from gossip.table import Hearsay
from peer.core.identity import GroupId, PeerId
from peer.core.neighbours import NoNeighbours, Told
from tests.gossip_samples import BLUE, RED, forged, peer_id, record
from tests.samples import key_pair

DEADLINE_S = 20.0


class Links:
    """Remembers what was told."""

    def __init__(self) -> None:
        self.linked: dict[GroupId, list[str]] = {}
        self.told: list[tuple[PeerId, GroupId, Told]] = []

    def group_peers(self, group: GroupId) -> list[PeerId]:
        return [peer_id(name) for name in self.linked.get(group, [])]

    def tell_records(self, peer: PeerId, group: GroupId, entries: Told) -> None:
        self.told.append((peer, group, entries))


class Scene:
    """A service, and what stands around it."""

    def __init__(self, *, kept: bytes | None = None, rules: GossipRules | None = None, members: str = "bob carol") -> None:
        self.links = Links()
        self.reports: list[str] = []
        self.written: list[bytes] = []
        self.disk: OSError | None = None
        self.now_ms = 0
        self.sites = Sites()
        everybody = {peer_id(name): None for name in ("me", *members.split())}
        replica: Any = SimpleNamespace(groups={RED: SimpleNamespace(roster=SimpleNamespace(members=everybody))})
        named: list[Any] = [
            SimpleNamespace(peer=peer_id("bob"), source="manual", ttl=2),
            SimpleNamespace(peer=peer_id("carol"), source="gossip", ttl=1),
        ]
        parts = GossipParts(
            replica,
            lambda: self.links,
            lambda: named,
            lambda: ("https://me.example:7850",),
            Clocks(lambda: self.now_ms, lambda: 1000 + self.now_ms),
            self.sites,
            self.report,
            kept,
            self.keep,
        )
        self.service = GossipService(key_pair("me"), rules or GossipRules(), parts)

    def report(self, event: str, _fields: Mapping[str, object]) -> None:
        self.reports.append(event)

    async def keep(self, data: bytes) -> None:
        if self.disk is not None:
            raise self.disk
        self.written.append(data)

    async def run_until(self, condition: Any) -> None:
        """Let it work until `condition` holds, then stop it."""
        task = asyncio.create_task(self.service.run())
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not condition():  # noqa: ASYNC110  (what is waited for has no event of its own)
                    await asyncio.sleep(0.01)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


class Sites(NoNeighbours):
    """Hears how others are."""

    def __init__(self) -> None:
        self.heard: list[tuple[PeerId, GroupId]] = []

    def hear_sites(self, peer: PeerId, group: GroupId, entries: Told) -> None:
        del entries
        self.heard.append((peer, group))


async def test_a_new_link_is_told_who_we_are_as_soon_as_a_group_is_spoken_about() -> None:
    scene = Scene()
    scene.service.linked(peer_id("bob"), b"", dialled_by_us=True)
    scene.links.linked[RED] = ["bob"]
    await scene.run_until(lambda: scene.links.told)

    (peer, group, ((data, ttl),)) = scene.links.told[0]
    assert (peer, group, ttl, read_record(data).record.peer) == (peer_id("bob"), RED, 2, peer_id("me"))


def test_who_has_another_address_tells_everybody_at_once() -> None:
    """Before the links over the old one end: an interval later nobody would be there to be told."""
    scene = Scene()
    scene.links.linked[RED] = ["bob", "carol"]
    scene.service._step()
    del scene.links.told[:]
    scene.service._step()
    assert not scene.links.told

    scene.service.own_changed()

    assert {peer for peer, _, _ in scene.links.told} == {peer_id("bob"), peer_id("carol")}


def test_who_tells_nothing_tells_nothing_of_another_address_either() -> None:
    scene = Scene(rules=GossipRules(enabled=False))
    scene.links.linked[RED] = ["bob"]

    scene.service.own_changed()

    assert not scene.links.told


async def test_many_small_messages_are_worked_off_together() -> None:
    """What is to be done after one takes long where many peers are known: a member that sends little and often must not keep us at it."""
    scene, asked = Scene(), 0

    def named() -> list[Any]:
        nonlocal asked
        asked += 1
        return []

    scene.service._parts = scene.service._parts._replace(named=named)
    scene.links.linked[RED] = ["bob"]
    task = asyncio.create_task(scene.service.run())
    for _ in range(500):
        scene.service.hear_records(peer_id("bob"), RED, [])
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert 1 <= asked < 100


async def test_where_it_is_off_nothing_is_told_taken_or_kept() -> None:
    scene = Scene(rules=GossipRules(enabled=False))
    scene.links.linked[RED] = ["bob"]
    scene.service.linked(peer_id("bob"), b"", dialled_by_us=True)
    scene.service.hear_records(peer_id("bob"), RED, [(record("carol"), 2)])
    async with asyncio.timeout(DEADLINE_S):
        await scene.service.run()

    assert (scene.links.told, scene.service.placed(), scene.written) == ([], [], [])
    assert scene.service.records_for(peer_id("bob")) == []
    assert read_record(scene.service.record()).record.peer == peer_id("me"), "a hello has it all the same"


async def test_how_other_sites_are_is_somebody_elses() -> None:
    scene = Scene()
    scene.service.hear_sites(peer_id("bob"), BLUE, ())

    assert scene.sites.heard == [(peer_id("bob"), BLUE)]


async def test_what_was_told_outlives_a_restart_and_is_told_to_nobody_before_it_is_reached_again() -> None:
    scene = Scene()
    scene.service.hear_records(peer_id("bob"), RED, [(record("carol"), 2)])
    scene.links.linked[RED] = ["bob", "carol"]
    await scene.run_until(lambda: scene.links.told)
    again = Scene(kept=scene.written[-1])
    assert [(each.peer, each.learned_from, each.ttl) for each in again.service.placed()] == [(peer_id("carol"), peer_id("bob"), 1)]
    again.links.linked[RED] = ["bob"]
    await again.run_until(lambda: again.links.told)

    (_, _, entries) = again.links.told[0]
    assert [read_record(data).record.peer for data, _ in entries] == [peer_id("me")]
    assert read_record(again.service.record()).record.seq > read_record(scene.service.record()).record.seq


async def test_who_left_meanwhile_is_not_known_after_a_restart() -> None:
    scene = Scene()
    scene.service.hear_records(peer_id("bob"), RED, [(record("carol"), 2)])
    await scene.run_until(scene.service.placed)

    assert Scene(kept=scene.written[-1], members="bob").service.placed() == []


@pytest.mark.parametrize("damage", [b"", b"{}", b"[1]", b'{"format": 2, "own_seq": 1, "peers": []}', b"\xff", b"[" * 100_000])
async def test_a_damaged_file_is_told_of_and_begins_anew(damage: bytes) -> None:
    scene = Scene(kept=damage)

    assert (len(scene.reports), scene.service.placed()) == (1, [])


async def test_who_is_linked_is_kept_as_long_as_it_says_however_long_ago_the_link_was_made() -> None:
    """After a day its record is as good as on the first."""
    scene = Scene()
    scene.links.linked[RED] = ["bob", "carol"]
    scene.service.hear_records(peer_id("bob"), RED, [(record("carol"), 2)])
    await scene.run_until(lambda: scene.links.told)
    scene.now_ms = 25 * 3_600_000
    scene.service.hear_records(peer_id("bob"), RED, [(record("carol", 2), 2)])
    await scene.run_until(scene.service.placed)
    kept = read_kept(scene.written[-1], 0)

    assert kept is not None
    assert [each.good_for_ms for each in kept.peers] == [3_600_000]


async def test_what_is_kept_goes_no_further_than_the_operator_allows_now() -> None:
    scene = Scene(rules=GossipRules(default_ttl=5))
    scene.service.hear_records(peer_id("bob"), RED, [(record("carol"), 5)])
    scene.links.linked[RED] = ["bob", "carol"]
    await scene.run_until(lambda: scene.links.told)
    again = Scene(kept=scene.written[-1], rules=GossipRules(default_ttl=1))

    assert [each.ttl for each in again.service.placed()] == [1]


async def test_a_kept_record_that_was_changed_is_not_taken() -> None:
    scene = Scene()
    scene.service.hear_records(peer_id("bob"), RED, [(record("carol"), 2)])
    await scene.run_until(scene.service.placed)
    changed = scene.written[-1].replace(record("carol").hex().encode(), forged("carol").hex().encode())

    assert changed != scene.written[-1]
    assert read_kept(changed, 0) is None


async def test_a_full_disk_stops_nothing_and_is_told_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "WRITE_GAP_S", 0.01)
    scene = Scene()
    scene.disk = OSError(errno.ENOSPC, "no space left on the device")
    scene.service.hear_records(peer_id("bob"), RED, [(record("carol"), 2)])
    scene.links.linked[RED] = ["bob"]
    await scene.run_until(lambda: scene.links.told and scene.reports)
    assert len(scene.reports) == 1
    scene.disk = None
    await scene.run_until(lambda: scene.written)

    assert scene.written


async def test_whose_credit_is_used_up_is_reported_once() -> None:
    scene = Scene()
    scene.service.hear_records(peer_id("carol"), RED, [(forged("bob"), 2)] * 100)
    await scene.run_until(lambda: scene.reports)

    assert len(scene.reports) == 1
    assert scene.service.paused().keys() == {peer_id("carol")}
    assert scene.service.credit(peer_id("carol")) == 0


def test_the_file_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "ENTRIES_MAX", 2)
    told = Hearsay(read_record(record("carol")), 1, peer_id("bob"), 0)
    data = kept.Kept(0, [kept.KeptPeer(RED, told, None)] * 5).to_bytes()
    again = read_kept(data, 0)

    assert again is not None
    assert len(again.peers) == 2
