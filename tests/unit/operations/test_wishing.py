"""What a person asked for, and until when."""

from collections.abc import Collection, Sequence
from types import SimpleNamespace
from typing import cast

from peer.core.identity import BlobId, EventId, GroupId, PeerId
from peer.core.interfaces import WantedBlob
from peer.core.views import Views
from peer.core.wishes import PRIORITIES, Why
from peer.errors import DiskFullError
from peer.operations.wishing import Asked

GROUP, OTHER = GroupId(b"g" * 32), GroupId(b"o" * 32)
ONE, TWO = EventId(b"1" * 32), EventId(b"2" * 32)


class Recordings:
    """Two recordings, of one file each."""

    def __init__(self) -> None:
        self.manifest: bytes | None = b"m"

    async def wanted_blobs(self, group: GroupId, recordings: Collection[EventId] | None) -> Sequence[WantedBlob]:
        assert recordings is not None
        return [WantedBlob(group, each, BlobId(each), 1, 2**20, BlobId(each), each, PeerId(each)) for each in recordings]

    async def recording(self, _: GroupId, __: EventId) -> object:
        return SimpleNamespace(manifest_id=self.manifest)


class Kept:
    """A disk that may be full."""

    def __init__(self) -> None:
        self.rows: set[tuple[GroupId, EventId]] = set()
        self.is_full = False

    async def asked(self) -> set[tuple[GroupId, EventId]]:
        return set(self.rows)

    async def ask(self, group: GroupId, recording: EventId) -> None:
        self.rows.add((group, recording))

    async def forget_asked(self, group: GroupId, recordings: Collection[EventId]) -> None:
        if self.is_full:
            raise DiskFullError("full")
        self.rows -= {(group, each) for each in recordings}


async def test_what_was_asked_for_is_wished_for_until_all_of_it_is_here() -> None:
    views, kept, here = Recordings(), Kept(), set[BlobId]()
    asked = Asked(cast("Views", views), here.__contains__, kept, set())
    await asked.ask(GROUP, ONE)
    await asked.ask(OTHER, TWO)
    (wish,) = await asked.wishes(GROUP, None)
    assert (wish.file.recording, wish.why, wish.priority) == (ONE, Why.ASKED, PRIORITIES[Why.ASKED])
    assert await asked.wishes(GROUP, [TWO]) == []
    here.add(BlobId(ONE))
    views.manifest = None
    assert await asked.wishes(GROUP, [ONE]), "while it is recorded more may come"
    views.manifest = b"m"
    await asked.wishes(GROUP, [ONE])
    assert await asked.wishes(GROUP, None) == []
    assert kept.rows == {(OTHER, TWO)}


async def test_a_full_disk_lets_it_be_forgotten_later() -> None:
    views, kept = Recordings(), Kept()
    asked = Asked(cast("Views", views), lambda _: True, kept, set())
    await asked.ask(GROUP, ONE)
    kept.is_full = True
    assert await asked.wishes(GROUP, None)
    kept.is_full = False
    await asked.wishes(GROUP, None)
    assert kept.rows == set()
