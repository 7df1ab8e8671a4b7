"""A hub: changes what it knows, one request at a time, keeps it, and only then answers and announces. Decides nothing: see `registry`.

A key with one use lets one in, however many ask at once, because no change begins before the one before is durable.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from peer.errors import StoreError
from peer.hub.keys import KEY_PREFIX, digest_of, new_id, new_secret
from peer.hub.records import OPERATOR, Announcement, Change, Hive, Key, Moment, State
from peer.hub.registry import add_key, begin, create_hive, forget, go_stale, hive_named, remove_key

SWEEPS_PER_TIMEOUT = 4
SWEEP_INTERVAL_MAX_S = 5.0
_MS_PER_S = 1000

Report = Callable[[str, BaseException], None]


class Keeper(Protocol):
    """Where a state is kept."""

    async def load(self) -> State:
        """As it was kept last."""
        ...

    async def save(self, state: State) -> None:
        """Keep it, durably."""
        ...


class Listener(Protocol):
    """Who is told of announcements."""

    def announce(self, announcements: tuple[Announcement, ...], now_ms: int) -> None:
        """Pass them on."""
        ...

    def dismiss(self, agent: str) -> None:
        """Have nothing to do with an agent any more."""
        ...


class Hub:
    """What a hub knows, and the one way to change it."""

    def __init__(self, keeper: Keeper, now: Callable[[], Moment], stale_after_s: float, report: Report) -> None:
        """`open` comes before anything else."""
        self._keeper = keeper
        self._now = now
        self._stale_after_ms = round(stale_after_s * _MS_PER_S)
        self._interval_s = min(stale_after_s / SWEEPS_PER_TIMEOUT, SWEEP_INTERVAL_MAX_S)
        self._report = report
        self._lock = asyncio.Lock()
        self._listeners: list[Listener] = []
        self._state = State()
        self._is_failing = False

    async def open(self) -> None:
        """Begin with what was kept. Raises `StoreCorruptError`."""
        self._state = begin(await self._keeper.load(), self._now())

    @property
    def state(self) -> State:
        """What it knows now."""
        return self._state

    def now(self) -> Moment:
        """The time."""
        return self._now()

    def subscribe(self, listener: Listener) -> None:
        """Tell `listener` of everything from now on."""
        self._listeners.append(listener)

    async def change(self, work: Callable[[State, Moment], Change]) -> Change:
        """Do `work` on what is known, alone. Once this returns it is durable. Raises what `work` raises, and `StoreError`."""
        async with self._lock:
            now = self._now()
            change = work(self._state, now)
            if change.is_durable:
                await self._save(change.state)
            self._state = change.state
        for listener in self._listeners:
            listener.announce(change.announcements, now.ms)
        return change

    async def _save(self, state: State) -> None:
        """Raises `StoreError`; the first of several is reported: a full disk stays full, and agents come again and again."""
        try:
            await self._keeper.save(state)
        except StoreError as error:
            if not self._is_failing:
                self._report("the hub cannot write", error)
            self._is_failing = True
            raise
        self._is_failing = False

    async def run(self) -> None:
        """Look again and again who has fallen silent."""
        while True:
            await asyncio.sleep(self._interval_s)
            with suppress(StoreError):
                await self.change(lambda state, now: go_stale(state, now, self._stale_after_ms))

    async def make_key(self, hive: str | None, uses: int, expires_in_ms: int | None, created_by: str) -> tuple[Key, str]:
        """A new pre-auth key with its secret, for the hive with this id. Raises `RefusedError`."""
        secret = new_secret(KEY_PREFIX)
        now_ms = self._now().ms
        expires_ms = None if expires_in_ms is None else now_ms + expires_in_ms
        key = Key(new_id("pak_"), digest_of(secret), hive, uses, expires_ms, created_by, now_ms)
        await self.change(lambda state, now: add_key(state, key, now))
        return key, secret

    async def hive_for(self, name: str) -> str:
        """The id of the hive that is called so; a private one of the operator's is made where there is none. Raises `RefusedError`."""

        def find(state: State, now: Moment) -> Change:
            held = hive_named(state, name)
            if held is not None:
                return Change(state, held.id, is_durable=False)
            return create_hive(state, Hive(new_id(), name, None, OPERATOR, is_public=False, settings=None, created_ms=now.ms, updated_ms=now.ms))

        return (await self.change(find)).made

    async def revoke_key(self, key: str) -> None:
        """Let nobody in with a pre-auth key any more. Raises `RefusedError`."""
        await self.change(lambda state, _: remove_key(state, key))

    async def forget(self, agent: str) -> None:
        """Let an agent be nobody."""
        await self.change(lambda state, _: forget(state, agent))
        for listener in self._listeners:
            listener.dismiss(agent)
