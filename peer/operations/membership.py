"""Members: adding, changing, removing them. Each is a decision that says, before it is written, what it will leave out."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from peer.core.certificate import LogKind
from peer.core.control import ASSIGNABLE, Point, Role, member_set
from peer.core.event import REFS_MAX
from peer.core.identity import GroupId, LogId, PeerId
from peer.core.interfaces import EventStore, GroupView, Replica
from peer.core.run import Draft
from peer.core.views import Views
from peer.errors import NoChangeError, RequestError
from peer.operations.cutting import cut_before, describe_left_out, full_cut
from peer.operations.deciding import (
    Target,
    also_changed,
    check_change,
    check_decider,
    check_decision,
    check_outcome,
    find_target,
    foresee,
    target_of,
)
from peer.operations.json_form import Json
from peer.operations.references import find_group

ROLES = {role.label: role for role in ASSIGNABLE if role is not Role.NONE}


class Plan(NamedTuple):
    """A decision that is not written yet."""

    target: Target
    role: Role
    cut: Sequence[Point]
    left_out: Mapping[LogId, int]
    """Events that count now and will not, or with the new role, by log."""
    also_changed: Sequence[Json]
    """Others who get another role by this."""


class Membership:
    """Decides on members."""

    def __init__(self, peer: PeerId, store: EventStore, replica: Replica, views: Views, links: Callable[[], Sequence[Mapping[str, object]]]) -> None:
        """For the site `peer`; `links` are shown as in `status`."""
        self._peer = peer
        self._store = store
        self._replica = replica
        self._views = views
        self._links = links
        self._deciding: defaultdict[GroupId, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def change(self, reference: str, member: str, role: str, *, since_ms: int | None, dry_run: bool) -> Json:
        """Give a member, or a former one, another role. With `since_ms` what it wrote from then on has the new role, too."""
        if role not in ROLES:
            raise RequestError(f"{role[:80]!r} is no role to give", fix="write reader, writer or admin; `recmesh group remove` removes")
        return await self._decide(reference, member, ROLES[role], since_ms, dry_run=dry_run)

    async def remove(self, reference: str, member: str, *, since_ms: int | None, dry_run: bool) -> Json:
        """Remove a member. What it wrote up to now stays; with `since_ms`, only what it wrote before that."""
        return await self._decide(reference, member, Role.NONE, since_ms, dry_run=dry_run)

    async def admit(self, group: GroupId, peer: PeerId, name: str, role: str) -> Role:
        """Let `peer` in, as an admin of this site decides, unless it is in; its role afterwards."""
        view = self._replica.groups[group]
        async with self._deciding[group]:
            target = target_of(view, peer)
            if target.role is Role.NONE:
                plan = await self._plan(group, view, target._replace(name=name), ROLES[role], None)
                await self._write(group, plan)
            return view.roster.role(peer)

    async def check_admission(self, group: GroupId, peer: PeerId, role: str) -> None:
        """Raise what `admit` would."""
        if role not in ROLES:
            raise RequestError(f"{role[:80]!r} is no role to give", fix="write reader, writer or admin")
        view = self._replica.groups[group]
        target = target_of(view, peer)
        if target.role is Role.NONE:
            check_decider(view, self._peer, target)
            cut = await full_cut(self._store, group, view, peer)
            check_decision(view, self._peer, target, ROLES[role], foresee(view, self._peer, drafts_of(target, ROLES[role], cut)))

    async def _decide(self, reference: str, member: str, role: Role, since_ms: int | None, *, dry_run: bool) -> Json:
        group, view = find_group(self._replica, reference)
        async with self._deciding[group]:
            target = find_target(view, member)
            if role is Role.NONE and target.role is Role.NONE and since_ms is None:
                raise NoChangeError(f"{target.name} is no member of {view.genesis.name} any more", fix="nothing needs to be done")
            plan = await self._plan(group, view, target, role, since_ms)
            if not dry_run:
                await self._write(group, plan)
            return self._describe(group, view, plan, dry_run=dry_run)

    async def _plan(self, group: GroupId, view: GroupView, target: Target, role: Role, since_ms: int | None) -> Plan:
        check_decider(view, self._peer, target)
        if since_ms is None:
            cut = await full_cut(self._store, group, view, target.peer)
        else:
            cut = await cut_before(self._store, group, view, target.peer, since_ms)
        left_out = await self._store.events_beyond(group, target.peer, cut)
        foreseen = foresee(view, self._peer, drafts_of(target, role, cut))
        check_decision(view, self._peer, target, role, foreseen)
        check_change(target, role, leaves_out=bool(left_out))
        return Plan(target, role, cut, left_out, also_changed(view, target, foreseen))

    async def _write(self, group: GroupId, plan: Plan) -> None:
        written = await self._store.write(group, LogKind.CONTROL, drafts_of(plan.target, plan.role, plan.cut))
        await self._views.reached(written[-1].position)
        check_outcome(self._replica.groups[group], plan.target, plan.role)

    def _is_current(self, group: GroupId) -> bool:
        """True if somebody has given us all that it had of `group`: what is not here yet is in no cut."""
        return any(group.hex() in _texts(link["backfilled"]) and not link["missing_events"] for link in self._links())

    def _describe(self, group: GroupId, view: GroupView, plan: Plan, *, dry_run: bool) -> Json:
        return {
            "group_id": group.hex(),
            "group": view.genesis.name,
            "peer_id": plan.target.peer.hex(),
            "name": plan.target.name,
            "role_before": plan.target.role.label,
            "role": plan.role.label,
            "dry_run": dry_run,
            "would_leave_out": describe_left_out(plan.left_out),
            "also_changed": list(plan.also_changed),
            "is_current": self._is_current(group),
        }


def _texts(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else []


def drafts_of(target: Target, role: Role, cut: Sequence[Point]) -> list[Draft]:
    """The events of a decision: one, unless it replaces more than one event can name."""
    live = target.live
    parts = [live[start : start + REFS_MAX] for start in range(0, len(live), REFS_MAX)] or [()]
    return [member_set(target.peer, target.name, role, replaces=part, cut=cut) for part in parts]
