"""The real code of drops, proofs and promises in many histories: what is said is lost and late, sites lie, and crash at every step."""

import asyncio
from collections import Counter

import pytest

from peer.errors import DiskFullError
from peer.operations import dropping
from tests.conftest import LONG
from tests.copies_histories import one_history
from tests.copies_lab import BYTES, GROUP, RECORDING, SUBJECT, CrashError, Lab
from tests.patience import PATIENCE_S

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
    count_dropped = 0
    for seed in range(SEEDS):
        try:
            found, count = await one_history(seed)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        faults += found
        count_dropped += count

    print(SEEDS, "seeds", count_dropped, "dropped", dict(faults))  # noqa: T201
    assert all(faults[each] >= SEEDS // 50 for each in FAULTS), faults
    assert count_dropped >= SEEDS // 4


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


async def test_what_a_full_disk_did_not_let_go_goes_once_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the round would last until a restart: nothing proven by this site, and others bound by their promises."""
    monkeypatch.setattr(dropping, "REVIEW_S", 0.01)
    lab = Lab(1, 2, 1, faulty=False)
    site, other = lab.sites
    for each in lab.sites:
        await each.start()
    assert site.process is not None
    assert other.process is not None
    site.full = True
    with pytest.raises(DiskFullError):
        await site.process.dropping.drop(GROUP, [RECORDING])
    assert site.is_whole
    assert site.process.custody.is_releasing(SUBJECT)
    assert other.promises

    site.full = False
    site.process.spawn(site.process.dropping.run)

    async with asyncio.timeout(PATIENCE_S):
        while site.bytes or site.releases or other.promises:  # noqa: ASYNC110  (other tasks)
            await asyncio.sleep(0.01)
    assert not site.process.custody.is_releasing(SUBJECT)
    assert other.is_whole
    for each in lab.sites:
        assert each.process is not None
        each.process.crash()
