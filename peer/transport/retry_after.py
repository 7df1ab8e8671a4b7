"""How long a server asks to be left alone: `Retry-After` of RFC 9110, in seconds or as a date. Pure; what cannot be read is not said."""

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

HEADER = "Retry-After"
DATE_HEADER = "Date"
WAIT_STATUS = frozenset({429, 503})
RETRY_AFTER_MAX_MS = 3_600_000
"""Longer than this nobody is believed: a mistake or a hostile proxy would part two sites for ever."""

VALUE_CHARACTERS_MAX = 64


def retry_after_ms(headers: Mapping[str, str], now_s: float) -> int | None:
    """Milliseconds to wait from `now_s`, in Unix time, by the headers of an answer; None if it says nothing, or nothing that is still to come.

    A date is compared with that of the answer itself, where it has one: clocks of robots are wrong.
    """
    value = headers.get(HEADER, "").strip()
    if re.fullmatch(r"[0-9]{1,64}", value):
        wait_ms = int(value) * 1000
    else:
        until_s = _seconds_of(value)
        if until_s is None:
            return None
        sent_s = _seconds_of(headers.get(DATE_HEADER, ""))
        wait_ms = int((until_s - (now_s if sent_s is None else sent_s)) * 1000)
    return min(wait_ms, RETRY_AFTER_MAX_MS) if wait_ms > 0 else None


def _seconds_of(date: str) -> float | None:
    if len(date) > VALUE_CHARACTERS_MAX:
        return None
    try:
        found = parsedate_to_datetime(date)
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
