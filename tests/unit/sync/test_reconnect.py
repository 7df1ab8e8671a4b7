import itertools

import pytest

from peer.core.identity import PeerId
from peer.sync.reconnect import BACKOFF_MAX_MS, BACKOFF_MIN_MS, LinkFacts, delay_ms, failures_after, new_link_stays

LOW, HIGH = PeerId(b"\x01" * 32), PeerId(b"\x02" * 32)
CHANCES = (0.0, 0.25, 0.5, 0.999999)


@pytest.mark.parametrize("failures", [*range(20), 1000, 10**9])
def test_the_delay_lies_in_the_upper_half_of_what_has_doubled_up_to_a_minute(failures: int) -> None:
    ceiling = min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** min(failures, 20))

    for chance in CHANCES:
        assert ceiling // 2 <= delay_ms(failures, chance) <= ceiling
    assert delay_ms(failures, 0.0) == ceiling // 2


@pytest.mark.parametrize("chance", CHANCES)
def test_the_delay_never_shrinks_with_more_failures(chance: float) -> None:
    delays = [delay_ms(failures, chance) for failures in range(30)]

    assert delays == sorted(delays)
    assert delays[-1] >= BACKOFF_MAX_MS // 2


def test_chance_spreads_the_delays_over_half_of_it() -> None:
    delays = {delay_ms(10, number / 100) for number in range(100)}

    assert len(delays) == 100
    assert max(delays) - min(delays) > BACKOFF_MAX_MS * 0.49


def test_a_link_that_came_up_to_date_starts_the_count_over() -> None:
    assert failures_after(7, was_up_to_date=True) == 0
    assert failures_after(7, was_up_to_date=False) == 8
    assert failures_after(0, was_up_to_date=False) == 1


def seen_from(peer: PeerId, dialler: PeerId, processes: dict[PeerId, bytes]) -> LinkFacts:
    """A link between the two as one of them knows it: the process is that of the other."""
    other = HIGH if peer is LOW else LOW
    return LinkFacts(dialler, HIGH if dialler is LOW else LOW, processes[other])


@pytest.mark.parametrize(
    ("old_dialler", "new_dialler", "low_restarted", "high_restarted"), [*itertools.product((LOW, HIGH), (LOW, HIGH), (False, True), (False, True))]
)
def test_both_ends_keep_the_same_link_of_two(old_dialler: PeerId, new_dialler: PeerId, *, low_restarted: bool, high_restarted: bool) -> None:
    """An end that has started anew knows of one link only: there the other end alone decides, and has to keep that one."""
    before = {LOW: b"low 1", HIGH: b"high 1"}
    after = {LOW: b"low 2" if low_restarted else b"low 1", HIGH: b"high 2" if high_restarted else b"high 1"}
    verdicts = {
        peer: new_link_stays(seen_from(peer, old_dialler, before), seen_from(peer, new_dialler, after))
        for peer, restarted in ((LOW, low_restarted), (HIGH, high_restarted))
        if not restarted
    }

    assert len(set(verdicts.values())) <= 1
    if low_restarted or high_restarted:
        assert all(verdicts.values())
    elif old_dialler is not new_dialler:
        assert set(verdicts.values()) == {new_dialler is LOW}


@pytest.mark.parametrize("first", [LOW, HIGH])
def test_the_order_in_which_two_crossing_links_are_established_does_not_matter(first: PeerId) -> None:
    """Each end may learn of the two in its own order."""
    processes = {LOW: b"low", HIGH: b"high"}
    second = HIGH if first is LOW else LOW
    one_way = [seen_from(LOW, dialler, processes) for dialler in (first, second)]
    other_way = [seen_from(HIGH, dialler, processes) for dialler in (second, first)]

    kept_by_low = one_way[new_link_stays(*one_way)].dialler
    kept_by_high = other_way[new_link_stays(*other_way)].dialler

    assert kept_by_low == kept_by_high == LOW
