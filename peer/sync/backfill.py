"""The receiving half of a link: what they have and we lack, and which of it to ask for here.

Each log is asked for on one link at a time (`sources`); a group's data logs wait until its control logs are here. Positions say where to start; where
they do not know ours, a search finds the highest that both have.
"""

from collections.abc import Iterable, Sequence

from peer.core.certificate import LogKind, read_certificate
from peer.core.frontier import Tips, events_between, height
from peer.core.identity import EventId, GroupId, LogId, PeerId
from peer.core.interfaces import Commit, GroupView, Replica
from peer.core.run import Run, read_run
from peer.errors import CertificateInvalidError, EventRejectedError, LimitExceededError, RemoteProtocolError, TooManyForksError, TooManyLogsError
from peer.sync import limits
from peer.sync.effects import BackfillEnded, EventsFound, FindEvents, FindPurpose, LocatorRead, ReadLocator, RunStored, StoreRun
from peer.sync.grants import Grants
from peer.sync.guests import Access, access_of
from peer.sync.messages import Events, Have, LogEntry, Rejected, Unknown, Unwant, Want
from peer.sync.outbox import Outbox
from peer.sync.questions import Questions
from peer.sync.remote import RemoteGroup, RemoteLog
from peer.sync.sources import LinkToken, Source, Sources


