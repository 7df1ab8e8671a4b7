"""Joining through a member that cannot decide: requests go on to others, refusals come back, and the roster is the answer."""

import pytest

from peer.core.control import Role, invite, member_set
from peer.core.group import join_bytes
from peer.sync import effects as fx
from peer.sync import limits, messages
from peer.sync.handshake import Handshake
from peer.sync.messages import encode_message
from tests.samples import key_pair
from tests.sync_site import Clock, LinkEnd, SampleGroup, Site, connect, linked, open_end, pump, puppet, side_of

INVITATION = key_pair("invitation")
ZOE = key_pair("zoe").peer_id
NOBODY_HERE = "no_admin_reached"


def asked_of(group: SampleGroup, *, nonce: bytes = bytes(32), hops: int = 8, peer: str = "zoe", key: str = "invitation") -> messages.JoinRequest:
    joiner, invitation = key_pair(peer).peer_id, key_pair(key)
    return messages.JoinRequest(group.id, invitation.public, joiner, peer, nonce, invitation.sign(join_bytes(group.id, joiner, nonce)), hops)


def joining(victim: Site, group: SampleGroup, *, number: int = 9) -> LinkEnd:
    """`victim`'s end of a link over which Zoe asks to join."""
    end = open_end(victim, number)
    dialler = Handshake(side_of("zoe", link=number), key_pair(victim.name).peer_id)
    end.receive(dialler.hello)
    hello = end.sent[0]
    assert isinstance(hello, messages.Hello)
    dialler.take_hello(hello, encode_message(hello))
    signature = INVITATION.sign(join_bytes(group.id, ZOE, hello.nonce))
    end.receive(messages.Proof(dialler.prove(), joining=True), messages.Join(group.id, INVITATION.public, signature, "zoe"))
    return end


def decide(end: LinkEnd, code: str | None = NOBODY_HERE) -> messages.JoinRequest:
    """The shell answers the request that this end asks about."""
    (asked,) = [each for each in end.asked if isinstance(each, fx.DecideJoin)]
    end.asked.remove(asked)
    end.feed(fx.JoinDecided(asked, code, "why"))
    return asked.asked


# The member that was dialled


def test_who_cannot_decide_passes_the_request_on_to_all_other_members(bob: Site, group: SampleGroup) -> None:
    alice, mallory = puppet("alice", bob), puppet("mallory", bob, number=2)
    end = joining(bob, group)
    asked = decide(end)

    assert asked.hops == limits.JOIN_HOPS_MAX
    for other in (alice, mallory):
        assert other.heard(messages.JoinRequest) == [asked]
    assert not end.heard(messages.JoinRequest)
    assert end.closed is None


def test_the_joiner_is_answered_once_the_roster_has_it(bob: Site, group: SampleGroup) -> None:
    puppet("alice", bob)
    end = joining(bob, group)
    decide(end)
    assert not end.heard(messages.Joined)

    bob.write(group.control, group.set_role("zoe"))

    assert end.heard(messages.Joined) == [messages.Joined(group.id, group.genesis.to_bytes())]
    (told,) = end.heard(messages.Have)
    assert isinstance(told, messages.Have)
    assert told.group == group.id


def test_who_was_let_in_by_the_add_that_does_not_count_is_refused(bob: Site, group: SampleGroup) -> None:
    """Another key has used the invitation, says the roster."""
    end = joining(bob, group)
    decide(end)

    bob.write(group.control, group.control.write(invite(INVITATION.public, Role.WRITER, 2**60)))
    bob.write(group.control, group.control.write(member_set(key_pair("yan").peer_id, "yan", Role.WRITER, invite=INVITATION.public)))

    assert end.closed is not None
    assert end.closed.code == "invitation_refused"


def test_a_joiner_with_an_invitation_that_was_revoked_is_refused_wherever_that_is_known(bob: Site, group: SampleGroup) -> None:
    end = joining(bob, group)
    bob.write(group.control, group.control.write(invite(INVITATION.public, Role.NONE, 2**60)))
    decide(end)

    assert end.closed is not None
    assert end.closed.code == "invitation_refused"


