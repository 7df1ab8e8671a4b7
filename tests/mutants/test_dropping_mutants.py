"""The rules of who may drop, with bugs planted: going through all interleavings, or many seeds, must find each."""

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType

import pytest

from peer.core import dropping
from peer.core.dropping import Keeping, Promise
from peer.core.identity import PeerId
from peer.operations import custody
from peer.operations.custody import Custody
from peer.operations.dropping import Dropping
from tests.copies_histories import one_history
from tests.copies_lab import BYTES
from tests.dropping_world import World, world
from tests.mutants.planting import change
from tests.unit.core.test_dropping import explore, wander

SEEDS_MAX = 400


def planted(**functions: Callable[..., object]) -> ModuleType:
    """The rules, with some of them replaced."""
    rules = ModuleType("planted")
    rules.__dict__.update({**vars(dropping), **functions})
    return rules


def promise_in_a_round(keeping: Keeping, peer: PeerId, round_id: bytes) -> Keeping:
    return replace(keeping, promises=keeping.promises | {Promise(peer, round_id)})


def one_proof_too_few(keeping: Keeping, is_member: Callable[[PeerId], bool]) -> bool:
    its = keeping.round
    return its is not None and sum(map(is_member, its.proven)) >= its.needed - 1


MUTANTS: dict[str, ModuleType] = {
    "who drops proves all the same": planted(promise=promise_in_a_round),
    "one proof too few": planted(may_release=one_proof_too_few, release=lambda keeping, _: replace(keeping, round=_released(keeping))),
}


def _released(keeping: Keeping) -> dropping.Round:
    assert keeping.round is not None
    return replace(keeping.round, is_released=True)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_going_through_all_interleavings_finds_the_bug(mutant: str) -> None:
    with pytest.raises(AssertionError, match="copies are left"):
        explore(world(3, 2, 2), MUTANTS[mutant])


def _wander_all(rules: ModuleType) -> None:
    for seed in range(SEEDS_MAX):
        wander(seed, rules)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_random_histories_find_the_bug(mutant: str) -> None:
    with pytest.raises(AssertionError, match="copies are left"):
        _wander_all(MUTANTS[mutant])


def test_a_liar_who_is_believed_costs_a_copy() -> None:
    """The world with a wrong proof that is taken for a right one: the last site only says that it holds it."""
    start: World = world(3, 1, 2, liars=1)
    believed = replace(start, liars=frozenset(), sites=(*start.sites[:2], replace(start.sites[2], holds=True)))

    assert start.copies() == 2
    assert believed.copies() == 3
    assert explore(start)[2] == 0, "with a liar among three nobody may drop"
    assert explore(believed)[2] == 1


def count_whoever_answers(patch: pytest.MonkeyPatch) -> None:
    change(patch, Dropping._ask_one, ('return "" if list(proofs) == list(expected) else FALSE', 'return ""'))


def drop_with_one_proof_too_few(patch: pytest.MonkeyPatch) -> None:
    change(patch, dropping.may_release, (">= its.needed", ">= its.needed - 1"))


def prove_while_dropping(patch: pytest.MonkeyPatch) -> None:
    change(patch, dropping.promise, ("keeping.round is not None", "False"))


def prove_what_is_not_here(patch: pytest.MonkeyPatch) -> None:
    change(patch, Custody._files, ("not files or not all(self._holds(file) for file in files.values())", "not files"))
    change(
        patch,
        custody.read_piece,
        ("data is None or expected is None or len(data) != size or hash_bytes(data) != expected", "False"),
        ("await blobs.read(file.blob, start, size) if size", "BYTES[file.blob][start : start + size] if size"),
    )
    patch.setattr(custody, "BYTES", BYTES, raising=False)


def bytes_go_before_the_release(patch: pytest.MonkeyPatch) -> None:
    change(
        patch,
        Dropping._round,
        ("await self._check_kept(subject)", "await self._check_kept(subject); await self._remove(subject, going)"),
    )


def forget_that_a_release_has_begun(patch: pytest.MonkeyPatch) -> None:
    change(patch, Custody.begin, ("await self._parts.memory.begin_release(subject)", "pass"))


async def _live_through_all() -> None:
    for seed in range(SEEDS_MAX):
        await one_history(seed)


SHELL_MUTANTS = (
    count_whoever_answers,
    drop_with_one_proof_too_few,
    prove_while_dropping,
    prove_what_is_not_here,
    bytes_go_before_the_release,
    forget_that_a_release_has_begun,
)


@pytest.mark.parametrize("plant", SHELL_MUTANTS, ids=lambda plant: plant.__name__)
async def test_histories_of_the_real_code_find_the_bug(plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        await _live_through_all()
