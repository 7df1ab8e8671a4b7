"""Roles by spans of lines are those that the rules give event by event, and peers that tell each other what they offer end with the same.

Histories are those of control logs, as data logs are judged alike. The second test exchanges what is offered, and nothing else, until nothing moves.
"""

import random
from collections import Counter
from collections.abc import Iterable
from functools import partial

import pytest

from peer.core.control import ControlEvent, Role
from peer.core.identity import EventId, LogId
from peer.core.judging import ENDLESS, HeldLog, Judgement, LogKey, counting_clips, rejudge, tops_of
from peer.core.roster import Roster, evaluate
from tests.conftest import LONG
from tests.control_histories import History, Lineage
from tests.simulation.lines import Tree, points_of, tree_of

HISTORIES = 4_000 if LONG else 400
BATCHES = 4
EVENTS = 36


class Site:
    """What one peer holds of a history, judged from nothing each time."""

    def __init__(self, history: History, held: Iterable[ControlEvent]) -> None:
        self.history = history
        self.held = {entry.event.id: entry for entry in held}
        self.look()

    def look(self) -> None:
        """Judge what is held now."""
        self.roster: Roster = evaluate(self.history.owners, self.held.values())
        self.authors = {log.log: log.author for log in self.history.logs}
        by_log: dict[LogId, list[ControlEvent]] = {log: [] for log in self.authors}
        for entry in self.held.values():
            by_log[entry.event.header.log].append(entry)
        self.trees: dict[LogId, Tree] = {log: tree_of(entry.event for entry in entries) for log, entries in by_log.items()}
        points = [point for standing in self.roster.standings.values() for log in self.trees for point in points_of(standing, log)]
        places = {point: number for log, tree in self.trees.items() for point, number in tree.places(p for p in points if p.log == log).items()}
        nothing = Judgement(evaluate(self.history.owners, ()))
        self.judgement = rejudge(nothing, self.roster, (), self._held, places, frozenset())

    def _held(self, key: LogKey) -> HeldLog:
        author, log = key
        return HeldLog(self.trees[log].lines, is_control=True) if self.authors.get(log) == author else HeldLog()

    def role(self, entry: ControlEvent) -> Role:
        """The role at an event that is held."""
        log = entry.event.header.log
        return self.judgement.role(entry.author, log, self.trees[log].line_of[entry.event.id], entry.event.height, entry.event.id)

    def roles(self) -> dict[EventId, Role]:
        """The roles at all events that count."""
        found = {event_id: self.role(entry) for event_id, entry in self.held.items()}
        return {event_id: role for event_id, role in found.items() if role is not Role.NONE}

    def clips(self, log: LogId) -> dict[int, int]:
        """Up to which height each line of a log is offered."""
        author, lines = self.authors[log], self.trees[log].lines
        verdict = self.judgement.verdicts.get((author, log))
        if verdict is not None:
            return dict(verdict.clips)
        return {line.number: 0 if self.roster.role(author) is Role.NONE else ENDLESS for line in lines}

    def offered(self) -> list[ControlEvent]:
        """All that another peer would get."""
        clips = {log: self.clips(log) for log in self.trees}
        return [
            entry
            for entry in self.held.values()
            if entry.event.height <= clips[entry.event.header.log][self.trees[entry.event.header.log].line_of[entry.event.id]]
        ]

    def asks_for(self, entry: ControlEvent) -> bool:
        """Whether an event is of use here, as far as is known."""
        reach = self.judgement.reach(entry.author, entry.event.header.log, unsealed=True)
        return reach is None or entry.event.height <= reach

    def tips(self) -> dict[LogId, list[EventId | None]]:
        """The tips of what is offered, by log; logs of which nothing is offered are not in it."""
        found = {log: sorted(tree.event(*top) or b"" for top in tops_of(tree.lines, self.clips(log))) for log, tree in self.trees.items()}
        return {log: tips for log, tips in found.items() if tips}  # type: ignore[misc]


