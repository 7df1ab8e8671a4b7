"""How many recordings have fewer copies than their group asks for."""

from typing import NamedTuple

from peer.core.identity import GroupId
from peer.core.interfaces import BlobStore
from peer.core.views import GroupState, Views
from peer.errors import NotFoundError
from peer.operations.finding import PAGE_MAX, Finding
from peer.operations.rules import COPIES_WANTED, rules_of


class _Note(NamedTuple):
    """What was counted, and of which state of the log, of its views and of the bytes here."""

    events: int
    state_digest: bytes
    added: int
    removed: int
    too_few: int


class Copies:
    """Counts what lists say of copies; remembers it until something changes that it depends on."""

    def __init__(self, finding: Finding, views: Views, blobs: BlobStore) -> None:
        """Nothing is counted yet."""
        self._finding = finding
        self._views = views
        self._blobs = blobs
        self._notes: dict[GroupId, _Note] = {}

    async def too_few(self, group: GroupId, state: GroupState, events: int) -> int:
        """Finalized recordings of a group, whose views are in `state`, with fewer copies than `min_copies` asks for; 0 where it asks for one.

        As long as the views have not got all `events` of the log the last count stands: whoever looks at the status does not wait for lists.
        """
        note, now = self._notes.get(group), (events, state.state_digest, self._blobs.added, self._blobs.removed)
        if state.events < events or (note and note[:-1] == now):
            return note.too_few if note else 0
        asks = rules_of(await self._views.settings(group)).copies_wanted > COPIES_WANTED
        try:
            count = await self._count(group) if asks else 0
        except NotFoundError:
            return 0  # The group was left meanwhile.
        self._notes[group] = _Note(*now, count)
        return count

    async def _count(self, group: GroupId) -> int:
        count, cursor = 0, None
        while True:
            page = await self._finding.page({"group": group.hex()}, PAGE_MAX, cursor)
            recordings, following = page["recordings"], page["next"]
            assert isinstance(recordings, list)
            count += len([each for each in recordings if each["finalized"] and each["copies"] < each["copies_wanted"]])
            if following is None:
                return count
            cursor = str(following)
