"""Copies stay as many as wanted: all interleavings of two sites that drop at once, and many seeds of more with crashes and losses."""

import os
import random
from collections import Counter
from types import ModuleType

import pytest

from peer.core import dropping
from peer.core.dropping import NOTHING, begin, end, ended, goes_on, may_release, promise, proved, release
from peer.core.identity import PeerId
from peer.errors import CopyPromisedError, CopyReleasingError
from tests.dropping_world import World, steps, world

ONE, TWO, THREE = PeerId(b"1" * 32), PeerId(b"2" * 32), PeerId(b"3" * 32)
FIRST, SECOND = b"a" * 32, b"b" * 32
IS_LONG = bool(os.environ.get("RECMESH_TEST_LONG"))
SEEDS = 20_000 if IS_LONG else 1000
SITES_MAX = 7 if IS_LONG else 5
STEPS_MAX = 250 if IS_LONG else 80
CRASHES = 2 if IS_LONG else 1


def everybody(_: PeerId) -> bool:
    return True


def test_who_promised_does_not_begin_until_the_round_it_was_for_has_ended() -> None:
    bound = promise(NOTHING, ONE, FIRST)

    with pytest.raises(CopyPromisedError):
        begin(bound, SECOND, 1)
    assert ended(bound, TWO, FIRST) == bound == ended(bound, ONE, SECOND)
    assert begin(ended(bound, ONE, FIRST), SECOND, 1).round is not None
    assert begin(ended(bound, ONE), SECOND, 1).round is not None


def test_who_drops_promises_nothing_until_it_has_given_up() -> None:
    dropper = begin(NOTHING, FIRST, 1)

    with pytest.raises(CopyReleasingError):
        promise(dropper, ONE, SECOND)
    with pytest.raises(CopyReleasingError):
        begin(dropper, SECOND, 1)
    assert promise(end(dropper), ONE, SECOND).promises


def test_the_end_of_an_older_round_does_not_end_what_was_promised_for_a_newer_one() -> None:
    bound = promise(promise(NOTHING, ONE, FIRST), ONE, SECOND)

    assert len(bound.promises) == 1
    assert ended(bound, ONE, FIRST) == bound
    assert ended(bound, ONE, SECOND) == NOTHING


def test_proofs_count_once_for_each_site_that_is_a_member_and_for_their_own_round_only() -> None:
    dropper = begin(NOTHING, FIRST, 2)
    dropper = proved(proved(dropper, FIRST, ONE), FIRST, ONE)

    assert not may_release(dropper, everybody)
    assert proved(dropper, SECOND, TWO) == dropper
    assert proved(NOTHING, FIRST, TWO) == NOTHING
    enough = proved(dropper, FIRST, TWO)
    assert may_release(enough, everybody)
    assert not may_release(enough, lambda peer: peer != TWO)


def test_nobody_releases_without_enough_proofs_and_one_other_copy_is_the_least() -> None:
    assert not may_release(begin(NOTHING, FIRST, 0), everybody)
    with pytest.raises(AssertionError):
        release(begin(NOTHING, FIRST, 0), everybody)


def test_a_round_goes_on_until_it_ends_and_not_after_a_restart() -> None:
    dropper = begin(NOTHING, FIRST, 1)

    assert goes_on(dropper, FIRST)
    assert not goes_on(dropper, SECOND)
    assert not goes_on(end(dropper), FIRST)
    assert not goes_on(dropping.after_restart(dropper), FIRST)
    bound = promise(NOTHING, THREE, FIRST)
    assert dropping.after_restart(bound) == bound


