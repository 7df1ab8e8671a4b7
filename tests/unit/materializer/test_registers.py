import itertools

from materializer.registers import Write, resolve
from peer.core.identity import EventId


def event_id(name: str) -> EventId:
    return EventId(name.encode().ljust(32, b"\0"))


def write(name: str, *, preference: int = 0, rank: int = 2, hlc: int = 1, refs: str = "") -> Write:
    return Write(preference, rank, hlc, event_id(name), [event_id(ref) for ref in refs])


def check(writes: list[Write], winner: str | None, live: str) -> None:
    for order in itertools.permutations(writes):
        standing = resolve(order)
        assert standing.winner == (event_id(winner) if winner else None)
        assert standing.live == {event_id(name) for name in live}


def test_no_writes_have_no_winner() -> None:
    check([], None, "")


def test_a_write_replaces_those_that_it_names() -> None:
    check([write("a", hlc=9), write("b", hlc=1, refs="a")], "b", "b")


def test_a_replaced_write_still_replaces() -> None:
    check([write("a"), write("b", refs="a"), write("c", refs="b")], "c", "c")


def test_of_concurrent_writes_that_of_the_higher_rank_wins_and_the_other_stays_visible() -> None:
    check([write("a", rank=4, hlc=1), write("b", rank=2, hlc=9)], "a", "ab")


def test_between_equals_the_later_clock_wins_then_the_higher_id() -> None:
    check([write("a", hlc=2), write("b", hlc=1)], "a", "ab")
    check([write("a"), write("b")], "b", "ab")


def test_present_beats_absent_whoever_wrote_it() -> None:
    check([write("a", preference=1, rank=2), write("b", preference=0, rank=4, hlc=9)], "a", "ab")


def test_an_informed_write_of_low_rank_replaces_one_of_high_rank() -> None:
    check([write("a", rank=4, hlc=9), write("b", rank=2, hlc=10, refs="a")], "b", "b")


def test_a_write_that_names_itself_or_strangers_replaces_nothing_known() -> None:
    check([write("a", refs="az"), write("b", refs="q")], "b", "ab")
