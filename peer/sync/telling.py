"""The announcing half of a link: which groups we speak about, and what we say that we hold.

The first announcement of a group is complete, later ones name what has changed. A certificate goes along with the first mention of a log.
"""

from peer.core.certificate import Certificate
from peer.core.frontier import Tips
from peer.core.identity import GroupId, LogId
from peer.core.interfaces import Commit, Replica
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
        self.told: set[GroupId] = set()
        """Groups of which they know what we hold."""
        self.refused: set[GroupId] = set()
        """Those of them that they do not speak about with us."""
        self._certified: dict[GroupId, set[LogId]] = {}
        """Logs whose certificate they have from us, or we from them."""
        self._retells = 0

    def tell(self, group: GroupId) -> None:
        """Tell them all that we hold of `group`."""
        if len(self.told) >= limits.GROUPS_PER_LINK_MAX:
            raise LimitExceededError(f"more than {limits.GROUPS_PER_LINK_MAX} shared groups")
        self.told.add(group)
        view = self._replica.groups[group]
        pages: list[list[LogEntry]] = [[]]
        size = 0
        for log, tips in view.tips.items():
            entry = self._entry(view.certificates[log], tips)
            size += _ENTRY_SIZE + len(entry.certificate) + _TIP_SIZE * len(entry.tips)
            if size > limits.HAVE_SIZE_MAX or len(pages[-1]) >= limits.HAVE_LOGS_MAX:
                pages.append([])
                size = 0
            pages[-1].append(entry)
        for page in pages:
            self._outbox.send(Have(group, complete=True, more=page is not pages[-1], logs=tuple(page)))

    def tell_if_new(self, group: GroupId) -> None:
        """They speak about `group`: tell them all, unless they know."""
        if group in self.refused:
            self._retells += 1
            if self._retells > limits.RETELLS_MAX:
                raise LimitExceededError("a group refused and taken up again too often")
            self.forget(group)
        if group not in self.told:
            self.tell(group)

    def tell_commit(self, commit: Commit) -> None:
        """Tell them the new tips of one log."""
        self._outbox.send(Have(commit.group, complete=False, more=False, logs=(self._entry(commit.certificate, commit.tips),)))

    def mentioned(self, group: GroupId, logs: set[LogId]) -> None:
        """They have mentioned these logs: they have their certificates."""
        self._certified.setdefault(group, set()).update(logs)

    def refuse(self, group: GroupId) -> None:
        """They do not speak about `group`, and forget what they were told of it."""
        if group in self.told:
            self.refused.add(group)

    def forget(self, group: GroupId) -> None:
        """This group begins anew, if ever."""
        self.told.discard(group)
        self.refused.discard(group)
        self._certified.pop(group, None)

    def _entry(self, certificate: Certificate, tips: Tips) -> LogEntry:
        certified = self._certified.setdefault(certificate.group, set())
        known = certificate.log in certified
        certified.add(certificate.log)
        return LogEntry(certificate.log, b"" if known else certificate.to_bytes(), tips[-limits.TIPS_PER_LOG_MAX :])
