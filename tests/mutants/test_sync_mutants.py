"""Planted bugs in the sync protocol and around it: the simulator must catch each. One that survives means that a check is missing."""

from collections.abc import Callable

import pytest

import tests.simulation.shell as simulated
import tests.simulation.test_simulation as simulated_tests
from peer.core.event import Event
from peer.core.frontier import Tip, Tips, height
from peer.core.identity import EventId, GroupId, LogId
from peer.core.interfaces import Commit
from peer.core.run import Run
from peer.errors import LogGapError
from peer.sync import limits
from peer.sync.backfill import BackfillSide
from peer.sync.effects import Committed, RunsRead
from peer.sync.grants import Grants
from peer.sync.messages import Unknown
from peer.sync.push import PushSide
from peer.sync.remote import RemoteGroup, RemoteLog
from peer.sync.sources import Sources
from peer.sync.speaking import Speaking
from peer.sync.telling import Telling
from tests.mutants.planting import change
from tests.simulation.checks import BrokenPromiseError
from tests.simulation.memory_store import MemoryStore
from tests.simulation.scenario import run_seed

SEEDS_MAX = 40
"""A planted bug must show within so many histories."""

FORK_SEEDS = range(2, 2 + 5 * SEEDS_MAX, 5)
"""Those in which somebody puts an old disk back."""

GUEST_SEEDS = tuple(seed for seed in range(4 * SEEDS_MAX) if seed % 7 in {1, 3, 5})
"""Those in which somebody is removed, or comes late."""

Plant = Callable[[pytest.MonkeyPatch], None]


def acknowledge_before_durable(patch: pytest.MonkeyPatch) -> None:
    """The writer is answered while its events wait for the commit."""
    append = simulated.Peer.append

    def hasty(self: simulated.Peer, certificate: object, run: Run, done: Callable[[str | None], None]) -> None:
        done(None)
        append(self, certificate, run, lambda _code: None)  # type: ignore[arg-type]

    patch.setattr(simulated.Peer, "append", hasty)


def announce_before_durable(patch: pytest.MonkeyPatch) -> None:
    """Others are told of events that wait for the commit."""
    append = simulated.Peer.append

    def hasty(self: simulated.Peer, certificate: object, run: Run, done: Callable[[str | None], None]) -> None:
        tip = Tip(run.last.height, run.last.id)
        self.feed_all(Committed(Commit(self.world.group, certificate, run, (tip,), 0)))  # type: ignore[arg-type]
        append(self, certificate, run, done)  # type: ignore[arg-type]

    patch.setattr(simulated.Peer, "append", hasty)


def skip_the_signature(patch: pytest.MonkeyPatch) -> None:
    """Runs are taken for signed."""
    patch.setattr("peer.core.run.check_signature", lambda *_arguments: None)


def trust_the_height_without_the_tip(patch: pytest.MonkeyPatch) -> None:
    """Equal heights are taken for equal logs."""

    def by_height(self: BackfillSide, group: GroupId, known: RemoteGroup, log: LogId, entry: RemoteLog, now_ms: int) -> None:
        behind = known.lacking[entry.certificate.kind]
        if height(entry.tips) > height(self._view(group).tips.get(log, ())):
            behind.add(log)
            entry.lacking_since_ms = now_ms
        else:
            behind.discard(log)

    patch.setattr(BackfillSide, "_update_lacking", by_height)


def echo_to_the_sender(patch: pytest.MonkeyPatch) -> None:
    """What somebody sent is not noted as held by them."""
    patch.setattr(PushSide, "received", lambda *_arguments: None)
    patch.setattr(PushSide, "stored", lambda *_arguments: None)


def lose_credit(patch: pytest.MonkeyPatch) -> None:
    """What was stored is not granted again."""
    patch.setattr(Grants, "give_back", lambda *_arguments: None)


def first_fork_branch_wins(patch: pytest.MonkeyPatch) -> None:
    """A second event at a height is refused, whoever came first."""
    check_place = MemoryStore.check_place

    def jealous(self: MemoryStore, held: dict[EventId, Event], first: Event) -> None:
        check_place(self, held, first)
        if any(event.header.seq == first.header.seq for event in held.values()):
            raise LogGapError("there is such an event")

    patch.setattr(MemoryStore, "check_place", jealous)


def forget_the_rest_of_a_page(patch: pytest.MonkeyPatch) -> None:
    """The first page of a log is taken for all of it."""
    runs_read = PushSide.runs_read
    patch.setattr(PushSide, "runs_read", lambda self, fact: runs_read(self, RunsRead(fact.effect, fact.page._replace(complete=True))))


