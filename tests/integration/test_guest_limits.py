"""Limits for those who are not, or not yet, members, over real sockets: guests, joiners, who knocks, who offers; the good link goes on."""

import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import pytest

from peer.core.certificate import LogKind
from peer.core.encoding import encode
from peer.core.frontier import Tip
from peer.core.group import join_bytes
from peer.core.identity import EventId, GroupId, KeyPair
from peer.core.run import Draft
from peer.errors import NoAdminReachedError
from peer.sync import limits, messages
from peer.sync.messages import Message
from peer.transport import links, pending
from tests.integration.good_link import Mesh, mesh
from tests.integration.hostile_peer import HostilePeer, entry, have, hostile_link, hostile_peer
from tests.samples import SampleLog, genesis, key_pair
from tests.sync_site import events_of, have_of


def stranger(mesh: Mesh, number: int = 0) -> AbstractAsyncContextManager[HostilePeer]:
    """A link by somebody who is on no roster and says that it is in the group."""
    return hostile_link(mesh.alice.heard, mesh.alice.key.peer_id, key_pair(f"stranger {number}"), groups=(mesh.group,))


def control_log(mesh: Mesh, label: object = "") -> SampleLog:
    """A control log of a stranger's."""
    return SampleLog("stranger 0", mesh.group, kind=LogKind.CONTROL, label=str(label))


def announced(mesh: Mesh, count: int) -> list[Message]:
    made = []
    for number in range(count):
        log = control_log(mesh, number)
        log.write_notes(1)
        made.append(have_of(mesh.group, log))
    return made


def large(mesh: Mesh) -> list[Message]:
    log = control_log(mesh)
    run = log.write(Draft("test.note", encode({"a": bytes(8192)})))
    return [have_of(mesh.group, log), events_of(mesh.group, run)]


def the_same_again(mesh: Mesh) -> list[Message]:
    log = control_log(mesh)
    log.write_notes(1)
    tips = [entry(log)._replace(tips=(Tip(5, EventId(os.urandom(32))),)) for _ in range(4)]
    return [have(mesh.group, each) for each in tips]


PATIENCE_S = 0.02
Said = Callable[[Mesh], list[Message]]
CASES: list[tuple[str, int, Said]] = [
    ("GUEST_LOGS_MAX", 3, lambda mesh: announced(mesh, 4)),
    ("GUEST_ENTRIES_MAX", 3, the_same_again),
    ("GUEST_BYTES_MAX", 4096, large),
]


@pytest.mark.parametrize(("limit", "value", "said"), CASES, ids=[case[0] for case in CASES])
async def test_a_guest_that_shows_too_much_has_to_leave(
    mesh: Mesh,
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    value: int,
    said: Said,
) -> None:
    async with stranger(mesh) as guest:
        await guest.hears(lambda message: isinstance(message, messages.Guest))
        monkeypatch.setattr(limits, limit, value)
        await guest.say(*said(mesh))
        assert await guest.is_shut_out() == "limit_exceeded"
    await mesh.goes_on()


