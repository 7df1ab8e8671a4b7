"""The receiving half of a link: what they have and we lack, and which of it to ask for here.

Each log is asked for on one link at a time (`sources`); a group's data logs wait until its control logs are here. Positions say where to start; where
they do not know ours, a search finds the highest that both have.
"""

from collections.abc import Iterable

from peer.core.certificate import Certificate, LogKind, read_certificate
from peer.core.control import Role
from peer.core.frontier import Tip, Tips, events_between, height, sorted_tips
from peer.core.identity import EventId, GroupId, LogId, PeerId
from peer.core.interfaces import Commit, GroupView, Replica
from peer.core.run import Run, read_run
from peer.errors import CertificateInvalidError, CreditExceededError, EventRejectedError, LimitExceededError, RemoteProtocolError
from peer.sync import limits
from peer.sync.effects import BackfillEnded, EventsFound, FindEvents, FindPurpose, LocatorRead, ReadLocator, RunStored, StoreRun
from peer.sync.messages import Credit, Events, Have, LogEntry, Rejected, Unknown, Unwant, Want
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
        self._credit_left = limits.CREDIT_INITIAL
        self._to_grant = 0
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
        known = self._groups.get(group)
        return known is not None and known.ended

    def their_tips(self, group: GroupId, log: LogId) -> Tips:
        """What they last said they hold of a log."""
        known = self._groups.get(group)
        entry = known.logs.get(log) if known else None
        return entry.tips if entry else ()

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
        known = self._groups.setdefault(message.group, RemoteGroup())
        for entry in message.logs:
            self._take_entry(message.group, known, entry)
        if len(known.logs) > limits.LOGS_PER_GROUP_MAX:
            raise LimitExceededError(f"more than {limits.LOGS_PER_GROUP_MAX} logs in one group")
        if known.tips > limits.TIPS_PER_GROUP_MAX:
            raise LimitExceededError(f"more than {limits.TIPS_PER_GROUP_MAX} tips in one group")
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

    def events(self, message: Events, size: int) -> Run | None:
        """They send a run: verify it, and ask the store to keep it. Refused runs, None here, are answered, and the link goes on."""
        self._credit_left -= size
        if self._credit_left < 0:
            raise CreditExceededError("more bytes of events than were granted")
        known, entry = self._known(message.group, message.log)
        if (known is None or entry is None) and message.group not in self._left:
            raise RemoteProtocolError("events of a log that was never announced")
        if known is None or entry is None or entry.bad or not self._is_member(message.group, entry.certificate):
            self._return_credit(size)
            return None
        try:
            run = read_run(entry.certificate, message.events, message.signature)
        except EventRejectedError as error:
            self._refuse(message.group, known, message.log, error.code)
            self._return_credit(size)
            return None
        self._note_sent(entry, run)
        entry.storing += 1
        self._outbox.ask(StoreRun(entry.certificate, run, size))
        return run

    def stored(self, fact: RunStored, now_ms: int) -> None:
        """The store is through with a run."""
        certificate, run, size = fact.effect
        group, log = certificate.group, certificate.log
        self._return_credit(size)
        known, entry = self._known(group, log)
        if known is None or entry is None:
            return
        entry.storing = max(0, entry.storing - 1)  # It may have been stored for the group as it was before it was left.
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
            source.progress_ms = now_ms
        self._note_held(entry, run)
        self._consider_logs(group, known, [log], now_ms)

    def committed(self, commit: Commit, now_ms: int) -> None:
        """A run became durable, wherever it came from."""
        known = self._groups.get(commit.group)
        if known is None:
            return
        entry = known.logs.get(commit.run.log)
        if entry is not None:
            self._note_held(entry, commit.run)
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
        if entry is not None and entry.asked:
            self._outbox.send(Want(group, log, tuple(fact.events)[: limits.POSITIONS_MAX], search=True))

    def consider_all(self, now_ms: int) -> None:
        """Sources or rosters have changed: see what to ask for."""
        for group, known in self._groups.items():
            self._consider_logs(group, known, list(known.logs), now_ms)

    def rosters_changed(self, now_ms: int) -> None:
        """Where somebody came or went, other logs are asked for."""
        for group, known in self._groups.items():
            view = self._replica.groups.get(group)
            if view is not None and view.roster.members.keys() != known.members:
                known.members = set(view.roster.members)
                self._consider_logs(group, known, list(known.logs), now_ms)

    def tick(self, now_ms: int) -> None:
        """Time has passed: a silent source may be replaced."""
        for group, log in self._sources.take_lost(self._link):
            _, entry = self._known(group, log)
            if entry is not None and entry.asked:
                entry.asked = False
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
            known.tips += len(entry.tips) - before.named
            before.tips, before.named = entry.tips, len(entry.tips)
            named = {tip.event_id for tip in entry.tips}
            before.held &= named
            before.absent &= named
            return
        certificate = self._view(group).certificates.get(entry.log)
        if certificate is None:
            try:
                certificate = read_certificate(entry.certificate, group)
            except CertificateInvalidError as error:
                self._reject(group, entry.log, error.code)
                return
        if certificate.log != entry.log:
            raise RemoteProtocolError("a log announced with the certificate of another")
        known.tips += len(entry.tips)
        known.logs[entry.log] = RemoteLog(certificate, entry.tips, len(entry.tips))

    def _note_sent(self, entry: RemoteLog, run: Run) -> None:
        """They sent `run`, so they hold it. Of their other tips those that we lack stay."""
        previous = run.first.header.previous
        if run.last.height <= height(entry.tips) and all(tip.event_id != previous for tip in entry.tips):
            return
        ours = self._view(run.first.header.group).tips.get(run.log, ())
        passed = {previous, *(event.id for event in run.events)}
        lacking = [tip for tip in entry.tips if tip.event_id not in passed and tip.event_id not in entry.held and tip not in ours]
        entry.tips = sorted_tips([*lacking, Tip(run.last.height, run.last.id)])[-limits.TIPS_PER_LOG_MAX :]
        named = {tip.event_id for tip in entry.tips}
        entry.held &= named
        entry.absent &= named

    def _note_held(self, entry: RemoteLog, run: Run) -> None:
        """Tips of theirs within `run` are held now."""
        first, last = run.first.height, run.last.height
        for tip in entry.tips:
            if first <= tip.height <= last and run.events[tip.height - first].id == tip.event_id:
                entry.held.add(tip.event_id)
                entry.absent.discard(tip.event_id)

    def _consider_logs(self, group: GroupId, known: RemoteGroup, logs: list[LogId], now_ms: int) -> None:
        """See which of these logs lack something, then what to ask for: control logs first."""
        if group not in self._replica.groups:
            return
        waited = bool(known.lacking[LogKind.CONTROL])
        considered: dict[LogKind, list[tuple[LogId, RemoteLog]]] = {LogKind.CONTROL: [], LogKind.DATA: []}
        for log in logs:
            entry = known.logs[log]
            if not entry.bad and self._is_member(group, entry.certificate):
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
        if known.complete and not known.ended and not known.lacking[LogKind.DATA] and not any(entry.finding for entry in known.logs.values()):
            known.ended = True
            self._outbox.ask(BackfillEnded(group))

    def _consider(self, group: GroupId, known: RemoteGroup, log: LogId, entry: RemoteLog, now_ms: int) -> None:
        """Ask for one log here, if that is better than where it comes from now."""
        source = self._sources.get(group, log)
        if source is not None and source.link == self._link:
            return
        is_author = entry.certificate.peer == self._remote
        lacking = log in known.lacking[entry.certificate.kind]
        if source is None:
            takes = lacking or is_author
        elif lacking:
            takes = now_ms - max(entry.lacking_since_ms, source.progress_ms) >= limits.SOURCE_SILENT_MS
        else:
            takes = is_author and not source.is_author
        if takes:
            self._sources.take(group, log, Source(self._link, is_author, now_ms))
            entry.asked = True
            positions = tuple(tip.event_id for tip in self._view(group).tips.get(log, ())[-limits.POSITIONS_MAX :])
            self._outbox.send(Want(group, log, positions, search=False))

    def _update_lacking(self, group: GroupId, known: RemoteGroup, log: LogId, entry: RemoteLog, now_ms: int) -> None:
        ours = self._view(group).tips.get(log, ())
        ours_height = height(ours)
        lacking = False
        unclear: list[EventId] = []
        for tip in entry.tips:
            if tip in ours or tip.event_id in entry.held:
                continue
            if tip.height > ours_height or tip.event_id in entry.absent:
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

    def _reject(self, group: GroupId, log: LogId, code: str) -> None:
        self._rejections += 1
        self.last_refusal = code
        if self._rejections > limits.REJECTIONS_MAX:
            raise LimitExceededError("too much that does not verify")
        self._outbox.send(Rejected(group, log, code))

    def _return_credit(self, size: int) -> None:
        self._to_grant += size
        if self._to_grant >= limits.CREDIT_GRANT_MIN:
            self._outbox.send(Credit(self._to_grant))
            self._credit_left += self._to_grant
            self._to_grant = 0

    def _view(self, group: GroupId) -> GroupView:
        return self._replica.groups[group]

    def _is_member(self, group: GroupId, certificate: Certificate) -> bool:
        """Whether the author of this log is on the roster: only their logs are asked for."""
        return self._view(group).roster.role(certificate.peer) is not Role.NONE
