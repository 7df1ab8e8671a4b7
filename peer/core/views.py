"""What events mean together, as the projections tell it to the other parts."""

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple, Protocol

from peer.core.control import Role
from peer.core.encoding import Value
from peer.core.identity import BlobId, EventId, GroupId, PeerId
from peer.core.interfaces import WantedBlob


class GroupState(NamedTuple):
    """How far the projections of a group are."""

    events: int
    """Events that are projected, of all kinds."""
    state_digest: bytes
    poison: int
    """Events whose bodies fit no schema."""


class FileView(NamedTuple):
    """A chunk or attachment of a recording that counts."""

    number: int
    """The index of a chunk; of an attachment, its place among them."""
    name: str
    """Its name in the folder of the recording."""
    source_name: str
    blob: BlobId
    sha256: bytes
    size: int
    piece_size: int
    pieces: BlobId
    message_count: int
    start_ns: int | None
    end_ns: int | None
    library: str = ""
    """What wrote the file."""
    dropped: int | None = None
    """Messages that the recorder says it dropped, None if it does not say."""
    embedded: Sequence[tuple[str, str, str, int]] = ()
    """What is in it beside messages: kind, name, media type, size."""


class ProvenanceView(NamedTuple):
    """Who added a recording with what, from where; empty where the event does not say."""

    tool: str
    version: str
    host: str
    source_path: str
    operator: str


class RegisterWrite(NamedTuple):
    """A write of a register that nobody replaced."""

    event_id: EventId
    author: PeerId
    role: Role
    """Of the author, at that write."""
    hlc: int
    value: Value


def same(one: object, other: object) -> bool:
    """True for one and the same value: for Python 1 is true."""
    return type(one) is type(other) and one == other


class RegisterView(NamedTuple):
    """Something that changes, as it stands."""

    name: str
    writes: Sequence[RegisterWrite]
    """The one that wins, then those that were written at the same time: a write that is to replace all of them names them all."""

    @property
    def value(self) -> Value:
        """What holds."""
        return self.writes[0].value

    @property
    def is_conflict(self) -> bool:
        """True if not all who wrote it at the same time wrote the same."""
        return any(not same(write.value, self.value) for write in self.writes)


class AnnotationView(NamedTuple):
    """Something that somebody said about a recording."""

    annotation: EventId
    recording: EventId
    author: PeerId
    hlc: int
    label: str
    text: str
    start_ns: int | None
    end_ns: int | None
    """None for a point in time."""
    reply_to: EventId | None
    site: str
    """What the author's site was called then; empty where an older event does not say."""
    person: str
    """Who wrote it there, as that site knows them."""
    edited_by: PeerId | None = None
    """Who let it say what it says now; None if it never said anything else."""
    edited_site: str = ""
    """What the site of that was called then."""
    edited_person: str = ""
    edited_hlc: int | None = None


class ReviewView(NamedTuple):
    """What somebody thinks of a recording, or of an annotation of it."""

    author: PeerId
    hlc: int
    value: int | str
    """1 to 5; text where an older version wrote it."""
    site: str
    person: str
    annotation: EventId | None


class HoldView(NamedTuple):
    """A hold that stands."""

    author: PeerId
    hlc: int
    reason: str
    site: str
    """What the author's site was called then."""
    person: str


class RetentionView(NamedTuple):
    """How long a recording is to be kept, as somebody said of this one."""

    author: PeerId
    hlc: int
    retention: str
    """The class."""
    until_ns: int | None
    """None for as long as the class says."""
    reason: str
    site: str
    person: str


class MachineView(NamedTuple):
    """A machine, as the recordings of a group name it."""

    group: GroupId
    machine: str
    registers: Sequence[RegisterView]
    """What is said about it, by key."""
    recordings: int
    """How many recordings name it that are not deleted."""


