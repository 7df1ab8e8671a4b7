"""The table of peers that others told of: who gets in, what wins, who goes, and what it costs to tell what is worth nothing."""

import pytest

from gossip import credit
from gossip.dials import DIALS_PER_INFORMANT_MAX, DIALS_PER_MINUTE_MAX, MINUTE_MS
from gossip.failed import FAILED_MAX, NEWER_RECORD_MS, SAME_RECORD_MS, FailedOut
from gossip.resting import FIRST_WAIT_MS, LONGEST_WAIT_MS, RESTING_MAX, Resting
from gossip.rules import GossipRules
from gossip.table import received_ttl
from peer.core.identity import PeerId
from tests.gossip_samples import BLUE, RED, RULES, View, forged, peer_id, record

MANY = " ".join(f"p{number}" for number in range(200))


@pytest.mark.parametrize(("told", "default", "is_own", "stored"), [(2, 2, False, 1), (1, 2, False, 0), (0, 2, False, None), (10**9, 2, False, 1)])
def test_what_is_told_of_a_third_one_goes_one_step_less_far(told: int, default: int, is_own: bool, stored: int | None) -> None:  # noqa: FBT001
    assert received_ttl(told, default, is_own=is_own) == stored


@pytest.mark.parametrize(("told", "stored"), [(2, 2), (0, 0), (10**9, 2)])
def test_an_introduction_is_as_good_as_the_one_at_the_other_end(told: int, stored: int) -> None:
    view = View(red="bob")
    view.hear("bob", (record("bob"), told))

    assert view.known() == {"bob": (1, stored, "bob")}


def test_a_member_is_told_of_once_by_its_newest_record() -> None:
    view = View(red="bob carol dan")
    view.hear("bob", (record("dan", 5), 2))
    view.hear("carol", (record("dan", 4), 2), (record("dan", 7), 1))

    assert view.known() == {"dan": (7, 0, "carol")}


def test_of_the_same_record_the_higher_ttl_and_then_the_first_informant_counts() -> None:
    view = View(red="bob carol dan")
    view.hear("bob", (record("dan"), 1))
    view.hear("carol", (record("dan"), 2))
    view.hear("bob", (record("dan"), 2))

    assert view.known() == {"dan": (1, 1, "carol")}


def test_a_third_one_is_named_rather_than_the_peer_itself() -> None:
    """Whoever was told of dials us as soon as we are told of it: who told whom first is chance."""
    view = View(red="bob dan")
    view.hear("dan", (record("dan"), 1))
    view.hear("bob", (record("dan"), 2))

    assert view.known() == {"dan": (1, 1, "bob")}


def test_only_members_are_taken_and_only_from_members() -> None:
    view = View(red="bob", blue="eve")
    view.hear("bob", (record("eve"), 2), (record("stranger"), 2))
    view.hear("eve", (record("bob"), 2))

    assert not view.known()


def test_who_left_the_roster_goes() -> None:
    view = View(red="bob dan")
    view.hear("bob", (record("dan"), 2))
    view.members[RED].discard("dan")
    view.pass_time(1)

    assert not view.known()


def test_what_is_told_in_one_group_is_known_in_no_other() -> None:
    view = View(red="bob dan", blue="bob dan")
    view.hear("bob", (record("dan"), 2))

    assert (view.known(RED), view.known(BLUE)) == ({"dan": (1, 1, "bob")}, {})
    assert [each.groups for each in placed(view)] == [frozenset({RED})]


def placed(view: View) -> list[object]:
    view.table.tick(view.now_ms)
    return list(view.table.placed())  # type: ignore[arg-type]


def test_who_cannot_be_dialled_is_told_of_by_itself_alone() -> None:
    view = View(red="bob dan")
    view.hear("bob", (record("dan", endpoints=()), 2))
    view.hear("bob", (record("bob", endpoints=()), 2))

    assert view.known() == {"bob": (1, 2, "bob")}


