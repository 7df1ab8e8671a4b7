"""What the daemon of a mesh said last, kept up to date: its status is asked for now and then, and at once when it tells that something changed.

What it tells is not read: a daemon of another version tells it otherwise, or not at all. Then there is the next look.
"""

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from typing import NamedTuple, Protocol

from peer.core.endpoint import is_loopback
from peer.core.mesh import ABSENT, Caller, Mesh, MeshState, MeshStatus, StateListener, is_mesh_address, is_same, state_of
from peer.errors import MeshError, MeshUnreachableError
from resolver.base import Listeners

POLL_S = 15.0
WOKEN_S = 1.0
"""The least time between two looks that the daemon asked for by telling of changes."""

TOLD_BYTES_MAX = 64 * 1024 * 1024
"""What it may tell between two looks: who says more is not listened to for a while. Older daemons tell of the whole mesh."""

BUS_AGAIN_S = 2.0
BUS_AGAIN_MAX_S = 300.0
"""How long it is not listened to after it broke off: twice as long each time, up to this."""

BUS_GOOD_S = 60.0
"""Who told of changes for so long begins anew."""

CALLER_FRESH_S = 60.0
CALLERS_MAX = 1024
"""Addresses of which it is remembered who speaks from there."""

ASKING_MAX = 8
"""Questions at once about who somebody is."""


class Daemon(Protocol):
    """What knows the mesh. All methods raise `MeshError`."""

    async def status(self) -> MeshStatus:
        """How it is."""
        ...

    async def whois(self, address: str) -> Caller | None:
        """Who speaks from `IP:PORT`."""
        ...

    def bus(self) -> AsyncGenerator[int, None]:
        """Tells of each change, by the size of what is said of it, until it breaks off."""
        ...


class _Known(NamedTuple):
    caller: Caller | None
    until_s: float


class MeshWatch:
    """Keeps the state of the mesh, and tells of changes."""

    def __init__(self, daemon: Daemon, *, poll_s: float = POLL_S, woken_s: float = WOKEN_S, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds that never go back."""
        self._daemon = daemon
        self._poll_s, self._woken_s = poll_s, min(woken_s, poll_s)
        self._clock = clock
        self._state = ABSENT
        self._has_looked = False
        self._first = asyncio.Lock()
        """Whoever asks before the first look waits for one, and not each for its own."""
        self._changes = 0
        self._is_there = asyncio.Event()
        """Set while there is a daemon to listen to."""
        self._listeners = Listeners()
        self._wake = asyncio.Event()
        self._told_bytes = 0
        self._callers: OrderedDict[str, _Known] = OrderedDict()
        self._asking = asyncio.Semaphore(ASKING_MAX)

    @property
    def current(self) -> MeshState:
        """What the daemon said last; that there is none before it was asked."""
        return self._state

    def subscribe(self, listener: StateListener) -> Callable[[], None]:
        """Call `listener`, in the event loop, when something changed that matters; returns what ends that."""
        return self._listeners.subscribe(lambda: listener(self._state))

    async def run(self) -> None:
        """Keep looking, until cancelled."""
        listening = asyncio.create_task(self._listen())
        try:
            while True:
                self._wake.clear()
                self._told_bytes = 0
                with contextlib.suppress(MeshError):
                    await self.status()
                await asyncio.sleep(self._woken_s)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._poll_s - self._woken_s):
                        await self._wake.wait()
        finally:
            listening.cancel()
            await asyncio.wait([listening])

    async def status(self) -> MeshStatus:
        """How the mesh is now; whoever listens learns of it, too. Raises `MeshError`, `MeshAbsentError` where there is no daemon."""
        try:
            found = await self._daemon.status()
        except MeshError as error:
            self._take(state_of(error))
            raise
        self._take(state_of(found))
        return found

    async def who(self, address: str) -> Caller | None:
        """Who speaks from `IP:PORT`; None for nobody of the mesh, or where the daemon cannot be asked."""
        try:
            return await self.ask(address)
        except MeshError:
            return None

    async def ask(self, address: str) -> Caller | None:
        """Who speaks from `IP:PORT`, None for nobody of the mesh. Raises `MeshError` where the daemon cannot be asked, or carries nothing."""
        async with self._first:
            if not self._has_looked:
                await self.status()
        self._check_running()
        host = address.rpartition(":")[0].strip("[]")
        if not (is_loopback(host) or is_mesh_address(host) or self._state.node_at(host)):
            return None
        known = self._callers.get(address)
        if known is not None and self._clock() < known.until_s:
            return known.caller
        changes = self._changes
        async with self._asking:
            self._check_running()
            try:
                caller = await self._daemon.whois(address)
            except MeshError:
                self._wake.set()
                raise
        # A port of loopback is another connection's soon, and what was asked before a change is not kept.
        if self._changes == changes and not is_loopback(host):
            self._remember(address, caller)
        return caller

    def _check_running(self) -> None:
        """Raise `MeshError` unless there is somebody to ask."""
        if self._state.mesh is not Mesh.RUNNING:
            raise self._state.error or MeshUnreachableError("the mesh does not run on this machine", fix="see `recmesh network status`")

    def _remember(self, address: str, caller: Caller | None) -> None:
        self._callers[address] = _Known(caller, self._clock() + CALLER_FRESH_S)
        self._callers.move_to_end(address)
        while len(self._callers) > CALLERS_MAX:
            self._callers.popitem(last=False)

    def _take(self, state: MeshState) -> None:
        changed = not is_same(self._state, state)
        self._state, self._has_looked = state, True
        if state.mesh is Mesh.ABSENT:
            self._is_there.clear()
        else:
            self._is_there.set()
        if changed:
            self._changes += 1
            self._callers.clear()
            self._listeners.tell()

    async def _listen(self) -> None:
        """Look at once when the daemon tells of a change, for as long as it does."""
        again_s = BUS_AGAIN_S
        while True:
            await self._is_there.wait()
            began_s = self._clock()
            with contextlib.suppress(MeshError):
                await self._hear()
            self._wake.set()  # It may have ended, or begun anew.
            if self._clock() - began_s >= BUS_GOOD_S:
                again_s = BUS_AGAIN_S
            await asyncio.sleep(again_s)
            again_s = min(2 * again_s, BUS_AGAIN_MAX_S)

    async def _hear(self) -> None:
        """Until it breaks off, or tells too much. Raises `MeshError`."""
        async with contextlib.aclosing(self._daemon.bus()) as bus:
            async for size in bus:
                self._told_bytes += size
                self._wake.set()
                if self._told_bytes > TOLD_BYTES_MAX:
                    return
