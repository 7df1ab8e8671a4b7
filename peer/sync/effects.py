"""What a session is told (facts) and what it asks for (effects). The shell performs effects in their order and decides nothing."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from peer.core.certificate import Certificate
from peer.core.identity import EventId, GroupId, KeyPair, LogId, PeerId
from peer.core.interfaces import Commit, Page
from peer.core.relaying import WantedPart
from peer.core.run import Run
from peer.sync.digests import DigestMessage
from peer.sync.membership import JoinRefused, JoinRequest
from peer.sync.possession import PossessionEffect, PossessionFact


class Phase(StrEnum):
    """Where a link is. What comes after its end, `reconnect`, is the dialler's."""

    HANDSHAKE = "handshake"
    BACKFILL = "backfill"
    PUSH = "push"
    CLOSED = "closed"


class UsedInvitation(NamedTuple):
    """What a dialler that holds an invitation wants of the link."""

    group: GroupId
    key: KeyPair


class Opened(NamedTuple):
    """Fact: the connection stands."""


class CallerProven(NamedTuple):
    """Fact: instead of a connection there is one signed request, by this peer and about these groups."""

    peer: PeerId
    groups: tuple[GroupId, ...]


class FrameReceived(NamedTuple):
    """Fact: the other side sent this."""

    frame: bytes


class Tick(NamedTuple):
    """Fact: time has passed; comes about once a second."""


class Committed(NamedTuple):
    """Fact: a run became durable here, wherever it came from."""

    commit: Commit


class GroupsChanged(NamedTuple):
    """Fact: a group appeared, or who is spoken to about it changed."""


class SourcesChanged(NamedTuple):
    """Fact: some log lost its source."""


class LetGo(NamedTuple):
    """Fact: this link is one too many."""


class SendFrame(NamedTuple):
    """Effect: send this."""

    frame: bytes
    may_wait: bool = False
    """True for bytes of recordings: everything else passes them."""


class CloseLink(NamedTuple):
    """Effect: send what was asked to be sent, then end the link."""

    code: str
    text: str


class Established(NamedTuple):
    """Effect: both sides have proved who they are."""

    remote: PeerId
    incarnation: bytes
    process: bytes
    name: str
    record: bytes


class StoreRun(NamedTuple):
    """Effect: store this verified run; answer with `RunStored` when it is durable or refused."""

    certificate: Certificate
    run: Run
    size: int
    """Bytes of credit that it used."""


class RunStored(NamedTuple):
    """Fact: the run is durable, or was refused with `code`."""

    effect: StoreRun
    code: str | None


class ReadRuns(NamedTuple):
    """Effect: read on from these positions; answer with `RunsRead`."""

    group: GroupId
    log: LogId
    positions: tuple[EventId, ...]
    size_max: int


class RunsRead(NamedTuple):
    """Fact: what the store has after them."""

    effect: ReadRuns
    page: Page


class FindPurpose(StrEnum):
    """What an answer to `FindEvents` decides."""

    HELD = "held"
    """Whether tips of theirs, lower than ours, are ours too."""
    WANTED = "wanted"
    """Which of the positions in a `want` we share."""


class FindEvents(NamedTuple):
    """Effect: which of these events are held; answer with `EventsFound`."""

    group: GroupId
    log: LogId
    events: tuple[EventId, ...]
    purpose: FindPurpose
    search: bool = False


class EventsFound(NamedTuple):
    """Fact: these are."""

    effect: FindEvents
    held: frozenset[EventId]


class ReadLocator(NamedTuple):
    """Effect: our own ids of this log at tip, tip-1, -2, -4 ... 0; answer with `LocatorRead`."""

    group: GroupId
    log: LogId


class LocatorRead(NamedTuple):
    """Fact: these are they."""

    effect: ReadLocator
    events: Sequence[EventId]


class DecideJoin(NamedTuple):
    """Effect: somebody proved to hold an invitation's key, here or to another member; answer with `JoinDecided`."""

    asked: JoinRequest


class JoinDecided(NamedTuple):
    """Fact: they are in, durably, or `code` says why not. With `no_admin_reached` it cannot be decided here."""

    effect: DecideJoin
    code: str | None
    text: str


class PassJoin(NamedTuple):
    """Effect: give `JoinPassed` to the sessions of all other links."""

    asked: JoinRequest


