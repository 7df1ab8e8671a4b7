"""Who takes a copy: all who know the same choose the same, and no more than are needed."""

from hypothesis import given
from hypothesis import strategies as st

from peer.core.identity import EventId, PeerId
from peer.core.placing import MARGIN_BYTES, Lacking, takers

GB = 10**9
SITES = [PeerId(bytes([number]) * 32) for number in range(8)]
RECORDINGS = [EventId(number.to_bytes(32, "big")) for number in range(400)]
ROOM = dict.fromkeys(SITES, 100 * GB)


def lacking(recording: EventId, holders: list[PeerId], wanted: int = 3) -> Lacking:
    return Lacking(recording, GB, holders, wanted)


@given(st.permutations(SITES), st.integers(1, 6), st.integers(0, 5))
def test_all_choose_the_same_sites_and_as_many_as_are_needed(order: list[PeerId], wanted: int, held: int) -> None:
    room = {peer: ROOM[peer] for peer in order}
    chosen = takers(lacking(RECORDINGS[0], order[:held], wanted), room)

    assert chosen == takers(lacking(RECORDINGS[0], list(reversed(order[:held])), wanted), ROOM)
    assert len(chosen) == max(0, wanted - held)
    assert not set(chosen) & set(order[:held])


def test_nobody_is_chosen_who_has_no_room_for_it() -> None:
    fits = GB + MARGIN_BYTES
    room = {SITES[0]: fits - 1, SITES[1]: fits, SITES[2]: 0}

    assert takers(lacking(RECORDINGS[0], []), room) == [SITES[1]]


def test_copies_spread_over_all_sites() -> None:
    counts = dict.fromkeys(SITES, 0)
    for recording in RECORDINGS:
        for peer in takers(lacking(recording, [], 2), ROOM):
            counts[peer] += 1

    assert sum(counts.values()) == 2 * len(RECORDINGS)
    assert min(counts.values()) > len(RECORDINGS) // len(SITES)


def test_only_what_a_site_was_chosen_for_moves_when_it_goes() -> None:
    gone = SITES[3]
    left = {peer: free for peer, free in ROOM.items() if peer != gone}
    moved = 0
    for recording in RECORDINGS:
        before, after = takers(lacking(recording, [], 2), ROOM), takers(lacking(recording, [], 2), left)
        assert set(before) - {gone} <= set(after)
        moved += gone in before
    assert moved > 50


def test_where_those_chosen_do_not_do_it_the_next_ones_join_them() -> None:
    one = lacking(RECORDINGS[0], SITES[:1], 2)

    assert takers(one, ROOM, 2)[:1] == takers(one, ROOM)
    assert len(takers(one, ROOM, 2)) == 3
    assert len(takers(one, ROOM, 100)) == len(SITES) - 1
    assert takers(lacking(RECORDINGS[0], SITES[:3], 3), ROOM, 5) == []
