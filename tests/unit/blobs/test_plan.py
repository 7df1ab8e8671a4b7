"""Pieces and who is asked for them."""

import pytest

from peer.blobs.buffers import KEPT_BYTES_MAX, IncomingPieces, PieceBuffers
from peer.blobs.plan import (
    ASKED_MAX,
    DOUBLE_AFTER_MS,
    FIRST_PIECES,
    PATIENCE_MS,
    PROVIDERS_MAX,
    REQUEST_PIECES_MAX,
    SLOWEST_RATE,
    FetchPlan,
    Layout,
    check_layout,
    layout_for,
    piece_size_for,
)
from peer.blobs.providers import PieceRequest, Way
from peer.core.identity import PeerId
from peer.errors import BlobMismatchError

MIB = 1024 * 1024
ALICE, BOB, CAROL = (PeerId(bytes([number]) * 32) for number in range(3))


def way(peer: PeerId, *, asks_others: bool = False) -> Way:
    return Way(peer, asks_others)


def asked(plan: FetchPlan, now_ms: int = 0) -> list[PieceRequest]:
    """All that can be asked for now."""
    return list(iter(lambda: plan.next_request(now_ms), None))


def answer(plan: FetchPlan, request: PieceRequest, now_ms: int) -> None:
    """All of it comes, and is right."""
    plan.came(request, (request.stop - request.first) * MIB, now_ms)
    for piece in range(request.first, request.stop):
        plan.verified(piece)
    plan.ended(request)


@pytest.mark.parametrize(
    ("size", "piece_size"),
    [
        (0, MIB),
        (1, MIB),
        (2048 * MIB, MIB),
        (2048 * MIB + 1, 2 * MIB),
        (4096 * MIB, 2 * MIB),
        (4096 * MIB + 1, 4 * MIB),
        (10**6 * MIB, 4 * MIB),
    ],
)
def test_pieces_are_the_smallest_power_of_two_that_gives_2048_of_them(size: int, piece_size: int) -> None:
    assert piece_size_for(size) == piece_size


def test_the_last_piece_ends_where_the_blob_ends() -> None:
    layout = layout_for(2 * MIB + 5)

    assert layout.piece_count == 3
    assert (layout.start(2), layout.stop(2)) == (2 * MIB, 2 * MIB + 5)
    assert layout.list_size == 96


def test_the_empty_blob_has_no_pieces() -> None:
    assert layout_for(0).piece_count == 0
    assert FetchPlan(layout_for(0), [], [way(ALICE)]).complete


@pytest.mark.parametrize(("size", "piece_size"), [(10, 2 * MIB), (10, MIB - 1), (10, 0), (-1, MIB), (2**45, 4 * MIB)])
def test_a_layout_that_no_blob_can_have_is_refused(size: int, piece_size: int) -> None:
    with pytest.raises(BlobMismatchError):
        check_layout(size, piece_size)


def test_who_is_alone_is_asked_for_runs_of_missing_pieces_in_order() -> None:
    plan = FetchPlan(Layout(6 * MIB, MIB), [0, 3], [way(ALICE)])

    (first,) = asked(plan)
    assert first == PieceRequest(0, 1, 3)
    answer(plan, first, 10)
    assert plan.next_request(10) == PieceRequest(0, 4, 6)
    assert plan.bytes_held == 4 * MIB
    assert plan.missing() == [4, 5]


def test_one_request_asks_for_so_many_pieces() -> None:
    plan = FetchPlan(Layout(1000 * MIB, MIB), [], [way(ALICE)])

    assert plan.next_request(0) == PieceRequest(0, 0, REQUEST_PIECES_MAX)


def test_each_peer_begins_with_a_slice_of_its_own_and_with_little() -> None:
    """Of a peer that was never asked nobody knows how fast it is."""
    plan = FetchPlan(Layout(300 * MIB, MIB), range(30), [way(ALICE), way(BOB), way(CAROL)])

    assert asked(plan) == [PieceRequest(number, start, start + FIRST_PIECES) for number, start in enumerate((30, 120, 210))]


