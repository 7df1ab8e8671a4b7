"""What one link knows of the other side's copy of a group, as far as it decides what to ask for."""

from dataclasses import dataclass, field

from peer.core.certificate import Certificate, LogKind
from peer.core.frontier import Tips
from peer.core.identity import EventId, LogId, PeerId


@dataclass(slots=True)
class RemoteLog:
    """What we know of their copy of one log."""

    certificate: Certificate
    tips: Tips
    named: int
    """How many tips they announced last."""
    held: set[EventId] = field(default_factory=set)
    """Tips of theirs that we hold below our own tips."""
    absent: set[EventId] = field(default_factory=set)
    """Tips of theirs, not above ours, that we do not hold: another branch."""
    finding: set[EventId] = field(default_factory=set)
    """Tips of theirs that the store was asked about."""
    lacking_since_ms: int = 0
    asked: bool = False
    """True while they send us this log."""
    repeats: int = 0
    """Searches since something fitted."""
    misfit: str | None = None
    """The code of a run that the store refused, until all that came with it are answered for."""
    storing: int = 0
    """Runs that the store has not answered for."""
    bad: bool = False
    """True if what they sent of it was refused: not asked for again on this link."""


@dataclass(slots=True)
class RemoteGroup:
    """What we know of their copy of one group."""

    logs: dict[LogId, RemoteLog] = field(default_factory=dict)
    lacking: dict[LogKind, set[LogId]] = field(default_factory=lambda: {LogKind.CONTROL: set(), LogKind.DATA: set()})
    """Logs of members of which they have something that we lack."""
    members: set[PeerId] = field(default_factory=set)
    """The roster by which all logs were considered last."""
    tips: int = 0
    """How many tips of all logs they announced."""
    complete: bool = False
    ended: bool = False
    """True once all that they had at first is here."""
