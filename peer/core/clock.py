"""Hybrid logical clock (Kulkarni and others, 2014): 48 bits of Unix time in ms, 16 bits of counter, strictly increasing along a branch."""

from peer.errors import ClockNotIncreasingError

COUNTER_BITS = 16
DRIFT_MAX_MS = 5 * 60 * 1000
HLC_MAX = 2**64 - 1


def next_hlc(own_last: int, highest_seen: int, now_ms: int) -> int:
    """The clock of the next event of a log whose last event has `own_last`, at a peer that has seen `highest_seen`.

    Follows what was seen for at most five minutes: a site with a wrong clock does not drag the others along. Raises `ClockNotIncreasingError`
    at a log
    whose clock cannot grow: it is replaced by a new log.
    """
    value = max(own_last + 1, now_ms << COUNTER_BITS, min(highest_seen, (now_ms + DRIFT_MAX_MS) << COUNTER_BITS))
    if value > HLC_MAX:
        raise ClockNotIncreasingError("the clock of this log cannot grow", fix="open a new log")
    return value


def hlc_ms(hlc: int) -> int:
    """The Unix time in ms within a clock value."""
    return hlc >> COUNTER_BITS
