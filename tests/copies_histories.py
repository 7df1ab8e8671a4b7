"""Histories of sites that drop a recording: chance says who does what, and what goes wrong."""

import asyncio
import random
from collections import Counter
from functools import partial

from tests.copies_lab import GROUP, RECORDING, CrashError, Lab, Site


async def one_history(seed: int, *, count_max: int = 5) -> tuple[Counter[str], int]:
    """Sites that drop at random moments, crash and come back. What went wrong how often, and how many dropped. Raises at a loss."""
    chance = random.Random(seed)
    count = chance.randint(2, count_max)
    lab = Lab(seed, count, chance.randint(1, count - 1))
    if chance.random() < 0.3 and lab.min_copies < count - 1:
        lab.sites[-1].lies = True
        lab.sites[-1].bytes.clear()
    for site in lab.sites:
        await site.start()
    lab.check()
    for _ in range(chance.randint(4, 14)):
        await _something(chance.choice(lab.sites))
        for _ in range(chance.choice((1, 5, 40))):
            await asyncio.sleep(0)
    await _quiet(lab)
    return lab.faults, sum(not site.bytes and not site.lies for site in lab.sites)


async def _something(site: Site) -> None:
    if not site.is_up:
        try:
            await site.start()
        except CrashError:
            assert site.process is not None
            site.process.crash()
    elif not site.lies and site.process is not None:
        site.process.spawn(partial(site.process.dropping.drop, GROUP, [RECORDING]))


async def _quiet(lab: Lab) -> None:
    """Nothing goes wrong any more, and everybody is there: then nothing is left half done."""
    lab.faulty = False
    for _ in range(400):
        await asyncio.sleep(0)
    for site in lab.sites:
        if not site.is_up:
            await site.start()
        lab.faults["promises that are left"] += len(site.promises)
    for _ in range(400):
        await asyncio.sleep(0)
    lab.check()
    assert not lab.wrong, lab.wrong[0]
    for site in lab.sites:
        assert site.process is not None
        assert not site.releases, "a release that was begun has no end"
        assert site.lies or not site.bytes or site.is_whole, "half a copy is left"
        assert site.lies or bool(site.bytes) == bool(lab.standing(site.me)), "bytes are left that are released"
        site.process.crash()
        await asyncio.gather(*site.process.tasks, return_exceptions=True)
