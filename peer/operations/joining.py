"""Becoming a member: an admin invites, the invited site joins, an admin's peer decides.

Nothing about an invitation is decided by the joiner: the roster says whether it stands, the deciding peer's own clock whether it is still good.
"""

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Protocol

from peer.core.certificate import LogKind
from peer.core.control import ASSIGNABLE, Role, invite, member_set
from peer.core.group import Genesis, Invitation, read_genesis, read_invitation
from peer.core.identity import SEED_SIZE, GroupId, KeyPair, PeerId
from peer.core.interfaces import EventStore, GroupView, Links, Replica
from peer.core.names import folded, is_name
from peer.core.roster import Invite
from peer.errors import InvitationRefusedError, NameTakenError, NoAdminReachedError, NotAllowedError, RequestError, TimedOutError
from peer.operations.references import find_group

EXPIRES_MS_MAX = 366 * 24 * 3600 * 1000
SHORT_DIGITS = 8
POLL_S = 0.05


class AddressBook(Protocol):
    """Where the address of whoever let us in is kept."""

    async def remember(self, peer: PeerId, name: str, endpoint: str, group: GroupId) -> None:
        """Dial `peer` there from now on, for `group`."""
        ...


def now_ms() -> int:
    """Unix time."""
    return time.time_ns() // 1_000_000


