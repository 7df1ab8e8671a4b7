"""Why bytes are to come to this site. Whoever has a reason says so as wishes; of two for one blob the more urgent one stands."""

from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping, Sequence
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

    def pages(self, group: GroupId) -> AsyncGenerator[Sequence[Wish], None]:
        """What is wished for of all of the group, some at a time: there may be more than memory should hold."""
        ...


class Claim(NamedTuple):
    """What an event says of a blob. Another one may say something else, and only one of them is right."""

    blob: BlobId
    size: int
    piece_size: int
    pieces: BlobId
    sha256: bytes


def claim_of(file: WantedBlob) -> Claim:
    """What is said of a file's bytes."""
    return Claim(file.blob, file.size, file.piece_size, file.pieces, file.sha256)


Failures = Mapping[Claim, int]
"""How often it led to nothing to believe something. What is not there never did."""


def strongest(wishes: Iterable[Wish], is_here: Callable[[BlobId], bool], failures: Failures | None = None) -> dict[BlobId, Wish]:
    """The wish for each blob that is not here: of those that believe what failed least the most urgent one; of equal ones the first."""
    found: dict[BlobId, Wish] = {}
    for wish in wishes:
        blob = wish.file.blob
        standing = found.get(blob)
        if standing is None:
            if not is_here(blob):
                found[blob] = wish
        elif is_stronger(wish, standing, failures or {}):
            found[blob] = wish
    return found


def is_stronger(wish: Wish, other: Wish, failures: Failures) -> bool:
    """Whether a wish for the same blob takes the place of the other one."""
    failed, of_other = failures.get(claim_of(wish.file), 0) if failures else 0, failures.get(claim_of(other.file), 0) if failures else 0
    return (-failed, wish.priority) > (-of_other, other.priority)


def rivals(wishes: Iterable[Wish]) -> dict[BlobId, set[Wish]]:
    """All wishes for blobs of which different things are said."""
    first: dict[BlobId, Wish] = {}
    found: dict[BlobId, set[Wish]] = {}
    for wish in wishes:
        before = first.setdefault(wish.file.blob, wish)
        if before is not wish and claim_of(before.file) != claim_of(wish.file):
            found.setdefault(wish.file.blob, {before}).add(wish)
    return found