def test_a_joiner_waits_only_so_long_and_the_request_is_repeated_meanwhile(bob: Site, group: SampleGroup) -> None:
    end = joining(bob, group)
    decide(end)
    late = puppet("alice", bob)
    bob.tick(limits.JOIN_REPEAT_MS / 1000)
    assert len(late.heard(messages.JoinRequest)) == 1
    assert end.closed is None

    bob.tick((limits.JOIN_WAIT_MS - limits.JOIN_REPEAT_MS) / 1000)

    assert end.closed is not None
    assert end.closed.code == NOBODY_HERE


def test_the_joiners_that_wait_are_limited(bob: Site, group: SampleGroup) -> None:
    ends = [joining(bob, group, number=number) for number in range(1, limits.JOINS_WAITING_MAX + 2)]
    for end in ends:
        decide(end)

    assert [end.closed is None for end in ends] == [True] * limits.JOINS_WAITING_MAX + [False]
    assert ends[-1].closed is not None
    assert ends[-1].closed.code == NOBODY_HERE


def test_what_is_passed_on_for_joiners_has_a_rate(bob: Site, group: SampleGroup) -> None:
    alice = puppet("alice", bob)
    for number in range(10, 10 + limits.JOIN_REQUESTS_PER_MINUTE + 5):
        end = joining(bob, group, number=number)
        decide(end)
        bob.surroundings.drop_link(number)

    assert len(alice.heard(messages.JoinRequest)) == limits.JOIN_REQUESTS_PER_MINUTE


# Members on the way


def test_a_request_is_passed_on_with_one_hop_less_and_not_back(bob: Site, group: SampleGroup) -> None:
    alice, carol = puppet("alice", bob), puppet("carol", bob, number=2)
    carol.receive(asked_of(group, hops=3))
    decide(carol)

    assert alice.heard(messages.JoinRequest) == [asked_of(group, hops=2)]
    assert not carol.heard(messages.JoinRequest)


def test_a_request_without_hops_goes_no_further(bob: Site, group: SampleGroup) -> None:
    alice, carol = puppet("alice", bob), puppet("carol", bob, number=2)
    carol.receive(asked_of(group, hops=0))
    decide(carol)

    assert not alice.heard(messages.JoinRequest)


def test_a_request_that_comes_by_two_ways_is_taken_once(bob: Site, group: SampleGroup) -> None:
    alice, carol = puppet("alice", bob), puppet("carol", bob, number=2)
    for end in (carol, alice, carol):
        end.receive(asked_of(group, hops=3))
    assert [len(end.asked) for end in (alice, carol)] == [0, 1]

    decide(carol)
    alice.receive(asked_of(group, hops=7))

    assert not alice.asked
    assert len(alice.heard(messages.JoinRequest)) == 1


def test_a_new_attempt_of_the_same_joiner_is_taken_anew(bob: Site, group: SampleGroup) -> None:
    carol = puppet("carol", bob)
    carol.receive(asked_of(group), asked_of(group, nonce=b"n" * 32))

    assert len(carol.asked) == 2


def test_a_refusal_goes_back_the_way_the_request_came_once(bob: Site, group: SampleGroup) -> None:
    alice, carol, mallory = puppet("alice", bob), puppet("carol", bob, number=2), puppet("mallory", bob, number=3)
    carol.receive(asked_of(group))
    decide(carol)
    refused = messages.JoinRefused(group.id, INVITATION.public, ZOE, "invitation_refused")

    alice.receive(refused)
    mallory.receive(refused)

    assert carol.heard(messages.JoinRefused) == [refused]
    assert not alice.heard(messages.JoinRefused)
    assert not mallory.heard(messages.JoinRefused)


def test_an_admin_that_refuses_says_so_to_who_passed_the_request_on(bob: Site, group: SampleGroup) -> None:
    carol, mallory = puppet("carol", bob), puppet("mallory", bob, number=2)
    carol.receive(asked_of(group))
    decide(carol, "invitation_refused")

    assert carol.heard(messages.JoinRefused) == [messages.JoinRefused(group.id, INVITATION.public, ZOE, "invitation_refused")]
    assert not mallory.heard(messages.JoinRequest)


