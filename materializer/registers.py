"""Registers: everything that changes. A pure function of the set of writes to one register, in whatever order they came.

A write replaces those that its refs name. Among the writes that nobody replaced the highest (preference, rank, hlc, event id) wins; the others stay
visible as conflicts. Preference is what makes a present tag beat an absent one; rank is the author's role at that write, so an owner wins over a
concurrent write, and keeps what it won when its role changes later.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from materializer.bodies import RecordingFinalize
from materializer.edits import (
    AnnotationDelete,
    AnnotationEdit,
    GroupSet,
    MachineSet,
    RecordingDelete,
    RecordingRestore,
    RecordingSet,
    RecordingTag,
    ReviewSet,
)
from materializer.keeping import RecordingHold, RecordingRetain
from materializer.rights import Action
from peer.core.encoding import encode
from peer.core.identity import EventId, PeerId

FINALIZE = "finalize"
DELETED = "deleted"
HOLD = "hold"
RETENTION = "retention"
TAG_PREFIX = "tag:"
PROPERTY_PREFIX = "property:"
ANNOTATION_PREFIX = "annotation:"
"""Registers that say whether an annotation was taken back."""
EDIT_PREFIX = "edit:"
"""Registers with what an annotation says since it was changed."""
REVIEW_PREFIX = "review:"
OPINION_PREFIX = "opinion:"
"""Registers of reviews of annotations."""
SETTING_PREFIX = "setting:"
"""Registers of the group itself, not of a recording."""
MACHINE_PREFIX = "machine:"
"""Registers of the group, too: the key, then the name of the machine, which may have colons."""

KINDS_ABOUT_ANNOTATIONS = frozenset({ANNOTATION_PREFIX[:-1], EDIT_PREFIX[:-1]})
"""What stands before the colon in registers that only the author of an annotation may write."""

TRUE, FALSE = encode(True), encode(False)  # noqa: FBT003  (the values themselves)

GroupBody = GroupSet | MachineSet
"""Writes of registers of the group itself."""
RegisterBody = (
    RecordingFinalize
    | RecordingTag
    | RecordingSet
    | RecordingDelete
    | RecordingRestore
    | RecordingHold
    | RecordingRetain
    | AnnotationDelete
    | AnnotationEdit
    | ReviewSet
    | GroupBody
)


Claim = tuple[str, bytes, int]
"""What a write says: the name of the register, within its recording or within the group; the value as deterministic CBOR; its preference."""


class Write(NamedTuple):
    """A write that counts: its author might make it."""

    preference: int
    rank: int
    hlc: int
    event_id: EventId
    refs: Collection[EventId]


class Standing(NamedTuple):
    """How the writes of a register stand to each other."""

    winner: EventId | None
    live: frozenset[EventId]
    """The winner, and those that conflict with it."""


def resolve(writes: Iterable[Write]) -> Standing:
    """Who wins, and who is still there, among all writes of one register."""
    known = list(writes)
    replaced = {ref for write in known for ref in write.refs if ref != write.event_id}
    live = [write for write in known if write.event_id not in replaced]
    if not live:
        return Standing(None, frozenset())
    return Standing(max(live, key=_height).event_id, frozenset(write.event_id for write in live))


def claim(body: RegisterBody, data: bytes, author: PeerId) -> Claim:  # noqa: C901, PLR0911  (one answer for each type)
    """What `author` writes with `body`, whose bytes are `data`."""
    match body:
        case RecordingTag():
            return TAG_PREFIX + body.tag, TRUE if body.present else FALSE, int(body.present)
        case RecordingFinalize():
            return FINALIZE, data, 0
        case RecordingSet():
            return PROPERTY_PREFIX + body.key, encode(body.value), 0
        case RecordingDelete():
            return DELETED, TRUE, 0
        case RecordingRestore():
            return DELETED, FALSE, 0
        case RecordingHold():
            return HOLD, _said(body), int(body.held)
        case RecordingRetain():
            return RETENTION, _said(body), body.strength
        case AnnotationDelete():
            return annotation_register(body.annotation), TRUE, 0
        case AnnotationEdit():
            return edit_register(body.annotation), encode(body._asdict()), 0
        case ReviewSet():
            return review_register(author, body.person, body.annotation), encode({"value": body.value, "site": body.site}), 0
        case GroupSet():
            return SETTING_PREFIX + body.key, encode(body.value), 0
        case MachineSet():
            return f"{MACHINE_PREFIX}{body.key}:{body.machine}", encode(body.value), 0


def annotation_register(annotation: EventId) -> str:
    """The register that says whether an annotation was taken back."""
    return ANNOTATION_PREFIX + annotation.hex()


def edit_register(annotation: EventId) -> str:
    """The register with what an annotation says since it was changed."""
    return EDIT_PREFIX + annotation.hex()


def review_register(author: PeerId, person: str, annotation: EventId | None = None) -> str:
    """The register with what a person at the site `author` thinks of a recording, or of an annotation of it."""
    target = REVIEW_PREFIX if annotation is None else f"{OPINION_PREFIX}{annotation.hex()}:"
    return f"{target}{author.hex()}:{person}"


def annotation_of(register: str) -> EventId | None:
    """The annotation that a register says something of, None if it is about something else."""
    kind, _, name = register.partition(":")
    return EventId(bytes.fromhex(name)) if kind in KINDS_ABOUT_ANNOTATIONS else None


def action_of(register: str) -> Action:
    """What a write of this register does."""
    return _ACTIONS[register.partition(":")[0]]


_ACTIONS = {
    FINALIZE: Action.FINALIZE,
    DELETED: Action.DELETE,
    HOLD: Action.KEEP,
    RETENTION: Action.KEEP,
    "tag": Action.DESCRIBE,
    "property": Action.DESCRIBE,
    "annotation": Action.UNANNOTATE,
    "edit": Action.CHANGE_ANNOTATION,
    "review": Action.REVIEW,
    "opinion": Action.REVIEW,
    "setting": Action.SETTING,
    "machine": Action.MACHINE,
}


def _said(body: RecordingHold | RecordingRetain) -> bytes:
    return encode({key: value for key, value in body._asdict().items() if key != "recording"})


def _height(write: Write) -> tuple[int, int, int, EventId]:
    return write.preference, write.rank, write.hlc, write.event_id
