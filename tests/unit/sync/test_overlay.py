"""Whom to dial, and which link is one too many, in groups that are too large for links to everybody."""

import random
from collections.abc import Collection, Sequence

import pytest

from peer.core.identity import GroupId, PeerId
from peer.sync.overlay import (
    BUSY_MS_MAX,
    CHOSEN_MIN,
    FAILED_REST_MS,
    LET_GO_INTERVAL_MS,
    LINKS_MAX,
    LINKS_MIN,
    REST_MAX_MS,
    REST_MIN_MS,
    REST_NEEDED_MS,
    SMALL_GROUP_MAX,
    Choice,
    Known,
    OpenLink,
    Overlay,
)

LARGE, SMALL = GroupId(b"l" * 32), GroupId(b"s" * 32)
chance = random.Random(5)
PEERS = [PeerId(chance.randbytes(32)) for _ in range(60)]
ME, OTHER = PEERS[0], PEERS[-1]
QUIET_MS = 60_000
SETTLE_MS_MAX = 24 * 60 * 60 * 1000


def known(peers: Collection[PeerId] = PEERS[1:], *, manual: Collection[PeerId] = (), hidden: Collection[PeerId] = ()) -> list[Known]:
    """Peers with an address, but for the `hidden` ones."""
    return [Known(peer, peer not in hidden, peer in manual) for peer in peers]


def links(inbound: Sequence[PeerId] = (), ours: Sequence[PeerId] = (), groups: Collection[GroupId] = (LARGE,)) -> list[OpenLink]:
    """Links that stand, ours the older ones."""
    return [OpenLink(peer, groups, number, peer in ours) for number, peer in enumerate([*ours, *inbound])]


def choose(overlay: Overlay, of: Sequence[Known], stand: Sequence[OpenLink] = (), now_ms: int = 0, turn: int = 0) -> Choice:
    """With one large group of everybody."""
    return overlay.choose({LARGE: PEERS}, of, stand, now_ms, turn)


@pytest.fixture
def overlay() -> Overlay:
    """That of the first peer."""
    return Overlay(ME)


def next_of(peer: PeerId, peers: Collection[PeerId]) -> PeerId:
    """The next one by id, worked out another way."""
    ring = sorted({*peers, peer})
    return ring[(ring.index(peer) + 1) % len(ring)]


def test_in_a_small_group_everybody_is_dialled_and_nobody_let_go(overlay: Overlay) -> None:
    """Links to all are cheaper there than any thought about them."""
    members = PEERS[:SMALL_GROUP_MAX]

    choice = overlay.choose({SMALL: members}, known(members[1:]), links(inbound=members[1:], groups=(SMALL,)), 0, 0)

    assert choice == Choice(frozenset(members[1:]), None)


def test_in_a_large_group_a_few_are_dialled_the_next_one_among_them(overlay: Overlay) -> None:
    """That alone connects everybody."""
    choice = choose(overlay, known())

    assert len(choice.dialled) == LINKS_MIN
    assert next_of(ME, PEERS) in choice.dialled


def test_whoever_is_linked_is_not_dialled_but_two_links_are_of_our_own_choice(overlay: Overlay) -> None:
    """Those that dial us may all be of one mind."""
    inbound = [next_of(ME, PEERS), *[peer for peer in PEERS[10:16] if peer != next_of(ME, PEERS)][:5]]

    choice = choose(overlay, known(), links(inbound=inbound))

    assert len(choice.dialled) == CHOSEN_MIN
    assert not choice.dialled & set(inbound)


def test_a_peer_in_a_small_and_a_large_group_is_always_dialled(overlay: Overlay) -> None:
    """A link carries all groups: the one that needs most decides."""
    members = {LARGE: PEERS, SMALL: PEERS[:10]}
    stand = links(inbound=PEERS[1:30], groups=(LARGE, SMALL))

    choice = overlay.choose(members, known(), stand, 0, 0)

    assert set(PEERS[1:10]) <= choice.dialled
    assert choice.let_go not in PEERS[1:10]


