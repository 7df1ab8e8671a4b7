"""What registers and annotations say, read from `views.db`: settings of a group, tags, properties, reviews, what was said about a recording."""

from collections.abc import Iterable
from typing import NamedTuple

from materializer.bodies import RECORDING_FINALIZE, RecordingFinalize, read_body
from materializer.registers import DELETED, FINALIZE, PROPERTY_PREFIX, REVIEW_PREFIX, SETTING_PREFIX, TAG_PREFIX, TRUE, annotation_register
from materializer.tables import Connection, Place, Row, find_recording, projected_rows
from peer.core.control import Role
from peer.core.encoding import Value, decode
from peer.core.hashing import hash_bytes
from peer.core.identity import EventId, PeerId
from peer.core.views import AnnotationView, RegisterView, RegisterWrite, ReviewView

REVISION_SIZE = 16
_HOLDS = "SELECT EXISTS (SELECT 1 FROM registers WHERE holder = ? AND register = ? AND wins AND value = ?)"


class Description(NamedTuple):
    """What the registers of a recording say together."""

    tags: list[str]
    properties: dict[str, str]
    reviews: list[ReviewView]
    conflicts: list[RegisterView]
    deleted: bool
    revision: bytes


def read_description(connection: Connection, place: Place, recording_no: int) -> Description:
    """What the registers of a recording say."""
    registers = read_registers(connection, place, recording_no)
    return Description(
        tags=[name.removeprefix(TAG_PREFIX) for name, register in registers.items() if name.startswith(TAG_PREFIX) and register.value is True],
        properties={
            name.removeprefix(PROPERTY_PREFIX): str(register.value)
            for name, register in registers.items()
            if name.startswith(PROPERTY_PREFIX) and register.value
        },
        reviews=[
            ReviewView(register.writes[0].author, register.writes[0].hlc, str(register.value))
            for name, register in registers.items()
            if name.startswith(REVIEW_PREFIX) and register.value
        ],
        conflicts=[register for register in registers.values() if register.is_conflict],
        deleted=DELETED in registers and registers[DELETED].value is True,
        revision=hash_bytes(b"".join(sorted(write.event_id for register in registers.values() for write in register.writes)))[:REVISION_SIZE],
    )


def read_registers(connection: Connection, place: Place, recording_no: int) -> dict[str, RegisterView]:
    """The registers of a recording, by name; of finalizes only those that are in conflict."""
    rows = ((row[0], *row[2:]) for row in projected_rows(connection, "registers", place.group_no, recording_no))
    return _grouped(rows)


def read_settings(connection: Connection, place: Place) -> list[RegisterView]:
    """The settings of a group, by key."""
    found = _grouped(projected_rows(connection, "settings", place.group_no))
    return [register._replace(name=name.removeprefix(SETTING_PREFIX)) for name, register in found.items()]


def read_annotations(connection: Connection, place: Place, recording_no: int | None) -> list[AnnotationView]:
    """What was said about a recording, or all of a group, and not taken back; by time in the recording."""
    found = []
    for annotation, recording, author, hlc, *said in projected_rows(connection, "annotations", place.group_no, recording_no):
        parent = find_recording(connection, place.group_no, recording)
        assert parent is not None, "an annotation counts only where its recording does"
        if not _holds(connection, parent[0], annotation_register(EventId(annotation))):
            found.append(AnnotationView(EventId(annotation), EventId(recording), PeerId(author), int.from_bytes(hlc, "big"), *said))
    return sorted(found, key=lambda each: (each.recording, -1 if each.start_ns is None else each.start_ns, each.hlc, each.annotation))


def is_deleted(connection: Connection, recording_no: int) -> bool:
    """True if a recording was deleted, and not restored since."""
    return _holds(connection, recording_no, DELETED)


def _holds(connection: Connection, recording_no: int, register: str) -> bool:
    """True if a register of a recording says yes."""
    (holds,) = connection.execute(_HOLDS, (recording_no, register, TRUE)).fetchone()
    return bool(holds)


def _grouped(rows: Iterable[Row]) -> dict[str, RegisterView]:
    """Registers by name, from their rows: id, register, author, rank, clock, value, whether it wins."""
    by_name: dict[str, list[Row]] = {}
    for row in rows:
        by_name.setdefault(row[1], []).append(row)
    return {
        name: RegisterView(name, [_write(row) for row in sorted(found, key=_winner_first)])
        for name, found in sorted(by_name.items())
        if name != FINALIZE or len(found) > 1
    }


def _winner_first(row: Row) -> tuple[bool, int, int, bytes]:
    event_id, _, _, rank, hlc, _, wins = row
    return not wins, -rank, -int.from_bytes(hlc, "big"), event_id


def _write(row: Row) -> RegisterWrite:
    event_id, register, author, rank, hlc, value, _ = row
    return RegisterWrite(EventId(event_id), PeerId(author), Role(rank), int.from_bytes(hlc, "big"), _value(register, value))


def _value(register: str, data: bytes) -> Value:
    if register != FINALIZE:
        return decode(data)
    body = read_body(RECORDING_FINALIZE, data)
    assert isinstance(body, RecordingFinalize)
    return body.manifest_id
