"""Which messages of a recording somebody asks for: what the admin API and those who read them agree on."""

from collections.abc import AsyncGenerator, Sequence
from typing import NamedTuple, Protocol


class MessageOrder(NamedTuple):
    """What is asked for."""

    topics: Sequence[str] = ()
    """None for all."""
    start_ns: int | None = None
    """The first time, None from the beginning."""
    end_ns: int | None = None
    """The first time that is not wanted any more, None for all that follows."""
    limit: int | None = None
    raw: bool = False
    """True to leave payloads as they are."""


class MessageService(Protocol):
    """Reads messages."""

    def lines(self, reference: str, order: MessageOrder) -> AsyncGenerator[bytes, None]:
        """A JSON document for each message, on a line of its own, in the order of time; whole lines, some at a time."""
        ...

    def extract(self, reference: str, order: MessageOrder) -> AsyncGenerator[bytes, None]:
        """The same messages as an MCAP file, some of it at a time."""
        ...

    def gives_way(self) -> bool:
        """True, once, if somebody was refused for want of a place."""
        ...


class RateService(Protocol):
    """Counts messages."""

    async def rates(self, reference: str, topics: Sequence[str], bins: int) -> dict[str, object]:
        """How many there are in each of so many equal parts of a recording's time, by topic."""
        ...
