"""Small true things for tests: keys, groups, logs and runs that are the same in every run. Nothing here stands in for code of the project."""

import hashlib
from collections.abc import Sequence

from peer.core.certificate import Certificate, LogKind, certify
from peer.core.control import ControlEvent
from peer.core.encoding import encode
from peer.core.event import Event
from peer.core.group import Genesis
from peer.core.identity import GroupId, KeyPair
from peer.core.run import Draft, Run, write_run

START_MS = 1_700_000_000_000


def key_pair(label: str) -> KeyPair:
    """The key pair that belongs to `label` in all tests."""
    return KeyPair(hashlib.sha256(f"key of {label}".encode()).digest())


def genesis(*owners: str, name: str = "field-tests") -> Genesis:
    """A group owned by these people."""
    return Genesis(name, tuple(key_pair(owner).peer_id for owner in owners or ("alice",)), bytes(32), START_MS, {})


GROUP: GroupId = genesis().group


class SampleLog:
    """A log that a test writes: remembers its tip and lets its clock grow by one millisecond an event."""

    def __init__(self, author: str, group: GroupId = GROUP, *, kind: LogKind = LogKind.DATA, label: str = "") -> None:
        """Open a log of `author`; logs with different labels have different keys."""
        self.author = key_pair(author)
        self.key = key_pair(f"log {kind.name} {label} of {author}")
        self.certificate: Certificate = certify(self.author, group, self.key.public, kind)
        self.tip: Event | None = None
        self.clock_ms = START_MS

    def write(self, *drafts: Draft) -> Run:
        """Append these as one run."""
        stamped = []
        for draft in drafts:
            self.clock_ms += 1
            stamped.append((draft, self.clock_ms << 16))
        run = write_run(self.key, self.certificate, self.tip, stamped)
        self.tip = run.last
        return run

    def write_notes(self, count: int) -> Run:
        """Append `count` small events."""
        return self.write(*(note(number) for number in range(count)))

    def decide(self, draft: Draft) -> ControlEvent:
        """Append one decision to this control log."""
        return ControlEvent(self.write(draft).last, self.author.peer_id)


def note(number: int = 0) -> Draft:
    """A small event of no particular meaning."""
    return Draft("note", encode({"number": number}))


def parts(run: Run) -> list[tuple[bytes, bytes]]:
    """The header and body bytes of a run, as they travel."""
    return [(event.header_bytes, event.body) for event in run.events]


def control_log(author: str, *owners: str) -> SampleLog:
    """A control log of `author` in the group of `owners`."""
    return SampleLog(author, genesis(*owners).group, kind=LogKind.CONTROL)


def ids(events: Sequence[ControlEvent]) -> list[bytes]:
    """The ids of decisions."""
    return [entry.event.id for entry in events]
