"""What honest informants may tell without harm, and what busy ones may cost."""

from gossip import credit, reading
from gossip.dials import MINUTE_MS
from gossip.failed import SAME_RECORD_MS
from gossip.rules import GossipRules
from tests.gossip_samples import RULES, View, forged, peer_id, record

MANY = " ".join(f"p{number}" for number in range(100))


def test_of_each_informant_so_many_records_are_looked_at_in_a_minute() -> None:
    """Also where they are good: whoever signs its own record again and again keeps us busy, and nobody else's is passed over for it."""
    view = View(red="bob dan erin")
    good = (record("bob"), 2)
    view.hear("bob", *[good] * reading.RECORDS_PER_MINUTE_MAX)
    view.hear("bob", (record("dan"), 2))
    view.hear("erin", (record("erin"), 2))
    assert view.known().keys() == {"bob", "erin"}
    view.now_ms += MINUTE_MS
    view.hear("bob", (record("dan"), 2))

    assert view.known().keys() == {"bob", "dan", "erin"}


def test_who_told_of_somebody_that_is_there_is_not_shut_out_because_others_do_not_answer() -> None:
    """Half of a mesh may be behind firewalls, or have no power."""
    view = View(red=f"bob erin {MANY}", rules=GossipRules(max_gossip_peers=500))
    view.hear("bob", (record("erin"), 2))
    view.link("erin")
    for number in range(100):
        view.hear("bob", (record(f"p{number}"), 2))
        for _ in range(RULES.max_failures):
            view.fails(f"p{number}")
    assert view.table.credit.points(peer_id("bob"), 0) == credit.LEFT_BY_SILENCE
    view.hear("bob", (forged("erin"), 2), (forged("erin"), 2))

    assert view.table.shut_out == [peer_id("bob")], "a lie is a lie"


def test_a_site_that_stays_away_is_paid_for_once() -> None:
    """Whoever reached it tells of it for an hour; nobody is to pay for a power cut again and again."""
    view, paid = View(red="bob dan"), []
    for _ in range(6):
        view.hear("bob", (record("dan"), 2))
        assert view.known()
        before = view.table.credit.points(peer_id("bob"), view.now_ms)
        for _ in range(RULES.max_failures):
            view.fails("dan")
        paid.append(before - view.table.credit.points(peer_id("bob"), view.now_ms))
        view.now_ms += SAME_RECORD_MS

    assert paid == [credit.COST_UNREACHABLE, 0, 0, 0, 0, 0]
