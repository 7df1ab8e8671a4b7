"""One peer of the demonstration: a process of its own with its own data directory. Ended by its process id, whatever happens."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from peer.cli.client import AdminClient
from peer.errors import DemoFailedError

START_LIMIT_S = 30.0
STOP_LIMIT_S = 10.0
LOG_SHOWN_BYTES = 2000


class DemoSite:
    """A peer that was started here."""

    def __init__(self, folder: Path, name: str, *, hidden: bool, dies_at: str | None) -> None:
        """Sets up its data directory. Nobody can dial a hidden one. `dies_at` is the failpoint at which its first process kills itself."""
        from peer.setup import initialise  # noqa: PLC0415  (loads keys and settings; other commands start without them)

        self.label = name.upper()
        self._data = folder / name
        self._log = folder / f"{name}.log"
        listen = "none" if hidden else f"127.0.0.1:{free_port()}"
        site = initialise(self._data, name=name, listen=listen, admin="127.0.0.1:0")
        self.peer_id = site["peer_id"]
        self._token = (self._data / "admin.token").read_text().strip()
        self._process: subprocess.Popen[bytes] | None = None
        self._client: AdminClient | None = None
        self.start(dies_at)

    def start(self, dies_at: str | None = None) -> None:
        """Start the process and wait until it is ready."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("RECMESH_")}
        if dies_at is not None:
            environment["RECMESH_FAILPOINT"] = dies_at
        command = [sys.executable, "-m", "peer.cli", "serve", "--data", str(self._data), "--json"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment)  # noqa: S603  (this very program)
        timer = threading.Timer(START_LIMIT_S, self._process.kill)
        timer.daemon = True
        timer.start()
        try:
            ready = self._read_ready()
        finally:
            timer.cancel()
        self._client = AdminClient(f"http://{ready['admin']}", self._token, f"site {self.label}")

    def client(self) -> AdminClient:
        """Its admin API."""
        assert self._client is not None
        return self._client

    def recordings(self) -> list[dict[str, Any]]:
        """What it shows."""
        return cast("list[dict[str, Any]]", self.client().get("/api/v1/recordings")["recordings"])

    def digest(self, group: str) -> str:
        """The digest of its state of a group."""
        return str(self.client().get(f"/api/v1/sync/groups/{group}")["state_digest"])

    def wait_until_killed(self, limit_s: float) -> None:
        """Return when SIGKILL has ended it. Raises `DemoFailedError` if something else did, or nothing."""
        assert self._process is not None
        try:
            status = self._process.wait(limit_s)
        except subprocess.TimeoutExpired as error:
            raise DemoFailedError(f"{self.label} was not killed in the middle of its work", fix="report this") from error
        if status != -signal.SIGKILL:
            raise self._failed(f"{self.label} ended by itself with status {status}")

    @contextmanager
    def restarted(self) -> Iterator[None]:
        """A new process on the same data, stopped cleanly when the block ends well."""
        self.start()
        yield
        self.stop()

    def stop(self) -> None:
        """Ask it to end, and see that it does so cleanly."""
        assert self._process is not None
        self._process.terminate()
        try:
            status = self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired as error:
            raise self._failed(f"{self.label} does not stop") from error
        if status != 0:
            raise self._failed(f"{self.label} stopped with status {status}")

    def end(self) -> None:
        """Make sure that its process is gone."""
        if self._client is not None:
            self._client.__exit__()
        if self._process is not None:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait(STOP_LIMIT_S)
            assert self._process.stdout is not None
            self._process.stdout.close()

    def _read_ready(self) -> dict[str, str]:
        """The document that it prints when it is ready."""
        assert self._process is not None
        assert self._process.stdout is not None
        text = b""
        for row in self._process.stdout:
            text += row
            if row.rstrip() == b"}":
                return cast("dict[str, str]", json.loads(text))
        raise self._failed(f"{self.label} did not start")

    def _failed(self, text: str) -> DemoFailedError:
        log = self._log.read_bytes()[-LOG_SHOWN_BYTES:].decode(errors="replace").strip()
        return DemoFailedError(f"{text}: {log}" if log else text, fix="report this")


@contextmanager
def started(folder: Path, name: str, *, hidden: bool = False, dies_at: str | None = None) -> Iterator[DemoSite]:
    """A running site that is gone when the block ends."""
    site = DemoSite(folder, name, hidden=hidden, dies_at=dies_at)
    try:
        yield site
    finally:
        site.end()


def free_port() -> int:
    """A port that nobody uses right now, found by binding it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
