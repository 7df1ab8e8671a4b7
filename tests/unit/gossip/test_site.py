"""Statuses of sites: signed by the site, bounded, and not to be brought back to life."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.site import NUMBER_MAX, STATUS_CONTEXT, STATUS_SIZE_MAX, SiteStatus, frontier_digest, peek_status, read_status, sign_status
from gossip.sites import HOPS_MAX, MINUTE_MS, SEQ_REMEMBERED_MS, TAKEN_PER_MINUTE_MAX, SiteTable
from peer.core.encoding import encode
from peer.core.frontier import Tip
from peer.core.identity import EventId, GroupId, KeyPair, LogId
from peer.errors import RecordInvalidError
from tests.samples import key_pair

GROUP, OTHER = GroupId(b"g" * 32), GroupId(b"o" * 32)
ALICE, BOB, CAROL, MALLORY = key_pair("alice"), key_pair("bob"), key_pair("carol"), key_pair("mallory")
MEMBERS = {ALICE.peer_id, BOB.peer_id, CAROL.peer_id}
GOOD = (1, GROUP, ALICE.peer_id, 7, 60, "1.0", 12, bytes(32), 5, 10)


def status(key: KeyPair, seq: int, group: GroupId = GROUP) -> bytes:
    return sign_status(key, SiteStatus(group, key.peer_id, seq, 60, "1.0", 12, bytes(32), 5, 10)).data


def signed(*fields: object) -> bytes:
    """These fields, validly signed by Alice: what is wrong is wrong further in."""
    data = encode(list(fields))
    return encode([data, ALICE.sign(STATUS_CONTEXT + data)])


def table() -> SiteTable:
    return SiteTable(CAROL.peer_id, lambda group, peer: group == GROUP and peer in MEMBERS)


def test_a_status_is_read_as_it_was_signed() -> None:
    data = status(ALICE, 7)

    assert read_status(data).status == peek_status(data) == SiteStatus(GROUP, ALICE.peer_id, 7, 60, "1.0", 12, bytes(32), 5, 10)
    assert len(data) <= STATUS_SIZE_MAX


@pytest.mark.parametrize(
    ("place", "wrong"),
    [
        (0, 2),
        (0, True),
        (1, b"short"),
        (2, bytes(31)),
        (3, -1),
        (3, NUMBER_MAX + 1),
        (4, 0),
        (4, 10**6),
        (5, "\n"),
        (5, "x" * 65),
        (6, -1),
        (7, b""),
        (8, "5"),
        (9, True),
    ],
)
def test_a_wrong_field_is_refused_though_it_is_signed(place: int, wrong: object) -> None:
    fields: list[object] = list(GOOD)
    fields[place] = wrong

    read_status(signed(*GOOD))
    with pytest.raises(RecordInvalidError):
        read_status(signed(*fields))


def test_nobody_speaks_for_another() -> None:
    data = encode(list(GOOD))
    with pytest.raises(RecordInvalidError):
        read_status(encode([data, MALLORY.sign(STATUS_CONTEXT + data)]))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_status_or_refused(data: bytes) -> None:
    with pytest.raises(RecordInvalidError):
        read_status(data)


def test_what_is_new_goes_on_with_one_more_link_and_nothing_goes_on_twice() -> None:
    sites = table()

    assert sites.hear(BOB.peer_id, GROUP, [(status(ALICE, 1), 1)], 0) == [(status(ALICE, 1), 2)]
    assert sites.hear(ALICE.peer_id, GROUP, [(status(ALICE, 1), 0)], 5) == []
    assert sites.hear(ALICE.peer_id, GROUP, [(status(ALICE, 2), 0)], 5) == [(status(ALICE, 2), 1)]
    (heard,) = sites.of_group(GROUP, 10)
    assert (heard.via, heard.hops, heard.signed.status.seq) == (ALICE.peer_id, 1, 2)
    assert sites.to_tell(BOB.peer_id, GROUP, 10) == [(status(ALICE, 2), 1)]


def test_a_status_expires_and_an_old_one_does_not_bring_it_back() -> None:
    sites = table()
    sites.hear(BOB.peer_id, GROUP, [(status(ALICE, 5), 0)], 0)

    assert sites.of_group(GROUP, 59_999)
    assert not sites.of_group(GROUP, 60_000)
    assert sites.hear(BOB.peer_id, GROUP, [(status(ALICE, 4), 0), (status(ALICE, 5), 0)], 70_000) == []
    assert not sites.of_group(GROUP, 70_001)
    sites.of_group(GROUP, SEQ_REMEMBERED_MS + 1)
    assert sites.hear(BOB.peer_id, GROUP, [(status(ALICE, 4), 0)], SEQ_REMEMBERED_MS + 2)  # Its disk was put back, and its clock with it.


def test_nobody_makes_all_links_carry_more_than_a_few_of_its_statuses_a_minute() -> None:
    """Each goes over every link of the mesh. Others go on meanwhile."""
    sites = table()
    told = [(status(ALICE, seq), 0) for seq in range(4 * TAKEN_PER_MINUTE_MAX)]

    assert len(sites.hear(ALICE.peer_id, GROUP, told[:5], 0)) == 5
    assert len(sites.hear(ALICE.peer_id, GROUP, told, MINUTE_MS - 1)) == TAKEN_PER_MINUTE_MAX - 5
    assert sites.hear(ALICE.peer_id, GROUP, [(status(BOB, 1), 0)], MINUTE_MS - 1)
    assert len(sites.hear(ALICE.peer_id, GROUP, told, MINUTE_MS)) == TAKEN_PER_MINUTE_MAX


def test_a_forger_uses_up_nothing_of_anybodys_minute() -> None:
    sites = table()
    fields = [(1, GROUP, ALICE.peer_id, seq, *GOOD[4:]) for seq in range(2 * TAKEN_PER_MINUTE_MAX)]
    sites.hear(BOB.peer_id, GROUP, [(encode([encode(list(each)), bytes(64)]), 0) for each in fields], 0)

    assert sites.hear(BOB.peer_id, GROUP, [(status(ALICE, 1), 0)], 0)


def test_a_site_that_comes_anew_hears_its_own_last_status_however_old() -> None:
    """Its clock may have been put back: for a day nobody would listen to it."""
    sites = table()
    sites.hear(BOB.peer_id, GROUP, [(status(ALICE, 5), 0), (status(BOB, 5), 0)], 0)

    assert sites.to_tell(ALICE.peer_id, GROUP, 3_600_000) == [(status(ALICE, 5), 1)]


def test_strangers_other_groups_forgeries_and_circles_are_passed_over() -> None:
    sites = table()
    forged = encode([encode(list(GOOD)), bytes(64)])
    entries = [(status(MALLORY, 1), 0), (status(ALICE, 1, OTHER), 0), (forged, 0), (b"\xff", 0), (status(ALICE, 1), HOPS_MAX)]

    assert sites.hear(BOB.peer_id, GROUP, entries, 0) == []
    assert sites.refused == 4
    assert not sites.of_group(GROUP, 0)


def test_who_is_removed_is_not_shown_any_more() -> None:
    members = set(MEMBERS)
    sites = SiteTable(CAROL.peer_id, lambda _group, peer: peer in members)
    sites.hear(BOB.peer_id, GROUP, [(status(ALICE, 1), 0)], 0)
    members.remove(ALICE.peer_id)

    assert not sites.of_group(GROUP, 1)


def test_ones_own_status_that_comes_back_is_gone_above() -> None:
    """After a restored backup or a clock that was put back: else nobody would listen any more."""
    sites = table()

    assert sites.hear(BOB.peer_id, GROUP, [(status(CAROL, 99), 3)], 0) == []
    assert sites.own_seq_seen == 99
    assert not sites.of_group(GROUP, 0)


def test_frontiers_are_equal_exactly_where_the_same_is_held() -> None:
    one, two = LogId(b"1" * 32), LogId(b"2" * 32)
    tip, fork = Tip(3, EventId(b"a" * 32)), Tip(3, EventId(b"b" * 32))

    assert frontier_digest({one: (tip,), two: (fork,)}) == frontier_digest({two: (fork,), one: (tip,)})
    assert len({frontier_digest(each) for each in ({}, {one: (tip,)}, {one: (fork,)}, {two: (tip,)}, {one: (tip, fork)})}) == 5