def test_a_link_is_not_ended_while_one_of_its_groups_has_use_for_it(overlay: Overlay) -> None:
    """It is one too many only if it is so everywhere."""
    other = GroupId(b"o" * 32)
    stand = [*links(inbound=PEERS[1:20]), OpenLink(PEERS[30], (LARGE, other), 99, we_dialled=False)]

    choice = overlay.choose({LARGE: PEERS, other: PEERS}, known(), stand, 0, 0)

    assert choice.let_go is not None
    assert choice.let_go != PEERS[30]


def test_whom_the_operator_named_is_always_dialled_and_never_let_go(overlay: Overlay) -> None:
    """A decision of a person."""
    manual = PEERS[20:40]

    choice = choose(overlay, known(manual=manual), links(inbound=manual))

    assert set(manual) <= choice.dialled
    assert choice.let_go is None


def test_with_too_many_links_one_is_let_go_at_a_time(overlay: Overlay) -> None:
    """So that what is left can settle."""
    stand = links(inbound=PEERS[1:20])

    assert choose(overlay, known(), stand).let_go is not None
    assert choose(overlay, known(), stand, now_ms=LET_GO_INTERVAL_MS - 1).let_go is None
    assert choose(overlay, known(), stand, now_ms=LET_GO_INTERVAL_MS).let_go is not None


def test_with_enough_links_none_is_let_go(overlay: Overlay) -> None:
    """Enough is not too many."""
    assert choose(overlay, known(), links(inbound=PEERS[1 : 1 + LINKS_MAX])).let_go is None


def test_many_that_come_drive_away_none_that_we_chose_and_none_that_a_ring_needs(overlay: Overlay) -> None:
    """Whatever others do: what goes is the youngest of what they dialled."""
    ours = [peer for peer in sorted(choose(overlay, known()).dialled) if peer != next_of(ME, PEERS)][:CHOSEN_MIN]
    before = [next_of(ME, PEERS), *[peer for peer in PEERS[1:5] if peer not in ours]]
    stand = links(inbound=[*before, *[peer for peer in PEERS[30:] if peer not in (*ours, *before)]], ours=ours)
    now_ms = 0
    while (gone := choose(overlay, known(), stand, now_ms=now_ms).let_go) is not None:
        assert gone not in ours
        stand = [link for link in stand if link.peer != gone]
        now_ms += LET_GO_INTERVAL_MS

    left = {link.peer for link in stand}
    assert LINKS_MIN <= len(left) <= LINKS_MAX
    assert {*ours, next_of(ME, PEERS)} <= left


def test_a_site_that_nobody_can_dial_is_never_let_go_and_takes_nobodys_place(overlay: Overlay) -> None:
    """It depends on us, and nobody finds a way through it."""
    hidden = PEERS[30:50]

    choice = choose(overlay, known(hidden=hidden), links(inbound=[*PEERS[1:5], *hidden]))

    assert choice.let_go is None
    assert len(choice.dialled - set(PEERS[1:5])) == CHOSEN_MIN


def test_a_link_on_which_something_is_under_way_is_not_ended_for_a_while(overlay: Overlay) -> None:
    """Nor any other instead: who keeps us busy must not drive others away."""
    stand = [OpenLink(peer, (LARGE,), number, we_dialled=False, is_busy=True) for number, peer in enumerate(PEERS[1:20])]

    assert choose(overlay, known(), stand).let_go is None
    assert choose(overlay, known(), stand, now_ms=BUSY_MS_MAX).let_go is not None


def test_whoever_has_enough_is_left_alone_for_longer_each_time(overlay: Overlay) -> None:
    """Others are dialled instead; it is asked again later."""
    enough = next_of(ME, PEERS)
    now_ms = 0
    rests = []
    for _ in range(6):
        overlay.told_enough(enough, now_ms)
        began = now_ms
        while enough not in choose(overlay, known(), links(inbound=[OTHER]), now_ms=now_ms).dialled:
            now_ms += 60_000
        rests.append(now_ms - began)

    assert rests == [REST_MIN_MS, 2 * REST_MIN_MS, 4 * REST_MIN_MS, 8 * REST_MIN_MS, REST_MAX_MS, REST_MAX_MS]


