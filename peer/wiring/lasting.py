"""Work that outlasts a full disk: what could not be written is begun again once there may be room."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from peer.errors import DiskFullError

TRY_AGAIN_S = 2.0

Report = Callable[[str, Mapping[str, object]], None]


async def lasting(run: Callable[[], Awaitable[None]], report: Report) -> None:
    """Do `run`, which goes on until it is cancelled, again and again while nothing else ends it than that the disk is full."""
    while True:
        try:
            return await run()
        except DiskFullError as error:
            full: DiskFullError = error
        except BaseExceptionGroup as errors:
            ours, others = errors.split(DiskFullError)
            if ours is None or others is not None:
                raise
            full = _first(ours)
        report("the disk is full: this goes on once there is room", {"error": full.text})
        await asyncio.sleep(TRY_AGAIN_S)


def _first(errors: BaseExceptionGroup[DiskFullError]) -> DiskFullError:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
