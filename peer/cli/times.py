"""Times and durations as people write them: RFC 3339, `2026-11-20`, `2d` (ago), `+12.5s` (from a recording's start); `30s`, `24h`."""

import re
import time
from datetime import datetime

from peer.errors import ConfigError

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d|w)\Z")
NS_PER_S = 1_000_000_000
TIME_FORMS = "2026-11-20, 2026-11-20T08:30:00Z, or 2d for two days ago"


def parse_duration(text: str) -> float:
    """Seconds in `30s`, `5m`, `24h`, `90d`. Raises `ConfigError`."""
    found = _DURATION.match(text.strip())
    if found is None:
        raise ConfigError(f"{text!r} is no duration", fix="write a number and a unit: 30s, 5m, 24h, 90d")
    return float(found[1]) * _UNITS_S[found[2]]


def parse_time_ns(text: str, forms: str = TIME_FORMS) -> int:
    """Unix time in ns of an RFC 3339 time, a date (local midnight), or a duration ago. Raises `ConfigError`."""
    if _DURATION.match(text.strip()):
        return time.time_ns() - int(parse_duration(text) * NS_PER_S)
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise ConfigError(f"{text!r} is no time", fix=f"write {forms}") from error
    return int(moment.astimezone().timestamp()) * NS_PER_S + moment.microsecond * 1000


def parse_moment_ns(text: str, start_ns: str | None) -> int:
    """As `parse_time_ns`; with a plus in front, so long after the start of a recording, which stands in its JSON. Raises `ConfigError`."""
    if not text.strip().startswith("+"):
        return parse_time_ns(text, f"{TIME_FORMS}, or +12.5s for so long after the start")
    after_ns = round(parse_duration(text.strip()[1:]) * NS_PER_S)
    if start_ns is None:
        raise ConfigError(f"{text!r} counts from the start of a recording, and this one has no messages", fix="write the time itself")
    return int(start_ns) + after_ns
