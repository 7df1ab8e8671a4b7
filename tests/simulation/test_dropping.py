"""The real code of drops, proofs and promises in many histories: what is said is lost and late, sites lie, and crash at every step."""

from collections import Counter

from tests.conftest import LONG
from tests.copies_lab import one_history

SEEDS = 20_000 if LONG else 1000
FAULTS = (
    "crash before the release",
    "crash between files",
    "crash before something is remembered",
    "crash after something is remembered",
    "a question is lost",
    "an answer is lost",
    "a word on rounds is lost",
    "a lie",
)


async def test_live_copies_never_fall_below_the_minimum_whatever_is_lost_and_whoever_crashes() -> None:
    faults: Counter[str] = Counter()
    dropped = 0
    for seed in range(SEEDS):
        try:
            found, count = await one_history(seed)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        faults += found
        dropped += count

    print(SEEDS, "seeds", dropped, "dropped", dict(faults))  # noqa: T201
    assert all(faults[each] >= SEEDS // 50 for each in FAULTS), faults
    assert dropped >= SEEDS // 4
