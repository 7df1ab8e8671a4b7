"""Planted bugs in what passes through a member for others. Each must be caught by a test of the relay, of its cache, or of whole peers."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from peer.blobs.cache import PieceCache
from peer.blobs.relay import PieceRelay
from peer.sync.blobs import BlobSide
from peer.transport.blob_routes import BlobRoutes
from tests.integration import test_pull_through as peers
from tests.mutants.planting import Check, Mutant, assert_caught, change, name_of
from tests.relay_site import Member, RelayLab, relay_lab
from tests.unit.blobs import test_cache as cache
from tests.unit.blobs import test_relay as relay


def give_what_passes_to_strangers(patch: pytest.MonkeyPatch) -> None:
    """Whoever has a link may have what is in the cache, or has it got."""
    change(patch, BlobSide.wanted, ("view is None or view.roster.role(self._remote) is Role.NONE", "view is None"))


def give_what_passes_to_strangers_over_http(patch: pytest.MonkeyPatch) -> None:
    """A good signature is enough, whosever it is."""
    change(patch, BlobRoutes._is_member, ("view is not None and view.roster.role(peer) is not Role.NONE", "view is not None"))


def keep_more_than_the_limit(patch: pytest.MonkeyPatch) -> None:
    """Others make way only once the limit is passed."""
    change(patch, PieceCache._make_room, ("self.used + cost > self.limit", "self.used > self.limit"))


def make_room_after_writing(patch: pytest.MonkeyPatch) -> None:
    """The limit is passed while a piece is written."""
    change(
        patch,
        PieceCache._put,
        ("        self._make_room(cost)\n", ""),
        ("            self._write(self._path(key), data)\n", "            self._write(self._path(key), data)\n            self._make_room(0)\n"),
    )


def count_bytes_and_not_blocks(patch: pytest.MonkeyPatch) -> None:
    """Small files are taken to be as small as their bytes."""
    patch.setattr("peer.blobs.cache.cost_of", lambda size: size)


def keep_wrong_pieces(patch: pytest.MonkeyPatch) -> None:
    """What comes is taken to be what was asked for."""
    change(patch, PieceRelay._take, ("hash_bytes(data) != piece.hash", "False"))


def serve_rot(patch: pytest.MonkeyPatch) -> None:
    """What was right once is taken to be right."""
    change(patch, PieceCache._get, ("hash_bytes(data) != piece", "not data"))


def ask_on_for_those_who_ask_for_others(patch: pytest.MonkeyPatch) -> None:
    """A request goes on from relay to relay."""
    change(patch, PieceRelay._read, ("part.relay and not", "not"))


def give_what_came_in_another_group(patch: pytest.MonkeyPatch) -> None:
    """A piece is a piece."""
    patch.setattr("peer.blobs.relay._Piece.key", property(lambda piece: piece.hash))


def get_a_piece_for_each_who_asks(patch: pytest.MonkeyPatch) -> None:
    """Whoever asks has it got again."""
    change(patch, PieceRelay._start, ("task = self._getting.get(piece.question)", "task = None"))


def ask_liars_again(patch: pytest.MonkeyPatch) -> None:
    """A wrong piece is forgotten."""
    change(patch, PieceRelay._bring, ("(source.peer_id, piece.claim) in self._liars", "False"))


@asynccontextmanager
async def lab_with_alice(folder: Path) -> AsyncIterator[tuple[RelayLab, Member]]:
    async with relay_lab(folder) as lab:
        alice = Member("alice")
        lab.members.append(alice)
        yield lab, alice


def in_lab(test: Callable[[RelayLab, Member], Awaitable[None]]) -> Check:
    """`test` with what it asks for."""

    async def check(folder: Path) -> None:
        async with lab_with_alice(folder) as (lab, alice):
            await test(lab, alice)

    return check


async def _strangers(folder: Path) -> None:
    async with peers.made_scene(folder) as scene:
        await peers.test_who_is_no_member_gets_nothing_of_what_passes(scene)


def _limits(folder: Path) -> None:
    """The same as the test does, for a few seeds."""
    for seed in range(8):
        (folder / str(seed)).mkdir()
        cache.check_limit(folder / str(seed), seed, cache.LIMIT)


def _rot(folder: Path) -> None:
    cache.test_a_damaged_piece_is_thrown_away_and_may_come_again(folder, b"Data")


MUTANTS = (
    Mutant(give_what_passes_to_strangers, _strangers),
    Mutant(give_what_passes_to_strangers_over_http, _strangers),
    Mutant(keep_more_than_the_limit, _limits),
    Mutant(make_room_after_writing, _limits),
    Mutant(count_bytes_and_not_blocks, _limits),
    Mutant(keep_wrong_pieces, in_lab(relay.test_wrong_pieces_are_neither_kept_nor_given_and_who_sent_one_is_not_asked_for_that_blob_again)),
    Mutant(serve_rot, _rot),
    Mutant(ask_on_for_those_who_ask_for_others, in_lab(relay.test_what_others_ask_for_somebody_else_is_answered_from_what_is_here)),
    Mutant(give_what_came_in_another_group, in_lab(relay.test_what_came_in_one_group_is_not_there_in_another)),
    Mutant(
        get_a_piece_for_each_who_asks,
        in_lab(relay.test_ten_that_ask_at_once_cause_one_request_and_who_goes_away_ends_nothing),
        (AssertionError, KeyError),
    ),
    Mutant(ask_liars_again, in_lab(relay.test_wrong_pieces_are_neither_kept_nor_given_and_who_sent_one_is_not_asked_for_that_blob_again)),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_a_planted_bug_in_what_passes_through_is_caught(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await assert_caught(mutant, tmp_path, monkeypatch)
