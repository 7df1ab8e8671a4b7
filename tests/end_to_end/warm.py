"""Processes of `recmesh` that start in no time: the side of the tests. See `warm_process`."""

import array
import atexit
import contextlib
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from tests.conftest import LONG
from tests.patience import PATIENCE_S

ANSWER_MAX = 64
NEEDS_A_START = ("PYTHON", "LD_")
"""How variables begin that say something to a Python or a loader that starts."""


class WarmProcess:
    """What the tests use of `subprocess.Popen`."""

    def __init__(
        self, arguments: Sequence[str], streams: tuple[int, int, int], environment: Mapping[str, str], stdout: IO[str] | None = None
    ) -> None:
        """Start it. `stdout` is where to read what it prints, if it is a pipe."""
        self.args = ["recmesh", *arguments]
        self.stdout = stdout
        self.returncode: int | None = None
        self._told, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            asked = json.dumps({"arguments": list(arguments), "environment": dict(environment)}).encode()
            given = array.array("i", [theirs.fileno(), *streams])
            _forker().sendmsg([asked], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, given)])
        self._told.settimeout(PATIENCE_S)
        said = self._told.recv(ANSWER_MAX)
        assert said, "the process that forks is gone"
        self.pid = int(said)

    def poll(self) -> int | None:
        """How it ended, or None while it lives."""
        if self.returncode is None:
            try:
                self.wait(0)
            except subprocess.TimeoutExpired:
                return None
        return self.returncode

    def wait(self, timeout: float) -> int:
        """How it ends. Raises `TimeoutExpired` as any other does."""
        if self.returncode is None:
            self._told.settimeout(timeout)
            try:
                answer = self._told.recv(ANSWER_MAX)
            except (TimeoutError, BlockingIOError) as error:
                raise subprocess.TimeoutExpired(self.args, timeout) from error
            assert answer, f"whoever was to tell how {self.pid} ends is gone"
            self.returncode = int(answer)
            self._told.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Unless it has ended: then somebody else's may have its number."""
        if self.returncode is None and not select.select([self._told], [], [], 0)[0]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


def may_be_warm(environment: Mapping[str, str]) -> bool:
    """Whether a fork shows what a start would. In the long run every process starts from nothing."""
    return not LONG and not any(name.startswith(NEEDS_A_START) for name in environment)


def run(arguments: Sequence[str], environment: Mapping[str, str], timeout: float) -> "subprocess.CompletedProcess[str]":
    """Run `recmesh` to its end, as `subprocess.run` does, with nothing on standard input."""
    with Path(os.devnull).open() as nothing, tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = WarmProcess(arguments, (nothing.fileno(), out.fileno(), err.fileno()), environment)
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(PATIENCE_S)
            raise
        for each in (out, err):
            each.seek(0)
        return subprocess.CompletedProcess(process.args, status, out.read(), err.read())


def start(arguments: Sequence[str], err: int, environment: Mapping[str, str]) -> WarmProcess:
    """Start `recmesh`, whose output can be read, with nothing on standard input."""
    ours, theirs = os.pipe()
    with Path(os.devnull).open() as nothing, os.fdopen(theirs, "w") as out:
        return WarmProcess(arguments, (nothing.fileno(), out.fileno(), err), environment, os.fdopen(ours))


@functools.cache
def _forker() -> socket.socket:
    """The way to the one process of this worker that forks."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        forker = subprocess.Popen(
            [sys.executable, "-m", "tests.end_to_end.warm_process", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )

    def end() -> None:
        ours.close()
        forker.wait(PATIENCE_S)

    atexit.register(end)
    return ours
