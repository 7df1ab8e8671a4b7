"""Runs: consecutive events of one log up to one that carries a signature; the unit of transfer and verification.

One signature covers all events before it, since each names the one before by hash: signature first, then walk the chain.
"""

from collections.abc import Sequence
from typing import NamedTuple

from peer.core.certificate import Certificate
from peer.core.chain import read_chain
from peer.core.event import Event, link_event, read_event
from peer.core.identity import EventId, GroupId, KeyPair, LogId, check_signature
from peer.errors import LogGapError, RunTooLongError, WrongLogError

RUN_CONTEXT = b"recmesh/run/v1\0"
RUN_EVENTS_MAX = 256
RUN_BYTES_MAX = 256 * 1024


class Run(NamedTuple):
    """Verified events of one log, each following the one before, and the signature of the last."""

    events: Sequence[Event]
    signature: bytes

    @property
    def first(self) -> Event:
        """The lowest event."""
        return self.events[0]

    @property
    def last(self) -> Event:
        """The signed event."""
        return self.events[-1]

    @property
    def log(self) -> LogId:
        """The log that all events are of."""
        return self.events[0].header.log

    @property
    def size(self) -> int:
        """Bytes of headers and bodies."""
        return sum([event.size for event in self.events])


class Draft(NamedTuple):
    """What a peer wants to write: an event without its place."""

    type: str
    body: bytes
    refs: Sequence[EventId] = ()


def signed_bytes(group: GroupId, log: LogId, seq: int, event_id: EventId) -> bytes:
    """What the signature of a run covers."""
    return RUN_CONTEXT + group + log + seq.to_bytes(8, "big") + event_id


def sign_run(key: KeyPair, events: Sequence[Event]) -> Run:
    """The run of `events`, signed with their log's key."""
    last = events[-1]
    return Run(events, key.sign(signed_bytes(last.header.group, last.header.log, last.header.seq, last.id)))


def write_run(key: KeyPair, certificate: Certificate, before: Event | None, drafts: Sequence[tuple[Draft, int]]) -> Run:
    """Link and sign `drafts`, each with its clock, after `before`; None opens the log."""
    events: list[Event] = []
    seq = before.header.seq + 1 if before else 0
    previous: bytes = before.id if before else certificate.log
    for draft, hlc in drafts:
        event = link_event(
            group=certificate.group,
            log=certificate.log,
            seq=seq,
            previous=previous,
            hlc=hlc,
            type_=draft.type,
            refs=list(draft.refs),
            body=draft.body,
        )
        events.append(event)
        seq, previous = seq + 1, event.id
    return sign_run(key, events)


def read_run(certificate: Certificate, parts: Sequence[tuple[bytes, bytes]], signature: bytes) -> Run:
    """The run with these header and body bytes, verified as far as it can be by itself.

    Checked: limits, canonical headers, the signature, the chain inside, bodies, and, at seq 0, the certificate. Not checked: that the event before
    the first is held; the store does that. Raises the leaves of `EventRejectedError`.
    """
    if not parts or len(parts) > RUN_EVENTS_MAX:
        raise RunTooLongError(f"a run of {len(parts)} events; 1 to {RUN_EVENTS_MAX} are allowed")
    if sum([len(header) + len(body) for header, body in parts]) > RUN_BYTES_MAX:
        raise RunTooLongError(f"a run of more than {RUN_BYTES_MAX} bytes")
    last = read_event(*parts[-1])
    _check_place(last, certificate)
    check_signature(certificate.key, signed_bytes(certificate.group, certificate.log, last.header.seq, last.id), signature)
    before = read_chain(parts[:-1])
    if before:
        last.check_follows(before[-1])
    events = [*before, last]
    first = events[0]
    _check_place(first, certificate)
    if first.header.seq == 0 and first.header.previous != certificate.log:
        raise LogGapError("the first event of a log does not name the certificate of the log")
    return Run(events, signature)


def _check_place(event: Event, certificate: Certificate) -> None:
    if event.header.log != certificate.log or event.header.group != certificate.group:
        raise WrongLogError("an event of another log or group")
