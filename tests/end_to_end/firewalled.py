"""Three hosts: two sites that nobody can dial, because a firewall drops whatever they did not ask for, and a relay that both dial.

The two have no way to each other. The relay can stand behind a proxy that ends TLS and lets no WebSocket pass.
"""

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

from tests.end_to_end.processes import wait_until
from tests.namespaces import Host, cable, hosts, needs_namespaces
from tests.tls_proxy import make_certificate

NEEDS = "network namespaces and a packet filter"
ROOT = Path(__file__).parents[2]
RELAY_ADDRESS = "10.40.0.1"
SITE_ADDRESSES = ("10.41.0.2", "10.42.0.2")
ADMIN_PORT = 7851
PROBE_PORT = 9999
PROBE_TIMEOUT_S = 2
LISTEN = f"""
import socket
with socket.create_server(("0.0.0.0", {PROBE_PORT})) as listening:
    print("ready", flush=True)
    while True:
        listening.accept()[0].close()
"""
CONNECT = f"""
import socket, sys
try:
    socket.create_connection((sys.argv[1], {PROBE_PORT}), timeout={PROBE_TIMEOUT_S}).close()
    print("connected")
except OSError as error:
    print(type(error).__name__)
"""


@dataclass
class Mesh:
    """The three, with a group `lab` that all are members of."""

    folder: Path
    relay: Host
    left: Host
    right: Host
    relay_settings: dict[str, str]

    @property
    def sites(self) -> tuple[Host, Host]:
        """Those behind the firewall."""
        return self.left, self.right

    def start_relay(self) -> None:
        """As it was before."""
        self.relay.start(**self.relay_settings)


class Admin:
    """A connection to the admin API of a host, from this process: without the cost of a command."""

    def __init__(self, host: Host) -> None:
        self._connection = host.connection(ADMIN_PORT)
        self._token = (host.folder / "admin.token").read_text().strip()

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """The document at `path`, or what a change gives."""
        answer = self.request(method, path, body)
        document = json.loads(answer.read())
        assert answer.status < 300, (method, path, document)
        return document

    def request(self, method: str, path: str, body: object = None) -> http.client.HTTPResponse:
        """The answer, to be read."""
        data = json.dumps(body).encode() if body is not None else None
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json", "Host": f"127.0.0.1:{ADMIN_PORT}"}
        self._connection.request(method, f"/api/v1/{path}", data, headers)
        return self._connection.getresponse()

    def hang_up(self) -> None:
        """End whatever is being read."""
        with contextlib.suppress(OSError):
            self._connection.sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def ask(host: Host, path: str) -> Any:
    """One document of a host."""
    with Admin(host) as admin:
        return admin.ask("GET", path)


@contextlib.contextmanager
def firewalled(folder: Path, *, through_proxy: bool = False, **relay_settings: str) -> Iterator[Mesh]:
    """All three running and up to date with each other. The relay has these settings, as in its environment."""
    needs_namespaces()
    _needs_packet_filter()
    with contextlib.ExitStack() as stack:
        relay, left, right = stack.enter_context(hosts(folder, "relay", "left", "right"))
        relay.run("ip", "address", "add", f"{RELAY_ADDRESS}/32", "dev", "lo")
        for site, address in zip((left, right), SITE_ADDRESSES, strict=True):
            gateway = address.removesuffix("2") + "1"
            cable(relay, site, f"to-{site.name}", (f"{gateway}/24", f"{address}/24"))
            site.run("ip", "route", "add", f"{RELAY_ADDRESS}/32", "via", gateway)
            _check_firewall(stack, relay, site, address)
        if through_proxy:
            relay_settings |= stack.enter_context(_proxy(folder, relay))
        relay_settings.setdefault("advertise", json.dumps([f"https://{RELAY_ADDRESS}:7850"]))
        mesh = Mesh(folder, relay, left, right, relay_settings)
        listen = "127.0.0.1:7850" if through_proxy else "0.0.0.0:7850"
        relay.recmesh("init", "--name", "relay", "--listen", listen, "--admin", f"127.0.0.1:{ADMIN_PORT}")
        mesh.start_relay()
        relay.recmesh("group", "create", "lab")
        for site in mesh.sites:
            site.recmesh("init", "--name", site.name, "--listen", "none", "--admin", f"127.0.0.1:{ADMIN_PORT}")
            site.start()
            site.recmesh("group", "join", relay.recmesh("group", "invite", "lab").strip())
        wait_until(lambda: agree(mesh), "all three hold the same")
        yield mesh
        for host in (left, right, relay):
            host.stop()


def agree(mesh: Mesh, also: Callable[[dict[str, Any]], bool] = lambda _: True) -> bool:
    """Whether all three have the same members, events and state."""
    groups = [ask(host, "status")["groups"][0] for host in (mesh.relay, *mesh.sites)]
    return all(also(each) for each in groups) and len({(each["events"], each["view_events"], each["state_digest"]) for each in groups}) == 1


def is_shut(mesh: Mesh) -> bool:
    """Whether the firewall stands: it has dropped something, and nobody gets in."""
    return all(_try(mesh.relay, address) == "TimeoutError" for address in SITE_ADDRESSES)


def _check_firewall(stack: contextlib.ExitStack, relay: Host, site: Host, address: str) -> None:
    """Put it up, and see that it makes the difference."""
    command = ["ip", "netns", "exec", site.namespace, sys.executable, "-c", LISTEN]
    listening = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    stack.callback(_end, listening)
    assert listening.stdout is not None
    assert listening.stdout.readline() == "ready\n"
    assert _try(relay, address) == "connected"
    interface = f"to-{site.name}"
    site.run("iptables", "-A", "INPUT", "-i", interface, "-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "ACCEPT")
    site.run("iptables", "-A", "INPUT", "-i", interface, "-j", "DROP")
    assert _try(relay, address) == "TimeoutError"


def _try(host: Host, address: str) -> str:
    return host.run(sys.executable, "-c", CONNECT, address).strip()


@contextlib.contextmanager
def _proxy(folder: Path, relay: Host) -> Iterator[dict[str, str]]:
    """A proxy in front of the relay, on its host; what the relay has to be told of it."""
    files = make_certificate(folder / "tls")
    arguments = [str(files.certificate), str(files.key), RELAY_ADDRESS, "7443", "http://127.0.0.1:7850"]
    command = ["ip", "netns", "exec", relay.namespace, sys.executable, "-m", "tests.old_proxy", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield {"channel_keys": json.dumps([files.spki.hex()]), "advertise": json.dumps([f"https://{RELAY_ADDRESS}:7443"])}
    finally:
        _end(process)


def _end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait(timeout=20)
    if process.stdout is not None:
        process.stdout.close()


def _needs_packet_filter() -> None:
    if shutil.which("iptables") is None:
        assert os.environ.get("CI") != "true", "the build machine has to have the package iptables"
        pytest.skip("there is no `iptables` command: install iptables")
    with contextlib.ExitStack() as stack:
        probe = stack.enter_context(hosts(Path("/nonexistent"), "filter"))[0]
        said = probe.run("iptables", "-A", "INPUT", "-m", "conntrack", "--ctstate", "ESTABLISHED", "-j", "ACCEPT", check=False)
        if said:
            pytest.skip(f"this kernel has no packet filter: {said.strip().splitlines()[0]}")