class Joining:
    """Invitations, from both sides."""

    def __init__(self, key: KeyPair, store: EventStore, replica: Replica, links: Callable[[], Links], addresses: AddressBook) -> None:
        """`links` gives the transport, which is made after this."""
        self._peer = key.peer_id
        self._store = store
        self._replica = replica
        self._links = links
        self._addresses = addresses
        self._deciding: defaultdict[GroupId, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def invite(self, reference: str, role: str, expires_in_ms: int) -> dict[str, object]:
        """Make an invitation to a group. The private half of its key is nowhere but in the line that is returned."""
        group, view = find_group(self._replica, reference)
        if view.roster.role(self._peer) < Role.ADMIN:
            raise NotAllowedError(f"only admins of {view.genesis.name} may invite", fix="ask one of them: `recmesh group show` lists them")
        if role not in [each.label for each in ASSIGNABLE if each is not Role.NONE]:
            raise RequestError(f"{role!r} is no role that an invitation can carry", fix="write reader, writer or admin")
        if not 0 < expires_in_ms <= EXPIRES_MS_MAX:
            raise RequestError("an invitation is good for up to a year", fix="write --expires 24h")
        member, endpoint = self._door(group)
        seed = os.urandom(SEED_SIZE)
        invitation = Invitation(group, view.genesis.name, self._peer, member, endpoint, Role[role.upper()], now_ms() + expires_in_ms, seed)
        await self._store.write(group, LogKind.CONTROL, [invite(invitation.key.public, invitation.role, invitation.expires_ms)])
        return {
            "invitation": invitation.to_text(),
            "id": invitation.key.public.hex(),
            "group_id": group.hex(),
            "role": role,
            "expires_ms": invitation.expires_ms,
            "endpoint": endpoint,
        }

    def _door(self, group: GroupId) -> tuple[PeerId, str]:
        """Whom a joiner is to dial, and where: this site, or a member that it is linked to if it cannot be dialled itself."""
        links = self._links()
        if links.endpoint is not None:
            return self._peer, links.endpoint
        members = links.dialable_members(group)
        if not members:
            raise RequestError(
                "nobody can dial this site, and it is linked to no member that can be dialled",
                fix="wait until a member is connected, invite from a site with a listener, or set `advertise`",
            )
        return members[0]

    async def decide(self, group: GroupId, key: bytes, peer: PeerId, name: str) -> None:
        """Let `peer` in, which has shown that it holds the invitation `key`: durable, and on the roster, when this returns.

        A repetition changes nothing. Raises `InvitationRefusedError` that says why not, `NoAdminReachedError` if that is for others to decide.
        """
        view = self._replica.groups.get(group)
        if view is None:  # Looked at before the lock is made: strangers name as many groups as they like, and nothing is kept of these.
            raise InvitationRefusedError("this site is not in that group", fix="ask for a new invitation")
        async with self._deciding[group]:
            if view.roster.role(peer) is not Role.NONE and view.roster.role(self._peer) >= Role.ADMIN:
                self._check_use(view, key, peer)
                return
            entry = self._check_invitation(view, key, peer)
            shown = name if is_name(name) else peer.hex()[:SHORT_DIGITS]
            replaces = view.roster.standing(peer).now.live
            await self._store.write(group, LogKind.CONTROL, [member_set(peer, shown, entry.role, replaces=replaces, invite=key)])
            self._check_use(view, key, peer)
            if view.roster.role(peer) is Role.NONE:
                raise InvitationRefusedError("a more senior admin removed this site", fix="ask that admin")

    def _check_invitation(self, view: GroupView, key: bytes, peer: PeerId) -> Invite:
        """The invitation, if `peer` may be let in by it here and now."""
        if view.roster.role(self._peer) < Role.ADMIN:
            raise NoAdminReachedError("this site cannot admit anybody to this group", fix="join through the site of an admin")
        entry = view.roster.invites.get(key)
        if entry is None and any(member.role >= Role.ADMIN for member in view.roster.members.values() if member.peer != self._peer):
            raise NoAdminReachedError("this invitation is not known here, perhaps not yet", fix="join through the site of whoever made it")
        if entry is None or entry.role is Role.NONE or view.roster.role(entry.author) < Role.ADMIN:
            raise InvitationRefusedError("this invitation is unknown, revoked, or its author is no admin any more", fix="ask for a new one")
        self._check_use(view, key, peer)
        if entry.used_by == peer:
            raise InvitationRefusedError("this site used the invitation before, and was removed since", fix="ask an admin of the group")
        if entry.expires_ms <= now_ms():
            raise InvitationRefusedError("this invitation has expired", fix="ask for a new one")
        return entry

    def _check_use(self, view: GroupView, key: bytes, peer: PeerId) -> None:
        """Of several that were let in by one invitation the roster counts one."""
        entry = view.roster.invites.get(key)
        if entry is not None and entry.used_by is not None and entry.used_by != peer:
            raise InvitationRefusedError("this invitation was used by another site", fix="ask for a new one")

    async def join(self, text: str, *, wait: bool, timeout_ms: int) -> GroupId:
        """Use an invitation; with `wait`, return when the history that the other side had is here."""
        invitation = read_invitation(text)
        held = self._replica.groups.get(invitation.group)
        if held is not None and held.roster.role(self._peer) is not Role.NONE:
            return invitation.group
        self._check_before(invitation)
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                await self._links().join(invitation)
                await self._addresses.remember(invitation.member, invitation.member.hex()[:SHORT_DIGITS], invitation.endpoint, invitation.group)
                if wait:
                    await self._backfilled(invitation)
        except TimeoutError as error:
            raise TimedOutError(
                f"joining {invitation.group_name} through {invitation.endpoint} takes longer than {timeout_ms / 1000:g} s",
                fix="see `recmesh status`; give it longer with --timeout, or do not wait with --no-wait",
            ) from error
        return invitation.group

    def _check_before(self, invitation: Invitation) -> None:
        if invitation.member == self._peer:
            raise InvitationRefusedError("this invitation was made here, for other sites", fix="use it on the site that is to join")
        if invitation.expires_ms <= now_ms():
            raise InvitationRefusedError(
                "this invitation has expired", fix=f"ask {invitation.group_name} for a new one, and check the clocks of both sites"
            )
        for group, view in self._replica.groups.items():
            if group != invitation.group and folded(view.genesis.name) == folded(invitation.group_name):
                raise NameTakenError(
                    f"a group named {view.genesis.name} is here already: {group.hex()}, not {invitation.group.hex()}", fix="leave one of them first"
                )

    async def _backfilled(self, invitation: Invitation) -> None:
        """All that the member which let us in had when the link came up is here."""
        member, group = invitation.member.hex(), invitation.group.hex()
        while not any(link["peer_id"] == member and group in _texts(link["backfilled"]) for link in self._links().links()):  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)


def genesis_of(invitation: Invitation, data: bytes) -> Genesis:
    """How the group of an invitation began, as the member says that was dialled.

    Raises `InvitationRefusedError` if the group has another name: what was checked, and what the operator wants, is the one in the invitation.
    """
    genesis = read_genesis(data, invitation.group)
    if genesis.name != invitation.group_name:
        raise InvitationRefusedError(
            f"this invitation is for a group named {invitation.group_name}, but the group is named {genesis.name}", fix="ask for a new one, and why"
        )
    return genesis


def _texts(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
