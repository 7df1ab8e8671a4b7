"""Judging: which role each held event has, and so what of a log counts and what is offered to others.

A log is a tree of lines: each begins at a height of another, or at 0, and ends in a tip. Cuts and seals name points on it; under a set of points lies
some length from the begin of each line, so roles change only at a few heights of it, however many events there are.

What is offered goes beyond what counts where others need it to judge the same: up to each point that is here, and, while the event at a point is not,
every line up to the height of the point. So peers that have told each other everything have the same roles at the same events.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import NamedTuple, Protocol

from peer.core.control import Point, Role
from peer.core.encoding import encode
from peer.core.event import UINT64_MAX, Event
from peer.core.identity import EventId, LogId, PeerId
from peer.core.roster import Roster
from peer.core.standing import Place, Seal, Standing, stand

ENDLESS = UINT64_MAX
"""Stands for a height that a line will not have."""

CUTS_TRIED_MAX = 6
"""Whether anything of a log may count is tried out with so many cuts, and taken as true with more."""

Places = Mapping[Point, int]
"""The numbers of the lines on which the events at points lie, of points whose events are here."""

Cover = Mapping[int, int]
"""By number of a line the height up to which it lies under some points; lines that do not are not in it."""

LogKey = tuple[PeerId, LogId]
"""A log, with whom it is judged by."""


class Line(Protocol):
    """Some consecutive events of a log. The last of them is a tip; nothing follows it."""

    @property
    def number(self) -> int:
        """Its name."""
        ...

    @property
    def parent(self) -> int | None:
        """The number of the line that it left, None if it begins with the log."""
        ...

    @property
    def fork_height(self) -> int:
        """Its own events lie above that."""
        ...

    @property
    def height(self) -> int:
        """Of its last event."""
        ...


class Span(NamedTuple):
    """The events of a line above the span before, up to a height."""

    up_to: int
    """ENDLESS in the last span of a line."""
    role: Role


class HeldLog(NamedTuple):
    """What is here of a log, parents before their children."""

    lines: Sequence[Line] = ()
    is_control: bool = False


class Verdict(NamedTuple):
    """What there is to say about a log that cuts or seals name."""

    spans: Mapping[int, tuple[Span, ...]]
    """By number of a line, lowest first."""
    clips: Mapping[int, int]
    """By number of a line the height up to which it is offered, ENDLESS if to wherever it ends. One that is not above its fork height is not."""
    reach: int | None
    """The height above which nothing of the log counts; None if there is none, 0 if nothing of it does."""
    missing: tuple[Point, ...] = ()
    """Points whose events are not here."""
    reach_unsealed: int | None = None
    """As `reach`, if the seals of its author are not looked at. Control logs are of use up to there: a seal that lies beyond another one may be what
    says that this does not count, so that whoever does not hear of it has another roster."""

    def role_at(self, line: int, height: int) -> Role:
        """The role at the event of that height on a line."""
        return next(span.role for span in self.spans[line] if height <= span.up_to)


class Changes(NamedTuple):
    """Whose events may have another role than before."""

    authors: frozenset[PeerId]
    """All of theirs."""
    events: frozenset[EventId]
    """Single ones: voided, or no longer so."""


@dataclass(frozen=True)
class Judgement:
    """What a peer makes of the events that it holds of a group; another one whenever some role at some held event may have changed."""

    roster: Roster
    verdicts: Mapping[LogKey, Verdict] = field(default_factory=dict)
    """Of all logs that cuts and seals name. In every other log the author has the role that it has now, all over."""
    voided: frozenset[EventId] = frozenset()
    """Events that are held and voided by somebody who may."""

    def role(self, author: PeerId, log: LogId, line: int, height: int, event_id: EventId) -> Role:
        """The role at an event that is held, none if it does not count."""
        if event_id in self.voided:
            return Role.NONE
        verdict = self.verdicts.get((author, log)) if self.verdicts else None
        return self.roster.role(author) if verdict is None else verdict.role_at(line, height)

    def roles(self, author: PeerId, log: LogId, line: int, events: Sequence[Event]) -> Sequence[Role]:
        """As `role` at each of these events of one line."""
        if not self.voided and (author, log) not in self.verdicts:
            return [self.roster.role(author)] * len(events)
        return [self.role(author, log, line, event.height, event.id) for event in events]

    def reach(self, author: PeerId, log: LogId, *, unsealed: bool = False) -> int | None:
        """The height above which nothing of `log` counts, held or not, or would if it was not sealed; None if there is none, 0 if nothing of it."""
        verdict = self.verdicts.get((author, log)) if self.verdicts else None
        if verdict is not None:
            return verdict.reach_unsealed if unsealed else verdict.reach
        return 0 if self.roster.role(author) is Role.NONE else None

    @cached_property
    def digest(self) -> bytes:
        """32 bytes; where they are the same, on the same `log.db`, so are all roles."""
        roles = sorted([peer, int(member.role)] for peer, member in self.roster.members.items())
        verdicts = [
            [*key, [[line, [[span.up_to, int(span.role)] for span in spans]] for line, spans in sorted(verdict.spans.items())]]
            for key, verdict in sorted(self.verdicts.items(), key=lambda each: each[0])
            if verdict.spans
        ]
        return hashlib.sha256(encode([roles, verdicts, sorted(self.voided)])).digest()

    def changes_since(self, other: "Judgement") -> Changes:
        """Whose events may have another role now than they had by `other`, a judgement before this one, of events that were held by then."""
        authors: set[PeerId] = set()
        if self.roster is not other.roster:
            peers = self.roster.members.keys() | other.roster.members.keys()
            authors.update(peer for peer in peers if self.roster.role(peer) is not other.roster.role(peer))
        if self.verdicts is not other.verdicts:
            keys = self.verdicts.keys() | other.verdicts.keys()
            authors.update(key[0] for key in keys if key[0] not in authors and not self._agrees(other, key))
        return Changes(frozenset(authors), self.voided ^ other.voided)

    def _agrees(self, other: "Judgement", key: LogKey) -> bool:
        """True if both say the same of the lines that both know."""
        ours, theirs = self.verdicts.get(key), other.verdicts.get(key)
        if ours is theirs:
            return True
        if ours is None or theirs is None:
            known, whole = (theirs, self) if ours is None else (ours, other)
            assert known is not None
            return all(spans == (Span(ENDLESS, whole.roster.role(key[0])),) for spans in known.spans.values())
        return all(ours.spans[line] == theirs.spans[line] for line in ours.spans.keys() & theirs.spans.keys())


class Marks(NamedTuple):
    """What cuts and seals name of one log."""

    cuts: Mapping[int, Sequence[Point]]
    """By the number of a decision in the standing."""
    seals: Mapping[Seal, Sequence[Point]]
    """Seals of the same power in one, by the first of them."""

    @property
    def points(self) -> Iterable[Point]:
        """All of them, some more than once."""
        return (point for points in (*self.cuts.values(), *self.seals.values()) for point in points)


def marks(standing: Standing) -> Mapping[LogId, Marks]:
    """What the decisions on a peer and its own seals name, by log."""
    cuts: dict[LogId, dict[int, list[Point]]] = {}
    seals: dict[LogId, dict[Seal, list[Point]]] = {}
    for number, decision in enumerate(standing.decisions):
        for point in decision.cut:
            cuts.setdefault(point.log, {}).setdefault(number, []).append(point)
    powers: dict[tuple[LogId, object], Seal] = {}
    for seal in standing.seals:
        first = powers.setdefault((seal.log, (seal.role, seal.rank)), seal)
        seals.setdefault(seal.log, {}).setdefault(first, []).extend(seal.tips)
    return {log: Marks(cuts.get(log, {}), seals.get(log, {})) for log in cuts.keys() | seals.keys()}


def judge(standing: Standing, named: Marks, held: HeldLog, places: Places) -> Verdict:
    """The verdict on a log of which this is here."""
    found = _judge(standing, named, held.lines, places)
    if not named.seals:
        return found._replace(reach_unsealed=found.reach)
    cuts_alone = named._replace(seals={})
    if not held.is_control:
        return found._replace(reach_unsealed=_Roles(standing, cuts_alone).reach())
    unsealed = _judge(standing, cuts_alone, held.lines, places)
    return found._replace(clips=unsealed.clips, reach_unsealed=unsealed.reach)


def _judge(standing: Standing, named: Marks, lines: Sequence[Line], places: Places) -> Verdict:
    roles = _Roles(standing, named)
    missing = tuple(sorted({point for point in named.points if point not in places}))
    cuts = {number: cover(lines, points, places) for number, points in named.cuts.items()}
    seals = {seal: cover(lines, points, places) for seal, points in named.seals.items()}
    spans = {
        line.number: roles.spans(
            line.fork_height,
            {number: each[line.number] for number, each in cuts.items() if line.number in each},
            {seal: each[line.number] for seal, each in seals.items() if line.number in each},
        )
        for line in lines
    }
    reach = roles.reach()
    if reach == 0:
        return Verdict(spans, dict.fromkeys(spans, 0), reach, missing)
    here = cover(lines, [point for point in named.points if point in places], places)
    tops = {number: max(counting_top(each), here.get(number, 0), top(missing)) for number, each in spans.items()}
    return Verdict(spans, _closed(lines, tops), reach, missing)


def cover(lines: Sequence[Line], points: Iterable[Point], places: Places) -> dict[int, int]:
    """How much of each line lies under one of `points`, ENDLESS where all does that may come.

    While the event at a point is not here, what has a tip lower than the point above it lies under it: that may turn out to be so.
    """
    by_number = {line.number: line for line in lines}
    found: dict[int, int] = {}
    missing = 0
    for point in points:
        number = places.get(point)
        if number in by_number:
            _cover_down(by_number, number, point.height, found)
        else:
            missing = max(missing, point.height)
    for line in lines:
        if line.height < missing:
            _cover_down(by_number, line.number, ENDLESS, found)
    return found


def counting_top(spans: Sequence[Span]) -> int:
    """The height above which none of a line counts; ENDLESS if there is none, 0 if none of it counts."""
    return max((span.up_to for span in spans if span.role is not Role.NONE), default=0)


def counted(spans: Sequence[Span], line: Line, beyond: int = 0) -> int:
    """How many events of a line count, of those above the height `beyond`."""
    low, count = max(line.fork_height, beyond), 0
    for span in spans:
        top = min(span.up_to, line.height)
        if top > low:
            count += top - low if span.role is not Role.NONE else 0
            low = top
    return count


def tops_of(lines: Sequence[Line], clips: Mapping[int, int]) -> list[tuple[int, int]]:
    """The number and height of each event, clipped like that, that has no other one above it."""
    ends = {line.number: min(clips[line.number], line.height) for line in lines}
    left = {(line.parent, line.fork_height) for line in lines if ends[line.number] > line.fork_height}
    return [
        (line.number, ends[line.number]) for line in lines if line.fork_height < ends[line.number] and (line.number, ends[line.number]) not in left
    ]


def _closed(lines: Sequence[Line], tops: Mapping[int, int]) -> dict[int, int]:
    """`tops`, with all that lies below them."""
    closed = dict(tops)
    for line in reversed(lines):
        if line.parent is not None and min(closed[line.number], line.height) > line.fork_height:
            closed[line.parent] = max(closed[line.parent], line.fork_height)
    return closed


def counting_clips(verdict: Verdict, lines: Sequence[Line]) -> dict[int, int]:
    """By number of a line the height up to which it counts, or something above it does."""
    return _closed(lines, {line.number: counting_top(verdict.spans[line.number]) for line in lines})


def top(points: Iterable[Point]) -> int:
    """The greatest height, 0 without points."""
    return max((point.height for point in points), default=0)


def _cover_down(lines: Mapping[int, Line], number: int | None, height: int, found: dict[int, int]) -> None:
    """Note that all of the lines down from `height` of one is under something."""
    while number is not None and height > found.get(number, 0):
        found[number] = height
        height, number = lines[number].fork_height, lines[number].parent


class _Roles:
    """The roles of a peer in one log, by which of the decisions on it are silent and which of its seals cover."""

    def __init__(self, standing: Standing, named: Marks) -> None:
        self._standing = standing
        self._named = named
        self._places: dict[tuple[int, ...], Place] = {}

    def at(self, silent: tuple[int, ...], covering: Collection[Seal]) -> Role:
        """The role where the decisions of these numbers are silent, under points of these seals."""
        place = self._places.get(silent)
        if place is None:
            heard = [decision for number, decision in enumerate(self._standing.decisions) if number not in silent]
            place = self._places[silent] = stand(self._standing.owner, heard)
        binding = [seal for seal in self._named.seals if seal.binds(place)]
        return Role.NONE if binding and not any(seal in covering for seal in binding) else place.role

    def spans(self, low: int, silent: Mapping[int, int], covering: Mapping[Seal, int]) -> tuple[Span, ...]:
        """Where on a line above `low` there is which role, by the heights up to which decisions are silent and seals cover."""
        bounds = {height for height in (*silent.values(), *covering.values()) if low < height < ENDLESS}
        found: list[Span] = []
        for bound in (*sorted(bounds), ENDLESS):
            still = tuple(number for number, height in silent.items() if bound <= height)
            role = self.at(still, [seal for seal, height in covering.items() if bound <= height])
            if found and found[-1].role is role:
                found.pop()
            found.append(Span(bound, role))
        return tuple(found)

    def reach(self) -> int | None:
        """As `Verdict.reach`. Whether anything may count is tried out: of the lines of a log each may lie under other points."""
        if self.at((), ()) is not Role.NONE:
            return None
        cuts, sealing = sorted(self._named.cuts), [seal for seal, points in self._named.seals.items() if points]
        silent = [each for count in range(len(cuts) + 1) for each in combinations(cuts, count)] if len(cuts) <= CUTS_TRIED_MAX else []
        if silent and all(self.at(each, sealing) is Role.NONE for each in silent):
            return 0
        return top(self._named.points)


def changed_peers(before: Roster, roster: Roster) -> set[PeerId]:
    """Those on whom something else was decided, or who sealed something else."""
    if roster is before:
        return set()
    return {peer for peer in roster.standings.keys() | before.standings.keys() if roster.standing(peer) != before.standing(peer)}


def rejudge(
    before: Judgement,
    roster: Roster,
    touched: Iterable[LogKey],
    held: Callable[[LogKey], HeldLog],
    places: Places,
    voided: frozenset[EventId],
) -> Judgement:
    """The judgement by `roster`: what is said of `touched` logs, and of those of whose authors something else is said, is thought over.

    `held` knows nothing of a log that is somebody else's: cuts and seals name what they like. It is `before` itself if nothing is another way.
    """
    again: dict[PeerId, set[LogId]] = {}
    for peer, log in touched:
        again.setdefault(peer, set()).add(log)
    changed = changed_peers(before.roster, roster)
    verdicts = {key: verdict for key, verdict in before.verdicts.items() if key[0] not in changed}
    for peer in changed | again.keys():
        standing = roster.standing(peer)
        for log, named in marks(standing).items():
            if peer in changed or log in again[peer]:
                verdict = judge(standing, named, held((peer, log)), places)
                old = before.verdicts.get((peer, log))
                verdicts[peer, log] = old if old == verdict else verdict
    if roster is before.roster and verdicts == before.verdicts and voided == before.voided:
        return before
    return Judgement(roster, before.verdicts if verdicts == before.verdicts else verdicts, voided)
