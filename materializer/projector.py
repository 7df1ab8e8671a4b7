"""Events in, rows out: what is worth remembering between pages of events, and between judgements of their roles."""

from collections.abc import Mapping, Sequence
from itertools import islice

from materializer.events import ProjectedEvent
from materializer.page import Known, Page
from materializer.settle import Holder
from materializer.tables import Connection, find_recording
from peer.core.identity import EventId, GroupId

CACHED_RECORDINGS_MAX = 6000
CACHED_REGISTERS_MAX = 40_000
"""Names of registers, of all recordings together: anybody who may write may make up as many as they like."""


class Projector:
    """Applies pages of events. After a transaction that failed, make a new one."""

    def __init__(self) -> None:
        """Knows nothing; reads what it needs."""
        self._groups: dict[GroupId, int] = {}
        self._recordings: dict[tuple[int, bytes], Known] = {}
        self._register_count = 0
        self._judgements: Mapping[GroupId, bytes] = {}

    def apply(self, connection: Connection, judgements: Mapping[GroupId, bytes], events: Sequence[ProjectedEvent]) -> set[tuple[GroupId, EventId]]:
        """Project `events`. The recordings that they touch.

        `judgements` are the digests of those by which the events have their roles; everything that is there already must be judged by them, too.
        """
        self._judgements = judgements
        page = Page(connection, self)
        page.read(events)
        page.write()
        self._register_count += page.new_registers
        if len(self._recordings) > CACHED_RECORDINGS_MAX or self._register_count > CACHED_REGISTERS_MAX:
            self._forget_half()
        return page.touched

    def forget(self) -> None:
        """Read again what is needed: rows were judged anew, or too much is remembered."""
        self._recordings.clear()
        self._register_count = 0

    def _forget_half(self) -> None:
        """Nearly always events are about recordings that are new."""
        for key in list(islice(self._recordings, (len(self._recordings) + 1) // 2)):
            del self._recordings[key]
        self._register_count = sum(len(known.registers or ()) for known in self._recordings.values())
        if self._register_count > CACHED_REGISTERS_MAX:
            self.forget()

    def group_no(self, connection: Connection, group: GroupId) -> int:
        """The row number of a group, which gets one if it has none."""
        found = self._groups.get(group) or find_group(connection, group)
        if found is None:
            judgement = self._judgements.get(group, b"")
            found = connection.execute("INSERT INTO groups (group_id, events, judgement) VALUES (?, 0, ?)", (group, judgement)).lastrowid
            assert found is not None
        self._groups[group] = found
        return found

    def recording(self, connection: Connection, group_no: int, recording: bytes) -> Known | None:
        """What is known of a recording, None if it has no row."""
        key = (group_no, recording)
        found = self._recordings.get(key)
        if found is None:
            row = find_recording(connection, group_no, recording)
            if row is None:
                return None
            no, site, counts = row
            found = self._recordings[key] = Known(Holder(no, site, bool(counts)))
        return found

    def remember(self, group_no: int, recording: bytes, known: Known) -> None:
        """Note a recording that was written."""
        self._recordings[group_no, recording] = known


def find_group(connection: Connection, group: GroupId) -> int | None:
    """The row number of a group, None if it has none."""
    row = connection.execute("SELECT group_no FROM groups WHERE group_id = ?", (group,)).fetchone()
    return None if row is None else int(row[0])
