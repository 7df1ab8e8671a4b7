from collections.abc import Callable

import pytest

from peer.core.group import join_bytes
from peer.core.identity import EventId, GroupId, LogId
from peer.sync import effects as fx
from peer.sync import limits, messages
from peer.sync.effects import Phase
from peer.sync.handshake import Handshake
from peer.sync.messages import Message, encode_message
from tests.samples import SampleLog, genesis, key_pair
from tests.sync_site import (
    Clock,
    LinkEnd,
    SampleGroup,
    Site,
    connect,
    open_end,
    pump,
    puppet,
    side_of,
)

SAMPLE_ID, SAMPLE_LOG = EventId(b"e" * 32), LogId(b"l" * 32)
NO_GROUP = GroupId(b"g" * 32)
INVITATION = key_pair("invitation")


# Every pair of state and message


def samples() -> dict[str, Message]:
    mallory = Handshake(side_of("mallory"), key_pair("bob").peer_id)
    return {
        "hello": mallory.hello,
        "proof": messages.Proof(bytes(64), joining=False),
        "join": messages.Join(NO_GROUP, INVITATION.public, bytes(64), "mallory"),
        "joined": messages.Joined(NO_GROUP, b""),
        "join_request": messages.JoinRequest(NO_GROUP, INVITATION.public, key_pair("zoe").peer_id, "zoe", bytes(32), bytes(64), 1),
        "join_refused": messages.JoinRefused(NO_GROUP, INVITATION.public, key_pair("zoe").peer_id, "invitation_refused"),
        "guest": messages.Guest(NO_GROUP),
        "member": messages.Member(NO_GROUP),
        "offer": messages.Offer(NO_GROUP, b""),
        "have": messages.Have(NO_GROUP, complete=True, more=False, logs=()),
        "want": messages.Want(NO_GROUP, SAMPLE_LOG, (), search=False),
        "unwant": messages.Unwant(NO_GROUP, SAMPLE_LOG),
        "unknown": messages.Unknown(NO_GROUP, SAMPLE_LOG),
        "events": messages.Events(NO_GROUP, SAMPLE_LOG, bytes(64), ((b"", b""),)),
        "rejected": messages.Rejected(NO_GROUP, SAMPLE_LOG, "log_gap"),
        "credit": messages.Credit(1),
        "ping": messages.Ping(1),
        "pong": messages.Pong(1),
    }


def dialler_waits_for_hello(bob: Site) -> LinkEnd:
    end = open_end(bob, 1, key_pair("mallory"))
    end.feed(fx.Opened())
    return end


def dialler_waits_for_proof(bob: Site) -> LinkEnd:
    end = dialler_waits_for_hello(bob)
    end.receive(Handshake(side_of("mallory"), None).hello)
    return end


def listener_waits_for_hello(bob: Site) -> LinkEnd:
    end = open_end(bob, 1)
    end.feed(fx.Opened())
    return end


def listener_waits_for_proof(bob: Site) -> LinkEnd:
    end = listener_waits_for_hello(bob)
    end.receive(samples()["hello"])
    return end


def prove(end: LinkEnd, *, joining: bool) -> bytes:
    """Mallory proves herself to a listener; its nonce."""
    dialler = Handshake(side_of("mallory"), key_pair("bob").peer_id)
    (hello,) = end.heard(messages.Hello)
    assert isinstance(hello, messages.Hello)
    dialler.take_hello(hello, encode_message(hello))
    end.receive(messages.Proof(dialler.prove(), joining=joining))
    return hello.nonce


def listener_waits_for_join(bob: Site) -> LinkEnd:
    end = listener_waits_for_proof(bob)
    prove(end, joining=True)
    return end


def listener_decides_a_join(bob: Site) -> LinkEnd:
    end = listener_waits_for_proof(bob)
    nonce = prove(end, joining=True)
    end.receive(messages.Join(NO_GROUP, INVITATION.public, INVITATION.sign(join_bytes(NO_GROUP, key_pair("mallory").peer_id, nonce)), "mallory"))
    assert isinstance(end.asked[0], fx.DecideJoin)
    return end


