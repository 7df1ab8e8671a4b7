"""Real peers in real processes, driven by the real command line. Waits on conditions; stops only what it started, by its process."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from peer.setup import initialise
from tests.end_to_end import warm
from tests.patience import mortal, status_of

DEADLINE_S = 45.0
POLL_S = 0.1
INVITED_MS = 24 * 60 * 60 * 1000
JOINED_MS = 40_000
COMMAND_S = 120.0
LOADS_NO_CERTIFICATES = False
"""For requests in plain HTTP: to load them takes a hundred times as long as to ask."""
PORTS = (12_000, 32_000)
_given = set[int]()
_PAUSE = threading.Event()


class CommandFailedError(AssertionError):
    """A command did not end with the status that was expected."""


def free_port() -> int:
    """A port that nobody has at the moment, and that the system gives to no outgoing connection before it is used.

    No two sites of a run are given the same one, be they of one worker or of several: one that is not begun yet, or again, would find it taken.
    """
    worker, workers = (os.environ.get(f"PYTEST_XDIST_WORKER{end}", "") for end in ("", "_COUNT"))
    first, count = (int(worker.removeprefix("gw")), int(workers)) if workers else (0, 1)
    while True:
        port = random.SystemRandom().randrange(PORTS[0] + first, PORTS[1], count)
        if port in _given:
            continue
        _given.add(port)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("0.0.0.0", port))  # noqa: S104  (nobody listens)
            return port


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = DEADLINE_S) -> None:
    """Until `condition` holds."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"in vain waited {timeout_s:g} s until {what}")
        _PAUSE.wait(POLL_S)


@dataclass
class Site:
    """One peer: its folder, its process, its commands."""

    name: str
    folder: Path
    process: "subprocess.Popen[str] | warm.WarmProcess | None" = None
    listen: int = field(default_factory=free_port)
    admin: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        initialise(self.folder, name=self.name, listen=f"127.0.0.1:{self.listen}", admin=f"127.0.0.1:{self.admin}")  # As `recmesh init` does.

    def command(self, *arguments: str, status: int = 0, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command on this site's folder."""
        words = ["--data", str(self.folder), *arguments]
        around = {**os.environ, **(environment or {})}
        if warm.may_be_warm(environment or {}):
            done = warm.run(words, around, COMMAND_S)
        else:
            done = subprocess.run(
                [sys.executable, "-m", "peer.cli", *words],
                capture_output=True,
                text=True,
                timeout=COMMAND_S,
                check=False,
                stdin=subprocess.DEVNULL,
                env=around,
            )
        if done.returncode != status:
            raise CommandFailedError(f"{self.name}: {arguments} ended with {done.returncode}, not {status}:\n{done.stdout}\n{done.stderr}")
        return done

    def json(self, *arguments: str) -> Any:
        """What a command prints with `--json`."""
        return json.loads(self.command("--json", *arguments).stdout)

    def start(self, environment: dict[str, str] | None = None) -> None:
        """Serve, and wait until it is ready."""
        words = ["--data", str(self.folder), "serve"]
        around = {**os.environ, "PYTHONFAULTHANDLER": "1", **(environment or {})}
        with (self.folder.parent / f"{self.name}.log").open("a") as log:
            if warm.may_be_warm(environment or {}):
                self.process = warm.start(words, log.fileno(), around)
            else:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "peer.cli", *words],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    env=around,
                )
        assert self.process.stdout is not None
        with mortal(self.process):
            said = self.process.stdout.readline()
        if "ready" not in said and environment is None:
            raise AssertionError(f"{self.name} does not start: {self._log()}")

    def stop(self) -> int:
        """End it the way an operator does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        status = status_of(self.process)
        assert status != -signal.SIGABRT, f"{self.name} does not stop: {self._log()}"
        self._close()
        return status

    def kill(self) -> None:
        """End it without warning."""
        assert self.process is not None
        self.process.kill()
        self.died()

    def died(self) -> int:
        """Wait for the end that a failpoint brings."""
        assert self.process is not None
        status = status_of(self.process)
        self._close()
        return status

    @property
    def is_running(self) -> bool:
        """True while the process lives."""
        return self.process is not None and self.process.poll() is None

    def ask(self, method: str, path: str, **arguments: Any) -> Any:
        """What the admin API says, without the cost of a command."""
        token = (self.folder / "admin.token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        answer = httpx.request(
            method, f"http://127.0.0.1:{self.admin}/api/v1/{path}", headers=headers, timeout=DEADLINE_S, verify=LOADS_NO_CERTIFICATES, **arguments
        )
        answer.raise_for_status()
        return answer.json()

    def add(self, path: Path) -> Any:
        """Add a recording that is called like its file."""
        return self.ask("POST", "recordings", json={"paths": [str(path)], "name": path.stem})

    def status(self) -> dict[str, Any]:
        """How it is."""
        return self.ask("GET", "status")  # type: ignore[no-any-return]

    def group(self) -> dict[str, Any]:
        """The one group of this site, as `status` has it."""
        return self.status()["groups"][0]  # type: ignore[no-any-return]

    def recordings(self) -> dict[str, dict[str, Any]]:
        """All recordings, by name."""
        found: dict[str, dict[str, Any]] = {}
        cursor: str | None = None
        while True:
            page = self.ask("GET", "recordings", params={"limit": "500", **({"cursor": cursor} if cursor else {})})
            found.update({each["name"]: each for each in page["recordings"]})
            cursor = page.get("next")
            if cursor is None:
                return found

    def _log(self) -> str:
        return (self.folder.parent / f"{self.name}.log").read_text()[-4000:]

    def _close(self) -> None:
        assert self.process is not None
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None


def found(site: Site, name: str = "lab") -> None:
    """`site` makes a group, asked as `group create` asks it: the start of a command takes longer than what it does."""
    site.ask("POST", "sync/groups", json={"name": name, "owners": []})


def join(inviter: Site, joiner: Site, role: str = "writer", name: str = "lab") -> None:
    """`inviter` invites `joiner`, both asked as `group invite` and `group join` ask them."""
    invitation = inviter.ask("POST", f"sync/groups/{name}/invitations", json={"role": role, "expires_in_ms": INVITED_MS})["invitation"]
    joiner.ask("POST", "sync/groups/join", json={"invitation": invitation, "wait": True, "timeout_ms": JOINED_MS})


def agree(sites: Sequence[Site], recordings: int) -> bool:
    """All sites have so many recordings, all bytes of them, and the same digest."""
    views = [site.recordings() for site in sites]
    if any(len(view) != recordings or any(each["state"] != "local" for each in view.values()) for view in views):
        return False
    groups = [site.group() for site in sites]
    return len({each["state_digest"] for each in groups}) == 1 and len({each["view_events"] for each in groups}) == 1
