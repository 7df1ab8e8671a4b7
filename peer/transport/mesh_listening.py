"""Listening at this machine's addresses in its mesh, and nowhere else. They come and go: new ones are opened before old ones are closed."""

from collections.abc import Callable
from functools import partial

from peer.core.mesh import Mesh, MeshState
from peer.core.mesh_addresses import own_hosts
from peer.errors import MeshError, MeshNotListeningError, PortInUseError
from peer.transport.listener import PeerListener

LATER = "nothing, if it is just starting: it is tried again; else see `recmesh network status`"


class MeshListening:
    """The doors of a peer with `listen = "tailnet"`."""

    def __init__(self, listener: PeerListener, port: int, is_plain: Callable[[str], bool]) -> None:
        """`port` 0 lets the system choose one, the same for all addresses where it is free; `is_plain` says where no TLS is needed."""
        self._listener = listener
        self._port = port
        self._is_plain = is_plain
        self._urls: dict[str, str] = {}
        self.problem: MeshError | None = None
        """Why this peer does not listen wherever it should, as it was found last."""

    @property
    def urls(self) -> tuple[str, ...]:
        """Where others dial, in the order of the daemon."""
        return tuple(self._urls.values())

    async def open(self, state: MeshState) -> None:
        """Listen at the addresses that are new. What cannot be opened is a problem until it can."""
        wanted = own_hosts(state)
        self.problem = None if wanted else _not_there(state)
        for host in wanted:
            if host not in self._urls:
                await self._open(host)
        self._urls = {host: self._urls[host] for host in sorted(self._urls, key=partial(_place, wanted))}

    async def _open(self, host: str) -> None:
        plain = self._is_plain(host)
        try:
            url = await self._listener.listen(host, self._port, plain=plain)
        except PortInUseError as error:
            self.problem = MeshNotListeningError(f"{error.text}: nobody can dial this peer there", fix=f"{LATER}; or {error.fix}")
            return
        self._urls[host] = url
        self._port = self._port or int(url.rpartition(":")[2])

    def leave(self, state: MeshState) -> None:
        """Listen no more at addresses that this machine has no more, once it listens at another."""
        wanted = own_hosts(state)
        if any(host in self._urls for host in wanted):
            for host in self._urls.keys() - set(wanted):
                self._listener.leave(self._urls.pop(host))


def _place(wanted: tuple[str, ...], host: str) -> int:
    return wanted.index(host) if host in wanted else len(wanted)


def _not_there(state: MeshState) -> MeshError:
    how = f"is {state.mesh}" if state.mesh is not Mesh.RUNNING else "gave this machine no address that can be listened at"
    return MeshNotListeningError(f"`listen` is `tailnet`, and the mesh {how}: nobody can dial this peer now", fix=LATER)
