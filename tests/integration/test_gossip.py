"""Whole peers that tell one another where members are: who learns of whom, how far it goes, what stays in its group, and what outlives whom."""

from collections import Counter
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from gossip.record import PeerRecord, Reachability, read_record, sign_record
from gossip.table import GossipTable
from peer.core.identity import GroupId, PeerId
from peer.sync import messages
from peer.sync.messages import Message, Records, encode_message
from tests.gossip_samples import record
from tests.integration.gossip_mesh import GROUPS, PEERS, Way, chain, gossip, introduce, learned, peers_named
from tests.integration.hostile_peer import HostilePeer, hostile_link
from tests.integration.running_peer import RunningPeer, running_peer
from tests.integration.test_forms import a_member, read
from tests.samples import key_pair

NAMES = ("a", "b", "c", "d")
BY_HAND = ("manual", None, 2)


async def test_three_introductions_make_a_full_mesh_of_four(tmp_path: Path) -> None:
    """Each shows from whom it learned of whom, and how far that may go: as often as nobody is in between."""
    expected = [
        {"b": {BY_HAND}, "c": {("gossip", "b", 1)}, "d": {("gossip", "b", 0), ("gossip", "c", 0)}},
        {"a": {BY_HAND}, "c": {BY_HAND}, "d": {("gossip", "c", 1)}},
        {"b": {BY_HAND}, "d": {BY_HAND}, "a": {("gossip", "b", 1)}},
        {"c": {BY_HAND}, "b": {("gossip", "c", 1)}, "a": {("gossip", "b", 0), ("gossip", "c", 0)}},
    ]
    async with peers_named(tmp_path, NAMES) as peers:
        await chain(peers, NAMES)
        for peer, known in zip(peers, expected, strict=True):
            await peer.until("/api/v1/status", lambda status, known=known: is_known(learned(status), known))


def is_known(found: dict[str, Way], expected: dict[str, set[Way]]) -> bool:
    """Whether everybody who is expected is there, in one of the ways that are, and nobody else."""
    return found.keys() == expected.keys() and all(found[name] in ways for name, ways in expected.items())


