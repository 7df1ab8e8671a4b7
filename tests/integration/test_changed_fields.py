"""Each field of an event changed one at a time, in bytes or by its author, said over a live link by a member.

The run is refused with its own code, log.db has not a row more, and the link goes on: what the same member writes well is stored right after.
"""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from peer.core.encoding import encode
from peer.core.event import Header
from peer.core.hashing import hash_bytes
from peer.core.identity import EventId, GroupId, LogId
from peer.core.run import Draft
from tests.integration.hostile_peer import events, rows
from tests.integration.hostile_scene import EVENTS, OTHER, Parts, Scene, event_id, forged, goes_on, scene, signed_by
from tests.samples import SampleLog, note, parts

__all__ = ["scene"]

CHANGES: Mapping[str, Callable[[Header], object]] = {
    "version": lambda _: 2,
    "group": lambda _: OTHER,
    "log": lambda _: OTHER,
    "seq": lambda header: header.seq + 1,
    "previous": lambda _: OTHER,
    "hlc": lambda header: header.hlc + 1,
    "type": lambda _: "other",
    "refs": lambda _: [OTHER],
    "body_size": lambda header: header.body_size + 1,
    "body_hash": lambda _: OTHER,
}

AFTER_SIGNING = {
    # A field of the header: the code if it is changed in the first event of the run, and in the last, which is signed.
    "version": ("event_version_unknown", "event_version_unknown"),
    "group": ("wrong_log", "wrong_log"),
    "log": ("wrong_log", "wrong_log"),
    "seq": ("log_gap", "signature_mismatch"),
    "previous": ("log_gap", "signature_mismatch"),
    "hlc": ("log_gap", "signature_mismatch"),
    "type": ("log_gap", "signature_mismatch"),
    "refs": ("log_gap", "signature_mismatch"),
    "body_size": ("body_mismatch", "body_mismatch"),
    "body_hash": ("body_mismatch", "body_mismatch"),
}


def test_no_field_of_a_header_is_left_out() -> None:
    assert tuple(CHANGES) == tuple(AFTER_SIGNING) == Header._fields


@pytest.mark.parametrize("place", [0, EVENTS - 1], ids=["first", "last"])
@pytest.mark.parametrize("name", CHANGES)
async def test_a_field_of_a_header_changed_after_signing(scene: Scene, name: str, place: int) -> None:
    log = scene.log()
    run = log.write_notes(EVENTS)
    made = parts(run)
    header = run.events[place].header
    made[place] = forged(list(header._replace(**{name: CHANGES[name](header)})), run.events[place].body)
    before = rows(scene.lab, scene.site)
    await scene.mallory.announce(log)
    await scene.mallory.say(events(log, made, run.signature))

    assert await scene.mallory.is_refused(log.certificate.log) == AFTER_SIGNING[name][place > 0]
    await goes_on(scene, before)


def rewritten(log: SampleLog, place: int, change: Callable[[Header], Header], body: bytes | None = None) -> Parts:
    """Three events of which one is as `change` makes it, and those after it follow it."""
    run = log.write_notes(EVENTS)
    made: Parts = []
    before: bytes | None = None
    for number, event in enumerate(run.events):
        header = event.header if before is None else event.header._replace(previous=before)
        if number == place:
            header = change(header)
        made.append(forged(list(header), event.body if body is None or number != place else body))
        before = event_id(made[-1][0])
    return made


def other_body(body: bytes) -> Callable[[Header], Header]:
    return lambda header: header._replace(body_size=len(body), body_hash=hash_bytes(body))