def test_it_is_left_alone_also_if_the_operator_named_it(overlay: Overlay) -> None:
    """The one who invited everybody would be dialled by everybody, for ever."""
    overlay.told_enough(PEERS[3], 0)

    assert PEERS[3] not in choose(overlay, known(manual=[PEERS[3]])).dialled
    assert PEERS[3] in choose(overlay, known(manual=[PEERS[3]]), now_ms=REST_MIN_MS).dialled


def test_whoever_knows_nobody_else_comes_back_sooner(overlay: Overlay) -> None:
    """A site must not be left without links because the only one it knows has many."""
    overlay.told_enough(PEERS[3], 0)

    assert not choose(overlay, known([PEERS[3]]), now_ms=REST_NEEDED_MS - 1).dialled
    assert choose(overlay, known([PEERS[3]]), now_ms=REST_NEEDED_MS).dialled == {PEERS[3]}
    assert PEERS[3] not in choose(overlay, known(), links(inbound=[OTHER]), now_ms=REST_NEEDED_MS).dialled


def test_whoever_has_no_link_at_all_goes_back_to_one_that_is_there(overlay: Overlay) -> None:
    """The others that it knows may all be behind firewalls: trying them takes minutes."""
    overlay.told_enough(PEERS[3], 0)

    assert PEERS[3] not in choose(overlay, known(), now_ms=REST_NEEDED_MS - 1).dialled
    assert PEERS[3] in choose(overlay, known(), now_ms=REST_NEEDED_MS).dialled


