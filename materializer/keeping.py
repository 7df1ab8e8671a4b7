"""What keeps the bytes of a recording: holds, and how long they are to be kept.

A hold stands until somebody lifts it: of two who do both at once, the one who holds wins. Of two who say at once how long a recording is to be kept,
the one with the stronger class wins. So what nobody has seen together never lets bytes go that somebody wanted to keep.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from materializer.fields import (
    LABEL_BYTES_MAX,
    TIME_MAX_NS,
    VALUE_BYTES_MAX,
    Fields,
    PoisonError,
    Reader,
    event_field,
    line_field,
    make_draft,
    need,
    need_fields,
    number_field,
    truth_field,
)
from materializer.values import RETENTION_CLASSES
from peer.core.encoding import sorted_keys
from peer.core.identity import EventId
from peer.core.run import Draft

RECORDING_HOLD = "recording.hold"
RECORDING_RETAIN = "recording.retain"
PERSON_BYTES_MAX = 128
DEFAULT_CLASS = ""
"""Whatever the group says."""
PERMANENT = "permanent"


class RecordingHold(NamedTuple):
    """Nothing of a recording may go while this is `held`."""

    recording: EventId
    held: bool
    reason: str
    site: str = ""
    person: str = ""


class RecordingRetain(NamedTuple):
    """How long a recording is to be kept: by its class, or until a time."""

    recording: EventId
    retention: str
    """One of `RETENTION_CLASSES`, or `DEFAULT_CLASS`."""
    until_ns: int | None
    """None for as long as the class says."""
    reason: str
    site: str = ""
    person: str = ""

    @property
    def strength(self) -> int:
        """Goes up with the class."""
        return RETENTION_CLASSES.index(self.retention) + 1 if self.retention else 0


Keeping = RecordingHold | RecordingRetain


def recording_hold(body: RecordingHold, replaces: Sequence[EventId] = ()) -> Draft:
    """The event that puts a hold on a recording, or lifts it."""
    return make_draft(RECORDING_HOLD, body._asdict(), KEEPING_READERS[RECORDING_HOLD], replaces)


def recording_retain(body: RecordingRetain, replaces: Sequence[EventId] = ()) -> Draft:
    """The event that says how long a recording is to be kept."""
    return make_draft(RECORDING_RETAIN, body._asdict(), KEEPING_READERS[RECORDING_RETAIN], replaces)


_HOLD_FIELDS = sorted_keys(RecordingHold._fields)
_RETAIN_FIELDS = sorted_keys(RecordingRetain._fields)


def _read_hold(fields: Fields) -> RecordingHold:
    need_fields(fields, _HOLD_FIELDS, "a hold")
    held = truth_field(fields["held"])
    return RecordingHold(event_field(fields["recording"]), held, _reason(fields, needed=held), *_author(fields))


def _read_retain(fields: Fields) -> RecordingRetain:
    need_fields(fields, _RETAIN_FIELDS, "a retention")
    retention, until_ns = fields["retention"], fields["until_ns"]
    if type(retention) is not str or (retention != DEFAULT_CLASS and retention not in RETENTION_CLASSES):
        raise PoisonError("a retention of no class")
    if until_ns is not None:
        until_ns = number_field(until_ns, TIME_MAX_NS)
        need(retention not in {DEFAULT_CLASS, PERMANENT}, "an end of what has none")
    return RecordingRetain(event_field(fields["recording"]), retention, until_ns, _reason(fields, needed=True), *_author(fields))


def _reason(fields: Fields, *, needed: bool) -> str:
    reason = line_field(fields["reason"], VALUE_BYTES_MAX)
    need(not needed or bool(reason.strip(" ")), "no reason")
    return reason


def _author(fields: Fields) -> tuple[str, str]:
    return line_field(fields["site"], LABEL_BYTES_MAX), line_field(fields["person"], PERSON_BYTES_MAX)


KEEPING_READERS: Mapping[str, Reader[Keeping]] = {RECORDING_HOLD: _read_hold, RECORDING_RETAIN: _read_retain}
