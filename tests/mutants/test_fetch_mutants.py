"""Planted bugs in whom a blob is asked of, and in how its pieces become a file again."""

from pathlib import Path

import pytest

from peer.blobs.partial import PartialFile
from peer.blobs.plan import FetchPlan
from peer.blobs.store import FileBlobStore
from peer.errors import BlobImpossibleError
from tests.blob_site import serving, write_file
from tests.integration import test_blob_transfer as transfers
from tests.mutants.planting import Check, Mutant, assert_caught, change, name_of
from tests.simulation import test_planner as planner
from tests.unit.blobs import test_partial as partial
from tests.unit.blobs import test_plan as plan


def ask_a_liar_for_more(patch: pytest.MonkeyPatch) -> None:
    """Who sent a wrong piece is asked for the next one."""
    change(patch, FetchPlan.lied, ("provider.ways.clear()", "pass"))


def ask_a_liar_in_another_way(patch: pytest.MonkeyPatch) -> None:
    """Only the way in which it lied is left."""
    change(patch, FetchPlan.lied, ("provider.ways.clear()", "provider.ways = provider.ways[1:]"))


def wait_for_who_is_slow(patch: pytest.MonkeyPatch) -> None:
    """What somebody was asked for is asked of nobody else."""
    patch.setattr(FetchPlan, "_doubled", lambda *_arguments: None)


def ask_at_once_for_what_is_coming(patch: pytest.MonkeyPatch) -> None:
    """Whoever has nothing to do is asked for what another one was asked for a moment ago."""
    change(patch, FetchPlan._doubled, (" or now_ms - running.began_ms < DOUBLE_AFTER_MS", ""))


def take_half_from_the_fastest(patch: pytest.MonkeyPatch) -> None:
    """Shares are halves, however slow one of the two is."""
    change(patch, FetchPlan._stolen, ("thief.rate / (thief.rate + victim.rate) if", "0.5 if"))


def forget_what_did_not_come(patch: pytest.MonkeyPatch) -> None:
    """What a request did not bring is asked for no more."""
    change(patch, FetchPlan.ended, ("self._free += _as_ranges(left)", "pass"))


def ask_those_who_ask_others(patch: pytest.MonkeyPatch) -> None:
    """Members that do not have the bytes get them from those who do, to pass them on."""
    change(patch, FetchPlan._live, ("[provider for provider in live if not provider.asks_others] or live", "live"))


def begin_all_at_the_front(patch: pytest.MonkeyPatch) -> None:
    """There are no slices."""
    patch.setattr(FetchPlan, "_cut_slices", lambda _: None)


def bear_with_who_gives_nothing(patch: pytest.MonkeyPatch) -> None:
    """Four members that give a byte now and then keep all others from being asked."""
    patch.setattr(FetchPlan, "too_slow", lambda *_arguments, **_options: [])


def hash_the_whole_as_pieces_come(patch: pytest.MonkeyPatch) -> None:
    """In whatever order."""
    change(patch, PartialFile.take, ("self._hashed == start", "True"))


def write_a_piece_twice(patch: pytest.MonkeyPatch) -> None:
    """A piece that two peers bring is written, and hashed, again."""
    change(patch, PartialFile.take, ("if self._held[piece]:", "if False:"))


async def corrupt_source(folder: Path) -> None:
    """Pieces come from two, one of which is corrupt at its end."""
    async with serving(folder / "served") as site:
        facts = await site.add(write_file(folder / "source", transfers.SIZE))
        store = FileBlobStore(folder / "blobs")
        try:
            await transfers.test_a_corrupt_source_is_left_for_a_good_one(folder, site, facts, store, transfers.SIZE - 1)
        finally:
            store.close()


def twice(folder: Path) -> None:
    """A piece comes twice."""
    file = partial.opened(folder / "partial")
    try:
        partial.test_what_comes_twice_is_not_written_again(file)
    finally:
        file.close()


def unit(test: object) -> Check:
    """A test that needs no folder."""
    return lambda _folder: test()  # type: ignore[operator,no-any-return]


MUTANTS = (
    Mutant(ask_a_liar_for_more, unit(plan.test_who_lied_is_asked_for_nothing_more_in_no_way)),
    Mutant(ask_a_liar_in_another_way, unit(plan.test_who_lied_is_asked_for_nothing_more_in_no_way)),
    Mutant(wait_for_who_is_slow, unit(plan.test_a_slow_request_is_not_waited_for_and_who_is_first_counts)),
    Mutant(ask_at_once_for_what_is_coming, unit(plan.test_a_slow_request_is_not_waited_for_and_who_is_first_counts)),
    Mutant(take_half_from_the_fastest, unit(plan.test_who_is_through_takes_from_what_the_slowest_has_before_it)),
    Mutant(forget_what_did_not_come, unit(planner.test_a_fetch_ends_if_somebody_honest_is_there_and_never_otherwise_hangs)),
    Mutant(ask_those_who_ask_others, unit(plan.test_who_may_only_get_it_from_others_is_asked_when_nobody_else_is_left)),
    Mutant(begin_all_at_the_front, unit(plan.test_each_peer_begins_with_a_slice_of_its_own_and_with_little)),
    Mutant(bear_with_who_gives_nothing, unit(planner.test_members_that_give_next_to_nothing_keep_nobody_from_being_asked)),
    Mutant(hash_the_whole_as_pieces_come, corrupt_source, (BlobImpossibleError,)),
    Mutant(write_a_piece_twice, twice),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_fetches_are_checked_for(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check passes without the bug and fails with it."""
    await assert_caught(mutant, tmp_path, monkeypatch)
