"""Getting to know peers by their ids, without an invitation: both admins name each other's key, and nobody is trusted for being there first.

Where this site is an admin of the group, naming a peer makes it a member. Where no group of that name is here yet, the name is remembered for that
peer alone: what it offers under another name, and what others offer, is passed over.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from peer.core.control import Role
from peer.core.endpoint import read_endpoint
from peer.core.group import Genesis, read_genesis
from peer.core.identity import GroupId, PeerId
from peer.core.interfaces import GroupView, Replica
from peer.core.names import check_name, folded, is_name
from peer.errors import MeshError, NameTakenError, NotFoundError, RequestError
from peer.operations.json_form import Json
from peer.operations.membership import ROLES, Membership
from peer.operations.references import choose, parse_id

SHORT_DIGITS = 8
GROUPS_MAX = 64
CONFLICTS_MAX = 100
"""Offers that are remembered because they could not be taken."""


class Entry(Protocol):
    """What is known of a peer."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    @property
    def expects(self) -> frozenset[str]:
        """Names of groups that it is expected to share with us."""
        ...


class Book(Protocol):
    """Where it is kept."""

    def entry(self, peer: PeerId) -> Entry | None:
        """What is known of `peer`."""
        ...

    async def introduce(self, peer: PeerId, name: str, endpoints: Sequence[str], groups: Iterable[GroupId], expects: Iterable[str]) -> None:
        """Keep it, beside what is known of the same peer."""
        ...

    async def set_paused(self, peer: PeerId, name: str, *, paused: bool) -> None:
        """Do not dial `peer`, or do again."""
        ...

    async def fulfil(self, peer: PeerId, name: str, group: GroupId) -> None:
        """The group called `name` that `peer` was expected to share is `group`."""
        ...

    async def remove(self, peer: PeerId) -> None:
        """Forget `peer`. Raises `PeerInConfigurationError` if the configuration file names it."""
        ...


class Store(Protocol):
    """What else is kept about peers."""

    async def create_group(self, genesis: Genesis) -> None:
        """Begin to hold a group."""
        ...

    async def ignored_peers(self) -> Sequence[PeerId]:
        """Those who are not to be shown when they knock."""
        ...

    async def ignore_peer(self, peer: PeerId) -> None:
        """Do not show `peer` again."""
        ...

    async def notice_peer(self, peer: PeerId) -> None:
        """Show `peer` again."""
        ...


class Door(Protocol):
    """Who is linked, and who knocked."""

    def links(self) -> Sequence[Mapping[str, object]]:
        """Each link as `status` shows it."""
        ...

    def pending(self) -> Sequence[Mapping[str, object]]:
        """Everybody who dialled with a key that is a member of nothing here, ids in hex."""
        ...

    def forget_pending(self, peer: PeerId) -> bool:
        """Show `peer` no more; False if it was not shown."""
        ...


class Wanted(NamedTuple):
    """A group that a peer is to share with us."""

    name: str
    group: GroupId | None
    """None while none of that name is here."""


