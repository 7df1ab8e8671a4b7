"""Why bytes are to come to this site. Whoever has a reason says so as wishes; of two for one blob the more urgent one stands."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from peer.core.identity import BlobId, EventId, GroupId
from peer.core.interfaces import WantedBlob


class Why(StrEnum):
    """Who wishes."""

    REPAIR = "repair"
    """Bytes that are promised to be here and are not, or are not right."""
    ASKED = "asked"
    """A person asked for the recording."""
    COPIES = "copies"
    """Too few sites have it."""
    POLICY = "policy"
    """What this site keeps by its rules."""


PRIORITIES: Mapping[Why, int] = {Why.REPAIR: 400, Why.ASKED: 300, Why.COPIES: 200, Why.POLICY: 100}
"""What comes first: the higher number. A rule of a policy may add -9 to 9 to its own."""


class Wish(NamedTuple):
    """One file that is to come here."""

    file: WantedBlob
    why: Why
    priority: int
    reason: str
    """One line for people, such as `rule 2: tag=crash`."""


class Wishing(Protocol):
    """Somebody who has reasons. Who changes its mind says so with `Fetching.touched`."""

    async def wishes(self, group: GroupId, recordings: Collection[EventId] | None) -> Sequence[Wish]:
        """What is wished for of these recordings, or of all of the group. What is here already may be among it."""
        ...


def strongest(wishes: Iterable[Wish], is_here: Callable[[BlobId], bool]) -> dict[BlobId, Wish]:
    """The most urgent wish for each blob that is not here; of equal ones the first."""
    found: dict[BlobId, Wish] = {}
    for wish in wishes:
        blob = wish.file.blob
        standing = found.get(blob)
        if standing is None:
            if not is_here(blob):
                found[blob] = wish
        elif wish.priority > standing.priority:
            found[blob] = wish
    return found
