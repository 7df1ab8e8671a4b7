"""Whom to dial and which link to let go of, where a group is too large for links to everybody. Others relay what does not come directly.

Everybody keeps a link to the next one in each of two rings: the order of the peer ids, and that of their hashes with a salt that changes slowly. The
first ring alone connects all who can be reached; two of them at random leave no bottleneck and give everybody four links, of which it has chosen two
(Law and Siu, 2003: Distributed construction of random expander networks). How links beyond that end is after the active view of HyParView (Leitao,
Pereira, Rodrigues, 2007): nobody is refused, and whoever has too many lets go of one at a time. What others do never costs us a link that we chose
or that a ring needs: the youngest of those that others dialled goes first.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from peer.core.hashing import hash_bytes
from peer.core.identity import GroupId, PeerId

SMALL_GROUP_MAX = 16
"""Members of a group, ourselves among them, in which there are links to everybody."""

LINKS_MIN = 4
LINKS_MAX = 6
"""Links of a larger group, to peers that somebody can dial. Others come on top: they need us, and are of no use to anybody for finding a way. So do
those that come back soon after they were let go: an address of theirs is known, but whoever comes back so soon has found nobody else to dial."""

CHOSEN_MIN = 2
"""How many of these are dialled by us."""

TURN_MS = 6 * 60 * 60 * 1000
"""How long a salt is used."""

LET_GO_INTERVAL_MS = 10_000
REST_MIN_MS = 5 * 60 * 1000
REST_MAX_MS = 60 * 60 * 1000
"""How long somebody is left alone who has enough links: the shorter time, then twice as long each time that it says so again, up to the longer."""

BUSY_MS_MAX = 10 * 60 * 1000
"""How long a link is not ended because something is under way on it."""

REST_NEEDED_MS = 30_000
"""How long it is left alone at least, where we know of too few others: whoever has few links may always come back."""

FAILED_REST_MS = 60_000
"""How long others come before somebody whom we did not reach."""


class Known(NamedTuple):
    """A peer that we could dial, or have a link to."""

    peer: PeerId
    is_dialable: bool
    """True if an address of it is known and the operator does not mind."""
    is_manual: bool = False
    """True if the operator named it."""


class OpenLink(NamedTuple):
    """A link that stands."""

    peer: PeerId
    groups: Collection[GroupId]
    """What is spoken about on it."""
    number: int
    """Its own, greater than that of each older link."""
    we_dialled: bool
    is_busy: bool = False
    """True while either side lacks something that the other has."""


class Choice(NamedTuple):
    """What to do about links now."""

    dialled: frozenset[PeerId]
    """To be dialled whenever there is no link, and nobody else."""
    let_go: PeerId | None
    """The link to this peer is one too many."""


class _Rest(NamedTuple):
    since_ms: int
    until_ms: int
    times: int


class Overlay:
    """The links of one peer, decided."""

    def __init__(self, me: PeerId) -> None:
        self._me = me
        self._resting: dict[PeerId, _Rest] = {}
        self._failed: dict[PeerId, int] = {}
        """Whom we did not reach, and until when others come first."""
        self._seen_ms: dict[int, int] = {}
        """When each link that stands was first seen."""
        self._let_go: dict[PeerId, int] = {}
        """Whose links we have ended lately, and when."""
        self._needed: dict[int, PeerId] = {}
        """Links that stand by which somebody came back too soon: it has found nobody else."""
        self._let_go_ms: int | None = None
        self._turn = -1
        self._places: dict[PeerId, bytes] = {}
        """Hashes with the salt of this turn."""

    def told_enough(self, peer: PeerId, now_ms: int) -> None:
        """`peer` has ended a link because it has enough of them: do not come back for a while."""
        rest = self._resting.get(peer)
        times = rest.times + 1 if rest else 0
        self._resting[peer] = _Rest(now_ms, now_ms + min(REST_MAX_MS, REST_MIN_MS << min(times, 8)), times)

    def failed(self, peer: PeerId, now_ms: int) -> None:
        """`peer` could not be reached."""
        self._failed.setdefault(peer, now_ms + FAILED_REST_MS)

    def choose(
        self, members: Mapping[GroupId, Collection[PeerId]], known: Sequence[Known], links: Sequence[OpenLink], now_ms: int, turn: int
    ) -> Choice:
        """Whom to dial, and whose link to end.

        `members` are those of each group, ourselves among them; `now_ms` only ever grows, `turn` is the number of `TURN_MS` since the epoch.
        """
        self._remember_only(known, links, now_ms, turn)
        resting = {peer for peer, rest in self._resting.items() if now_ms < rest.until_ms}
        left_alone = {peer for peer in resting if now_ms < self._resting[peer].since_ms + REST_NEEDED_MS}
        large = {group: set(each) for group, each in members.items() if len(each) > SMALL_GROUP_MAX}
        everybody = set[PeerId]().union(*(each for group, each in members.items() if group not in large))
        chosen_from = set[PeerId]().union(*large.values()) - everybody
        always = {each.peer for each in known if each.is_manual or each.peer not in chosen_from}
        dialable = {each.peer for each in known if each.is_dialable}
        dialled = (always - resting) | {link.peer for link in links if link.we_dialled}
        for group, peers in large.items():
            there = [link for link in links if group in link.groups and link.peer in dialable]
            dialled |= self._to_dial((peers & dialable) - left_alone, there, dialled, resting)
        dialable -= {*self._needed.values()}
        let_go = self._too_many(large.keys(), [link for link in links if link.peer in dialable], always, now_ms)
        if let_go is not None:
            self._let_go[let_go] = now_ms
        return Choice(frozenset(dialled - {self._me}), let_go)

    def _to_dial(self, candidates: set[PeerId], there: Sequence[OpenLink], dialled: Collection[PeerId], resting: Collection[PeerId]) -> set[PeerId]:
        """Whom to dial for one group, beside those that we are linked to `there`, and those that are `dialled` for another reason."""
        linked = {link.peer for link in there}
        free = (candidates | linked) - {self._me}
        reached = linked | (free - self._failed.keys() - set(resting))
        chosen = {link.peer for link in there if link.we_dialled} | (reached & set(dialled))
        wanted = {self._next(reached, place) for place in self._rings} if reached else set()
        chosen |= wanted - linked
        if not linked and (there_lately := candidates & set(resting)):
            chosen.add(self._next(there_lately, self._place))  # Of the others nobody knows whether they can be reached.
        for peer in sorted(free, key=lambda peer: (peer in resting, peer in self._failed, *self._distance(peer, self._place))):
            if len(linked | chosen) >= LINKS_MIN and len(chosen) >= CHOSEN_MIN:
                break
            if peer not in linked:
                chosen.add(peer)
        return chosen

    def _too_many(self, large: Collection[GroupId], links: Sequence[OpenLink], always: Collection[PeerId], now_ms: int) -> PeerId | None:
        """The link that is of least use in all its groups, if each of them has more than enough and none needs links to everybody."""
        if self._let_go_ms is not None and now_ms - self._let_go_ms < LET_GO_INTERVAL_MS:
            return None
        kept = set(always)
        crowded = set[GroupId]()
        for group in large:
            there = [link for link in links if group in link.groups]
            if len(there) > LINKS_MAX:
                crowded.add(group)
            kept |= self._neighbours({link.peer for link in there})
            chosen = [link.peer for link in there if link.we_dialled]
            kept.update(chosen if len(chosen) <= CHOSEN_MIN else ())
        spare = [link for link in links if link.groups and crowded.issuperset(link.groups) and link.peer not in kept]
        if not spare:
            return None
        least = min(spare, key=lambda link: (link.we_dialled, -link.number))
        if least.is_busy and now_ms - self._seen_ms[least.number] < BUSY_MS_MAX:
            return None  # Its turn comes. Older ones are not ended in its place: whoever comes and keeps us busy would drive them away.
        self._let_go_ms = now_ms
        return least.peer

    def _neighbours(self, peers: Collection[PeerId]) -> set[PeerId]:
        """The next one and the one before in each ring."""
        found = set[PeerId]()
        for place in self._rings if peers else ():
            found |= {self._next(peers, place), max(peers, key=lambda peer: self._distance(peer, place))}
        return found

    def _next(self, peers: Iterable[PeerId], place: Callable[[PeerId], bytes]) -> PeerId:
        return min(peers, key=lambda peer: self._distance(peer, place))

    def _distance(self, peer: PeerId, place: Callable[[PeerId], bytes]) -> tuple[bool, bytes]:
        """How far on in a ring `peer` is from us: to be compared."""
        there = place(peer)
        return there <= place(self._me), there

    @property
    def _rings(self) -> tuple[Callable[[PeerId], bytes], ...]:
        return (bytes, self._place)

    def _place(self, peer: PeerId) -> bytes:
        """Where `peer` is in the second ring."""
        place = self._places.get(peer)
        if place is None:
            place = self._places[peer] = hash_bytes(self._turn.to_bytes(8, "big", signed=True) + peer)
        return place

    def _remember_only(self, known: Sequence[Known], links: Sequence[OpenLink], now_ms: int, turn: int) -> None:
        """Forget what is over, and whoever is not known any more."""
        peers = {each.peer for each in known}
        self._let_go = {peer: at_ms for peer, at_ms in self._let_go.items() if now_ms - at_ms < REST_MIN_MS}
        back = {peer for peer, at_ms in self._let_go.items() if now_ms - at_ms >= REST_NEEDED_MS}  # Sooner it was under way already.
        came = {link.number: link.peer for link in links if link.number not in self._seen_ms and not link.we_dialled and link.peer in back}
        self._needed = {link.number: link.peer for link in links if link.number in self._needed} | came
        self._seen_ms = {link.number: self._seen_ms.get(link.number, now_ms) for link in links}
        self._resting = {peer: rest for peer, rest in self._resting.items() if peer in peers and now_ms < rest.until_ms + REST_MAX_MS}
        self._failed = {peer: until_ms for peer, until_ms in self._failed.items() if peer in peers and now_ms < until_ms}
        if turn != self._turn or len(self._places) > 2 * len(peers) + 1:
            self._turn, self._places = turn, {}
