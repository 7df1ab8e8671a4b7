"""All numbers of this peer together: those of its status, and those that its parts have."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence

from peer.core.counts import Count, Counts
from peer.operations.json_form import Json

OF_GROUPS = {
    "events": ("group_events", "Events that are held of a group."),
    "view_events": ("group_view_events", "Events of a group that are projected."),
    "quarantined": ("group_quarantined_events", "Held events of a group that do not count."),
    "forks": ("group_forks", "Logs of a group that went on in more than one way."),
    "under_replicated": ("group_under_replicated_recordings", "Recordings of a group with fewer copies than it wants."),
}
OF_LINKS = {
    "missing_events": ("link_missing_events", "Events that a peer has and this one does not."),
    "unsent_events": ("link_unsent_events", "Events that a peer does not have yet."),
}
OF_DISK = {
    "free_bytes": ("disk_free_bytes", "Free on the disk with the bytes of recordings."),
    "floor_bytes": ("disk_floor_bytes", "Never filled by bytes of recordings."),
    "quota_bytes": ("disk_quota_bytes", "What bytes of recordings may take."),
    "used_bytes": ("disk_used_bytes", "What bytes of recordings take."),
    "cache_bytes": ("disk_cache_bytes", "Kept for sites that exchange bytes through this one."),
}


class Counting:
    """Gathers them."""

    def __init__(self, status: Callable[[], Awaitable[Json]], parts: Sequence[Counts]) -> None:
        """`status` is the whole status of this peer."""
        self._status = status
        self._parts = parts

    async def counts(self) -> list[Count]:
        """All of them, now."""
        status = await self._status()
        return [*_of_status(status), *(each for part in self._parts for each in part.counts())]


def _of_status(status: Mapping[str, object]) -> Iterator[Count]:
    named = {"version": str(status["version"]), "peer_id": str(status["peer_id"]), "name": str(status["name"])}
    yield Count("info", "Which peer this is.", 1, named)
    yield Count("ready", "1 if the log can be written.", float(status["ready"] is True))
    for group in _rows(status["groups"]):
        yield from _numbers(OF_GROUPS, group, {"group": str(group["name"]), "group_id": str(group["group_id"])})
    links = _rows(status["links"])
    for link in links:
        yield from _numbers(OF_LINKS, link, {"peer": str(link["name"]), "peer_id": str(link["peer_id"])})
    for state, count in sorted(Counter(str(link["state"]) for link in links).items()):
        yield Count("links", "Links to other peers, by their state.", count, {"state": state})
    disk = status["disk"]
    assert isinstance(disk, dict)
    yield from _numbers(OF_DISK, disk, {})
    transfers = _rows(status["transfers"])
    for state, count in sorted(Counter(str(each["state"]) for each in transfers).items()):
        yield Count("transfers", "Files that are shown as on their way, by their state.", count, {"state": state})
    rate = sum(_number(each["rate"]) for each in transfers)
    yield Count("transfers_rate_bytes_per_second", "How fast bytes of recordings arrive, lately.", rate)
    for code, count in sorted(Counter(str(each["code"]) for each in _rows(status["problems"])).items()):
        yield Count("problems", "Problems that `recmesh status` lists, by their code.", count, {"code": code})


def _numbers(names: Mapping[str, tuple[str, str]], found: Mapping[str, object], labels: Mapping[str, str]) -> Iterator[Count]:
    for key, (name, text) in names.items():
        value = found.get(key)
        if isinstance(value, int):
            yield Count(name, text, value, labels)


def _rows(value: object) -> Sequence[Mapping[str, object]]:
    assert isinstance(value, Iterable)
    return list(value)


def _number(value: object) -> int:
    assert isinstance(value, int)
    return value
