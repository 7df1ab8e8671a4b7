"""A simulated mesh: the real sessions, virtual time, and one seed for every delay, cut, crash and partition.

Peers keep what is durable over a crash and lose the rest. Connections deliver frames in order, late; they are cut, or die silently so that only pings
notice. `checks` watches every frame and every commit.
"""

import hashlib
import heapq
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from peer.core.certificate import LogKind
from peer.core.control import Role, member_set
from peer.core.group import Genesis
from peer.core.run import RUN_EVENTS_MAX
from tests.simulation.checks import Checks
from tests.simulation.shell import Connection, Peer


@dataclass
class World:
    """Time, chance and everybody in it."""

    seed: int
    names: tuple[str, ...] = ("a", "b", "c")
    late: tuple[str, ...] = ()
    """Those of them that nobody has added at first, and that no operator but their own has named."""
    delay_ms_max: int = 80
    tamper_chance: float = 0.0
    page_size_max: int = 16 * 1024
    installed: bool = False
    """True if everybody has the decisions on members already: a thousand rosters take long to sync."""
    kinds: Mapping[str, type[Peer]] = field(default_factory=dict)
    """Of those who are no simple peers, by name."""
    now_ms: int = 1_800_000_000_000
    faults: Counter[str] = field(default_factory=Counter)
    closes: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = 0
        self._trace = hashlib.blake2b()
        self._parted: set[frozenset[Peer]] = set()
        self.no_way: set[tuple[Peer, Peer]] = set()
        """Who cannot dial whom, whatever happens; the reverse may work."""
        self.connections: list[Connection] = []
        self.checks = Checks(self)
        self.peers = [self.kinds.get(name, Peer)(self, name) for name in self.names]
        self.by_endpoint = {peer.endpoint: peer for peer in self.peers}
        owner = self.peers[0]
        self.genesis = Genesis("lab", (owner.key.peer_id,), self.random.randbytes(32), self.now_ms, {})
        self.group = self.genesis.group
        for peer in self.peers:
            peer.store.create_group(self.genesis)
        added = [member_set(peer.key.peer_id, peer.name, Role.WRITER) for peer in self.peers[1:] if peer.name not in self.late]
        if not self.installed:
            owner.write(self.group, LogKind.CONTROL, added)
            return
        for start in range(0, len(added), RUN_EVENTS_MAX):
            owner.write(self.group, LogKind.CONTROL, added[start : start + RUN_EVENTS_MAX])
            owner.commit_pending()
        for peer in self.peers[1:]:
            peer.install(owner.store.copy())

    def connect(self, dialler: "Peer", listener: "Peer") -> None:
        """From the start on, `dialler` dials `listener`; both operators know of it, unless the dialler is a late one."""
        dialler.targets.append(listener)
        dialler.store.named.setdefault(self.group, set()).add(listener.key.peer_id)
        if dialler.name not in self.late:
            listener.store.named.setdefault(self.group, set()).add(dialler.key.peer_id)

    def start(self) -> None:
        """Everybody starts."""
        for peer in self.peers:
            peer.start()

    def at(self, when_ms: int, action: Callable[[], None]) -> None:
        """Do something at a time."""
        heapq.heappush(self._queue, (when_ms, self.next_number(), action))

    def after(self, delay: int, action: Callable[[], None]) -> None:
        """Do something after a time."""
        self.at(self.now_ms + delay, action)

    def next_number(self) -> int:
        """A number that was not given before."""
        self._numbers += 1
        return self._numbers

    def run(self, duration_ms: int, until: Callable[[], bool] | None = None) -> bool:
        """Let time pass; ends early, and is true, when `until` holds."""
        end = self.now_ms + duration_ms
        while self._queue and self._queue[0][0] <= end:
            self.now_ms, _, action = heapq.heappop(self._queue)
            action()
            if until is not None and until():
                return True
        self.now_ms = end
        return until is not None and until()

    def trace(self, *parts: bytes | str) -> None:
        """Add to what a replay must repeat."""
        for part in (str(self.now_ms), *parts):
            self._trace.update(part.encode() if isinstance(part, str) else part)

    @property
    def trace_digest(self) -> str:
        """What the same seed gives again."""
        return self._trace.hexdigest()

    def is_parted(self, one: "Peer", other: "Peer") -> bool:
        """True if no connection can stand between them now."""
        return frozenset((one, other)) in self._parted

    def can_dial(self, dialler: "Peer", listener: "Peer") -> bool:
        """True if there is a way from one to the other at all."""
        return not listener.is_hidden and (dialler, listener) not in self.no_way

    def live_connections(self) -> list[Connection]:
        """Those that stand."""
        found = {link.connection: None for peer in self.peers for link in peer.links.values() if link.connection.alive}
        return list(found)

    def part(self, side: "set[Peer]") -> None:
        """Separate `side` from the others."""
        for one in side:
            for other in self.peers:
                if other not in side:
                    self._parted.add(frozenset((one, other)))
        for connection in self.live_connections():
            if self.is_parted(connection.dialler, connection.listener):
                connection.cut()

    def heal(self) -> None:
        """End every partition."""
        self._parted.clear()

    def tampered(self, frame: bytes) -> bytes:
        """What arrives in place of `frame`."""
        if not self.tamper_chance or self.random.random() >= self.tamper_chance:
            return frame
        forged = self.checks.forge(frame, self.random)
        if forged is None:
            return frame
        self.faults["forged_runs"] += 1
        return forged

    @property
    def members(self) -> list[Peer]:
        """Those who are in the group by what the owner holds, and follow the protocol."""
        roster = self.peers[0].store.groups[self.group].roster
        return [peer for peer in self.peers if peer.is_honest and not peer.is_mute and roster.role(peer.key.peer_id) is not Role.NONE]

    def converged(self) -> bool:
        """True if all members are up, nothing waits, and all offer the same."""
        members = self.members
        if not all(peer.up and not peer.pending for peer in members):
            return False
        first, *others = [peer.store.groups[self.group].tips for peer in members]
        return all(other == first for other in others)
