"""Limits as people write them, and what they let through."""

import random

import pytest

from peer.core.bandwidth import (
    CATCH_UP_NS,
    ENTRIES_MAX,
    NS_PER_S,
    RATE_MIN,
    SLICE_SIZE_MAX,
    SLICE_SIZE_MIN,
    SLICES_A_SECOND,
    Allotment,
    Limit,
    read_limit,
    read_timetable,
)
from peer.core.identity import PeerId

ALICE, BOB = PeerId(b"a" * 32), PeerId(b"b" * 32)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("5M", Limit(5_000_000, 5_000_000)),
        ("1.5Mi:off", Limit(1_572_864, None)),
        ("off", Limit(None, None)),
        ("off:10000", Limit(None, 10_000)),
        ("20kB/s:3gB", Limit(20_000, 3 * 10**9)),
    ],
)
def test_limits_are_read_as_people_write_them(text: str, limit: Limit) -> None:
    assert read_limit(text) == limit


@pytest.mark.parametrize(
    "text",
    ["", " ", "5X", "0", "-1", "9999", "1M:2M:3M", "08:00", "08:00,", "25:00,1M", "1M 2M", "tod-08:00,1M", "9" * 16, "٣M", "1M,2M", "inf", "nan"],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_timetable(text)


def test_a_timetable_has_so_many_entries_and_no_more() -> None:
    words = [f"{number // 60:02}:{number % 60:02},1M" for number in range(ENTRIES_MAX + 1)]
    assert read_timetable(" ".join(words[:-1]))
    with pytest.raises(ValueError, match="64"):
        read_timetable(" ".join(words))


def test_a_limit_holds_from_its_time_on_until_the_next_on_its_day_and_over_midnight() -> None:
    table = read_timetable("08:00,1M 18:30,5M sat-00:00,off mon-08:00,2M:3M")
    for (day, hour, minute), expected in {
        (1, 8, 0): 1_000_000,
        (1, 7, 59): 5_000_000,
        (1, 18, 29): 1_000_000,
        (1, 18, 30): 5_000_000,
        (2, 0, 0): 5_000_000,
        (5, 0, 0): None,
        (5, 7, 59): None,
        (5, 8, 0): 1_000_000,
        (0, 8, 0): 2_000_000,
        (0, 7, 59): 5_000_000,
    }.items():
        assert table.at(day, hour * 60 + minute).up == expected, (day, hour, minute)
    assert table.at(0, 8 * 60).down == 3_000_000


@pytest.mark.parametrize("rate", [RATE_MIN, 500_000, 5_000_000, 10**9])
def test_what_is_let_through_is_the_rate_whatever_is_asked_for_and_however_late_timers_are(rate: int) -> None:
    chance = random.Random(rate)
    allotment, now, passed = Allotment(), 5 * NS_PER_S, 0
    allotment.set(rate, {})
    begun = now
    waiting = {allotment.ask(ALICE, chance.randint(1, 2 * rate), 0) for _ in range(3)}
    while now - begun < 60 * NS_PER_S:
        for number, size in allotment.due(now):
            passed += size
            waiting.remove(number)
            waiting.add(allotment.ask(ALICE, chance.randint(1, 2 * rate), 0))
            at_once = max(SLICE_SIZE_MIN, min(SLICE_SIZE_MAX, rate // SLICES_A_SECOND))
            assert passed <= rate * ((now - begun + CATCH_UP_NS) / NS_PER_S) + at_once + 1, "more than a slice too early"
        found = allotment.next_ns()
        assert found is not None
        now = max(now + 1, found + chance.randint(0, CATCH_UP_NS // 2))
    assert passed == pytest.approx(60 * rate, rel=0.05)


def test_the_more_urgent_passes_first_and_equals_take_turns() -> None:
    allotment, now = Allotment(), NS_PER_S
    allotment.set(1_000_000, {})
    allotment.ask(ALICE, 10**6, 0)
    allotment.due(now)
    order: list[str] = []
    now += NS_PER_S // SLICES_A_SECOND - CATCH_UP_NS
    waiting = {allotment.ask(ALICE, 50_000, urgency): name for name, urgency in (("policy", 100), ("one", 300), ("other", 300))}
    for _ in range(8):
        (number, _), *more = allotment.due(now)
        assert not more
        name = waiting.pop(number)
        order.append(name)
        if len(order) < 6:
            waiting[allotment.ask(ALICE, 50_000, 100 if name == "policy" else 300)] = name
        found = allotment.next_ns()
        if found is None:
            break
        now = found
    assert order == ["one", "other", "one", "other", "one", "other", "one", "policy"]


def test_a_peer_with_a_limit_of_its_own_holds_up_nobody_else() -> None:
    allotment, now = Allotment(), NS_PER_S
    allotment.set(10_000_000, {BOB: 100_000})
    passed = {ALICE: 0, BOB: 0}
    asked = {allotment.ask(peer, 10**6, 0): peer for peer in (ALICE, BOB)}
    while now < 11 * NS_PER_S:
        for number, size in allotment.due(now):
            peer = asked.pop(number)
            passed[peer] += size
            asked[allotment.ask(peer, 10**6, 0)] = peer
        found = allotment.next_ns()
        assert found is not None
        now = max(now + 1, found)
    assert passed[BOB] == pytest.approx(1_000_000, rel=0.05)
    assert passed[ALICE] == pytest.approx(99_000_000, rel=0.05)


def test_another_rate_holds_at_once_for_those_who_wait() -> None:
    allotment, now = Allotment(), NS_PER_S
    allotment.set(RATE_MIN, {})
    assert not allotment.is_free(ALICE)
    allotment.ask(ALICE, 10**6, 0)
    assert len(allotment.due(now)) == 1
    waiting = allotment.ask(ALICE, 10**6, 0)
    assert allotment.due(now) == []
    allotment.set(None, {})
    assert allotment.is_free(ALICE)
    assert allotment.due(now) == [(waiting, 10**6)]
    assert allotment.next_ns() is None


def test_who_does_not_wait_any_more_gets_nothing() -> None:
    allotment = Allotment()
    allotment.set(RATE_MIN, {})
    allotment.forget(allotment.ask(ALICE, 1, 0))
    assert (allotment.due(NS_PER_S), allotment.next_ns()) == ([], None)
