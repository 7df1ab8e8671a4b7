"""What one link knows of the other side's copy of a group, as far as it decides what to ask for."""

from dataclasses import dataclass, field

from peer.core.certificate import Certificate, LogKind
from peer.core.frontier import Tip, Tips, height, sorted_tips
from peer.core.identity import EventId, LogId, PeerId
from peer.core.interfaces import GroupView
from peer.core.roster import Roster
from peer.core.run import Run
from peer.errors import LimitExceededError
from peer.sync import limits


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
    beyond: set[EventId] = field(default_factory=set)
    """Tips of theirs that came and were passed over: beyond what counts of this log."""
    finding: set[EventId] = field(default_factory=set)
    """Tips of theirs that the store was asked about."""
    lacking_since_ms: int = 0
    asked: bool = False
    """True while they send us this log."""
    in_vain: int = 0
    """How often in a row they were asked, and another link was asked in their place before anything came."""
    repeats: int = 0
    """Searches since something fitted."""
    misfit: str | None = None
    """The code of a run that the store refused, until all that came with it are answered for."""
    storing: int = 0
    """Runs that the store has not answered for."""
    later: bool = False
    """True if the store takes no more of it for now."""
    again: bool = False
    """True if something of it was passed over that may be needed now: they have to be asked from further back."""
    bad: bool = False
    """True if what they sent of it was refused: not asked for again on this link."""

    @property
    def patience_ms(self) -> int:
        """How long another source has to be silent before they are asked. Several that tell and do not bring must not take turns among themselves."""
        return limits.SOURCE_SILENT_MS * (1 + min(self.in_vain, limits.SOURCE_IN_VAIN_MAX))

    def announce(self, tips: Tips) -> None:
        """They say that they hold these now."""
        self.tips, self.named = tips, len(tips)
        self._forget_all_but({tip.event_id for tip in tips})

    def note_sent(self, run: Run, ours: Tips) -> None:
        """They sent `run`, so they hold it. Of their other tips those that we lack stay; `ours` are our own."""
        previous = run.first.header.previous
        if run.last.height <= height(self.tips) and all(tip.event_id != previous for tip in self.tips):
            return
        passed = {previous, *(event.id for event in run.events)}
        lacking = [tip for tip in self.tips if tip.event_id not in passed and tip.event_id not in self.held and tip not in ours]
        self.tips = sorted_tips([*lacking, Tip(run.last.height, run.last.id)])[-limits.TIPS_PER_LOG_MAX :]
        self._forget_all_but({tip.event_id for tip in self.tips})

    def note_held(self, run: Run) -> None:
        """Tips of theirs within `run` are held now."""
        for event_id in self._tips_within(run):
            self.held.add(event_id)
            self.absent.discard(event_id)

    def note_beyond(self, run: Run) -> None:
        """Tips of theirs within `run` are of no use here, as far as is known."""
        self.beyond.update(self._tips_within(run))

    def begin_again(self) -> None:
        """More of this log may count, or fit, than before."""
        if self.beyond or self.later:
            self.beyond.clear()
            self.later = False
            self.again = True

    def _tips_within(self, run: Run) -> list[EventId]:
        first, last = run.first.height, run.last.height
        return [tip.event_id for tip in self.tips if first <= tip.height <= last and run.events[tip.height - first].id == tip.event_id]

    def _forget_all_but(self, named: set[EventId]) -> None:
        self.held &= named
        self.absent &= named
        self.beyond &= named


@dataclass(slots=True)
class RemoteGroup:
    """What we know of their copy of one group."""

    logs: dict[LogId, RemoteLog] = field(default_factory=dict)
    lacking: dict[LogKind, set[LogId]] = field(default_factory=lambda: {LogKind.CONTROL: set(), LogKind.DATA: set()})
    """Logs of members of which they have something that we lack."""
    roster: Roster | None = None
    """The one by which all logs were considered last."""
    tips: int = 0
    """How many tips of all logs they announced."""
    _shares: dict[PeerId, tuple[int, int]] = field(default_factory=dict)
    """How many logs and tips of each author these are."""
    complete: bool = False
    ended: bool = False
    """True once all that they had at first is here."""

    def admits(self, author: PeerId, logs: int, tips: int, *, as_guest: bool = False) -> bool:
        """Whether so many more logs and tips of one author are within its share; they are counted."""
        had_logs, had_tips = self._shares.get(author, (0, 0))
        logs_max = limits.GUEST_LOGS_PER_AUTHOR_MAX if as_guest else limits.LOGS_PER_AUTHOR_MAX
        if (logs > 0 and had_logs + logs > logs_max) or (tips > 0 and had_tips + tips > limits.TIPS_PER_AUTHOR_MAX):
            return False
        self._shares[author] = had_logs + logs, had_tips + tips
        self.tips += tips
        return True

    def check_limits(self, *, as_guest: bool) -> None:
        """Raise `LimitExceededError` if they announced more than a link is for."""
        logs_max = limits.GUEST_LOGS_MAX if as_guest else limits.LOGS_PER_GROUP_MAX
        if len(self.logs) > logs_max:
            raise LimitExceededError(f"more than {logs_max} logs in one group")
        if self.tips > limits.TIPS_PER_GROUP_MAX:
            raise LimitExceededError(f"more than {limits.TIPS_PER_GROUP_MAX} tips in one group")

    def agrees_on_control(self, view: GroupView) -> bool:
        """True if they hold the tips of all our control logs, and we lack nothing of theirs."""
        if not self.complete or self.lacking[LogKind.CONTROL]:
            return False
        ours = [log for log in view.tips if view.certificates[log].kind is LogKind.CONTROL]
        return all(log in self.logs and set(view.tips[log]) <= set(self.logs[log].tips) for log in ours)
