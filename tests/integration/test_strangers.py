"""Who is nobody here, or not the one, or a member elsewhere: refused over real sockets, with its code, while the good link beside it goes on."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from peer.core.certificate import LogKind
from peer.core.control import Role, invite, member_set
from peer.core.group import join_bytes
from peer.core.hashing import hash_bytes
from peer.core.identity import BlobId, EventId, GroupId, KeyPair, PeerId
from peer.core.run import Draft
from peer.sync import messages
from peer.sync.handshake import HANDSHAKE_CONTEXT, NO_CHANNEL_KEY, Handshake
from peer.sync.limits import PROTOCOL_VERSIONS
from peer.sync.messages import Error, Have, Hello, Message, decode_message, encode_message
from tests.integration.hostile_peer import HostilePeer, admit, hostile_peer, local_side, opened_socket, rows
from tests.link_lab import DEADLINE_S, Lab, Site, Target, target, wall_ms
from tests.samples import SampleLog, key_pair
from tests.sync_site import events_of, have_of

OTHER = bytes(range(32))


class Mesh(NamedTuple):
    """Alice and Bob in a group, linked."""

    lab: Lab
    alice: Site
    bob: Site
    group: GroupId

    async def other_group(self) -> GroupId:
        """Another group of both, with an event of Alice's in it."""
        group = await self.lab.found(self.alice)
        await admit(self.alice, group, self.bob.key.peer_id)
        await self.alice.store.write(group, LogKind.DATA, [Draft("test.secret", b"\xa0")])
        return group


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    async with AsyncExitStack() as stack:
        lab = Lab(tmp_path, stack)
        alice, bob = await lab.site("alice"), await lab.site("bob")
        group = await lab.found(alice)
        await bob.links.join(await lab.invitation(alice, group))
        await lab.wait(lambda: alice.tips(group) == bob.tips(group))
        made = Mesh(lab, alice, bob, group)
        before = link_between(made)
        yield made
        assert link_between(made) is before, "the good link was disturbed"
        for site in (alice, bob):
            await site.store.write(group, LogKind.DATA, [Draft("test.note", b"\xa0")])
        await lab.wait(lambda: alice.tips(group) == bob.tips(group))
        assert link_between(made) is before
        assert alice.errors == bob.errors == []


def link_between(mesh: Mesh) -> object:
    """Alice's end of the good link."""
    found = mesh.alice.links.link_to(mesh.bob.key.peer_id)
    assert found is not None
    return found


async def said_nothing_of(peer: HostilePeer, group: GroupId) -> None:
    """They were told that they are no members of it, and nothing else about it."""
    await peer.is_heard_out()
    about = [message for message in peer.heard if getattr(message, "group", None) == group]
    assert {(type(message), getattr(message, "code", "")) for message in about} <= {(Error, "not_a_member")}


# Keys


async def test_an_unknown_key_is_told_nothing(mesh: Mesh) -> None:
    before = rows(mesh.lab, mesh.alice)
    async with hostile_peer(mesh.alice, key_pair("nobody")) as stranger:
        assert await stranger.is_shut_out() == "not_a_member"
        assert not any(isinstance(message, Have) for message in stranger.heard)
    assert rows(mesh.lab, mesh.alice) == before


async def test_a_peer_with_another_key_than_was_dialled_is_hung_up_on(mesh: Mesh) -> None:
    """Bob dials Carol's key at Alice's address."""
    carol = key_pair("carol").peer_id
    await admit(mesh.alice, mesh.group, carol)
    mesh.bob.links.set_targets([target(mesh.alice), Target(carol, "carol", (mesh.alice.endpoint,))])

    def refused() -> bool:
        return any(link["peer_id"] == carol.hex() and link["last_error"] is not None for link in mesh.bob.links.links())

    await mesh.lab.wait(refused)
    (link,) = [link for link in mesh.bob.links.links() if link["peer_id"] == carol.hex()]
    error: Any = link["last_error"]
    assert error["code"] == "handshake_failed"
    assert not mesh.bob.links.is_linked(carol)


