"""Writing to the disk while there is still more to come, so that the sync at the end has little left to wait for."""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

FLUSH_SIZE = 64 * 1024 * 1024


class EarlyFlush:
    """Lets a thread sync an open file each time that enough was written. It only hurries: the caller still syncs at the end."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._unflushed = 0
        self._threads: ThreadPoolExecutor | None = None
        self._running: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def wrote(self, size: int) -> None:
        """So many bytes more were written. Raises the `OSError` of an earlier sync, if there was one."""
        self._unflushed += size
        if self._unflushed < FLUSH_SIZE or (self._running is not None and not self._running.done()):
            return
        if self._running is not None:
            self._running.result()
        if self._threads is None:
            self._threads = ThreadPoolExecutor(1, "flush")
        self._unflushed = 0
        self._running = self._threads.submit(os.fdatasync, self._descriptor)

    def close(self) -> None:
        """Wait for what is under way: afterwards the file may be closed. Raises the `OSError` of a sync, if there was one."""
        if self._threads is not None:
            self._threads.shutdown()
            self._threads = None
        running, self._running = self._running, None
        if running is not None:
            running.result()
