"""A machine of a user who follows a page: a home, a shell, and `recmesh` in the path."""

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from tests.end_to_end import warm
from tests.end_to_end.processes import COMMAND_S, free_port
from tests.patience import mortal, status_of

ROOT = Path(__file__).parents[2]
FOR_A_SHELL = frozenset("|&;<>()$`*?[]#~=%!{}\\\n")
"""What a shell would read as more than words and quotes."""


class Machine:
    """A user on a machine: a home, a shell, and `recmesh` in the path."""

    def __init__(self, name: str, home: Path) -> None:
        self.name = name
        self.home = home
        self.data = home / ".local/share/recmesh"
        (home / "bin").mkdir(parents=True)
        script = home / "bin/recmesh"
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m peer.cli "$@"\n')
        script.chmod(0o755)
        port = free_port()
        self.endpoint = f"https://127.0.0.1:{port}"
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("RECMESH_", "XDG_"))}
        self._environment = {
            **inherited,
            "HOME": str(home),
            "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
            "RECMESH_LISTEN": f"0.0.0.0:{port}",
            "RECMESH_ADVERTISE": json.dumps([self.endpoint]),
            "RECMESH_DIAL_NETWORKS": json.dumps(["127.0.0.0/8"]),
            "RECMESH_ADMIN": f"127.0.0.1:{free_port()}",
        }
        self._peer: subprocess.Popen[str] | warm.WarmProcess | None = None

    def hides(self) -> None:
        """Nobody is to dial it."""
        del self._environment["RECMESH_LISTEN"], self._environment["RECMESH_ADVERTISE"]

    def types(self, line: str) -> str:
        """Standard output of a line that ends well."""
        if _is_plain(line):
            done = warm.run(shlex.split(line)[1:], self._environment, COMMAND_S)
        else:
            done = subprocess.run(
                ["sh", "-c", line],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=COMMAND_S,
                check=False,
            )
        assert done.returncode == 0, f"{self.name}: {line}\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    def leaves_open(self, line: str) -> None:
        """A line that goes on in its terminal; returns when it has said that it is ready."""
        if _is_plain(line):
            self._peer = warm.start(shlex.split(line)[1:], sys.__stderr__.fileno(), self._environment)
        else:
            arguments = ["sh", "-c", f"exec {line}"]
            self._peer = subprocess.Popen(arguments, cwd=ROOT, env=self._environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert self._peer.stdout is not None
        with mortal(self._peer):
            assert self._peer.stdout.readline().startswith("ready:")

    def sets_up(self, block: list[str]) -> None:
        """The first block, without what `make` does: this test has an environment."""
        demo, activate, init, serve = block
        assert (demo, activate) == ("make demo", ". .venv/bin/activate")
        self.types(init.replace("office", self.name))
        self.leaves_open(serve)

    def leaves(self) -> None:
        """Ctrl-C."""
        if self._peer is not None:
            self._peer.send_signal(signal.SIGINT)
            assert status_of(self._peer) == 0
            self._forget()

    def is_lost(self) -> None:
        """It is not switched off: it is gone."""
        assert self._peer is not None
        self._peer.kill()
        self._peer.wait(timeout=20)
        self._forget()

    def _forget(self) -> None:
        assert self._peer is not None
        assert self._peer.stdout is not None
        self._peer.stdout.close()
        self._peer = None


def _is_plain(line: str) -> bool:
    """Whether it is a command of `recmesh` and its words, for which no shell has to be there. In the long run one is all the same."""
    return line.startswith("recmesh ") and not FOR_A_SHELL & set(line) and warm.may_be_warm({})
