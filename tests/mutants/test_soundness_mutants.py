"""Planted bugs in whether bytes are given that are not what was verified, and in how damage is mended. Each must be caught by a test of blobs."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from peer.blobs import soundness
from peer.blobs.probing import Prober
from peer.blobs.soundness import Soundness
from peer.blobs.store import FileBlobStore
from peer.core import reconciling
from peer.core.byte_store import FileNote
from peer.core.reconciling import Here
from peer.operations.reconciling import _Run
from peer.transport.blob_routes import BlobRoutes
from tests.blob_site import Site, serving
from tests.integration import test_doubted_blobs as doubted
from tests.integration import test_reconciling as whole
from tests.integration.reconcile_lab import Lab, a_lab
from tests.mutants.planting import Check, Mutant, assert_caught, change, name_of
from tests.unit.blobs import test_soundness as sound
from tests.unit.core import test_reconciling as cases


def give_without_a_look(patch: pytest.MonkeyPatch) -> None:
    """Once verified, for ever sound."""
    change(patch, Soundness.glance, ("_seen(state, is_sound=note.is_sound) == note", "note is not None"))


def look_at_the_time_of_modification_alone(patch: pytest.MonkeyPatch) -> None:
    """Who sets it back is not noticed."""
    note = "FileNote(state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns, is_sound)"
    change(patch, soundness._seen, (note, "FileNote(state.st_ino, state.st_size, state.st_mtime_ns, 0, is_sound)"))


def look_at_the_size_alone(patch: pytest.MonkeyPatch) -> None:
    """Bytes may change as they like."""

    def seen(state: object, *, is_sound: bool) -> FileNote:
        return FileNote(0, state.st_size, 0, 0, is_sound)  # type: ignore[attr-defined]

    patch.setattr(soundness, "_seen", seen)


def have_what_is_damaged(patch: pytest.MonkeyPatch) -> None:
    """A file with the name will do."""
    change(patch, FileBlobStore.has, ("blob not in self.soundness.damaged and ", ""))


def forget_damage_at_a_restart(patch: pytest.MonkeyPatch) -> None:
    """What was found yesterday is found again only by whoever is given it."""
    change(patch, Soundness._is_as_noted, ("is False", "is None"))


def throw_damaged_bytes_away(patch: pytest.MonkeyPatch) -> None:
    """The right bytes simply take their place."""
    patch.setattr("peer.blobs.store.keep_aside", lambda *_arguments: None)


def hash_at_every_read(patch: pytest.MonkeyPatch) -> None:
    """Nothing is remembered."""
    patch.setattr(Soundness, "glance", lambda *_arguments: None)


def doubt_nothing(patch: pytest.MonkeyPatch) -> None:
    """Who says that it was given wrong bytes is told what is known."""
    change(patch, BlobRoutes._is_sound, ("if not asks or", "if True or"))


def doubt_whenever_asked(patch: pytest.MonkeyPatch) -> None:
    """A member may keep the disk busy."""
    change(patch, BlobRoutes._is_sound, (" or now - self._checked.get(blob, -CHECK_AGAIN_S) < CHECK_AGAIN_S", ""))


def fetch_all_of_a_damaged_file(patch: pytest.MonkeyPatch) -> None:
    """What is right of it travels as well."""
    change(patch, FileBlobStore.begin, ("if self.is_damaged(blob):", "if False:"))


def believe_who_cannot_be_asked(patch: pytest.MonkeyPatch) -> None:
    """A word is a copy."""
    change(patch, reconciling.row_of, ("if Proof.RIGHT in proofs:", "if Proof.RIGHT in proofs or Proof.UNASKED in proofs:"))


def believe_who_gives_wrong_bytes(patch: pytest.MonkeyPatch) -> None:
    """Any answer is a copy."""
    change(patch, Prober._probe, ("if hash_bytes(data) == split_piece_list(hashes)[piece]:", "if data:"))


def mend_without_being_asked(patch: pytest.MonkeyPatch) -> None:
    """Looking brings bytes."""
    change(patch, _Run._take_up, ("if self._restore and is_to_come(", "if is_to_come("))


def call_what_is_lost_only_gone(patch: pytest.MonkeyPatch) -> None:
    """What no site has is somewhere else."""
    change(
        patch,
        reconciling.row_of,
        ("return Row.ONLY_HERE if here is Here.SOUND else Row.MISSING", "return Row.ONLY_HERE if here is Here.SOUND else Row.ELSEWHERE"),
    )


def say_it_at_every_look(patch: pytest.MonkeyPatch) -> None:
    """Each run writes another receipt."""
    change(patch, reconciling.says_so, ("return here is Here.SOUND and not is_said", "return here is Here.SOUND"))


def say_what_is_being_dropped(patch: pytest.MonkeyPatch) -> None:
    """Reconciling looks at what is there, and not at what is about to go."""
    change(patch, _Run._say, ("if self._with.is_releasing(Subject(group, each.file.recording))", "if False"))


@asynccontextmanager
async def a_site(folder: Path) -> AsyncIterator[Site]:
    async with serving(folder / "served") as site:
        yield site


def with_store(test: Callable[[Path, FileBlobStore], Awaitable[None]]) -> Check:
    """`test` with a store that has a ledger."""

    async def check(folder: Path) -> None:
        store = sound.opened(folder)
        try:
            await test(folder, store)
        finally:
            store.close()

    return check


def changed(damage: str, *, restarted: bool = False) -> Check:
    return with_store(lambda folder, store: sound.test_a_file_that_was_changed_is_not_given(folder, store, damage, restarted=restarted))


async def not_hashed_again(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        hashed = sound.count_hashed(patch)
        await with_store(lambda where, store: sound.test_what_was_verified_is_not_hashed_again_also_after_a_restart(where, store, hashed))(folder)


def with_site(test: Callable[[Site, Path], Awaitable[None]]) -> Check:
    async def check(folder: Path) -> None:
        async with a_site(folder) as site:
            await test(site, folder)

    return check


async def doubted_often(folder: Path) -> None:
    async with a_site(folder) as site:
        with pytest.MonkeyPatch.context() as patch:
            await doubted.test_a_blob_is_hashed_again_once_in_a_while_however_often_somebody_doubts_it(site, folder, patch)


def with_pair(test: Callable[[Lab], Awaitable[None]]) -> Check:
    async def check(folder: Path) -> None:
        async with a_lab(folder) as lab:
            await lab.start_bob()
            await test(lab)

    return check


async def said_while_it_goes(folder: Path) -> None:
    async with a_lab(folder) as lab:
        await lab.start_bob()
        with pytest.MonkeyPatch.context() as patch:
            await whole.test_nothing_is_said_of_what_is_being_dropped_at_that_moment(lab, patch)


def every_case(_folder: Path) -> None:
    """The table, as a whole."""
    for here, proofs, said in cases.EVERY:
        row = reconciling.row_of(here, proofs, is_said=said)
        assert reconciling.says_so(row, here, is_said=said) == (here is Here.SOUND and not said)
    cases.test_a_file_is_in_the_case_that_the_table_says(Here.ABSENT, [], reconciling.Row.MISSING, is_said=True)
    cases.test_a_file_is_in_the_case_that_the_table_says(Here.SOUND, [reconciling.Proof.UNASKED], reconciling.Row.UNPROVEN, is_said=True)


MUTANTS = (
    Mutant(give_without_a_look, changed("a flipped bit")),
    Mutant(look_at_the_time_of_modification_alone, changed("a flipped bit and the time set back")),
    Mutant(look_at_the_size_alone, changed("another file in its place")),
    Mutant(have_what_is_damaged, changed("cut short")),
    Mutant(forget_damage_at_a_restart, changed("emptied")),
    Mutant(
        throw_damaged_bytes_away,
        with_store(sound.test_the_right_bytes_take_the_place_of_damaged_ones_which_are_kept),
        (AssertionError, FileNotFoundError),
    ),
    Mutant(hash_at_every_read, not_hashed_again),
    Mutant(doubt_nothing, with_site(doubted.test_who_is_told_of_wrong_bytes_gives_no_more_of_them)),
    Mutant(doubt_whenever_asked, doubted_often),
    Mutant(fetch_all_of_a_damaged_file, with_site(doubted.test_of_a_damaged_file_only_the_wrong_pieces_travel)),
    Mutant(believe_who_cannot_be_asked, every_case),
    Mutant(believe_who_gives_wrong_bytes, with_pair(whole.test_case_4_who_gives_wrong_bytes_is_named_told_and_mends_itself)),
    Mutant(mend_without_being_asked, with_pair(whole.test_case_6_what_another_site_has_is_brought_when_asked)),
    Mutant(call_what_is_lost_only_gone, every_case),
    Mutant(say_it_at_every_look, every_case),
    Mutant(say_what_is_being_dropped, said_while_it_goes),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
async def test_bytes_are_looked_at_before(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check passes without the bug and fails with it."""
    await assert_caught(mutant, tmp_path, monkeypatch)
