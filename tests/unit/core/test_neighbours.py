"""Two who hear of the same things on links."""

from collections.abc import Sequence

from peer.core.identity import GroupId, PeerId
from peer.core.neighbours import Both, NoNeighbours, Told

PEER, GROUP = PeerId(b"p" * 32), GroupId(b"g" * 32)


class Hearing(NoNeighbours):
    """Remembers what it was told."""

    def __init__(self, records: Sequence[tuple[GroupId, Told]] = ()) -> None:
        self.heard: list[object] = []
        self.records = records

    def linked(self, peer: PeerId, record: bytes, *, dialled_by_us: bool) -> None:
        self.heard.append((peer, record, dialled_by_us))

    def unlinked(self, peer: PeerId) -> None:
        self.heard.append(peer)

    def tried(self, peer: PeerId, endpoint: str, code: str | None) -> None:
        self.heard.append((peer, endpoint, code))

    def hear_records(self, peer: PeerId, group: GroupId, entries: Told) -> None:
        self.heard.append(("records", peer, group, entries))

    def hear_sites(self, peer: PeerId, group: GroupId, entries: Told) -> None:
        self.heard.append(("sites", peer, group, entries))

    def records_for(self, peer: PeerId) -> Sequence[tuple[GroupId, Told]]:
        del peer
        return self.records


def test_both_hear_everything_in_the_same_order_and_the_first_answers() -> None:
    first, second = Hearing([(GROUP, [(b"record", 1)])]), Hearing()
    both = Both(first, second)

    both.linked(PEER, b"its record", dialled_by_us=True)
    both.tried(PEER, "https://a.example:1", "unreachable")
    both.hear_records(PEER, GROUP, [(b"record", 2)])
    both.hear_sites(PEER, GROUP, [(b"status", 1)])
    both.unlinked(PEER)

    assert (
        first.heard
        == second.heard
        == [
            (PEER, b"its record", True),
            (PEER, "https://a.example:1", "unreachable"),
            ("records", PEER, GROUP, [(b"record", 2)]),
            ("sites", PEER, GROUP, [(b"status", 1)]),
            PEER,
        ]
    )
    assert both.records_for(PEER) == [(GROUP, [(b"record", 1)])]
