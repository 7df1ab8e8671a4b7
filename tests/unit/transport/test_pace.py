"""Buckets that fill with time, which is an argument here."""

import pytest

from peer.core.identity import PeerId
from peer.transport import pace
from peer.transport.pace import Bucket, Pace


def peer(number: int) -> PeerId:
    return PeerId(number.to_bytes(32, "big"))


class Clock:
    """Time that a test moves."""

    now_ms = 1_000

    def __call__(self) -> int:
        return self.now_ms


def test_a_second_is_free_and_the_rest_has_to_wait_its_time() -> None:
    bucket = Bucket(100, 0)

    assert bucket.take(100, 0) == 0
    assert bucket.take(50, 0) == 500
    assert bucket.take(0, 250) == 250
    assert bucket.take(0, 500) == 0
    assert bucket.take(1, 500) == 10


def test_a_bucket_holds_no_more_than_a_second_however_long_nobody_comes() -> None:
    bucket = Bucket(100, 0)

    assert bucket.take(200, 1_000_000) == 1000


def test_waiting_is_rounded_up_so_that_nobody_comes_too_early() -> None:
    bucket = Bucket(3, 0)
    bucket.take(3, 0)

    assert bucket.take(1, 0) == 334
    assert bucket.take(0, 334) == 0


def test_time_that_stands_still_or_runs_backwards_fills_nothing() -> None:
    bucket = Bucket(100, 1000)
    bucket.take(100, 1000)

    assert bucket.take(100, 500) == 1000
    assert bucket.take(0, 1000) == 1000


def test_each_peer_has_its_own_buckets_of_events_and_bytes() -> None:
    clock = Clock()
    both = Pace(100, 1000, clock)

    assert both.take(peer(1), events=200, size=1000) == 1000
    assert both.take(peer(1), events=0, size=3000) == 3000
    assert both.take(peer(2), events=100, size=1000) == 0
    clock.now_ms += 3000
    assert both.take(peer(1), events=0, size=0) == 0


def test_few_peers_are_remembered_and_those_that_owe_something_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger with ever new keys does not make a debtor forgotten, as long as there are others to forget."""
    monkeypatch.setattr(pace, "PEERS_MAX", 4)
    clock = Clock()
    rates = Pace(100, 1000, clock)
    assert rates.take(peer(0), events=10_100, size=0) == 100_000
    for number in range(1, 100):
        rates.take(peer(number), events=1, size=1)
        clock.now_ms += 20

    assert len(rates._buckets) <= 4
    assert rates.take(peer(0), events=0, size=0) > 90_000
    for number in range(100, 110):
        rates.take(peer(number), events=1000, size=0)
    assert len(rates._buckets) == 4
