"""Invitations as an admin looks at them: which are out, who used them, taking one back."""

from collections.abc import Callable

from peer.core.certificate import LogKind
from peer.core.control import Role, invite
from peer.core.identity import PeerId
from peer.core.interfaces import EventStore, GroupView, Replica
from peer.core.roster import Invite
from peer.core.views import Views
from peer.errors import NoChangeError, NotAllowedError
from peer.operations.deciding import name_of
from peer.operations.json_form import Json
from peer.operations.references import choose, find_group


class Invitations:
    """Lists and revokes."""

    def __init__(self, peer: PeerId, store: EventStore, replica: Replica, views: Views, now_ms: Callable[[], int]) -> None:
        """For the site `peer`."""
        self._peer = peer
        self._store = store
        self._replica = replica
        self._views = views
        self._now_ms = now_ms

    def all(self, reference: str) -> list[Json]:
        """All of a group, newest expiry last."""
        _, view = find_group(self._replica, reference)
        now = self._now_ms()
        return [_describe(view, each, now) for each in sorted(view.roster.invites.values(), key=lambda each: (each.expires_ms, each.key))]

    async def revoke(self, reference: str, invitation: str) -> Json:
        """Let nobody in with it any more. It cannot be made good again."""
        group, view = find_group(self._replica, reference)
        entry = choose(invitation, "invitation", ((each.key, "", each) for each in view.roster.invites.values()), see="group invitations")
        if view.roster.role(self._peer) < Role.ADMIN:
            raise NotAllowedError(f"only admins of {view.genesis.name} revoke invitations", fix="ask one of them: `recmesh group show` lists them")
        state = _state(view, entry, self._now_ms())
        if state == "revoked":
            raise NoChangeError("this invitation is revoked already", fix="nothing needs to be done")
        if state == "used":
            who = name_of(view, entry.used_by) if entry.used_by else "somebody"
            raise NoChangeError(
                f"{who} has used this invitation already", fix=f"`recmesh group remove {view.genesis.name} {who}` removes who came in with it"
            )
        written = await self._store.write(group, LogKind.CONTROL, [invite(entry.key, Role.NONE, entry.expires_ms, replaces=(entry.event_id,))])
        await self._views.reached(written[-1].position)
        view = self._replica.groups[group]
        return _describe(view, view.roster.invites[entry.key], self._now_ms())


def _describe(view: GroupView, entry: Invite, now_ms: int) -> Json:
    return {
        "id": entry.key.hex(),
        "role": entry.role.label,
        "state": _state(view, entry, now_ms),
        "expires_ms": entry.expires_ms,
        "author": entry.author.hex(),
        "author_name": name_of(view, entry.author),
        "used_by": entry.used_by.hex() if entry.used_by else None,
        "used_by_name": name_of(view, entry.used_by) if entry.used_by else None,
    }


def _state(view: GroupView, entry: Invite, now_ms: int) -> str:
    """In the order in which it is decided on: what was used stays used; what is void was made by somebody who is no admin any more."""
    if entry.used_by is not None:
        return "used"
    if entry.role is Role.NONE:
        return "revoked"
    if view.roster.role(entry.author) < Role.ADMIN:
        return "void"
    return "expired" if entry.expires_ms <= now_ms else "open"
