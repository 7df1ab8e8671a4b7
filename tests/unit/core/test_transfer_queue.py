"""Which blob is fetched next."""

import random
import tracemalloc
from collections import Counter

import pytest

from peer.core.identity import BlobId, EventId, GroupId, PeerId
from peer.core.interfaces import WantedBlob
from peer.core.packed_wishes import PackedWishes
from peer.core.transfer_queue import BACK_OFF_MS, HINT_PAUSE_MS, WRONG_TRIES_MAX, Fault, TransferQueue, fault_of
from peer.core.wishes import PRIORITIES, Why, Wish
from peer.errors import BlobImpossibleError, BlobMismatchError, DiskFullError, NotAMemberError, TransportError

GROUP = GroupId(b"g" * 32)


def wish(number: int, why: Why = Why.POLICY, *, site: int = 0, more: int = 0, recording: int = 0) -> Wish:
    name = number.to_bytes(32, "big")
    file = WantedBlob(GROUP, EventId(recording.to_bytes(32, "big")), BlobId(name), 100, 2**20, BlobId(name), name, PeerId(site.to_bytes(32, "big")))
    return Wish(file, why, PRIORITIES[why] + more, "")


def blob(number: int) -> BlobId:
    return wish(number).file.blob


def started(queue: TransferQueue, now_ms: int = 0) -> list[int]:
    """What begins now."""
    return [int.from_bytes(each.file.blob, "big") for each in queue.step(now_ms, lambda *_: True).start]


def stopped(queue: TransferQueue, now_ms: int = 0) -> list[int]:
    """What has to stop now; it does."""
    found = queue.step(now_ms, lambda *_: True).stop
    for each in found:
        queue.stopped(each)
    return [int.from_bytes(each, "big") for each in found]


def test_the_most_urgent_comes_first_and_of_equal_ones_what_was_wanted_first() -> None:
    queue = TransferQueue(1)
    for each in (wish(1), wish(2, more=3), wish(3), wish(4, Why.ASKED, site=1), wish(5, Why.COPIES, site=2), wish(6, Why.REPAIR, site=3)):
        queue.want(each)
    order = []
    while found := started(queue):
        order += found
        queue.arrived(blob(found[0]))
    assert order == [6, 4, 5, 2, 1, 3]
    assert queue.bytes_wanted == 0


def test_a_blob_that_is_wanted_twice_is_fetched_once() -> None:
    queue = TransferQueue(4)
    queue.want(wish(1))
    assert started(queue) == [1]
    queue.want(wish(1, Why.ASKED))
    queue.want(wish(1, recording=7))
    assert started(queue) == []
    queue.arrived(blob(1))
    assert started(queue) == []
    assert not queue.wanted


def test_a_lane_waits_longer_after_each_failure_and_one_success_begins_anew() -> None:
    queue, now = TransferQueue(1), 1_000_000
    queue.want(wish(1))
    queue.want(wish(2))
    assert started(queue, now) == [1]
    queue.failed(blob(1), Fault.RETRY, now)
    assert queue.opens_ms(now) is None, "the first time at once"
    assert started(queue, now) == [2], "what failed less often goes first"
    turn = 2
    for pause in (*BACK_OFF_MS[1:], BACK_OFF_MS[-1], BACK_OFF_MS[-1]):
        queue.failed(blob(turn), Fault.RETRY, now)
        assert queue.opens_ms(now) == now + pause
        assert started(queue, now + pause - 1) == []
        now += pause
        turn = 3 - turn
        assert started(queue, now) == [turn]
    queue.arrived(blob(turn))
    turn = 3 - turn
    assert started(queue, now) == [turn]
    queue.failed(blob(turn), Fault.RETRY, now)
    assert started(queue, now) == [turn]


def test_what_was_begun_together_and_fails_together_is_one_failure() -> None:
    queue = TransferQueue(3)
    for number in (1, 2, 3):
        queue.want(wish(number))
    assert started(queue, 100) == [1, 2, 3]
    for number in (1, 2, 3):
        queue.failed(blob(number), Fault.RETRY, 200 + number)
    assert len(started(queue, 300)) == 3


