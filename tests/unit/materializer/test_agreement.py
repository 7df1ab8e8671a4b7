"""Who asks for parts of digests without end takes no place of others."""

from types import SimpleNamespace
from typing import Any, cast

from materializer import agreement
from materializer.agreement import Agreement
from peer.sync.digests import DigestWant
from tests.samples import GROUP, key_pair

ALICE, MALLORY, STRANGER = (key_pair(name).peer_id for name in ("alice", "mallory", "eve"))


def test_who_asks_without_end_leaves_room_for_others() -> None:
    members = {ALICE: None, MALLORY: None}
    replica: Any = SimpleNamespace(groups={GROUP: SimpleNamespace(roster=SimpleNamespace(members=members))})
    nothing = cast("Any", None)
    site = Agreement(nothing, nothing, replica, nothing, lambda: 0)
    for number in range(2 * agreement.WAITING_MAX):
        site.hear(MALLORY, DigestWant(GROUP, bytes(32), "chunks", number.to_bytes(2, "big")))
        site.hear(STRANGER, DigestWant(GROUP, bytes(32), "chunks", b""))
    site.hear(ALICE, DigestWant(GROUP, bytes(32), "chunks", b""))

    assert [peer for peer, _ in site._waiting] == [MALLORY] * agreement.WAITING_OF_PEER_MAX + [ALICE]
