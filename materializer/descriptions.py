"""What registers and annotations say, read from `views.db`: settings of a group, machines, tags, properties, reviews, notes on recordings."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from materializer.bodies import RECORDING_FINALIZE, RecordingFinalize, read_body
from materializer.registers import (
    DELETED,
    FINALIZE,
    HOLD,
    MACHINE_PREFIX,
    OPINION_PREFIX,
    PROPERTY_PREFIX,
    RETENTION,
    REVIEW_PREFIX,
    SETTING_PREFIX,
    TAG_PREFIX,
    TRUE,
    annotation_register,
    edit_register,
)
from materializer.reviews import TAKEN_BACK, average, is_value
from materializer.tables import Connection, Place, Row, find_recording, projected_rows
from peer.core.control import Role
from peer.core.encoding import Value, decode
from peer.core.hashing import hash_bytes
from peer.core.identity import EventId, PeerId
from peer.core.views import AnnotationView, HoldView, MachineView, RegisterView, RegisterWrite, RetentionView, ReviewView

REVISION_SIZE = 16
NO_VALUE = ""
"""What a property or setting holds that was taken away."""
IS_DELETED = (
    "(EXISTS (SELECT 1 FROM registers w WHERE w.holder = r.recording_no AND w.register = 'deleted' AND w.wins AND w.value = x'f5') "
    "AND NOT EXISTS (SELECT 1 FROM registers w WHERE w.holder = r.recording_no AND w.register = 'hold' AND w.wins AND w.preference))"
)
"""Of a recording `r`: it was deleted, and not restored since, and no hold stands."""
_HOLDS = "SELECT EXISTS (SELECT 1 FROM registers WHERE holder = ? AND register = ? AND wins AND value = ?)"

_WINNER = "SELECT author, hlc, value FROM registers WHERE holder = ? AND register = ? AND wins"
_RECORDED = (
    "SELECT machine, count(*) FROM recordings r WHERE group_no = ? AND counts AND machine <> '' "  # noqa: S608  (our own words)
    f"AND NOT {IS_DELETED} GROUP BY machine"
)


class Description(NamedTuple):
    """What the registers of a recording say together."""

    tags: list[str]
    properties: dict[str, Value]
    reviews: list[ReviewView]
    review_count: int
    review_average: str | None
    conflicts: list[RegisterView]
    deleted: bool
    deleted_hlc: int | None
    hold: HoldView | None
    retention: RetentionView | None
    revision: bytes


def read_description(connection: Connection, place: Place, recording_no: int) -> Description:
    """What the registers of a recording say."""
    registers = read_registers(connection, place, recording_no)
    reviews = [review for register in registers.values() if (review := _review(register)) is not None]
    hold, deletion = _hold(registers.get(HOLD)), registers.get(DELETED)
    deleted_hlc = deletion.writes[0].hlc if deletion is not None and deletion.value is True else None
    counted = [review.value for review in reviews if review.annotation is None and is_value(review.value)]
    return Description(
        tags=[name.removeprefix(TAG_PREFIX) for name, register in registers.items() if name.startswith(TAG_PREFIX) and register.value is True],
        properties={
            name.removeprefix(PROPERTY_PREFIX): register.value
            for name, register in registers.items()
            if name.startswith(PROPERTY_PREFIX) and register.value != NO_VALUE
        },
        reviews=sorted(reviews, key=lambda review: (review.annotation or b"", review.author, review.person)),
        review_count=len(counted),
        review_average=average(counted),
        conflicts=[register for register in registers.values() if register.is_conflict],
        deleted=deleted_hlc is not None and hold is None,
        deleted_hlc=deleted_hlc,
        hold=hold,
        retention=_retention(registers.get(RETENTION)),
        revision=hash_bytes(b"".join(sorted(write.event_id for register in registers.values() for write in register.writes)))[:REVISION_SIZE],
    )


def read_registers(connection: Connection, place: Place, recording_no: int) -> dict[str, RegisterView]:
    """The registers of a recording, by name; of finalizes only those that are in conflict."""
    rows = ((row[0], *row[2:]) for row in projected_rows(connection, "registers", place.group_no, recording_no))
    return _grouped(rows)


def read_settings(connection: Connection, place: Place) -> list[RegisterView]:
    """The settings of a group, by key."""
    return list(_group_registers(connection, place, SETTING_PREFIX).values())


def read_machines(connection: Connection, place: Place) -> list[MachineView]:
    """The machines of a group by name: those that somebody described, and those that recordings name."""
    described: dict[str, list[RegisterView]] = {}
    for name, register in _group_registers(connection, place, MACHINE_PREFIX).items():
        key, _, machine = name.partition(":")
        described.setdefault(machine, []).append(register._replace(name=key))
    recorded = dict(connection.execute(_RECORDED, (place.group_no,)).fetchall())
    return [MachineView(place.group, name, described.get(name, []), recorded.get(name, 0)) for name in sorted({*described, *recorded})]


def read_annotations(connection: Connection, place: Place, recording_no: int | None) -> list[AnnotationView]:
    """What was said about a recording, or all of a group, and not taken back; by time in the recording."""
    found = []
    for annotation, recording, author, hlc, *said in projected_rows(connection, "annotations", place.group_no, recording_no):
        parent = find_recording(connection, place.group_no, recording)
        assert parent is not None, "an annotation counts only where its recording does"
        if not _holds(connection, parent[0], annotation_register(EventId(annotation))):
            view = AnnotationView(EventId(annotation), EventId(recording), PeerId(author), int.from_bytes(hlc, "big"), *said)
            found.append(_edited(connection, parent[0], view))
    return sorted(found, key=lambda each: (each.recording, -1 if each.start_ns is None else each.start_ns, each.hlc, each.annotation))


def is_deleted(connection: Connection, recording_no: int) -> bool:
    """True if a recording was deleted, and not restored since, and no hold stands."""
    (deleted,) = connection.execute(f"SELECT {IS_DELETED} FROM recordings r WHERE recording_no = ?", (recording_no,)).fetchone()  # noqa: S608
    return bool(deleted)


def _holds(connection: Connection, recording_no: int, register: str) -> bool:
    """True if a register of a recording says yes."""
    (holds,) = connection.execute(_HOLDS, (recording_no, register, TRUE)).fetchone()
    return bool(holds)


def _edited(connection: Connection, recording_no: int, view: AnnotationView) -> AnnotationView:
    """An annotation as it was changed last, if it was."""
    row = connection.execute(_WINNER, (recording_no, edit_register(view.annotation))).fetchone()
    if row is None:
        return view
    author, hlc, data = row
    said: Any = decode(data)
    return view._replace(
        label=said["label"],
        text=said["text"],
        start_ns=said["start_ns"],
        end_ns=said["end_ns"],
        edited_by=PeerId(author),
        edited_site=said["site"],
        edited_person=said["person"],
        edited_hlc=int.from_bytes(hlc, "big"),
    )


def _review(register: RegisterView) -> ReviewView | None:
    """The review that a register holds, None if it holds none."""
    kind, _, name = register.name.partition(":")
    if f"{kind}:" not in {REVIEW_PREFIX, OPINION_PREFIX}:
        return None
    said: Any = register.value
    if said["value"] == TAKEN_BACK:
        return None
    annotation = None
    if f"{kind}:" == OPINION_PREFIX:
        digits, _, name = name.partition(":")
        annotation = EventId(bytes.fromhex(digits))
    write = register.writes[0]
    return ReviewView(write.author, write.hlc, said["value"], said["site"], name.partition(":")[2], annotation)


def _hold(register: RegisterView | None) -> HoldView | None:
    """The hold that stands, None if none does."""
    if register is None:
        return None
    said: Any = register.value
    write = register.writes[0]
    return HoldView(write.author, write.hlc, said["reason"], said["site"], said["person"]) if said["held"] else None


def _retention(register: RegisterView | None) -> RetentionView | None:
    """How long a recording is to be kept, None if nobody said anything but what the group says."""
    if register is None:
        return None
    said: Any = register.value
    write = register.writes[0]
    if not said["retention"]:
        return None
    return RetentionView(write.author, write.hlc, said["retention"], said["until_ns"], said["reason"], said["site"], said["person"])


def _group_registers(connection: Connection, place: Place, prefix: str) -> Mapping[str, RegisterView]:
    """The registers of the group itself whose names begin so, by the rest of their names."""
    found = _grouped(row for row in projected_rows(connection, "settings", place.group_no) if row[1].startswith(prefix))
    return {name.removeprefix(prefix): register._replace(name=name.removeprefix(prefix)) for name, register in found.items()}


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
