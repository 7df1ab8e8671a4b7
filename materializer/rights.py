"""Who may write what: the table of the design, in one place. An event that its author may not write is ignored, the same everywhere.

The role is that of the author at that event. What somebody owns is their recording, or their annotation.
"""

from enum import StrEnum
from typing import NamedTuple

from peer.core.control import Role


class Action(StrEnum):
    """What an event does."""

    CREATE = "create a recording"
    ADD = "add chunks, their topics, or attachments to a recording"
    FINALIZE = "finalize a recording"
    DELETE = "delete or restore a recording"
    KEEP = "hold a recording, or say how long it is to be kept"
    DESCRIBE = "give a recording a title or tag"
    ANNOTATE = "annotate a recording"
    CHANGE_ANNOTATION = "let an annotation say something else"
    UNANNOTATE = "delete an annotation"
    REVIEW = "review a recording or an annotation"
    SETTING = "set something for the group"
    MACHINE = "describe a machine"
    HOLD = "say which bytes its author holds"


class Right(NamedTuple):
    """The lowest role that may do it; None if nobody may."""

    own: Role | None
    """To what is one's own."""
    other: Role | None
    """To what is somebody else's, or nobody's."""


RIGHTS = {
    Action.CREATE: Right(Role.WRITER, Role.WRITER),
    Action.ADD: Right(Role.WRITER, None),
    Action.FINALIZE: Right(Role.WRITER, Role.ADMIN),
    Action.DELETE: Right(Role.WRITER, Role.ADMIN),
    Action.KEEP: Right(Role.WRITER, Role.ADMIN),
    Action.DESCRIBE: Right(Role.WRITER, Role.WRITER),
    Action.ANNOTATE: Right(Role.WRITER, Role.WRITER),
    Action.CHANGE_ANNOTATION: Right(Role.WRITER, Role.ADMIN),
    Action.UNANNOTATE: Right(Role.WRITER, Role.ADMIN),
    Action.REVIEW: Right(Role.WRITER, Role.WRITER),
    Action.SETTING: Right(Role.ADMIN, Role.ADMIN),
    Action.MACHINE: Right(Role.WRITER, Role.WRITER),
    Action.HOLD: Right(Role.READER, Role.READER),
}


def may(action: Action, role: Role, *, own: bool) -> bool:
    """True if somebody with `role` may do it, to what is their `own` or somebody else's."""
    right = RIGHTS[action]
    least = right.own if own else right.other
    return least is not None and role >= least
