"""What becomes of blobs that hardly come, and of those that wait for their places."""

from peer.core.transfer_queue import SLOW_MAX, TransferQueue
from peer.core.wishes import Why
from tests.unit.core.test_transfer_queue import blob, started, wish


def test_what_hardly_comes_keeps_few_places_and_others_go_on_beside_it() -> None:
    """Somebody drips the bytes of very many files: two go on, in places of their own, and the others make room."""
    queue, from_dripper = TransferQueue(4), frozenset({"dripper"})
    for number in range(1, 9):
        queue.want(wish(number))
    assert started(queue) == [1, 2, 3, 4]
    assert queue.is_crowded
    queue.want(wish(20, site=1))
    slow = {blob(number): from_dripper for number in (1, 2, 3, 4)}
    step = queue.step(10, lambda *_: True, slow)
    assert [each.file.blob for each in step.start] == [blob(5), blob(6)], "two do not count"
    assert step.stop == [blob(3), blob(4)], "and the others give way"
    assert not queue.step(11, lambda *_: True, slow).stop, "once"
    for number in (3, 4):
        queue.stopped(blob(number))
    slow = {blob(number): from_dripper for number in (1, 2)}
    assert [each.file.blob for each in queue.step(12, lambda *_: True, slow).start] == [blob(7), blob(8)], "what gave way comes after all others"
    slow = {blob(number): from_dripper for number in (1, 2, 5, 6, 7, 8)}
    assert queue.step(13, lambda *_: True, slow).stop == [blob(5), blob(6), blob(7), blob(8)]
    for number in (5, 6, 7, 8):
        queue.stopped(blob(number))
    slow = {blob(number): from_dripper for number in (1, 2)}
    begun = [each.file.blob for each in queue.step(14, lambda *_: True, slow).start]
    assert begun[0] == blob(20), "what others record comes"
    queue.arrived(blob(20))
    assert queue.running >= {blob(1), blob(2)}, "and they go on"


def test_what_hardly_comes_goes_on_where_nobody_waits_and_has_few_places_in_all() -> None:
    queue = TransferQueue(4)
    for number in range(1, 5):
        queue.want(wish(number, site=number))
    assert started(queue) == [1, 2, 3, 4]
    slow = {blob(number): frozenset({str(number)}) for number in range(1, 5)}
    assert queue.step(1, lambda *_: True, slow) == ([], [])
    for number in range(5, 13):
        queue.want(wish(number, site=number))
    assert len(queue.step(2, lambda *_: True, slow).start) == 4
    slow |= {blob(number): frozenset({str(number)}) for number in range(5, 9)}
    assert queue.step(3, lambda *_: True, slow).stop == [blob(number) for number in range(5, 9)], f"{SLOW_MAX} are enough, whoever gives them"


def test_what_somebody_asked_for_and_hardly_comes_does_not_keep_the_rest_of_its_site_back() -> None:
    queue = TransferQueue(4)
    queue.want(wish(1, Why.ASKED))
    queue.want(wish(2))
    assert started(queue) == [1]
    assert queue.is_crowded
    assert [each.file.blob for each in queue.step(1, lambda *_: True, {blob(1): frozenset("a")}).start] == [blob(2)]
