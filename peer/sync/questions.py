"""What one session asks its store: a few questions at a time, however many the other side gives reason for.

The rest waits, one question of each kind for a log: a newer one replaces it.
"""

from enum import StrEnum

from peer.core.identity import GroupId, LogId
from peer.errors import LimitExceededError
from peer.sync import limits
from peer.sync.effects import FindEvents, ReadLocator
from peer.sync.outbox import Outbox

Question = FindEvents | ReadLocator


class Questions:
    """Those under way, and those that wait."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._under_way = 0
        self._waiting: dict[tuple[StrEnum | None, GroupId, LogId], Question] = {}
        self._positions = 0
        """Events that the waiting ones name."""

    def ask(self, question: Question) -> None:
        """Ask now or later. Raises `LimitExceededError` if too much waits."""
        if self._under_way < limits.FINDS_UNDER_WAY_MAX:
            self._under_way += 1
            self._outbox.ask(question)
            return
        key = (question.purpose if isinstance(question, FindEvents) else None, question.group, question.log)
        before = self._waiting.get(key)
        self._positions += _named(question) - (_named(before) if before else 0)
        if self._positions > limits.POSITIONS_WAITING_MAX:
            raise LimitExceededError("they name more events than can be looked for")
        self._waiting[key] = question

    def answered(self) -> None:
        """The store has answered one: the one that waits longest is next."""
        self._under_way -= 1
        if self._waiting:
            question = self._waiting.pop(next(iter(self._waiting)))
            self._positions -= _named(question)
            self.ask(question)


def _named(question: Question) -> int:
    return len(question.events) if isinstance(question, FindEvents) else 0
