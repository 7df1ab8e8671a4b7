"""What travels over the admin API about who is in a group, what counts of what they wrote, and what is set for all."""

from typing import Annotated, Literal

from pydantic import Field

from peer.api.models import TEXT_MAX, Answer, Count, Hex, Request, Role

REQUIRED_MAX = 32
GivenRole = Literal["reader", "writer", "admin"]


class MemberChange(Request):
    """Another role for a member."""

    role: GivenRole
    since_ms: Count | None = Field(default=None, description="What it wrote from this Unix time on has the new role, too; null: nothing so far")
    dry_run: bool = False


class LeftOut(Answer):
    """Events of one log that a cut leaves out."""

    log: Hex
    events: Count


class AlsoChanged(Answer):
    """Somebody else who gets another role by a decision."""

    peer_id: Hex
    name: str
    role_before: Role
    role: Role


class MemberChanged(Answer):
    """What was decided, or, with `dry_run`, would be."""

    group_id: Hex
    group: str
    peer_id: Hex
    name: str
    role_before: Role
    role: Role
    dry_run: bool
    would_leave_out: list[LeftOut]
    also_changed: list[AlsoChanged]
    is_current: bool = Field(description="Whether this site has all that some linked site had: what is not here yet is in no cut")


class EventVoid(Request):
    """An event that is not to count."""

    event: str = Field(max_length=TEXT_MAX, description="Its id, or at least the first 6 digits of it")


class EventVoided(Answer):
    """An event that counts no more."""

    group_id: Hex
    group: str
    event_id: Hex
    type: str
    author: Hex
    author_name: str
    void: bool


class SettingChange(Request):
    """A setting and its new value; the empty text takes it away. Text is read as the key asks for: a number, or keys with commas between them."""

    key: str = Field(max_length=TEXT_MAX)
    value: Annotated[str, Field(max_length=TEXT_MAX)] | int | bool | Annotated[list[str], Field(max_length=REQUIRED_MAX)]


class SettingValue(Answer):
    """What somebody wrote."""

    value: str | int | bool | list[str]
    author: Hex
    author_name: str
    event_id: Hex


class Setting(Answer):
    """A setting as it stands: the first of the values that were written at the same time holds."""

    key: str
    value: str | int | bool | list[str]
    conflict: bool
    values: list[SettingValue]


class LogRotate(Request):
    """New logs for what is written next."""

    seal: str | None = Field(default=None, max_length=TEXT_MAX, description="An own log of which nothing is to count beyond what is held here")


class RotatedLog(Answer):
    """A log that is not written on any more."""

    kind: Literal["data", "control"]
    log: Hex


class LogsRotated(Answer):
    """What became of the logs."""

    group_id: Hex
    group: str
    rotated: list[RotatedLog]
    sealed: Hex | None
