"""Guests: who is not on our roster of a group, and may show over this link that it is.

A new member is known to whoever admitted it, and to everybody who has heard of that. To all others it is a guest: it may show control logs, and gets
nothing. A former member gets control logs too, so that it learns what it is. Guests are limited in time, number and bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from peer.core.control import Role
from peer.core.identity import GroupId, PeerId
from peer.core.interfaces import Replica
from peer.errors import LimitExceededError
from peer.sync import limits
from peer.sync.sources import LinkToken


class Access(IntEnum):
    """What somebody is to a group, as far as we know; roughly, how much it may hear of it."""

    NONE = 0
    """The group is not held here."""
    STRANGER = 1
    """It may show us control logs, and hears nothing."""
    FORMER = 2
    """It was a member: it hears of control logs."""
    NAMED = 3
    """Never on the roster, but the operator says that it is one of the group: it hears of control logs."""
    MEMBER = 4

    @property
    def is_guest(self) -> bool:
        """True for those who have to show soon that they are members."""
        return self in (Access.STRANGER, Access.FORMER)


def access_of(replica: Replica, group: GroupId, peer: PeerId) -> Access:
    """What `peer` is to `group` now."""
    view = replica.groups.get(group)
    if view is None:
        return Access.NONE
    if view.roster.role(peer) is not Role.NONE:
        return Access.MEMBER
    if view.roster.standing(peer).has_been_member:
        return Access.FORMER
    return Access.NAMED if replica.shares(group, peer) else Access.STRANGER


def groups_to_name(replica: Replica, listener: PeerId) -> tuple[GroupId, ...]:
    """What a dialler names to a listener: groups that it knows of, as far as we know."""
    known = [group for group in replica.groups if access_of(replica, group, listener) > Access.STRANGER]
    return tuple(sorted(known)[: limits.GROUPS_PER_LINK_MAX])


def has_business(replica: Replica, dialler: PeerId, named: Sequence[GroupId]) -> bool:
    """Whether there is something to speak about with a dialler that names these groups."""
    if any(group in replica.groups for group in named):
        return True
    return any(access_of(replica, group, dialler) is Access.MEMBER for group in replica.groups)


class GuestRoom:
    """The links of this peer over which somebody is a guest."""

    def __init__(self) -> None:
        self._links: set[LinkToken] = set()
        self._addresses: dict[LinkToken, str] = {}

    def dialled_from(self, link: LinkToken, address: str) -> None:
        """Whose share of the room a guest over `link` takes; without that it takes nobody's."""
        self._addresses[link] = address

    def enter(self, link: LinkToken) -> bool:
        """False if there is no room."""
        if link in self._links:
            return True
        address = self._addresses.get(link)
        share = sum(self._addresses.get(each) == address for each in self._links) if address is not None else 0
        if len(self._links) >= limits.GUESTS_MAX or share >= limits.GUESTS_PER_ADDRESS_MAX:
            return False
        self._links.add(link)
        return True

    def leave(self, link: LinkToken) -> None:
        """Nobody is a guest over this link any more."""
        self._links.discard(link)

    def drop_link(self, link: LinkToken) -> None:
        """`link` is gone."""
        self.leave(link)
        self._addresses.pop(link, None)


@dataclass(slots=True)
class _Guest:
    """One group in which the other side is a guest."""

    since_ms: int
    progress_ms: int
    size: int = 0
    entries: int = 0
    is_here: bool = True


class Guests:
    """In which groups the other side of one link is a guest."""

    def __init__(self, room: GuestRoom, link: LinkToken) -> None:
        self._room = room
        self._link = link
        self._guests: dict[GroupId, _Guest] = {}

    def admit(self, group: GroupId, now_ms: int) -> bool:
        """They are a guest in `group` from now on; False if there is no room. Who comes again gets no more time."""
        if not self._room.enter(self._link):
            return False
        self._guests.setdefault(group, _Guest(now_ms, now_ms)).is_here = True
        return True

    def leave(self, group: GroupId, *, as_member: bool = False) -> None:
        """They are no guest in `group` any more. A member that becomes a guest later begins anew."""
        if as_member:
            self._guests.pop(group, None)
        elif group in self._guests:
            self._guests[group].is_here = False
        if not any(guest.is_here for guest in self._guests.values()):
            self._room.leave(self._link)

    def is_guest(self, group: GroupId) -> bool:
        """True while they are."""
        return group in self._guests and self._guests[group].is_here

    def named(self, group: GroupId, entries: int) -> None:
        """They announce that many logs. Raises `LimitExceededError`."""
        if self.is_guest(group):
            self._guests[group].entries += entries
            if self._guests[group].entries > limits.GUEST_ENTRIES_MAX:
                raise LimitExceededError("too many logs announced by a guest")

    def sent(self, group: GroupId, size: int) -> None:
        """They send events. Raises `LimitExceededError`."""
        if self.is_guest(group):
            self._guests[group].size += size
            if self._guests[group].size > limits.GUEST_BYTES_MAX:
                raise LimitExceededError("too many bytes sent by a guest")

    def brought(self, group: GroupId, now_ms: int) -> None:
        """What they sent was stored."""
        if self.is_guest(group):
            self._guests[group].progress_ms = now_ms

    def late(self, now_ms: int) -> list[GroupId]:
        """Groups of which they have not shown in time that they are members."""
        return [
            group
            for group, guest in self._guests.items()
            if guest.is_here and (now_ms - guest.progress_ms >= limits.GUEST_SILENT_MS or now_ms - guest.since_ms >= limits.GUEST_MS_MAX)
        ]
