"""What a simulated peer shows: a row for each event that counts, with the role at it. The real comparing decides what is said of it.

It is simpler than projections, and stricter: whoever has the same basis has to have the same role at each event, or somebody is alarmed.
"""

from functools import cache
from typing import TYPE_CHECKING

from materializer.agreement import HEARTBEAT_MS, basis_of
from peer.core.control import Role
from peer.core.hashing import hash_bytes
from peer.core.identity import EventId, PeerId
from peer.sync import effects as fx
from peer.sync.comparing import MODULUS, Ask, Comparing, part_of
from peer.sync.digests import DigestMessage, DigestPart, Digests, DigestWant

if TYPE_CHECKING:
    from tests.simulation.shell import Peer

TABLE = "events"
ROWS_MAX = 16
"""So few that a history needs several questions."""


@cache
def row_hash(event_id: EventId, role: Role) -> int:
    """Of an event that counts."""
    return int.from_bytes(hash_bytes(event_id + bytes([role])), "big")


class SimulatedViews:
    """Of one peer."""

    def __init__(self, peer: "Peer", *, version: int = 1) -> None:
        """By rules of this version."""
        self._peer = peer
        self._version = version
        self.wrong: EventId | None = None
        """An event that it shows otherwise than it is: a bug."""
        self.alarms = 0
        self.begin()

    def begin(self) -> None:
        """The peer starts."""
        self.comparing = Comparing(self._is_member)
        self._rows: dict[bytes, int] = {}
        self._shown: tuple[object, ...] = ()
        self._told: dict[PeerId, tuple[Digests, int]] = {}

    def tick(self) -> None:
        """Time has passed: tell who has not heard it, or not for a while."""
        group, now_ms = self._peer.world.group, self._peer.world.now_ms
        shared = [link for link in self._peer.links.values() if group in link.session.shared_groups()]
        linked = {peer: link for link in shared if self._is_member(group, peer := link.connection.other(self._peer).key.peer_id)}
        for peer in self._told.keys() - linked:
            self.comparing.unlinked(peer, now_ms)
            del self._told[peer]
        self.comparing.tidy(now_ms)
        digests = self._digests()
        self._ask(self.comparing.tell(digests, now_ms))
        for peer, link in linked.items():
            told = self._told.get(peer)
            if told is None or told[0] != digests or now_ms - told[1] >= HEARTBEAT_MS:
                self._told[peer] = digests, now_ms
                self._peer.feed(link, fx.TellDigests(digests))
        self.alarms += bool(self.comparing.differences())

    def heard(self, peer: PeerId, message: DigestMessage) -> None:
        """Somebody said this."""
        if not self._is_member(message.group, peer):
            return
        if isinstance(message, Digests):
            self._ask(self.comparing.hear(peer, message, self._peer.world.now_ms))
            return
        want = DigestWant(message.group, message.basis, message.table, message.prefix)
        digests = self._digests()
        rows = {key: total for key, total in self._rows.items() if key.startswith(want.prefix)}
        ours = part_of(want, rows, ROWS_MAX) if digests.basis == want.basis else None
        if isinstance(message, DigestPart):
            self._ask(self.comparing.heard_part(peer, message, ours, self._peer.world.now_ms))
        elif ours is not None:
            self._send(peer, ours)

    def _digests(self) -> Digests:
        world = self._peer.world
        view = self._peer.store.groups[world.group]
        shown = (self._peer.store.position, view.judgement, self.wrong)
        if shown != self._shown:
            self._shown = shown
            roles = {event_id: role for log in view.certificates for event_id, role in view.roles(log).items() if role is not Role.NONE}
            self._rows = {event_id: row_hash(event_id, role) + (event_id == self.wrong) for event_id, role in roles.items()}
            total = (sum(self._rows.values()) % MODULUS).to_bytes(32, "big")
            self._kept = Digests(world.group, self._version, basis_of(view), ((TABLE, total),))
        return self._kept

    def _ask(self, asks: list[Ask]) -> None:
        for ask in asks:
            self._send(ask.peer, ask.want)

    def _send(self, peer: PeerId, message: DigestMessage) -> None:
        for link in list(self._peer.links.values()):
            if link.facts is not None and link.connection.other(self._peer).key.peer_id == peer:
                self._peer.feed(link, fx.TellDigests(message))
                return

    def _is_member(self, group: bytes, peer: PeerId) -> bool:
        world = self._peer.world
        return group == world.group and peer in self._peer.store.groups[world.group].roster.members
