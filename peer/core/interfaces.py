"""What the parts of a peer need of each other. Shells do not import one another: they meet here, and `node.py` puts them together."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from peer.core.byte_store import BlobFacts, ByteStore
from peer.core.certificate import Certificate, LogKind
from peer.core.control import ControlEvent, Point, Role
from peer.core.event import Event
from peer.core.frontier import Tips
from peer.core.group import Genesis, Invitation
from peer.core.identity import BlobId, EventId, GroupId, LogId, PeerId
from peer.core.judging import Judgement
from peer.core.roster import Roster
from peer.core.run import Draft, Run


class Fork(NamedTuple):
    """A log that goes on in more than one way after one of its events. Both ways count."""

    log: LogId
    author: PeerId
    kind: LogKind
    height: int
    """Of the last event that both have, 0 if they have none."""


class GroupView(Protocol):
    """A group as it is known to this peer right now: in memory, and never ahead of the disk."""

    @property
    def genesis(self) -> Genesis:
        """How it began."""
        ...

    @property
    def roster(self) -> Roster:
        """Who is in it."""
        ...

    @property
    def control(self) -> Sequence[ControlEvent]:
        """The control events that the roster was computed from."""
        ...

    @property
    def tips(self) -> Mapping[LogId, Tips]:
        """What is held of each log and counts: clipped at cuts and seals; logs of which nothing counts are not in it."""
        ...

    @property
    def certificates(self) -> Mapping[LogId, Certificate]:
        """Whose logs these are."""
        ...

    @property
    def judgement(self) -> Judgement:
        """Which role each held event has. Another object whenever one may have changed."""
        ...

    @property
    def quarantined(self) -> int:
        """How many held events do not count: beyond a cut or seal, by somebody without a role, voided."""
        ...

    @property
    def waiting_logs(self) -> int:
        """How many logs were refused because their authors have too many unsealed ones, and did not come since."""
        ...

    @property
    def forks(self) -> Sequence[Fork]:
        """Where logs have forked, by log and height."""
        ...

    def reach(self, certificate: Certificate) -> int | None:
        """The height above which nothing of that log is of use; None if there is none, 0 if nothing of it is."""
        ...


class Replica(Protocol):
    """All groups of this peer."""

    @property
    def groups(self) -> Mapping[GroupId, GroupView]:
        """By id."""
        ...

    def shares(self, group: GroupId, peer: PeerId) -> bool:
        """True if `peer` may be spoken to about `group`: it is on the roster, or the operator named it as a peer of the group."""
        ...


class Commit(NamedTuple):
    """What became durable: told to everybody only afterwards, in the order of the commits."""

    group: GroupId
    certificate: Certificate
    run: Run
    """The new events only."""
    tips: Tips
    """All tips of the log afterwards, of what counts."""
    position: int
    """This peer's own position of the last event; means nothing to others."""


class StoredEvent(NamedTuple):
    """An event with what this peer knows of it beside its bytes."""

    position: int
    group: GroupId
    kind: LogKind
    author: PeerId
    event: Event
    role: Role
    """The author's at this event, by what this peer held when it was read; none if the event does not count."""


class Page(NamedTuple):
    """Runs of one log, in an order in which each can be stored after those before it."""

    runs: Sequence[Run]
    complete: bool
    """True if nothing is left after these runs."""


CommitListener = Callable[[Commit], None]

LaterDrafts = Callable[[Sequence[EventId]], Sequence[Draft]]
"""A pure function from the ids of all events of a write so far to those that come next."""


class EventStore(Protocol):
    """`log.db`, the truth. One writer; many waiting appends become one transaction."""

    async def append(self, certificate: Certificate, run: Run) -> None:
        """Store a verified run and return when it is durable. Events that are held already are passed over.

        Raises `LogGapError` or `ClockNotIncreasingError` if it does not follow what is held, `TooManyLogsError` if it has to wait until its author
        has sealed other logs (the run is good), `StoreError` when the disk fails.
        """
        ...

    async def write(self, group: GroupId, kind: LogKind, drafts: Sequence[Draft], then: Sequence[LaterDrafts] = ()) -> Sequence[StoredEvent]:
        """Link, sign and append events of this peer, in its open log. Returns when they are durable: all of them, or none.

        Each of `then` makes further drafts that name earlier events of the same write. Raises `RemovedFromGroupError` without a role in the group.
        """
        ...

    async def rotate_log(self, group: GroupId, kind: LogKind) -> LogId | None:
        """Let the next write open a new log with a new key. Returns the log that was written on so far, None if there was none."""
        ...

    async def seal_points(self, group: GroupId, log: LogId) -> Sequence[Point]:
        """The full frontier of a log: a seal with these points lets all that is held of it count. Raises `NotFoundError` if it is not held."""
        ...

    async def cut(self, group: GroupId, peer: PeerId) -> Sequence[Point]:
        """Points that keep everything by `peer` that is held and counts: the cut of a removal or another role.

        Of somebody with so many branches that they do not fit a decision those with the most events; `events_beyond` tells what is left out.
        """
        ...

    async def events_beyond(self, group: GroupId, peer: PeerId, points: Sequence[Point]) -> Mapping[LogId, int]:
        """How many events by `peer` that are held and count a cut with these points would leave out, by log; logs without any are not in it."""
        ...

    async def create_group(self, genesis: Genesis) -> None:
        """Begin to hold a group. Does nothing if it is held."""
        ...

    async def read_after(self, group: GroupId, log: LogId, have: Sequence[EventId], size_max: int) -> Page:
        """Runs of `log` that are no ancestors of the events `have`; about `size_max` bytes, at least one run if there is any.

        Events in `have` that are not held here are passed over.
        """
        ...

    async def held(self, group: GroupId, events: Sequence[EventId]) -> set[EventId]:
        """Those of `events` that are held."""
        ...

    async def locator(self, group: GroupId, log: LogId) -> Sequence[EventId]:
        """Ids on each branch of `log` at tip, tip-1, -2, -4 ... 0."""
        ...

    async def events_after(self, position: int, count_max: int) -> Sequence[StoredEvent]:
        """Events of all groups in this peer's own order."""
        ...

    async def group_events(self, group: GroupId, position: int, count_max: int) -> Sequence[StoredEvent]:
        """Events of one group above `position`, in this peer's own order; fewer than asked for if they are large, none only at the end."""
        ...

    async def roles(self, group: GroupId, events: Sequence[EventId]) -> Mapping[EventId, Role]:
        """The roles at those of `events` that are held; none for what does not count."""
        ...

    async def event(self, event_id: EventId) -> StoredEvent | None:
        """One event."""
        ...

    async def find_events(self, digits: str) -> Sequence[StoredEvent]:
        """Events of all groups whose ids begin with these hexadecimal digits; a few if there are many."""
        ...

    def subscribe(self, listener: CommitListener) -> Callable[[], None]:
        """Call `listener` after each commit; returns what ends that."""
        ...


