"""Hosts of the test's own: network namespaces on this machine, joined by virtual cables. Nothing leaves it."""

import contextlib
import ctypes
import http.client
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.patience import mortal, status_of

COMMAND_TIMEOUT_S = 120
NEEDS = "network namespaces"
CLONE_NEWNET = 0x40000000
ASK_PLAINLY = """
import socket, sys
source, target, forwarded = sys.argv[1:]
with socket.create_connection((target, 7850), timeout=10, source_address=(source, 0)) as asking:
    asking.sendall(f"GET /sync/v1/link HTTP/1.1\\r\\nHost: x\\r\\n{forwarded}Connection: close\\r\\n\\r\\n".encode())
    answer = b""
    while part := asking.recv(4096):
        answer += part
print(answer.decode())
"""


def why_not() -> str | None:
    """Why no namespaces can be made here; None if they can: then whatever fails is a failure."""
    if os.geteuid() != 0:
        return f"network namespaces need root, and this is user {os.geteuid()}"
    if subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True, timeout=COMMAND_TIMEOUT_S).returncode:
        return "network namespaces are not allowed here"
    if shutil.which("ip") is None:
        assert os.environ.get("CI") != "true", "the build machine has to have the package iproute2"
        return "there is no `ip` command: install iproute2"
    return None


def needs_namespaces() -> None:
    """Skip, loudly, where there can be none."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)


@dataclass
class Host:
    """One of them, with a peer on it."""

    name: str
    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[str] | None" = None

    @property
    def namespace(self) -> str:
        """As the system calls it."""
        return f"recmesh-{os.getpid()}-{self.name}"

    def run(self, *command: str, check: bool = True) -> str:
        """What a command says that runs on this host."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.namespace, *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **self.settings},
        )
        assert not check or done.returncode == 0, f"{self.name}: {command}: {done.stdout}{done.stderr}"
        return done.stdout if done.returncode == 0 else done.stderr

    def recmesh(self, *arguments: str, check: bool = True) -> str:
        """A command of ours, on this host's peer."""
        return self.run(sys.executable, "-m", "peer.cli", "--data", str(self.folder), *arguments, check=check)

    def json(self, *arguments: str) -> Any:
        """What it prints with `--json`."""
        return json.loads(self.recmesh("--json", *arguments))

    def asks_plainly(self, source: str, target: str, forwarded: str = "", *, check: bool = True) -> str:
        """What a peer answers at `target` to one who asks for a link in plain HTTP, from this address and with this line in the head."""
        return self.run("python3", "-c", ASK_PLAINLY, source, target, forwarded, check=check)

    def start(self, **settings: str) -> None:
        """Serve, with these settings from now on."""
        self.settings.update({f"RECMESH_{key.upper()}": value for key, value in settings.items()})
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace, sys.executable, "-m", "peer.cli", "--data", str(self.folder), "serve"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONFAULTHANDLER": "1", **self.settings},
        )
        assert self.process.stdout is not None
        with mortal(self.process):
            assert "ready" in self.process.stdout.readline()

    def kill(self) -> None:
        """End it without warning."""
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.kill()
        self.process.wait(timeout=20)
        self.process.stdout.close()
        self.process = None

    def connection(self, port: int) -> http.client.HTTPConnection:
        """To something that listens on this host's loopback: made in its namespace, used from here."""
        made = http.client.HTTPConnection("127.0.0.1", port, timeout=COMMAND_TIMEOUT_S)
        errors: list[OSError] = []

        def connect() -> None:  # A thread of its own: it stays in that namespace until its end.
            try:
                _enter(self.namespace)
                made.connect()
            except OSError as error:
                errors.append(error)

        thread = threading.Thread(target=connect)
        thread.start()
        thread.join(timeout=COMMAND_TIMEOUT_S)
        if errors:
            raise errors[0]
        return made

    def stop(self) -> None:
        """End it the way an operator does. `ip netns exec` becomes the peer itself, so this is its process."""
        if self.process is None:
            return
        process, self.process = self.process, None
        process.terminate()
        status = status_of(process)
        assert process.stdout is not None
        process.stdout.close()
        assert status == 0, f"{self.name} ended with {status}"


@contextlib.contextmanager
def hosts(folder: Path, *names: str) -> Iterator[list[Host]]:
    """Hosts with nothing but loopback."""
    made: list[Host] = []
    try:
        for name in names:
            host = Host(name, folder / name)
            _ip("netns", "add", host.namespace)
            made.append(host)
            host.run("ip", "link", "set", "lo", "up")
        yield made
    finally:
        for host in made:
            if host.process is not None:
                host.kill()
            _ip("netns", "del", host.namespace)


def cable(one: Host, other: Host, interface: str, addresses: tuple[str, str]) -> None:
    """An interface of this name on both, each with its address and network."""
    ends = [f"rm{os.getpid() % 100_000}{side}" for side in "ab"]
    _ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
    for host, end, address in zip((one, other), ends, addresses, strict=True):
        _ip("link", "set", end, "netns", host.namespace, "name", interface)
        host.run("ip", "address", "add", address, "dev", interface)
        host.run("ip", "link", "set", interface, "up")


def _enter(namespace: str) -> None:
    """Move this thread there. Raises `OSError`."""
    with Path("/run/netns", namespace).open() as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False, timeout=COMMAND_TIMEOUT_S)
    assert done.returncode == 0, f"ip {arguments}: {done.stderr}"
