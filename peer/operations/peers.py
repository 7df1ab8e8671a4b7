"""Other peers: everybody on a roster, and everybody whose address was given."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from peer.core.identity import GroupId, PeerId
from peer.core.interfaces import DialTarget, Links, Replica
from peer.core.names import folded
from peer.operations.json_form import Json
from peer.operations.references import choose

SHORT_DIGITS = 8


class KnownAddress(DialTarget, Protocol):
    """An address as a source tells it."""

    @property
    def groups(self) -> frozenset[GroupId]:
        """Expected to be shared."""
        ...


class Addresses(Protocol):
    """What is known of addresses."""

    def peers(self) -> Sequence[KnownAddress]:
        """All of it."""
        ...


class Peers:
    """Shows who is known."""

    def __init__(self, peer: PeerId, replica: Replica, addresses: Addresses, links: Links) -> None:
        """For the site `peer`."""
        self._peer = peer
        self._replica = replica
        self._addresses = addresses
        self._links = links

    def all(self) -> list[Json]:
        """Everybody but this peer, by name."""
        known = {each.peer: each for each in self._addresses.peers()}
        links = {str(link["peer_id"]): link for link in self._links.links()}
        everybody = {member for view in self._replica.groups.values() for member in view.roster.members} | set(known)
        found = [self._describe(peer, known.get(peer), links.get(peer.hex())) for peer in everybody if peer != self._peer]
        return sorted(found, key=lambda each: (folded(str(each["name"])), str(each["peer_id"])))

    def show(self, reference: str) -> Json:
        """One of them."""
        return choose(reference, "peer", ((bytes.fromhex(str(each["peer_id"])), str(each["name"]), each) for each in self.all()))

    def _describe(self, peer: PeerId, known: KnownAddress | None, link: Mapping[str, object] | None) -> Json:
        members = [(group, view, view.roster.members.get(peer)) for group, view in self._replica.groups.items()]
        shared = [
            {"group_id": group.hex(), "name": view.genesis.name, "role": member.role.label if member else "none"}
            for group, view, member in members
            if member is not None or (known is not None and group in known.groups)
        ]
        names = [member.name for _, _, member in members if member is not None]
        return {
            "peer_id": peer.hex(),
            "name": names[0] if names else known.name if known else peer.hex()[:SHORT_DIGITS],
            "state": link["state"] if link else "offline",
            "source": known.source if known else "roster",
            "endpoints": list(known.endpoints) if known else [],
            "paused": known.paused if known else False,
            "shared_groups": shared,
        }
