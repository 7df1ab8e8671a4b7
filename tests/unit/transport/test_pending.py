"""Who knocked: a short list, in which one address has few places."""

from peer.core.identity import PeerId
from peer.transport.pending import PENDING_PER_ADDRESS_MAX, PendingPeers


def peer(number: int) -> PeerId:
    return PeerId(number.to_bytes(32, "big"))


def test_one_network_of_ipv6_has_the_places_of_one_address() -> None:
    """Its owner has 2**64 addresses; a knock from elsewhere stays in the list."""
    pending = PendingPeers()
    pending.knocked(peer(1000), "good", (), "192.0.2.1", 1)
    for number in range(200):
        pending.knocked(peer(number), "many", (), f"2001:db8::{number:x}", 2 + number)

    shown = pending.shown()
    assert [each["peer_id"] for each in shown] == [peer(number).hex() for number in (199, 198, 197, 196, 1000)]
    assert len(shown) == PENDING_PER_ADDRESS_MAX + 1


def test_who_knocks_again_is_counted_and_stands_once() -> None:
    pending = PendingPeers()
    for now_ms in (10, 20, 30):
        pending.knocked(peer(1), "one", (), "192.0.2.1", now_ms)

    (only,) = pending.shown()
    assert (only["first_seen_ms"], only["last_seen_ms"], only["count"]) == (10, 30, 3)
    assert pending.forget(peer(1))
    assert not pending.forget(peer(1))
