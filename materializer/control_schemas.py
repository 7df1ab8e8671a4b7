"""The bodies of control events as pydantic models: what is published, like those of data events in `schemas`.

`peer.core.control` reads them, and decides. A property test holds both to the same answer.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, Strict, ValidationError, WithJsonSchema, model_validator

from materializer.schemas import HEX, Body, Hash, Name
from peer.core import control
from peer.core.encoding import decode_map
from peer.core.event import UINT64_MAX
from peer.errors import NotCanonicalError

AssignableRole = Literal["none", "reader", "writer", "admin"]
Height = Annotated[int, Field(ge=1, le=UINT64_MAX)]
Point = Annotated[tuple[Hash, Height, Hash], Strict(strict=False)]
"""A log, the number of an event in it counted from 1, the id of that event: it stands for the event and its ancestors."""
Points = Annotated[list[Point], Field(max_length=control.POINTS_MAX)]
InviteKey = Annotated[Any, WithJsonSchema(HEX)]
"""What is no bytes here was never more than passed over, and has to stay so: who is a member hangs on it."""


class MemberSet(Body):
    """A decision on a peer: its role, and which of its events keep the role that they had."""

    peer_id: Hash
    name: Name
    role: AssignableRole
    cut: Points = Field(default=[])
    invite: InviteKey = None


class MemberLeave(Body):
    """Its author wants to be removed."""


class Invite(Body):
    """The public half of an invitation; role none revokes it."""

    key: Hash
    role: AssignableRole
    expires_ms: Annotated[int, Field(ge=0)]


class EventVoid(Body):
    """A data event is not to count any more."""

    event_id: Hash


class LogSeal(Body):
    """Of a log of the same author only these events and their ancestors count."""

    log: Hash
    tips: Points

    @model_validator(mode="after")
    def _one_log(self) -> "LogSeal":
        if any(log != self.log for log, _, _ in self.tips):
            raise ValueError("a tip of another log")
        return self


CONTROL_SCHEMAS: Mapping[str, type[Body]] = {
    control.MEMBER_SET: MemberSet,
    control.MEMBER_LEAVE: MemberLeave,
    control.INVITE: Invite,
    control.EVENT_VOID: EventVoid,
    control.LOG_SEAL: LogSeal,
}
"""All types of control events that are known."""


def fits_control(type_: str, body: bytes) -> bool:
    """True if a body fits the schema of its type, which must be known."""
    try:
        CONTROL_SCHEMAS[type_].model_validate(decode_map(body))
    except (NotCanonicalError, ValidationError):
        return False
    return True
