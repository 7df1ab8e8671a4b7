"""What members say of their projections: over links that know of it, of groups that are spoken about, and not without end."""

import pytest

from peer.core.identity import GroupId
from peer.sync import effects as fx
from peer.sync import limits, messages
from peer.sync.handshake import Handshake
from peer.sync.session import SyncSession
from tests.samples import key_pair
from tests.sync_site import Clock, LinkEnd, SampleGroup, Site, pump, side_of

BASIS = b"b" * 32
UNKNOWN = GroupId(b"g" * 32)


def said_of(group: GroupId) -> list[messages.Message]:
    return [
        messages.Digests(group, 3, BASIS, (("chunks", bytes(32)),)),
        messages.DigestWant(group, BASIS, "chunks", b""),
        messages.DigestPart(group, BASIS, "chunks", b"", rows=True, entries=((b"key", bytes(32)),)),
    ]


def heard(end: LinkEnd) -> list[messages.Message]:
    return [effect.message for effect in end.effects if isinstance(effect, fx.DigestsHeard)]


def test_what_a_member_says_is_handed_on_as_it_came(end: LinkEnd, group: SampleGroup) -> None:
    end.receive(*said_of(group.id))

    assert heard(end) == said_of(group.id)


def test_a_member_is_told(end: LinkEnd, group: SampleGroup) -> None:
    for message in said_of(group.id):
        end.feed(fx.TellDigests(message))  # type: ignore[arg-type]

    assert end.sent == said_of(group.id)


def test_nothing_is_said_or_heard_of_a_group_that_is_not_spoken_about(end: LinkEnd) -> None:
    for message in said_of(UNKNOWN):
        end.receive(message)
        end.feed(fx.TellDigests(message))  # type: ignore[arg-type]

    assert (heard(end), end.sent, end.closed) == ([], [], None)


def between(group: SampleGroup, *versions: tuple[int, ...]) -> list[LinkEnd]:
    """Two ends of a link over which everything was said, by the versions of the protocol that they speak."""
    ends = []
    for name, dialled, spoken in (("alice", "bob", versions[0]), ("bob", None, versions[1])):
        site = Site(name, Clock(), group)
        handshake = Handshake(side_of(name)._replace(versions=spoken), key_pair(dialled).peer_id if dialled else None)
        ends.append(LinkEnd(site, SyncSession(handshake, site.surroundings, 1, site.clock.now_ms), 1))
    ends[0].other, ends[1].other = ends[1], ends[0]
    for end in ends:
        end.feed(fx.Opened())
    pump(*ends)
    return ends


@pytest.mark.parametrize("versions", [((1, 2), (1,)), ((1,), (1, 2))])
def test_an_older_peer_is_not_troubled(group: SampleGroup, versions: tuple[tuple[int, ...], ...]) -> None:
    """It would end the link at a message that it does not know."""
    ends = between(group, *versions)
    for end in ends:
        end.sent.clear()
        for message in said_of(group.id):
            end.feed(fx.TellDigests(message))  # type: ignore[arg-type]
        assert not end.sent
        assert end.session.phase is fx.Phase.PUSH


def test_who_speaks_the_older_version_says_nothing_of_the_newer(group: SampleGroup) -> None:
    end, _ = between(group, (1, 2), (1,))
    end.receive(said_of(group.id)[0])

    assert end.closed is not None
    assert end.closed.code == "protocol_violation"


@pytest.mark.parametrize(("place", "most"), [(0, limits.DIGESTS_PER_MINUTE_MAX), (1, limits.DIGEST_PARTS_PER_MINUTE_MAX)])
def test_more_than_a_link_is_for_is_passed_over(end: LinkEnd, group: SampleGroup, place: int, most: int) -> None:
    message = said_of(group.id)[place]
    for _ in range(most + 10):
        end.receive(message)

    assert (len(heard(end)), end.closed) == (most, None)
    end.site.clock.now_ms += 60_000
    end.receive(message)
    assert len(heard(end)) == most + 1