class Acquaintance:
    """Adds, accepts, ignores, pauses, forgets."""

    def __init__(self, peer: PeerId, parts: tuple[Store, Replica, Book, Callable[[], Door]], membership: Membership) -> None:
        """For the site `peer`. The door is made later than this."""
        self._peer = peer
        self._store, self._replica, self._book, self._door = parts
        self._membership = membership
        self._conflicts: dict[tuple[PeerId, GroupId], NameTakenError] = {}
        self._ignored: set[PeerId] | None = None
        self._taking = asyncio.Lock()

    async def add(self, peer_id: str, name: str, endpoint: str | None, groups: Sequence[str], role: str) -> PeerId:
        """Let `peer_id` share `groups` with us: as a new member of those that are here, as the source of those that are not here yet."""
        peer = PeerId(parse_id(peer_id, "peer id"))
        check_name(name, "peer")
        if peer == self._peer:
            raise RequestError("this is the id of this very site", fix="write the id of the other one: `recmesh id` prints it there")
        if len(groups) > GROUPS_MAX:
            raise RequestError(f"more than {GROUPS_MAX} groups", fix="name some of them now and the others later")
        if role not in ROLES:
            raise RequestError(f"{role[:80]!r} is no role to give", fix="write reader, writer or admin")
        wanted = [self._wanted(each) for each in groups]
        endpoints = _endpoints(endpoint)
        for each in wanted:
            if each.group is not None:
                await self._check_member(each.group, peer, role)
        for each in wanted:
            if each.group is not None and self._replica.groups[each.group].roster.role(peer) is Role.NONE:
                await self._membership.admit(each.group, peer, name, role)
        held = [each.group for each in wanted if each.group is not None]
        await self._book.introduce(peer, name, endpoints, held, [each.name for each in wanted if each.group is None])
        await self._notice(peer)
        return peer

    async def accept(self, reference: str, group: str, role: str) -> PeerId:
        """Let somebody in who knocked."""
        entry = await self._knocker(reference)
        name = str(entry["name"])
        peer_id = str(entry["peer_id"])
        return await self.add(peer_id, name if is_name(name) else peer_id[:SHORT_DIGITS], None, [group], role)

    async def ignore(self, reference: str) -> Json:
        """Show somebody who knocked no more, also after a restart. It gets nothing, as before."""
        entry = await self._knocker(reference)
        peer = PeerId(parse_id(str(entry["peer_id"]), "peer id"))
        await self._store.ignore_peer(peer)
        self._ignored = None
        self._door().forget_pending(peer)
        return {"peer_id": peer.hex(), "name": str(entry["name"])}

    async def pending(self) -> list[Json]:
        """Who knocked and is not ignored."""
        if self._ignored is None:
            self._ignored = set(await self._store.ignored_peers())
        hidden = {peer.hex() for peer in self._ignored}
        return [dict(each) for each in self._door().pending() if each["peer_id"] not in hidden]

    async def set_paused(self, peer: PeerId, name: str, *, paused: bool) -> None:
        """Keep no link to `peer`, or do again."""
        await self._book.set_paused(peer, name, paused=paused)

    async def remove(self, reference: str, known: Sequence[tuple[bytes, str, PeerId]]) -> Json:
        """Forget the address of a peer, and what it was expected to share. It stays a member of its groups."""
        peer = choose(reference, "peer", known)
        entry = self._book.entry(peer)
        members = [view for view in self._replica.groups.values() if view.roster.role(peer) is not Role.NONE]
        if entry is None:
            group = members[0].genesis.name if members else "GROUP"
            raise NotFoundError(
                f"no address of {reference[:128]} was given here: it is known as a member",
                fix=f"`recmesh group remove {group} PEER` removes a member",
            )
        await self._book.remove(peer)
        for place in [place for place in self._conflicts if place[0] == peer]:
            del self._conflicts[place]
        names = sorted(view.genesis.name for view in members)
        return {"peer_id": peer.hex(), "name": entry.name, "still_member_of": names}

    async def take_offer(self, remote: PeerId, group: GroupId, data: bytes) -> bool:
        """A member offers a group that began with `data`: hold it, if `remote` was named for a group of that name. False if nobody expects it.

        Raises `NameTakenError` if another group of the name is here, `RemoteProtocolError` if that is not how the group began.
        """
        genesis = read_genesis(data, group)
        async with self._taking:  # A name is given once, however many groups of that name are offered at the same time.
            return await self._take(remote, genesis)

    async def _take(self, remote: PeerId, genesis: Genesis) -> bool:
        group, entry = genesis.group, self._book.entry(remote)
        if entry is None or folded(genesis.name) not in {folded(name) for name in entry.expects}:
            return False
        if group not in self._replica.groups:
            other = next((each for each, view in self._replica.groups.items() if folded(view.genesis.name) == folded(genesis.name)), None)
            if other is not None:
                raise self._conflict(remote, entry.name, genesis, other)
            await self._store.create_group(genesis)
        self._conflicts.pop((remote, group), None)
        await self._book.fulfil(remote, genesis.name, group)
        return True

    def conflicts(self) -> dict[PeerId, MeshError]:
        """Why an offer of each of these peers could not be taken, as long as it could not be."""
        for peer, group in list(self._conflicts):
            entry = self._book.entry(peer)
            if entry is None or not entry.expects or group in self._replica.groups:
                del self._conflicts[peer, group]
        return {peer: error for (peer, _), error in self._conflicts.items()}

    def _conflict(self, remote: PeerId, who: str, genesis: Genesis, other: GroupId) -> NameTakenError:
        group = genesis.group
        error = NameTakenError(
            f"{who} offers a group named {genesis.name} with the id {group.hex()}; the one that is here has the id {other.hex()}",
            fix=f"leave one of them: `recmesh group leave {genesis.name}` here or there",
        )
        if len(self._conflicts) < CONFLICTS_MAX:
            self._conflicts[remote, group] = error
        return error

    async def _check_member(self, group: GroupId, peer: PeerId, role: str) -> None:
        """Raise unless `peer` is a member, or can be made one from here."""
        view = self._replica.groups[group]
        if view.roster.role(peer) is Role.NONE:
            await self._membership.check_admission(group, peer, role)

    def _wanted(self, reference: str) -> Wanted:
        views: Mapping[GroupId, GroupView] = self._replica.groups
        try:
            group, name = choose(reference, "group", ((group, view.genesis.name, (group, view.genesis.name)) for group, view in views.items()))
        except NotFoundError:
            return Wanted(check_name(reference, "group"), None)
        return Wanted(name, group)

    async def _knocker(self, reference: str) -> Json:
        waiting = await self.pending()
        return choose(
            reference, "pending peer", ((bytes.fromhex(str(each["peer_id"])), str(each["name"]), each) for each in waiting), see="peer pending"
        )

    async def _notice(self, peer: PeerId) -> None:
        await self._store.notice_peer(peer)
        self._ignored = None
        self._door().forget_pending(peer)


def _endpoints(endpoint: str | None) -> list[str]:
    """What was written, as it is kept; none for a peer that dials us."""
    if endpoint is None:
        return []
    try:
        return [str(read_endpoint(endpoint))]
    except ValueError as error:
        raise RequestError(
            str(error), fix="write https://HOST:PORT, as `recmesh id` prints it there, or leave it out if that site dials us"
        ) from error
