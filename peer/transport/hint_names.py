"""Looking up names that others told of, in threads of their own: a name whose server never answers holds up no other work of this peer.

Such a thread cannot be ended. So there are few of them, nobody waits for one at the end, and while all are busy another name is as good as unknown.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Sequence

from aiohttp.abc import AbstractResolver, ResolveResult

LOOKUPS_MAX = 8
"""Names that are looked up at once."""

_room = threading.BoundedSemaphore(LOOKUPS_MAX)
Found = Sequence[tuple[int, int, int, str, tuple[object, ...]]]
"""As `socket.getaddrinfo` has it."""


async def look_up(host: str, port: int, family: int = socket.AF_UNSPEC) -> Found:
    """The addresses behind `host`. Raises `OSError`."""
    if not _room.acquire(blocking=False):
        raise OSError("too many names are being looked up")
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Found] = loop.create_future()

    def work() -> None:
        try:
            found: Found | OSError = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            found = error if isinstance(error, OSError) else OSError(f"{host!r} is no name")
        finally:
            _room.release()
        with contextlib.suppress(RuntimeError):  # This peer has stopped meanwhile.
            loop.call_soon_threadsafe(_tell, answer, found)

    threading.Thread(target=work, name="hint-name", daemon=True).start()
    return await answer


class HintResolver(AbstractResolver):
    """The same, for connections."""

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        """The addresses behind `host`. Raises `OSError`."""
        return [
            ResolveResult(hostname=host, host=str(address[0]), port=port, family=found, proto=protocol, flags=socket.AI_NUMERICHOST)
            for found, _, protocol, _, address in await look_up(host, port, family)
        ]

    async def close(self) -> None:
        """Nothing is kept."""


def _tell(answer: "asyncio.Future[Found]", found: Found | OSError) -> None:
    if answer.done():
        return
    if isinstance(found, OSError):
        answer.set_exception(found)
    else:
        answer.set_result(found)