def test_a_record_of_our_own_that_comes_back_is_remembered_for_its_seq_and_not_taken() -> None:
    view = View(red="bob")
    view.hear("bob", (record("me", 99), 2))

    assert (view.known(), view.table.own_seq_seen) == ({}, 99)


def test_nobody_is_kept_of_whom_nobody_tells_any_more() -> None:
    view = View(red="bob dan")
    view.hear("bob", (record("dan"), 2))
    view.pass_time(RULES.stale_timeout_ms - 1)
    view.hear("bob", (record("dan"), 2))
    view.pass_time(RULES.stale_timeout_ms - 1)
    assert view.known()
    view.pass_time(1)

    assert not view.known()


def test_who_was_reached_is_kept_as_long_as_its_record_is_valid_from_then_on() -> None:
    view = View(red="bob dan")
    view.hear("bob", (record("dan", valid_for_s=7200), 2))
    view.link("dan")
    view.pass_time(100_000_000)
    view.link()
    view.pass_time(7_200_000 - 1)
    assert view.known()
    view.pass_time(1)

    assert not view.known()


def test_who_fails_again_and_again_goes_and_is_not_taken_again_at_once() -> None:
    view = View(red="bob dan")
    view.hear("bob", (record("dan"), 2))
    for _ in range(RULES.max_failures):
        assert view.known()
        view.fails("dan")
    assert not view.known()
    view.hear("bob", (record("dan", 2), 2))
    assert not view.known(), "a newer record comes too early"
    view.pass_time(NEWER_RECORD_MS)
    view.hear("bob", (record("dan", 1), 2))
    assert not view.known(), "the same one waits longer"
    view.hear("bob", (record("dan", 2), 2))

    assert view.known()


def test_a_failure_counts_when_every_address_has_failed() -> None:
    """And not those that are somebody else's."""
    view = View(red="bob dan")
    two = ("https://one.example:1", "https://two.example:2")
    view.hear("bob", (record("dan", endpoints=two), 2))
    for _ in range(RULES.max_failures):
        view.fails("dan", two[0])
        view.fails("dan", "https://other.example:1")
    assert view.known()
    view.fails("dan", two[1])
    for _ in range(RULES.max_failures - 1):
        assert view.known()
        for each in two:
            view.fails("dan", each)

    assert not view.known()


def test_failures_count_in_a_row() -> None:
    view = View(red="bob dan")
    view.hear("bob", (record("dan"), 2))
    for _ in range(3):
        for _ in range(RULES.max_failures - 1):
            view.fails("dan")
        view.link("dan")
        view.link()

    assert view.known()


def test_who_was_reached_once_comes_back_soon_and_costs_nothing() -> None:
    view = View(red="bob dan")
    view.hear("bob", (record("dan"), 2))
    view.link("dan")
    view.link()
    before = view.table.credit.points(peer_id("bob"), view.now_ms)
    for _ in range(RULES.max_failures):
        view.fails("dan")
    assert not view.known()
    view.pass_time(NEWER_RECORD_MS)
    view.hear("bob", (record("dan"), 2))

    assert view.known()
    assert view.table.credit.points(peer_id("bob"), view.now_ms) >= before


def test_who_was_reached_once_is_tried_again_now_and_then_though_nobody_tells_of_it_any_more() -> None:
    """A network that is down looks like peers that are gone."""
    view = View(red="bob dan")
    view.hear("bob", (record("dan", valid_for_s=86_400), 2))
    view.link("dan")
    view.link()
    for _ in range(RULES.max_failures):
        view.fails("dan")
    view.pass_time(FIRST_WAIT_MS - 1)
    assert not view.known()
    view.pass_time(1)
    assert view.dialled() == {"dan"}
    view.fails("dan")
    assert not view.known(), "once is enough"
    view.pass_time(2 * FIRST_WAIT_MS)
    assert view.known() == {"dan": (1, 1, "bob")}
    view.link("dan")
    view.link()
    view.fails("dan")
    assert view.known(), "it was there: failures count anew"
    for _ in range(RULES.max_failures):
        view.fails("dan")
    view.pass_time(86_400_000)

    assert not view.known(), "what it said is not valid any more"


