"""Where WebSockets are refused: remembered for a while, and of few addresses."""

import pytest

from peer.transport import opening
from peer.transport.opening import UPGRADE_REFUSED_MS, Upgrades


def test_it_is_remembered_for_a_while() -> None:
    upgrades = Upgrades()
    upgrades.refused("https://a", 1000)

    assert upgrades.are_refused("https://a", 1000 + UPGRADE_REFUSED_MS - 1)
    assert not upgrades.are_refused("https://a", 1000 + UPGRADE_REFUSED_MS)
    assert not upgrades.are_refused("https://b", 1000)


def test_where_polling_fails_it_is_forgotten() -> None:
    upgrades = Upgrades()
    upgrades.refused("https://a", 1000)
    upgrades.forget("https://a")
    upgrades.forget("https://b")

    assert not upgrades.are_refused("https://a", 1000)


def test_few_addresses_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one whose refusal is oldest makes room."""
    monkeypatch.setattr(opening, "ENDPOINTS_MAX", 2)
    upgrades = Upgrades()
    for at, endpoint in enumerate(["a", "b", "a", "c"]):
        upgrades.refused(endpoint, at)

    assert [endpoint for endpoint in "abc" if upgrades.are_refused(endpoint, 10)] == ["a", "c"]
