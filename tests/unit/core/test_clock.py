"""The hybrid logical clock grows, keeps to the time, and is not dragged along by a wrong one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.core.clock import DRIFT_MAX_MS, HLC_MAX, hlc_ms, next_hlc
from peer.errors import ClockNotIncreasingError

NOW = 1_700_000_000_000
clocks = st.integers(0, HLC_MAX - 1)
times = st.integers(0, 2**48 - 1)


@given(clocks, clocks, times)
def test_it_grows_along_a_log_whatever_the_time_does(own: int, seen: int, now_ms: int) -> None:
    assert own < next_hlc(own, seen, now_ms) <= HLC_MAX


@given(clocks, clocks, times)
def test_it_is_never_behind_the_time(own: int, seen: int, now_ms: int) -> None:
    assert hlc_ms(next_hlc(own, seen, now_ms)) >= now_ms


@given(clocks, times)
def test_it_follows_what_it_has_seen_for_at_most_five_minutes(seen: int, now_ms: int) -> None:
    clock = next_hlc(0, seen, now_ms)

    assert hlc_ms(clock) <= now_ms + DRIFT_MAX_MS
    assert clock >= seen or hlc_ms(seen) >= now_ms + DRIFT_MAX_MS


def test_it_counts_within_a_millisecond() -> None:
    first = next_hlc(0, 0, NOW)

    assert next_hlc(first, 0, NOW) == first + 1
    assert hlc_ms(first + 1) == NOW


def test_after_65536_events_in_a_millisecond_it_runs_ahead() -> None:
    assert hlc_ms(next_hlc((NOW << 16) + 0xFFFF, 0, NOW)) == NOW + 1


def test_a_time_that_goes_back_changes_nothing() -> None:
    last = next_hlc(0, 0, NOW)

    assert next_hlc(last, 0, NOW - 86_400_000) == last + 1


@pytest.mark.parametrize(("own", "now_ms"), [(HLC_MAX, NOW), (0, 2**48)])
def test_a_clock_that_cannot_grow_says_so(own: int, now_ms: int) -> None:
    with pytest.raises(ClockNotIncreasingError):
        next_hlc(own, 0, now_ms)
