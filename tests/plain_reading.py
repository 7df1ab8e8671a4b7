"""What events mean, by the plain reading of the rules: all events at once, with nothing of the project in it but their bodies.

No pages, rows, shadows or tables of rights: each rule is one line below. Slow, and on purpose.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from materializer.bodies import read_body
from materializer.fields import PoisonError
from peer.core.certificate import LogKind
from peer.core.control import Role
from peer.core.interfaces import StoredEvent

NONE, WRITER, ADMIN = Role.NONE, Role.WRITER, Role.ADMIN


class Reading(NamedTuple):
    """What there is."""

    recordings: set[bytes]
    files: set[bytes]
    """Events of chunks, more topics and attachments that count."""
    annotations: set[bytes]
    """Those that count, taken back or not."""
    poison: set[bytes]
    receipts: set[bytes]
    """Receipts and releases that count."""
    registers: Mapping[tuple[object, ...], tuple[bytes, frozenset[bytes]]]
    """Of each register, by recording and what it is about, the winner and all writes that nobody replaced."""


class _Said(NamedTuple):
    stored: StoredEvent
    type: str
    body: Any


def plain_reading(events: Iterable[StoredEvent]) -> Reading:
    """What `events`, with the roles that they have, mean together."""
    said, poison = [], set[bytes]()
    for stored in events:
        if stored.kind is LogKind.CONTROL or stored.role is NONE:
            continue
        try:
            body = read_body(stored.event.header.type, stored.event.body)
        except PoisonError:
            poison.add(stored.event.id)
            continue
        if body is not None:
            said.append(_Said(stored, stored.event.header.type, body))
    writers = [each for each in said if each.stored.role >= WRITER]
    creators = {each.stored.event.id: each.stored.author for each in writers if each.type == "recording.create"}
    parts = [each for each in said if each.type in ("chunk.add", "chunk.topics", "attachment.add")]
    files = {each.stored.event.id for each in parts if each in writers and creators.get(each.body.recording) == each.stored.author}
    annotators = {
        each.stored.event.id: (each.body.recording, each.stored.author)
        for each in writers
        if each.type == "annotation.add" and each.body.recording in creators
    }
    receipts = {each.stored.event.id for each in said if each.type in ("blob.receipt", "blob.release")}
    registers: dict[tuple[object, ...], list[_Said]] = {}
    for each in said:
        key = _register(each, creators, annotators)
        if key is not None:
            registers.setdefault(key, []).append(each)
    return Reading(set(creators), files, set(annotators), poison, receipts, {key: _stand(writes) for key, writes in registers.items()})


def _register(each: _Said, creators: Mapping[Any, bytes], annotators: Mapping[Any, tuple[bytes, bytes]]) -> tuple[object, ...] | None:  # noqa: C901, PLR0911
    """Which register an event writes, None if it writes none or may not."""
    role, author, body = each.stored.role, each.stored.author, each.body
    if each.type == "group.set":
        return ("setting", body.key) if role >= ADMIN else None
    if each.type == "machine.set":
        return ("machine", f"{body.key}:{body.machine}") if role >= WRITER else None
    if each.type in {"blob.receipt", "blob.release"} or role < WRITER or body[0] not in creators:
        return None
    owns = creators[body[0]] == author
    match each.type:
        case "recording.finalize":
            return (body.recording, "finalize") if owns or role >= ADMIN else None
        case "recording.delete" | "recording.restore":
            return (body.recording, "deleted") if owns or role >= ADMIN else None
        case "recording.hold" | "recording.retain":
            return (body.recording, "hold" if each.type == "recording.hold" else "retention") if owns or role >= ADMIN else None
        case "recording.tag":
            return (body.recording, "tag", body.tag)
        case "recording.set":
            return (body.recording, "property", body.key)
        case "review.set":
            whose = f"{author.hex()}:{body.person}"
            return (body.recording, *(("review", whose) if body.annotation is None else ("opinion", f"{body.annotation.hex()}:{whose}")))
        case "annotation.delete" | "annotation.edit":
            recording, annotator = annotators.get(body.annotation, (None, None))
            may = recording == body.recording and (annotator == author or role >= ADMIN)
            return (body.recording, "edit" if each.type == "annotation.edit" else "annotation", body.annotation.hex()) if may else None
    return None


def _stand(writes: list[_Said]) -> tuple[bytes, frozenset[bytes]]:
    gone = {ref for each in writes for ref in each.stored.event.header.refs}
    live = [each for each in writes if each.stored.event.id not in gone]
    best = max(live, key=lambda each: (_present(each), each.stored.role, each.stored.event.header.hlc, each.stored.event.id))
    return best.stored.event.id, frozenset(each.stored.event.id for each in live)


def _present(each: _Said) -> int:
    """What wins over any rank and clock: a tag that is there, a hold, the stronger class."""
    match each.type:
        case "recording.tag":
            return int(each.body.present)
        case "recording.hold":
            return int(each.body.held)
        case "recording.retain":
            return ["", "transient", "raw", "summary", "reference", "permanent"].index(each.body.retention)
    return 0