class BackfillSide:
    """All that comes in on one link."""

    def __init__(self, replica: Replica, outbox: Outbox, questions: Questions, sources: Sources, link: LinkToken, remote: PeerId) -> None:
        self._replica = replica
        self._outbox = outbox
        self._questions = questions
        self._sources = sources
        self._link = link
        self._remote = remote
        self._groups: dict[GroupId, RemoteGroup] = {}
        self._grants = Grants(outbox)
        self._rejections = 0
        self.last_refusal: str | None = None
        """Why something of theirs was refused last."""
        self._left: set[GroupId] = set()
        """Groups that were dropped at some time: what was under way about them may still come."""

    def known_logs(self, group: GroupId, logs: Iterable[LogId]) -> set[LogId]:
        """Those of `logs` that they have announced, with a certificate."""
        known = self._groups.get(group)
        return {log for log in logs if known is not None and log in known.logs}

    def has_ended(self, group: GroupId) -> bool:
        """True if all that they had of `group` at first is held here."""
        return group in self._groups and self._groups[group].ended

    def their_tips(self, group: GroupId, log: LogId) -> Tips:
        """What they last said they hold of a log."""
        known = self._groups.get(group)
        entry = known.logs.get(log) if known else None
        return entry.tips if entry else ()

    def agrees_on_control(self, group: GroupId) -> bool:
        """True if they hold all control logs that we hold, and we theirs."""
        known = self._groups.get(group)
        return known is not None and known.agrees_on_control(self._view(group))

    def missing_events(self) -> int:
        """How many events they have that we lack: an estimate for people, exact without forks."""
        return sum(
            max(1, height(known.logs[log].tips) - height(self._view(group).tips.get(log, ())))
            for group, known in self._groups.items()
            if group in self._replica.groups
            for logs in known.lacking.values()
            for log in logs
        )

    def unsent_events(self) -> int:
        """How many events we have that they have not said they hold."""
        return sum(
            events_between(self.their_tips(group, log), tips)
            for group in self._groups
            if group in self._replica.groups
            for log, tips in self._view(group).tips.items()
        )

    def have(self, message: Have, now_ms: int) -> None:
        """They tell what they hold."""
        known = self._groups.setdefault(message.group, RemoteGroup(roster=self._view(message.group).roster))
        for entry in message.logs:
            self._take_entry(message.group, known, entry)
        known.check_limits(as_guest=self._access(message.group).is_guest)
        known.complete = known.complete or (message.complete and not message.more)
        self._consider_logs(message.group, known, [entry.log for entry in message.logs if entry.log in known.logs], now_ms)

    def found(self, fact: EventsFound, now_ms: int) -> None:
        """Which of their lower tips are ours too."""
        group, log, events = fact.effect.group, fact.effect.log, set(fact.effect.events)
        known, entry = self._known(group, log)
        if known is None or entry is None:
            return
        named = events & {tip.event_id for tip in entry.tips}
        entry.finding -= events
        entry.held |= named & fact.held
        entry.absent |= named - fact.held
        self._consider_logs(group, known, [log], now_ms)

    def events(self, message: Events, size: int, now_ms: int) -> tuple[Run, bool] | None:
        """They send a run: verify it, and ask the store to keep it. Refused runs, None here, are answered, and the link goes on.

        The flag is false for a run of which nothing counts: it is good, and passed over.
        """
        self._grants.use(size)
        known, entry = self._known(message.group, message.log)
        if (known is None or entry is None) and message.group not in self._left:
            raise RemoteProtocolError("events of a log that was never announced")
        if known is None or entry is None or not self._is_of_use(message.group, entry):
            self._grants.give_back(size)
            return None
        try:
            run = read_run(entry.certificate, message.events, message.signature)
        except EventRejectedError as error:
            self._refuse(message.group, known, message.log, error.code)
            self._grants.give_back(size)
            return None
        entry.note_sent(run, self._view(message.group).tips.get(message.log, ()))
        reach = self._view(message.group).reach(entry.certificate)
        if reach is not None and run.first.height > reach:
            entry.note_beyond(run)
            self._stop_asking(message.group, message.log, entry)
            self._consider_logs(message.group, known, [message.log], now_ms)
            self._grants.give_back(size)
            return run, False
        entry.storing += 1
        self._outbox.ask(StoreRun(entry.certificate, run, size))
        return run, True

    def stored(self, fact: RunStored, now_ms: int) -> None:
        """The store is through with a run."""
        certificate, run, size = fact.effect
        group, log = certificate.group, certificate.log
        self._grants.give_back(size)
        known, entry = self._known(group, log)
        if known is None or entry is None:
            return
        entry.storing = max(0, entry.storing - 1)  # It may have been stored for the group as it was before it was left.
        if fact.code in (TooManyLogsError.code, TooManyForksError.code):
            entry.later = True
            known.lacking[certificate.kind].discard(log)
            self._stop_asking(group, log, entry)
        else:
            entry.misfit = entry.misfit or fact.code
        if entry.misfit is None:
            entry.repeats = 0
        elif not entry.storing and not entry.bad:
            code, entry.misfit = entry.misfit, None
            self._search_again(group, known, log, code)
        if fact.code is not None:
            return
        source = self._sources.get(group, log)
        if source is not None and source.link == self._link:
            source.progress_ms, entry.in_vain = now_ms, 0
        entry.note_held(run)
        self._consider_logs(group, known, [log], now_ms)

    def committed(self, commit: Commit, now_ms: int) -> None:
        """A run became durable, wherever it came from."""
        known = self._groups.get(commit.group)
        if known is None:
            return
        entry = known.logs.get(commit.run.log)
        if entry is not None:
            entry.note_held(commit.run)
            self._consider_logs(commit.group, known, [commit.run.log], now_ms)

    def unknown(self, message: Unknown) -> None:
        """They do not hold our positions: look for lower ones."""
        known, entry = self._known(message.group, message.log)
        if known is None or entry is None:
            if message.group not in self._left:
                raise RemoteProtocolError("an answer to what was never asked")
        elif entry.asked:
            self._search_again(message.group, known, message.log, "log_gap")

    def locator_read(self, fact: LocatorRead) -> None:
        """Our positions for a search."""
        group, log = fact.effect
        _, entry = self._known(group, log)
        if entry is not None and entry.asked and group in self._replica.groups:
            self._outbox.send(Want(group, log, self._positions(group, fact.events), search=True))

    def consider_all(self, now_ms: int) -> None:
        """Sources or rosters have changed: see what to ask for."""
        for group, known in self._groups.items():
            self._consider_logs(group, known, list(known.logs), now_ms)

    def rosters_changed(self, now_ms: int) -> None:
        """Other logs, or more or less of them, are asked for of those whose standing has changed."""
        for group, known in self._groups.items():
            view = self._replica.groups.get(group)
            if view is None or known.roster is view.roster:
                continue
            before, known.roster = known.roster, view.roster
            authors = {entry.certificate.peer for entry in known.logs.values()}
            changed = {author for author in authors if before is None or before.standing(author) != view.roster.standing(author)}
            logs = [log for log, entry in known.logs.items() if entry.certificate.peer in changed]
            for log in logs:
                known.logs[log].begin_again()
            if logs:
                self._consider_logs(group, known, logs, now_ms)

    def access_changed(self, group: GroupId, now_ms: int, *, anew: bool) -> None:
        """They are another thing to `group` than before; `anew` if they tell everything again.

        What a guest was asked for has this link as its source, if there is no other.
        """
        known = self._groups.get(group)
        if known is None:
            return
        if anew:
            known.complete = known.ended = False
        for log, entry in known.logs.items():
            source = self._sources.get(group, log)
            if entry.asked and not self._is_of_use(group, entry):
                self._stop_asking(group, log, entry)
            elif entry.asked and source is None and not self._access(group).is_guest:
                self._sources.take(group, log, Source(self._link, entry.certificate.peer == self._remote, now_ms))
            elif entry.asked and source is not None and source.link != self._link:
                self._stop_asking(group, log, entry)
        self._consider_logs(group, known, list(known.logs), now_ms)

    def tick(self, now_ms: int) -> None:
        """Time has passed: a silent source may be replaced."""
        for group, log in self._sources.take_lost(self._link):
            known_then, entry = self._known(group, log)
            if known_then is not None and entry is not None and entry.asked:
                entry.asked = False
                entry.in_vain += log in known_then.lacking[entry.certificate.kind]
                self._outbox.send(Unwant(group, log))
        for group, known in self._groups.items():
            late = [log for logs in known.lacking.values() for log in logs] if known.ended else list(known.logs)
            if late:
                self._consider_logs(group, known, late, now_ms)

    def drop_group(self, group: GroupId) -> None:
        """They do not speak about this group, or are not spoken to about it, any more."""
        known = self._groups.pop(group, None)
        if known is None:
            return
        self._left.add(group)
        for log in known.logs:
            self._sources.drop(group, log, self._link)

    def _known(self, group: GroupId, log: LogId) -> tuple[RemoteGroup | None, RemoteLog | None]:
        known = self._groups.get(group)
        return known, known.logs.get(log) if known else None

    def _take_entry(self, group: GroupId, known: RemoteGroup, entry: LogEntry) -> None:
        before = known.logs.get(entry.log)
        if before is not None:
            if known.admits(before.certificate.peer, 0, len(entry.tips) - before.named):
                before.announce(entry.tips)
            return
        try:
            certificate = self._view(group).certificates.get(entry.log) or read_certificate(entry.certificate, group)
        except CertificateInvalidError as error:
            self._reject(group, entry.log, error.code)
            return
        if certificate.log != entry.log:
            raise RemoteProtocolError("a log announced with the certificate of another")
        is_guest = self._access(group).is_guest
        if is_guest and certificate.kind is LogKind.DATA:
            return
        if not known.admits(certificate.peer, 1, len(entry.tips), as_guest=is_guest):
            return
        known.logs[entry.log] = RemoteLog(certificate, entry.tips, len(entry.tips))

    def _consider_logs(self, group: GroupId, known: RemoteGroup, logs: list[LogId], now_ms: int) -> None:
        """See which of these logs lack something, then what to ask for: control logs first."""
        if group not in self._replica.groups:
            return
        waited = bool(known.lacking[LogKind.CONTROL])
        considered: dict[LogKind, list[tuple[LogId, RemoteLog]]] = {LogKind.CONTROL: [], LogKind.DATA: []}
        for log in logs:
            entry = known.logs[log]
            if self._is_of_use(group, entry):
                self._update_lacking(group, known, log, entry, now_ms)
                considered[entry.certificate.kind].append((log, entry))
            else:
                known.lacking[entry.certificate.kind].discard(log)
        waits = bool(known.lacking[LogKind.CONTROL])
        if waited and not waits and len(logs) < len(known.logs):
            self._consider_logs(group, known, list(known.logs), now_ms)  # Now for the data.
            return
        for log, entry in considered[LogKind.CONTROL]:
            self._consider(group, known, log, entry, now_ms)
        if waits:
            return
        for log, entry in considered[LogKind.DATA]:
            self._consider(group, known, log, entry, now_ms)
        is_all = known.complete and self._access(group) is Access.MEMBER
        if is_all and not known.ended and not known.lacking[LogKind.DATA] and not any(entry.finding for entry in known.logs.values()):
            known.ended = True
            self._outbox.ask(BackfillEnded(group))

    def _consider(self, group: GroupId, known: RemoteGroup, log: LogId, entry: RemoteLog, now_ms: int) -> None:
        """Ask for one log here, if that is better than where it comes from now."""
        source = self._sources.get(group, log)
        if source is not None and source.link == self._link:
            return
        is_guest = self._access(group).is_guest
        is_author = entry.certificate.peer == self._remote and not is_guest
        lacking = log in known.lacking[entry.certificate.kind]
        if source is None:
            takes = lacking or is_author
        elif lacking:
            takes = now_ms - max(entry.lacking_since_ms, source.progress_ms) >= entry.patience_ms
        else:
            takes = is_author and not source.is_author
        if not takes or (is_guest and entry.asked):
            return
        if not is_guest:  # What guests bring must not keep anybody else from bringing it.
            self._sources.take(group, log, Source(self._link, is_author, now_ms))
        entry.asked = True
        if entry.again:
            entry.again = False
            self._questions.ask(ReadLocator(group, log))
        else:
            tips = self._view(group).tips.get(log, ())
            self._outbox.send(Want(group, log, self._positions(group, [tip.event_id for tip in reversed(tips)]), search=False))

    def _positions(self, group: GroupId, events: Sequence[EventId]) -> tuple[EventId, ...]:
        """Where they are to send on from: strangers are not told what is held here."""
        return () if self._access(group) is Access.STRANGER else tuple(events)[: limits.POSITIONS_MAX]

    def _update_lacking(self, group: GroupId, known: RemoteGroup, log: LogId, entry: RemoteLog, now_ms: int) -> None:
        ours = self._view(group).tips.get(log, ())
        ours_height = height(ours)
        reach = self._view(group).reach(entry.certificate)
        lacking = False
        unclear: list[EventId] = []
        for tip in entry.tips:
            if tip in ours or tip.event_id in entry.held or tip.event_id in entry.beyond:
                continue
            if reach is not None and tip.height > reach:
                lacking = lacking or ours_height < reach
            elif tip.height > ours_height or tip.event_id in entry.absent:
                lacking = True
            else:
                unclear.append(tip.event_id)
        if unclear and not entry.finding:
            entry.finding.update(unclear)
            self._questions.ask(FindEvents(group, log, tuple(unclear), FindPurpose.HELD))
        behind = known.lacking[entry.certificate.kind]
        if not lacking:
            behind.discard(log)
        elif log not in behind:
            behind.add(log)
            entry.lacking_since_ms = now_ms

    def _search_again(self, group: GroupId, known: RemoteGroup, log: LogId, code: str) -> None:
        """What they have does not fit what we hold: look for a common position, a few times."""
        entry = known.logs[log]
        entry.repeats += 1
        if entry.repeats > limits.WANT_REPEATS_MAX:
            self._refuse(group, known, log, code)
        else:
            self._questions.ask(ReadLocator(group, log))

    def _refuse(self, group: GroupId, known: RemoteGroup, log: LogId, code: str) -> None:
        """Nothing of this log is taken on this link any more; another link may bring it."""
        entry = known.logs[log]
        entry.bad = True
        entry.asked = False
        known.lacking[entry.certificate.kind].discard(log)
        self._sources.drop(group, log, self._link)
        self._reject(group, log, code)

    def _stop_asking(self, group: GroupId, log: LogId, entry: RemoteLog) -> None:
        """They need send no more of this log, for now."""
        self._sources.drop(group, log, self._link)
        if entry.asked:
            entry.asked = False
            self._outbox.send(Unwant(group, log))

    def _reject(self, group: GroupId, log: LogId, code: str) -> None:
        self._rejections += 1
        self.last_refusal = code
        if self._rejections > limits.REJECTIONS_MAX:
            raise LimitExceededError("too much that does not verify")
        self._outbox.send(Rejected(group, log, code))

    def _view(self, group: GroupId) -> GroupView:
        return self._replica.groups[group]

    def _access(self, group: GroupId) -> Access:
        return access_of(self._replica, group, self._remote)

    def _is_of_use(self, group: GroupId, entry: RemoteLog) -> bool:
        """Whether this log is asked for here: its author is or was a member, something of it counts, and data comes from members."""
        if entry.bad or entry.later or group not in self._replica.groups or self._view(group).reach(entry.certificate) == 0:
            return False
        return entry.certificate.kind is LogKind.CONTROL or self._access(group) is Access.MEMBER
