"""Peers over real sockets and real databases: link, sync, join, and refuse."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from peer.core.certificate import LogKind
from peer.core.control import Role, member_set
from peer.core.group import Invitation
from peer.core.identity import GroupId, KeyPair
from peer.core.run import Draft
from peer.errors import MeshError
from peer.store.peers import KnownPeer
from peer.transport.carrier import CarrierKind
from tests.link_lab import DEADLINE_S, Lab, Site, Target, target, wall_ms


@pytest.fixture(params=list(CarrierKind))
async def lab(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Lab]:
    """Sites that end with the test, and use one kind of carrier."""
    async with contextlib.AsyncExitStack() as stack:
        yield Lab(tmp_path, stack, polling=request.param is CarrierKind.POLL)


@pytest.mark.parametrize("tls", [False, True])
async def test_a_site_joins_by_invitation_and_events_flow_both_ways(lab: Lab, tls: bool) -> None:  # noqa: FBT001
    """What was there before comes with the join; what is written later comes by itself."""
    a, b = await lab.site("a", tls=tls), await lab.site("b")
    group = await lab.found(a)
    await a.store.write(group, LogKind.DATA, [Draft("test.note", b"\xa0")] * 300)
    await b.links.join(await lab.invitation(a, group))
    await lab.wait(lambda: a.tips(group) == b.tips(group) and len(b.store.replica.groups[group].tips) == 2)
    await b.store.write(group, LogKind.DATA, [Draft("test.note", b"\xa0")] * 3)
    await a.store.write(group, LogKind.DATA, [Draft("test.note", b"\xa0")] * 3)
    await lab.wait(lambda: a.tips(group) == b.tips(group) and len(b.store.replica.groups[group].tips) == 3)

    assert a.admitted == [b.key.peer_id]


async def test_two_that_never_meet_agree_by_way_of_a_third(lab: Lab) -> None:
    """Every member relays every log of its groups."""
    a, b, c = [await lab.site(name) for name in "abc"]
    group = await lab.found(a)
    await b.links.join(await lab.invitation(a, group, Role.ADMIN))
    await lab.wait(lambda: b.store.replica.groups[group].roster.role(b.key.peer_id) is Role.ADMIN)
    await c.links.join(await lab.invitation(b, group))
    await lab.wait(lambda: c.store.replica.groups[group].roster.role(c.key.peer_id) is Role.WRITER)
    await a.store.write(group, LogKind.DATA, [Draft("test.note", b"\xa0")] * 5)
    await c.store.write(group, LogKind.DATA, [Draft("test.note", b"\xa0")] * 5)
    await lab.wait(lambda: a.tips(group) == b.tips(group) == c.tips(group))

    assert a.links.linked_peers() == [b.key.peer_id]


async def test_of_two_links_between_the_same_peers_one_stays_the_same_at_both(lab: Lab) -> None:
    """Both dial at once, again and again: in the end each has one link, dialled by the same side."""
    a, b = await lab.site("a"), await lab.site("b")
    group = await lab.found(a)
    await b.links.join(await lab.invitation(a, group))
    await lab.wait(lambda: a.tips(group) == b.tips(group))
    a.links.set_targets([target(b)])
    b.links.set_targets([target(a)])

    def settled() -> bool:
        ours, theirs = a.links.links(), b.links.links()
        return (
            len(a.links._connections) == len(b.links._connections) == 1
            and ours[0]["state"] == theirs[0]["state"] == "up_to_date"
            and ours[0]["dialled_by_us"] is not theirs[0]["dialled_by_us"]
        )

    await lab.wait(settled)


async def test_the_address_of_a_link_is_the_one_that_was_dialled(lab: Lab) -> None:
    """Who was dialled by a peer does not know its address, whatever it would dial itself."""
    a, b = await lab.site("a"), await lab.site("b")
    group = await lab.found(a)
    await b.links.join(await lab.invitation(a, group))
    a.links.set_targets([target(b, "http://127.0.0.1:9")])

    def of(site: Site) -> list[tuple[object, object]]:
        return [(link["dialled_by_us"], link["address"]) for link in site.links.links()]

    await lab.wait(lambda: of(a) == [(False, None)])
    b.links.set_targets([target(a)])
    await lab.wait(lambda: of(b) == [(True, a.endpoint)])


async def test_an_unknown_key_gets_nothing(lab: Lab) -> None:
    """Somebody who proves a key that is on no roster learns neither groups nor events."""
    a, stranger = await lab.site("a"), await lab.site("stranger")
    group = await lab.found(a)
    await stranger.store.create_group(a.store.replica.groups[group].genesis)
    stranger.links.set_targets([target(a)])
    await lab.wait(lambda: stranger.links.links()[0]["last_error"] is not None)

    assert stranger.links.links()[0]["last_error"]["code"] == "not_a_member"
    assert stranger.links.links()[0]["state"] == "refused"
    assert not stranger.tips(group)


async def test_an_invitation_nobody_knows_is_refused_with_its_code(lab: Lab) -> None:
    """And nothing of the group is held afterwards."""
    a, b = await lab.site("a"), await lab.site("b")
    group = await lab.found(a)
    invitation = (await lab.invitation(a, group))._replace(seed=os.urandom(32))
    with pytest.raises(MeshError) as caught:
        await b.links.join(invitation)

    assert caught.value.code == "invitation_refused"
    assert group not in b.store.replica.groups


async def test_a_join_that_nobody_waits_for_any_more_is_given_up(lab: Lab) -> None:
    """It would go on in the dark, and leave a group behind that nobody asked for any more."""
    b = await lab.site("b")
    begun, ended = asyncio.Event(), asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        begun.set()
        await reader.read()
        ended.set()
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        key, group = KeyPair(os.urandom(32)), GroupId(os.urandom(32))
        invitation = Invitation(group, "lab", key.peer_id, key.peer_id, endpoint, Role.WRITER, wall_ms() + 60_000, os.urandom(32))
        joining = asyncio.create_task(b.links.join(invitation))
        async with asyncio.timeout(DEADLINE_S):
            await begun.wait()
            joining.cancel()
            await ended.wait()


async def test_another_key_at_the_address_is_not_spoken_to(lab: Lab) -> None:
    """Whoever answers must be whom we dialled."""
    a, b, impostor = await lab.site("a"), await lab.site("b"), await lab.site("impostor")
    group = await lab.found(a)
    await b.links.join(await lab.invitation(a, group))
    b.links.set_targets([target(impostor), Target(a.key.peer_id, "a", (impostor.endpoint,))])
    await lab.wait(
        lambda: (
            any(link["last_error"] and link["last_error"]["code"] == "handshake_failed" for link in b.links.links())
            or b.links.is_linked(a.key.peer_id)
        )
    )
    with pytest.raises(MeshError) as caught:
        await b.links.join((await lab.invitation(a, group))._replace(endpoint=impostor.endpoint))

    assert caught.value.code == "handshake_failed"


@pytest.mark.parametrize("garbage", [b"", b"\x00", b"\x9b" + b"\xff" * 8, b"\x80", b"\x81\x65hello", os.urandom(1000)])
async def test_garbage_on_the_peer_port_ends_that_link_alone(lab: Lab, garbage: bytes) -> None:
    """The peer goes on: somebody else joins right after."""
    a, b = await lab.site("a"), await lab.site("b")
    group = await lab.found(a)
    async with aiohttp.ClientSession() as http:
        socket = await http.ws_connect(f"{a.endpoint}/sync/v1/link")
        await socket.send_bytes(garbage)
        answer = await socket.receive(timeout=DEADLINE_S)
        assert answer.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.CLOSE)
        await socket.close()
        _, writer = await asyncio.open_connection(*a.endpoint.removeprefix("http://").split(":"))
        writer.write(garbage + b"\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    await b.links.join(await lab.invitation(a, group))
    await lab.wait(lambda: a.tips(group) == b.tips(group))


async def test_before_the_first_write_after_a_start_own_events_are_learned(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever dials somebody waits until their history is here; whoever dials nobody does not wait; a dead peer is not waited for for ever."""
    a, b = await lab.site("a"), await lab.site("b")
    group = await lab.found(a)
    await b.links.join(await lab.invitation(a, group))
    await lab.wait(lambda: a.tips(group) == b.tips(group))
    c = await lab.site("c")
    await c.store.create_group(a.store.replica.groups[group].genesis)
    await a.store.write(group, LogKind.CONTROL, [member_set(c.key.peer_id, "c", Role.WRITER)])
    await a.store.write(group, LogKind.DATA, [Draft("test.note", b"\xa0")] * 2000)
    await c.store.put_peer(KnownPeer(a.key.peer_id, "a", (a.endpoint,), (group,)))
    c.links.set_targets([target(a)])

    await a.links.own_events_learned(group)
    await c.links.own_events_learned(group)

    assert c.tips(group) == a.tips(group)
    monkeypatch.setattr("peer.transport.links.LEARN_TIMEOUT_S", 0.05)
    d = await lab.site("d")
    await d.store.create_group(a.store.replica.groups[group].genesis)
    d.links.set_targets([Target(a.key.peer_id, "a", ("http://127.0.0.1:1",))])
    await d.links.own_events_learned(group)
    assert not d.tips(group)