@pytest.mark.parametrize("limit", ["GUEST_SILENT_MS", "GUEST_MS_MAX"])
async def test_a_guest_that_shows_nothing_in_time_has_to_leave(mesh: Mesh, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    for name in ("GUEST_SILENT_MS", "GUEST_MS_MAX"):
        monkeypatch.setattr(limits, name, 100 if name == limit else 10**9)
    monkeypatch.setattr(links, "TICK_S", PATIENCE_S)
    async with stranger(mesh) as guest:
        await guest.hears(lambda message: isinstance(message, messages.Guest))
        assert await guest.is_shut_out() == "not_a_member"
    await mesh.goes_on()


@pytest.mark.parametrize("limit", ["GUESTS_MAX", "GUESTS_PER_ADDRESS_MAX"])
async def test_guests_are_few_at_once(mesh: Mesh, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    """One more is turned away; a member is not."""
    monkeypatch.setattr(limits, limit, 2)
    async with AsyncExitStack() as stack:
        for number in range(2):
            guest = await stack.enter_async_context(stranger(mesh, number))
            await guest.hears(lambda message: isinstance(message, messages.Guest))
        async with stranger(mesh, 2) as one_more:
            said = await one_more.hears(lambda message: isinstance(message, messages.Error))
            assert isinstance(said, messages.Error)
            assert (said.code, said.text) == ("not_a_member", "too many guests at once")
        async with hostile_peer(mesh.alice) as member:
            await member.hears(lambda message: isinstance(message, messages.Have))
    await mesh.goes_on()


async def test_who_knocks_is_remembered_in_a_short_list(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """The latest few of an address, and of all; with a few of the groups that they named."""
    monkeypatch.setattr(limits, "GUEST_SILENT_MS", 50)
    monkeypatch.setattr(links, "TICK_S", PATIENCE_S)
    monkeypatch.setattr(pending, "GROUPS_SHOWN_MAX", 2)
    monkeypatch.setattr(pending, "PENDING_PER_ADDRESS_MAX", 3)
    others = tuple(GroupId(os.urandom(32)) for _ in range(5))
    for number in range(5):
        key = key_pair(f"stranger {number}")
        async with hostile_link(mesh.alice.heard, mesh.alice.key.peer_id, key, groups=tuple(sorted((mesh.group, *others)))) as guest:
            await guest.is_shut_out()
    shown = mesh.alice.links.pending()
    assert [each["peer_id"] for each in shown] == [key_pair(f"stranger {number}").peer_id.hex() for number in (4, 3, 2)]
    assert all(len(each["groups"]) == 2 for each in shown)  # type: ignore[arg-type]
    monkeypatch.setattr(pending, "PENDING_MAX", 2)
    async with stranger(mesh, 9) as guest:
        await guest.is_shut_out()
    assert [each["peer_id"] for each in mesh.alice.links.pending()] == [key_pair(f"stranger {number}").peer_id.hex() for number in (9, 4)]
    await mesh.goes_on()


async def test_a_link_over_which_nothing_is_spoken_about_ends(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "GROUPLESS_MS", 100)
    monkeypatch.setattr(links, "TICK_S", PATIENCE_S)
    async with hostile_peer(mesh.alice) as mallory:
        await mallory.hears(lambda message: isinstance(message, messages.Have))
        await mallory.say(messages.Error("not_a_member", "", mesh.group))
        assert await mallory.is_shut_out() == "not_a_member"
    await mesh.goes_on()


async def test_offers_beyond_the_limit_are_passed_over(mesh: Mesh) -> None:
    """Nothing of them is kept, and the link goes on."""
    async with hostile_peer(mesh.alice) as mallory:
        await mallory.hears(lambda message: isinstance(message, messages.Have))
        for number in range(limits.OFFERS_MAX + 10):
            record = genesis("mallory", name=f"group-{number}")
            await mallory.say(messages.Offer(record.group, record.to_bytes()))
        await mallory.is_heard_out()
        link = mesh.alice.links.link_to(key_pair("mallory").peer_id)
        assert link is not None
        assert len(link.session._groups._offers._open) == limits.OFFERS_MAX
    await mesh.goes_on()


def request_of(mesh: Mesh, number: int) -> messages.JoinRequest:
    """A true request to join, by somebody with an invitation that nobody made."""
    key, joiner, nonce = KeyPair(number.to_bytes(32, "big")), key_pair(f"joiner {number}").peer_id, os.urandom(32)
    signature = key.sign(join_bytes(mesh.group, joiner, nonce))
    return messages.JoinRequest(mesh.group, key.public, joiner, f"joiner-{number}", nonce, signature, 0)


async def test_requests_to_join_that_come_too_often_are_passed_over(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one member passes on is decided at a rate; what is remembered of it is little."""
    monkeypatch.setattr(limits, "JOINS_MAX", 8)
    async with hostile_peer(mesh.alice) as mallory:
        await mallory.hears(lambda message: isinstance(message, messages.Have))
        for number in range(limits.JOIN_REQUESTS_PER_MINUTE + 10):
            await mallory.say(request_of(mesh, number + 1))
        await mallory.is_heard_out()
        await mesh.lab.wait(lambda: answers(mallory) >= limits.JOIN_REQUESTS_PER_MINUTE)
        await mallory.is_heard_out()
        assert answers(mallory) == limits.JOIN_REQUESTS_PER_MINUTE
        assert len(mesh.alice.links._surroundings.joins._heard) <= 8
    await mesh.goes_on()


def answers(peer: HostilePeer) -> int:
    return sum(isinstance(message, messages.JoinRefused) for message in peer.heard)


async def no_admin(*_: object) -> None:
    raise NoAdminReachedError("no admin here")


async def test_joiners_wait_for_an_admin_a_few_at_once_and_for_a_while(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    for site in (mesh.alice, mesh.bob):
        site.links.decide_join = no_admin  # type: ignore[assignment]
    monkeypatch.setattr(limits, "JOINS_WAITING_MAX", 1)
    monkeypatch.setattr(links, "TICK_S", PATIENCE_S)
    invitation = await mesh.lab.invitation(mesh.alice, mesh.group)
    async with hostile_link(mesh.alice.heard, mesh.alice.key.peer_id, key_pair("one"), invitation) as first:
        await mesh.lab.wait(lambda: len(mesh.alice.links._surroundings.joins._waiting) == 1)
        async with hostile_link(mesh.alice.heard, mesh.alice.key.peer_id, key_pair("other"), invitation) as second:
            assert await second.is_shut_out() == NoAdminReachedError.code
        assert not first.ended
        monkeypatch.setattr(limits, "JOIN_WAIT_MS", 100)
        assert await first.is_shut_out() == NoAdminReachedError.code
    assert not mesh.alice.links._surroundings.joins._waiting
    await mesh.goes_on()


__all__ = ["mesh"]
