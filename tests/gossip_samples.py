"""A peer's view of the neighbourhood for tests: who is a member of what, and records of anybody."""

from collections.abc import Iterable
from functools import cache

from gossip.exchange import Exchange
from gossip.record import PeerRecord, Reachability, sign_record
from gossip.rules import GossipRules
from gossip.table import GossipTable
from peer.core.identity import GroupId, PeerId
from tests.samples import key_pair

RED, BLUE = GroupId(b"r" * 32), GroupId(b"b" * 32)
RULES = GossipRules()


@cache
def peer_id(name: str) -> PeerId:
    """The peer that is called so."""
    return key_pair(name).peer_id


def record(name: str, seq: int = 1, *, endpoints: Iterable[str] | None = None, valid_for_s: int = 3600) -> bytes:
    """What the peer with this name says of itself."""
    return _record(name, seq, (f"https://{name}.example:7850",) if endpoints is None else tuple(endpoints), valid_for_s)


@cache
def _record(name: str, seq: int, where: tuple[str, ...], valid_for_s: int) -> bytes:
    return sign_record(key_pair(name), PeerRecord(peer_id(name), seq, where, Reachability.UNKNOWN, valid_for_s)).data


def forged(name: str) -> bytes:
    """A record with a signature that is not the peer's."""
    data = bytearray(record(name))
    data[-1] ^= 1
    return bytes(data)


class View:
    """One peer's table, and what it would tell. Time stands still unless `now_ms` is changed."""

    def __init__(self, me: str = "me", *, red: str = "", blue: str = "", rules: GossipRules = RULES) -> None:
        """`red` and `blue` are the names of their members, with spaces between; `me` is in both."""
        self.members = {RED: {me, *red.split()}, BLUE: {me, *blue.split()}}
        self.me = me
        self.now_ms = 0
        self.table = GossipTable(peer_id(me), rules, self.is_member)
        self.exchange = Exchange(peer_id(me), rules, self.table, self.is_member)
        self.linked: set[str] = set()

    def is_member(self, group: GroupId, peer: PeerId) -> bool:
        """By the roster of this view."""
        return peer in {peer_id(name) for name in self.members[group]}

    def name(self, **ttls: int) -> None:
        """These were entered by hand, or came from a hub."""
        self.table.named = {peer_id(name): ttl for name, ttl in ttls.items()}

    def hear(self, informant: str, *entries: tuple[bytes, int], group: GroupId = RED) -> None:
        """`informant` tells of others."""
        self.table.hear(peer_id(informant), group, entries, self.now_ms)

    def link(self, *names: str) -> None:
        """Links to these stand, and to nobody else."""
        self.table.meet({peer_id(name): b"" for name in names}, self.now_ms)
        self.linked = set(names)

    def fails(self, name: str, endpoint: str = "", code: str = "unreachable") -> None:
        """An address of somebody was dialled in vain."""
        self.table.tried(peer_id(name), endpoint or f"https://{name}.example:7850", code, self.now_ms)

    def pass_time(self, ms: int) -> None:
        """Let time go on; links stay."""
        self.now_ms += ms
        self.link(*self.linked)
        self.table.tick(self.now_ms)

    def known(self, group: GroupId = RED) -> dict[str, tuple[int, int, str]]:
        """Seq, TTL and informant of everybody who was told of in `group`, by name."""
        names = {peer_id(name): name for members in self.members.values() for name in members}
        return {names[peer]: (told.signed.record.seq, told.ttl, names.get(told.learned_from, "?")) for peer, told, _ in self.table.of_group(group)}

    def dialled(self) -> set[str]:
        """Who may be dialled now."""
        self.table.tick(self.now_ms)
        names = {peer_id(name): name for members in self.members.values() for name in members}
        return {names[each.peer] for each in self.table.placed()}

    def tells(self, hearer: str, group: GroupId = RED, *, own: bytes = b"", turn: int = 0) -> list[tuple[bytes, int]]:
        """What it tells somebody."""
        return self.exchange.entries(peer_id(hearer), group, own, self.now_ms, turn)
