"""Two that hold the same find the row in which they differ, and nobody else is alarmed."""

import random
from collections import deque
from collections.abc import Mapping

import pytest

from peer.core.hashing import sha256
from peer.core.identity import GroupId, PeerId
from peer.sync import comparing as rules
from peer.sync import limits
from peer.sync.comparing import Ask, Comparing, Difference, part_of
from peer.sync.digests import DigestPart, Digests, DigestWant
from peer.sync.messages import decode_message, encode_message
from tests.samples import key_pair

GROUP = GroupId(b"g" * 32)
ALICE, BOB = key_pair("alice").peer_id, key_pair("bob").peer_id
BASIS, LATER = b"b" * 32, b"l" * 32
MODULUS = 2**256

Rows = dict[bytes, int]


def rows_of(count: int, seed: int = 1) -> Rows:
    chance = random.Random(seed)
    return {chance.randbytes(32): int.from_bytes(chance.randbytes(32), "big") for _ in range(count)}


class End:
    """One of two that compare: its tables, and what it has said."""

    def __init__(self, peer: PeerId, tables: Mapping[str, Rows], *, version: int = 3, basis: bytes = BASIS) -> None:
        self.peer = peer
        self.tables = tables
        self.version = version
        self.basis = basis
        self.comparing = Comparing(lambda _group, _peer: True)
        self.now_ms = 0
        self.asked: list[DigestWant] = []

    def digests(self) -> Digests:
        totals = tuple((name, (sum(rows.values()) % MODULUS).to_bytes(32, "big")) for name, rows in sorted(self.tables.items()))
        return Digests(GROUP, self.version, self.basis, totals)

    def part(self, want: DigestWant) -> DigestPart | None:
        rows = {key: total for key, total in self.tables[want.table].items() if key.startswith(want.prefix)}
        part = part_of(want, rows, limits.DIGEST_ENTRIES_MAX)
        assert decode_message(encode_message(part)) == part
        return part if want.basis == self.basis else None

    def found(self) -> dict[str, tuple[bytes, ...]]:
        return {each.table: each.keys for each in self.comparing.differences()}


def exchange(one: End, other: End) -> None:
    """Both tell the other once; what they ask is answered."""
    asks: deque[tuple[End, End, Ask]] = deque()
    for us, them in ((one, other), (other, one)):
        asks += [(us, them, ask) for ask in us.comparing.tell(us.digests(), us.now_ms)]
        asks += [(us, them, ask) for ask in us.comparing.hear(them.peer, them.digests(), us.now_ms)]
    while asks:
        us, them, ask = asks.popleft()
        us.asked.append(ask.want)
        answer = them.part(ask.want)
        if answer is not None:
            asks += [(us, them, more) for more in us.comparing.heard_part(them.peer, answer, us.part(ask.want), us.now_ms)]


def two(ours: Mapping[str, Rows], theirs: Mapping[str, Rows]) -> tuple[End, End]:
    return End(ALICE, ours), End(BOB, theirs)


def test_who_shows_the_same_is_not_spoken_of() -> None:
    alice, bob = two({"chunks": rows_of(500)}, {"chunks": rows_of(500)})
    exchange(alice, bob)

    assert not alice.found()
    assert not bob.found()
    assert not alice.asked + bob.asked


