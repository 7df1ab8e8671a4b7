"""The real code of drops, proofs and promises in many histories: what is said is lost and late, sites lie, and crash at every step."""

from collections import Counter

from tests.conftest import LONG
from tests.copies_lab import BYTES, GROUP, RECORDING, SUBJECT, CrashError, Lab, one_history

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


async def test_a_release_of_an_earlier_round_carries_out_no_later_one_that_was_refused() -> None:
    """The copy was dropped, fetched again, and that is not said yet; nobody is there to prove anything, and then the process dies."""
    lab = Lab(1, 2, 1, faulty=False)
    lab.says_late = True
    site, other = lab.sites
    await other.start()
    await site.start()
    assert site.process is not None
    assert (await site.process.dropping.drop(GROUP, [RECORDING]))[RECORDING].error is None
    assert other.process is not None
    await site.process.dropping.lift(*SUBJECT)
    site.bytes.update(BYTES)
    other.process.crash()

    outcomes = set[str]()
    for step in range(1, 6):
        lab.crash_in = step
        try:
            outcome = (await site.process.dropping.drop(GROUP, [RECORDING]))[RECORDING]
            outcomes.add(outcome.error.code if outcome.error else "dropped")
        except CrashError:
            outcomes.add("crash")
        site.process.crash()
        lab.crash_in = 0
        await site.start()
        assert site.is_whole, f"the bytes are gone after a crash at step {step}"
    assert outcomes == {"crash", "too_few_copies"}