def joiner_waits_to_be_let_in(bob: Site) -> LinkEnd:
    end = open_end(bob, 1, key_pair("mallory"), fx.UsedInvitation(NO_GROUP, INVITATION))
    end.feed(fx.Opened())
    listener = Handshake(side_of("mallory"), None)
    (hello,) = end.sent
    assert isinstance(hello, messages.Hello)
    listener.take_hello(hello, encode_message(hello))
    end.receive(listener.hello, messages.Proof(listener.prove(), joining=False))
    assert len(end.heard(messages.Join)) == 1
    return end


def backfilling(bob: Site) -> LinkEnd:
    return puppet("mallory", bob)


def pushing(bob: Site) -> LinkEnd:
    end = backfilling(bob)
    end.receive(messages.Have(next(iter(bob.store.groups)), complete=True, more=False, logs=()))
    assert end.session.phase is Phase.PUSH
    return end


TALK = {"have", "want", "unwant", "rejected", "credit", "ping", "pong", "guest", "member", "offer", "join_request", "join_refused"}
LEGAL: dict[Callable[[Site], LinkEnd], set[str]] = {
    dialler_waits_for_hello: {"hello"},
    dialler_waits_for_proof: {"proof"},
    listener_waits_for_hello: {"hello"},
    listener_waits_for_proof: {"proof"},
    listener_waits_for_join: {"join"},
    listener_decides_a_join: set(),
    joiner_waits_to_be_let_in: {"joined"},
    backfilling: TALK,
    pushing: TALK,
}
"""What may come when. `events` and `unknown` only about what was announced and asked for."""

PAIRS = [(state, name) for state in LEGAL for name in samples()]


@pytest.mark.parametrize(("state", "name"), PAIRS, ids=lambda value: value if isinstance(value, str) else value.__name__)
def test_a_message_that_has_no_place_closes_the_link_and_no_other_does(bob: Site, state: Callable[[Site], LinkEnd], name: str) -> None:
    end = state(bob)
    assert end.closed is None

    end.receive(samples()[name])

    violation = end.closed is not None and end.closed.code == "protocol_violation"
    assert violation == (name not in LEGAL[state])
    if violation:
        assert end.session.phase is Phase.CLOSED
        error = end.sent[-1]
        assert isinstance(error, messages.Error)
        assert error.code == "protocol_violation"


@pytest.mark.parametrize("state", LEGAL, ids=lambda state: state.__name__)
def test_an_error_without_a_group_ends_the_link_in_every_state(bob: Site, state: Callable[[Site], LinkEnd]) -> None:
    end = state(bob)

    end.receive(messages.Error("shutting_down", "bye", b""))

    assert end.closed == fx.CloseLink("shutting_down", "bye")
    assert not [message for message in end.sent if isinstance(message, messages.Error)]


@pytest.mark.parametrize("state", LEGAL, ids=lambda state: state.__name__)
@pytest.mark.parametrize("frame", [b"", b"\xff" * 9, b"\x82dping\x18\x01"], ids=["nothing", "garbage", "not-canonical"])
def test_a_malformed_frame_ends_the_link_in_every_state(bob: Site, state: Callable[[Site], LinkEnd], frame: bytes) -> None:
    end = state(bob)

    end.feed(fx.FrameReceived(frame))

    assert end.closed is not None
    assert end.closed.code == "malformed_frame"


def test_nothing_comes_out_of_a_session_that_has_ended(end: LinkEnd, group: SampleGroup) -> None:
    end.receive(messages.Error("shutting_down", "bye", b""))
    log = SampleLog("alice", group.id)
    sent = len(end.sent)

    end.site.write(log, log.write_notes(1))
    end.site.tick(100)
    end.receive(messages.Ping(1))
    end.feed(fx.SourcesChanged())

    assert len(end.sent) == sent


# Handshake


