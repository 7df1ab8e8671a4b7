"""How long a server asks to be left alone."""

import pytest

from peer.transport.retry_after import RETRY_AFTER_MAX_MS, VALUE_CHARACTERS_MAX, retry_after_ms

NOW_S = 1_700_000_000.25
"""Tue, 14 Nov 2023 22:13:20 GMT, and a quarter of a second."""


@pytest.mark.parametrize(("value", "wait_ms"), [("1", 1000), ("120", 120_000), (" 7 ", 7000), ("0007", 7000)])
def test_seconds_are_taken_as_they_are(value: str, wait_ms: int) -> None:
    assert retry_after_ms({"Retry-After": value}, NOW_S) == wait_ms


@pytest.mark.parametrize("value", ["Tue, 14 Nov 2023 22:14:20 GMT", "Tue, 14 Nov 2023 22:14:20 -0000", "Tuesday, 14-Nov-23 22:14:20 GMT"])
def test_a_date_is_taken_by_the_clock_of_the_answer(value: str) -> None:
    """Or by ours, where it has none."""
    assert retry_after_ms({"Retry-After": value}, NOW_S) == 59_750
    assert retry_after_ms({"Retry-After": value, "Date": "Tue, 14 Nov 2023 22:14:00 GMT"}, 0.0) == 20_000
    assert retry_after_ms({"Retry-After": value, "Date": "yesterday"}, NOW_S) == 59_750


@pytest.mark.parametrize(
    "value",
    ["", "0", "-5", "1.5", "1e3", "soon", "٣", "Tue, 14 Nov 2023 22:13:19 GMT", "Tue, 99 Nov 2023 22:13:19 GMT", "1 2", "0x1", "1" * 65, "," * 9999],
)
def test_what_cannot_be_read_or_is_over_is_not_obeyed(value: str) -> None:
    assert retry_after_ms({"Retry-After": value}, NOW_S) is None
    assert retry_after_ms({}, NOW_S) is None


@pytest.mark.parametrize("value", ["3601", "9" * VALUE_CHARACTERS_MAX, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_nobody_makes_us_wait_for_ever(value: str) -> None:
    assert retry_after_ms({"Retry-After": value}, NOW_S) == RETRY_AFTER_MAX_MS
