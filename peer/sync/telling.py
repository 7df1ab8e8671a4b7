"""The announcing half of a link: what we say that we hold.

The first announcement of a group is complete, later ones name what has changed. A certificate goes along with the first mention of a log.
Whoever is no member hears of control logs only, or of nothing.
"""

from collections.abc import Iterable

from peer.core.certificate import Certificate, LogKind
from peer.core.frontier import Tips
from peer.core.identity import GroupId, LogId
from peer.core.interfaces import Commit, GroupView, Replica
from peer.errors import LimitExceededError
from peer.sync import limits
from peer.sync.messages import Have, LogEntry
from peer.sync.outbox import Outbox

_ENTRY_SIZE, _TIP_SIZE = 48, 48
"""Bytes in a frame, at most, of an entry without certificate and tips, and of a tip."""


class Telling:
    """What they know of us."""

    def __init__(self, replica: Replica, outbox: Outbox) -> None:
        self._replica = replica
        self._outbox = outbox
        self.refused: set[GroupId] = set()
        """Groups that we told them of, and that they do not speak about with us."""
        self._told: dict[GroupId, dict[LogId, Tips]] = {}
        """What they were told last of each log, by us or by events that we sent."""
        self._certified: dict[GroupId, set[LogId]] = {}
        """Logs whose certificate they have from us, or we from them."""
        self._retells = 0

    def tell(self, group: GroupId, *, data: bool = True) -> None:
        """Tell them all that we hold of `group`, or of its control logs."""
        if group not in self._told and len(self._told) >= limits.GROUPS_PER_LINK_MAX:
            raise LimitExceededError(f"more than {limits.GROUPS_PER_LINK_MAX} shared groups")
        self._told[group] = {}
        self._send(group, _logs(self._replica.groups[group], data=data), complete=True)

    def tell_again(self, group: GroupId, *, data: bool = True) -> None:
        """They have forgotten, or passed over, what they were told. Raises `LimitExceededError` if that happens too often."""
        self._retells += 1
        if self._retells > limits.RETELLS_MAX:
            raise LimitExceededError("a group refused and taken up again too often")
        self.forget(group)
        self.tell(group, data=data)

    def is_told(self, group: GroupId) -> bool:
        """True if they know what we hold of `group`, or of its control logs."""
        return group in self._told

    def tell_commit(self, commit: Commit) -> None:
        """Tell them the new tips of one log."""
        if commit.tips:
            self._outbox.send(Have(commit.group, complete=False, more=False, logs=(self._entry(commit.certificate, commit.tips),)))

    def note(self, group: GroupId, log: LogId, tips: Tips) -> None:
        """They hear of these tips by the events themselves."""
        self._told[group][log] = tips

    def changed(self, group: GroupId, *, data: bool = True) -> list[LogId]:
        """Logs of which we hold something else, as far as it counts, than they were told: without a commit, since the roster changed."""
        told, view = self._told[group], self._replica.groups[group]
        return [log for log in _logs(view, data=data) if told.get(log) != view.tips[log]]

    def tell_logs(self, group: GroupId, logs: list[LogId]) -> None:
        """Tell them the tips of these logs."""
        if logs:
            self._send(group, logs, complete=False)

    def mentioned(self, group: GroupId, logs: set[LogId]) -> None:
        """They have mentioned these logs: they have their certificates."""
        self._certified.setdefault(group, set()).update(logs)

    def refuse(self, group: GroupId) -> None:
        """They do not speak about `group`, and forget what they were told of it."""
        if group in self._told:
            self.refused.add(group)

    def forget(self, group: GroupId) -> None:
        """This group begins anew, if ever."""
        self._told.pop(group, None)
        self.refused.discard(group)
        self._certified.pop(group, None)

    def _send(self, group: GroupId, logs: Iterable[LogId], *, complete: bool) -> None:
        view = self._replica.groups[group]
        pages: list[list[LogEntry]] = [[]]
        size = 0
        for log in logs:
            entry = self._entry(view.certificates[log], view.tips[log])
            size += _ENTRY_SIZE + len(entry.certificate) + _TIP_SIZE * len(entry.tips)
            if size > limits.HAVE_SIZE_MAX or len(pages[-1]) >= limits.HAVE_LOGS_MAX:
                pages.append([])
                size = 0
            pages[-1].append(entry)
        for page in pages:
            self._outbox.send(Have(group, complete=complete, more=complete and page is not pages[-1], logs=tuple(page)))

    def _entry(self, certificate: Certificate, tips: Tips) -> LogEntry:
        certified = self._certified.setdefault(certificate.group, set())
        known = certificate.log in certified
        certified.add(certificate.log)
        self._told.setdefault(certificate.group, {})[certificate.log] = tips
        return LogEntry(certificate.log, b"" if known else certificate.to_bytes(), tips[-limits.TIPS_PER_LOG_MAX :])


def _logs(view: GroupView, *, data: bool) -> list[LogId]:
    """Logs of which something counts."""
    return [log for log, tips in view.tips.items() if tips and (data or view.certificates[log].kind is LogKind.CONTROL)]