WELL_SIGNED: Mapping[str, tuple[str, Callable[[SampleLog], Parts]]] = {
    # What is wrong: its code, and the events, which their author links and signs as they are.
    "a first event that does not begin the log": ("log_gap", lambda log: rewritten(log, 0, lambda header: header._replace(previous=OTHER))),
    "a middle event that follows another": ("log_gap", lambda log: rewritten(log, 1, lambda header: header._replace(previous=OTHER))),
    "a last event that follows another": ("log_gap", lambda log: rewritten(log, 2, lambda header: header._replace(previous=OTHER))),
    "a gap": ("log_gap", lambda log: rewritten(log, 1, lambda header: header._replace(seq=2))),
    "the same position twice": ("log_gap", lambda log: rewritten(log, 1, lambda header: header._replace(seq=0))),
    "a clock that stands": ("clock_not_increasing", lambda log: rewritten(log, 1, lambda header: header._replace(hlc=log_hlc(log) - (2 << 16)))),
    "a clock that goes back": ("clock_not_increasing", lambda log: rewritten(log, 1, lambda header: header._replace(hlc=0))),
    "a clock beyond which there is none": ("clock_not_increasing", lambda log: rewritten(log, 1, lambda header: header._replace(hlc=2**64 - 1))),
    "a clock of 65 bits": ("not_canonical", lambda log: rewritten(log, 1, lambda header: header._replace(hlc=2**64))),
    "a clock below 0": ("header_invalid", lambda log: rewritten(log, 1, lambda header: header._replace(hlc=-1))),
    "a wrong body hash": ("body_mismatch", lambda log: rewritten(log, 1, lambda header: header._replace(body_hash=OTHER))),
    "a wrong body hash at the end": ("body_mismatch", lambda log: rewritten(log, 2, lambda header: header._replace(body_hash=OTHER))),
    "a wrong body size": ("body_mismatch", lambda log: rewritten(log, 1, lambda header: header._replace(body_size=0))),
    "another body": ("body_mismatch", lambda log: rewritten(log, 1, lambda header: header, b"other")),
    "a body of 65537 bytes": ("header_invalid", lambda log: rewritten(log, 1, other_body(bytes(65537)), bytes(65537))),
    "another group": ("wrong_log", lambda log: rewritten(log, 1, lambda header: header._replace(group=GroupId(OTHER)))),
    "another group at the end": ("wrong_log", lambda log: rewritten(log, 2, lambda header: header._replace(group=GroupId(OTHER)))),
    "another log": ("wrong_log", lambda log: rewritten(log, 1, lambda header: header._replace(log=LogId(OTHER)))),
    "another log at the begin": ("wrong_log", lambda log: rewritten(log, 0, lambda header: header._replace(log=LogId(OTHER)))),
    "17 refs": ("header_invalid", lambda log: rewritten(log, 1, lambda header: header._replace(refs=[EventId(OTHER)] * 17))),
    "a ref of 31 bytes": ("header_invalid", lambda log: rewritten(log, 1, lambda header: header._replace(refs=[EventId(OTHER[1:])]))),
    "refs that are no list": ("header_invalid", lambda log: rewritten(log, 1, lambda header: header._replace(refs=b""))),  # type: ignore[arg-type]
    "a type of 65 bytes": ("header_invalid", lambda log: rewritten(log, 1, lambda header: header._replace(type="x" * 65))),
    "a type of 33 letters and 66 bytes": ("header_invalid", lambda log: rewritten(log, 1, lambda header: header._replace(type="ü" * 33))),
    "no type": ("header_invalid", lambda log: rewritten(log, 1, lambda header: header._replace(type=""))),
    "a type that is bytes": ("header_invalid", lambda log: rewritten(log, 1, lambda header: header._replace(type=b"note"))),  # type: ignore[arg-type]
    "version 2": ("event_version_unknown", lambda log: rewritten(log, 1, lambda header: header._replace(version=2))),
    "version 0 at the end": ("event_version_unknown", lambda log: rewritten(log, 2, lambda header: header._replace(version=0))),
    "version true": ("header_invalid", lambda log: rewritten(log, 1, lambda header: header._replace(version=True))),
    "a field too few": ("header_invalid", lambda log: reshaped(log, lambda fields: fields[:-1])),
    "a field too many": ("header_invalid", lambda log: reshaped(log, lambda fields: [*fields, 0])),
    "a header that is a map": ("header_invalid", lambda log: reshaped(log, lambda fields: {str(place): field for place, field in enumerate(fields)})),
    "a header that is no array": ("header_invalid", lambda log: reshaped(log, lambda fields: fields[1])),
    "an empty header": ("header_invalid", lambda log: reshaped(log, lambda _: [])),
    "more than 256 KiB": ("run_too_long", lambda log: parts(log.write(*[Draft("note", bytes(65536))] * 4, note()))),
}


def log_hlc(log: SampleLog) -> int:
    assert log.tip is not None
    return log.tip.header.hlc


def reshaped(log: SampleLog, change: Callable[[list[Any]], object]) -> Parts:
    """Three events of which the middle one is another CBOR value; the last follows it."""
    run = log.write_notes(EVENTS)
    middle = encode(change(list(run.events[1].header)))
    last = encode(list(run.last.header._replace(previous=event_id(middle))))
    return [(run.first.header_bytes, run.first.body), (middle, run.events[1].body), (last, run.last.body)]


@pytest.mark.parametrize("wrong", WELL_SIGNED)
async def test_what_its_author_signed_and_is_wrong_inside(scene: Scene, wrong: str) -> None:
    code, make = WELL_SIGNED[wrong]
    log = scene.log()
    made = make(log)
    before = rows(scene.lab, scene.site)
    await scene.mallory.announce(log)
    await scene.mallory.say(events(log, made, signed_by(log, made, seq=len(made) - 1)))

    assert await scene.mallory.is_refused(log.certificate.log) == code
    await goes_on(scene, before)