class JoinPassed(NamedTuple):
    """Fact: a request to join came over another link, and nobody here can decide."""

    asked: JoinRequest


class ReturnRefusal(NamedTuple):
    """Effect: give `RefusalReturned` to the session of this link, if it is still there."""

    link: int
    refused: JoinRefused


class RefusalReturned(NamedTuple):
    """Fact: a request that came over this link was refused elsewhere."""

    refused: JoinRefused


class TakeOffer(NamedTuple):
    """Effect: a member offers a group that is not held here; answer with `OfferDecided`."""

    group: GroupId
    genesis: bytes
    remote: PeerId


class OfferDecided(NamedTuple):
    """Fact: the group is held now, or nobody here wants it, or `code` says what stands against it."""

    effect: TakeOffer
    taken: bool
    code: str | None
    text: str


class Knocked(NamedTuple):
    """Effect: somebody with this proven key dialled, and is a member of nothing here: to be shown to the operator."""

    peer: PeerId
    name: str
    groups: tuple[GroupId, ...]
    """What it wanted to speak about."""


class OpenGroup(NamedTuple):
    """Effect: begin to hold this group; answer with `GroupOpened`."""

    group: GroupId
    genesis: bytes


class GroupOpened(NamedTuple):
    """Fact: it is held, or `code` says why not."""

    effect: OpenGroup
    code: str | None
    text: str


class JoinEnded(NamedTuple):
    """Effect: tell whoever wanted to join how it went; `code` is None if they are in."""

    group: GroupId
    code: str | None
    text: str


class WantBlob(NamedTuple):
    """Fact: somebody here wants this part of a blob; answered by `BlobArrived` with the same number."""

    number: int
    part: WantedPart


class BlobArrived(NamedTuple):
    """Effect: give these bytes to whoever wanted them; there are none where `code` says why not."""

    number: int
    code: str | None
    data: bytes


class ReadBlob(NamedTuple):
    """Effect: read this part of a blob, if it belongs to the group; answer with `BlobSlice`."""

    number: int
    part: WantedPart


class BlobSlice(NamedTuple):
    """Fact: the bytes, fewer at the end of the blob; None if they are not to be had."""

    effect: ReadBlob
    data: bytes | None


class TellRecords(NamedTuple):
    """Fact: tell them these signed peer records, each with its TTL, if the group is spoken about."""

    group: GroupId
    entries: tuple[tuple[bytes, int], ...]


class RecordsHeard(NamedTuple):
    """Effect: a member told these of the group."""

    group: GroupId
    entries: tuple[tuple[bytes, int], ...]


class TellSites(NamedTuple):
    """Fact: tell them these signed statuses, each with the links that it came over, if the group is spoken about."""

    group: GroupId
    entries: tuple[tuple[bytes, int], ...]


class SitesHeard(NamedTuple):
    """Effect: a member told these of the group."""

    group: GroupId
    entries: tuple[tuple[bytes, int], ...]


class TellDigests(NamedTuple):
    """Fact: tell them this of what projections are, if its group is spoken about and they speak of such things."""

    message: DigestMessage


class DigestsHeard(NamedTuple):
    """Effect: a member said this of what projections are."""

    message: DigestMessage


class BackfillEnded(NamedTuple):
    """Effect: all that the other side had of this group when it told us is held here."""

    group: GroupId


class PhaseChanged(NamedTuple):
    """Effect: for status."""

    phase: Phase


Fact = (
    Opened
    | CallerProven
    | FrameReceived
    | Tick
    | Committed
    | GroupsChanged
    | SourcesChanged
    | LetGo
    | RunStored
    | RunsRead
    | EventsFound
    | LocatorRead
    | JoinDecided
    | JoinPassed
    | RefusalReturned
    | OfferDecided
    | GroupOpened
    | WantBlob
    | BlobSlice
    | PossessionFact
    | TellRecords
    | TellSites
    | TellDigests
)

Effect = (
    SendFrame
    | CloseLink
    | Established
    | StoreRun
    | ReadRuns
    | FindEvents
    | ReadLocator
    | DecideJoin
    | PassJoin
    | ReturnRefusal
    | TakeOffer
    | Knocked
    | OpenGroup
    | ReadBlob
    | BlobArrived
    | PossessionEffect
    | RecordsHeard
    | SitesHeard
    | DigestsHeard
    | JoinEnded
    | BackfillEnded
    | PhaseChanged
)