class RecordingView(NamedTuple):
    """A recording as the events that are here make it."""

    group: GroupId
    recording: EventId
    site: PeerId
    name: str
    machine: str
    created_ns: int
    finalized: bool
    """True if a finalize counts, whether or not all that it lists is here."""
    manifest_id: bytes | None
    """The id that all agree on, None while it is open or incomplete."""
    chunks: Sequence[FileView]
    """By index. Of a finalized recording those that its manifest lists."""
    attachments: Sequence[FileView]
    topics: Sequence[tuple[str, str, str, str, int, bytes]]
    """Topic, schema, schema encoding, message encoding, message count, hash of the schema (empty if that is not known); sorted."""
    tags: Sequence[str]
    """Sorted."""
    conflicts: Sequence[RegisterView]
    """Registers with more than one value that nobody replaced, by name."""
    properties: Mapping[str, Value]
    """The title, for one. By key."""
    reviews: Sequence[ReviewView]
    """By author and person: those of the recording, then those of its annotations."""
    review_count: int
    """Of those that count: of the recording itself, and numbers."""
    review_average: str | None
    """With two decimal places; None if none counts."""
    deleted: bool
    """True if it is hidden, and its bytes may go after a time of grace."""
    revision: bytes
    """Another one after each change of a register, 16 bytes."""
    profile: str
    """Of the recorder, such as ros2."""
    provenance: ProvenanceView
    dropped: int | None
    """Messages that its recorder says it dropped, None if it does not say of each chunk."""
    manifest_state: str | None
    """What its finalize is worth: complete, waiting, mismatch or newer. None while there is none."""
    late_chunks: Sequence[FileView]
    """Those that the finalize does not list: they stand in no manifest."""
    late_attachments: Sequence[FileView]
    deleted_hlc: int | None = None
    """When it was deleted; it is not `deleted` all the same while a hold stands."""
    hold: HoldView | None = None
    retention: RetentionView | None = None
    """None for what the group says."""


class Views(Protocol):
    """`views.db`: what events mean together."""

    async def reached(self, position: int) -> None:
        """Return once the event at `position` can be read here."""
        ...

    async def group_state(self, group: GroupId) -> GroupState:
        """How far a group is. One that nothing is projected of has no events."""
        ...

    async def export(self, group: GroupId) -> Mapping[str, object]:
        """The canonical export of a group."""
        ...

    async def recordings(self, groups: Sequence[GroupId], *, deleted: bool = False) -> Sequence[RecordingView]:
        """All recordings of these groups, newest first (by creation time, then id); with those that were deleted if these are asked for."""
        ...

    async def recording(self, group: GroupId, recording: EventId) -> RecordingView | None:
        """One recording, deleted or not; None if it is not here or does not count."""
        ...

    async def manifest(self, group: GroupId, recording: EventId) -> tuple[bytes, bytes] | None:
        """The manifest of a complete recording as CBOR and as JSON."""
        ...

    async def registers(self, group: GroupId, recording: EventId) -> Mapping[str, RegisterView]:
        """All registers of a recording that have a value, by name."""
        ...

    async def settings(self, group: GroupId) -> Sequence[RegisterView]:
        """The settings of a group, by key. One whose value is empty was taken away."""
        ...

    async def annotations(self, group: GroupId, recording: EventId | None = None) -> Sequence[AnnotationView]:
        """What was said about the recordings of a group, or about one, and not taken back; by time in the recording."""
        ...

    async def machines(self, group: GroupId) -> Sequence[MachineView]:
        """The machines of a group, by name: those that were described, and those that recordings name."""
        ...

    async def holders(self, group: GroupId, blobs: Collection[BlobId]) -> Mapping[BlobId, AbstractSet[PeerId]]:
        """The sites that said of these blobs that they hold them, and have not taken it back; blobs of which nobody said so are left out."""
        ...

    async def released(self, group: GroupId, blobs: Collection[BlobId]) -> Mapping[BlobId, AbstractSet[PeerId]]:
        """The sites that said of these blobs that they hold them no more, and nothing else since; blobs of which nobody did are left out."""
        ...

    async def recording_ids(self, group: GroupId) -> Sequence[EventId]:
        """All recordings of a group that count."""
        ...

    async def wanted_blobs(self, group: GroupId, recordings: Collection[EventId] | None = None) -> Sequence[WantedBlob]:
        """The files of all recordings of a group, or of some, that are not deleted."""
        ...