async def test_the_first_write_of_a_group_waits_for_what_is_to_be_learned_and_the_second_does_not(lab: Lab) -> None:
    """Learning comes before linking: what is learned may be the event to link to."""
    a = await lab.site("a")
    group = await lab.found(a)
    learned: list[tuple[GroupId, object]] = []

    async def learn(of: GroupId) -> None:
        learned.append((of, a.tips(of)))

    a.store.learn_first(learn)
    await a.store.write(group, LogKind.DATA, [Draft("test.note", b"\xa0")])
    await a.store.write(group, LogKind.DATA, [Draft("test.note", b"\xa0")])

    assert learned == [(group, {})]


async def test_a_bug_in_a_session_ends_that_link_alone_loudly_and_it_is_dialled_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error goes to the log; the peer, its other links and the dialling go on."""
    a, b = await lab.site("a"), await lab.site("b")
    group = await lab.found(a)
    await b.links.join(await lab.invitation(a, group))
    b.links.set_targets([target(a)])
    await lab.wait(lambda: a.tips(group) == b.tips(group))
    (connection,) = b.links._connections.values()

    def handle(_fact: object, _now_ms: int) -> list[object]:
        raise RuntimeError("planted")

    monkeypatch.setattr(connection.session, "handle", handle)
    await b.store.write(group, LogKind.DATA, [Draft("test.note", b"\xa0")])
    await a.store.write(group, LogKind.DATA, [Draft("test.note", b"\xa0")])
    await lab.wait(lambda: bool(b.errors) and a.tips(group) == b.tips(group))

    assert [str(error) for error in b.errors] == ["planted"] * len(b.errors)
    assert connection.end is not None
    assert connection.end.code == "local_protocol"