def test_so_many_peers_are_asked_at_once_and_each_in_one_way() -> None:
    peers = [PeerId(bytes([number]) * 32) for number in range(PROVIDERS_MAX + 3)]
    plan = FetchPlan(Layout(300 * MIB, MIB), [], [way(peer) for peer in peers for _ in range(2)])

    assert [request.source for request in asked(plan)] == [2 * number for number in range(PROVIDERS_MAX)]


def test_a_way_that_failed_is_left_for_another_one_to_the_same_peer_and_then_for_others() -> None:
    plan = FetchPlan(Layout(2 * MIB, MIB), [], [way(ALICE), way(ALICE)])
    for number in range(2):
        (request,) = asked(plan)
        assert request == PieceRequest(number, 0, 2)
        plan.ended(request)
        plan.failed(number)

    assert plan.next_request(0) is None
    assert not plan.complete


def test_who_lied_is_asked_for_nothing_more_in_no_way() -> None:
    ways = [way(ALICE), way(ALICE), way(BOB), way(ALICE, asks_others=True)]
    plan = FetchPlan(Layout(100 * MIB, MIB), [], ways)
    first, second = asked(plan)
    plan.ended(first)
    plan.lied(first.source)

    assert plan.liars == [ALICE]
    assert asked(plan) == []
    sources = set()
    while not plan.complete:
        sources.add(second.source)
        answer(plan, second, 1000)
        second = plan.next_request(1000) or second
    assert sources == {2}


def test_who_may_only_get_it_from_others_is_asked_when_nobody_else_is_left() -> None:
    plan = FetchPlan(Layout(10 * MIB, MIB), [], [way(ALICE), way(ALICE, asks_others=True), way(BOB, asks_others=True)])

    found = asked(plan)
    assert [request.source for request in found] == [0]
    plan.ended(found[0])
    plan.failed(0)
    assert {request.source for request in asked(plan)} == {1, 2}


def test_who_is_through_takes_from_what_the_slowest_has_before_it() -> None:
    """Shares are as the speeds are."""
    plan = FetchPlan(Layout(80 * MIB, MIB), [], [way(ALICE), way(BOB)])
    fast, slow = asked(plan)
    plan.came(slow, MIB, 1000)
    now_ms = 1000
    while fast.first < 40:
        now_ms += 10
        answer(plan, fast, now_ms)
        fast = plan.next_request(now_ms) or fast
    assert slow.stop <= fast.first
    assert fast.first < 50, "the slow one keeps little of its slice"


def test_a_slow_request_is_not_waited_for_and_who_is_first_counts() -> None:
    plan = FetchPlan(Layout(4 * MIB, MIB), [], [way(ALICE), way(BOB)])
    slow, fast = asked(plan)
    answer(plan, fast, 60)

    assert plan.next_request(60) is None, "it was asked only now"
    assert plan.has_idle
    doubled = plan.next_request(DOUBLE_AFTER_MS)
    assert doubled == PieceRequest(1, 1, 2), "what the slow one would give last"
    answer(plan, doubled, DOUBLE_AFTER_MS + 60)
    assert plan.is_needed(slow)
    last = plan.next_request(DOUBLE_AFTER_MS + 60)
    assert last == PieceRequest(1, 0, 1)
    answer(plan, last, DOUBLE_AFTER_MS + 120)
    assert plan.complete
    assert not plan.is_needed(slow)


def test_no_piece_is_asked_of_more_than_two() -> None:
    plan = FetchPlan(Layout(MIB, MIB), [], [way(ALICE), way(BOB), way(CAROL)])
    assert len(asked(plan)) == 1

    assert len(asked(plan, DOUBLE_AFTER_MS)) == ASKED_MAX - 1


