"""Planted bugs in polled links and in the way to them. Each must be caught by a test over real sockets."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from peer.transport import opening
from peer.transport.pinning import Dialled
from peer.transport.poll import Polled, PollRoutes
from peer.transport.poll_client import PollClient
from tests.integration import test_old_proxies, test_poll
from tests.link_lab import Lab
from tests.mutants.planting import Mutant, assert_caught, change, impatient, name_of


def _alone(test: Callable[[], Awaitable[None]]) -> Callable[[Path], Awaitable[None]]:
    """A test that needs nothing."""

    async def check(_folder: Path) -> None:
        await test()

    return check


def _in_a_lab(test: Callable[[Lab], Awaitable[None]]) -> Callable[[Path], Awaitable[None]]:
    """A test with sites."""

    async def check(folder: Path) -> None:
        async with AsyncExitStack() as stack:
            await test(Lab(folder / "sites", stack))

    return check


def take_repeats(patch: pytest.MonkeyPatch) -> None:
    """A request is taken as often as it comes."""
    change(patch, Polled.answer, ("batch.number != self._numbers[kind] + 1", "batch.number > self._numbers[kind] + 1"))


def skip_what_is_missing(patch: pytest.MonkeyPatch) -> None:
    """A request that was lost is not missed."""
    change(patch, Polled.answer, ("batch.number != self._numbers[kind] + 1", "batch.number <= self._numbers[kind]"))


def forget_the_channel(patch: pytest.MonkeyPatch) -> None:
    """An id is good over any channel."""
    change(patch, PollRoutes.poll, (" or polled.channel_key != request[CHANNEL_KEY]", ""))


def keep_the_place(patch: pytest.MonkeyPatch) -> None:
    """A question that waits takes the place of a body."""
    change(patch, PollRoutes.poll, ("request[BODY_PLACE].free", "lambda: None"))


def gather_what_nobody_reads(patch: pytest.MonkeyPatch) -> None:
    """Frames are taken whether or not those before them are read."""
    change(patch, Polled._bring, ("self.is_cut or not self._arrived", "True"))


def drop_what_is_too_large(patch: pytest.MonkeyPatch) -> None:
    """What a proxy refused is not brought again."""
    change(patch, PollClient._bring_less, ("self._put_back(frames)", "pass"))


def put_back_in_reverse(patch: pytest.MonkeyPatch) -> None:
    """What a proxy refused is brought again the wrong way round."""
    change(patch, PollClient._put_back, ("reversed(frames)", "frames"))


def believe_any_answer(patch: pytest.MonkeyPatch) -> None:
    """Nobody compares an answer with its request."""
    change(patch, PollClient._patiently, ("answer.connection != batch.connection or answer.number != batch.number", "False"))


def ask_another_way_after_a_refusal(patch: pytest.MonkeyPatch) -> None:
    """A listener's own refusal is taken for that of a proxy."""
    change(patch, opening._upgraded, (" or code_of(error.headers or {}) is not None", ""))


def take_another_key(patch: pytest.MonkeyPatch) -> None:
    """One handshake is for connections with different keys."""
    change(patch, Dialled.keep_channel_key, ("self._kept_key = self.channel_key", "pass"))


MUTANTS = [
    Mutant(take_repeats, _alone(test_poll.test_a_request_that_is_repeated_is_not_taken_twice_and_ends_the_connection)),
    Mutant(skip_what_is_missing, _alone(lambda: test_poll.test_a_request_that_is_missing_ends_the_connection((b"later",)))),
    Mutant(forget_the_channel, _alone(test_poll.test_an_id_is_good_over_the_channel_that_it_was_given_over)),
    Mutant(keep_the_place, _alone(test_poll.test_questions_that_wait_take_no_places_of_bodies)),
    Mutant(gather_what_nobody_reads, _alone(test_poll.test_a_slow_reader_makes_the_other_side_wait)),
    Mutant(drop_what_is_too_large, _alone(test_poll.test_what_is_too_large_for_a_proxy_arrives_in_order_and_once), (AssertionError, TimeoutError)),
    Mutant(put_back_in_reverse, _alone(test_poll.test_what_is_put_back_leaves_in_order)),
    Mutant(believe_any_answer, _alone(test_poll.test_a_dialler_does_not_believe_another_answer)),
    Mutant(ask_another_way_after_a_refusal, _in_a_lab(test_old_proxies.test_a_refusal_with_a_code_of_ours_is_an_answer)),
    Mutant(take_another_key, test_poll.test_all_connections_of_a_link_show_one_key),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_a_planted_bug_is_caught(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test of polled links fails with the bug, and passes without it."""
    hasty = impatient(impatient(mutant, 5.0, "tests.integration.test_poll.DEADLINE_S"), 8.0, "tests.link_lab.DEADLINE_S")
    await assert_caught(hasty, tmp_path, monkeypatch)
