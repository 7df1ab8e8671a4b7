"""Planted bugs in the choice of links, and in what keeps an event from crossing links twice in a large mesh."""

from pathlib import Path

import pytest

from peer.sync import limits
from peer.sync.backfill import BackfillSide
from peer.sync.overlay import Overlay
from peer.sync.remote import RemoteLog
from tests.mutants.planting import Mutant, assert_caught, change, name_of
from tests.simulation.test_sizes import check_silent_sources, check_size
from tests.unit.sync import test_overlay as overlay_tests

ME = overlay_tests.ME


def never_let_go(patch: pytest.MonkeyPatch) -> None:
    """Links only ever grow in number."""
    patch.setattr(Overlay, "_too_many", lambda *_arguments: None)


def let_go_of_the_last_link(patch: pytest.MonkeyPatch) -> None:
    """One link is taken for too many."""
    change(
        patch,
        Overlay._too_many,
        ("len(there) > LINKS_MAX", "there"),
        ("kept = set(always)", "kept = set(always); self._neighbours = lambda _: set()"),
    )


def let_go_of_what_we_chose(patch: pytest.MonkeyPatch) -> None:
    """Whoever dials us often enough is all that we have left."""
    change(
        patch,
        Overlay._too_many,
        ("kept.update(chosen if len(chosen) <= CHOSEN_MIN else ())", "chosen.clear()"),
        ("(link.we_dialled, -link.number)", "(not link.we_dialled, -link.number)"),
    )


def come_back_at_once(patch: pytest.MonkeyPatch) -> None:
    """Who has enough links is dialled again and again."""
    patch.setattr(Overlay, "told_enough", lambda *_arguments: None)


def forget_the_ring(patch: pytest.MonkeyPatch) -> None:
    """Any four links will do."""
    change(patch, Overlay._to_dial, ("chosen |= wanted - linked", "pass"))


def choose_none_ourselves(patch: pytest.MonkeyPatch) -> None:
    """Links that others dialled are enough."""
    change(patch, Overlay._to_dial, (" and len(chosen) >= CHOSEN_MIN", ""))


def count_those_whom_nobody_can_dial(patch: pytest.MonkeyPatch) -> None:
    """A site that depends on us has to go."""
    change(patch, Overlay.choose, ("[link for link in links if link.peer in dialable], always", "links, always"))


def let_go_of_who_needs_us(patch: pytest.MonkeyPatch) -> None:
    """Whoever comes back because it has found nobody else is one too many again."""
    change(patch, Overlay.choose, ("dialable -= {*self._needed.values()}", "pass"))


def never_switch_the_source(patch: pytest.MonkeyPatch) -> None:
    """Who told of a log first is waited for, for ever."""
    patch.setattr(limits, "SOURCE_SILENT_MS", 10**9)


def switch_the_source_at_once(patch: pytest.MonkeyPatch) -> None:
    """Whoever tells of something new is asked for it, beside the one that sends it anyway."""
    change(patch, BackfillSide._consider, (">= entry.patience_ms", ">= 0"))


def ask_in_vain_for_ever(patch: pytest.MonkeyPatch) -> None:
    """Whoever was asked and brought nothing is as good as anybody the next time."""
    patch.setattr(RemoteLog, "patience_ms", property(lambda _: limits.SOURCE_SILENT_MS))


def _small_mesh(_: Path) -> None:
    check_size(20, events=6)


MUTANTS = (
    Mutant(never_let_go, lambda _: overlay_tests.test_everybody_together_is_connected_with_four_to_six_links(100, 20)),
    Mutant(let_go_of_the_last_link, lambda _: overlay_tests.test_with_enough_links_none_is_let_go(Overlay(ME))),
    Mutant(
        let_go_of_what_we_chose, lambda _: overlay_tests.test_many_that_come_drive_away_none_that_we_chose_and_none_that_a_ring_needs(Overlay(ME))
    ),
    Mutant(come_back_at_once, lambda _: overlay_tests.test_it_is_left_alone_also_if_the_operator_named_it(Overlay(ME))),
    Mutant(forget_the_ring, lambda _: overlay_tests.test_in_a_large_group_a_few_are_dialled_the_next_one_among_them(Overlay(ME))),
    Mutant(choose_none_ourselves, lambda _: overlay_tests.test_whoever_is_linked_is_not_dialled_but_two_links_are_of_our_own_choice(Overlay(ME))),
    Mutant(
        count_those_whom_nobody_can_dial,
        lambda _: overlay_tests.test_a_site_that_nobody_can_dial_is_never_let_go_and_takes_nobodys_place(Overlay(ME)),
    ),
    Mutant(let_go_of_who_needs_us, lambda _: overlay_tests.test_whoever_comes_back_at_once_is_kept_and_drives_nobody_away(Overlay(ME))),
    Mutant(never_switch_the_source, lambda _: check_silent_sources(1)),
    Mutant(switch_the_source_at_once, _small_mesh),
    Mutant(ask_in_vain_for_ever, lambda _: check_silent_sources(3)),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_is_caught(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check passes without the bug and fails with it."""
    await assert_caught(mutant, tmp_path, monkeypatch)
