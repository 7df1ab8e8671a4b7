"""Logs as an operator sees them: new ones in place of those whose key is not to be trusted, and events that are not to count."""

from peer.core.certificate import LogKind
from peer.core.control import Role, event_void, log_seal
from peer.core.identity import GroupId, LogId, PeerId
from peer.core.interfaces import EventStore, GroupView, Replica, StoredEvent
from peer.core.views import Views
from peer.errors import NoChangeError, NotAllowedError, NotFoundError, RemovedFromGroupError, RequestError
from peer.operations.deciding import name_of
from peer.operations.json_form import Json
from peer.operations.references import choose, find_group, is_prefix


class Logs:
    """Voids, rotates and seals."""

    def __init__(self, peer: PeerId, store: EventStore, replica: Replica, views: Views) -> None:
        """For the site `peer`."""
        self._peer = peer
        self._store = store
        self._replica = replica
        self._views = views

    async def void(self, reference: str, event: str) -> Json:
        """Let an event count no more, for ever: one's own, or as an admin anybody's. Events of control logs are not voided: they are replaced."""
        group, view = find_group(self._replica, reference)
        stored = await self._find(group, view, event)
        if stored.kind is LogKind.CONTROL:
            raise RequestError(
                f"{stored.event.header.type} is a decision: it is not voided but replaced",
                fix="`recmesh group role`, `recmesh group remove` or `recmesh group revoke` decide anew",
            )
        role = view.roster.role(self._peer)
        if role < Role.ADMIN and (stored.author != self._peer or role is Role.NONE):
            raise NotAllowedError(f"only {name_of(view, stored.author)} and the admins of {view.genesis.name} may void this event", fix="ask them")
        if view.roster.is_void(stored.event.id, stored.author):
            raise NoChangeError("this event is void already", fix="nothing needs to be done")
        written = await self._store.write(group, LogKind.CONTROL, [event_void(stored.event.id)])
        await self._views.reached(written[-1].position)
        return {
            "group_id": group.hex(),
            "group": view.genesis.name,
            "event_id": stored.event.id.hex(),
            "type": stored.event.header.type,
            "author": stored.author.hex(),
            "author_name": name_of(view, stored.author),
            "void": self._replica.groups[group].roster.is_void(stored.event.id, stored.author),
        }

    async def rotate(self, reference: str, sealed: str | None) -> Json:
        """Open new logs with new keys for what is written next. With `sealed`, an own log, let nothing count of it beyond what is held here now."""
        group, view = find_group(self._replica, reference)
        if view.roster.role(self._peer) is Role.NONE:
            raise RemovedFromGroupError(f"this site is no member of {view.genesis.name} any more", fix="ask an admin to add it again")
        log = self._own_log(view, sealed) if sealed is not None else None
        before = [(kind, await self._store.rotate_log(group, kind)) for kind in LogKind]
        if log is not None:
            written = await self._store.write(group, LogKind.CONTROL, [log_seal(log, await self._store.seal_points(group, log))])
            await self._views.reached(written[-1].position)
        return {
            "group_id": group.hex(),
            "group": view.genesis.name,
            "rotated": [{"kind": kind.name.lower(), "log": old.hex()} for kind, old in before if old is not None],
            "sealed": log.hex() if log is not None else None,
        }

    def _own_log(self, view: GroupView, reference: str) -> LogId:
        log = choose(reference, "log", ((each, "", each) for each in view.certificates), see=f"events {view.genesis.name} --json")
        author = view.certificates[log].peer
        if author != self._peer:
            name = name_of(view, author)
            raise NotAllowedError(
                f"this is a log of {name}: only its own site seals it", fix=f"`recmesh group remove {view.genesis.name} {name}` cuts what it wrote"
            )
        return log

    async def _find(self, group: GroupId, view: GroupView, reference: str) -> StoredEvent:
        if not is_prefix(reference):
            raise RequestError(f"{reference[:80]!r} is no id of an event", fix="write at least 6 hexadecimal digits of it")
        found = [each for each in await self._store.find_events(reference) if each.group == group]
        if not found:
            raise NotFoundError(f"there is no event {reference} in {view.genesis.name} here", fix=f"see `recmesh events {view.genesis.name}`")
        return choose(reference, "event", ((each.event.id, "", each) for each in found), see=f"events {view.genesis.name}")
