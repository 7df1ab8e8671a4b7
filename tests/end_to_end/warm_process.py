"""`python -m tests.end_to_end.warm_process`: has everything loaded that `recmesh` loads, and forks a process for each command that a test asks for.

To start Python and load a peer takes most of a second of a core, hundreds of times in the tests with processes, and shows nothing new each time. What
comes of a fork runs `peer.cli` from its first line, with its own arguments, environment and output, and ends as any other process does. Who asks
sends a socket of its own and the three standard streams, and is told the process id, then the status. It ends when nobody can ask any more.
"""

import array
import faulthandler
import importlib
import json
import os
import signal
import socket
import sys
from typing import NoReturn

ASKED_MAX = 1 << 20
STREAMS = 3


def main() -> None:
    """Fork for whoever asks, until nobody can ask any more. Returns in the forks alone, ready to run."""
    for name in ("peer.cli.main", "peer.node", "peer.setup", "peer.cli.client", "httpx"):
        importlib.import_module(name)
    control = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        asked, given = _take(control)
        if not asked:
            os._exit(0)
        if os.fork() == 0:
            control.close()
            _become(json.loads(asked), given)
            return
        for each in given:
            os.close(each)


def _take(control: socket.socket) -> tuple[bytes, list[int]]:
    """What is asked for, and the descriptors that came with it."""
    given = array.array("i")
    room = socket.CMSG_SPACE((1 + STREAMS) * given.itemsize)
    asked, beside, _, _ = control.recvmsg(ASKED_MAX, room)
    for level, kind, data in beside:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            given.frombytes(data[: len(data) - len(data) % given.itemsize])
    return asked, list(given)


def _become(asked: dict[str, object], given: list[int]) -> None:
    """Stay behind to tell how it ends; the other one is what was asked for."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    told = socket.socket(fileno=given[0])
    child = os.fork()
    if child:
        _watch(child, told, given[1:])
    told.close()
    for number, each in enumerate(given[1:]):
        os.dup2(each, number)
        os.close(each)
    os.environ.clear()
    os.environ.update(asked["environment"])  # type: ignore[call-overload]
    if "PYTHONFAULTHANDLER" in os.environ:
        faulthandler.enable()
    importlib.reload(sys.modules["peer.failpoints"])  # It reads the environment when it is loaded.
    sys.argv = ["recmesh", *asked["arguments"]]  # type: ignore[misc]


def _watch(child: int, told: socket.socket, streams: list[int]) -> NoReturn:
    for each in (0, 1, 2, *streams):
        os.close(each)  # Who reads what it prints waits for the end of all who could print.
    told.send(str(child).encode())
    _, status = os.waitpid(child, 0)
    told.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


if __name__ == "__main__":
    main()
    from peer.cli.main import main as recmesh

    recmesh()
