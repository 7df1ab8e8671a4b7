"""What travels over the admin API, as pydantic models: requests are checked against them, `openapi.json` is made of them."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from peer.core.orders import State

Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="32 bytes as lowercase hexadecimal digits")]
Ns = Annotated[str, Field(pattern=r"^[0-9]+$", description="Nanoseconds of Unix time, as a decimal string")]
Count = Annotated[int, Field(ge=0)]
Role = Literal["none", "reader", "writer", "admin", "owner"]
RecordingState = State
PATHS_MAX = 10_000
TEXT_MAX = 4096
TIMEOUT_MS_MAX = 24 * 3600 * 1000


class Request(BaseModel):
    """A body that somebody sends: what is not known is refused."""

    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)


class Answer(BaseModel):
    """A body that is sent back."""

    model_config = ConfigDict(extra="forbid", defer_build=True)


class GroupCreate(Request):
    """A group to begin."""

    name: str = Field(max_length=TEXT_MAX)
    owners: list[str] = Field(default_factory=list, max_length=64)


class InvitationCreate(Request):
    """An invitation to make."""

    role: Literal["reader", "writer", "admin"] = "writer"
    expires_in_ms: int = Field(default=24 * 3600 * 1000, ge=1)


class GroupJoin(Request):
    """An invitation to use."""

    invitation: str = Field(max_length=TEXT_MAX)
    wait: bool = True
    timeout_ms: int = Field(default=30_000, ge=1, le=TIMEOUT_MS_MAX)


class RecordingAdd(Request):
    """Files of this machine to share: MCAP files in their order, or one folder."""

    paths: list[str] = Field(min_length=1, max_length=PATHS_MAX)
    group: str | None = Field(default=None, max_length=TEXT_MAX)
    name: str | None = Field(default=None, max_length=TEXT_MAX)
    tags: list[str] = Field(default_factory=list, max_length=64)
    machine: str | None = Field(default=None, max_length=256)
    take: Literal["copy", "link", "move"] = "copy"
    open: bool = False
    """True if more files are to come: then it is not finalized."""
    operator: str | None = Field(default=None, max_length=256, description="Who adds it")
    dropped: list[Count] = Field(default_factory=list, max_length=PATHS_MAX, description="Messages that the recorder dropped, for each MCAP file")
    check: bool = Field(default=False, description="Unpack all that the files hold, and look at its checksums")


class TokenCreate(Request):
    """A token to make."""

    name: str = Field(max_length=TEXT_MAX)
    tier: Literal["viewer", "operator", "admin"] = "viewer"
    expires_in_ms: int = Field(default=90 * 24 * 3600 * 1000, ge=1)


class Verify(Request):
    """How thoroughly to check."""

    deep: bool = False


class Empty(Request):
    """Nothing."""


class Problem(Answer):
    """What went wrong (RFC 9457), with the stable code of the error tree."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    fix: str


class Member(Answer):
    """Somebody in a group."""

    peer_id: Hex
    name: str
    role: Role


class Group(Answer):
    """A group as it is here."""

    group_id: Hex
    name: str
    role: Role
    owners: list[Hex]
    members: list[Member]
    events: Count
    state_digest: Hex
    conflicts: list[object]
    created_ms: Count


class InvitationMade(Answer):
    """A new invitation. The line is told once and kept nowhere."""

    invitation: str
    id: Hex
    group_id: Hex
    role: Role
    expires_ms: Count
    endpoint: str


class Invitation(Answer):
    """An invitation as the group knows it."""

    id: Hex
    role: Role
    state: Literal["open", "used", "expired", "revoked", "void"]
    expires_ms: Count
    author: Hex
    author_name: str
    used_by: Hex | None
    used_by_name: str | None


class Event(Answer):
    """A signed entry of the history."""

    position: Count
    event_id: Hex
    group_id: Hex
    log: Hex
    kind: Literal["data", "control"]
    seq: Count
    author: Hex
    author_name: str
    type: str
    time_ms: Count
    hlc: str
    refs: list[Hex]
    body: dict[str, object] | None
    unreadable: str | None
    """Why it says nothing: its body does not fit the schema of its type."""


class EventPage(Answer):
    """Some events; `next` is the `after` of the next page."""

    events: list[Event]
    next: Count


class SharedGroup(Answer):
    """A group that a peer is in."""

    group_id: Hex
    name: str
    role: Role


class Peer(Answer):
    """Another peer."""

    peer_id: Hex
    name: str
    state: str
    source: str
    endpoints: list[str]
    learned_from: Hex | None
    ttl: int | None
    online: bool | None
    paused: bool
    expected_groups: list[str]
    shared_groups: list[SharedGroup]


class Recording(Answer):
    """A recording in a list."""

    model_config = ConfigDict(extra="allow")

    id: Hex
    group: Hex
    name: str
    site: Hex
    site_name: str
    machine: str
    state: RecordingState
    size_bytes: Count
    chunk_count: Count
    message_count: Count
    start_time_ns: Ns | None
    start_time: str | None
    end_time_ns: Ns | None
    end_time: str | None
    tags: list[str]
    title: str | None
    properties: dict[str, str | int | bool]
    missing_properties: list[str]
    review_count: Count
    review_average: str | None
    deleted: bool
    manifest_id: Hex | None
    finalized: bool
    copies: Count
    copies_wanted: Count
    bytes_here: Count


class RecordingPage(Answer):
    """Some recordings; `next` is the `cursor` of the next page, null on the last."""

    recordings: list[Recording]
    next: str | None


class Embedded(Answer):
    """Something in an MCAP file that is no message."""

    kind: Literal["metadata", "attachment"]
    name: str
    media_type: str
    size_bytes: Count


class Chunk(Answer):
    """A file of a recording."""

    model_config = ConfigDict(extra="allow")

    index: Count
    name: str
    source_name: str
    blob_id: Hex
    sha256: Hex
    size_bytes: Count
    library: str
    dropped_message_count: Count | None
    embedded: list[Embedded]


class Topic(Answer):
    """A topic of a recording."""

    model_config = ConfigDict(extra="allow")

    topic: str
    schema_: str = Field(alias="schema")
    schema_hash: Hex | None
    encoding: str
    message_count: Count


class Replica(Answer):
    """A site that holds all bytes."""

    peer_id: Hex
    name: str


class Provenance(Answer):
    """Who added a recording with what, from where; empty where that is not known."""

    tool: str
    version: str
    host: str
    source_path: str
    operator: str


class RecordingDetails(Recording):
    """A recording with all that belongs to it. `late` are files that its finalize does not list."""

    profile: str
    provenance: Provenance
    manifest_state: Literal["complete", "waiting", "mismatch", "newer"] | None
    dropped_message_count: Count | None
    chunks: list[Chunk]
    attachments: list[Chunk]
    late: list[Chunk]
    topics: list[Topic]
    replicas: list[Replica]


class VerifyProblem(Answer):
    """Something that is not what it should be."""

    code: str
    what: str
    where: str


class Verified(Answer):
    """What was checked, and what was found."""

    ok: bool
    checked: dict[str, Count]
    problems: list[VerifyProblem]


class Token(Answer):
    """A token, without its secret."""

    name: str
    tier: Literal["viewer", "operator", "admin"]
    state: Literal["valid", "expired"]
    created_ms: Count
    expires_ms: Count


class TokenMade(Token):
    """A new token. Its secret is told this once and kept nowhere."""

    token: str


class Health(Answer):
    """Whether it works."""

    ok: bool
