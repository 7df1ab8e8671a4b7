"""The sending half of a link: what the other side asked for, as far as its credit goes.

A log that was asked for goes out from the positions named, page by page from the store, and from then on run by run as commits come. Whatever was
sent once on a link is not sent again on it, unless they search for a common position anew.
"""

from collections import deque
from collections.abc import Iterable

from peer.core.certificate import LogKind
from peer.core.identity import EventId, GroupId, LogId
from peer.core.interfaces import Commit, Replica
from peer.core.run import Run
from peer.sync import limits
from peer.sync.effects import EventsFound, FindEvents, FindPurpose, ReadRuns, RunsRead
from peer.sync.messages import Unknown, Unwant, Want
from peer.sync.outbox import Outbox
from peer.sync.questions import Questions
from peer.sync.run_frames import write_run_frame

LogKey = tuple[GroupId, LogId]


class _Flow:
    """One log that goes out on this link."""

    __slots__ = ("incoming", "kind", "positions", "reads", "received", "wanted")

    def __init__(self) -> None:
        self.kind = LogKind.DATA
        """Known once it is wanted."""
        self.positions: set[EventId] = set()
        """They hold these and all events before them, or will when what was sent arrives."""
        self.received: set[EventId] = set()
        """The ends of what they sent us."""
        self.incoming: set[EventId] = set()
        """The ends of those runs of theirs that the store has not answered for: nothing is read until it has."""
        self.wanted = False
        self.reads = 0
        """Counts the changes of position by other means than sending: what was read for an earlier one is of no use."""

    def covers(self, run: Run) -> bool:
        """True if they hold all that comes before `run`."""
        first = run.first.header
        return (first.seq == 0 and not self.positions) or first.previous in self.positions

    def advance(self, run: Run) -> None:
        """`run` was sent."""
        _advance(self.positions, run)

    def receive(self, run: Run) -> None:
        """`run` came from them."""
        for ends in (self.positions, self.received):
            _advance(ends, run)
            if len(ends) > 2 * limits.POSITIONS_MAX:  # Only who means harm sends so many ends: some events will cross twice.
                ends.clear()
                ends.add(run.last.id)