async def test_with_ttl_1_an_address_goes_to_the_next_one_and_no_further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often they tell one another what they know, over the links that came of it too."""
    heard: Counter[tuple[PeerId, PeerId]] = Counter()
    hear = GossipTable.hear

    def counted(table: GossipTable, informant: PeerId, group: GroupId, entries: Iterable[tuple[bytes, int]], now_ms: int) -> None:
        heard[table._me, informant] += 1
        hear(table, informant, group, entries, now_ms)

    monkeypatch.setattr(GossipTable, "hear", counted)
    async with peers_named(tmp_path, NAMES, default_ttl=1) as peers:
        await chain(peers, NAMES)
        first, last = peers[0], peers[-1]
        await first.until("/api/v1/status", lambda status: learned(status).keys() == {"b", "c"})
        await last.until("/api/v1/status", lambda status: learned(status).keys() == {"b", "c"})
        pairs = [(peer, other) for peer in (first, last) for other in peers[1:3]]
        ids = [tuple(PeerId(bytes.fromhex(each.peer_id)) for each in pair) for pair in pairs]
        heard.clear()
        await first.until("/api/v1/status", lambda _: all(heard[pair] >= 4 for pair in ids))  # type: ignore[index]
        known = learned(await first.get("/api/v1/status")), learned(await last.get("/api/v1/status"))

    assert known == (
        {"b": ("manual", None, 1), "c": ("gossip", "b", 0)},
        {"c": ("manual", None, 1), "b": ("gossip", "c", 0)},
    )


async def test_two_groups_on_the_same_peers_leak_nothing_of_each_other(tmp_path: Path) -> None:
    """What goes over the wire to a member of one names neither the other, nor its members, nor where they are."""
    async with peers_named(tmp_path, ("hub", "red", "blue")) as peers:
        hub, red, blue = peers
        groups = {}
        for peer, name in ((red, "red"), (blue, "blue")):
            groups[name] = GroupId(bytes.fromhex((await hub.post(GROUPS, {"name": name}))["group_id"]))
            await introduce(hub, peer, ("hub", name), name)
        for member in ("red", "both"):
            await admit(red, member, "red")
        for member in ("both", "blue"):
            await admit(blue, member, "blue")
        await hub.until(f"{GROUPS}/red", lambda shown: len(shown["members"]) == 4)
        await hub.until(f"{GROUPS}/blue", lambda shown: len(shown["members"]) == 4)
        async with AsyncExitStack() as stack:
            for member, names, told, hidden in (("red", ["red"], red, blue), ("both", ["red", "blue"], red, blue), ("blue", ["blue"], blue, red)):
                link = await stack.enter_async_context(member_link(hub, member, [groups[name] for name in names]))
                await link.hears(lambda message, told=told: tells_of(message, told))
                if member == "both":
                    await link.hears(lambda message: tells_of(message, blue))
                    assert {message.group for message in link.heard if tells_of(message, red)} == {groups["red"]}
                    assert {message.group for message in link.heard if tells_of(message, blue)} == {groups["blue"]}
                    continue
                said = b"".join(encode_message(message) for message in link.heard)
                other = groups["blue" if member == "red" else "red"]
                for secret in (bytes.fromhex(hidden.peer_id), hidden.listen.encode(), other, hidden.listen.rpartition(":")[2].encode()):
                    assert secret not in said


async def admit(peer: RunningPeer, member: str, group: str) -> None:
    """A peer takes somebody into a group of whom there is no more than a key."""
    body = {"name": f"member-{member}", "peer_id": key_pair(member).peer_id.hex(), "shared_groups": [group], "role": "writer"}
    await peer.post(PEERS, body, status=201)


def tells_of(message: Message, peer: RunningPeer) -> bool:
    """Whether it carries the record of `peer`."""
    return isinstance(message, Records) and any(bytes.fromhex(peer.peer_id) in data for data, _ in message.entries)


def member_link(peer: RunningPeer, member: str, groups: list[GroupId]) -> Any:
    """A link of this member, which says where it is in each group, as if it had been introduced by hand."""
    return _told(peer, member, groups)


class _told:  # noqa: N801  (a context manager that reads like a function)
    """Opens the link, and tells."""

    def __init__(self, peer: RunningPeer, member: str, groups: list[GroupId]) -> None:
        key = key_pair(member)
        self._link = hostile_link(peer.listen, PeerId(bytes.fromhex(peer.peer_id)), key, groups=tuple(groups))
        self._entries = ((record(member, endpoints=()), 2),)
        self._groups = groups

    async def __aenter__(self) -> HostilePeer:
        link = await self._link.__aenter__()
        await link.say(*(Records(group, self._entries) for group in self._groups))
        return link

    async def __aexit__(self, *error: object) -> None:
        await self._link.__aexit__(*error)  # type: ignore[arg-type]


async def test_who_is_gone_is_forgotten_unless_the_operator_named_it(tmp_path: Path) -> None:
    """After a few failures in a row; the one that was entered by hand is tried for ever."""
    async with AsyncExitStack() as stack:
        a = await stack.enter_async_context(running_peer(tmp_path / "a", "a", **gossip(max_failures=2)))
        async with peers_named(tmp_path, ("b", "c")) as others:
            await chain([a, *others], ("a", "b", "c"))
            await a.until("/api/v1/status", lambda status: learned(status).keys() == {"b", "c"})
        await a.until("/api/v1/status", lambda status: all(link["source"] != "gossip" for link in status["links"]))
        shown = {each["name"]: each["source"] for each in await a.get(PEERS)}

    assert shown == {"b": "manual", "c": "roster"}


async def test_a_peer_that_starts_again_finds_those_of_whom_it_was_told(tmp_path: Path) -> None:
    """Nobody is there to tell it again: whoever introduced them is gone."""
    names = ("a", "b", "c")
    async with peers_named(tmp_path, names) as peers:
        await chain(peers, names)
        await peers[0].until("/api/v1/status", lambda status: learned(status).get("c") == ("gossip", "b", 1))
        where = peers[2].listen.removeprefix("http://")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running_peer(tmp_path / "c", "c", **gossip(enabled=False), listen=where))
        a = await stack.enter_async_context(running_peer(tmp_path / "a", "a", **gossip()))
        status = await a.until("/api/v1/status", lambda status: "c" in learned(status))
        (link,) = [link for link in status["links"] if link["name"] == "c"]

    assert (link["source"], link["ttl"], link["dialled_by_us"]) == ("gossip", 1, True)


async def test_what_was_kept_and_is_damaged_begins_anew(tmp_path: Path) -> None:
    async with running_peer(tmp_path / "a", "a", **gossip()):
        pass
    (tmp_path / "a" / "gossip.json").write_bytes(b'{"format": 1, "peers": [{}]}')
    async with running_peer(tmp_path / "a", "a", **gossip()) as peer:
        status = await peer.get("/api/v1/status")

    assert {"source": "gossip", "state": "ok", "last_error": None} in status["sources"]


async def test_a_script_without_a_link_tells_and_is_told(tmp_path: Path) -> None:
    """A heartbeat brings records after its hello, and is answered with those that its sender may hear: as far as the introduction goes."""
    async with a_member(tmp_path, **gossip()) as (site, caller, group, other):
        me = sign_record(caller.key, PeerRecord(caller.key.peer_id, 2**50, ("https://script.example:1",), Reachability.UNKNOWN, 3600)).data
        await admit(site, "friend", "mine")
        friend = messages.Records(group, ((me, 2), (record("friend"), 2)))
        status, frames = await caller.send("POST", "/sync/v1/heartbeat", [caller.hello(), messages.encode_message(friend)])
        hello, told = read(frames)
        stranger = messages.Records(other, ((record("friend"), 2),))
        passed_over, _ = await caller.send("POST", "/sync/v1/heartbeat", [caller.hello(), messages.encode_message(stranger)])
        refused, problem = await caller.send("POST", "/sync/v1/heartbeat", [caller.hello(), caller.hello()])
        known = await site.until("/api/v1/status", lambda status: any(link["learned_from"] for link in status["links"]))
        (link,) = [link for link in known["links"] if link["peer_id"] == caller.key.peer_id.hex()]

    assert (status, passed_over, refused, problem["code"]) == (200, 200, 400, "malformed_frame")
    assert (hello.peer.hex(), told.group) == (site.peer_id, group)
    assert [(read_record(data).record.peer.hex(), ttl) for data, ttl in told.entries] == [(site.peer_id, 2)]
    assert (link["source"], link["learned_from"], link["ttl"]) == ("gossip", caller.key.peer_id.hex(), 2)