def test_other_sites_and_other_reasons_do_not_wait_with_a_lane() -> None:
    queue = TransferQueue(1)
    queue.want(wish(1, Why.ASKED))
    for _ in range(2):
        started(queue)
        queue.failed(blob(1), Fault.RETRY, 0)
    queue.want(wish(2))
    queue.want(wish(3, Why.ASKED, site=1))
    assert started(queue, 1) == [3]
    queue.arrived(blob(3))
    assert started(queue, 1) == [2], "what nobody has is asked for now and then, and holds up nothing"


def test_a_full_disk_lets_everything_wait_until_something_fits() -> None:
    queue = TransferQueue(2)
    for number in (1, 2, 3):
        queue.want(wish(number, site=number))
    assert started(queue) == [1, 2]
    queue.failed(blob(1), Fault.PAUSE_ALL, 0)
    assert started(queue) == [3]
    queue.failed(blob(3), Fault.PAUSE_ALL, 0)
    assert (started(queue, 4_999), queue.opens_ms(1)) == ([], 5_000)
    queue.arrived(blob(2))
    assert sorted(started(queue, 1)) == [1, 3]


def test_what_is_too_large_for_the_disk_holds_up_nothing_that_is_smaller() -> None:
    queue = TransferQueue(1)
    large = wish(1, Why.ASKED)
    queue.want(large._replace(file=large.file._replace(size=10_000)))
    other = wish(2, site=1)
    queue.want(other._replace(file=other.file._replace(size=20_000)))
    for number in (3, 4, 5):
        queue.want(wish(number, site=1))
    assert started(queue) == [1]
    queue.failed(blob(1), Fault.PAUSE_ALL, 0)
    assert started(queue) == [1], "once more at once: somebody may have made room"
    queue.failed(blob(1), Fault.PAUSE_ALL, 0)
    for number in (3, 4, 5):
        assert started(queue, 10) == [number]
        queue.arrived(blob(number))
    assert started(queue, 4_999) == [], "that something small fitted says nothing of what is large"
    assert started(queue, 5_000) == [1]
    queue.failed(blob(1), Fault.PAUSE_ALL, 5_000)
    queue.want(wish(6, site=1))
    assert started(queue, 5_001) == [6]
    queue.failed(blob(6), Fault.PAUSE_ALL, 5_002)
    assert started(queue, 5_003) == [], "now not even that fits"


def test_what_can_never_arrive_is_given_up_at_once_and_what_comes_wrong_after_some_tries() -> None:
    queue, now = TransferQueue(1), 0
    queue.want(wish(1))
    started(queue)
    assert queue.failed(blob(1), Fault.TERMINAL, 0)
    queue.want(wish(2))
    for number in range(1, WRONG_TRIES_MAX + 1):
        now += BACK_OFF_MS[-1]
        assert started(queue, now) == [2]
        assert queue.failed(blob(2), Fault.WRONG, now) is (number == WRONG_TRIES_MAX)
    queue.open_all()
    assert started(queue, now) == []
    queue.release(blob(1))
    assert started(queue, now) == [1]


def test_what_nobody_can_give_is_tried_for_ever() -> None:
    queue, now = TransferQueue(1), 0
    queue.want(wish(1))
    for _ in range(100):
        now += BACK_OFF_MS[-1]
        assert started(queue, now) == [1]
        assert not queue.failed(blob(1), Fault.RETRY, now)


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (TransportError("nobody"), Fault.RETRY),
        (NotAMemberError("no"), Fault.RETRY),
        (BlobMismatchError("wrong"), Fault.WRONG),
        (BlobImpossibleError("never"), Fault.TERMINAL),
        (DiskFullError("full"), Fault.PAUSE_ALL),
    ],
)
def test_errors_say_what_becomes_of_a_blob(error: Exception, fault: Fault) -> None:
    assert fault_of(error) is fault  # type: ignore[arg-type]