@pytest.mark.parametrize("proven", [False, True], ids=["a second hello", "a second hello and proof"])
async def test_a_second_handshake_with_another_key_on_the_same_link(mesh: Mesh, proven: bool) -> None:  # noqa: FBT001
    await admit(mesh.alice, mesh.group, key_pair("mallory").peer_id, key_pair("carol").peer_id)
    before = rows(mesh.lab, mesh.alice)
    async with hostile_peer(mesh.alice) as mallory:
        await mallory.is_heard_out()
        if proven:
            await mallory.say(messages.Proof(key_pair("carol").sign(b"anything"), joining=False))
        else:
            await mallory.say(Handshake(local_side(key_pair("carol"), "carol"), mesh.alice.key.peer_id).hello)
        assert await mallory.is_shut_out() == "protocol_violation"
    assert rows(mesh.lab, mesh.alice) == before


async def test_a_second_hello_before_the_proof(mesh: Mesh) -> None:
    async with opened_socket(mesh.alice) as socket:
        for key in ("mallory", "carol"):
            hello = Handshake(local_side(key_pair(key)), mesh.alice.key.peer_id).hello
            await socket.send_bytes(encode_message(hello))
        answers = [decode_message(await socket.receive_bytes(timeout=DEADLINE_S)) for _ in range(3)]
    assert isinstance(answers[-1], Error)
    assert answers[-1].code == "protocol_violation"


PROOF: Mapping[str, Callable[[list[bytes]], list[bytes]]] = {
    # What a dialler signs, in order: context, role, version, both ids, both nonces, channel key, hash of the hellos.
    "context": lambda part: [b"recmesh/handshake/v2\0", *part[1:]],
    "role": lambda part: [part[0], b"\x01", *part[2:]],
    "version": lambda part: [*part[:2], b"\x00\x01", *part[3:]],
    "dialler": lambda part: [*part[:3], key_pair("carol").public, *part[4:]],
    "listener": lambda part: [*part[:4], key_pair("carol").public, *part[5:]],
    "dialler nonce": lambda part: [*part[:5], OTHER, *part[6:]],
    "listener nonce": lambda part: [*part[:6], OTHER, *part[7:]],
    "channel key": lambda part: [*part[:7], OTHER, *part[8:]],
    "hellos": lambda part: [*part[:8], OTHER],
    "order of the ids": lambda part: [*part[:3], part[4], part[3], *part[5:]],
}


async def proven_by(mesh: Mesh, sign: Callable[[list[bytes]], bytes]) -> Message:
    """What Alice answers to a member whose proof `sign` makes of the true parts."""
    key = key_pair("mallory")
    async with opened_socket(mesh.alice) as socket:
        handshake = Handshake(local_side(key), mesh.alice.key.peer_id)
        await socket.send_bytes(encode_message(handshake.hello))
        frame = await socket.receive_bytes(timeout=DEADLINE_S)
        hello = decode_message(frame)
        assert isinstance(hello, Hello)
        await socket.receive_bytes(timeout=DEADLINE_S)
        own = handshake.hello
        hellos = hash_bytes(encode_message(own) + frame)
        parts = [
            HANDSHAKE_CONTEXT,
            b"\x00",
            max(PROTOCOL_VERSIONS).to_bytes(2, "big"),
            own.peer,
            hello.peer,
            own.nonce,
            hello.nonce,
            NO_CHANNEL_KEY,
            hellos,
        ]
        await socket.send_bytes(encode_message(messages.Proof(sign(parts), joining=False, groups=(mesh.group,))))
        return decode_message(await socket.receive_bytes(timeout=DEADLINE_S))


@pytest.mark.parametrize("changed", [None, *PROOF])
async def test_each_part_of_what_a_handshake_signs(mesh: Mesh, changed: str | None) -> None:
    """Signed by the member itself, and over one part that is not as it was; unchanged, it opens the door."""
    await admit(mesh.alice, mesh.group, key_pair("mallory").peer_id)

    answer = await proven_by(mesh, lambda parts: key_pair("mallory").sign(b"".join(PROOF[changed](parts) if changed else parts)))

    if changed is None:
        assert isinstance(answer, Have)
    else:
        assert isinstance(answer, Error)
        assert answer.code == "handshake_failed"