def test_whoever_comes_back_at_once_is_kept_and_drives_nobody_away(overlay: Overlay) -> None:
    """It has found nobody else, whatever address it says that it has."""
    stand = links(inbound=PEERS[1:8])
    gone = choose(overlay, known(), stand).let_go
    stand = [link for link in stand if link.peer != gone]
    assert gone is not None
    assert choose(overlay, known(), stand, now_ms=REST_MIN_MS // 2).let_go is None
    stand.append(OpenLink(gone, (LARGE,), 99, we_dialled=False))
    for now_ms in range(REST_MIN_MS // 2, 4 * REST_MAX_MS, REST_MIN_MS):
        assert choose(overlay, known(), stand, now_ms=now_ms).let_go is None
    stand = [*stand[:-1], OpenLink(gone, (LARGE,), 100, we_dialled=False)]

    assert choose(overlay, known(), stand, now_ms=5 * REST_MAX_MS).let_go is not None, "another link, long after"


def test_where_nobody_but_one_can_be_dialled_everybody_stays_linked_to_it() -> None:
    """All have addresses, as a site in a private network does; all but one are dialled in vain."""
    relay, *others = PEERS[:20]
    overlays = {peer: Overlay(peer) for peer in PEERS[:20]}
    stand: dict[PeerId, OpenLink] = {}
    away = 0
    for number, now_ms in enumerate(range(0, 4 * REST_MIN_MS, 5_000)):
        for peer in others:
            to_relay = [stand[peer]._replace(peer=relay, we_dialled=True)] if peer in stand else []
            seen = [Known(relay, is_dialable=True, is_manual=True), *known([other for other in others if other != peer])]
            for dialled in overlays[peer].choose({LARGE: PEERS[:20]}, seen, to_relay, now_ms, 0).dialled:
                if dialled == relay and peer not in stand:
                    stand[peer] = OpenLink(peer, (LARGE,), len(PEERS) * number + others.index(peer), we_dialled=False)
                elif dialled != relay:
                    overlays[peer].failed(dialled, now_ms)
        let_go = overlays[relay].choose({LARGE: PEERS[:20]}, known(others), [*stand.values()], now_ms, 0).let_go
        if let_go is not None:
            del stand[let_go]
            overlays[let_go].told_enough(relay, now_ms)
        away += (len(others) - len(stand)) * (now_ms > REST_MIN_MS)

    assert away == 0


def test_whoever_is_not_reached_is_dialled_after_all_others(overlay: Overlay) -> None:
    """But it is dialled rather than nobody."""
    first = choose(overlay, known()).dialled
    for peer in first:
        overlay.failed(peer, 0)

    assert not choose(overlay, known()).dialled & first
    for peer in PEERS[1:]:
        overlay.failed(peer, 0)
    assert len(choose(overlay, known()).dialled) == LINKS_MIN
    assert choose(overlay, known(), now_ms=FAILED_REST_MS).dialled == first


def test_another_turn_brings_other_ways(overlay: Overlay) -> None:
    """What has fallen apart finds together again."""
    chosen = [choose(overlay, known(), turn=turn).dialled for turn in range(5)]

    assert len(set(chosen)) == 5
    assert all(next_of(ME, PEERS) in each for each in chosen)


def test_what_is_remembered_of_others_ends_with_them(overlay: Overlay) -> None:
    """Memory is bounded by those who are known."""
    for number in range(1000):
        overlay.told_enough(PeerId(number.to_bytes(32, "big")), 0)
        overlay.failed(PeerId(number.to_bytes(32, "big")), 0)

    choose(overlay, known())

    assert not overlay._resting
    assert not overlay._failed


@pytest.mark.parametrize(("count", "known_max"), [(17, 16), (100, 99), (100, 20), (250, 50)])
def test_everybody_together_is_connected_with_four_to_six_links(count: int, known_max: int) -> None:
    """All choose for themselves, from what each happens to know, until nothing changes any more."""
    mesh = Mesh(count, known_max)

    mesh.settle()

    assert mesh.reached_from_the_first() == count
    assert {len(each) for each in mesh.links.values()} <= set(range(LINKS_MIN, LINKS_MAX + 1))
    assert all(sum(link.we_dialled for link in each.values()) >= CHOSEN_MIN for each in mesh.links.values())


class Mesh:
    """Choices of many, without sessions: a link stands as soon as one end dials."""

    def __init__(self, count: int, known_max: int) -> None:
        chance = random.Random(count)
        self.peers = [PeerId(chance.randbytes(32)) for _ in range(count)]
        self.known = {peer: chance.sample([other for other in self.peers if other != peer], known_max) for peer in self.peers}
        self.overlays = {peer: Overlay(peer) for peer in self.peers}
        self.links: dict[PeerId, dict[PeerId, OpenLink]] = {peer: {} for peer in self.peers}
        self.now_ms = self.numbers = 0

    def settle(self) -> None:
        """Let everybody choose until nobody has changed anything for a minute."""
        quiet_since_ms = 0
        while self.now_ms - quiet_since_ms <= QUIET_MS:
            if sum(self._choose(peer) for peer in self.peers):
                quiet_since_ms = self.now_ms
            self.now_ms += 2 * LET_GO_INTERVAL_MS
            assert self.now_ms < SETTLE_MS_MAX, "they do not come to rest"

    def _choose(self, peer: PeerId) -> int:
        ours = self.links[peer]
        of = [Known(other, is_dialable=True) for other in sorted({*self.known[peer], *ours})]
        dialled, let_go = self.overlays[peer].choose({LARGE: self.peers}, of, list(ours.values()), self.now_ms, 0)
        new = sorted(dialled - ours.keys())
        if let_go is not None:
            del ours[let_go], self.links[let_go][peer]
            self.overlays[let_go].told_enough(peer, self.now_ms)
        for other in new:
            self.numbers += 1
            ours[other] = OpenLink(other, (LARGE,), self.numbers, we_dialled=True)
            self.links[other][peer] = OpenLink(peer, (LARGE,), self.numbers, we_dialled=False)
        return len(new) + (let_go is not None)

    def reached_from_the_first(self) -> int:
        """How many there is a way to."""
        found, waiting = {self.peers[0]}, [self.peers[0]]
        while waiting:
            new = self.links[waiting.pop()].keys() - found
            found |= new
            waiting.extend(new)
        return len(found)
