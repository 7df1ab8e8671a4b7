"""How many requests somebody may make in a minute. Pure: the time is an argument."""

from typing import NamedTuple

WINDOW_MS = 60_000
_MS_PER_S = 1000


class Allowance(NamedTuple):
    """What is left of somebody's budget."""

    limit: int
    left: int
    """Below zero where it was exceeded."""
    reset_s: int
    """Seconds until it is whole again, at least 1."""

    @property
    def is_spent(self) -> bool:
        """True for a request too many."""
        return self.left < 0

    def headers(self) -> dict[str, str]:
        """As clients read it."""
        return {"x-ratelimit-limit": str(self.limit), "x-ratelimit-remaining": str(max(0, self.left)), "x-ratelimit-reset": str(self.reset_s)}


class Budgets:
    """So many a minute, for each name. Windows begin with a name's first request."""

    def __init__(self, limit: int, names_max: int) -> None:
        """Of more names than that the one that came first is forgotten."""
        self._limit = limit
        self._names_max = names_max
        self._windows: dict[str, tuple[int, int]] = {}

    def take(self, name: str, now_ms: int) -> Allowance:
        """One more of `name`."""
        began, used = self._windows.get(name, (now_ms, 0))
        if now_ms - began >= WINDOW_MS:
            began, used = now_ms, 0
            self._windows.pop(name, None)
        while name not in self._windows and len(self._windows) >= self._names_max:
            del self._windows[next(iter(self._windows))]
        used = min(used + 1, self._limit + 1)
        self._windows[name] = (began, used)
        return Allowance(self._limit, self._limit - used, max(1, -(-(began + WINDOW_MS - now_ms) // _MS_PER_S)))