def test_who_has_no_link_at_all_tries_everybody_once_a_minute() -> None:
    """A network that was down over night is up again in the morning, and nobody was told."""
    view = View(red="bob dan erin")
    view.hear("bob", (record("dan", valid_for_s=86_400), 2))
    view.link("dan")
    view.link("erin")
    for _ in range(RULES.max_failures):
        view.fails("dan")
    for _ in range(12 * 60):
        view.pass_time(FIRST_WAIT_MS)
        view.fails("dan")
    view.pass_time(FIRST_WAIT_MS)
    assert not view.dialled(), "there are others"
    view.link()
    view.pass_time(FIRST_WAIT_MS)

    assert view.dialled() == {"dan"}


def test_few_rest_and_not_longer_than_an_hour() -> None:
    resting = Resting[int]()
    for number in range(2 * RESTING_MAX):
        resting.add(PeerId(number.to_bytes(32, "big")), [number], 10**9, 0)
    now_ms = 0
    for _ in range(10):
        now_ms += LONGEST_WAIT_MS
        assert len(resting.due(now_ms)) == RESTING_MAX


def test_whom_the_operator_named_neither_fails_out_nor_takes_room() -> None:
    view = View(red=f"bob dan {MANY}", rules=GossipRules(max_gossip_peers=1))
    view.name(dan=2)
    view.hear("bob", (record("dan"), 2), (record("p1"), 2), (record("p2"), 2))
    for _ in range(RULES.max_failures):
        view.fails("dan")

    assert view.known().keys() == {"dan", "p1"}


def test_there_is_room_for_so_many_and_of_each_informant_for_its_share() -> None:
    """Bob tells of more than there is room for; what Carol tells of still gets half of it. Who is linked stays."""
    view = View(red=f"bob carol {MANY}", rules=GossipRules(max_gossip_peers=10))
    view.hear("bob", *((record(f"p{number}"), 2) for number in range(50)))
    view.link("p3")
    view.hear("carol", *((record(f"p{number}"), 2) for number in range(100, 150)))

    shares = [informant for _, _, informant in view.known().values()]
    assert (shares.count("bob"), shares.count("carol")) == (5, 5)
    assert "p3" in view.known()
    view.hear("bob", *((record(f"p{number}"), 2) for number in range(50)))
    assert len(view.known()) == 10


def test_who_is_linked_is_taken_before_who_is_not_and_gives_way_to_nobody() -> None:
    view = View(red=f"bob {MANY}", rules=GossipRules(max_gossip_peers=2))
    view.hear("bob", (record("p1"), 2), (record("p2"), 2))
    view.link("p3", "p4", "p5")
    for name in ("p3", "p4", "p5"):
        view.hear(name, (record(name), 2))

    assert view.known().keys() == {"p3", "p4"}


def test_addresses_are_let_go_a_few_in_a_minute_and_of_each_informant_its_share() -> None:
    view = View(red=f"bob carol dan erin frank {MANY}", rules=GossipRules(max_gossip_peers=500))
    view.hear("bob", *((record(f"p{number}"), 2) for number in range(100)))
    assert len(view.dialled()) == DIALS_PER_INFORMANT_MAX
    for start, informant in enumerate(("carol", "dan", "erin", "frank")):
        view.hear(informant, *((record(f"p{100 + 25 * start + number}"), 2) for number in range(25)))
    assert len(view.dialled()) == DIALS_PER_MINUTE_MAX
    view.pass_time(MINUTE_MS)

    assert len(view.dialled()) > DIALS_PER_MINUTE_MAX


def test_who_was_reached_cannot_have_us_dial_new_addresses_without_end() -> None:
    """Neither while its link stands nor by coming and going: each new address waits for its share of the minute."""
    view = View(red="bob dan")
    view.hear("bob", (record("dan"), 2))
    view.link("dan")
    assert view.dialled() == {"dan"}
    dialled = set()
    for seq in range(2, 100):
        view.hear("dan", (record("dan", seq, endpoints=(f"https://victim.example:{seq}",)), 2))
        view.link(*(("dan",) if seq % 2 else ()))
        view.table.tick(view.now_ms)
        dialled |= {endpoint for each in view.table.placed() for endpoint in each.endpoints}

    assert 1 < len(dialled) <= DIALS_PER_INFORMANT_MAX


