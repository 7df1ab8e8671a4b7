"""Registers as people see and write them: what holds, what was written at the same time, and the events that replace all of it."""

from collections.abc import Callable, Sequence

from peer.core.clock import hlc_ms
from peer.core.event import REFS_MAX
from peer.core.identity import EventId, PeerId
from peer.core.interfaces import LaterDrafts
from peer.core.run import Draft
from peer.core.views import RegisterView
from peer.operations.json_form import Json, to_json

REPLACED_MAX = 1024
"""Writes that one edit replaces, the winner first. Who wrote more than that at once is a nuisance, and the next edit goes on."""

MakeDraft = Callable[[Sequence[EventId]], Draft]
"""Makes the draft of a write that replaces these."""


def describe_register(register: RegisterView, name_of: Callable[[PeerId], str]) -> Json:
    """A register with its value, and with every write that nobody replaced, the one that wins first."""
    return {
        "key": register.name,
        "value": to_json(register.value),
        "conflict": register.is_conflict,
        "writes": [
            {
                "event_id": write.event_id.hex(),
                "value": to_json(write.value),
                "author": write.author.hex(),
                "author_name": name_of(write.author),
                "role": write.role.label,
                "time_ms": hlc_ms(write.hlc),
            }
            for write in register.writes
        ],
    }


def replace_all(register: RegisterView | None, make: MakeDraft) -> tuple[Draft, list[LaterDrafts]]:
    """What to write so that all live writes of a register are replaced: the first draft, and those that follow where they are too many for one."""
    live = [write.event_id for write in register.writes[:REPLACED_MAX]] if register else []
    rest = live[REFS_MAX:]
    parts = [rest[start : start + REFS_MAX - 1] for start in range(0, len(rest), REFS_MAX - 1)]
    return make(live[:REFS_MAX]), [_follow(part, make) for part in parts]


def _follow(part: Sequence[EventId], make: MakeDraft) -> LaterDrafts:
    return lambda written: [make([written[-1], *part])]
