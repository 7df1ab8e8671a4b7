"""What travels over the admin API about what is said of recordings."""

from typing import Annotated

from pydantic import Field

from peer.api.models import Answer, Count, Hex, Ns, RecordingDetails, Request, Role

KEY_MAX = 64
VALUE_MAX = 4096
LABEL_MAX = 256
NOTE_MAX = 16 * 1024
TAG_MAX = 128
CHANGES_MAX = 64
REFERENCE_MAX = 128

Tag = Annotated[str, Field(max_length=TAG_MAX)]
NsDigits = Annotated[str, Field(pattern=r"^[0-9]{1,19}$", description="Nanoseconds of Unix time, as a decimal string")]


class RecordingChange(Request):
    """Properties of a recording, its title for one, with their new values; an empty one takes the property away."""

    properties: dict[Annotated[str, Field(max_length=KEY_MAX)], Annotated[str, Field(max_length=VALUE_MAX)]] = Field(
        min_length=1, max_length=CHANGES_MAX
    )


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


class ReviewSet(Request):
    """What this site thinks of a recording; the empty text takes it back."""

    value: str = Field(max_length=LABEL_MAX)


class Annotation(Answer):
    """Something that was said about a recording."""

    id: Hex
    recording: Hex
    author: Hex
    author_name: str
    time_ms: Count
    label: str
    text: str
    start_ns: Ns | None
    start: str | None
    end_ns: Ns | None
    end: str | None
    reply_to: Hex | None


class Review(Answer):
    """What a site thinks of a recording."""

    author: Hex
    author_name: str
    time_ms: Count
    value: str


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


class RecordingShown(RecordingDetails):
    """A recording with what is said about it."""

    annotations: list[Annotation]
    reviews: list[Review]
    conflicts: list[Conflict]
    revision: str