def test_two_members_reach_push_and_hold_the_same(group: SampleGroup) -> None:
    clock = Clock()
    alice, bob = Site("alice", clock, group), Site("bob", clock, group)
    logs = [SampleLog("alice", group.id), SampleLog("bob", group.id)]
    alice.write(logs[0], logs[0].write_notes(300 - 50))
    bob.write(logs[1], logs[1].write_notes(3))

    ends = connect(alice, bob)
    assert {end.session.phase for end in ends} == {Phase.HANDSHAKE}
    pump(*ends)

    assert alice.store.groups[group.id].tips == bob.store.groups[group.id].tips
    assert {end.session.phase for end in ends} == {Phase.PUSH}
    assert {end.session.missing_events for end in ends} == {end.session.unsent_events for end in ends} == {0}
    alice.write(logs[0], logs[0].write_notes(1))
    pump(*ends)
    assert alice.store.groups[group.id].tips == bob.store.groups[group.id].tips


def test_a_wrong_proof_ends_the_link_before_anything_is_said(bob: Site) -> None:
    for end in (listener_waits_for_proof(bob), dialler_waits_for_proof(bob)):
        end.receive(messages.Proof(bytes(64), joining=False))

        assert end.closed is not None
        assert end.closed.code == "handshake_failed"
        assert not end.heard(messages.Have)


def test_another_peer_than_the_dialled_one_ends_the_link(bob: Site) -> None:
    end = dialler_waits_for_hello(bob)

    end.receive(Handshake(side_of("carol"), None).hello)

    assert end.closed is not None
    assert end.closed.code == "handshake_failed"


@pytest.mark.parametrize("state", [state for state in LEGAL if state not in {backfilling, pushing}], ids=lambda state: state.__name__)
def test_a_handshake_that_takes_too_long_ends(bob: Site, state: Callable[[Site], LinkEnd]) -> None:
    """Where an admin elsewhere may have to be asked it may take longer."""
    end = state(bob)
    waits = state in {listener_decides_a_join, joiner_waits_to_be_let_in}
    bob.tick(((limits.JOINER_WAIT_MS if waits else limits.HANDSHAKE_TIMEOUT_MS) - 1) / 1000)
    assert end.closed is None

    bob.tick(1)

    assert end.closed is not None
    assert end.closed.code == "handshake_timeout"


def test_a_stranger_is_told_nothing(bob: Site, group: SampleGroup) -> None:
    log = SampleLog("alice", group.id)
    bob.write(log, log.write_notes(1))
    ends = connect(Site("zoe", bob.clock, SampleGroup("zoe", name="another-group")), bob)
    pump(*ends)

    assert {end.closed.code for end in ends if end.closed} == {"not_a_member"}
    for end in ends:
        assert not [message for message in end.sent if not isinstance(message, messages.Hello | messages.Proof | messages.Error)]


# Joining


def test_a_joiner_with_the_invitations_key_is_let_in_and_gets_the_history(bob: Site) -> None:
    clock = bob.clock
    group = SampleGroup("alice", name="joinable")
    alice, zoe = Site("alice", clock, group), Site("zoe", clock)
    log = SampleLog("alice", group.id)
    alice.write(log, log.write_notes(5))
    ends = connect(zoe, alice, join=fx.UsedInvitation(group.id, INVITATION))
    pump(*ends)
    decide = ends[1].asked.popleft()
    assert isinstance(decide, fx.DecideJoin)
    assert decide.asked[:4] == (group.id, INVITATION.public, key_pair("zoe").peer_id, "zoe")
    alice.write(group.control, group.set_role("zoe"))

    ends[1].feed(fx.JoinDecided(decide, None, ""))
    pump(*ends)
    opening = ends[0].asked.popleft()
    assert opening == fx.OpenGroup(group.id, group.genesis.to_bytes())
    assert ends[0].session.phase is Phase.HANDSHAKE
    zoe.store.create_group(group.genesis)
    zoe.store.named[group.id] = {key_pair("alice").peer_id}
    ends[0].feed(fx.GroupOpened(opening, None, ""))
    pump(*ends)

    assert fx.JoinEnded(group.id, None, "") in ends[0].effects
    assert zoe.store.groups[group.id].tips == alice.store.groups[group.id].tips
    assert {end.session.phase for end in ends} == {Phase.PUSH}