@pytest.mark.parametrize("count", [1, 2, limits.DIGEST_ENTRIES_MAX, limits.DIGEST_ENTRIES_MAX + 1, 50_000])
@pytest.mark.parametrize("how", ["changed", "missing", "more"])
def test_both_name_exactly_the_row_that_differs(count: int, how: str) -> None:
    rows = rows_of(count)
    key = sorted(rows)[count // 2]
    others = {**rows}
    if how == "changed":
        others[key] += 1
    elif how == "missing":
        del others[key]
    else:
        key = sha256(b"one more")
        others[key] = 17
    same = rows_of(10, seed=2)
    alice, bob = two({"chunks": rows, "recordings": same}, {"chunks": others, "recordings": same})
    exchange(alice, bob)

    assert alice.found() == bob.found() == {"chunks": (key,)}
    assert alice.comparing.differences() == [Difference(GROUP, BOB, "chunks", (key,))]
    assert len(alice.asked) <= 3, "a table of 50 000 rows is asked for three times at most"


def test_where_a_kept_digest_is_wrong_the_table_is_named_and_no_row() -> None:
    alice, bob = two({"chunks": rows_of(9)}, {"chunks": rows_of(9)})
    damaged = bob.digests()._replace(tables=(("chunks", bytes(32)),))
    alice.comparing.tell(alice.digests(), 0)
    (ask,) = alice.comparing.hear(BOB, damaged, 0)
    part = bob.part(ask.want)
    assert part is not None
    assert not alice.comparing.heard_part(BOB, part, alice.part(ask.want), 0)

    assert alice.found() == {"chunks": ()}


def test_several_rows_of_several_tables_are_named_but_not_all_of_very_many() -> None:
    rows, more = rows_of(3000), rows_of(40, seed=2)
    few = {key: total + (key in sorted(more)[:3]) for key, total in more.items()}
    alice, bob = two({"chunks": rows, "tags": more}, {"chunks": rows, "tags": few})
    exchange(alice, bob)
    assert alice.found() == {"tags": tuple(sorted(more)[:3])}

    keys = sorted(rows)[::1000]
    alice, bob = two({"chunks": rows, "tags": more}, {"chunks": {key: total + (key in keys) for key, total in rows.items()}, "tags": few})
    exchange(alice, bob)
    assert alice.found() == bob.found() == {"chunks": tuple(keys), "tags": tuple(sorted(more)[:3])}

    alice, bob = two({"chunks": rows}, {"chunks": {key: total + 1 for key, total in rows.items()}})
    exchange(alice, bob)
    (found,) = alice.found().values()
    assert 0 < len(found) <= rules.FOUND_MAX
    assert len(alice.asked) <= rules.ASKED_MAX


@pytest.mark.parametrize("apart", [{"version": 4}, {"basis": LATER}])
def test_who_has_another_version_or_holds_something_else_is_not_compared(apart: dict[str, object]) -> None:
    alice = End(ALICE, {"chunks": rows_of(5)})
    bob = End(BOB, {"chunks": rows_of(6)}, **apart)  # type: ignore[arg-type]
    exchange(alice, bob)

    assert not alice.found()
    assert not bob.found()
    assert not alice.asked + bob.asked


def test_the_alarm_goes_away_when_the_digests_agree_again() -> None:
    rows = rows_of(5)
    alice, bob = two({"chunks": rows}, {"chunks": {**rows, b"k" * 32: 1}})
    exchange(alice, bob)
    assert alice.found()
    assert bob.found()

    bob.tables = {"chunks": rows}
    exchange(alice, bob)
    assert not alice.found()
    assert not bob.found()


def test_the_alarm_stays_while_more_arrives_and_goes_with_another_version() -> None:
    rows = rows_of(5)
    alice, bob = two({"chunks": rows}, {"chunks": {**rows, b"k" * 32: 1}})
    exchange(alice, bob)
    alice.basis = LATER
    exchange(alice, bob)
    alice.comparing.unlinked(BOB, 0)
    alice.comparing.tidy(rules.GONE_MS_MAX - 1)
    assert alice.found() == {"chunks": (b"k" * 32,)}

    bob.version = 4
    exchange(alice, bob)
    assert not alice.found()


def test_the_alarm_goes_away_when_there_was_no_link_for_long() -> None:
    rows = rows_of(5)
    alice, bob = two({"chunks": rows}, {"chunks": {**rows, b"k" * 32: 1}})
    exchange(alice, bob)
    alice.comparing.unlinked(BOB, 0)
    exchange(alice, bob)
    alice.comparing.tidy(rules.GONE_MS_MAX)
    assert alice.found(), "the link came back"

    alice.comparing.unlinked(BOB, 0)
    alice.comparing.tidy(rules.GONE_MS_MAX)
    assert not alice.found()


def test_the_same_difference_is_looked_for_once() -> None:
    rows = rows_of(5)
    alice, bob = two({"chunks": rows}, {"chunks": {**rows, b"k" * 32: 1}})
    for _ in range(5):
        exchange(alice, bob)
        alice.now_ms += 10_000

    assert len(alice.asked) == 1
    assert alice.found() == {"chunks": (b"k" * 32,)}


def test_a_question_without_an_answer_is_asked_again_after_a_while() -> None:
    rows = rows_of(5)
    alice, bob = two({"chunks": rows}, {"chunks": {**rows, b"k" * 32: 1}})
    alice.comparing.tell(alice.digests(), 0)

    assert len(alice.comparing.hear(BOB, bob.digests(), 0)) == 1
    assert not alice.comparing.hear(BOB, bob.digests(), rules.PART_MS_MAX - 1)
    assert len(alice.comparing.hear(BOB, bob.digests(), rules.PART_MS_MAX)) == 1
    assert alice.found() == {"chunks": ()}, "the table is known at once"


@pytest.mark.parametrize("part_ms", [12_000, 95_000])
def test_rows_of_large_tables_are_found_however_long_each_part_takes(part_ms: int) -> None:
    """Each part takes its time, and digests are told of every ten seconds meanwhile."""
    rows = rows_of(3000)
    keys = sorted(rows)[::600]
    alice, bob = two({"chunks": rows}, {"chunks": {**rows, **dict.fromkeys(keys, 1)}})
    alice.comparing.tell(alice.digests(), 0)
    asks, parts = alice.comparing.hear(BOB, bob.digests(), 0), 0
    while asks:
        (ask,) = asks
        parts += 1
        assert parts <= 2 * len(keys)
        for now_ms in range(alice.now_ms, alice.now_ms + part_ms, 10_000):
            assert all(again == ask for again in alice.comparing.hear(BOB, bob.digests(), now_ms))
        alice.now_ms += part_ms
        answer = bob.part(ask.want)
        assert answer is not None
        asks = alice.comparing.heard_part(BOB, answer, alice.part(ask.want), alice.now_ms)

    assert alice.found() == {"chunks": tuple(keys)}


def test_a_question_that_nobody_ever_answers_is_asked_a_bounded_number_of_times() -> None:
    rows = rows_of(5)
    alice, bob = two({"chunks": rows}, {"chunks": {**rows, b"k" * 32: 1}})
    alice.comparing.tell(alice.digests(), 0)
    asked = sum(len(alice.comparing.hear(BOB, bob.digests(), turn * rules.PART_MS_MAX)) for turn in range(2 * rules.ASKED_MAX))

    assert asked == rules.ASKED_MAX
    assert alice.found() == {"chunks": ()}


def test_an_answer_that_nobody_asked_for_changes_nothing() -> None:
    rows = rows_of(5)
    alice, bob = two({"chunks": rows}, {"chunks": {**rows, b"k" * 32: 1}})
    exchange(alice, bob)
    lie = DigestPart(GROUP, BASIS, "chunks", b"", rows=True, entries=((b"x" * 32, bytes(32)),))

    assert not alice.comparing.heard_part(BOB, lie, alice.part(DigestWant(GROUP, BASIS, "chunks", b"")), 0)
    assert alice.found() == {"chunks": (b"k" * 32,)}


def test_who_lies_without_end_is_asked_a_bounded_number_of_times() -> None:
    """Each answer names 256 next bytes with hashes of its own."""
    alice = End(ALICE, {"chunks": rows_of(1000)})
    alice.comparing.tell(alice.digests(), 0)
    asks = alice.comparing.hear(BOB, alice.digests()._replace(tables=(("chunks", bytes(32)),)), 0)
    asked = 0
    while asks:
        (ask,) = asks
        asked += 1
        assert asked <= 1000
        entries = tuple((bytes([byte]), sha256(bytes([asked % 256, byte]))) for byte in range(256))
        lie = DigestPart(GROUP, BASIS, ask.want.table, ask.want.prefix, rows=False, entries=entries)
        asks = alice.comparing.heard_part(BOB, lie, alice.part(ask.want), 0)

    assert asked == rules.ASKED_MAX


def test_who_is_no_member_is_neither_heard_nor_told_of() -> None:
    members = {BOB}
    rows = rows_of(5)
    alice, bob = two({"chunks": rows}, {"chunks": {**rows, b"k" * 32: 1}})
    alice.comparing = Comparing(lambda _group, peer: peer in members)
    exchange(alice, bob)
    assert alice.found()

    members.clear()
    assert not alice.found()
    alice.comparing.tidy(0)
    assert not alice.comparing._differ
    assert not alice.comparing.hear(BOB, bob.digests(), 0)
