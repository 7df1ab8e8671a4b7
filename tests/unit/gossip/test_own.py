"""What a peer says of itself: the same until something changes, and above whatever it said before."""

from gossip.own import RENEWED_MS, OwnRecord
from gossip.record import PeerRecord, Reachability, read_record
from tests.gossip_samples import peer_id
from tests.samples import key_pair

ME = key_pair("me")
ENDPOINT = "https://me.example:7850"


def of(own: OwnRecord, now_ms: int = 0) -> PeerRecord:
    return read_record(own.current(now_ms)).record


def test_it_stays_the_same_until_something_changes_or_it_gets_old() -> None:
    endpoints = [ENDPOINT]
    own = OwnRecord(ME, lambda: tuple(endpoints), lambda: 1000)
    first = of(own)
    assert own.current(RENEWED_MS - 1) == own.current(0)
    older = of(own, RENEWED_MS)
    endpoints.append("https://other.example:1")
    changed = of(own, RENEWED_MS)

    assert (first.seq, older.seq, changed.seq) == (1000, 1001, 1002)
    assert changed.endpoints == tuple(endpoints)


def test_it_goes_above_what_was_said_before_a_restart_or_a_restored_backup_whatever_the_clock_says() -> None:
    own = OwnRecord(ME, lambda: (ENDPOINT,), lambda: 0, seq=7)
    assert of(own).seq == 8
    own.came_back(8)
    assert of(own).seq == 8, "that is this very record"
    own.came_back(2**40)

    assert of(own).seq == 2**40 + 1


def test_others_can_dial_it_once_two_have() -> None:
    own = OwnRecord(ME, lambda: (ENDPOINT,), lambda: 0)
    own.dialled_by(peer_id("bob"))
    own.dialled_by(peer_id("bob"))
    assert of(own).reachability is Reachability.UNKNOWN
    own.dialled_by(peer_id("carol"))

    assert of(own).reachability is Reachability.DIALLABLE


def test_a_site_that_nobody_can_dial_says_so() -> None:
    own = OwnRecord(ME, tuple, lambda: 0)
    own.dialled_by(peer_id("bob"))

    assert (of(own).endpoints, of(own).reachability) == ((), Reachability.OUTBOUND_ONLY)


def test_an_address_that_nobody_would_take_is_not_told() -> None:
    assert OwnRecord(ME, lambda: ("ftp://no.port.example",), lambda: 0).current(0) == b""


def test_an_address_is_told_whichever_way_the_operator_wrote_it() -> None:
    """Behind a proxy nobody writes the port."""
    written = ("https://lab.example", "https://Lab.Example:7850/", "https://lab.example:443", "not an address")
    own = OwnRecord(ME, lambda: written, lambda: 0)

    assert of(own).endpoints == ("https://lab.example:443", "https://lab.example:7850")
    assert own.current(0) is own.current(1), "it is not signed anew each time"


def test_where_not_all_addresses_fit_the_best_are_told() -> None:
    written = tuple(f"https://{letter * 60}.example:7850#spki={'0' * 64}" for letter in "abcdefgh")
    told = of(OwnRecord(ME, lambda: written, lambda: 0)).endpoints

    assert 4 <= len(told) < len(written)
    assert told == written[: len(told)]
