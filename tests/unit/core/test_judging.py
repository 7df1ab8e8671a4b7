"""Roles by spans of lines, and what is offered of them, on small trees that can be drawn."""

from typing import NamedTuple

from peer.core.control import Point, Role
from peer.core.identity import EventId, LogId, PeerId
from peer.core.judging import ENDLESS, HeldLog, Judgement, Span, Verdict, counted, counting_clips, cover, judge, marks, tops_of
from peer.core.roster import Member, Roster
from peer.core.standing import Decision, Seal, Standing, owner_rank
from tests.samples import SampleLog

LOG = LogId(bytes([1]) * 32)
OWNER, ADMIN = owner_rank(0), (1, 0, 5, b"admin")


class Drawn(NamedTuple):
    """A line."""

    number: int
    parent: int | None
    fork_height: int
    height: int


TRUNK, BRANCH, TWIG = Drawn(1, None, 0, 6), Drawn(2, 1, 2, 9), Drawn(3, 2, 4, 5)
"""1 to 6; 3 to 9 after 2; 5 after 4 of that."""
TREE = (TRUNK, BRANCH, TWIG)


def at(line: Drawn, height: int) -> Point:
    """The point at that height of a line; `places` knows where it is."""
    return Point(LOG, height, EventId(bytes([line.number, height]) * 16))


PLACES = {at(line, height): line.number for line in TREE for height in range(line.fork_height + 1, line.height + 1)}


def decision(role: Role, *cut: Point, number: int = 1, replaces: int | None = None) -> Decision:
    """A decision of the owner."""
    refs = () if replaces is None else (EventId(bytes([replaces]) * 32),)
    return Decision(OWNER, EventId(bytes([number]) * 32), PeerId(bytes(32)), "bob", role, cut, refs, (1, 0, number, b""))


def removed(*cut: Point) -> Standing:
    """Was a writer, and was removed with this cut."""
    return Standing(None, (decision(Role.WRITER), decision(Role.NONE, *cut, number=2, replaces=1)), ())


def verdict(standing: Standing, places: dict[Point, int] | None = None, lines: tuple[Drawn, ...] = TREE) -> Verdict:
    """The verdict on the tree."""
    return judge(standing, marks(standing)[LOG], HeldLog(lines), PLACES if places is None else places)


def test_what_lies_under_points_is_their_lines_down_to_the_begin() -> None:
    assert cover(TREE, [at(BRANCH, 7)], PLACES) == {1: 2, 2: 7}
    assert cover(TREE, [at(TWIG, 5), at(TRUNK, 6)], PLACES) == {1: 6, 2: 4, 3: 5}
    assert cover(TREE, [], PLACES) == {}


def test_under_a_point_whose_event_is_not_here_lies_what_has_a_lower_tip_above_it() -> None:
    assert cover(TREE, [Point(LOG, 7, EventId(bytes(32)))], PLACES) == {1: ENDLESS, 2: 4, 3: ENDLESS}
    assert cover(TREE, [Point(LOG, 6, EventId(bytes(32)))], PLACES) == {1: 2, 2: 4, 3: ENDLESS}
    assert cover(TREE, [Point(LOG, 5, EventId(bytes(32)))], PLACES) == {}


def test_after_a_removal_with_a_cut_the_roles_end_there() -> None:
    found = verdict(removed(at(BRANCH, 7)))

    assert found.spans == {
        1: (Span(2, Role.WRITER), Span(ENDLESS, Role.NONE)),
        2: (Span(7, Role.WRITER), Span(ENDLESS, Role.NONE)),
        3: (Span(ENDLESS, Role.NONE),),
    }
    assert [found.role_at(2, height) for height in (3, 7, 8, 9)] == [Role.WRITER, Role.WRITER, Role.NONE, Role.NONE]
    assert found.clips == {1: 2, 2: 7, 3: 0}
    assert found.reach == 7
    assert tops_of(TREE, found.clips) == [(2, 7)]
    assert [counted(found.spans[line.number], line) for line in TREE] == [2, 5, 0]
    assert [counted(found.spans[line.number], line, 4) for line in TREE] == [0, 3, 0]


def test_what_tells_that_nothing_leads_to_a_cut_is_offered_up_to_its_height() -> None:
    """The event at the cut is nowhere. Who holds the low begin of a line alone would count it as an ancestor of that event for ever."""
    nowhere = Point(LOG, 5, EventId(bytes(32)))
    whole, begin = verdict(removed(nowhere)), verdict(removed(nowhere), lines=(Drawn(1, None, 0, 4),))

    assert begin.spans == {1: (Span(ENDLESS, Role.WRITER),)}
    assert all(spans == (Span(ENDLESS, Role.NONE),) for spans in whole.spans.values())
    assert whole.clips == {1: 5, 2: 5, 3: 5}
    assert (whole.missing, whole.reach) == ((nowhere,), 5)


