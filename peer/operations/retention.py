"""Holds, and how long recordings are to be kept: what stops that bytes go.

Asked before anything is deleted, dropped or collected. What cannot be told stops it, too.
"""

import asyncio
import time
from collections.abc import Callable

from materializer.values import RETENTION as SETTING
from materializer.values import RETENTION_CLASSES
from peer.core.clock import hlc_ms
from peer.core.identity import EventId, GroupId, PeerId
from peer.core.retention import kept
from peer.core.views import RecordingView, Views
from peer.errors import MeshError, NotFoundError, RecordingHeldError, RecordingRetainedError, ViewsBehindError
from peer.operations.json_form import Json, rfc3339, to_json

CATCH_UP_S = 10.0
"""How long it is waited for what is in the log and not in the views."""
SHORT_DIGITS = 12


class SteadyClock:
    """The time, as far as it can be believed: a clock that was put forward while this peer runs lets nothing run out."""

    def __init__(self, now_ns: Callable[[], int] = time.time_ns, elapsed_ns: Callable[[], int] | None = None) -> None:
        """`now_ns` is Unix time, `elapsed_ns` counts from anywhere, and goes on while the machine sleeps."""
        self._now_ns = now_ns
        self._elapsed_ns = elapsed_ns or _elapsed_ns
        self._ahead_ns = self._now_ns() - self._elapsed_ns()

    def __call__(self) -> int:
        """Unix time, or what it was at the start and what has passed since, if that is less."""
        return min(self._now_ns(), self._elapsed_ns() + self._ahead_ns)


class Retention:
    """Whether bytes of recordings may go."""

    def __init__(self, views: Views, position: Callable[[], int], now_ns: Callable[[], int]) -> None:
        """`position` is that of the last event of the log, `now_ns` the time."""
        self._views = views
        self._position = position
        self.now_ns = now_ns

    async def may_drop(self, group: GroupId, recording: EventId) -> MeshError | None:
        """Why no byte of a recording may be dropped here, None if nothing stops it."""
        try:
            await self.caught_up()
        except ViewsBehindError as error:
            return error
        view = await self._views.recording(group, recording)
        if view is None:
            return NotFoundError(f"no recording {recording.hex()} counts here", fix="see `recmesh recording list`")
        return await self.stop(view)

    async def may_remove(self, view: RecordingView) -> MeshError | None:
        """Why a recording, as it was looked at, may not be deleted, None if nothing stops it."""
        return await self.may_drop(view.group, view.recording)

    async def stop(self, view: RecordingView) -> MeshError | None:
        """Why no byte of a recording may go, None if nothing stops it."""
        reference = view.recording.hex()[:SHORT_DIGITS]
        if view.hold is not None:
            by = " at ".join(part for part in (view.hold.person, view.hold.site) if part)
            return RecordingHeldError(
                f"{view.name} is held{f' by {by}' if by else ''}: {view.hold.reason}",
                fix=f"once that is over, `recmesh recording unhold {reference}` lifts it",
            )
        standing = kept(view, await self.of_group(view.group))
        if standing is None or standing.has_run_out(self.now_ns()):
            return None
        until = "for ever" if standing.until_ns is None else f"until {_shown(standing.until_ns)}"
        why = "its group says so" if standing.is_of_group else standing.reason
        return RecordingRetainedError(
            f"{view.name} is to be kept {until} ({standing.retention}: {why})",
            fix=f"wait; or `recmesh recording retain {reference} CLASS --reason R` says otherwise",
        )

    async def caught_up(self) -> None:
        """Return once the views have all that is in the log. Raises `ViewsBehindError` if they do not get it."""
        try:
            async with asyncio.timeout(CATCH_UP_S):
                await self._views.reached(self._position())
        except TimeoutError as error:
            raise ViewsBehindError("events are here that are not projected yet, and may hold the recording", fix="try again in a minute") from error

    async def of_group(self, group: GroupId) -> str | None:
        """The class that a group gives its recordings, None if it gives none."""
        value = next((each.value for each in await self._views.settings(group) if each.name == SETTING), None)
        return value if isinstance(value, str) and value in RETENTION_CLASSES else None

    async def describe(self, view: RecordingView, name_of: Callable[[PeerId], str]) -> Json:
        """What holds a recording, and how long it is to be kept."""
        standing = kept(view, await self.of_group(view.group))
        hold: Json | None = None
        if view.hold is not None:
            by = {"peer_id": view.hold.author.hex(), "site": view.hold.site, "person": view.hold.person}
            hold = {"reason": view.hold.reason, "author_name": name_of(view.hold.author), "by": by, "time_ms": hlc_ms(view.hold.hlc)}
        shown = to_json(
            {
                "class": standing.retention if standing else None,
                "until_ns": standing.until_ns if standing else None,
                "reason": standing.reason if standing else "",
                "of_group": standing.is_of_group if standing else False,
                "has_run_out": standing is None or standing.has_run_out(self.now_ns()),
            }
        )
        return {"hold": hold, "retention": shown}


def _shown(until_ns: int) -> str:
    try:
        return rfc3339(until_ns)
    except (ValueError, OverflowError, OSError):
        return f"{until_ns} ns"


def _elapsed_ns() -> int:
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
