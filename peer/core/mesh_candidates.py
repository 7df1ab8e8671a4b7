"""At which machines of the mesh members may be found whose address nobody knows. Pure.

A mesh tells of machines, by tags that its own policy gives, and knows nothing of peers. So each such machine may be each such member, one after the
other, the one that is called like it first: whoever dials asks for that peer's key and finds out. A wrong guess costs one try and is not made again
for an hour; a machine where a member has proved who it is, is nobody else's; where nobody answers, nobody is sought for a while. How many guesses are
made in a minute is bounded, however many machines and members there are.
"""

from collections import OrderedDict, deque
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from peer.core.identity import PeerId
from peer.core.mesh import Mesh, MeshNode, MeshState
from peer.core.mesh_addresses import machine_networks, own_hosts
from peer.core.names import folded

MACHINES_MAX = 1024
"""Machines with the tag that are looked at, by their addresses."""

GUESSES_MAX = 2
"""Machines that are tried at once for one member."""

SOUGHT_MAX = 64
"""Members that are sought at once."""

GUESSES_PER_MINUTE = 60
WRONG_MAX = 4096
"""Wrong guesses that are remembered, the latest."""

WRONG_MS = 60 * 60 * 1000
SILENT_MS = 30_000
SILENT_MAX_MS = 15 * 60 * 1000
"""How long nobody is sought where nobody answers: twice as long each time, up to this."""

MS_PER_MINUTE = 60_000
WRONG_KEY_CODES = frozenset({"handshake_failed", "channel_key_mismatch"})
"""Somebody answered who is not the peer."""


class Sought(NamedTuple):
    """A member."""

    peer: PeerId
    name: str
    is_linked: bool


class Candidates:
    """What is known of who is where."""

    def __init__(self, tag: str) -> None:
        """`tag` is that of the machines on which members are; without one, nobody is sought."""
        self._tag = tag
        self._proved: dict[str, PeerId] = {}
        """By the ids of machines, who was there."""
        self._wrong: OrderedDict[tuple[PeerId, str], int] = OrderedDict()
        """Until when a guess is not made again."""
        self._silent: dict[str, tuple[int, int]] = {}
        """By the ids of machines, until when nobody is sought there, and how long that was."""
        self._guesses: dict[PeerId, list[str]] = {}
        """Those that are being tried, the best first."""
        self._made_ms: deque[int] = deque(maxlen=GUESSES_PER_MINUTE)

    def tried(self, peer: PeerId, machine: MeshNode, code: str | None, now_ms: int) -> None:
        """`peer` was dialled there; `code` says why nobody proved to be it, None if it did."""
        place = machine.node_id
        if code is None:
            self._proved[place] = peer
            self._silent.pop(place, None)
            return
        if code in WRONG_KEY_CODES:
            self._wrong[peer, place] = now_ms + WRONG_MS
            self._wrong.move_to_end((peer, place))
            while len(self._wrong) > WRONG_MAX:
                self._wrong.popitem(last=False)
            if self._proved.get(place) == peer:
                del self._proved[place]
        elif place not in self._proved:
            _, before_ms = self._silent.get(place, (0, SILENT_MS // 2))
            wait_ms = min(2 * before_ms, SILENT_MAX_MS)
            self._silent[place] = (now_ms + wait_ms, wait_ms)

    def choose(self, state: MeshState, sought: Sequence[Sought], now_ms: int) -> Mapping[PeerId, tuple[str, ...]]:
        """Addresses at which each of these may be dialled now, the best first."""
        machines = self._machines(state)
        if state.mesh is Mesh.RUNNING:
            self._forget({node.node_id for node in state.nodes.values()})
        at = {peer: place for place, peer in self._proved.items() if place in machines}
        found = {each.peer: (machines[at[each.peer]],) for each in sought if each.peer in at}
        free = [place for place in machines if place not in self._proved and self._silent.get(place, (0, 0))[0] <= now_ms]
        self._guess([each for each in sought if not each.is_linked and each.peer not in found], free, _places_by_name(state, machines), now_ms)
        return {**found, **{peer: tuple(machines[place] for place in places) for peer, places in self._guesses.items()}}

    def _machines(self, state: MeshState) -> dict[str, str]:
        """An address of each machine with the tag that is there, by its id."""
        if state.mesh is not Mesh.RUNNING or not self._tag:
            return {}
        versions = {":" in host for host in own_hosts(state)}
        found: dict[str, str] = {}
        tagged = [address for address, node in state.nodes.items() if self._tag in node.tags and node.is_online and node.node_id]
        for address in sorted(tagged):  # Of IPv4 rather than of IPv6, as digits come before letters.
            if len(found) < MACHINES_MAX and (":" in address) in versions and machine_networks(address, state):
                found.setdefault(state.nodes[address].node_id, address)
        return dict(sorted(found.items()))

    def _forget(self, places: Collection[str]) -> None:
        """What is known of machines that are in the mesh no more."""
        self._silent = {place: silent for place, silent in self._silent.items() if place in places}
        self._proved = {place: peer for place, peer in self._proved.items() if place in places}

    def _guess(self, sought: Sequence[Sought], free: Sequence[str], called: Mapping[str, str], now_ms: int) -> None:
        """Keep the guesses that are still good, and make new ones: those first where names are the same."""
        good = {each.peer: [place for place in self._guesses.get(each.peer, ()) if self._is_good(each.peer, place, free, now_ms)] for each in sought}
        self._guesses = {peer: places for peer, places in good.items() if places}
        for each in sought:
            self._add(each.peer, [called[name]] if (name := folded(each.name)) in called else (), free, now_ms)
        for each in sought:
            first = int.from_bytes(each.peer[:4], "big") % max(1, len(free))  # So that not everybody is sought at the same machine.
            self._add(each.peer, [*free[first:], *free[:first]], free, now_ms)

    def _add(self, peer: PeerId, places: Sequence[str], free: Sequence[str], now_ms: int) -> None:
        mine = self._guesses.get(peer, [])
        if not mine and len(self._guesses) >= SOUGHT_MAX:
            return
        for place in places:
            if len(mine) >= GUESSES_MAX or self._is_spent(now_ms):
                break
            if place not in mine and self._is_good(peer, place, free, now_ms):
                self._made_ms.append(now_ms)
                mine.append(place)
        if mine:
            self._guesses[peer] = mine

    def _is_good(self, peer: PeerId, place: str, free: Sequence[str], now_ms: int) -> bool:
        return self._wrong.get((peer, place), 0) <= now_ms and place in free

    def _is_spent(self, now_ms: int) -> bool:
        return len(self._made_ms) == GUESSES_PER_MINUTE and now_ms - self._made_ms[0] < MS_PER_MINUTE


def _places_by_name(state: MeshState, machines: Mapping[str, str]) -> Mapping[str, str]:
    """Machines by what people call them: the first word of their names in the mesh."""
    return {folded(state.nodes[address].name.partition(".")[0]): place for place, address in machines.items()}
