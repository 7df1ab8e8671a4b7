"""What is told to whom: how far an address goes, and that nobody hears what is not for it."""

from gossip.exchange import REACHED_WITHIN_MS, RECORDS_TOLD_MAX, Rounds
from gossip.rules import GossipRules
from tests.gossip_samples import BLUE, RED, View, peer_id, record

MANY = [f"p{number}" for number in range(150)]
OWN = record("me")


def test_our_own_record_comes_first_with_the_ttl_that_is_stored_for_the_hearer() -> None:
    view = View(red="bob carol")
    view.name(bob=2, carol=1)
    view.link("bob", "carol")
    view.hear("carol", (record("carol"), 1))

    assert view.tells("bob", own=OWN) == [(OWN, 2), (record("carol"), 1)]
    assert view.tells("carol", own=OWN) == [(OWN, 1)]


def test_somebody_of_whom_nothing_is_known_yet_hears_who_we_are_and_no_more() -> None:
    view = View(red="bob carol")
    view.name(carol=2)
    view.link("bob", "carol")
    view.hear("carol", (record("carol"), 2))
    assert view.tells("bob", own=OWN) == [(OWN, 0)]
    view.hear("bob", (record("bob"), 2))

    assert view.tells("bob", own=OWN) == [(OWN, 2), (record("carol"), 2)]


def test_who_lost_count_of_its_records_is_told_the_last_one_until_it_goes_above_it() -> None:
    """After a restored backup and a clock that was put back nobody would take where it is now."""
    view = View(red="bob carol")
    view.name(carol=2)
    view.hear("bob", (record("bob", 9), 2))
    view.link("bob")
    view.hear("carol", (record("bob", 4), 2))
    assert view.tells("bob", own=OWN) == [(OWN, 2)], "that Carol is behind says nothing of Bob"
    view.hear("bob", (record("bob", 5), 2))
    assert view.tells("bob", own=OWN) == [(OWN, 2), (record("bob", 9), 0)]
    theirs = View("bob", red="me")
    theirs.hear("me", *view.tells("bob", own=OWN))
    assert theirs.table.own_seq_seen == 9
    view.hear("bob", (record("bob", 10), 2))

    assert view.tells("bob", own=OWN) == [(OWN, 2)]


def test_ttl_0_is_used_and_not_passed_on() -> None:
    view = View(red="bob carol")
    view.name(bob=2)
    view.link("bob", "carol")
    view.hear("bob", (record("carol"), 1))

    assert view.dialled() == {"carol"}
    assert view.tells("bob") == []


def test_who_is_known_by_gossip_hears_of_others_with_fewer_steps_left() -> None:
    """Counted from the sender alone every link that gossip makes would be a new beginning."""
    view = View(red="bob carol dan")
    view.name(bob=2)
    view.hear("bob", (record("bob"), 2), (record("carol"), 2), (record("dan"), 1))
    view.link("bob", "carol", "dan")

    assert view.tells("carol") == [(record("bob"), 1)]
    assert view.tells("dan") == []


def test_only_who_was_reached_lately_is_told_of() -> None:
    view = View(red="bob carol")
    view.name(bob=2)
    view.hear("bob", (record("carol", valid_for_s=86_400), 2))
    assert view.tells("bob") == []
    view.link("carol")
    view.pass_time(10 * REACHED_WITHIN_MS)
    assert view.tells("bob") == [(record("carol", valid_for_s=86_400), 1)]
    view.link()
    view.pass_time(REACHED_WITHIN_MS - 1)
    assert view.tells("bob")
    view.pass_time(1)

    assert view.tells("bob") == []
    assert view.known().keys() == {"carol"}, "it is still dialled"


def test_a_hearer_is_not_told_of_itself_and_nobody_of_who_cannot_be_dialled() -> None:
    view = View(red="bob carol")
    view.name(bob=2, carol=2)
    view.link("bob", "carol")
    view.hear("bob", (record("bob"), 2))
    view.hear("carol", (record("carol", endpoints=()), 2))

    assert view.tells("bob") == view.tells("carol")[1:] == []


def test_members_of_one_group_hear_nothing_of_another() -> None:
    view = View(red="bob carol dan", blue="bob erin dan")
    view.name(bob=2, carol=2, dan=2, erin=2)
    view.link("bob", "carol", "dan", "erin")
    for group, names in ((RED, ("carol", "dan")), (BLUE, ("erin",))):
        for name in names:
            view.hear(name, (record(name), 2), group=group)

    assert {data for data, _ in view.tells("bob", RED)} == {record("carol"), record("dan")}
    assert {data for data, _ in view.tells("bob", BLUE)} == {record("erin")}, "dan told of itself in the other group alone"
    assert view.tells("carol", BLUE, own=OWN) == []
    view.members[RED].discard("carol")
    assert {data for data, _ in view.tells("bob", RED)} == {record("dan")}
    assert view.tells("carol", RED, own=OWN) == []


def test_where_there_are_more_than_fit_they_take_turns() -> None:
    view = View(red=" ".join(["bob", *MANY]), rules=GossipRules(max_gossip_peers=200))
    view.name(bob=2)
    view.link("bob", *MANY)
    for name in MANY:
        view.hear(name, (record(name), 2))
    turns = [view.tells("bob", own=OWN, turn=turn) for turn in range(3)]

    assert [len(each) for each in turns] == [RECORDS_TOLD_MAX] * 3
    assert {data for each in turns for data, _ in each} == {OWN, *(record(name) for name in MANY)}


def test_a_new_link_is_told_at_once_then_every_interval() -> None:
    rounds, bob = Rounds(1000), peer_id("bob")
    links = [(bob, RED)]

    def due(now_ms: int, chance: float = 0.5, ttl: int | None = 0) -> int:
        return len(rounds.due(links, lambda _group, _peer: ttl, lambda: chance, now_ms))

    assert [due(0), due(999), due(1000, 0.0), due(1749), due(1750, 0.99), due(2950), due(2995)] == [1, 0, 1, 0, 1, 0, 1]
    assert [due(3000, ttl=1), due(3001, ttl=1)] == [1, 0], "it may hear more than before"
    assert not rounds.due([], lambda _group, _peer: 0, lambda: 0.5, 3002)
    assert [each.turn for each in rounds.due(links, lambda _group, _peer: None, lambda: 0.5, 3003)] == [0], "another link"
    assert due(3004) == 1, "now it is known"