def some_of(history: History, chance: random.Random) -> list[ControlEvent]:
    """A part of a history, closed under ancestors."""
    wanted = {entry.event.id for entry in history.events if chance.random() < 0.25}
    held: list[ControlEvent] = []
    for entry in reversed(history.events):  # Whatever follows an event comes after it.
        if entry.event.id in wanted:
            held.append(entry)
            wanted.add(EventId(entry.event.header.previous))
    return held


@pytest.mark.parametrize("batch", range(BATCHES))
def test_roles_by_spans_are_those_that_the_rules_give_event_by_event(batch: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(batch, HISTORIES, BATCHES):
        history = History(seed)
        history.write_at_random(EVENTS)
        for held in (history.events, some_of(history, random.Random(seed))):
            site, lineage = Site(history, held), Lineage(held)
            for entry in held:
                role = site.roster.standing(entry.author).role_at(entry.event.header.log, partial(lineage.is_under, entry.event))
                assert site.role(entry) is role, f"seed {seed}"
                seen["events in marked logs"] += (entry.author, entry.event.header.log) in site.judgement.verdicts
                seen["not what the author is now"] += role is not site.roster.role(entry.author)
            check_reach(site, seen)
    print(dict(seen))  # noqa: T201
    least = HISTORIES // BATCHES
    assert seen["events in marked logs"] > least
    assert seen["not what the author is now"] > least
    assert seen["lines that are clipped"] > least // 2


def check_reach(site: Site, seen: Counter[str]) -> None:
    """Nothing counts above the reach of a log, and all that counts is offered."""
    for entry in site.held.values():
        author, log = entry.author, entry.event.header.log
        reach = site.judgement.reach(author, log)
        counts = site.role(entry) is not Role.NONE
        assert not counts or reach is None or entry.event.height <= reach
        line = site.trees[log].line_of[entry.event.id]
        clip = site.clips(log)[line]
        assert not counts or entry.event.height <= clip
        verdict = site.judgement.verdicts.get((author, log))
        if verdict is not None:
            assert counting_clips(verdict, site.trees[log].lines)[line] <= clip
            seen["lines that are clipped"] += clip < entry.event.height


@pytest.mark.parametrize("batch", range(BATCHES))
def test_peers_that_have_told_each_other_what_they_offer_judge_the_same(batch: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(batch, HISTORIES, BATCHES):
        chance = random.Random(seed)
        history = History(2_000_000 + seed)
        history.write_at_random(EVENTS)
        sites = [Site(history, some_of(history, chance)) for _ in range(3)]
        exchange(sites, chance)
        first = sites[0]
        for other in sites[1:]:
            assert facts(other.roster) == facts(first.roster), f"seed {seed}"
            assert other.roles() == first.roles(), f"seed {seed}"
            assert other.tips() == first.tips(), f"seed {seed}"
            seen["sites that hold what another one does not"] += other.held.keys() != first.held.keys()
        seen["events that count"] += len(first.roles())
        seen["events that do not"] += len(first.held) - len(first.roles())
        seen["points that are nowhere"] += sum(len(verdict.missing) for verdict in first.judgement.verdicts.values())
    print(dict(seen))  # noqa: T201
    least = HISTORIES // BATCHES
    assert all(seen[kind] > least for kind in ("events that count", "events that do not"))
    assert all(seen[kind] > least // 10 for kind in ("sites that hold what another one does not", "points that are nowhere"))


def facts(roster: Roster) -> object:
    """All that counts of a roster."""
    return roster.members, roster.invites, roster.standings, roster.voids


def exchange(sites: list[Site], chance: random.Random) -> None:
    """Each gives what it offers and the other one asks for, until nothing moves."""
    quiet = False
    while not quiet:
        quiet = True
        pairs = [(giver, taker) for giver in sites for taker in sites if giver is not taker]
        for giver, taker in chance.sample(pairs, len(pairs)):
            fresh = [entry for entry in giver.offered() if entry.event.id not in taker.held and taker.asks_for(entry)]
            if fresh:
                quiet = False
                taker.held.update((entry.event.id, entry) for entry in fresh)
                taker.look()