class PushSide:
    """All logs that go out on one link."""

    def __init__(self, replica: Replica, outbox: Outbox, questions: Questions) -> None:
        self._replica = replica
        self._outbox = outbox
        self._questions = questions
        self._wants: dict[LogKey, FindEvents] = {}
        """The newest `want` of each log whose positions the store looks for."""
        self._flows: dict[LogKey, _Flow] = {}
        self._credit = limits.CREDIT_INITIAL
        self._behind: dict[LogKind, dict[LogKey, None]] = {LogKind.CONTROL: {}, LogKind.DATA: {}}
        """Logs of which the store may have more than was sent, each kind first come, first served."""
        self._reading: tuple[LogKey, int] | None = None
        self._unsent: deque[tuple[LogKey, Run]] = deque()

    def want(self, message: Want) -> None:
        """They ask for a log that is held, and may have it."""
        key = (message.group, message.log)
        self._flows.setdefault(key, _Flow()).kind = self._replica.groups[message.group].certificates[message.log].kind
        self._wants.pop(key, None)
        if message.positions:
            find = FindEvents(message.group, message.log, message.positions, FindPurpose.WANTED, message.search)
            self._wants[key] = find
            self._questions.ask(find)
        else:
            self._start(message.group, message.log, frozenset(), restart=message.search)

    def found(self, fact: EventsFound) -> None:
        """Which positions of a `want` we hold."""
        find = fact.effect
        key = (find.group, find.log)
        if self._wants.get(key) is not find:
            return  # They have taken it back, or asked anew.
        del self._wants[key]
        if not find.search and len(fact.held) < len(set(find.events)):
            self._outbox.send(Unknown(find.group, find.log))
        else:
            self._start(find.group, find.log, fact.held, restart=find.search)

    def unwant(self, message: Unwant) -> None:
        """They have another source."""
        self.stop(message.group, message.log)

    def stop(self, group: GroupId, log: LogId) -> None:
        """No more of this log goes out, until they ask again."""
        self._wants.pop((group, log), None)
        flow = self._flows.get((group, log))
        if flow is not None:
            flow.wanted = False

    def is_wanted(self, group: GroupId, log: LogId) -> bool:
        """True if new runs of this log go out on this link."""
        flow = self._flows.get((group, log))
        return flow is not None and flow.wanted

    def received(self, group: GroupId, run: Run, is_stored: bool) -> None:  # noqa: FBT001  (half of what came in)
        """They sent this run: they hold it, never echo it back. It may be that the store is not asked to keep it."""
        key = (group, run.log)
        flow = self._flows.setdefault(key, _Flow())
        flow.receive(run)
        if is_stored:
            flow.incoming.add(run.last.id)
        if flow.wanted:
            self._forget_read(key, flow)
            self._mark_behind(key)

    def stored(self, group: GroupId, run: Run) -> None:
        """The store is through with a run of theirs."""
        key = (group, run.log)
        self._flows[key].incoming.discard(run.last.id)
        if not self._flows[key].incoming:
            self.read_on()

    def committed(self, commit: Commit) -> None:
        """A run became durable: it goes out at once if they have all before it and there is credit, else the store is read on."""
        key = (commit.group, commit.run.log)
        flow = self._flows.get(key)
        if flow is None or not flow.wanted or commit.run.last.id in flow.positions or commit.run.last.id in flow.incoming:
            return
        if self._replica.groups[commit.group].reach(commit.certificate) is not None:
            self._mark_behind(key)  # Not all of it need count: what the store reads does.
            self.read_on()
            return
        idle = key not in self._behind[commit.certificate.kind] and not self._unsent and (self._reading is None or self._reading[0] != key)
        if idle and flow.covers(commit.run) and self._send(key, flow, commit.run):
            return
        self._mark_behind(key)
        self.read_on()

    def grant(self, size: int) -> None:
        """They stored what came before."""
        self._credit = min(self._credit + size, limits.CREDIT_INITIAL)
        self._flush()

    def runs_read(self, fact: RunsRead) -> None:
        """The store answers."""
        key = (fact.effect.group, fact.effect.log)
        assert self._reading is not None
        current = self._reading[1] == self._flows[key].reads
        self._reading = None
        flow = self._flows[key]
        if flow.wanted:
            if current:
                self._unsent.extend((key, run) for run in fact.page.runs)
            if not current or not fact.page.complete:
                self._mark_behind(key)
        self._flush()

    def look_again(self, group: GroupId, log: LogId) -> None:
        """More of a log that they asked for counts than before."""
        self._mark_behind((group, log))
        self.read_on()

    def drop_group(self, group: GroupId, *, kind: LogKind | None = None) -> None:
        """They may not, or do not want to, hear of this group, or of its logs of one kind."""
        for key, flow in self._flows.items():
            if key[0] == group and kind in (None, flow.kind):
                flow.wanted = False
                self._wants.pop(key, None)

    def read_on(self) -> None:
        """Ask the store for the next page, of a control log if one is behind."""
        if self._reading is not None or self._unsent or self._credit <= 0:
            return
        for waiting in self._behind.values():
            for key in list(waiting):
                flow = self._flows[key]
                if flow.incoming:
                    continue
                del waiting[key]
                if flow.wanted:
                    self._reading = (key, flow.reads)
                    self._outbox.ask(ReadRuns(*key, tuple(sorted(flow.positions)), limits.PAGE_SIZE_MAX))
                    return

    def _start(self, group: GroupId, log: LogId, positions: Iterable[EventId], *, restart: bool) -> None:
        key = (group, log)
        flow, held = self._flows[key], set(positions)
        if restart or len(flow.positions) + len(held) > 2 * limits.POSITIONS_MAX:
            flow.positions = held | flow.received
            self._forget_read(key, flow)
        else:
            flow.positions |= held
        flow.wanted = True
        self._mark_behind(key)
        self.read_on()

    def _forget_read(self, key: LogKey, flow: _Flow) -> None:
        """What was read and not sent yet started from positions that are no longer theirs."""
        flow.reads += 1
        if self._unsent:
            self._unsent = deque(entry for entry in self._unsent if entry[0] != key)

    def _mark_behind(self, key: LogKey) -> None:
        self._behind[self._flows[key].kind][key] = None

    def _flush(self) -> None:
        """Send what was read, as far as the credit goes, then read on."""
        while self._unsent:
            key, run = self._unsent[0]
            flow = self._flows[key]
            if flow.wanted and run.last.id not in flow.positions and not self._send(key, flow, run):
                return
            self._unsent.popleft()
        self.read_on()

    def _send(self, key: LogKey, flow: _Flow, run: Run) -> bool:
        """Send `run`; False if there is not enough credit."""
        if run.size > self._credit:
            return False
        frame = write_run_frame(*key, run)
        if len(frame) > self._credit:
            return False
        self._credit -= len(frame)
        self._outbox.send_frame(frame)
        flow.advance(run)
        return True


def _advance(positions: set[EventId], run: Run) -> None:
    positions.discard(EventId(run.first.header.previous))
    positions.add(run.last.id)
