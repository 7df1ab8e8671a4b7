"""Which link each log comes in by: one at a time, so that every event reaches a peer once, over the whole mesh N-1 times.

Shared by the sessions of one peer. The idea is that of epidemic broadcast trees (Leitao, Pereira, Rodrigues: Plumtree, 2007), turned round: there a
receiver prunes what came twice, here it asks one neighbour in the first place, and the others tell it their tips only.
"""

from dataclasses import dataclass

from peer.core.identity import GroupId, LogId

LinkToken = int
"""What tells links of this peer apart."""

LogKey = tuple[GroupId, LogId]


@dataclass(slots=True)
class Source:
    """Where a log comes from."""

    link: LinkToken
    is_author: bool
    """True if the link leads to the log's own author: there is no shorter way."""
    progress_ms: int
    """When the link was chosen or last brought something."""


class Sources:
    """The source of each log, at most one."""

    def __init__(self) -> None:
        self._sources: dict[LogKey, Source] = {}
        self._lost: dict[LinkToken, dict[LogKey, None]] = {}

    def get(self, group: GroupId, log: LogId) -> Source | None:
        """The source of this log, if it has one."""
        return self._sources.get((group, log))

    def take(self, group: GroupId, log: LogId, source: Source) -> None:
        """From now on this log comes from there."""
        before = self._sources.get((group, log))
        if before is not None and before.link != source.link:
            self._lost.setdefault(before.link, {})[group, log] = None
        self._sources[group, log] = source

    def take_lost(self, link: LinkToken) -> list[LogKey]:
        """Logs for which another link was chosen since this was last asked."""
        lost = self._lost.pop(link, {})
        return [key for key in lost if key not in self._sources or self._sources[key].link != link]

    def drop(self, group: GroupId, log: LogId, link: LinkToken) -> bool:
        """`link` no longer brings this log; True if it did."""
        source = self._sources.get((group, log))
        if source is None or source.link != link:
            return False
        del self._sources[group, log]
        return True

    def drop_link(self, link: LinkToken) -> bool:
        """`link` is gone; True if it brought anything. Tell the sessions that are left `SourcesChanged`."""
        self._lost.pop(link, None)
        gone = [key for key, source in self._sources.items() if source.link == link]
        for key in gone:
            del self._sources[key]
        return bool(gone)
