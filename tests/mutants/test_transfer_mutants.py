"""Planted bugs in what is fetched when, and how fast. Each must be caught by the test of that promise."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from peer.core import bandwidth, transfer_queue
from peer.core.bandwidth import Allotment, Timetable, read_timetable
from peer.core.transfer_queue import TransferQueue
from peer.operations.fetching import Fetching
from peer.operations.transfers import Transfers
from peer.transport.bandwidth import Bandwidth, Pacing
from peer.transport.outgoing import Outgoing
from tests.integration import test_transfers as deciding
from tests.mutants.planting import Check, Mutant, assert_caught, change, name_of
from tests.unit.core import test_bandwidth as limits
from tests.unit.core import test_slow_transfers as slowly
from tests.unit.core import test_transfer_queue as queueing
from tests.unit.operations import test_fetching as fetching
from tests.unit.transport import test_bandwidth as pacing
from tests.unit.transport import test_outgoing as sending


def count_each_of_those_that_fail_together(patch: pytest.MonkeyPatch) -> None:
    """Four that were begun at once and fail are four failures in a row."""
    change(patch, transfer_queue._Gate.close, ("if started_ms < self.closed_ms:", "if False:"))


def back_off_for_ever_longer(patch: pytest.MonkeyPatch) -> None:
    """A success does not begin it anew."""
    change(patch, TransferQueue.arrived, ("self._gates.pop(running.lane, None)", "pass"))


def let_a_lane_wait_with_another(patch: pytest.MonkeyPatch) -> None:
    """What nobody has holds up what is there."""
    patch.setattr(transfer_queue, "_lane", lambda wish: transfer_queue.Lane(wish.file.group, wish.file.site, transfer_queue.Why.POLICY))


def forget_whose_turn_it_is(patch: pytest.MonkeyPatch) -> None:
    """The last one that failed is tried again before those that did not."""
    change(patch, TransferQueue._place, ("self._failures.get(blob, 0), -wish", "0, -wish"))


def begin_what_is_held(patch: pytest.MonkeyPatch) -> None:
    """What a person holds back comes back with the next look."""
    change(patch, TransferQueue._place, ("if blob in self._running or blob in self._held:", "if blob in self._running:"))


def make_room_for_nobody(patch: pytest.MonkeyPatch) -> None:
    """What runs stays, whoever waits."""
    change(patch, TransferQueue._least_urgent, ("return [found] if is_less and not self._stopping else []", "return []"))


def share_the_way_with_a_backlog(patch: pytest.MonkeyPatch) -> None:
    """What comes by itself runs beside what somebody waits for."""
    change(patch, TransferQueue.step, ("stop += self._beside(lane)", "pass"))


def let_all_places_be_held_by_what_hardly_comes(patch: pytest.MonkeyPatch) -> None:
    """Whoever drips the bytes of some files holds up all others."""
    change(patch, TransferQueue.step, ("stop += giving_way or self._least_urgent(entry)", "stop += self._least_urgent(entry)"))


def let_one_source_have_all_slow_places(patch: pytest.MonkeyPatch) -> None:
    """However many of these files come from one peer."""
    change(patch, TransferQueue._slow_ones, ("of_source.update(sources)", "pass"))


def try_the_impossible(patch: pytest.MonkeyPatch) -> None:
    """Nothing is ever given up."""
    change(patch, TransferQueue.failed, ("if fault is Fault.TERMINAL or", "if fault is None or"))


def give_up_in_memory(patch: pytest.MonkeyPatch) -> None:
    """After a restart all dead letters are tried again."""
    change(patch, Fetching.hold, ("await self.kept.hold(held)", "pass"))


def believe_a_liar_for_good(patch: pytest.MonkeyPatch) -> None:
    """What came wrong from all who could be asked stays given up when somebody else can be."""
    change(patch, Fetching.links_changed, ("self._is_link_new = True", "pass"))


def pause_in_memory(patch: pytest.MonkeyPatch) -> None:
    """A restart ends a pause."""
    change(patch, Fetching.pause, ('await self.kept.set(PAUSED_SETTING, "1")', "pass"))


def limit_in_memory(patch: pytest.MonkeyPatch) -> None:
    """A restart takes limits away."""
    change(
        patch, Transfers.limit, ('await self._fetching.kept.set(LIMIT_SETTING if peer is None else f"{LIMIT_SETTING}:{peer.hex()}", text)', "pass")
    )


def keep_what_was_cancelled(patch: pytest.MonkeyPatch) -> None:
    """What came so far stays on the disk."""
    change(patch, Fetching._ended, ("self._around.discard(blob)", "pass"))


def let_everybody_through_at_once(patch: pytest.MonkeyPatch) -> None:
    """Each stream has the whole rate."""
    change(patch, bandwidth._Meter.pay, ("size * NS_PER_S // self.rate", "0"))


def make_up_for_any_pause(patch: pytest.MonkeyPatch) -> None:
    """What was not used for an hour comes at once afterwards."""
    change(patch, bandwidth._Meter.pay, ("max(self._open_ns, now_ns - CATCH_UP_NS)", "self._open_ns"))


def serve_who_came_first(patch: pytest.MonkeyPatch) -> None:
    """Urgency does not count where speed is limited."""
    change(patch, Allotment.ask, ("Ask(-urgency,", "Ask(0,"))


def end_limits_at_midnight(patch: pytest.MonkeyPatch) -> None:
    """Before the first time of a week nothing is limited."""
    change(patch, Timetable.at, ("self.entries[-1][1])", "NO_LIMIT)"))


def ask_for_all_at_once(patch: pytest.MonkeyPatch) -> None:
    """Nobody waits for the limits before asking."""
    change(patch, Pacing.read, ("end = start + await self.bandwidth.take(Way.DOWN, peer, stop - start, self.urgency)", "end = stop"))


def queue_events_behind_parts(patch: pytest.MonkeyPatch) -> None:
    """First come, first sent."""
    change(patch, Outgoing.put, ("(self._last if may_wait else self._frames)", "self._frames"))


def called(test: Callable[[], Awaitable[None] | None]) -> Check:
    """A test that needs nothing."""
    return lambda _: test()


def fetched(test: Callable[[fetching.Scene], Awaitable[None]]) -> Check:
    """A test of fetching; what is too late is noticed soon."""

    async def check(folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fetching, "PATIENCE_S", 3.0)
            await test(fetching.Scene(folder))

    return check


def decided(test: Callable[[deciding.Scene], Awaitable[None]]) -> Check:
    """A test of two peers."""

    async def check(folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        async with deciding.made_scene(folder) as scene:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(deciding, "PATIENCE_S", 5.0)
                await test(scene)

    return check


async def paced(_: Path) -> None:
    """A read under a limit."""
    bandwidth = Bandwidth()
    bandwidth.set(read_timetable("1M"), {})
    await pacing.test_a_read_asks_for_no_more_than_may_come_and_takes_as_long_as_the_limit_says(bandwidth)


LATE = (AssertionError, TimeoutError)
MUTANTS = (
    Mutant(count_each_of_those_that_fail_together, called(queueing.test_what_was_begun_together_and_fails_together_is_one_failure)),
    Mutant(back_off_for_ever_longer, called(queueing.test_a_lane_waits_longer_after_each_failure_and_one_success_begins_anew)),
    Mutant(let_a_lane_wait_with_another, called(queueing.test_other_sites_and_other_reasons_do_not_wait_with_a_lane)),
    Mutant(forget_whose_turn_it_is, called(queueing.test_a_lane_waits_longer_after_each_failure_and_one_success_begins_anew)),
    Mutant(begin_what_is_held, called(queueing.test_what_is_held_or_wanted_no_more_stops_and_does_not_begin)),
    Mutant(make_room_for_nobody, called(queueing.test_something_more_urgent_takes_the_place_of_what_runs)),
    Mutant(share_the_way_with_a_backlog, called(queueing.test_something_more_urgent_has_the_bytes_of_its_site_to_itself)),
    Mutant(let_all_places_be_held_by_what_hardly_comes, called(slowly.test_what_hardly_comes_keeps_few_places_and_others_go_on_beside_it)),
    Mutant(let_one_source_have_all_slow_places, called(slowly.test_what_hardly_comes_keeps_few_places_and_others_go_on_beside_it)),
    Mutant(try_the_impossible, called(queueing.test_what_can_never_arrive_is_given_up_at_once_and_what_comes_wrong_after_some_tries)),
    Mutant(give_up_in_memory, fetched(fetching.test_what_is_given_up_is_told_kept_on_disk_and_tried_again_when_somebody_says_so)),
    Mutant(believe_a_liar_for_good, fetched(fetching.test_a_liar_alone_makes_nobody_give_up_for_good), LATE),
    Mutant(keep_what_was_cancelled, fetched(fetching.test_what_is_wanted_no_more_stops_and_what_is_cancelled_leaves_nothing), LATE),
    Mutant(pause_in_memory, decided(deciding.test_a_pause_holds_over_a_restart_and_what_goes_on_brings_the_rest_once), LATE),
    Mutant(limit_in_memory, decided(deciding.test_limits_are_kept_shown_and_taken_away)),
    Mutant(
        let_everybody_through_at_once,
        lambda _: limits.test_what_is_let_through_is_the_rate_whatever_is_asked_for_and_however_late_timers_are(500_000),
    ),
    Mutant(make_up_for_any_pause, lambda _: limits.test_what_is_let_through_is_the_rate_whatever_is_asked_for_and_however_late_timers_are(500_000)),
    Mutant(serve_who_came_first, called(limits.test_the_more_urgent_passes_first_and_equals_take_turns)),
    Mutant(end_limits_at_midnight, called(limits.test_a_limit_holds_from_its_time_on_until_the_next_on_its_day_and_over_midnight)),
    Mutant(ask_for_all_at_once, paced),
    Mutant(queue_events_behind_parts, called(sending.test_bytes_of_recordings_wait_for_everything_else_and_all_keeps_its_order)),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_a_planted_bug_is_caught(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await assert_caught(mutant, tmp_path, monkeypatch)
