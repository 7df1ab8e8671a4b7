"""Standing: what those senior to a peer have decided on it, and so which role it has at each event that it ever signed.

A decision is silent at the events under its cut. At an event, a decision counts if its author is senior to what those senior to that author made of
the peer; among those that count and that no other replaces the lowest role wins. There is no today in this: a role belongs to an event.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from peer.core.control import Point, Role
from peer.core.identity import EventId, LogId, PeerId

Rank = tuple[int, int, int, bytes]
"""How senior somebody is, lowest first: appointments from the owners, the appointer's place in the order of seniority (an owner's own among the
owners), clock and id of the appointment."""

JUNIOR_TO_ALL: Rank = (2**63, 0, 0, b"")

Under = Callable[[Point], bool]
"""Whether the event in question is the one at a point, or an ancestor of it."""


class Decision(NamedTuple):
    """A `member.set` whose author was admin at that event."""

    rank: Rank
    """Of its author, at that event."""
    event_id: EventId
    author: PeerId
    name: str
    role: Role
    cut: tuple[Point, ...]
    refs: tuple[EventId, ...]
    appoints: Rank
    """The rank of whom it makes an admin."""


class Place(NamedTuple):
    """Where a peer stands at an event."""

    role: Role
    rank: Rank
    name: str | None
    """What the decision that made the role calls the peer."""
    live: tuple[EventId, ...] = ()
    """The decisions that speak, count, and are not replaced."""


class Seal(NamedTuple):
    """A `log.seal` that counts."""

    log: LogId
    tips: tuple[Point, ...]
    role: Role
    """Of its author at the seal."""
    rank: Rank

    def binds(self, place: Place) -> bool:
        """True if it speaks about events that the author wrote at `place`: nobody undoes with less power what it did with more."""
        return self.role >= place.role and (place.role < Role.ADMIN or self.rank <= place.rank)


class Standing(NamedTuple):
    """All that counts about one peer."""

    owner: int | None
    """Its place among the owners of the group."""
    decisions: tuple[Decision, ...]
    """The most senior author first."""
    seals: tuple[Seal, ...]
    """What this peer said of its own logs. Of a log only what lies under its seals counts."""

    @property
    def now(self) -> Place:
        """Where it stands at whatever it writes next in a new log."""
        return stand(self.owner, self.decisions)

    @property
    def has_been_member(self) -> bool:
        """True if it ever was on the roster."""
        return self.owner is not None or any(decision.role is not Role.NONE for decision in self.decisions)

    def role_at(self, log: LogId, under: Under) -> Role:
        """The role at an event of `log`, none if the log is sealed below it."""
        place = stand(self.owner, speaking(self.decisions, log, under))
        return Role.NONE if is_sealed(self.seals, log, place, under) else place.role


def is_sealed(seals: Iterable[Seal], log: LogId, place: Place, under: Under) -> bool:
    """True if an event of `log`, written at `place`, lies beyond what its author's seals of the log leave. Seals add up."""
    binding = [seal for seal in seals if seal.log == log and seal.binds(place)]
    return bool(binding) and not any(under(point) for seal in binding for point in seal.tips)


def speaking(decisions: Iterable[Decision], log: LogId, under: Under) -> tuple[Decision, ...]:
    """Those of `decisions` under whose cut an event of `log` does not lie."""
    return tuple(each for each in decisions if not any(point.log == log and under(point) for point in each.cut))


def stand(owner: int | None, decisions: Sequence[Decision]) -> Place:
    """The place that `decisions` make, in the order of their authors' seniority; nobody decides on a senior."""
    base = Place(Role.NONE, JUNIOR_TO_ALL, None) if owner is None else Place(Role.OWNER, owner_rank(owner), None)
    place, counted = base, list[Decision]()
    for rank, equals in groupby(decisions, key=lambda each: each.rank):
        if rank < place.rank:
            counted.extend(equals)
            place = _settle(counted)
    return place


def owner_rank(owner: int) -> Rank:
    """The rank of an owner by its place."""
    return 0, owner, 0, b""


def _settle(counted: Sequence[Decision]) -> Place:
    """The place that decisions make which all count: the lowest role of those that are not replaced.

    A decision replaces those that it names, unless their author is senior to its own.
    """
    replacing: dict[EventId, list[Decision]] = {}
    for decision in counted:
        for ref in decision.refs:
            replacing.setdefault(ref, []).append(decision)
    live = [each for each in counted if not any(_replaces(other, each) for other in replacing.get(each.event_id, ()))]
    chosen = min(live, key=lambda each: (each.role, each.rank, each.event_id))
    rank = min(each.appoints for each in live) if chosen.role is Role.ADMIN else JUNIOR_TO_ALL
    return Place(chosen.role, rank, chosen.name, tuple(sorted(each.event_id for each in live)))


def _replaces(decision: Decision, other: Decision) -> bool:
    return decision.event_id != other.event_id and (decision.rank <= other.rank or decision.author == other.author)
