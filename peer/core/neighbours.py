"""What links tell whoever looks after the neighbourhood: gossip about addresses, and how other sites are."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from peer.core.identity import GroupId, PeerId

Told = Sequence[tuple[bytes, int]]
"""Signed bytes, each with a number: the TTL of a peer record, or the links that a status came over."""


class SiteSeen(NamedTuple):
    """How another site of a group is, in its own words, as they came here."""

    peer: PeerId
    version: str
    """Of its program."""
    events: int
    """How many events of the group it holds that count."""
    is_equal: bool
    """True if it holds what this site holds."""
    disk_free: int
    """For so many bytes of recordings there is room."""
    disk_total: int
    """Bytes."""
    via: PeerId
    """At the other end of the link that brought it."""
    hops: int
    """Links that it came over: 1 for a neighbour."""
    age_ms: int
    """How long ago it came."""


class Neighbours(Protocol):
    """Hears what happens on links. Returns at once and raises nothing."""

    def linked(self, peer: PeerId, record: bytes, *, dialled_by_us: bool) -> None:
        """A link to `peer`, a member of something here, stands; `record` is its signed peer record, or empty."""
        ...

    def unlinked(self, peer: PeerId) -> None:
        """A link to `peer` ended. Another one may stand."""
        ...

    def tried(self, peer: PeerId, endpoint: str, code: str | None) -> None:
        """`endpoint` was dialled; `code` says why nobody proved there to be `peer`, None if somebody did."""
        ...

    def hear_records(self, peer: PeerId, group: GroupId, entries: Told) -> None:
        """`peer` told where members of `group` can be dialled: signed peer records with their TTLs, nothing of it checked."""
        ...

    def hear_sites(self, peer: PeerId, group: GroupId, entries: Told) -> None:
        """`peer` told how members of `group` are: signed statuses with the links that they came over, nothing of it checked."""
        ...

    def records_for(self, peer: PeerId) -> Sequence[tuple[GroupId, Told]]:
        """Where members can be dialled, by group, for `peer`, which asks without a link."""
        ...


class NoNeighbours:
    """For links that nobody looks after."""

    def linked(self, peer: PeerId, record: bytes, *, dialled_by_us: bool) -> None:
        """Nothing."""

    def unlinked(self, peer: PeerId) -> None:
        """Nothing."""

    def tried(self, peer: PeerId, endpoint: str, code: str | None) -> None:
        """Nothing."""

    def hear_records(self, peer: PeerId, group: GroupId, entries: Told) -> None:
        """Nothing."""

    def hear_sites(self, peer: PeerId, group: GroupId, entries: Told) -> None:
        """Nothing."""

    def records_for(self, peer: PeerId) -> Sequence[tuple[GroupId, Told]]:
        """Nothing."""
        del peer
        return ()


NO_NEIGHBOURS: Neighbours = NoNeighbours()


class Both(NoNeighbours):
    """Two who hear of the same. What is asked, the first answers."""

    def __init__(self, first: Neighbours, second: Neighbours) -> None:
        self._first, self._second = first, second

    def linked(self, peer: PeerId, record: bytes, *, dialled_by_us: bool) -> None:
        """To both."""
        self._first.linked(peer, record, dialled_by_us=dialled_by_us)
        self._second.linked(peer, record, dialled_by_us=dialled_by_us)

    def unlinked(self, peer: PeerId) -> None:
        """To both."""
        self._first.unlinked(peer)
        self._second.unlinked(peer)

    def tried(self, peer: PeerId, endpoint: str, code: str | None) -> None:
        """To both."""
        self._first.tried(peer, endpoint, code)
        self._second.tried(peer, endpoint, code)

    def hear_records(self, peer: PeerId, group: GroupId, entries: Told) -> None:
        """To both."""
        self._first.hear_records(peer, group, entries)
        self._second.hear_records(peer, group, entries)

    def hear_sites(self, peer: PeerId, group: GroupId, entries: Told) -> None:
        """To both."""
        self._first.hear_sites(peer, group, entries)
        self._second.hear_sites(peer, group, entries)

    def records_for(self, peer: PeerId) -> Sequence[tuple[GroupId, Told]]:
        """What the first says."""
        return self._first.records_for(peer)