def explore(start: World, rules: ModuleType = dropping, *, rounds_max: int = 1, crashes_max: int = 0) -> tuple[int, Counter[str], int]:
    """All states that can be reached: how many, how often each step was taken, and how many sites dropped at most. Raises at a loss."""
    seen, todo = {start}, [start]
    taken: Counter[str] = Counter()
    dropped = 0
    while todo:
        state = todo.pop()
        for step, after in steps(state, rounds_max=rounds_max, crashes_max=crashes_max, rules=rules, lossy=False):
            taken[step] += 1
            assert after.copies() >= start.min_copies, f"{step}: {after.copies()} copies are left"
            if after not in seen:
                seen.add(after)
                todo.append(after)
                dropped = max(dropped, sum(site.released for site in after.sites))
    return len(seen), taken, dropped


def test_in_all_interleavings_of_two_that_drop_at_once_at_most_one_does() -> None:
    states, taken, dropped = explore(world(3, 2, 2))

    print(states, dict(taken))  # noqa: T201
    assert dropped == 1
    assert min(taken[step] for step in ("begin", "release", "give up", "bytes go", "prove", "promise", "refuse", "hear a proof")) > 0
    assert states > 1000


def test_in_all_interleavings_of_two_with_crashes_at_most_one_does() -> None:
    states, taken, dropped = explore(world(3, 2, 2), crashes_max=CRASHES)

    print(states, dict(taken))  # noqa: T201
    assert dropped == 1
    assert taken["crash"] > 0
    assert taken["bytes go after a crash"] > 0


def wander(seed: int, rules: ModuleType = dropping) -> tuple[Counter[str], World]:
    """One history of up to seven sites. Raises at a loss."""
    chance = random.Random(seed)
    count = chance.randint(2, SITES_MAX)
    min_copies = chance.randint(1, max(1, count - 1))
    liars = chance.randint(0, max(0, count - min_copies)) if chance.random() < 0.4 else 0
    state = world(count, count - liars, min_copies, liars)
    taken: Counter[str] = Counter()
    for _ in range(STEPS_MAX):
        possible: dict[str, list[World]] = {}
        for step, after in steps(state, rounds_max=3, crashes_max=4, rules=rules):
            possible.setdefault(step, []).append(after)
        rare = {"crash": 0.5 if "bytes go" in possible else 0.05, "lose": 0.1, "give up": 0.1}
        choices = [step for step in possible if chance.random() < rare.get(step, 1)]
        if not choices:
            choices = list(possible)
        if not choices:
            break
        step = chance.choice(choices)
        state = chance.choice(possible[step])
        taken[step] += 1
        assert state.copies() >= min_copies, f"seed {seed}, {step}: {state.copies()} copies are left of {min_copies} wanted"
    return taken, state


def test_live_copies_never_fall_below_the_minimum_in_many_histories_with_crashes() -> None:
    total: Counter[str] = Counter()
    dropped = 0
    for seed in range(SEEDS):
        taken, state = wander(seed)
        total += taken
        dropped += sum(site.released for site in state.sites)

    print(SEEDS, "seeds", dropped, "dropped", dict(total))  # noqa: T201
    for step in (
        "crash",
        "bytes go after a crash",
        "lose",
        "refuse",
        "promise",
        "lie",
        "hear a lie",
        "give up",
        "ask after a round",
        "see a release",
    ):
        assert total[step] >= SEEDS // 50, step
    assert dropped >= SEEDS // 4


def test_after_both_gave_up_a_later_retry_of_one_succeeds() -> None:
    bound = promise(promise(NOTHING, ONE, FIRST), TWO, SECOND)
    one, two = begin(NOTHING, FIRST, 2), begin(NOTHING, SECOND, 2)
    one, two = proved(one, FIRST, THREE), proved(two, SECOND, THREE)
    assert not may_release(one, everybody)
    assert not may_release(two, everybody)

    two, bound = end(two), ended(ended(bound, TWO, SECOND), ONE, FIRST)
    one = begin(end(one), SECOND, 2)
    two, bound = promise(two, ONE, SECOND), promise(bound, ONE, SECOND)
    one = proved(proved(one, SECOND, TWO), SECOND, THREE)

    assert may_release(one, everybody)
    assert two.promises
    assert bound.promises
