"""Backups over HTTP."""

from collections.abc import Sequence

from aiohttp import web
from pydantic import Field

from peer.api.access import caller_of
from peer.api.models import TEXT_MAX, Answer, Count, Hex, Request, Verified
from peer.api.routes import Route, read_body
from peer.api.services import Services
from peer.core.access import Tier

BACKUP = "/api/v1/backup"


class BackupFolder(Request):
    """Where a backup is to be made, or lies: a path of the peer's machine."""

    directory: str = Field(min_length=1, max_length=TEXT_MAX)


class Backup(Answer):
    """A backup that was made."""

    directory: str
    peer_id: Hex
    created_ms: Count
    files: Count
    size_bytes: Count


class BackupRoutes:
    """Handlers, for these services."""

    def __init__(self, services: Services) -> None:
        """Does nothing yet."""
        self._backups = services.backups
        self._paths = services.paths

    def routes(self) -> Sequence[Route]:
        """All routes of this file."""
        return (
            Route(
                "POST",
                BACKUP,
                self.create,
                "Copy keys, settings and log into a new or empty folder",
                Backup,
                BackupFolder,
                status=201,
                tier=Tier.ADMIN,
            ),
            Route("POST", f"{BACKUP}/verify", self.verify, "Check a backup", Verified, BackupFolder, tier=Tier.ADMIN),
        )

    async def create(self, request: web.Request) -> object:
        """Make one."""
        return await self._backups.create(await self._folder(request))

    async def verify(self, request: web.Request) -> object:
        """Doubt one."""
        return await self._backups.verify(await self._folder(request))

    async def _folder(self, request: web.Request) -> str:
        body = await read_body(request, BackupFolder)
        (folder,) = await self._paths.allowed(caller_of(request), [body.directory])
        return folder
