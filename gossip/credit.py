"""What the word of a peer is worth that tells of others. Pure.

Whoever tells of what is forged, of strangers, or of addresses where nobody is pays for it; whoever tells of peers that are then reached earns. From
whom has no credit nothing is taken, and none of its addresses is dialled, for a while. That says nothing of its link: events flow on.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from peer.core.identity import PeerId

CREDIT_START = 50
CREDIT_MAX = 100
COST_INVALID = 10
"""A record that its peer did not sign, or that nobody would take."""
COST_STRANGER = 2
"""A record of somebody who is no member: their roster may be ahead of ours."""
COST_UNREACHABLE = 2
"""Addresses at which nobody answered."""
LEFT_BY_SILENCE = 20
"""Points that this leaves to whoever told of somebody that was reached: networks differ, and sites are switched off."""
COST_WRONG_KEY = 10
"""Addresses at which another key answered."""
EARNED = 5
"""For a peer that was told of and then reached."""
REGAINED_MS = 60_000
"""How long one point takes to come back by itself."""
PAUSE_MS = 10 * 60_000
"""How long nothing is taken from who has no credit left."""
CREDIT_AFTER_PAUSE = 10
INFORMANTS_MAX = 1024
"""Peers whose credit is remembered; those that owe least are forgotten first."""


@dataclass(slots=True)
class _Account:
    points: int
    updated_ms: int
    paused_until_ms: int | None = None
    was_right: bool = False
    """Whether anybody was reached of whom it told."""


class Credit:
    """The accounts of all who tell of others."""

    def __init__(self) -> None:
        self._accounts: dict[PeerId, _Account] = {}

    def is_good(self, peer: PeerId, now_ms: int) -> bool:
        """Whether anything is taken from `peer`."""
        account = self._accounts.get(peer)
        return account is None or self._updated(account, now_ms).paused_until_ms is None

    def points(self, peer: PeerId, now_ms: int) -> int:
        """What is left."""
        account = self._accounts.get(peer)
        return CREDIT_START if account is None else self._updated(account, now_ms).points

    def spend(self, peer: PeerId, points: int, now_ms: int, *, is_silence: bool = False) -> bool:
        """Take `points` from `peer`, some of them at most where it is only that nobody answered; True if it has none left since then."""
        account = self._account(peer, now_ms)
        if account.paused_until_ms is not None:
            return False
        least = min(account.points, LEFT_BY_SILENCE) if is_silence and account.was_right else 0
        account.points = max(least, account.points - points)
        if account.points:
            return False
        account.paused_until_ms = now_ms + PAUSE_MS
        return True

    def earn(self, peer: PeerId, points: int, now_ms: int) -> None:
        """What `peer` told was true."""
        account = self._account(peer, now_ms)
        account.was_right = True
        if account.paused_until_ms is None:
            account.points = min(CREDIT_MAX, account.points + points)

    def paused(self, now_ms: int) -> Mapping[PeerId, int]:
        """From whom nothing is taken, and for how many ms."""
        found = {peer: self._updated(account, now_ms).paused_until_ms for peer, account in self._accounts.items()}
        return {peer: until - now_ms for peer, until in sorted(found.items()) if until is not None}

    def _account(self, peer: PeerId, now_ms: int) -> _Account:
        if peer not in self._accounts:
            while len(self._accounts) >= INFORMANTS_MAX:
                del self._accounts[max(self._accounts, key=lambda each: self._updated(self._accounts[each], now_ms).points)]
            self._accounts[peer] = _Account(CREDIT_START, now_ms)
        return self._updated(self._accounts[peer], now_ms)

    def _updated(self, account: _Account, now_ms: int) -> _Account:
        """With what came back meanwhile."""
        if account.paused_until_ms is not None:
            if now_ms < account.paused_until_ms:
                return account
            account.points, account.updated_ms, account.paused_until_ms = CREDIT_AFTER_PAUSE, account.paused_until_ms, None
        regained = max(0, now_ms - account.updated_ms) // REGAINED_MS
        account.updated_ms += regained * REGAINED_MS
        if account.points < CREDIT_START:
            account.points = min(CREDIT_START, account.points + regained)
        return account
