"""Who may talk to whom in a WireGuard mesh: the grants that let the members of each group reach each other's peers, and nothing else."""

import difflib
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from peer.core.endpoint import read_ip
from peer.core.identity import GroupId, PeerId
from peer.core.interfaces import GroupView, Replica
from peer.core.mesh_policy import Grant, with_grants
from peer.core.mesh_provider import Device, NetworkProvider, Policy
from peer.errors import NetworkUnconfiguredError
from peer.operations.json_form import Json

KEY_EXPIRES_S = 24 * 3600
KEY_EXPIRES_MAX_S = 90 * 24 * 3600


class Place(NamedTuple):
    """Where a peer may be found."""

    host: str
    """An address or a name."""
    port: int
    is_proven: bool
    """True if a link leads there, where it showed its key; else it is somebody's word."""


class Placed(NamedTuple):
    """A member that has a machine in the mesh."""

    peer: PeerId
    name: str
    device: Device
    place: Place


class GroupPlan(NamedTuple):
    """The members of a group, in the mesh and not in it."""

    group: GroupId
    name: str
    placed: Sequence[Placed]
    missing: Sequence[tuple[PeerId, str]]


class _Plan(NamedTuple):
    groups: Sequence[GroupPlan]
    grants: Sequence[Grant]
    policy: Policy
    text: str
    """What the policy is to be."""


class NetworkPolicy:
    """Plans what the mesh should let through, and has it let through."""

    def __init__(
        self, replica: Replica, places: Callable[[], Awaitable[Mapping[PeerId, Sequence[Place]]]], provider: Callable[[], NetworkProvider | None]
    ) -> None:
        """`places` are where peers may be found, this one among them, the surest first; `provider` makes None where the operator named none."""
        self._replica = replica
        self._places = places
        self._provider = provider

    async def plan(self) -> Json:
        """What would be written. Changes nothing. Raises a `NetworkProviderError`, `PolicyTextError` or `NetworkUnconfiguredError`."""
        async with self._asked() as provider:
            return _shown(provider, await self._plan(provider), written=False)

    async def apply(self) -> Json:
        """Write it, if there is anything to write and nobody wrote meanwhile. Raises like `plan`, and `PolicyChangedError`."""
        async with self._asked() as provider:
            plan = await self._plan(provider)
            changes = plan.text != plan.policy.text
            if changes:
                await provider.check(plan.text)
                await provider.write(plan.text, plan.policy)
            return _shown(provider, plan, written=changes)

    async def site_key(self, tags: Sequence[str], expires_s: int) -> Json:
        """A key that lets one new site into the mesh."""
        async with self._asked() as provider:
            key = await provider.site_key(tags, expires_s)
        return {"key": key.secret, "expires": key.expires, "tags": list(tags)}

    @asynccontextmanager
    async def _asked(self) -> AsyncIterator[NetworkProvider]:
        """The coordination server, for one use."""
        provider = self._provider()
        if provider is None:
            raise NetworkUnconfiguredError("no coordination server is named", fix="set provider in the section [network] of config.toml")
        try:
            yield provider
        finally:
            await provider.close()

    async def _plan(self, provider: NetworkProvider) -> _Plan:
        devices, policy = await provider.devices(), await provider.policy()
        places = await self._places()
        groups = [_place(group, view, places, devices) for group, view in sorted(self._replica.groups.items())]
        grants = [grant for group in groups for grant in grants_for(group.placed)]
        return _Plan(groups, grants, policy, with_grants(policy.text, grants))


def grants_for(members: Iterable[Placed]) -> list[Grant]:
    """Let these reach each other, each at the port where its peer listens; nothing where there are fewer than two."""
    known = list(members)
    if len(known) < 2:  # noqa: PLR2004  (nobody to talk to)
        return []
    by_port: dict[int, list[Placed]] = defaultdict(list)
    for member in known:
        by_port[member.place.port].append(member)
    return [{"src": _addresses(known), "dst": _addresses(there), "ip": [f"tcp:{port}"]} for port, there in sorted(by_port.items())]


def _addresses(members: Iterable[Placed]) -> list[str]:
    found = {ip for member in members for address in member.device.addresses if (ip := read_ip(address)) is not None}
    return [str(ip) for ip in sorted(found, key=lambda ip: (ip.version, int(ip)))]


def _place(group: GroupId, view: GroupView, places: Mapping[PeerId, Sequence[Place]], devices: Sequence[Device]) -> GroupPlan:
    """Which members have a machine in the mesh: one of their places is its whole name or one of its addresses."""
    names = {device.name.lower(): device for device in devices if "." in device.name}
    by_host = names | {_folded(address): device for device in devices for address in device.addresses}
    placed, missing = [], []
    for peer, member in sorted(view.roster.members.items()):
        place = next((each for each in places.get(peer, ()) if _folded(each.host) in by_host), None)
        if place is None:
            missing.append((peer, member.name))
        else:
            placed.append(Placed(peer, member.name, by_host[_folded(place.host)], place))
    return GroupPlan(group, view.genesis.name, placed, missing)


def _folded(host: str) -> str:
    """A name or an address in the one form in which they are compared."""
    ip = read_ip(host)
    return host.rstrip(".").lower() if ip is None else str(ip)


def _shown(provider: NetworkProvider, plan: _Plan, *, written: bool) -> Json:
    before, after = plan.policy.text.splitlines(), plan.text.splitlines()
    groups: list[Json] = [
        {
            "group_id": each.group.hex(),
            "name": each.name,
            "members": [
                {
                    "peer_id": one.peer.hex(),
                    "name": one.name,
                    "machine": one.device.name,
                    "addresses": list(one.device.addresses),
                    "port": one.place.port,
                    "proven": one.place.is_proven,
                }
                for one in each.placed
            ],
            "missing": [{"peer_id": peer.hex(), "name": name} for peer, name in each.missing],
        }
        for each in plan.groups
    ]
    return {
        "provider": provider.name,
        "groups": groups,
        "grants": list(plan.grants),
        "changes": plan.text != plan.policy.text,
        "diff": list(difflib.unified_diff(before, after, "policy", "plan", lineterm="")),
        "written": written,
    }
