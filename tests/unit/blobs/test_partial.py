"""A file whose pieces come in any order, some of them twice or wrong."""

import hashlib
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from peer.blobs import partial
from peer.blobs.disk import Floor
from peer.blobs.partial import PartialFile
from peer.blobs.plan import Layout
from peer.core.hashing import hash_bytes

PIECE = 4096
DATA = random.Random(1).randbytes(9 * PIECE + 100)
LAYOUT = Layout(len(DATA), PIECE)
PIECES = [DATA[LAYOUT.start(piece) : LAYOUT.stop(piece)] for piece in range(LAYOUT.piece_count)]
DIGESTS = (hash_bytes(DATA), hashlib.sha256(DATA).digest())
TIMEOUT_S = 30.0
GO_ON = threading.Event()


def opened(path: Path) -> PartialFile:
    return PartialFile(path, LAYOUT, [hash_bytes(piece) for piece in PIECES], Floor(0))


@pytest.fixture
def file(tmp_path: Path) -> Iterator[PartialFile]:
    partial = opened(tmp_path / "partial")
    yield partial
    partial.close()


def take(file: PartialFile, piece: int, data: bytes | None = None) -> bool:
    """Give bytes; true if they were taken."""
    taken = file.take(piece, memoryview(PIECES[piece] if data is None else data))
    if taken is not None:
        taken.result(TIMEOUT_S)
    return taken is not None


@pytest.mark.parametrize("seed", range(10))
def test_pieces_in_any_order_make_the_whole(file: PartialFile, seed: int) -> None:
    """Some come twice, and wrong ones in between."""
    chance = random.Random(seed)
    order = [*range(LAYOUT.piece_count), *chance.choices(range(LAYOUT.piece_count), k=5)]
    chance.shuffle(order)
    for piece in order:
        assert not take(file, piece, bytes(len(PIECES[piece])))
        assert take(file, piece)

    assert file.finish(GO_ON) == DIGESTS
    assert file.path.read_bytes() == DATA


def test_what_comes_twice_is_not_written_again(file: PartialFile) -> None:
    """The buffer of the second one may be used for something else at any time."""
    assert take(file, 0)
    with file.path.open("r+b") as spoilt:
        spoilt.write(b"spoilt")
    assert take(file, 0)

    assert file.path.read_bytes().startswith(b"spoilt")


def test_a_wrong_piece_is_not_written(file: PartialFile) -> None:
    assert not take(file, 2, b"x" * PIECE)

    assert b"x" * 10 not in file.path.read_bytes()
    assert file.recheck(GO_ON) == []


def test_what_is_here_after_a_restart_is_found_out_by_its_hash(tmp_path: Path) -> None:
    first = opened(tmp_path / "partial")
    for piece in (0, 1, 4, 9):
        assert take(first, piece)
    first.close()
    with (tmp_path / "partial").open("r+b") as torn:
        torn.seek(4 * PIECE + 7)
        torn.write(b"torn")
    file = opened(tmp_path / "partial")

    assert file.recheck(GO_ON) == [0, 1, 9]
    for piece in range(2, 9):
        assert take(file, piece)
    assert file.finish(GO_ON) == DIGESTS
    file.close()


def test_what_is_only_reserved_is_looked_through_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system in memory goes through all of it each time it is asked: a piece at a time that took longer than the transfer."""
    asked = []
    ask = partial.first_data
    monkeypatch.setattr(partial, "first_data", lambda descriptor, start: asked.append(start) or ask(descriptor, start))
    first = opened(tmp_path / "partial")
    assert first.recheck(GO_ON) == []
    assert asked == [0]
    assert take(first, 8)
    first.close()
    asked.clear()

    file = opened(tmp_path / "partial")
    assert file.recheck(GO_ON) == [8]
    assert asked[0] == 0
    assert len(asked) <= 3
    file.close()
