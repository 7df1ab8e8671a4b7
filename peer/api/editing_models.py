"""What travels over the admin API about what is said of recordings."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from peer.api.models import Answer, Count, Hex, Ns, RecordingDetails, Request, Role

KEY_MAX = 64
VALUE_MAX = 4096
LABEL_MAX = 256
NOTE_MAX = 16 * 1024
TAG_MAX = 128
PERSON_MAX = 128
CHANGES_MAX = 64
REFERENCE_MAX = 128

Plain = Annotated[str, Field(max_length=VALUE_MAX)] | int | bool
Person = Annotated[str, Field(max_length=PERSON_MAX, description="Who wants this, as this site knows them; empty if nobody says")]
Tag = Annotated[str, Field(max_length=TAG_MAX)]
NsDigits = Annotated[str, Field(pattern=r"^[0-9]{1,19}$", description="Nanoseconds of Unix time, as a decimal string")]


class RecordingChange(Request):
    """Properties of a recording, its title for one, with their new values: text, whole numbers, truth. The empty text takes one away."""

    properties: dict[Annotated[str, Field(max_length=KEY_MAX)], Plain] = Field(min_length=1, max_length=CHANGES_MAX)


class TagsChange(Request):
    """Tags to set and to take away."""

    add: list[Tag] = Field(default_factory=list, max_length=CHANGES_MAX)
    remove: list[Tag] = Field(default_factory=list, max_length=CHANGES_MAX)


class AnnotationAdd(Request):
    """Something to say about a recording: at a time, over a span, or as a whole."""

    label: str = Field(min_length=1, max_length=LABEL_MAX)
    text: str = Field(default="", max_length=NOTE_MAX)
    start_ns: NsDigits | None = None
    end_ns: NsDigits | None = None
    reply_to: str | None = Field(default=None, max_length=REFERENCE_MAX, description="The id of another annotation of the recording, or its start")
    person: Person = ""


class AnnotationChange(Request):
    """What an annotation is to say from now on. What is left out stays as it is; null for a time takes it away."""

    label: str | None = Field(default=None, min_length=1, max_length=LABEL_MAX)
    text: str | None = Field(default=None, max_length=NOTE_MAX)
    start_ns: NsDigits | None = None
    end_ns: NsDigits | None = None
    person: Person = ""


class ReviewSet(Request):
    """What a person at this site thinks of a recording, or of an annotation of it: 1 to 5; `none` takes it back."""

    value: Annotated[int, Field(ge=1, le=5)] | Literal["", "none"]
    person: Person = ""
    annotation: str | None = Field(default=None, max_length=REFERENCE_MAX, description="The id of an annotation of the recording, or its start")


class MachineChange(Request):
    """Something to say about a machine; the empty text takes it away."""

    key: str = Field(max_length=KEY_MAX)
    value: Plain
    group: str | None = Field(default=None, max_length=REFERENCE_MAX, description="The group; may be left out where one is meant")


class PersonThen(Answer):
    """Who wrote something: the site, what it was called then, and a person there. Names may have changed since."""

    peer_id: Hex
    site: str
    person: str


class EditedBy(Answer):
    """Who let an annotation say something else, as `PersonThen`; `name` is what the site is called today."""

    peer_id: Hex
    name: str
    site: str
    person: str


class Review(Answer):
    """What a person thinks: 1 to 5, or text where an older version wrote it."""

    author: Hex
    author_name: str
    by: PersonThen
    time_ms: Count
    value: int | str


class Annotation(Answer):
    """Something that was said about a recording. `depth` is how far below its thread's first it stands."""

    id: Hex
    recording: Hex
    author: Hex
    author_name: str
    by: PersonThen
    time_ms: Count
    label: str
    text: str
    start_ns: Ns | None
    start: str | None
    end_ns: Ns | None
    end: str | None
    reply_to: Hex | None
    depth: Count
    edited_by: EditedBy | None
    edited_ms: Count | None
    reviews: list[Review]
    review_count: Count
    review_average: str | None


class RegisterWrite(Answer):
    """A write of something that changes, which nobody has replaced."""

    event_id: Hex
    value: object
    author: Hex
    author_name: str
    role: Role
    time_ms: Count


class Conflict(Answer):
    """Something that several sites wrote at the same time, with the write that wins first."""

    key: str
    value: object
    conflict: bool
    writes: list[RegisterWrite]


class HoldShown(Answer):
    """A hold that stands."""

    reason: str
    author_name: str
    by: PersonThen
    time_ms: Count


class RetentionShown(Answer):
    """How long a recording is to be kept; no class where nobody says."""

    model_config = ConfigDict(populate_by_name=True, extra="forbid")

    class_: Literal["transient", "raw", "summary", "reference", "permanent"] | None = Field(alias="class")
    until_ns: Ns | None
    """None for ever, or where no class says, or where nobody knows how old it is."""
    until: str | None
    reason: str
    of_group: bool
    has_run_out: bool


class RecordingShown(RecordingDetails):
    """A recording with what is said about it."""

    hold: HoldShown | None
    retention: RetentionShown
    annotations: list[Annotation]
    reviews: list[Review]
    conflicts: list[Conflict]
    revision: str


class Machine(Answer):
    """A machine, as the recordings of a group name it, and what the group says of it."""

    name: str
    group: Hex
    group_name: str
    properties: dict[str, object]
    recordings: Count
    conflicts: list[Conflict]
