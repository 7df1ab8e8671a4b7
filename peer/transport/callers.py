"""Which machine of the mesh is at the other end of a link, and whether it may be linked or call at all where the operator says which may.

That is decided before anything is said, on top of the proof of the key and never instead of it; and decided anew when the mesh changes. Where it
cannot be asked nobody new is let in. Links that stand stay meanwhile: they came to be by the mesh's word.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from weakref import WeakKeyDictionary

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from peer.core.allowance import Allowances
from peer.core.endpoint import read_endpoint
from peer.core.identity import PeerId
from peer.core.mesh import Caller, Mesh, MeshNode, MeshState, MeshView, NoMesh
from peer.core.mesh_rule import MeshRule
from peer.errors import CallerRefusedError, CallerUndecidedError, MeshError
from peer.transport.channel import other_end, refusal
from peer.transport.connection import Connection

LOOK_AGAIN_S = 60.0
"""How long it is remembered who may call, and how often it is looked again who is linked: what a policy lets machines do tells of no change."""

LINES_BURST = 20
LINES_PER_MINUTE = 20
"""Lines of the audit log about links, for each member, and for all strangers together. The next line says how many were left out."""

REFUSALS = frozenset({"not_a_member", "handshake_failed", "version_mismatch", "channel_key_mismatch", "handshake_timeout"})
"""Ends of links that came in which are refusals."""

COME_AGAIN_S = 15
FORBIDDEN, UNAVAILABLE = 403, 503


class CallerParts(NamedTuple):
    """What is asked of other parts."""

    mesh: MeshView
    rule: MeshRule
    write: Callable[[Mapping[str, object]], None]
    """A line of the audit log."""
    is_member: Callable[[PeerId], bool]
    """Whether somebody is a member of anything here."""
    report: Callable[[str, Exception], None]
    """Takes a bug of ours."""


class Callers:
    """Who came in."""

    def __init__(self, parts: CallerParts) -> None:
        """Listens to the mesh from now on."""
        self._mesh, self._rule = parts.mesh, parts.rule
        self._parts = parts
        self._let_in: WeakKeyDictionary[asyncio.BaseTransport, float] = WeakKeyDictionary()
        """Until when the connections count as let in."""
        self._watching: dict[int, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._allowances = Allowances(LINES_BURST, LINES_PER_MINUTE)
        parts.mesh.subscribe(self._mesh_changed)

    def problems(self) -> Sequence[MeshError]:
        """What the operator should know: that nobody is let in."""
        if not self._rule.is_set or self._mesh.current.mesh is Mesh.RUNNING:
            return ()
        text = "only some machines of the mesh may be linked, and the mesh cannot be asked which one calls: nobody new is let in"
        return (CallerUndecidedError(text, fix="`recmesh network status` says what is wrong with the mesh"),)

    def middleware(self) -> Middleware:
        """Lets in whom the rule lets in, for all routes of a listener."""

        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            try:
                await self.let_in(request.transport)
            except CallerUndecidedError as error:
                away = refusal(UNAVAILABLE, error)
                away.headers["Retry-After"] = str(COME_AGAIN_S)
                return away
            except CallerRefusedError as error:
                return refusal(FORBIDDEN, error)
            return await handler(request)

        return check

    async def let_in(self, transport: asyncio.BaseTransport | None) -> None:
        """Return if whoever connected may call. Raises `CallerRefusedError` or `CallerUndecidedError`."""
        if not self._rule.is_set or (transport is not None and self._let_in.get(transport, 0.0) > time.monotonic()):
            return
        asked_s, changed = time.monotonic(), self._changed
        await self.check(other_end(transport), calls=True)
        if transport is not None and changed is self._changed:
            self._let_in[transport] = asked_s + LOOK_AGAIN_S

    async def check(self, address: str, *, calls: bool = False) -> None:
        """Return if there may be a link to `address`, IP:PORT, or if that `calls`. Raises `CallerRefusedError` or `CallerUndecidedError`."""
        if not self._rule.is_set:
            return
        caller: Caller | None = None
        refused: CallerRefusedError | CallerUndecidedError
        try:
            caller = await self._mesh.ask(address)
            self._rule.check(caller)
        except CallerRefusedError as error:
            refused = error
        except MeshError as error:
            refused = CallerUndecidedError(f"who is there is not known: {error.text}", fix=error.fix)
        else:
            return
        if calls:
            self._write("refused", None, address, caller, refused)
        raise refused

    def established(self, connection: Connection) -> None:
        """Somebody has shown a key: find out from which machine, and whether it goes on to be one that may be linked."""
        self._watching[connection.number] = asyncio.create_task(self._watch(connection))

    def ended(self, connection: Connection) -> None:
        """The link is over."""
        watching = self._watching.pop(connection.number, None)
        if watching is not None:
            watching.cancel()
        end = connection.end
        if end is not None and (end.code == CallerRefusedError.code or (end.code in REFUSALS and not connection.session.we_dialled)):
            error = CallerRefusedError(end.text)
            error.code = end.code
            self._write("refused", connection, connection.carrier.other_end, connection.caller, error)

    def shown(self, connection: Connection | None) -> Mapping[str, object]:
        """Which way a link goes, and to which machine of the mesh; as `status` has it."""
        if connection is None:
            return {"route": "none", "node": None}
        found = connection.caller or self._node_of(connection)
        if found is None:
            return {"route": "direct", "node": None}
        return {"route": "tailnet", "node": {"node_id": found.node_id, "name": found.name, "user": found.user, "tags": list(found.tags)}}

    def _node_of(self, connection: Connection) -> MeshNode | None:
        address = connection.carrier.address
        if not address and connection.endpoint is not None:
            address = read_endpoint(connection.endpoint).host
        return self._mesh.current.node_at(address)

    async def _watch(self, connection: Connection) -> None:
        try:
            await self._follow(connection)
        except Exception as error:  # noqa: BLE001  (a bug of ours ends no link)
            self._parts.report("a bug in finding out who is linked", error)

    async def _follow(self, connection: Connection) -> None:
        address = connection.carrier.other_end
        try:
            connection.caller = await self._mesh.who(address)
        finally:  # It may end before that is known.
            if not connection.session.we_dialled:
                self._write("in", connection, address, connection.caller)
        while True:
            changed = self._changed
            with contextlib.suppress(MeshError):
                if not await self._may_stay(connection):
                    return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN_S):
                    await changed.wait()

    async def _may_stay(self, connection: Connection) -> bool:
        """Whether a link does; it is ended if not. Raises `MeshError` where nobody can be asked."""
        connection.caller = await self._mesh.ask(connection.carrier.other_end)
        try:
            self._rule.check(connection.caller)
        except CallerRefusedError as error:
            connection.close(error.code, error.text)
            return False
        return True

    def _mesh_changed(self, _: MeshState) -> None:
        self._let_in.clear()
        self._changed.set()
        self._changed = asyncio.Event()

    def _write(self, how: str, connection: Connection | None, address: str, caller: Caller | None, error: MeshError | None = None) -> None:
        """A line of the audit log: who came in, or was refused and why."""
        remote, knocked = (connection.remote, connection.knocked) if connection is not None else (None, None)
        peer, name = (remote.remote, remote.name) if remote is not None else (knocked.peer, knocked.name) if knocked is not None else (None, None)
        counted = peer.hex() if peer is not None and self._parts.is_member(peer) else None
        left_out = self._allowances.take(counted, time.monotonic())
        if left_out is None:
            return
        self._parts.write(
            {
                "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "link": how,
                "peer_id": peer.hex() if peer is not None else None,
                "name": name,
                "remote": address,
                "node": caller.name if caller is not None else None,
                "node_id": caller.node_id if caller is not None else None,
                "user": caller.user if caller is not None else None,
                "tags": list(caller.tags) if caller is not None else [],
                "code": error.code if error is not None else None,
                "why": error.text if error is not None else None,
                **({"left_out": left_out} if left_out else {}),
            }
        )


def no_callers() -> Callers:
    """For links of whose callers nobody wants to know."""
    return Callers(CallerParts(NoMesh(), MeshRule(), lambda _: None, lambda _: False, lambda _event, _error: None))
