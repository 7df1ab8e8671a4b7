"""`python -m tests.simulation --seeds N` prints what events cost in meshes of several sizes, then runs so many seeds of each kind of history.

`python -m tests.simulation history SEED...` and `storm SEED...` replay seeds.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import NamedTuple

from tests.simulation.checks import BrokenPromiseError
from tests.simulation.scenario import FAULT_KINDS, run_seed
from tests.simulation.sizes import DELAY_MS_MAX, SIZES, Row, measure
from tests.simulation.storm import STORM_KINDS, run_storm
from tests.simulation.world import World

KINDS: dict[str, tuple[Callable[[int], World], tuple[str, ...]]] = {"history": (run_seed, FAULT_KINDS), "storm": (run_storm, STORM_KINDS)}


class Outcome(NamedTuple):
    """How one seed went."""

    seed: int
    faults: Counter[str]
    failure: str | None


def main(arguments: list[str]) -> int:
    """Do what the command line says; 1 if something failed."""
    match arguments:
        case ["--seeds", count]:
            is_least = show_sizes()
            failed = sum(run_seeds(kind, range(int(count))) for kind in KINDS)
            return 1 if failed or not is_least else 0
        case [kind, *seeds] if kind in KINDS and seeds:
            return 1 if run_seeds(kind, map(int, seeds)) else 0
        case _:
            print(__doc__)  # noqa: T201
            return 2


def show_sizes() -> bool:
    """The table of sizes; False if some event cost more than it must."""
    heads = f"{'peers':>5} {'copies of an event':>18} {'slowest, ms':>11} {'first said on a link':>20} {'links each':>15} {'took':>6}"
    print(f"{heads}   frames take up to {DELAY_MS_MAX} ms")  # noqa: T201
    rows = [_show(measure(count)) for count in SIZES]
    return all(row.is_least for row in rows)


def _show(row: Row) -> Row:
    copies = ", ".join(f"{copies}" if row.is_least else f"{copies} ({events} events)" for copies, events in sorted(row.copies.items()))
    links = f"{row.links_min} / {row.links_mean:.1f} / {row.links_max}"
    print(f"{row.peers:>5} {copies:>18} {row.slowest_ms:>11} {row.frontier_bytes:>12} bytes {links:>17} {row.real_s:>4.0f} s", flush=True)  # noqa: T201
    return row


def run_seeds(kind: str, seeds: Iterable[int]) -> int:
    """Run seeds on all processors, and print faults by kind; how many failed."""
    faults: Counter[str] = Counter()
    count = failed = 0
    with ProcessPoolExecutor() as processors:
        for outcome in processors.map(partial(_run, kind), seeds, chunksize=4):
            count += 1
            faults.update(outcome.faults)
            if outcome.failure is not None:
                failed += 1
                print(f"FAILED {outcome.failure}\n  replay: python -m tests.simulation {kind} {outcome.seed}", flush=True)  # noqa: T201
    shown = ", ".join(f"{each} {faults[each]}" for each in KINDS[kind][1])
    print(f"{kind}: {count} seeds, {failed} failed; faults: {shown}", flush=True)  # noqa: T201
    return failed


def _run(kind: str, seed: int) -> Outcome:
    try:
        return Outcome(seed, KINDS[kind][0](seed).faults, None)
    except BrokenPromiseError as error:
        return Outcome(seed, Counter(), str(error))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
