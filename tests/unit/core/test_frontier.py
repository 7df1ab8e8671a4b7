"""Tips: a log has one, unless it forked; then all count."""

from hypothesis import given
from hypothesis import strategies as st

from peer.core.frontier import Tip, events_between, extend_tips, height, sorted_tips
from peer.core.identity import EventId


def event_id(label: int) -> EventId:
    return EventId(label.to_bytes(32, "big"))


GENESIS = bytes(32)
FIRST, SECOND, THIRD, FORKED = Tip(1, event_id(1)), Tip(2, event_id(2)), Tip(3, event_id(3)), Tip(2, event_id(9))


def test_the_first_run_gives_a_log_its_tip() -> None:
    assert extend_tips((), GENESIS, FIRST) == (FIRST,)


def test_a_run_after_the_tip_moves_it() -> None:
    assert extend_tips((FIRST,), FIRST.event_id, THIRD) == (THIRD,)


def test_a_run_from_the_middle_gives_a_second_branch() -> None:
    assert extend_tips((SECOND,), FIRST.event_id, FORKED) == (SECOND, FORKED)


def test_a_second_beginning_is_a_branch_too() -> None:
    assert extend_tips((FIRST,), GENESIS, Tip(1, event_id(7))) == (FIRST, Tip(1, event_id(7)))


def test_only_the_extended_branch_moves() -> None:
    forked = extend_tips((SECOND,), FIRST.event_id, FORKED)

    assert extend_tips(forked, SECOND.event_id, THIRD) == (FORKED, THIRD)


def test_hearing_of_the_same_tip_again_changes_nothing() -> None:
    once = extend_tips((FIRST,), FIRST.event_id, SECOND)

    assert extend_tips(once, FIRST.event_id, SECOND) == once


def test_branches_may_arrive_in_any_order() -> None:
    one = extend_tips(extend_tips((FIRST,), FIRST.event_id, SECOND), FIRST.event_id, FORKED)
    other = extend_tips(extend_tips((FIRST,), FIRST.event_id, FORKED), FIRST.event_id, SECOND)

    assert one == other


@given(st.lists(st.builds(Tip, st.integers(1, 5), st.integers(0, 5).map(event_id))))
def test_tips_have_one_order_and_no_doubles(tips: list[Tip]) -> None:
    assert sorted_tips(tips) == sorted_tips(reversed(tips)) == tuple(sorted(set(tips)))


def test_the_height_is_that_of_the_highest_branch() -> None:
    assert height(()) == 0
    assert height((FORKED, THIRD)) == 3
    assert events_between((FIRST,), (FORKED, THIRD)) == 2
    assert events_between((THIRD,), (FIRST,)) == 0