def test_who_gives_next_to_nothing_makes_room_for_who_was_not_asked_yet() -> None:
    """Only then: who is alone with it may be slow."""
    peers = [PeerId(bytes([number]) * 32) for number in range(PROVIDERS_MAX + 1)]
    plan = FetchPlan(Layout(300 * MIB, MIB), [], [way(peer) for peer in peers])
    slow = asked(plan)
    plan.came(slow[1], SLOWEST_RATE * PATIENCE_MS, PATIENCE_MS)

    assert plan.too_slow(PATIENCE_MS - 1) == []
    assert plan.too_slow(PATIENCE_MS) == [slow[0]]
    plan.ended(slow[0])
    (instead,) = asked(plan, PATIENCE_MS)
    assert instead.source == PROVIDERS_MAX
    assert plan.too_slow(PATIENCE_MS) == [], "nobody is left who was not asked"
    alone = FetchPlan(Layout(300 * MIB, MIB), [], [way(ALICE)])
    assert len(asked(alone)) == 1
    assert alone.too_slow(10 * PATIENCE_MS, is_full=True) == []


def test_what_a_request_did_not_bring_is_asked_for_again_and_nothing_else() -> None:
    plan = FetchPlan(Layout(8 * MIB, MIB), [], [way(ALICE), way(BOB)])
    first, second = asked(plan)
    plan.verified(first.first)
    plan.ended(first)
    plan.failed(first.source)
    pieces = [*range(second.first, second.stop)]
    plan.ended(second)
    for piece in pieces:
        plan.verified(piece)
    while (request := plan.next_request(0)) is not None:
        assert request.source == 1
        pieces += range(request.first, request.stop)
        answer(plan, request, 0)

    assert sorted(pieces) == [piece for piece in range(8) if piece != first.first]
    assert plan.complete


@pytest.mark.parametrize("part_size", [1, 7, 64, 1000])
def test_parts_of_any_size_become_pieces(part_size: int) -> None:
    data = bytes(range(250))
    coming = IncomingPieces(Layout(250, 100), PieceRequest(0, 0, 3), PieceBuffers())
    pieces = []
    for start in range(0, 250, part_size):
        rest = memoryview(data[start : start + part_size])
        while rest:
            room = coming.place()
            count = min(len(room), len(rest))
            room[:count], rest = rest[:count], rest[count:]
            coming.came(count)
            if coming.is_full:
                pieces.append((coming.piece, bytes(coming.take())))

    assert pieces == [(0, data[:100]), (1, data[100:200]), (2, data[200:])]
    assert coming.is_complete


def test_more_bytes_than_were_asked_for_are_refused() -> None:
    coming = IncomingPieces(Layout(250, 100), PieceRequest(0, 0, 1), PieceBuffers())
    coming.came(len(coming.place()))
    coming.take()

    with pytest.raises(BlobMismatchError):
        coming.place()


def test_buffers_are_used_again_and_few_are_kept() -> None:
    buffers = PieceBuffers()
    taken = [buffers.take(4 * MIB) for _ in range(10)]
    for each in taken:
        each[:1] = b"x"
        buffers.give_back(each)

    again = [buffers.take(MIB) for _ in range(10)]
    assert sum(bytes(each[:1]) == b"x" for each in again) == KEPT_BYTES_MAX // (4 * MIB)
    assert {len(each) for each in again} == {MIB}


def test_who_turns_up_later_is_asked_and_who_was_given_up_is_again_but_no_liar() -> None:
    first, second, third = (Way(PeerId(bytes([number]) * 32), asks_others=False) for number in range(3))
    plan = FetchPlan(Layout(64 * MIB, MIB), [], [first, second])
    asked = [plan.next_request(0), plan.next_request(0)]
    assert plan.next_request(0) is None
    assert plan.join([first, third, third]) == [third, third], "who can be asked already is not asked twice"

    request = plan.next_request(0)

    assert request is not None
    assert request.source == 2
    for number, end in enumerate((plan.failed, plan.lied)):
        done = asked[number]
        assert done is not None
        plan.ended(done)
        end(done.source)
    assert plan.join([first, second, third]) == [first]
    again = plan.next_request(0)
    assert again is not None
    assert again.source == 4
