"""Whatever people write into control logs: one roster in any order of arrival, and nobody gets above those that let them in.

Each batch runs through its share of the histories and prints what happened in them. All attacks are tried on histories that were random before.
"""

from collections import Counter
from collections.abc import Callable

import pytest

from peer.core.control import ControlEvent, MemberSet, Point, Role, member_set
from peer.core.identity import PeerId
from peer.core.roster import Roster, evaluate, may_change
from tests.conftest import LONG
from tests.control_histories import History, Lineage, check_by_definition, count_kinds, point_at

HISTORIES = 10_000 if LONG else 2_500
BATCHES = 10
EVENTS = 36

MINIMA = {
    "backdated": 1000,
    "forks": 300,
    "fresh logs": 1000,
    "points that are nowhere": 50,
    "decisions that count": 1000,
    "conflicts": 100,
    "appointments of appointed": 100,
    "owners who fell": 20,
    "sealed logs": 50,
    "events under a cut": 100,
    "invitations used": 20,
    "voids that count": 20,
    "members that ask to leave": 20,
}
"""What must have happened at least in a batch of 250 histories."""


def evaluated(history: History) -> Roster:
    """The roster of a history as it was written."""
    return evaluate(history.owners, history.events)


def check_histories(batch: int, *, quiet: bool = False) -> None:
    """One roster for each of a share of the histories, in any order, and the one that the rules describe."""
    seen: Counter[str] = Counter()
    for seed in range(batch, HISTORIES, BATCHES):
        history = History(seed)
        history.write_at_random(EVENTS)
        roster = evaluated(history)
        for _ in range(3):
            assert evaluate(history.owners, history.shuffled()) == roster, f"seed {seed}"
        check_by_definition(history, roster)
        count_kinds(history, roster)
        seen += history.seen
    if not quiet:
        print(f"\n{HISTORIES // BATCHES} control histories: " + ", ".join(f"{count} {kind}" for kind, count in sorted(seen.items())))  # noqa: T201
    few = {kind: seen[kind] for kind, least in MINIMA.items() if seen[kind] < least * (HISTORIES // BATCHES) // 250}
    assert not few


@pytest.mark.parametrize("batch", range(BATCHES))
def test_random_histories_have_one_roster_in_any_order_of_arrival(batch: int, capsys: pytest.CaptureFixture[str]) -> None:
    """And it is the one that the rules describe, looked at from the outcome."""
    with capsys.disabled():
        check_histories(batch)


@pytest.mark.parametrize("batch", range(2))
def test_what_is_not_looked_at_changes_nothing(batch: int) -> None:
    """Event by event, in the order in which they were written: where no evaluation is asked for, one gives the same roster."""
    passed_over = 0
    for seed in range(batch, HISTORIES // 10, 2):
        history = History(7_000_000 + seed)
        history.write_at_random(EVENTS)
        roster = evaluate(history.owners, [])
        for count, entry in enumerate(history.events, 1):
            after = evaluate(history.owners, history.events[:count])
            if not may_change(roster, entry):
                assert after == roster, f"seed {seed}"
                passed_over += 1
            roster = after
    assert passed_over > 500


def best_rank(roster: Roster, peer: PeerId) -> tuple[int, int, int, bytes]:
    """The most senior rank that `peer` has at any event that it wrote, or would have at another one."""
    ranks = [decision.rank for standing in roster.standings.values() for decision in standing.decisions if decision.author == peer]
    return min([roster.standing(peer).now.rank, *ranks])


def standing_of_seniors(roster: Roster, than: tuple[int, int, int, bytes]) -> dict[PeerId, tuple[Role, str | None]]:
    """Role and name of everybody that is more senior."""
    places = {peer: standing.now for peer, standing in roster.standings.items()}
    return {peer: (place.role, place.name) for peer, place in places.items() if place.role >= Role.ADMIN and place.rank < than}


@pytest.mark.parametrize("batch", range(5))
def test_nobody_changes_the_standing_of_a_senior(batch: int) -> None:
    """Somebody writes whatever it likes, in fresh logs and forks of old ones, with clocks, refs and cuts of its choice."""
    changed = attackers = 0
    for seed in range(batch, HISTORIES // 5, 5):
        history = History(1_000_000 + seed)
        history.write_at_random(EVENTS)
        before = evaluated(history)
        attacker = history.chance.choice(history.people)
        history.write_at_random(15, [attacker])
        after = evaluated(history)
        best = min(best_rank(before, attacker), best_rank(after, attacker))
        seniors = standing_of_seniors(before, best)
        assert seniors.items() <= standing_of_seniors(after, best).items(), f"seed {seed}"
        attackers += bool(seniors)
        changed += before.members != after.members
    assert attackers > 20
    assert changed > 10, "an attacker that can change nothing at all proves nothing"


def removed_by_the_first_owner(history: History, peer: PeerId) -> ControlEvent:
    """The first owner removes `peer`; what it wrote so far stays."""
    live = evaluated(history).standing(peer).now.live
    draft = member_set(peer, "removed", Role.NONE, replaces=live, cut=history.cut(peer, whole=True))
    return history.write(history.open_log(history.owners[0]), draft)


def fork_below_the_tips(history: History, peer: PeerId) -> int:
    """Branches of old logs of `peer`, below what a cut names. How many."""
    forks = 0
    for log in [log for log in history.logs if log.author == peer and log.events]:
        for draft in (member_set(history.people[-1], "puppet", Role.ADMIN), member_set(history.owners[-1], "gone", Role.NONE)):
            below = history.chance.choice([None, *(event for event in log.events if event not in log.tips())])
            if below is None and any(event.header.seq == 0 for event in log.events):
                continue
            history.write(log, draft, after=below)
            forks += 1
    return forks


@pytest.mark.parametrize("batch", range(5))
def test_a_removed_peer_changes_nothing_any_more(batch: int) -> None:
    """Neither in old logs, nor in new ones, nor by forks below its cut: the roster is as if it had never written again."""
    forks = had_power = 0
    for seed in range(batch, HISTORIES // 5, 5):
        history = History(2_000_000 + seed)
        history.write_at_random(EVENTS)
        removable = [peer for peer in history.people if peer != history.owners[0]]
        peer = history.chance.choice(removable)
        had_power += evaluated(history).role(peer) >= Role.ADMIN
        removed_by_the_first_owner(history, peer)
        before = evaluated(history)
        forks += fork_below_the_tips(history, peer)
        history.write_at_random(12, [peer])
        assert evaluated(history) == before, f"seed {seed}"
    assert forks > 50
    assert had_power > 12


@pytest.mark.parametrize("batch", range(5))
def test_what_somebody_wrote_under_the_cut_keeps_its_role(batch: int) -> None:
    """Whether it is removed or made less: a role belongs to an event."""
    kept = 0
    for seed in range(batch, HISTORIES // 5, 5):
        history = History(3_000_000 + seed)
        history.write_at_random(EVENTS)
        peer = history.chance.choice([peer for peer in history.people if peer != history.owners[0]])
        before = evaluated(history)
        written = [entry for entry in history.events if entry.author == peer]
        lineage = Lineage(history.events)
        roles = [before.standing(peer).role_at(each.event.header.log, under(lineage, each)) for each in written]
        removed_by_the_first_owner(history, peer)
        after = evaluated(history)
        assert [after.standing(peer).role_at(each.event.header.log, under(lineage, each)) for each in written] == roles, f"seed {seed}"
        assert after.role(peer) is Role.NONE
        kept += sum(role is not Role.NONE for role in roles)
    assert kept > 100


def under(lineage: Lineage, entry: ControlEvent) -> Callable[[Point], bool]:
    """What tells whether an event lies under a point."""
    return lambda point: lineage.is_under(entry.event, point)


def test_the_offline_first_owner_takes_the_group_back_from_a_stolen_second_one() -> None:
    """The thief, with the key of the second owner, removes everybody and appoints its own; the first owner undoes it all in one decision."""
    for seed in range(200):
        history = History(4_000_000 + seed)
        first, second = history.people[0], history.people[1]
        history.owners = [first, second]
        daily = history.open_log(second)
        for member in history.people[2:]:
            history.write(daily, member_set(member, f"peer-{member[0]}", Role.WRITER), after=daily.tips()[-1] if daily.events else None)
        before = evaluated(history)
        good = point_at(daily.tips()[-1])
        history.write_at_random(20, [second])
        for member in history.people:
            history.write(
                history.open_log(second), member_set(member, "gone", Role.NONE, replaces=[entry.event.id for entry in history.events][-10:])
            )
        stolen = evaluated(history)
        assert stolen.role(first) is Role.OWNER
        assert not any(stolen.role(member) for member in history.people[2:])
        history.write(history.open_log(first), member_set(second, "stolen", Role.NONE, cut=[good]))
        after = evaluated(history)
        assert {peer: after.role(peer) for peer in history.people} == {peer: before.role(peer) for peer in history.people if peer != second} | {
            second: Role.NONE
        }


@pytest.mark.parametrize("apart", range(50))
def test_two_admins_that_remove_each_other_end_the_same_everywhere(apart: int) -> None:
    """The senior stays, whichever decision arrives first; it does not matter what the junior's cut says."""
    history = History(5_000_000 + apart)
    owner, senior, junior = history.people[:3]
    history.owners = [owner]
    log = history.open_log(owner)
    for admin in (senior, junior):
        history.write(log, member_set(admin, f"peer-{admin[0]}", Role.ADMIN), after=log.tips()[-1] if log.events else None)
    appointed = [entry for entry in history.events if isinstance(entry.fact, MemberSet)]
    first, second = sorted(appointed, key=lambda each: (each.event.header.hlc, each.event.id))
    assert isinstance(first.fact, MemberSet)
    assert isinstance(second.fact, MemberSet)
    for by, about in ((first.fact.peer, second), (second.fact.peer, first)):
        assert isinstance(about.fact, MemberSet)
        history.write(history.open_log(by), member_set(about.fact.peer, "gone", Role.NONE, replaces=[about.event.id]))
    found = evaluated(history)
    assert all(evaluate(history.owners, history.shuffled()) == found for _ in range(10))
    assert (found.role(first.fact.peer), found.role(second.fact.peer)) == (Role.ADMIN, Role.NONE)


def test_an_owner_removes_a_member_that_a_junior_added_while_they_were_apart() -> None:
    """The owner has not seen the add, and names nothing: the removal beats it all the same, and no junior takes the peer back."""
    for seed in range(100):
        history = History(6_000_000 + seed)
        owner, admin, member = history.people[:3]
        history.owners = [owner]
        appointed = history.write(history.open_log(owner), member_set(admin, "admin", Role.ADMIN))
        added = history.write(history.open_log(admin), member_set(member, "member", Role.WRITER))
        removed = history.write(history.open_log(owner), member_set(member, "member", Role.NONE))
        again = history.write(history.open_log(admin), member_set(member, "member", Role.ADMIN, replaces=[added.event.id, removed.event.id]))
        assert evaluate([owner], [appointed, added]).role(member) is Role.WRITER
        assert evaluate([owner], [appointed, added, removed]).role(member) is Role.NONE
        assert evaluated(history).role(member) is Role.NONE
        history.write(history.open_log(owner), member_set(member, "member", Role.READER, replaces=[removed.event.id, again.event.id, added.event.id]))
        assert evaluated(history).role(member) is Role.READER
