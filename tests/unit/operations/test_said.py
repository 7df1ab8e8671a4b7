"""Annotations in threads: answers below what they answer, and nothing lost."""

import random

from peer.core.identity import EventId, PeerId
from peer.core.views import AnnotationView
from peer.operations.said import in_threads

AUTHOR = PeerId(b"a" * 32)
RECORDING = EventId(b"r" * 32)


def note(number: int, reply_to: int | None = None, hlc: int | None = None) -> AnnotationView:
    """An annotation; it was said in the order of the numbers."""
    answered = None if reply_to is None else EventId(reply_to.to_bytes(32, "big"))
    return AnnotationView(
        EventId(number.to_bytes(32, "big")), RECORDING, AUTHOR, number if hlc is None else hlc, str(number), "", None, None, answered, "", ""
    )


def shape(*annotations: AnnotationView) -> list[tuple[str, int]]:
    return [(each.label, depth) for each, depth in in_threads(annotations)]


def test_answers_stand_below_what_they_answer_by_when_they_were_said() -> None:
    said = [note(1), note(9), note(5, 1), note(3, 1), note(4, 3), note(2, 9)]
    assert shape(*said) == [("1", 0), ("3", 1), ("4", 2), ("5", 1), ("9", 0), ("2", 1)]


def test_an_answer_to_what_is_not_here_stands_on_its_own_with_its_own_answers() -> None:
    assert shape(note(7, 99), note(8, 7), note(1)) == [("7", 0), ("8", 1), ("1", 0)]


def test_a_long_thread_is_no_deep_recursion() -> None:
    said = [note(0), *(note(number, number - 1) for number in range(1, 5000))]
    random.Random(1).shuffle(said)
    assert shape(*said) == [(str(number), number) for number in range(5000)]
