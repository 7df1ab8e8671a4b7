"""The process of its own that projects for a peer while very many events come: how it is begun, and what it does.

They talk through its standard input and output: a frame is four bytes of length, then a page; the answer is a frame, too, empty where the page could
not be written. When its input ends, because it was ended or because the peer is no more, so does the process.
"""

import asyncio
import fcntl
import gc
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

from materializer.apart import Apart, Report, WorkerFailedError
from materializer.page_bytes import decode_page, decode_touched, encode_page, encode_touched
from materializer.projector import Projector
from materializer.writing import EventPage, Touched, write_page
from peer.errors import StoreError
from peer.failpoints import failpoint
from peer.store.database import BUSY_TIMEOUT_S, Connection, connect_for_writing, in_transaction

START_TIMEOUT_S = 60.0
ANSWER_TIMEOUT_S = 0.8 * BUSY_TIMEOUT_S
"""It takes a fraction of a second for a page. One that hangs holds the file, perhaps: who else writes to it waits for longer than this."""
END_TIMEOUT_S = 10.0
CORES_MIN = 2
"""With one there is nothing to gain."""
PIPE_BYTES = 1024 * 1024
"""A page lies ready as a whole where the system has pipes of this size: nobody waits for the other's interpreter while it is handed over."""
GREETING = b"ready"
"""Comes before any answer."""
REFUSAL = b""
"""The page could not be written."""

_LENGTH = struct.Struct("<I")

T = TypeVar("T")


class ProjectingProcess:
    """A `materializer.apart.Worker`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        """Use `start`."""
        self.process = process
        self._sending = ThreadPoolExecutor(1, "projecting")
        self._receiving = ThreadPoolExecutor(1, "projected")

    @classmethod
    async def start(cls, path: Path) -> Self:
        """Begin one for the projections at `path`, and return when it can be given pages."""
        # Not what the folder in which the peer was begun has of the same names.
        command = [sys.executable, "-P", "-m", __spec__.name, str(path)]
        try:
            # Not in a thread: whoever is cancelled would not know that there is one. It takes 2 ms.
            # In a group of its own: a key pressed at a terminal is for the peer, and this ends when it does.
            process = subprocess.Popen(command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0)  # noqa: ASYNC220, S603
        except OSError as error:
            raise WorkerFailedError(f"another process for the projections cannot begin: {error}") from error
        begun = cls(process)
        try:
            for descriptor in (begun._its_input, begun._its_output):
                _widen(descriptor)
            await begun._received(START_TIMEOUT_S)
        except BaseException:
            process.kill()  # It has written nothing yet.
            await begun.end()
            raise
        return begun

    async def project(self, page: EventPage, *, anew: bool) -> Touched:
        """As `Worker.project`. Answers come in the order of the pages."""
        await self._in_thread(self._sending, lambda: _send(self._its_input, encode_page(page, anew=anew)), ANSWER_TIMEOUT_S)
        answer = await self._received(ANSWER_TIMEOUT_S)
        if answer == REFUSAL:
            raise WorkerFailedError("another process could not write projections")
        return decode_touched(answer)

    async def end(self) -> None:
        """As `Worker.end`. It finishes what it was given; one that does not is killed."""
        await asyncio.to_thread(self._wait)

    async def _received(self, timeout_s: float) -> bytes:
        return await self._in_thread(self._receiving, lambda: _receive(self._its_output), timeout_s)

    async def _in_thread(self, thread: ThreadPoolExecutor, work: Callable[[], T], timeout_s: float) -> T:
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.get_running_loop().run_in_executor(thread, work)
        except TimeoutError as error:
            self.process.kill()
            raise WorkerFailedError("another process that wrote projections does not answer") from error
        except OSError as error:
            raise WorkerFailedError("another process that wrote projections is gone") from error

    @property
    def _its_input(self) -> int:
        assert self.process.stdin is not None, "as it was begun"
        return self.process.stdin.fileno()

    @property
    def _its_output(self) -> int:
        assert self.process.stdout is not None, "as it was begun"
        return self.process.stdout.fileno()

    def _wait(self) -> None:
        hanging = threading.Timer(END_TIMEOUT_S, self.process.kill)
        hanging.start()
        try:
            self._sending.shutdown()
            if self.process.stdin is not None:
                self.process.stdin.close()
            self._receiving.shutdown()
            self.process.wait()
        finally:
            hanging.cancel()
            if self.process.stdout is not None:
                self.process.stdout.close()


def projecting_apart(report: Report) -> Callable[[Path], Apart] | None:
    """Who decides for a file when such a process is begun; None where it would have no core of its own."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores < CORES_MIN:
        return None
    return lambda path: Apart(path, ProjectingProcess.start, report)


def main() -> None:
    """Be that process."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # As sent to all processes of a service: this ends when the peer does.
    gc.disable()  # It makes no cycles.
    with suppress(OSError, StoreError), closing(connect_for_writing(Path(sys.argv[1]))) as connection:
        _send(sys.stdout.fileno(), GREETING)
        _serve(connection)


def _serve(connection: Connection) -> None:
    """Write what comes, until nothing can come or be written any more."""
    its_input, its_output = sys.stdin.fileno(), sys.stdout.fileno()
    projector = Projector()
    while True:
        page, anew = decode_page(_receive(its_input))
        if anew:
            projector = Projector()
        try:
            touched = in_transaction(connection, partial(write_page, projector=projector, page=page), lambda: failpoint("apart.before_commit"))
        except Exception:  # noqa: BLE001  (the peer tries the same by itself, and tells what is wrong)
            _send(its_output, REFUSAL)
            return
        failpoint("apart.after_commit")
        _send(its_output, encode_touched(touched))


def _widen(descriptor: int) -> None:
    """Make a pipe hold a page, where the system lets this user."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def _send(descriptor: int, frame: bytes) -> None:
    rest = memoryview(_LENGTH.pack(len(frame)) + frame)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _receive(descriptor: int) -> bytes:
    """One frame. Raises `ConnectionError` where no more come."""
    (length,) = _LENGTH.unpack(_receive_exactly(descriptor, _LENGTH.size))
    return _receive_exactly(descriptor, length)


def _receive_exactly(descriptor: int, length: int) -> bytes:
    parts = []
    while length:
        part = os.read(descriptor, length)
        if not part:
            raise ConnectionResetError("the other process ended")
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


if __name__ == "__main__":
    main()
