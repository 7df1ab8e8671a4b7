"""Planted bugs of the kind that an attack would use: what a member signs, or says, must be caught where it does harm."""

from collections import Counter
from pathlib import Path

import pytest

from peer.core.certificate import Certificate
from peer.errors import StoreError
from peer.store import placing
from tests.mutants.planting import Mutant, assert_caught, change, name_of
from tests.property.test_wild_runs import follow
from tests.unit.core.test_certificate import test_a_key_that_is_certified_twice_is_the_key_of_two_logs as certified_twice


def follow_an_event_of_another_log(patch: pytest.MonkeyPatch) -> None:
    """Whatever is held under the id that an event names as the one before it is taken for it."""
    change(patch, placing._place_by_search, ("if place.branch in own", "if own"))


def name_a_log_by_its_key(patch: pytest.MonkeyPatch) -> None:
    """Two certificates of one key are one log: whose it is depends on who saw which first."""
    patch.setattr(Certificate, "log", property(lambda self: self.key))


async def wild_runs(_folder: Path) -> None:
    """Some histories of runs that name anything as what comes before them."""
    for seed in range(8):
        await follow(seed, Counter())


MUTANTS = (
    Mutant(follow_an_event_of_another_log, wild_runs, shows=(RuntimeError, StoreError)),
    Mutant(name_a_log_by_its_key, lambda _: certified_twice()),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_it_is_caught(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await assert_caught(mutant, tmp_path, monkeypatch)
