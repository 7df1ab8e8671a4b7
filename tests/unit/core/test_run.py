"""Runs: one signature for many events, and nothing in between that could be exchanged."""

from collections.abc import Callable
from typing import Any

import pytest

from peer.core.certificate import LogKind
from peer.core.encoding import encode
from peer.core.event import BODY_SIZE_MAX, link_event
from peer.core.identity import EventId, LogId
from peer.core.run import RUN_BYTES_MAX, RUN_EVENTS_MAX, Draft, read_run, sign_run, signed_bytes
from peer.errors import (
    BodyMismatchError,
    ClockNotIncreasingError,
    EventRejectedError,
    LogGapError,
    NotCanonicalError,
    RunTooLongError,
    SignatureMismatchError,
    VersionUnknownError,
    WrongLogError,
)
from tests.samples import GROUP, SampleLog, genesis, parts

Parts = list[tuple[bytes, bytes]]


def test_a_run_is_read_as_it_was_written() -> None:
    log = SampleLog("alice")
    written = log.write_notes(5)

    read = read_run(log.certificate, parts(written), written.signature)

    assert [event.id for event in read.events] == [event.id for event in written.events]
    assert (read.first.header.seq, read.last.header.seq, read.log) == (0, 4, log.certificate.log)
    assert read.size == written.size == sum(len(header) + len(body) for header, body in parts(written))


def test_a_run_may_start_in_the_middle_of_a_log() -> None:
    log = SampleLog("alice")
    log.write_notes(3)
    later = log.write_notes(2)

    assert read_run(log.certificate, parts(later), later.signature).first.header.seq == 3


def test_a_log_may_be_cut_into_other_runs_where_there_are_signatures() -> None:
    log = SampleLog("alice")
    runs = [log.write_notes(2), log.write_notes(3)]

    whole = read_run(log.certificate, [*parts(runs[0]), *parts(runs[1])], runs[1].signature)

    assert len(whole.events) == 5