def test_frames_wait_in_their_order_while_the_group_is_opened(bob: Site) -> None:
    end = joiner_waits_to_be_let_in(bob)
    end.receive(messages.Joined(NO_GROUP, b"genesis"), messages.Ping(1), messages.Ping(2))
    opening = end.asked.popleft()
    assert isinstance(opening, fx.OpenGroup)
    assert not end.heard(messages.Pong)

    end.feed(fx.GroupOpened(opening, None, ""))

    assert end.heard(messages.Pong) == [messages.Pong(1), messages.Pong(2)]


def test_too_many_frames_do_not_wait(bob: Site) -> None:
    end = joiner_waits_to_be_let_in(bob)
    end.receive(messages.Joined(NO_GROUP, b"genesis"), *[messages.Ping(1)] * limits.HELD_FRAMES_MAX)
    assert end.closed is None

    end.receive(messages.Ping(1))

    assert end.closed is not None
    assert end.closed.code == "limit_exceeded"
    assert [effect for effect in end.effects if isinstance(effect, fx.JoinEnded)] == [fx.JoinEnded(NO_GROUP, "limit_exceeded", end.closed.text)]


def test_who_refuses_to_let_us_in_says_why(bob: Site) -> None:
    end = joiner_waits_to_be_let_in(bob)

    end.receive(messages.Error("invitation_refused", "it has expired", b""))

    assert fx.JoinEnded(NO_GROUP, "invitation_refused", "it has expired") in end.effects
    assert end.closed is not None


def test_a_group_that_cannot_be_opened_ends_the_join(bob: Site) -> None:
    end = joiner_waits_to_be_let_in(bob)
    end.receive(messages.Joined(NO_GROUP, b"junk"))
    opening = end.asked.popleft()
    assert isinstance(opening, fx.OpenGroup)

    end.feed(fx.GroupOpened(opening, "not_canonical", "no genesis record"))

    assert fx.JoinEnded(NO_GROUP, "not_canonical", "no genesis record") in end.effects
    assert end.closed is not None


def test_a_refused_joiner_learns_the_code(bob: Site) -> None:
    end = listener_decides_a_join(bob)
    decide = end.asked.popleft()
    assert isinstance(decide, fx.DecideJoin)

    end.feed(fx.JoinDecided(decide, "invitation_refused", "it has expired"))

    assert end.sent[-1] == messages.Error("invitation_refused", "it has expired", b"")
    assert end.closed is not None


@pytest.mark.parametrize("changed", [{"key": key_pair("another").public}, {"group": genesis("zoe").group}, {"signature": bytes(64)}], ids=str)
def test_a_join_that_the_invitations_key_did_not_sign_fails(bob: Site, changed: dict[str, object]) -> None:
    end = listener_waits_for_proof(bob)
    nonce = prove(end, joining=True)
    signed = INVITATION.sign(join_bytes(NO_GROUP, key_pair("mallory").peer_id, nonce))

    end.receive(messages.Join(NO_GROUP, INVITATION.public, signed, "mallory")._replace(**changed))  # type: ignore[arg-type]

    assert end.closed is not None
    assert end.closed.code == "handshake_failed"
    assert not end.asked


def test_a_join_cannot_be_replayed_to_another_listener(bob: Site) -> None:
    """The listener's nonce is signed."""
    end = listener_waits_for_proof(bob)
    prove(end, joining=True)

    end.receive(messages.Join(NO_GROUP, INVITATION.public, INVITATION.sign(join_bytes(NO_GROUP, key_pair("mallory").peer_id, bytes(32))), "mallory"))

    assert end.closed is not None
    assert end.closed.code == "handshake_failed"
