"""Other peers: everybody on a roster, and everybody whose address was given."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from peer.core.identity import GroupId, PeerId
from peer.core.interfaces import DialTarget, Links, Replica
from peer.core.names import folded
from peer.errors import RequestError
from peer.operations.acquaintance import Acquaintance
from peer.operations.json_form import Json
from peer.operations.references import choose

SHORT_DIGITS = 8


class KnownAddress(DialTarget, Protocol):
    """An address as a source tells it."""

    @property
    def groups(self) -> frozenset[GroupId]:
        """Expected to be shared."""
        ...

    @property
    def expects(self) -> frozenset[str]:
        """Names of further groups, of which none is here yet."""
        ...


class Addresses(Protocol):
    """What is known of addresses."""

    def peers(self) -> Sequence[KnownAddress]:
        """All of it."""
        ...

    def is_online(self, peer: PeerId) -> bool | None:
        """Whether some source has heard of `peer` lately; None if none knows."""
        ...


class Step(Protocol):
    """One step on the way to a peer: `name`, `tcp`, `tls`, `handshake` or `group`."""

    @property
    def step(self) -> str:
        """Which."""
        ...

    @property
    def ok(self) -> bool:
        """Whether it worked."""
        ...

    @property
    def text(self) -> str:
        """What was seen."""
        ...


class Reached(Protocol):
    """How far a peer was reached."""

    @property
    def endpoint(self) -> str | None:
        """What was dialled."""
        ...

    @property
    def steps(self) -> Sequence[Step]:
        """Up to the first that did not work."""
        ...

    @property
    def code(self) -> str | None:
        """Of the error that ended it."""
        ...

    @property
    def fix(self) -> str:
        """What to do about it."""
        ...


Reach = Callable[[PeerId, Sequence[str]], Awaitable[Reached]]
"""Tries to reach a peer at these endpoints."""


class Peers:
    """Shows who is known, and does what an operator wants with them."""

    def __init__(self, peer: PeerId, parts: tuple[Replica, Addresses, Links, Reach], acquaintance: Acquaintance) -> None:
        """For the site `peer`."""
        self._peer = peer
        self._replica, self._addresses, self._links, self._reach = parts
        self._acquaintance = acquaintance

    def all(self) -> list[Json]:
        """Everybody but this peer, by name."""
        known = {each.peer: each for each in self._addresses.peers()}
        links = {str(link["peer_id"]): link for link in self._links.links()}
        everybody = {member for view in self._replica.groups.values() for member in view.roster.members} | set(known)
        found = [self._describe(peer, known.get(peer), links.get(peer.hex())) for peer in everybody if peer != self._peer]
        return sorted(found, key=lambda each: (folded(str(each["name"])), str(each["peer_id"])))

    def show(self, reference: str) -> Json:
        """One of them."""
        return choose(reference, "peer", ((bytes.fromhex(str(each["peer_id"])), str(each["name"]), each) for each in self.all()))

    async def add(self, peer_id: str, name: str, endpoint: str | None, groups: Sequence[str], role: str) -> Json:
        """Share groups with one more."""
        peer = await self._acquaintance.add(peer_id, name, endpoint, groups, role)
        return self.show(peer.hex())

    async def set_paused(self, reference: str, *, paused: bool) -> Json:
        """Keep no link to one of them, or do again; outlives a restart."""
        found = self.show(reference)
        await self._acquaintance.set_paused(PeerId(bytes.fromhex(str(found["peer_id"]))), str(found["name"]), paused=paused)
        return self.show(str(found["peer_id"]))

    async def remove(self, reference: str) -> Json:
        """Forget the address of one of them."""
        known = [(bytes.fromhex(str(each["peer_id"])), str(each["name"]), PeerId(bytes.fromhex(str(each["peer_id"])))) for each in self.all()]
        return await self._acquaintance.remove(reference, known)

    async def test(self, reference: str) -> Json:
        """Say how far one of them can be reached."""
        found = self.show(reference)
        endpoints = found["endpoints"]
        assert isinstance(endpoints, list)
        reached = await self._reach(PeerId(bytes.fromhex(str(found["peer_id"]))), endpoints)
        failed = next((step.step for step in reached.steps if not step.ok), None)
        return {
            "peer_id": found["peer_id"],
            "name": found["name"],
            "endpoint": reached.endpoint,
            "ok": failed is None,
            "failed": failed,
            "code": reached.code if failed else None,
            "fix": reached.fix if failed else "",
            "steps": [{"step": each.step, "ok": each.ok, "text": each.text} for each in reached.steps],
        }

    async def pending(self) -> list[Json]:
        """Who knocked."""
        return await self._acquaintance.pending()

    async def decide(self, reference: str, action: str, group: str | None, role: str) -> Json:
        """Accept or ignore somebody who knocked."""
        if action == "ignore":
            return {**await self._acquaintance.ignore(reference), "action": action}
        if group is None:
            raise RequestError("the group is missing that it is to share", fix="write --group GROUP")
        peer = await self._acquaintance.accept(reference, group, role)
        return {"peer_id": peer.hex(), "name": self.show(peer.hex())["name"], "action": action}

    def _describe(self, peer: PeerId, known: KnownAddress | None, link: Mapping[str, object] | None) -> Json:
        members = [(group, view, view.roster.members.get(peer)) for group, view in self._replica.groups.items()]
        shared = [
            {"group_id": group.hex(), "name": view.genesis.name, "role": member.role.label if member else "none"}
            for group, view, member in members
            if member is not None or (known is not None and group in known.groups)
        ]
        names = [member.name for _, _, member in members if member is not None]
        return {
            "peer_id": peer.hex(),
            "name": names[0] if names else known.name if known else peer.hex()[:SHORT_DIGITS],
            "state": link["state"] if link else "offline",
            "source": known.source if known else "roster",
            "endpoints": list(known.endpoints) if known else [],
            "learned_from": known.learned_from.hex() if known and known.learned_from else None,
            "ttl": known.ttl if known else None,
            "online": self._addresses.is_online(peer),
            "paused": known.paused if known else False,
            "expected_groups": sorted(known.expects) if known else [],
            "shared_groups": shared,
        }
