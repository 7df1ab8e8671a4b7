"""This site as a whole: how it is, and what its operator should do."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from peer.core.frontier import events_held
from peer.core.identity import GroupId, PeerId
from peer.core.interfaces import GroupView, Links, Replica
from peer.core.names import folded
from peer.core.views import Views
from peer.errors import MeshError
from peer.operations.copies import Copies
from peer.operations.differing import difference_findings, difference_problems, differences_shown
from peer.operations.fetching import Fetching
from peer.operations.json_form import Json
from peer.operations.problems import GroupHealth, Looked, group_problems, link_problems, pending_problems, unreadable_problems
from peer.operations.sites import Seen, sites_shown, with_routes
from peer.operations.verification import Verification
from peer.sync.comparing import Difference

DISK_USAGE_FRESH_S = 30.0


class GroupCounts(Protocol):
    """How much of a group is in the log."""

    @property
    def events(self) -> int:
        """All of them."""
        ...

    @property
    def forks(self) -> int:
        """Branches beyond the first of their log."""
        ...


class AddressSource(Protocol):
    """How a source of addresses fares."""

    @property
    def source(self) -> str:
        """Its name."""
        ...

    @property
    def state(self) -> str:
        """`ok` or `failing`."""
        ...

    @property
    def last_error(self) -> str | None:
        """What went wrong last."""
        ...


class CacheUse(Protocol):
    """How full the cache is of what passes through."""

    @property
    def used(self) -> int:
        """Bytes of the disk."""
        ...

    @property
    def limit(self) -> int:
        """As many as there may be."""
        ...


class Placed(Protocol):
    """Somebody of whom others told."""

    @property
    def peer(self) -> PeerId:
        """Who it is."""
        ...


class GossipState(Protocol):
    """What members tell one another of addresses."""

    @property
    def is_enabled(self) -> bool:
        """Whether the operator wants it."""
        ...

    @property
    def exchanges(self) -> int:
        """How often others were told."""
        ...

    def placed(self) -> Sequence[Placed]:
        """Who may be dialled by the word of others."""
        ...

    def paused(self) -> Mapping[PeerId, int]:
        """Whose word was worth nothing, so that nothing is taken from them for so many ms."""
        ...


class SiteParts(NamedTuple):
    """What the status is made of."""

    peer: PeerId
    name: str
    version: str
    blobs: Path
    free_floor: int
    quota: int | None
    replica: Replica
    views: Views
    links: Links
    fetching: Fetching
    verification: Verification
    counts: Callable[[GroupId], GroupCounts]
    failure: Callable[[], MeshError | None]
    """Why the log cannot be written, if it cannot."""
    transfers: Callable[[], Sequence[Json]]
    sources: Callable[[], Sequence[AddressSource]]
    rebuild: Callable[[], Awaitable[None]]
    damages: Callable[[], Sequence[MeshError]]
    """What happened to the log and was put right, as long as nobody has looked after it."""
    health: Callable[[GroupId], GroupHealth]
    pending: Callable[[], Awaitable[list[Json]]]
    """Who knocked."""
    conflicts: Callable[[], Mapping[PeerId, MeshError]]
    """Whose offers of groups could not be taken, and why."""
    seen: Seen
    """How other sites are, in their own words."""
    gossip: GossipState
    """What members tell one another of addresses."""
    cache: CacheUse
    hub: Callable[[], Json]
    """What this peer is as a hub for others."""
    differences: Callable[[], Sequence[Difference]]
    """What other sites show otherwise that hold the same."""
    copies: Copies
    rebuilding: Callable[[], tuple[int, int] | None]
    """How many events, of how many, are in the projections that are computed anew, if any are."""


class Site:
    """This peer, to be looked at."""

    def __init__(self, parts: SiteParts) -> None:
        """Does nothing yet."""
        self._parts = parts
        self._used_bytes = 0
        self._used_at = -DISK_USAGE_FRESH_S

    @property
    def is_ready(self) -> bool:
        """True if the log can be written."""
        return self._parts.failure() is None

    async def status(self) -> Json:
        """Everything at a glance."""
        parts = self._parts
        pending, groups = await parts.pending(), await self.groups()
        sites = sites_shown(parts.replica, parts.seen, time.time_ns() // 1_000_000)
        return {
            "peer_id": parts.peer.hex(),
            "name": parts.name,
            "version": parts.version,
            "endpoint": parts.links.endpoint,
            "ready": self.is_ready,
            "groups": groups,
            "links": with_routes([self._link(link) for link in parts.links.links()], sites, self._events_held()),
            "sites": sites,
            "pending_peers": pending,
            "sources": [{"source": each.source, "state": each.state, "last_error": each.last_error} for each in parts.sources()],
            "transfers": list(parts.transfers()),
            "gossip": self._gossip(),
            "hub": parts.hub(),
            "disk": await self._disk(),
            "rebuilding": self._rebuilding(),
            "differences": self._differences(),
            "problems": [*self._problems(pending), *unreadable_problems(groups)],
        }

    def _gossip(self) -> Json:
        gossip = self._parts.gossip
        paused = gossip.paused()
        return {
            "enabled": gossip.is_enabled,
            "peers": len({each.peer for each in gossip.placed()}),
            "exchanges": gossip.exchanges,
            "not_believed": [{"peer_id": peer.hex(), "for_ms": paused[peer]} for peer in sorted(paused)],
        }

    def _events_held(self) -> dict[str, int]:
        """How many events that count are held of each group, by its id in hex, as sites say it of themselves."""
        groups = self._parts.replica.groups.items()
        return {group.hex(): events_held(view.tips) for group, view in groups}

    def _link(self, link: Mapping[str, object]) -> Json:
        """A link, with what only the group knows of it."""
        conflict = self._parts.conflicts().get(PeerId(bytes.fromhex(str(link["peer_id"]))))
        error = {"code": conflict.code, "text": conflict.text, "fix": conflict.fix} if conflict is not None else None
        name = self._name_in_groups(str(link["peer_id"])) or link["name"]
        return {**link, "name": name, "last_error": link["last_error"] or error}

    def _name_in_groups(self, peer: str) -> str | None:
        """What its groups call it: an invitation does not say who made it."""
        members = (view.roster.members.get(PeerId(bytes.fromhex(peer))) for view in self._parts.replica.groups.values())
        return next((member.name for member in members if member is not None), None)

    async def groups(self) -> list[Json]:
        """How far each group is."""
        parts, found = self._parts, []
        for group, view in _by_name(parts.replica):
            if group not in parts.replica.groups:
                continue  # It was left while the others were looked at.
            counts, health = parts.counts(group), parts.health(group)
            state = await parts.views.group_state(group)
            found.append(
                {
                    "group_id": group.hex(),
                    "name": view.genesis.name,
                    "events": counts.events,
                    "view_events": state.events,
                    "state_digest": state.state_digest.hex(),
                    "quarantined": view.quarantined,
                    "poison": state.poison,
                    "forks": counts.forks,
                    "waiting_logs": health.waiting_logs,
                    "leaving": parts.peer in view.roster.leaving,
                    "under_replicated": await parts.copies.too_few(group, state, counts.events),
                }
            )
        return found

    async def verify(self, *, deep: bool) -> Json:
        """Check what is stored, and say what other sites see otherwise."""
        found = await self._parts.verification.verify(deep=deep)
        differences = difference_findings(self._differences())
        problems = found["problems"]
        assert isinstance(problems, list)
        return {**found, "ok": found["ok"] and not differences, "problems": [*problems, *differences]}

    async def rebuild(self) -> Json:
        """Compute the projections anew."""
        await self._parts.rebuild()
        return {"groups": await self.groups()}

    async def _disk(self) -> Json:
        parts = self._parts
        if time.monotonic() - self._used_at > DISK_USAGE_FRESH_S:
            self._used_bytes = await asyncio.to_thread(_used, parts.blobs)
            self._used_at = time.monotonic()
        state = os.statvfs(parts.blobs)
        return {
            "free_bytes": state.f_bavail * state.f_frsize,
            "floor_bytes": parts.free_floor,
            "quota_bytes": parts.quota,
            "used_bytes": self._used_bytes,
            "cache_bytes": parts.cache.used,
            "cache_limit_bytes": parts.cache.limit,
        }

    def _rebuilding(self) -> Json | None:
        found = self._parts.rebuilding()
        return {"events_done": found[0], "events_total": found[1]} if found is not None else None

    def _differences(self) -> list[Json]:
        return differences_shown(self._parts.replica, self._parts.differences())

    def _problems(self, pending: Sequence[Json]) -> list[Json]:
        parts = self._parts
        errors = (parts.failure(), parts.fetching.problem, *parts.damages(), *parts.conflicts().values())
        found: list[Json] = [{"code": error.code, "text": error.text, "fix": error.fix} for error in errors if error is not None]
        looked = [Looked(view, parts.health(group)) for group, view in _by_name(parts.replica)]
        return [
            *found,
            *group_problems(parts.peer, looked, time.time_ns() // 1_000_000),
            *link_problems(parts.links.links()),
            *pending_problems(pending),
            *difference_problems(self._differences()),
        ]


def _by_name(replica: Replica) -> list[tuple[GroupId, GroupView]]:
    return sorted(replica.groups.items(), key=lambda each: (folded(each[1].genesis.name), each[0]))


def _used(folder: Path) -> int:
    """Bytes of all files below `folder`."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(where) / name).stat().st_blocks * 512
            except FileNotFoundError:
                continue  # It was finished or given up meanwhile.
    return total