def test_what_is_forged_costs_until_nothing_is_taken_any_more() -> None:
    view = View(red="bob dan erin")
    view.hear("bob", (record("dan"), 2))
    view.hear("bob", *([(forged("erin"), 2)] * 500))
    view.hear("bob", (record("erin"), 2))
    assert view.table.shut_out == [peer_id("bob")]
    assert not view.known(), "and what it told before and nobody reached is not dialled either"
    assert view.table.credit.paused(view.now_ms) == {peer_id("bob"): credit.PAUSE_MS}
    view.pass_time(credit.PAUSE_MS)
    view.hear("bob", (record("erin"), 2))

    assert view.known().keys() == {"erin"}


def test_what_was_reached_outlives_the_credit_of_who_told_of_it() -> None:
    view = View(red="bob dan")
    view.hear("bob", (record("dan"), 2))
    view.link("dan")
    view.hear("bob", *((forged("dan"), 2) for _ in range(10)))

    assert view.known().keys() == {"dan"}


def test_addresses_where_nobody_is_cost_a_little_and_peers_that_are_there_earn_it_back() -> None:
    view = View(red="bob dan erin")
    bob = peer_id("bob")
    view.hear("bob", (record("dan"), 2), (record("erin"), 2))
    for _ in range(RULES.max_failures):
        view.fails("dan")
    assert view.table.credit.points(bob, 0) == credit.CREDIT_START - credit.COST_UNREACHABLE
    view.link("erin")

    assert view.table.credit.points(bob, 0) == credit.CREDIT_START - credit.COST_UNREACHABLE + credit.EARNED


def test_another_key_at_an_address_costs_more_and_once() -> None:
    """A peer can put the address of another into its own record, again and again: who hands that on in good faith pays once."""
    view = View(red="bob dan")
    for seq in range(1, 6):
        view.hear("bob", (record("dan", seq), 2))
        for _ in range(RULES.max_failures):
            view.fails("dan", code="channel_key_mismatch")
        view.now_ms += NEWER_RECORD_MS

    assert view.table.credit.points(peer_id("bob"), view.now_ms) >= credit.CREDIT_START - credit.COST_WRONG_KEY


def test_credit_comes_back_with_time_and_has_an_end() -> None:
    account, bob = credit.Credit(), peer_id("bob")
    account.spend(bob, 10, 0)
    assert account.points(bob, 5 * credit.REGAINED_MS) == credit.CREDIT_START - 5
    for _ in range(100):
        account.earn(bob, credit.EARNED, 0)

    assert account.points(bob, 0) == credit.CREDIT_MAX


def test_few_accounts_are_remembered_and_those_that_owe_first() -> None:
    account, bad = credit.Credit(), PeerId(bytes(32))
    account.spend(bad, credit.CREDIT_START, 0)
    for number in range(1, 2 * credit.INFORMANTS_MAX):
        account.earn(PeerId(number.to_bytes(32, "big")), credit.EARNED, 0)

    assert not account.is_good(bad, 0)
    assert len(account._accounts) == credit.INFORMANTS_MAX


def test_few_are_remembered_who_failed() -> None:
    failed = FailedOut()
    for number in range(2 * FAILED_MAX):
        failed.add(PeerId(number.to_bytes(32, "big")), 1, 0, was_reached=False)

    assert len(failed._failed) == FAILED_MAX
    assert failed.refuses(PeerId((2 * FAILED_MAX - 1).to_bytes(32, "big")), 1, SAME_RECORD_MS - 1)
    assert not failed.refuses(PeerId((2 * FAILED_MAX - 1).to_bytes(32, "big")), 1, SAME_RECORD_MS)