class BlobStore(ByteStore, Protocol):
    """Bytes by their hash, in files. What has its name here was verified before it got it."""

    @property
    def added(self) -> int:
        """Another number after each blob that got its name."""
        ...

    @property
    def removed(self) -> int:
        """Another number after each blob that lost it, was found damaged, or sound again."""
        ...

    async def ingest(self, path: Path, *, take: str) -> BlobFacts:
        """Hash and store a file; `take` is `copy` (a reflink where possible), `link` or `move`. Durable when it returns."""
        ...

    async def ingest_bytes(self, data: bytes) -> BlobFacts:
        """Store a small blob. Durable when it returns."""
        ...

    def is_damaged(self, blob: BlobId) -> bool:
        """True if there is a file with its name whose bytes were others when they were last looked at."""
        ...

    async def is_sound(self, blob: BlobId) -> bool:
        """True if its bytes may be given: a file that is not as it was when it was verified is hashed again before this says so."""
        ...

    def path(self, blob: BlobId) -> Path:
        """Where the bytes are, or would be. Who gives them to others asks `is_sound` first."""
        ...

    def link(self, blob: BlobId, path: Path) -> None:
        """Give the file of a blob another name, which takes no space. For threads. Raises `OSError` where the file system cannot."""
        ...


class WantedBlob(NamedTuple):
    """A file that this site's policy wants to have."""

    group: GroupId
    recording: EventId
    blob: BlobId
    size: int
    piece_size: int
    pieces: BlobId
    sha256: bytes
    site: PeerId
    """Who made the recording."""


class BlobSource(Protocol):
    """A peer, or anything else, that bytes may be had from. It is not trusted: what it says is checked by hash."""

    @property
    def peer_id(self) -> PeerId:
        """Whose bytes these are, to be shown."""
        ...

    @property
    def asks_others(self) -> bool:
        """True if it may get from others what it does not have."""
        ...

    def read(self, group: GroupId, blob: BlobId, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """Bytes `start` to `stop` of a blob that is asked for within `group`, in order, in parts of any size.

        Raises `TransportError` if they do not come.
        """
        ...


class Links(Protocol):
    """The links to other peers, as the rest of the peer sees them."""

    @property
    def endpoint(self) -> str | None:
        """The URL under which others dial this peer, None if nobody can."""
        ...

    async def run(self) -> None:
        """Listen, dial, sync, until cancelled."""
        ...

    def links(self) -> Sequence[Mapping[str, object]]:
        """Each link as `status` shows it: the fields of INTERFACES, ids in hex."""
        ...

    async def join(self, invitation: Invitation) -> None:
        """Dial the member that the invitation names and ask to be let in. Returns when we are; the link stays.

        Raises `InvitationRefusedError` or `TransportError`.
        """
        ...

    def dialable_members(self, group: GroupId) -> Sequence[tuple[PeerId, str]]:
        """Linked members of `group` with an address for each, the surest first."""
        ...

    def pending(self) -> Sequence[Mapping[str, object]]:
        """Who dialled with a proven key and is a member of nothing here, the latest first; a few of each address, the oldest left out.

        `peer_id`, `name`, `address`, `groups` that it wanted, `first_seen_ms`, `last_seen_ms`, `count`; ids in hex.
        """
        ...

    def forget_pending(self, peer: PeerId) -> bool:
        """Show `peer` there no more; False if it was not."""
        ...


class DialTarget(Protocol):
    """A peer to be linked, with where it may be reached."""

    @property
    def peer(self) -> PeerId:
        """Who it is."""
        ...

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    @property
    def endpoints(self) -> tuple[str, ...]:
        """URLs, the best first."""
        ...

    @property
    def source(self) -> str:
        """Who said so: `manual`, `hub`, `gossip` or `tailnet`."""
        ...

    @property
    def paused(self) -> bool:
        """True if the operator does not want it to be dialled."""
        ...

    @property
    def hints(self) -> frozenset[str]:
        """Those of the endpoints that neither the operator nor an invitation named: dialled only in networks where hints may lead."""
        ...

    @property
    def learned_from(self) -> PeerId | None:
        """Who told of it, where that was gossip."""
        ...

    @property
    def ttl(self) -> int | None:
        """How often its address may be passed on from here; None where it is not to be."""
        ...