def test_something_more_urgent_takes_the_place_of_what_runs() -> None:
    queue = TransferQueue(2)
    queue.want(wish(1, site=1))
    queue.want(wish(2, site=2))
    assert started(queue) == [1, 2]
    queue.want(wish(3, Why.ASKED, site=3))
    assert stopped(queue) == [1]
    assert started(queue) == [3]
    queue.arrived(blob(3))
    assert started(queue) == [1], "what made room goes on"


def test_something_more_urgent_has_the_bytes_of_its_site_to_itself() -> None:
    queue = TransferQueue(4)
    for each in (wish(1), wish(2), wish(3, site=1)):
        queue.want(each)
    assert started(queue) == [1, 2, 3]
    queue.want(wish(4, Why.ASKED))
    step = queue.step(0, lambda *_: True)
    assert [each.file.blob for each in step.start] == [blob(4)]
    assert sorted(step.stop) == [blob(1), blob(2)]
    assert queue.step(0, lambda *_: True) == ([], []), "what stops is told once"
    for each in step.stop:
        queue.stopped(each)
    assert started(queue) == []
    queue.arrived(blob(4))
    assert started(queue) == [1, 2]


def test_a_rule_that_is_a_little_more_urgent_stops_nothing() -> None:
    queue = TransferQueue(1)
    queue.want(wish(1))
    started(queue)
    queue.want(wish(2, more=9))
    assert queue.step(0, lambda *_: True) == ([], [])


def test_nothing_is_begun_while_it_is_paused_and_what_runs_stops() -> None:
    queue = TransferQueue(2)
    queue.want(wish(1))
    queue.want(wish(2))
    assert started(queue) == [1, 2]
    queue.paused = True
    assert sorted(stopped(queue)) == [1, 2]
    assert started(queue) == []
    queue.paused = False
    assert started(queue) == [1, 2]


def test_what_is_held_or_wanted_no_more_stops_and_does_not_begin() -> None:
    queue = TransferQueue(2)
    for number in (1, 2, 3, 4):
        queue.want(wish(number))
    started(queue)
    queue.hold(blob(1))
    queue.keep_only({wish(1).file.blob, wish(3).file.blob})
    queue.want(wish(4))
    queue.hold(blob(3))
    assert sorted(stopped(queue)) == [1, 2]
    assert started(queue) == [4]
    queue.release(blob(1))
    assert started(queue) == [1]
    assert set(queue.wanted) == {blob(1), blob(3), blob(4)}


def test_nobody_is_asked_where_nobody_can_be() -> None:
    queue = TransferQueue(2)
    queue.want(wish(1, site=1))
    queue.want(wish(2, site=2))
    asked: list[PeerId] = []

    def may_ask(_group: GroupId, site: PeerId) -> bool:
        asked.append(site)
        return site[-1] == 2

    assert [each.file.blob for each in queue.step(0, may_ask).start] == [blob(2)]
    assert len(asked) == len(set(asked)), "each is looked for once"


def test_a_hint_shortens_the_wait() -> None:
    queue, now = TransferQueue(1), 0
    queue.want(wish(1))
    for _ in range(6):
        now += BACK_OFF_MS[-1]
        started(queue, now)
        queue.failed(blob(1), Fault.RETRY, now)
    queue.hint(blob(1))
    assert started(queue, now + HINT_PAUSE_MS - 1) == []
    assert started(queue, now + HINT_PAUSE_MS) == [1]


def test_whatever_happens_everything_that_may_arrive_does_and_no_more_runs_than_may() -> None:
    """A thousand histories of failures, holds, changes of mind and pauses; at the end nothing is in the way any more."""
    happened: Counter[str] = Counter()
    for seed in range(1000):
        run(random.Random(seed), happened)
    assert min(happened[each] for each in ("fail", "full", "stop", "hold", "forget", "pause", "arrive", "give up")) > 500, happened


