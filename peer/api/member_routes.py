"""Members, invitations, logs of a group over HTTP."""

from collections.abc import Sequence

from aiohttp import web

from peer.api.member_models import EventVoid, EventVoided, LogRotate, LogsRotated, MemberChange, MemberChanged
from peer.api.models import Invitation, InvitationCreate, InvitationMade
from peer.api.routes import Query, Route, query_flag, query_number, read_body
from peer.api.services import Services
from peer.core.access import Tier

GROUP = "/api/v1/sync/groups/{id}"


class MemberRoutes:
    """Handlers, for these services."""

    def __init__(self, services: Services) -> None:
        """Does nothing yet."""
        self._services = services

    def routes(self) -> Sequence[Route]:
        """All routes of this file."""
        removal = (
            Query("since_ms", "Of what it wrote only that counts which it wrote before this Unix time; left out: all that is here", "integer"),
            Query("dry_run", "1 to be told what would be left out, and change nothing", "integer"),
        )
        invitations, member = f"{GROUP}/invitations", f"{GROUP}/members/{{peer}}"
        return (
            Route("GET", invitations, self.invitations, "The invitations of a group", (Invitation,), tier=Tier.VIEWER),
            Route("POST", invitations, self.invite, "Make an invitation", InvitationMade, InvitationCreate, status=201, tier=Tier.ADMIN),
            Route("DELETE", f"{invitations}/{{key}}", self.revoke, "Revoke an invitation", Invitation, tier=Tier.ADMIN),
            Route("PATCH", member, self.change, "Give a member another role", MemberChanged, MemberChange, tier=Tier.ADMIN),
            Route("DELETE", member, self.remove, "Remove a member", MemberChanged, query=removal, tier=Tier.ADMIN),
            Route("POST", f"{GROUP}/void", self.void, "Let an event count no more", EventVoided, EventVoid, tier=Tier.ADMIN),
            Route("POST", f"{GROUP}/rotate-log", self.rotate, "Open new logs with new keys", LogsRotated, LogRotate, tier=Tier.ADMIN),
        )

    async def invitations(self, request: web.Request) -> object:
        """All of a group."""
        return self._services.invitations.all(request.match_info["id"])

    async def invite(self, request: web.Request) -> object:
        """A new one."""
        body = await read_body(request, InvitationCreate)
        return await self._services.joining.invite(request.match_info["id"], body.role, body.expires_in_ms)

    async def revoke(self, request: web.Request) -> object:
        """One less."""
        return await self._services.invitations.revoke(request.match_info["id"], request.match_info["key"])

    async def change(self, request: web.Request) -> object:
        """Another role."""
        body = await read_body(request, MemberChange)
        place = request.match_info
        return await self._services.membership.change(place["id"], place["peer"], body.role, since_ms=body.since_ms, dry_run=body.dry_run)

    async def remove(self, request: web.Request) -> object:
        """A member less."""
        since_ms = query_number(request, "since_ms", 0) if "since_ms" in request.query else None
        dry_run = query_flag(request, "dry_run")
        return await self._services.membership.remove(request.match_info["id"], request.match_info["peer"], since_ms=since_ms, dry_run=dry_run)

    async def void(self, request: web.Request) -> object:
        """An event less."""
        body = await read_body(request, EventVoid)
        return await self._services.logs.void(request.match_info["id"], body.event)

    async def rotate(self, request: web.Request) -> object:
        """New logs."""
        body = await read_body(request, LogRotate)
        return await self._services.logs.rotate(request.match_info["id"], body.seal)
