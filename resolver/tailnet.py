"""Members that may be at machines of the mesh which have a tag: candidates for known peers, never more. Who is there is proved when it is dialled.

And the order in which addresses of a peer are dialled: through the mesh first, while it runs.
"""

import asyncio
from collections.abc import Callable, Sequence

from peer.core.endpoint import read_endpoint
from peer.core.identity import GroupId, PeerId
from peer.core.interfaces import Replica
from peer.core.mesh import Mesh, MeshState, MeshView
from peer.core.mesh_addresses import MeshFirst, Moved
from peer.core.mesh_candidates import Candidates, Sought
from peer.core.neighbours import NoNeighbours
from resolver.base import ChangeListener, KnownPeer, Listeners, NoSource, PeerResolver, SourceState

SOURCE = "tailnet"
SOON_S = 0.05
"""How long what was found out is collected before others hear of it."""


class TailnetPeerResolver(NoNeighbours, PeerResolver):
    """What the mesh says of where members may be. Hears of tries, as a neighbour does, and learns from them."""

    def __init__(self, me: PeerId, replica: Replica, mesh: MeshView, tag: str, endpoint_of: Callable[[str], str], now_ms: Callable[[], int]) -> None:
        """`tag` is that of machines with members, empty for none; `endpoint_of` is where a peer listens on a machine; `now_ms` only ever grows."""
        self._me, self._replica, self._mesh = me, replica, mesh
        self._is_off = not tag
        self._candidates = Candidates(tag)
        self._endpoint_of = endpoint_of
        self._now_ms = now_ms
        self._first, self._moved = MeshFirst(mesh.current), Moved()
        self._moved.see(mesh.current)
        self._linked: set[PeerId] = set()
        self._listeners = Listeners()
        self._soon: asyncio.TimerHandle | None = None
        self._end = mesh.subscribe(self._changed)
        self.operator: PeerResolver = NoSource("manual")
        """Whom the operator named: they are sought, too."""

    # What it knows

    def peers(self) -> Sequence[KnownPeer]:
        """Members that may be dialled at a machine of the mesh, by peer id."""
        if self._is_off or self._mesh.current.mesh is not Mesh.RUNNING:
            return ()
        sought = self._sought()
        names = {each.peer: each.name for each in sought}
        found = self._candidates.choose(self._mesh.current, sought, self._now_ms())
        return [self._known(peer, names[peer], tuple(map(self._endpoint_of, hosts))) for peer, hosts in sorted(found.items())]

    def states(self) -> Sequence[SourceState]:
        """Why the mesh cannot be asked. A machine without a mesh has no such source."""
        state = self._mesh.current
        if self._is_off or state.mesh is Mesh.ABSENT:
            return ()
        if state.error is not None:
            return [SourceState(SOURCE, "failing", f"{state.error.text} [{state.error.code}]")]
        return [SourceState(SOURCE, "ok")]

    def subscribe(self, listener: ChangeListener) -> Callable[[], None]:
        """Call `listener` when the mesh changed, or somebody was found there or not."""
        return self._listeners.subscribe(listener)

    def followed(self, known: KnownPeer) -> KnownPeer:
        """A peer whose machine has another address in the mesh now, also there."""
        new = [endpoint for endpoint in self._moved.followed(known.endpoints) if endpoint not in known.endpoints]
        return known._replace(endpoints=(*known.endpoints, *dict.fromkeys(new)), hints=known.hints | set(new)) if new else known

    def preferred(self, known: KnownPeer) -> KnownPeer:
        """The same, with those addresses first that lead through the mesh."""
        known = self.followed(known)
        return known._replace(endpoints=self._first.sorted(known.endpoints))

    # What links tell

    def linked(self, peer: PeerId, record: bytes, *, dialled_by_us: bool) -> None:
        """It is not sought any more."""
        del record, dialled_by_us
        self._linked.add(peer)

    def unlinked(self, peer: PeerId) -> None:
        """It may be, unless another link stands: then it is found at once where it was."""
        self._linked.discard(peer)

    def tried(self, peer: PeerId, endpoint: str, code: str | None) -> None:
        """Where somebody was dialled at a machine of the mesh, it is known who is there, or who is not."""
        machine = self._mesh.current.node_at(read_endpoint(endpoint).host)
        if machine is not None and endpoint in {self._endpoint_of(address) for address in machine.addresses}:
            self._candidates.tried(peer, machine, code, self._now_ms())
            if code is not None and self._soon is None:
                self._soon = asyncio.get_running_loop().call_later(SOON_S, self._tell)

    def close(self) -> None:
        """Hear no more of the mesh."""
        self._end()
        if self._soon is not None:
            self._soon.cancel()

    def _tell(self) -> None:
        self._soon = None
        self._listeners.tell()

    def _changed(self, state: MeshState) -> None:
        self._first = MeshFirst(state)
        self._moved.see(state)
        self._listeners.tell()

    def _sought(self) -> list[Sought]:
        """Members of the groups here, and whom the operator named."""
        names = {each.peer: each.name for each in self.operator.peers()}
        for view in self._replica.groups.values():
            names |= {peer: member.name for peer, member in view.roster.members.items()}
        names.pop(self._me, None)
        return [Sought(peer, names[peer], peer in self._linked) for peer in sorted(names)]

    def _known(self, peer: PeerId, name: str, endpoints: tuple[str, ...]) -> KnownPeer:
        groups: frozenset[GroupId] = frozenset(group for group, view in self._replica.groups.items() if peer in view.roster.members)
        return KnownPeer(peer, name, endpoints, groups, SOURCE, hints=frozenset(endpoints))