def run(chance: random.Random, happened: Counter[str]) -> None:
    running_max, now = chance.randint(1, 4), 0
    queue = TransferQueue(running_max)
    wanted: dict[BlobId, Wish] = {}
    under_way: set[BlobId] = set()
    held: set[BlobId] = set()
    for turn in range(120):
        is_end = turn >= 60
        now += chance.choice((0, 1, 500, 5_000, 60_000)) if not is_end else BACK_OFF_MS[-1]
        if is_end:
            queue.paused = False
            for each in held:
                queue.release(each)
            held.clear()
        else:
            change(queue, chance, wanted, held, happened)
        step = queue.step(now, lambda *_: True)
        for each in step.stop:
            happened["stop"] += 1
            under_way.remove(each)
            queue.stopped(each)
        for begun in step.start:
            assert begun.file.blob not in under_way | held, "what runs or is held begins"
            assert wanted[begun.file.blob] == begun
            under_way.add(begun.file.blob)
        assert len(under_way) <= running_max
        for each in sorted(under_way):
            end(queue, chance.random() if not is_end else 1.0, (each, now), (under_way, wanted, held), happened)
        assert queue.bytes_wanted == 100 * len(wanted)
    assert not wanted, "something that may arrive never does"


def change(queue: TransferQueue, chance: random.Random, wanted: dict[BlobId, Wish], held: set[BlobId], happened: Counter[str]) -> None:
    match chance.randint(0, 9):
        case 0 | 1 | 2:
            new = wish(chance.randint(1, 12), chance.choice(list(Why)), site=chance.randint(0, 2), recording=chance.randint(0, 3))
            queue.want(new)
            wanted[new.file.blob] = new
        case 3 if wanted:
            gone = chance.choice(sorted(wanted))
            queue.forget(gone)
            del wanted[gone]
            happened["forget"] += 1
        case 4 if wanted:
            each = chance.choice(sorted(wanted))
            (queue.release if each in held else queue.hold)(each)
            held ^= {each}
            happened["hold"] += 1
        case 5:
            queue.paused = not queue.paused
            happened["pause"] += 1


def end(
    queue: TransferQueue, outcome: float, what: tuple[BlobId, int], sets: tuple[set[BlobId], dict[BlobId, Wish], set[BlobId]], happened: Counter[str]
) -> None:
    (each, now), (under_way, wanted, held) = what, sets
    if outcome < 0.5:
        return
    under_way.remove(each)
    if outcome < 0.7:
        fault = Fault.WRONG if outcome < 0.6 else Fault.PAUSE_ALL
        happened["fail" if outcome < 0.6 else "full"] += 1
        if queue.failed(each, fault, now):
            held.add(each)
    elif outcome < 0.75:
        happened["give up"] += 1
        assert queue.failed(each, Fault.TERMINAL, now)
        held.add(each)
    else:
        happened["arrive"] += 1
        queue.arrived(each)
        wanted.pop(each, None)


def test_what_waits_takes_little_memory_however_many_there_are() -> None:
    """Each with texts of its own, as they come from a database: of a hundred thousand there is room beside all else."""
    queue, count = TransferQueue(4), 20_000
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(count):
            queue.want(wish(number, recording=number))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(queue.wanted) == count
    assert (after - before) / count < 700
    assert queue.wanted[blob(7)] == wish(7, recording=7)


def test_a_wish_is_given_as_it_was_put() -> None:
    packed, chance = PackedWishes(), random.Random(3)
    wishes = {}
    for number in range(500):
        made = wish(number % 300, chance.choice(list(Why)), site=chance.randrange(3), more=chance.randrange(-9, 10), recording=chance.randrange(9))
        file = made.file._replace(
            size=chance.randrange(2**44), sha256=chance.randbytes(chance.choice((0, 32))), piece_size=2 ** chance.randrange(20, 23)
        )
        made = made._replace(file=file, reason=chance.choice(("", "rule 1: keep")))
        wishes[file.blob] = made
        assert packed.put(made)
        assert not packed.put(made)
    assert dict(packed) == wishes
    assert [packed.size_of(each) for each in packed] == [each.file.size for each in wishes.values()]
    for each in wishes:
        packed.remove(each)
    assert not packed
    assert not packed._shared, "nor is anything left of what they shared"
