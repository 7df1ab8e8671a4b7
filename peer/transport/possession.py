"""Asking linked members for proofs that they hold something, and telling them of rounds."""

from collections.abc import Callable, Sequence

from peer.core.identity import GroupId, PeerId
from peer.errors import TransportError
from peer.sync.blob_messages import PossessionWant, RoundsEnded, RoundsWant
from peer.sync.possession import TellRounds
from peer.transport.links import PeerLinks


class PossessionLinks:
    """The links, as far as copies need them."""

    def __init__(self, links: Callable[[], PeerLinks]) -> None:
        """`links` gives the links, which may be made later."""
        self._links = links

    def members(self, group: GroupId) -> Sequence[PeerId]:
        """Linked peers with which a group is spoken about, each once."""
        return list(dict.fromkeys(self._links().group_peers(group)))

    async def ask(self, peer: PeerId, want: PossessionWant) -> Sequence[bytes]:
        """Proofs. Raises `TransportError` with the code of what stands against them."""
        connection = self._links().link_to(peer)
        if connection is None:
            raise TransportError(f"there is no link to {peer.hex()[:12]}")
        return await connection.ask_possession(want)

    def tell(self, peer: PeerId, message: RoundsWant | RoundsEnded) -> None:
        """Ask or tell which rounds have ended, if it is linked."""
        self._links().feed_to(peer, TellRounds(message))