NOT_CANONICAL: Mapping[str, Callable[[bytes], bytes]] = {
    # Forms of a header, all of them validly signed, that mean the same to a lenient decoder, or nothing.
    "an array of indefinite length": lambda header: b"\x9f" + header[1:] + b"\xff",
    "an array length in two bytes": lambda header: b"\x98\x0a" + header[1:],
    "an integer in two bytes that fits one": lambda header: header[:1] + b"\x18\x01" + header[2:],
    "bytes of indefinite length": lambda header: header.replace(b"\x58\x20", b"\x5f\x58\x20", 1)[:37] + b"\xff" + header[36:],
    "a length of bytes in three bytes": lambda header: header.replace(b"\x58\x20", b"\x59\x00\x20", 1),
    "text of indefinite length": lambda header: header.replace(b"\x64note", b"\x7f\x64note\xff", 1),
    "text that is not UTF-8": lambda header: header.replace(b"\x64note", b"\x64n\xffte", 1),
    "half of a surrogate pair": lambda header: header.replace(b"\x64note", b"\x63\xed\xa0\x80", 1),
    "an empty array of indefinite length": lambda header: header.replace(b"\x64note\x80", b"\x64note\x9f\xff", 1),
    "a float": lambda header: header[:1] + b"\xf9\x3c\x00" + header[2:],
    "a tag": lambda header: b"\xd9\xd9\xf7" + header,
    "a bignum": lambda header: header[:1] + b"\xc2\x41\x01" + header[2:],
    "a shared value": lambda header: b"\xd8\x1c" + header,
    "a simple value": lambda header: header[:1] + b"\xf8\xff" + header[2:],
    "undefined": lambda header: header[:1] + b"\xf7" + header[2:],
    "a map with two equal keys": lambda _: b"\xa2\x61a\x00\x61a\x00",
    "a map with keys out of order": lambda _: b"\xa2\x61b\x00\x61a\x00",
    "a trailing byte": lambda header: header + b"\x00",
    "two headers": lambda header: header + header,
    "the header cut off": lambda header: header[:-1],
    "an array nested 17 deep": lambda header: header.replace(b"\x64note\x80", b"\x64note" + b"\x81" * 17 + b"\x80", 1),
    "no bytes": lambda _: b"",
    "a break": lambda _: b"\xff",
}


NO_HEADER_TYPES = ("a float", "undefined", "a simple value", "a map with keys out of order")
"""One form of a value that no header and no field of one has."""


@pytest.mark.parametrize("place", [0, EVENTS - 1], ids=["first", "last"])
@pytest.mark.parametrize("form", NOT_CANONICAL)
async def test_a_header_in_another_form(scene: Scene, form: str, place: int) -> None:
    """Signed by its author over just these bytes."""
    log = scene.log()
    run = log.write_notes(EVENTS)
    made = parts(run)
    header = NOT_CANONICAL[form](made[place][0])
    assert header != made[place][0]
    made[place] = (header, made[place][1])
    for number in range(place + 1, EVENTS):
        made[number] = forged(list(run.events[number].header._replace(previous=event_id(made[number - 1][0]))), run.events[number].body)
    before = rows(scene.lab, scene.site)
    await scene.mallory.announce(log)
    await scene.mallory.say(events(log, made, signed_by(log, made)))

    code = "header_invalid" if form in NO_HEADER_TYPES else "not_canonical"
    assert await scene.mallory.is_refused(log.certificate.log) == code
    await goes_on(scene, before)


async def test_an_unknown_version_stops_that_log_alone_and_asks_for_an_upgrade(scene: Scene) -> None:
    log = scene.log()
    good = log.write_notes(2)
    await scene.mallory.give(log, good)
    await scene.lab.wait(lambda: log.certificate.log in scene.site.store.replica.groups[scene.group].tips)
    after = log.write_notes(1).last
    header = encode(list(after.header._replace(version=2)))
    await scene.mallory.say(events(log, [(header, after.body)], signed_by(log, [(header, after.body)], seq=2)))

    assert await scene.mallory.is_refused(log.certificate.log) == "event_version_unknown"
    (link,) = scene.site.links.links()
    error: Any = link["last_error"]
    assert error["code"] == "event_version_unknown"
    assert "upgrade" in error["fix"]
    assert [tip.height for tip in scene.site.store.replica.groups[scene.group].tips[log.certificate.log]] == [2]
    await goes_on(scene, rows(scene.lab, scene.site))