SIGNERS: Mapping[str, Callable[[bytes], bytes]] = {
    "another member's key": lambda signed: key_pair("carol").sign(signed),
    "zeros": lambda _: bytes(64),
    "one bit": lambda signed: bytes([key_pair("mallory").sign(signed)[0] ^ 1]) + key_pair("mallory").sign(signed)[1:],
}


@pytest.mark.parametrize("wrong", SIGNERS)
async def test_a_proof_by_another_key(mesh: Mesh, wrong: str) -> None:
    await admit(mesh.alice, mesh.group, key_pair("mallory").peer_id)

    answer = await proven_by(mesh, lambda parts: SIGNERS[wrong](b"".join(parts)))

    assert isinstance(answer, Error)
    assert answer.code == "handshake_failed"


async def test_the_listeners_own_proof_sent_back_opens_nothing(mesh: Mesh) -> None:
    """Reflection: what Alice signs as listener is no proof of a dialler, whoever shows it."""
    async with opened_socket(mesh.alice) as socket:
        claimed = Hello((1,), mesh.alice.key.peer_id, OTHER, bytes(16), bytes(16), "alice", b"")
        await socket.send_bytes(encode_message(claimed))
        answer = decode_message(await socket.receive_bytes(timeout=DEADLINE_S))
    assert isinstance(answer, Error)
    assert answer.code == "handshake_failed"


JOIN: Mapping[str, Callable[[KeyPair, GroupId, PeerId, bytes], bytes]] = {
    # What is signed with the invitation's key: group, joiner, the listener's nonce.
    "group": lambda key, _, peer, nonce: key.sign(join_bytes(GroupId(OTHER), peer, nonce)),
    "joiner": lambda key, group, _, nonce: key.sign(join_bytes(group, key_pair("carol").peer_id, nonce)),
    "nonce": lambda key, group, peer, _: key.sign(join_bytes(group, peer, OTHER)),
    "context": lambda key, group, peer, nonce: key.sign(b"recmesh/run/v1\0" + group + peer + nonce),
    "key": lambda _, group, peer, nonce: key_pair("carol").sign(join_bytes(group, peer, nonce)),
    "bit": lambda key, group, peer, nonce: key.sign(join_bytes(group, peer, nonce))[:-1] + b"\xff",
}


@pytest.mark.parametrize("changed", JOIN)
async def test_each_part_of_what_a_joiner_signs(mesh: Mesh, changed: str) -> None:
    """The invitation is good, the joiner proves its own key: but not that it holds the invitation's."""
    invitation = KeyPair(OTHER)
    await mesh.alice.store.write(mesh.group, LogKind.CONTROL, [invite(invitation.public, Role.WRITER, wall_ms() + 60_000)])
    key = key_pair("joiner")
    before = rows(mesh.lab, mesh.alice)
    async with opened_socket(mesh.alice) as socket:
        handshake = Handshake(local_side(key), mesh.alice.key.peer_id)
        await socket.send_bytes(encode_message(handshake.hello))
        frame = await socket.receive_bytes(timeout=DEADLINE_S)
        hello = decode_message(frame)
        assert isinstance(hello, Hello)
        handshake.take_hello(hello, frame)
        await socket.receive_bytes(timeout=DEADLINE_S)
        signature = JOIN[changed](invitation, mesh.group, key.peer_id, hello.nonce)
        await socket.send_bytes(encode_message(messages.Proof(handshake.prove(), joining=True)))
        await socket.send_bytes(encode_message(messages.Join(mesh.group, invitation.public, signature, "joiner")))
        answer = decode_message(await socket.receive_bytes(timeout=DEADLINE_S))

    assert isinstance(answer, Error)
    assert answer.code == "handshake_failed"
    assert mesh.alice.admitted == [mesh.bob.key.peer_id]
    assert rows(mesh.lab, mesh.alice) == before


# Groups