def test_a_refusal_reaches_the_joiner(bob: Site, group: SampleGroup) -> None:
    alice = puppet("alice", bob)
    end = joining(bob, group)
    decide(end)

    alice.receive(messages.JoinRefused(group.id, INVITATION.public, ZOE, "invitation_refused"))

    assert end.closed is not None
    assert end.closed.code == "invitation_refused"


def test_a_refusal_that_nobody_waits_for_is_passed_over(bob: Site, group: SampleGroup) -> None:
    alice, carol = puppet("alice", bob), puppet("carol", bob, number=2)
    alice.receive(messages.JoinRefused(group.id, INVITATION.public, ZOE, "invitation_refused"))

    assert not carol.sent
    assert alice.closed is None


def test_a_request_that_the_invitations_key_did_not_sign_closes_the_link(bob: Site, group: SampleGroup) -> None:
    for number, wrong in enumerate(
        ({"signature": bytes(64)}, {"nonce": b"x" * 32}, {"peer": key_pair("yan").peer_id}, {"key": key_pair("yan").public})
    ):
        carol = puppet("carol", bob, number=number + 1)
        carol.receive(asked_of(group)._replace(**wrong))  # type: ignore[arg-type]

        assert carol.closed is not None
        assert carol.closed.code == "protocol_violation"
        assert not carol.asked


def test_a_request_about_a_group_that_the_sender_is_no_member_of_is_passed_over(bob: Site) -> None:
    other = SampleGroup("alice", "bob", name="another-group")
    bob.hold(other)
    mallory = puppet("mallory", bob)
    mallory.receive(asked_of(other))

    assert not mallory.asked
    assert mallory.closed is None


def test_requests_have_a_rate(bob: Site, group: SampleGroup) -> None:
    carol = puppet("carol", bob)
    for number in range(limits.JOIN_REQUESTS_PER_MINUTE + 10):
        carol.receive(asked_of(group, nonce=number.to_bytes(32, "big")))
    assert len(carol.asked) == limits.JOIN_REQUESTS_PER_MINUTE
    assert carol.closed is None

    bob.tick(60)
    carol.receive(asked_of(group, nonce=b"n" * 32))
    assert len(carol.asked) == limits.JOIN_REQUESTS_PER_MINUTE + 1


def test_the_requests_that_are_remembered_are_limited(bob: Site, group: SampleGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "JOINS_MAX", 10)
    carol = puppet("carol", bob)
    for number in range(20):
        carol.receive(asked_of(group, peer=f"joiner-{number}"))

    assert len(bob.surroundings.joins._heard) == 10


def test_nothing_is_passed_on_about_a_group_to_who_is_no_member(bob: Site) -> None:
    other = SampleGroup("alice", "bob", "carol", name="another-group")
    bob.hold(other)
    mallory, carol = puppet("mallory", bob), puppet("carol", bob, number=2)
    carol.receive(asked_of(other))
    decide(carol)

    assert not mallory.heard(messages.JoinRequest)


# All of it


def test_a_joiner_is_let_in_by_an_admin_two_links_away(group: SampleGroup) -> None:
    """Zoe dials Bob, Bob is linked to Carol, Carol to Alice, who decides. Nobody of them saw the invitation before."""
    clock = Clock()
    alice, bob, carol, zoe = (Site(name, clock, *([group] if name != "zoe" else [])) for name in ("alice", "bob", "carol", "zoe"))
    ends = [*linked(bob, carol, number=1), *linked(carol, alice, number=2)]
    ends += connect(zoe, bob, number=3, join=fx.UsedInvitation(group.id, INVITATION))
    pump(*ends)
    decide(ends[5])
    pump(*ends)
    decide(ends[1])
    pump(*ends)
    asked = decide(ends[3], None)
    assert asked[:4] == (group.id, INVITATION.public, ZOE, "zoe")

    alice.write(group.control, group.set_role("zoe"))
    pump(*ends)
    opening = ends[4].asked.popleft()
    assert isinstance(opening, fx.OpenGroup)
    zoe.store.create_group(group.genesis)
    zoe.store.named[group.id] = {key_pair("bob").peer_id}
    ends[4].feed(fx.GroupOpened(opening, None, ""))
    pump(*ends)

    assert zoe.store.groups[group.id].tips == alice.store.groups[group.id].tips
    assert {end.session.phase for end in ends} == {fx.Phase.PUSH}