def never_search_for_a_common_position(patch: pytest.MonkeyPatch) -> None:
    """Where they do not know our positions, nothing happens."""

    def ignore(_self: BackfillSide, _message: Unknown) -> None:
        return

    patch.setattr(BackfillSide, "unknown", ignore)


def keep_a_dead_source(patch: pytest.MonkeyPatch) -> None:
    """A link that is gone stays the source of its logs."""
    patch.setattr(Sources, "drop_link", lambda *_arguments: False)
    patch.setattr(limits, "SOURCE_SILENT_MS", 10**9)


def write_on_after_a_lost_write(patch: pytest.MonkeyPatch) -> None:
    """After a crash a log goes on from an event that was never durable."""

    def restart(self: simulated.Peer) -> None:
        self.up = True
        self.start()

    patch.setattr(simulated.Peer, "restart", restart)


def give_up_dialling(patch: pytest.MonkeyPatch) -> None:
    """A few failures are taken for the end."""
    patch.setattr(simulated, "delay_ms", lambda failures, _chance: 500 if failures < 3 else 10**9)


def believe_that_silence_is_life(patch: pytest.MonkeyPatch) -> None:
    """A link that nothing comes over any more is kept for ever."""
    patch.setattr(limits, "PINGS_MISSED_MAX", 10**9)


def drop_a_branch_from_the_frontier(patch: pytest.MonkeyPatch) -> None:
    """Only the highest branch of a log is told to others."""
    entry = Telling._entry

    def highest(self: Telling, certificate: object, tips: Tips) -> object:
        return entry(self, certificate, tips[-1:])  # type: ignore[arg-type]

    patch.setattr(Telling, "_entry", highest)


def serve_data_to_guests(patch: pytest.MonkeyPatch) -> None:
    """Former members are told of data logs, and get them."""
    change(patch, Speaking.hears, ("return access is Access.MEMBER and", "return access > Access.STRANGER and"))


def tell_strangers_what_is_held(patch: pytest.MonkeyPatch) -> None:
    """Whoever names the group hears of its control logs."""
    change(patch, Speaking.hears, ("access > Access.STRANGER", "access >= Access.STRANGER"))


def ask_strangers_from_what_is_held(patch: pytest.MonkeyPatch) -> None:
    """A `want` names our own tips to strangers, too."""
    change(patch, BackfillSide._positions, ("() if self._access(group) is Access.STRANGER else ", ""))


def go_on_sending_to_the_removed(patch: pytest.MonkeyPatch) -> None:
    """What a member asked for goes on flowing after its removal."""
    change(patch, Speaking.committed, (" or not self.hears(group, commit.certificate.kind)", ""))
    patch.setattr(PushSide, "drop_group", lambda *_arguments, **_options: None)


MUTANTS: tuple[Plant, ...] = (
    acknowledge_before_durable,
    announce_before_durable,
    skip_the_signature,
    trust_the_height_without_the_tip,
    echo_to_the_sender,
    lose_credit,
    first_fork_branch_wins,
    forget_the_rest_of_a_page,
    never_search_for_a_common_position,
    keep_a_dead_source,
    write_on_after_a_lost_write,
    give_up_dialling,
    believe_that_silence_is_life,
    drop_a_branch_from_the_frontier,
    serve_data_to_guests,
    tell_strangers_what_is_held,
    ask_strangers_from_what_is_held,
    go_on_sending_to_the_removed,
)

ABOUT_FORKS = (trust_the_height_without_the_tip, first_fork_branch_wins, never_search_for_a_common_position, drop_a_branch_from_the_frontier)

ABOUT_GUESTS = (serve_data_to_guests, tell_strangers_what_is_held, ask_strangers_from_what_is_held, go_on_sending_to_the_removed)


@pytest.mark.parametrize("plant", MUTANTS, ids=lambda plant: plant.__name__)
def test_the_simulator_catches(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some history within the first few breaks a promise."""
    plant(monkeypatch)

    if plant is believe_that_silence_is_life:
        with pytest.raises(BrokenPromiseError):
            simulated_tests.test_a_connection_that_dies_silently_is_noticed_and_replaced()
        return
    seeds = FORK_SEEDS if plant in ABOUT_FORKS else GUEST_SEEDS if plant in ABOUT_GUESTS else range(SEEDS_MAX)
    caught_by = next((seed for seed in seeds if _breaks(seed)), None)

    assert caught_by is not None, f"{plant.__name__} survives {SEEDS_MAX} histories"


def _breaks(seed: int) -> bool:
    try:
        run_seed(seed)
    except BrokenPromiseError:
        return True
    return False
