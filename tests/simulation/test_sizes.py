"""What events cost in meshes of several sizes, counted at the links, and what becomes of a source that says nothing."""

import pytest

from peer.core.certificate import LogKind
from peer.core.run import Draft
from peer.sync import limits
from peer.sync.overlay import LINKS_MAX, LINKS_MIN, SMALL_GROUP_MAX
from tests.simulation.byzantine import Byzantine
from tests.simulation.shell import TICK_MS
from tests.simulation.sizes import measure
from tests.simulation.world import World


@pytest.mark.parametrize("count", [10, 100])
def test_in_the_steady_state_every_event_reaches_every_peer_once(count: int) -> None:
    """N - 1 copies of each, over four to six links of each peer. `make simulate` has 1000 peers as well."""
    check_size(count)


def check_size(count: int, events: int = 40) -> None:
    """A mesh of so many peers is what it should be."""
    row = measure(count, events=events)

    assert row.copies == {count - 1: events}
    assert row.slowest_ms < limits.SOURCE_SILENT_MS
    if count > SMALL_GROUP_MAX:
        assert row.links_min >= LINKS_MIN
        assert row.links_max <= LINKS_MAX


@pytest.mark.parametrize("count", [1, 3])
def test_a_source_that_tells_of_events_and_sends_none_is_replaced(count: int) -> None:
    """After three seconds, by one that was not asked before: several such do not take turns among themselves."""
    check_silent_sources(count)


def check_silent_sources(count: int) -> None:
    """`d` hears of what `a` writes from the silent ones first. The other way is slower, but it is one."""
    silent = tuple(f"x{number}" for number in range(count))
    world = World(3, names=("a", *silent, "c", "d"), delay_ms_max=10, kinds=dict.fromkeys(silent, Byzantine))
    a, *relays, d = world.peers
    for relay in relays:
        world.connect(a, relay)
        world.connect(d, relay)
        if isinstance(relay, Byzantine):
            relay.withholds = False
    world.start()
    world.run(20_000)
    assert world.converged()
    for relay in relays:
        if isinstance(relay, Byzantine):
            relay.withholds = True
    relays[-1].latency_ms = 200
    world.checks.slowest_ms = 0
    a.write(world.group, LogKind.DATA, [Draft("test.note", b"\xa0")])

    assert world.run(60_000, until=world.converged)

    assert world.faults["withheld_runs"] > 0
    assert limits.SOURCE_SILENT_MS <= world.checks.slowest_ms <= count * (limits.SOURCE_SILENT_MS + 2 * TICK_MS)
