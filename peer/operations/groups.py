"""Groups: beginning one, showing who is in it and what state it is in."""

import os
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from peer.core.certificate import LogKind
from peer.core.control import Role, member_set
from peer.core.encoding import encode
from peer.core.group import OWNERS_MAX, Genesis
from peer.core.identity import NONCE_SIZE, GroupId, PeerId
from peer.core.interfaces import EventStore, GroupView, Replica
from peer.core.names import check_name, folded
from peer.core.views import Views
from peer.errors import NameTakenError, RequestError
from peer.operations.deciding import conflicts
from peer.operations.json_form import Json, to_json
from peer.operations.references import find_group, parse_id
from peer.operations.settings import describe


class CountingStore(EventStore, Protocol):
    """A store that says how far it is."""

    @property
    def position(self) -> int:
        """Of the last event that was announced."""
        ...


class Groups:
    """The groups of this peer."""

    def __init__(
        self, peer: PeerId, name: str, parts: tuple[CountingStore, Replica, Views], resync: Callable[[GroupId], Sequence[PeerId]] = lambda _: ()
    ) -> None:
        """The collaborators, for the site `peer`, which people call `name`. `resync` compares a group with all peers again, and says with whom."""
        self._peer = peer
        self._name = name
        self._store, self._replica, self._views = parts
        self._resync = resync

    async def create(self, name: str, owners: Sequence[str]) -> Json:
        """Begin a group with these owners, most senior first; this peer comes last unless it is named."""
        check_name(name, "group")
        for view in self._replica.groups.values():
            if folded(view.genesis.name) == folded(name):
                raise NameTakenError(f"a group named {view.genesis.name} is here already", fix="choose another name")
        named = [PeerId(parse_id(owner, "peer id")) for owner in owners]
        everybody = tuple(named if self._peer in named else [*named, self._peer])
        if len(set(everybody)) != len(everybody) or len(everybody) > OWNERS_MAX:
            raise RequestError(f"a group has up to {OWNERS_MAX} owners, each named once", fix="leave some out")
        genesis = Genesis(name, everybody, os.urandom(NONCE_SIZE), time.time_ns() // 1_000_000, {})
        await self._store.create_group(genesis)
        written = await self._store.write(genesis.group, LogKind.CONTROL, [member_set(self._peer, self._name, Role.ADMIN)])
        await self._views.reached(written[-1].position)
        return await self._describe(genesis.group)

    async def all(self) -> list[Json]:
        """All groups, by name."""
        ordered = sorted(self._replica.groups.items(), key=lambda each: (folded(each[1].genesis.name), each[0]))
        return [await self._describe(group) for group, _ in ordered if group in self._replica.groups]

    async def show(self, reference: str) -> Json:
        """One group."""
        group, _ = find_group(self._replica, reference)
        return await self._describe(group)

    async def describe(self, group: GroupId) -> Json:
        """One group, by its id, with all that has come here by now."""
        await self._views.reached(self._store.position)
        return await self._describe(group)

    async def _describe(self, group: GroupId) -> Json:
        view = self._replica.groups[group]
        state = await self._views.group_state(group)
        return {
            "group_id": group.hex(),
            "name": view.genesis.name,
            "role": view.roster.role(self._peer).label,
            "owners": [owner.hex() for owner in view.genesis.owners],
            "members": members(view),
            "events": state.events,
            "state_digest": state.state_digest.hex(),
            "conflicts": [*conflicts(view), *await self._setting_conflicts(group, view)],
            "created_ms": view.genesis.created_ms,
        }

    async def _setting_conflicts(self, group: GroupId, view: GroupView) -> list[Json]:
        found = [describe(view, setting) for setting in await self._views.settings(group) if setting.is_conflict]
        return [{"register": f"setting:{each['key']}", "name": each["key"], "value": each["value"], "values": each["values"]} for each in found]

    async def resync(self, reference: str) -> Json:
        """Forget what other peers are known to hold of a group, and compare everything again."""
        group, view = find_group(self._replica, reference)
        peers = self._resync(group)
        return {"group_id": group.hex(), "name": view.genesis.name, "peers": [peer.hex() for peer in peers]}

    async def state(self, reference: str) -> tuple[bytes, object]:
        """The canonical export of all projections of a group, as CBOR and as JSON."""
        group, _ = find_group(self._replica, reference)
        exported = await self._views.export(group)
        return encode(exported), to_json(exported)


def members(view: GroupView) -> list[Json]:
    """Everybody on the roster: highest role first, then by name."""
    ordered = sorted(view.roster.members.values(), key=lambda member: (-member.role, folded(member.name), member.peer))
    return [{"peer_id": member.peer.hex(), "name": member.name, "role": member.role.label} for member in ordered]
