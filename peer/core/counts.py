"""Numbers for those who watch a peer from outside: what a part of it knows of itself, without a word about how it is published."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol


class Count(NamedTuple):
    """One number, now."""

    name: str
    """Small letters and underscores, with the unit last, such as `disk_free_bytes`."""
    text: str
    """What it says, for people; the same for all of one name."""
    value: float
    labels: Mapping[str, str] = {}
    """The same keys for all of one name."""
    only_grows: bool = False
    """True for what is counted since the process began."""


class Counts(Protocol):
    """A part of a peer that has some."""

    def counts(self) -> Iterable[Count]:
        """All of them, now."""
        ...
