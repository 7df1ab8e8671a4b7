"""Machines, as recordings name them: what a group says of each. Whoever may write may describe one."""

from collections.abc import Sequence

from materializer.edits import machine_set
from materializer.rights import Action, may
from materializer.values import PlainValue
from peer.core.certificate import LogKind
from peer.core.identity import GroupId, PeerId
from peer.core.interfaces import EventStore, GroupView, Replica
from peer.core.views import MachineView, RegisterView, Views
from peer.errors import NotAllowedError, NotFoundError
from peer.operations.deciding import name_of
from peer.operations.json_form import Json
from peer.operations.references import find_group
from peer.operations.registers import describe_register, replace_all


class Machines:
    """Reads and writes what is said of them."""

    def __init__(self, peer: PeerId, store: EventStore, replica: Replica, views: Views) -> None:
        """For the site `peer`."""
        self._peer = peer
        self._store = store
        self._replica = replica
        self._views = views

    async def all(self, group: str | None = None) -> list[Json]:
        """Those of all groups, or of one, by group and name."""
        groups = list(self._replica.groups) if group is None else [find_group(self._replica, group)[0]]
        return [describe(self._replica.groups[each], machine) for each in groups for machine in await self._views.machines(each)]

    async def show(self, machine: str, group: str | None = None) -> list[Json]:
        """What each group says of the machine of this name. Raises `NotFoundError` where none knows it."""
        found = [each for each in await self.all(group) if each["name"] == machine]
        if not found:
            raise NotFoundError(f"there is no machine {machine[:80]!r}", fix="see `recmesh machine list`")
        return found

    async def set(self, machine: str, key: str, value: PlainValue, group: str | None = None) -> Json:
        """Say something about a machine; the empty text takes it away. Replaces all that was written at the same time."""
        group_id, view = await self._group(machine, group)
        role = view.roster.role(self._peer)
        if not may(Action.MACHINE, role, own=False):
            name = view.genesis.name
            raise NotAllowedError(f"this site is {role.label} in {name} and may not describe its machines", fix=f"ask an admin of {name}")
        held = next((each for each in await self._find(group_id, machine) if each.name == key), None)
        first, later = replace_all(held, lambda refs: machine_set(machine, key, value, refs))
        written = await self._store.write(group_id, LogKind.DATA, [first], later)
        await self._views.reached(written[-1].position)
        return next(describe(view, each) for each in await self._views.machines(group_id) if each.machine == machine)

    async def _group(self, machine: str, reference: str | None) -> tuple[GroupId, GroupView]:
        """The group that is meant: the one that is named, or the only one that knows the machine, or the only one."""
        if reference is None:
            knowing = [each for each in self._replica.groups if any(known.machine == machine for known in await self._views.machines(each))]
            if len(knowing) == 1:
                return knowing[0], self._replica.groups[knowing[0]]
        return find_group(self._replica, reference)

    async def _find(self, group: GroupId, machine: str) -> Sequence[RegisterView]:
        return next((each.registers for each in await self._views.machines(group) if each.machine == machine), ())


def describe(view: GroupView, machine: MachineView) -> Json:
    """A machine, for JSON."""
    return {
        "name": machine.machine,
        "group": machine.group.hex(),
        "group_name": view.genesis.name,
        "properties": {each.name: each.value for each in machine.registers if each.value != ""},
        "recordings": machine.recordings,
        "conflicts": [describe_register(each, lambda peer: name_of(view, peer)) for each in machine.registers if each.is_conflict],
    }
