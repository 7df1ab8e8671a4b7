"""Groups that are offered to members that have nothing of them, and versions of the protocol."""

import pytest

from peer.sync import effects as fx
from peer.sync import limits, messages
from peer.sync.handshake import Handshake
from peer.sync.messages import encode_message
from peer.sync.session import SyncSession
from tests.samples import key_pair
from tests.sync_site import Clock, LinkEnd, SampleGroup, Site, connect, open_end, pump, puppet, side_of

OTHER = SampleGroup("alice", "mallory", name="another-group")


def offer_of(group: SampleGroup) -> messages.Offer:
    return messages.Offer(group.id, group.genesis.to_bytes())


def asked_to_take(end: LinkEnd) -> list[fx.TakeOffer]:
    return [each for each in end.asked if isinstance(each, fx.TakeOffer)]


def test_a_member_that_does_not_name_the_group_is_offered_it(bob: Site, group: SampleGroup) -> None:
    end = open_end(bob, 1)
    dialler = Handshake(side_of("mallory", link=1), key_pair("bob").peer_id)
    end.receive(dialler.hello)
    hello = end.sent[0]
    assert isinstance(hello, messages.Hello)
    dialler.take_hello(hello, encode_message(hello))
    end.receive(messages.Proof(dialler.prove(), joining=False))

    assert end.heard(messages.Offer) == [offer_of(group)]
    assert not end.heard(messages.Have)
    end.receive(messages.Have(group.id, complete=True, more=False, logs=()))
    assert len(end.heard(messages.Have)) == 1


def test_a_member_that_says_it_has_nothing_of_the_group_is_offered_it_once(bob: Site, group: SampleGroup) -> None:
    end = puppet("mallory", bob)
    for _ in range(3):
        end.receive(messages.Error("not_a_member", "no", group.id))

    assert end.heard(messages.Offer) == [offer_of(group)]


def test_what_is_offered_and_taken_is_spoken_about_on_the_same_link(group: SampleGroup) -> None:
    """Both operators have added each other; the one has the group, the other expects it."""
    clock = Clock()
    alice, bob = Site("alice", clock, group), Site("bob", clock)
    bob.surroundings.is_wanted = lambda _: True
    ends = connect(alice, bob)
    pump(*ends)
    (taking,) = asked_to_take(ends[1])
    assert taking == fx.TakeOffer(group.id, group.genesis.to_bytes(), key_pair("alice").peer_id)
    assert not [effect for effect in ends[1].effects if isinstance(effect, fx.Knocked)]

    ends[1].asked.clear()
    bob.store.create_group(group.genesis)
    bob.store.named[group.id] = {key_pair("alice").peer_id}
    ends[1].feed(fx.OfferDecided(taking, taken=True, code=None, text=""))
    pump(*ends)

    assert bob.store.groups[group.id].tips == alice.store.groups[group.id].tips
    assert {end.session.phase for end in ends} == {fx.Phase.PUSH}


def test_an_offer_that_nobody_wants_stays_until_somebody_does(end: LinkEnd) -> None:
    end.receive(offer_of(OTHER))
    first = asked_to_take(end)
    end.feed(fx.OfferDecided(first[0], taken=False, code=None, text=""))
    assert not end.sent

    end.feed(fx.GroupsChanged())

    assert len(asked_to_take(end)) == 2


def test_an_offer_that_something_stands_against_is_refused_with_the_code(end: LinkEnd) -> None:
    end.receive(offer_of(OTHER))
    (taking,) = asked_to_take(end)
    end.feed(fx.OfferDecided(taking, taken=False, code="name_taken", text="another group has the name"))
    end.feed(fx.GroupsChanged())

    assert end.heard(messages.Error) == [messages.Error("name_taken", "another group has the name", OTHER.id)]
    assert len(asked_to_take(end)) == 1
    assert end.closed is None


def test_a_refused_offer_shows_at_who_made_it(end: LinkEnd, group: SampleGroup) -> None:
    end.receive(messages.Error("name_taken", "another group has the name", group.id))

    assert end.session.last_rejection == "name_taken"
    assert end.closed is None


def test_offers_that_nobody_takes_are_limited(end: LinkEnd) -> None:
    for number in range(limits.OFFERS_MAX + 10):
        end.receive(offer_of(SampleGroup("mallory", name=f"group-{number}")))

    assert len(asked_to_take(end)) == limits.OFFERS_MAX
    assert end.closed is None


def test_nothing_is_offered_to_who_is_no_member(bob: Site) -> None:
    secret = SampleGroup("alice", "bob", name="secret")
    bob.hold(secret)
    end = puppet("mallory", bob)
    end.feed(fx.GroupsChanged())
    end.receive(messages.Error("not_a_member", "no", secret.id))

    assert not end.heard(messages.Offer)


# Versions


def session_of(name: str, dialled: str | None, versions: tuple[int, ...], site: Site) -> LinkEnd:
    handshake = Handshake(side_of(name)._replace(versions=versions), key_pair(dialled).peer_id if dialled else None)
    return LinkEnd(site, SyncSession(handshake, site.surroundings, 1, site.clock.now_ms), 1)


def meeting(group: SampleGroup, dialler: tuple[int, ...], listener: tuple[int, ...]) -> tuple[LinkEnd, LinkEnd]:
    clock = Clock()
    alice, bob = Site("alice", clock, group), Site("bob", clock, group)
    one, other = session_of("alice", "bob", dialler, alice), session_of("bob", None, listener, bob)
    one.other, other.other = other, one
    one.feed(fx.Opened())
    pump(one, other)
    return one, other


@pytest.mark.parametrize(("dialler", "listener", "version"), [((1, 2), (1,), 1), ((1,), (1, 2), 1), ((1, 2), (2, 1), 2), ((2, 3), (1, 2), 2)])
def test_neighbouring_versions_of_the_protocol_agree_on_the_highest_that_both_speak(
    group: SampleGroup, dialler: tuple[int, ...], listener: tuple[int, ...], version: int
) -> None:
    ends = meeting(group, dialler, listener)

    assert {end.session.phase for end in ends} == {fx.Phase.PUSH}
    assert {end.session._handshake.version for end in ends} == {version}


@pytest.mark.parametrize(("dialler", "listener"), [((2,), (1,)), ((1,), (2, 3)), ((), (1,))])
def test_without_a_common_version_the_link_is_refused_with_its_code(group: SampleGroup, dialler: tuple[int, ...], listener: tuple[int, ...]) -> None:
    ends = meeting(group, dialler, listener)

    assert [end.closed.code for end in ends if end.closed] == ["version_mismatch"] * 2
    assert not any(end.heard(messages.Have) for end in ends)
