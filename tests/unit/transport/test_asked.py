"""How long an answer over a link is waited for."""

import asyncio
from collections.abc import Callable

import pytest

from peer.errors import LinkBrokenError, TransportError
from peer.transport import asked
from peer.transport.asked import Asked

TIMEOUT_S = 0.4
DEADLINE_S = 20.0


def nothing(_: int) -> None:
    """Nobody hears it."""


async def test_what_does_not_come_is_given_up_after_a_silence() -> None:
    questions: Asked[bytes] = Asked("bytes")
    with pytest.raises(TransportError, match="the bytes do not come"):
        await asyncio.wait_for(questions.ask(nothing, 0.05), DEADLINE_S)


async def test_who_answers_one_after_the_other_may_take_longer_for_the_last() -> None:
    """As who gives bytes under a limit does."""
    questions: Asked[bytes] = Asked("bytes")
    loop, begun = asyncio.get_running_loop(), asyncio.get_running_loop().time()
    for number in range(1, 7):
        loop.call_later(number * TIMEOUT_S / 3, questions.answered, number, b"%d" % number)
    answers = await asyncio.wait_for(asyncio.gather(*(questions.ask(nothing, TIMEOUT_S) for _ in range(6))), DEADLINE_S)
    assert answers == [b"1", b"2", b"3", b"4", b"5", b"6"]
    assert loop.time() - begun > 1.5 * TIMEOUT_S


async def test_nobody_is_kept_for_ever_by_answers_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked, "ANSWER_TIMEOUTS", 3)
    questions: Asked[bytes] = Asked("bytes")
    dripping = asyncio.create_task(_drip(lambda: questions.answered(0, b"")))
    with pytest.raises(TransportError):
        await asyncio.wait_for(questions.ask(nothing, 0.05), DEADLINE_S)
    dripping.cancel()
    await asyncio.gather(dripping, return_exceptions=True)


async def _drip(answer: Callable[[], None]) -> None:
    while True:
        answer()
        await asyncio.sleep(0.005)


async def test_with_the_link_all_questions_end() -> None:
    questions: Asked[bytes] = Asked("bytes")
    waiting = asyncio.create_task(questions.ask(nothing, DEADLINE_S))
    await asyncio.sleep(0)
    questions.broken()
    with pytest.raises(LinkBrokenError):
        await waiting