def test_all_that_leads_to_a_point_is_offered_where_it_makes_others_judge_the_same() -> None:
    """Beyond a seal nothing counts. Who did not get the cut at 9 would take the trunk for what leads there."""
    seals = (Seal(LOG, (at(TRUNK, 6), at(BRANCH, 7)), Role.WRITER, ADMIN),)
    found = verdict(removed(at(BRANCH, 9))._replace(seals=seals))
    without = verdict(removed(at(BRANCH, 9))._replace(seals=seals), {point: line for point, line in PLACES.items() if point != at(BRANCH, 9)})

    assert found.spans[2] == (Span(7, Role.WRITER), Span(ENDLESS, Role.NONE))
    assert found.clips == {1: 6, 2: 9, 3: 0}
    assert found.reach == 9
    assert without.spans[1] != found.spans[1]
    assert counting_clips(found, TREE) == {1: 2, 2: 7, 3: 0}


def test_nothing_is_offered_of_a_log_of_which_nothing_may_count() -> None:
    nobody = Standing(None, (decision(Role.NONE), decision(Role.NONE, at(BRANCH, 7), number=2)), ())
    closed = Standing(0, (), (Seal(LOG, (), Role.OWNER, OWNER),))

    for standing in (nobody, closed):
        found = verdict(standing)
        assert (found.reach, found.clips) == (0, {1: 0, 2: 0, 3: 0})
        assert tops_of(TREE, found.clips) == []


def test_seals_add_up_and_bind_only_what_was_written_with_no_more_power() -> None:
    two = (Seal(LOG, (at(TRUNK, 3),), Role.OWNER, OWNER), Seal(LOG, (at(BRANCH, 5),), Role.OWNER, OWNER))
    weak = (Seal(LOG, (at(TRUNK, 1),), Role.READER, ADMIN),)

    assert verdict(Standing(0, (), two)).clips == {1: 3, 2: 5, 3: 0}
    assert verdict(Standing(0, (), weak)).reach is None


def test_what_counts_above_what_does_not_is_offered_with_it() -> None:
    """Let in again, but for what was written under the cut: to verify what comes later others need the begin."""
    standing = Standing(None, (decision(Role.NONE), decision(Role.WRITER, at(TRUNK, 6), number=2, replaces=1)), ())
    found = verdict(standing)

    assert found.spans[1] == (Span(6, Role.NONE), Span(ENDLESS, Role.WRITER))
    assert found.spans[2] == (Span(ENDLESS, Role.WRITER),)
    assert found.reach is None
    assert tops_of(TREE, found.clips) == [(1, 6), (2, 9), (3, 5)]


def test_a_judgement_names_whose_past_has_changed_though_they_are_what_they_were() -> None:
    author, key = PeerId(bytes([7]) * 32), (PeerId(bytes([7]) * 32), LOG)
    roster = Roster({}, {})
    before = Judgement(roster, {key: verdict(removed(at(BRANCH, 7)))})
    after = Judgement(roster, {key: verdict(removed(at(BRANCH, 6)))})
    grown = Judgement(roster, {key: verdict(removed(at(BRANCH, 7)), lines=(*TREE, Drawn(4, 1, 5, 6)))})

    assert after.changes_since(before).authors == {author}
    assert after.digest != before.digest
    assert grown.changes_since(before) == (frozenset(), frozenset()), "a new branch has new events, and changes no others"
    assert before.changes_since(Judgement(roster)).authors == {author}, "nothing is said of a log in which all counts alike"
    assert before.reach(author, LOG) == 7
    assert before.reach(author, LogId(bytes(32))) == 0


def test_the_roles_of_events_together_are_those_of_each() -> None:
    """Where something is said of the log, or of one of them, as well as where nothing is."""
    log = SampleLog("alice")
    events, author = log.write_notes(6).events, log.certificate.peer
    roster = Roster({author: Member(author, "alice", Role.WRITER)}, {})
    said = verdict(removed(at(TRUNK, 4)))
    judgements = [
        Judgement(roster),
        Judgement(roster, {(author, LOG): said}),
        Judgement(roster, {}, frozenset({events[2].id})),
        Judgement(roster, {(author, LOG): said}, frozenset({events[2].id})),
    ]

    for judgement in judgements:
        each = [judgement.role(author, LOG, TRUNK.number, event.height, event.id) for event in events]
        assert list(judgement.roles(author, LOG, TRUNK.number, events)) == each
    assert len({judgement.roles(author, LOG, TRUNK.number, events)[2] for judgement in judgements}) > 1, "they do not agree"
