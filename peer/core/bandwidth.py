"""How fast bytes may travel: limits as people write them, by the time of day, and who may send or ask next. Pure: time is an argument.

Events are never held up by this: only bytes of recordings are counted. What is let through in one go is a share of a second, so that a limit holds
over any second or so; the more urgent goes first, and takes all there is.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from peer.core.identity import PeerId

RATE_MIN = 10_000
"""Bytes a second. For less there is `recmesh transfers pause`."""

RATE_MAX = 10**12
ENTRIES_MAX = 64
"""Of a timetable."""

TEXT_SIZE_MAX = 2048
SLICES_A_SECOND = 8
"""A limited stream asks for this share of a second's bytes at a time."""

SLICE_SIZE_MIN = 16 * 1024
SLICE_SIZE_MAX = 4 * 1024 * 1024
CATCH_UP_NS = 100_000_000
"""What was not used for so long may be made up for: timers are late."""

NS_PER_S = 1_000_000_000
MINUTES_PER_DAY = 24 * 60
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
_RATE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)(k|m|g|ki|mi|gi|)(?:b|b/s)?", re.ASCII | re.IGNORECASE)
_ENTRY = re.compile(r"(?:(mon|tue|wed|thu|fri|sat|sun)-)?([01]?\d|2[0-3]):([0-5]\d),(\S+)", re.ASCII | re.IGNORECASE)


class Limit(NamedTuple):
    """Bytes a second; None for as many as there are."""

    up: int | None = None
    down: int | None = None


NO_LIMIT = Limit()


@dataclass(frozen=True)
class Timetable:
    """Limits by the minute of the week, Monday first; each stands until the next."""

    entries: tuple[tuple[int, Limit], ...]

    def at(self, weekday: int, minute: int) -> Limit:
        """What holds on a day, 0 for Monday, at a minute of it."""
        now = weekday * MINUTES_PER_DAY + minute
        return next((limit for start, limit in reversed(self.entries) if start <= now), self.entries[-1][1])


def read_timetable(text: str) -> Timetable:
    """`5M`, `1M:5M` (up and down), `off`, or such with the times from which they hold: `08:00,1M 18:00,off sat-00:00,off`. Raises `ValueError`."""
    words = text.split()
    if not words or len(words) > ENTRIES_MAX or len(text) > TEXT_SIZE_MAX:
        raise ValueError(f"a limit has 1 to {ENTRIES_MAX} entries")
    if len(words) == 1 and "," not in words[0]:
        return Timetable(((0, read_limit(words[0])),))
    entries: dict[int, Limit] = {}
    named: dict[int, Limit] = {}
    for word in words:
        match = _ENTRY.fullmatch(word)
        if match is None:
            raise ValueError(f"{word!r} is no HH:MM,LIMIT or DAY-HH:MM,LIMIT such as 08:00,1M or sat-00:00,off")
        day, hour, minute, limit = match[1], int(match[2]), int(match[3]), read_limit(match[4])
        start = hour * 60 + minute
        if day is not None:
            named[DAYS.index(day.lower()) * MINUTES_PER_DAY + start] = limit
        else:
            entries.update({each * MINUTES_PER_DAY + start: limit for each in range(len(DAYS))})
    return Timetable(tuple(sorted({**entries, **named}.items())))


def read_limit(text: str) -> Limit:
    """`5M` for both ways, `1M:5M` for up and down, `off`. Raises `ValueError`."""
    up, colon, down = text.partition(":")
    return Limit(_read_rate(up), _read_rate(down if colon else up))


def _read_rate(text: str) -> int | None:
    if text.lower() == "off":
        return None
    match = _RATE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no number of bytes a second such as 500k, 5M, 1.5Mi, nor off")
    rate = int(float(match[1]) * _UNITS[match[2].lower()])
    if not RATE_MIN <= rate <= RATE_MAX:
        raise ValueError(f"{text!r}: {RATE_MIN} to {RATE_MAX} bytes a second are possible; to stop all of them there is `recmesh transfers pause`")
    return rate


class Ask(NamedTuple):
    """Somebody who wants to send or receive."""

    urgency: int
    """Negative: the lowest comes first."""
    number: int
    peer: PeerId
    size: int


class _Meter:
    """One rate. What is let through at once is paid for afterwards."""

    __slots__ = ("_open_ns", "rate")

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._open_ns = 0

    def open_ns(self) -> int:
        """From when something may pass."""
        return self._open_ns

    def pay(self, size: int, now_ns: int) -> None:
        """So many bytes pass now."""
        self._open_ns = max(self._open_ns, now_ns - CATCH_UP_NS) + size * NS_PER_S // self.rate


class Allotment:
    """Who may have how many bytes next, one way: of all, and of each peer that has a limit of its own."""

    def __init__(self) -> None:
        self._all: _Meter | None = None
        self._of_peers: dict[PeerId, _Meter] = {}
        self._asks: dict[int, Ask] = {}
        self._number = 0

    def set(self, of_all: int | None, of_peers: Mapping[PeerId, int]) -> None:
        """These rates hold from now on."""
        self._all = _changed(self._all, of_all)
        self._of_peers = {peer: meter for peer, rate in of_peers.items() if (meter := _changed(self._of_peers.get(peer), rate)) is not None}

    def is_free(self, peer: PeerId) -> bool:
        """True where nothing limits what is exchanged with `peer`."""
        return self._all is None and peer not in self._of_peers

    def ask(self, peer: PeerId, size: int, urgency: int) -> int:
        """Somebody wants to pass up to `size` bytes; the number under which `due` names it."""
        self._number += 1
        self._asks[self._number] = Ask(-urgency, self._number, peer, size)
        return self._number

    def forget(self, number: int) -> None:
        """It does not any more."""
        self._asks.pop(number, None)

    def due(self, now_ns: int) -> list[tuple[int, int]]:
        """Who may pass how many bytes now; they are paid for."""
        found = []
        for ask in sorted(self._asks.values()):
            meters = self._meters(ask.peer)
            if all(meter.open_ns() <= now_ns for meter in meters):
                size = min(ask.size, *(_slice(meter.rate) for meter in meters)) if meters else ask.size
                for meter in meters:
                    meter.pay(size, now_ns)
                found.append((ask.number, size))
                del self._asks[ask.number]
        return found

    def next_ns(self) -> int | None:
        """When the next one may pass; None if nobody waits."""
        return min((max((meter.open_ns() for meter in self._meters(ask.peer)), default=0) for ask in self._asks.values()), default=None)

    def _meters(self, peer: PeerId) -> list[_Meter]:
        return [meter for meter in (self._all, self._of_peers.get(peer)) if meter is not None]


def _changed(meter: _Meter | None, rate: int | None) -> _Meter | None:
    if rate is None:
        return None
    return meter if meter is not None and meter.rate == rate else _Meter(rate)


def _slice(rate: int) -> int:
    return max(SLICE_SIZE_MIN, min(SLICE_SIZE_MAX, rate // SLICES_A_SECOND))