CHANGES: dict[str, tuple[Callable[[Parts], Any], type[EventRejectedError]]] = {
    "the signed event is missing": (lambda run: run[:-1], SignatureMismatchError),
    "the second event is missing": (lambda run: [run[0], *run[2:]], LogGapError),
    "an event in the middle is missing": (lambda run: [*run[:2], *run[3:]], LogGapError),
    "an event is there twice": (lambda run: [run[0], *run], LogGapError),
    "two events have changed places": (lambda run: [run[0], run[2], run[1], *run[3:]], LogGapError),
    "two bodies have changed places": (lambda run: [(run[0][0], run[1][1]), (run[1][0], run[0][1]), *run[2:]], BodyMismatchError),
    "a body has changed": (lambda run: [(run[0][0], encode({"number": 99})), *run[1:]], BodyMismatchError),
    "the last body has changed": (lambda run: [*run[:-1], (run[-1][0], encode({"number": 99}))], BodyMismatchError),
    "a body has gone": (lambda run: [(run[0][0], b""), *run[1:]], BodyMismatchError),
    "a header has a byte too many": (lambda run: [(run[0][0] + b"\0", run[0][1]), *run[1:]], NotCanonicalError),
    "a header is empty": (lambda run: [(b"", run[0][1]), *run[1:]], NotCanonicalError),
    "a header is of a later version": (lambda run: [(encode([2]), run[0][1]), *run[1:]], VersionUnknownError),
    "the order is reversed": (lambda run: run[::-1], SignatureMismatchError),
    "nothing is left": (lambda _: [], RunTooLongError),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_run_is_refused_as_a_whole_where(what: str) -> None:
    change, error = CHANGES[what]
    log = SampleLog("alice")
    run = log.write_notes(5)

    with pytest.raises(error) as caught:
        read_run(log.certificate, change(parts(run)), run.signature)
    assert type(caught.value) is error


@pytest.mark.parametrize("place", [0, 31, 32, 63])
def test_a_signature_with_a_changed_bit_is_refused(place: int) -> None:
    log = SampleLog("alice")
    run = log.write_notes(2)
    changed = bytearray(run.signature)
    changed[place] ^= 1

    with pytest.raises(SignatureMismatchError):
        read_run(log.certificate, parts(run), bytes(changed))


@pytest.mark.parametrize("signature", [b"", bytes(63), bytes(64), bytes(65)])
def test_what_is_no_signature_is_refused(signature: bytes) -> None:
    log = SampleLog("alice")

    with pytest.raises(SignatureMismatchError):
        read_run(log.certificate, parts(log.write_notes(1)), signature)


def test_the_signature_of_another_run_of_the_log_is_refused() -> None:
    log = SampleLog("alice")
    earlier = log.write_notes(1)

    with pytest.raises(SignatureMismatchError):
        read_run(log.certificate, parts(log.write_notes(1)), earlier.signature)


def test_the_peer_key_cannot_sign_for_the_log_key() -> None:
    log = SampleLog("alice")
    run = sign_run(log.author, log.write_notes(2).events)

    with pytest.raises(SignatureMismatchError):
        read_run(log.certificate, parts(run), run.signature)


@pytest.mark.parametrize("other", [SampleLog("alice", label="second"), SampleLog("bob"), SampleLog("alice", genesis(name="another").group)])
def test_a_run_under_the_certificate_of_another_log_or_group_is_refused(other: SampleLog) -> None:
    log = SampleLog("alice")
    run = log.write_notes(2)

    with pytest.raises(WrongLogError):
        read_run(other.certificate, parts(run), run.signature)


def test_a_log_belongs_to_the_certificate_that_its_first_event_names() -> None:
    """Otherwise one peer could certify the log of another as its own, or the same log once as data and once as control."""
    log = SampleLog("alice")
    run = log.write_notes(2)
    renamed = log.certificate._replace(kind=LogKind.CONTROL)

    with pytest.raises(WrongLogError):
        read_run(renamed, parts(run), run.signature)


def test_the_first_event_of_a_log_names_its_certificate_as_the_event_before() -> None:
    log = SampleLog("alice")
    orphan = link_event(group=GROUP, log=log.certificate.log, seq=0, previous=bytes(32), hlc=1, type_="note", refs=[], body=b"")

    with pytest.raises(LogGapError):
        read_run(log.certificate, parts(sign_run(log.key, [orphan])), sign_run(log.key, [orphan]).signature)


def test_an_event_of_another_log_in_the_middle_is_refused() -> None:
    log, other = SampleLog("alice"), SampleLog("bob")
    run, foreign = parts(log.write_notes(3)), parts(other.write_notes(3))
    signature = log.key.sign(signed_bytes(GROUP, log.certificate.log, 2, log.tip.id if log.tip else b""))  # type: ignore[arg-type]

    with pytest.raises(WrongLogError):
        read_run(log.certificate, [run[0], foreign[1], run[2]], signature)


def test_a_clock_that_stands_still_is_refused_though_it_is_signed() -> None:
    log = SampleLog("alice")
    first = log.write_notes(1).last
    second = link_event(group=GROUP, log=log.certificate.log, seq=1, previous=first.id, hlc=first.header.hlc, type_="note", refs=[], body=b"")
    run = sign_run(log.key, [first, second])

    with pytest.raises(ClockNotIncreasingError):
        read_run(log.certificate, parts(run), run.signature)


def test_a_run_has_at_most_256_events() -> None:
    log = SampleLog("alice")
    most, more = log.write_notes(RUN_EVENTS_MAX), log.write_notes(RUN_EVENTS_MAX + 1)

    assert len(read_run(log.certificate, parts(most), most.signature).events) == RUN_EVENTS_MAX
    with pytest.raises(RunTooLongError):
        read_run(log.certificate, parts(more), more.signature)


def test_a_run_has_at_most_256_kib() -> None:
    log = SampleLog("alice")
    run = log.write(*[Draft("note", b"x" * BODY_SIZE_MAX)] * (RUN_BYTES_MAX // BODY_SIZE_MAX))

    with pytest.raises(RunTooLongError):
        read_run(log.certificate, parts(run), run.signature)


def test_the_context_keeps_signatures_apart() -> None:
    """What is signed begins with words that nothing else is signed under, and has one length."""
    signed = signed_bytes(GROUP, LogId(bytes(32)), 7, EventId(bytes(32)))

    assert signed.startswith(b"recmesh/run/v1\0")
    assert len(signed) == 15 + 32 + 32 + 8 + 32