async def test_a_session_of_one_group_opens_no_other(mesh: Mesh) -> None:
    """Everything that can be said about a group is said about one that Mallory is in no way a member of."""
    secret = await mesh.other_group()
    await admit(mesh.alice, mesh.group, key_pair("mallory").peer_id)
    logs = list(mesh.alice.store.replica.groups[secret].tips)
    before = rows(mesh.lab, mesh.alice)
    async with hostile_peer(mesh.alice) as mallory:
        forged = SampleLog("mallory", secret)
        forged.write_notes(1)
        await mallory.say(have_of(secret, forged))
        for log in logs:
            await mallory.say(
                messages.Want(secret, log, (), search=False),
                messages.Want(secret, log, (EventId(OTHER),), search=True),
                messages.Unwant(secret, log),
                messages.Rejected(secret, log, "log_gap"),
                messages.BlobWant(1, secret, BlobId(OTHER), 0, 10, relay=False),
            )
            await mallory.hears(lambda message: isinstance(message, messages.BlobPart))
        await said_nothing_of(mallory, secret)
        parts = [message for message in mallory.heard if isinstance(message, messages.BlobPart)]
        assert {(part.code, part.data) for part in parts} == {("not_a_member", b"")}
        await mallory.say(events_of(secret, forged.write_notes(1)))
        assert await mallory.is_shut_out() == "protocol_violation"
    assert rows(mesh.lab, mesh.alice) == before


async def test_a_certificate_of_one_group_opens_no_other(mesh: Mesh) -> None:
    """A member of both announces in one what belongs to the other."""
    other = await mesh.other_group()
    for group in (mesh.group, other):
        await admit(mesh.alice, group, key_pair("mallory").peer_id)
    before = rows(mesh.lab, mesh.alice)
    async with hostile_peer(mesh.alice) as mallory:
        log = SampleLog("mallory", other)
        run = log.write_notes(1)
        await mallory.say(have_of(other, log)._replace(group=mesh.group))
        assert await mallory.is_refused(log.certificate.log) == "certificate_invalid"
        await mallory.say(have_of(other, log), events_of(other, run))
        await mesh.lab.wait(lambda: log.certificate.log in mesh.alice.store.replica.groups[other].tips)
        assert log.certificate.log not in mesh.alice.store.replica.groups[mesh.group].tips
    assert rows(mesh.lab, mesh.alice) == {name: count + (name != "groups") for name, count in before.items()}


@pytest.mark.parametrize("linked", [False, True], ids=["comes back", "is there when it is removed"])
async def test_a_removed_member_is_shut_out(mesh: Mesh, linked: bool) -> None:  # noqa: FBT001
    """And nothing that it writes from then on is taken."""
    mallory_id = key_pair("mallory").peer_id
    await admit(mesh.alice, mesh.group, mallory_id)
    log = SampleLog("mallory", mesh.group)

    async def remove() -> None:
        before = mesh.alice.store.replica.groups[mesh.group].control[-1].event.id
        await mesh.alice.store.write(mesh.group, LogKind.CONTROL, [member_set(mallory_id, "mallory", Role.NONE, replaces=[before])])

    async with hostile_peer(mesh.alice) as mallory:
        await mallory.give(log, log.write_notes(1))
        await mesh.lab.wait(lambda: log.certificate.log in mesh.alice.tips(mesh.group))  # type: ignore[operator]
        if linked:
            await remove()
            refusal = await mallory.hears(lambda message: isinstance(message, Error))
            assert isinstance(refusal, Error)
            assert refusal.code == "not_a_member"
            count = rows(mesh.lab, mesh.alice)["events"]
            await mallory.say(have_of(mesh.group, log), messages.Want(mesh.group, log.certificate.log, (), search=False))
            assert rows(mesh.lab, mesh.alice)["events"] == count
    if not linked:
        await remove()
    count = rows(mesh.lab, mesh.alice)["events"]
    async with hostile_peer(mesh.alice) as mallory:
        assert await mallory.is_shut_out() == "not_a_member"
    assert rows(mesh.lab, mesh.alice)["events"] == count
