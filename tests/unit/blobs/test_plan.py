"""Pieces and who is asked for them."""

import pytest

from peer.blobs.plan import Cutter, FetchPlan, Layout, PieceRequest, check_layout, layout_for, piece_size_for
from peer.errors import BlobMismatchError

MIB = 1024 * 1024


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
    assert FetchPlan(layout_for(0), [], 1).complete


@pytest.mark.parametrize(("size", "piece_size"), [(10, 2 * MIB), (10, MIB - 1), (10, 0), (-1, MIB), (2**45, 4 * MIB)])
def test_a_layout_that_no_blob_can_have_is_refused(size: int, piece_size: int) -> None:
    with pytest.raises(BlobMismatchError):
        check_layout(size, piece_size)


def test_the_first_run_of_missing_pieces_is_asked_for() -> None:
    plan = FetchPlan(Layout(6 * MIB, MIB), [0, 3], 1)

    assert plan.next_request() == PieceRequest(0, 1, 3)
    plan.verified(1)
    plan.verified(2)
    assert plan.next_request() == PieceRequest(0, 4, 6)
    assert plan.bytes_held == 4 * MIB
    assert plan.missing() == [4, 5]


def test_who_failed_is_not_asked_again_and_the_next_one_goes_on() -> None:
    plan = FetchPlan(Layout(2 * MIB, MIB), [], 2)
    plan.verified(0)
    plan.failed(0)

    assert plan.next_request() == PieceRequest(1, 1, 2)
    plan.failed(1)
    assert plan.next_request() is None
    assert not plan.complete


@pytest.mark.parametrize("part_size", [1, 7, 64, 1000])
def test_batches_join_small_parts_and_never_cross_the_end_of_a_piece(part_size: int) -> None:
    layout = Layout(250, 100)
    data = bytes(range(250))
    cutter = Cutter(layout, PieceRequest(0, 0, 3), 64, 8)
    batches = [batch for start in range(0, 250, part_size) for batch in cutter.cut(data[start : start + part_size])]

    assert b"".join(bytes(part) for batch in batches for part in batch.parts) == data
    assert [batch.piece for batch in batches if batch.ends] == [0, 1, 2]
    assert [batch.piece for batch in batches if batch.begins] == [0, 1, 2]
    assert all(sum(map(len, batch.parts)) <= 64 and len(batch.parts) <= 8 for batch in batches)
    assert cutter.complete


def test_more_bytes_than_were_asked_for_are_refused() -> None:
    with pytest.raises(BlobMismatchError):
        list(Cutter(Layout(250, 100), PieceRequest(0, 0, 1), 64, 8).cut(bytes(101)))
