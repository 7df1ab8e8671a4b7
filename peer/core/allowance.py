"""How many lines may be written about somebody: so many at once, and so many a minute. Pure: the time is an argument."""

NAMES_MAX = 1024
_SECONDS_PER_MINUTE = 60.0


class _Bucket:
    """Fills at a steady rate."""

    def __init__(self, level: float, now_s: float) -> None:
        self.level = level
        self.seen_s = now_s
        self.left_out = 0


class Allowances:
    """One for each name."""

    def __init__(self, burst: int, per_minute: int) -> None:
        """`burst` are those at once."""
        self._burst, self._per_minute = burst, per_minute
        self._buckets: dict[str | None, _Bucket] = {}

    def take(self, name: str | None, now_s: float) -> int | None:
        """How many were left out before this one; None if this one is left out, too. `now_s` never goes back."""
        if len(self._buckets) >= NAMES_MAX and name not in self._buckets:
            self._buckets.clear()
        bucket = self._buckets.setdefault(name, _Bucket(self._burst, now_s))
        bucket.level = min(self._burst, bucket.level + (now_s - bucket.seen_s) * self._per_minute / _SECONDS_PER_MINUTE)
        bucket.seen_s = now_s
        if bucket.level < 1:
            bucket.left_out += 1
            return None
        bucket.level -= 1
        left_out, bucket.left_out = bucket.left_out, 0
        return left_out
