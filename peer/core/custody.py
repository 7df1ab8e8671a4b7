"""What a site remembers about copies: its own promises, what it drops and dropped, and whose word was worth nothing."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from peer.core.identity import BlobId, EventId, GroupId, PeerId


class Subject(NamedTuple):
    """A recording of a group, as something that there are copies of."""

    group: GroupId
    recording: EventId


class Unproven(NamedTuple):
    """Somebody who said that it holds a recording, and could not prove it."""

    subject: Subject
    peer: PeerId
    code: str
    """`possession_false` for a wrong proof, else what it said itself."""
    at_ms: int


class Remembered(NamedTuple):
    """All of it."""

    promises: Sequence[tuple[Subject, PeerId, bytes]]
    """With the rounds that they are for."""
    releases: Sequence[Subject]
    held_back: Sequence[Subject]
    unproven: Sequence[Unproven]


class CustodyMemory(Protocol):
    """Keeps it over restarts: each call is durable when it returns."""

    async def all(self) -> Remembered:
        """What is kept."""
        ...

    async def promise(self, subject: Subject, peer: PeerId, round_id: bytes) -> None:
        """Keep a promise, in the place of an older one to the same site."""
        ...

    async def forget_promises(self, promises: Collection[tuple[Subject, PeerId]]) -> None:
        """They bind no more."""
        ...

    async def begin_release(self, subject: Subject) -> None:
        """A round begins."""
        ...

    async def end_release(self, subject: Subject) -> None:
        """It is over."""
        ...

    async def hold_back(self, subject: Subject, at_ms: int) -> None:
        """It is dropped, and not to come back by itself: nobody's earlier wish for it stands."""
        ...

    async def lift(self, subject: Subject) -> None:
        """It may come back."""
        ...

    async def note_unproven(self, unproven: Unproven) -> None:
        """Its word is worth nothing about this."""
        ...

    async def note_proven(self, subject: Subject, peer: PeerId) -> None:
        """It is worth something again."""
        ...


class Said(Protocol):
    """What a site said of what it holds, in its events."""

    async def receipts_of(self, group: GroupId, peer: PeerId, blobs: Collection[BlobId] | None = None) -> Mapping[BlobId, Sequence[EventId]]:
        """The receipts of `peer` that stand, for each of these blobs, or for all that it holds."""
        ...
