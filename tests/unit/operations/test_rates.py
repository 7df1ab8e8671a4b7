"""Counting messages into equal parts of a recording's time."""

from peer.operations.rates import _count


def test_each_message_is_in_one_part_and_those_outside_are_at_the_edge() -> None:
    counts = {"/a": [0] * 4, "/b": [0] * 4}
    _count({"/a": [100, 101, 124, 125, 149, 150, 199], "/b": [1, 99, 200, 10**6], "/new": [100]}, counts, 100, 100)

    assert counts == {"/a": [3, 2, 1, 1], "/b": [2, 0, 0, 2]}


def test_parts_may_be_shorter_than_a_nanosecond() -> None:
    counts = {"/a": [0] * 10}
    _count({"/a": [5, 6, 7]}, counts, 5, 3)

    assert counts == {"/a": [1, 0, 0, 1, 0, 0, 1, 0, 0, 0]}
