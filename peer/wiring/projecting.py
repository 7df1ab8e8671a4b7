"""The process of its own that projects for a peer while very many events come: how it is begun, and what it does.

Both ends of a pair of sockets are the peer's own: a frame is four bytes of length, then a page; the answer is a frame, too, empty where the page
could not be written. When its socket ends, because it was ended or because the peer is no more, so does the process.
"""

import asyncio
import gc
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Self

from materializer.apart import Apart, Report, WorkerFailedError
from materializer.page_bytes import decode_page, decode_touched, encode_page, encode_touched
from materializer.projector import Projector
from materializer.writing import EventPage, Touched, write_page
from peer.errors import StoreError
from peer.failpoints import failpoint
from peer.store.database import Connection, connect_for_writing, in_transaction

ANSWER_TIMEOUT_S = 60.0
"""It takes a fraction of a second for a page."""
END_TIMEOUT_S = 10.0
CORES_MIN = 2
"""With one there is nothing to gain."""
GREETING = b"ready"
"""Comes before any answer."""
REFUSAL = b""
"""The page could not be written."""

_LENGTH = struct.Struct("<I")


class ProjectingProcess:
    """A `materializer.apart.Worker`."""

    def __init__(self, process: subprocess.Popen[bytes], own_end: socket.socket) -> None:
        """Use `start`."""
        self.process = process
        self._socket = own_end
        self._thread = ThreadPoolExecutor(1, "projecting")

    @classmethod
    async def start(cls, path: Path) -> Self:
        """Begin one for the projections at `path`, and return when it can be given pages."""
        own_end, its_end = socket.socketpair()
        own_end.settimeout(ANSWER_TIMEOUT_S)
        with its_end:
            command = [sys.executable, "-m", __spec__.name, str(its_end.fileno()), str(path)]
            try:
                # Not in a thread: whoever is cancelled would not know that there is one. It takes 2 ms.
                process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=[its_end.fileno()])  # noqa: ASYNC220, S603
            except OSError as error:
                own_end.close()
                raise WorkerFailedError(f"another process for the projections cannot begin: {error}") from error
        begun = cls(process, own_end)
        try:
            await begun._in_thread(partial(_receive, own_end))
        except BaseException:
            process.kill()  # It has written nothing yet.
            await begun.end()
            raise
        return begun

    async def project(self, page: EventPage, *, anew: bool) -> Touched:
        """As `Worker.project`."""
        answer = await self._in_thread(lambda: self._exchange(encode_page(page, anew=anew)))
        if answer == REFUSAL:
            raise WorkerFailedError("another process could not write projections")
        return decode_touched(answer)

    async def end(self) -> None:
        """As `Worker.end`. It finishes its page; one that does not is killed."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        await asyncio.to_thread(self._wait)

    async def _in_thread(self, work: Callable[[], bytes]) -> bytes:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except OSError as error:
            raise WorkerFailedError(f"another process that wrote projections is gone: {error}") from error

    def _exchange(self, frame: bytes) -> bytes:
        _send(self._socket, frame)
        return _receive(self._socket)

    def _wait(self) -> None:
        try:
            self.process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._thread.shutdown()
        self._socket.close()


def projecting_apart(report: Report) -> Callable[[Path], Apart] | None:
    """Who decides for a file when such a process is begun; None where it would have no core of its own."""
    if len(os.sched_getaffinity(0)) < CORES_MIN:
        return None
    return lambda path: Apart(path, ProjectingProcess.start, report)


def main() -> None:
    """Be that process."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # They are for the peer, and this ends when it does.
    gc.disable()  # It makes no cycles.
    descriptor, path = sys.argv[1:]
    with socket.socket(fileno=int(descriptor)) as peer, suppress(OSError, StoreError), closing(connect_for_writing(Path(path))) as connection:
        _send(peer, GREETING)
        _serve(peer, connection)


def _serve(peer: socket.socket, connection: Connection) -> None:
    """Write what comes, until nothing can come or be written any more."""
    projector = Projector()
    while True:
        page, anew = decode_page(_receive(peer))
        if anew:
            projector = Projector()
        try:
            touched = in_transaction(connection, partial(write_page, projector=projector, page=page), lambda: failpoint("apart.before_commit"))
        except Exception:  # noqa: BLE001  (the peer tries the same by itself, and tells what is wrong)
            _send(peer, REFUSAL)
            return
        failpoint("apart.after_commit")
        _send(peer, encode_touched(touched))


def _send(end: socket.socket, frame: bytes) -> None:
    end.sendall(_LENGTH.pack(len(frame)) + frame)


def _receive(end: socket.socket) -> bytes:
    """One frame. Raises `ConnectionError` where no more come."""
    (length,) = _LENGTH.unpack(_receive_exactly(end, _LENGTH.size))
    return bytes(_receive_exactly(end, length))


def _receive_exactly(end: socket.socket, length: int) -> bytearray:
    data = bytearray(length)
    done = 0
    while done < length:
        count = end.recv_into(memoryview(data)[done:])
        if not count:
            raise ConnectionResetError("the other process ended")
        done += count
    return data


if __name__ == "__main__":
    main()
