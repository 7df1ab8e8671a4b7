"""What reviews say together. Whole numbers only: an average with hundredths is a decimal text."""

from collections.abc import Iterable

from peer.core.encoding import Value

LEAST, MOST = 1, 5
"""The worst and the best that a review says."""
TAKEN_BACK = ""


def is_value(value: Value) -> bool:
    """True for what counts as a review. Text is what older versions wrote: it is shown, and counted nowhere."""
    return type(value) is int and LEAST <= value <= MOST


def average(values: Iterable[Value]) -> str | None:
    """The average of those that count, with two digits behind the point, half a hundredth rounded up; None if there are none."""
    counted = [value for value in values if type(value) is int]
    if not counted:
        return None
    hundredths = (200 * sum(counted) + len(counted)) // (2 * len(counted))
    return f"{hundredths // 100}.{hundredths % 100:02}"
