"""A WireGuard tunnel between two hosts of the test's own, with addresses as a mesh gives them: at each end a process of `wireguard-go`.

It is what carries the packets of a Tailscale, without what hands out keys and addresses: that is done here.
"""

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from nacl.public import PrivateKey

from tests.end_to_end.processes import wait_until
from tests.namespaces import Host, cable, needs_namespaces

NEEDS = "wireguard-go"
TUN = Path("/dev/net/tun")
SOCKETS = Path("/var/run/wireguard")
"""Where `wireguard-go` listens for its settings, whatever its network namespace: names of interfaces differ from end to end."""

PORT = 51820
NETWORKS = ("100.64.0.0/10", "fd7a:115c:a1e0::/48")
ANSWER_TIMEOUT_S = 20.0


def needs_tunnels() -> None:
    """Skip, loudly, where there can be none."""
    needs_namespaces()
    if not TUN.exists():
        pytest.skip(f"there is no {TUN}: a tunnel needs it")
    if shutil.which("wireguard-go") is None:
        assert os.environ.get("CI") != "true", "the build machine has to have the package wireguard-go"
        pytest.skip("there is no `wireguard-go` command: install wireguard-go")


@dataclass
class End:
    """One end."""

    host: Host
    interface: str
    outside: str
    """The host's address around the tunnel."""
    addresses: tuple[str, ...]
    """Those inside, one of IPv4 and one of IPv6."""
    key: PrivateKey = field(default_factory=PrivateKey.generate)
    other: "End | None" = None
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def network(self) -> str:
        """What `wireguard` in the configuration of this host says for plain HTTP in the tunnel."""
        return f"{NETWORKS[0]}@{self.interface}"

    def up(self) -> None:
        """Start it, as a daemon of a mesh does: the interface and its addresses are there from now on."""
        log = (self.host.folder.parent / f"{self.host.name}-wireguard.log").open("a")
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", self.host.namespace, "wireguard-go", "-f", self.interface], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        log.close()
        wait_until((SOCKETS / f"{self.interface}.sock").exists, f"the tunnel of {self.host.name} is there")
        self._say(f"set=1\nprivate_key={bytes(self.key).hex()}\nlisten_port={PORT}\n\n")
        self.host.run("ip", "link", "set", self.interface, "up")
        for address in self.addresses:
            self._add(address)
        for network in NETWORKS:
            self.host.run("ip", "route", "add", network, "dev", self.interface)
        self.meet()

    def down(self) -> None:
        """End it: the interface and its addresses are gone."""
        if self.process is None:
            return
        self.process.terminate()
        self.process.wait(timeout=20)
        self.process = None

    def meet(self) -> None:
        """Tell it who is at the other end and which addresses that one has."""
        assert self.other is not None
        allowed = "".join(f"allowed_ip={address}/{128 if ':' in address else 32}\n" for address in self.other.addresses)
        peer = f"public_key={bytes(self.other.key.public_key).hex()}\nendpoint={self.other.outside}:{PORT}\nreplace_allowed_ips=true\n{allowed}"
        self._say(f"set=1\n{peer}\n")

    def readdress(self, addresses: tuple[str, ...]) -> None:
        """From now on it has these, and the other end knows: the new ones are there before the old ones go, as a mesh does it."""
        assert self.other is not None
        before, self.addresses = self.addresses, addresses
        if self.process is None:
            return  # Who comes up asks the other one.
        for address in addresses:
            self._add(address)
        self.other.meet()
        for address in before:
            self.host.run("ip", "address", "del", address, "dev", self.interface)

    def carried(self) -> int:
        """How many bytes went through, both ways together, as WireGuard counts them."""
        told = dict(line.partition("=")[::2] for line in self._say("get=1\n\n").splitlines())
        return int(told["rx_bytes"]) + int(told["tx_bytes"])

    def _add(self, address: str) -> None:
        """As the daemon of a mesh does: an address for itself, so that taking one away takes no other along."""
        self.host.run("ip", "address", "add", address, "dev", self.interface, *(["nodad"] if ":" in address else []))

    def _say(self, text: str) -> str:
        """Speak its configuration protocol."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(ANSWER_TIMEOUT_S)
            line.connect(str(SOCKETS / f"{self.interface}.sock"))
            line.sendall(text.encode())
            told = ""
            while not told.endswith("\n\n"):
                part = line.recv(65536).decode()
                assert part, f"wireguard-go ended in the middle: {told}"
                told += part
        assert "errno=0" in told, told
        return told


@contextlib.contextmanager
def tunnel(one: Host, other: Host, addresses: Sequence[tuple[str, ...]]) -> Iterator[tuple[End, End]]:
    """A tunnel between two hosts, over a cable `lan0` that is all there is around it."""
    outside = ("192.168.77.1", "192.168.77.2")
    cable(one, other, "lan0", (f"{outside[0]}/24", f"{outside[1]}/24"))
    near, far = (
        End(host, f"wg{os.getpid() % 10_000_000}{side}", *rest) for host, side, *rest in zip((one, other), "ab", outside, addresses, strict=True)
    )
    near.other, far.other = far, near
    try:
        near.up()
        far.up()
        yield near, far
    finally:
        near.down()
        far.down()
