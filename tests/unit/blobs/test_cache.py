"""The folder of pieces that pass through, on real files: its size is looked at from outside."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peer.blobs import cache as cache_module
from peer.blobs.cache import PieceCache, cost_of
from peer.core.hashing import hash_bytes
from peer.core.identity import GroupId
from peer.errors import DiskFullError
from tests.blob_site import MIB

GROUP = GroupId(b"\x01" * 32)
OTHER_GROUP = GroupId(b"\x02" * 32)
LIMIT = 256 * 1024
ROOT = Path(__file__).parents[3]
DIES = """
import sys
from pathlib import Path
from peer.blobs.cache import PieceCache
from peer.core.hashing import hash_bytes
cache = PieceCache(Path(sys.argv[1]), 1 << 20)
for number in range(100):
    data = bytes([number]) * 50_000
    cache.put(bytes(32), hash_bytes(data), data)
"""


def on_disk(folder: Path) -> int:
    """Bytes of the disk that all files in a folder take, by the operating system."""
    return sum(path.stat().st_blocks * 512 for path in folder.iterdir())


def keep(cache: PieceCache, data: bytes, group: GroupId = GROUP) -> bytes:
    piece = hash_bytes(data)
    cache.put(group, piece, data)
    return piece


class Watched(PieceCache):
    """Looks at the folder whenever something was written and has no name yet, which is when it is fullest."""

    most = 0

    def _write(self, path: Path, data: bytes) -> None:
        super()._write(path, data)
        self.most = max(self.most, on_disk(path.parent))
        assert self.most <= self.limit


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), limit=st.integers(0, LIMIT))
def test_the_folder_never_takes_more_than_it_may(seed: int, limit: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever comes and goes in whatever order: every file that was ever there is counted, by its blocks."""
    check_limit(tmp_path_factory.mktemp("cache"), seed, limit)


def check_limit(folder: Path, seed: int, limit: int) -> None:
    """Fail if the limit is passed in one random history."""
    chance = random.Random(seed)
    cache = Watched(folder, limit)
    known: list[bytes] = []
    for _ in range(60):
        if known and chance.random() < 0.4:
            data = cache.get(GROUP, chance.choice(known))
            assert data is None or hash_bytes(data) in known
        else:
            known.append(keep(cache, chance.randbytes(chance.choice([0, 1, 100, 4096, 4097, 20_000, 100_000, 300_000]))))
        if chance.random() < 0.05:
            cache = Watched(folder, limit)
        assert on_disk(folder) <= cache.used <= limit


def test_what_was_not_used_for_the_longest_time_goes_first(tmp_path: Path) -> None:
    cache = PieceCache(tmp_path / "cache", 3 * cost_of(1000))
    first, second, third = (keep(cache, bytes([number]) * 1000) for number in range(3))
    assert cache.get(GROUP, first) == bytes(1000)
    fourth = keep(cache, b"4" * 1000)

    assert [cache.has(GROUP, piece) for piece in (first, second, third, fourth)] == [True, False, True, True]
    assert cache.get(GROUP, second) is None


def test_what_is_larger_than_all_that_is_allowed_is_not_kept_and_throws_nothing_out(tmp_path: Path) -> None:
    cache = PieceCache(tmp_path / "cache", 100_000)
    small = keep(cache, b"small")
    large = keep(cache, bytes(100_000))

    assert (cache.has(GROUP, small), cache.has(GROUP, large)) == (True, False)


def test_there_are_so_many_pieces_however_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "ENTRIES_MAX", 5)
    cache = PieceCache(tmp_path / "cache", MIB)
    for number in range(20):
        keep(cache, bytes([number]))

    assert len(list((tmp_path / "cache").iterdir())) == 5


def test_a_piece_is_there_in_the_group_that_it_came_in_alone(tmp_path: Path) -> None:
    cache = PieceCache(tmp_path / "cache", MIB)
    piece = keep(cache, b"secret")

    assert cache.get(GROUP, piece) == b"secret"
    assert not cache.has(OTHER_GROUP, piece)
    assert cache.get(OTHER_GROUP, piece) is None


def test_a_restart_finds_the_pieces_again_and_sweeps_away_what_was_half_done(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    cache = PieceCache(folder, MIB)
    pieces = [keep(cache, bytes([number]) * 5000) for number in range(5)]
    for number, piece in enumerate(pieces):
        os.utime(cache._path(GROUP + piece), ns=(number, number))
    (folder / f"{(GROUP + pieces[0]).hex()}.partial").write_bytes(bytes(100_000))

    again = PieceCache(folder, 3 * cost_of(5000))

    assert [again.get(GROUP, piece) for piece in pieces] == [None, None, *(bytes([number]) * 5000 for number in range(2, 5))]
    assert on_disk(folder) <= again.used == again.limit
    assert {path.suffix for path in folder.iterdir()} == {""}


def test_a_peer_that_keeps_nothing_any_more_gives_the_space_back(tmp_path: Path) -> None:
    keep(PieceCache(tmp_path / "cache", MIB), b"data")
    cache = PieceCache(tmp_path / "cache", 0)

    assert cache.used == 0
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("damage", [b"", b"Data", b"data and more", bytes(5 * MIB)])
def test_a_damaged_piece_is_thrown_away_and_may_come_again(tmp_path: Path, damage: bytes) -> None:
    cache = PieceCache(tmp_path / "cache", 10 * MIB)
    piece = keep(cache, b"data")
    cache._path(GROUP + piece).write_bytes(damage)

    assert cache.get(GROUP, piece) is None
    assert (cache.used, list((tmp_path / "cache").iterdir())) == (0, [])
    keep(cache, b"data")
    assert cache.get(GROUP, piece) == b"data"


def test_a_folder_that_somebody_deleted_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    cache = PieceCache(folder, MIB)
    piece = keep(cache, b"data")
    cache._path(GROUP + piece).unlink()
    folder.rmdir()

    other = keep(cache, b"other")
    assert (cache.get(GROUP, piece), cache.get(GROUP, other)) == (None, b"other")


def test_on_a_disk_that_is_full_for_others_pieces_give_way_and_the_floor_is_left(small_disk: Path) -> None:
    """8 MiB, of which 4 have to stay free."""
    cache = PieceCache(small_disk / "cache", 100 * MIB, free_floor=4 * MIB)
    for number in range(10):
        keep(cache, bytes([number]) * MIB)
        state = os.statvfs(small_disk)
        assert state.f_bavail * state.f_frsize >= 4 * MIB
    assert 2 * MIB < cache.used < 4 * MIB

    (small_disk / "recording").write_bytes(bytes(5 * MIB // 2))
    keep(cache, b"\xfe" * MIB)
    assert cache.used == cost_of(MIB)
    (small_disk / "recording").write_bytes(bytes(5 * MIB))
    with pytest.raises(DiskFullError):
        keep(cache, b"\xff" * MIB)
    assert cache.used == 0


def test_a_write_that_the_disk_refuses_leaves_nothing_behind(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk may fill up between the look and the write."""
    monkeypatch.setattr(PieceCache, "_free", lambda _: 100 * MIB)
    cache = PieceCache(small_disk / "cache", 100 * MIB)
    kept = keep(cache, b"1" * MIB)
    (small_disk / "recording").write_bytes(bytes(6 * MIB))

    with pytest.raises(DiskFullError):
        keep(cache, b"2" * (2 * MIB))

    assert cache.get(GROUP, kept) == b"1" * MIB
    assert cache.used == cost_of(MIB)
    assert len(list((small_disk / "cache").iterdir())) == 1


@pytest.mark.parametrize("passage", [1, 3, 20])
def test_a_process_that_dies_while_it_writes_leaves_whole_pieces_and_the_limit_holds(tmp_path: Path, passage: int) -> None:
    """Before a piece gets its name: the first one, one in the middle, one that threw another out."""
    folder, hit = tmp_path / "cache", tmp_path / "hit"
    environment = {**os.environ, "RECMESH_FAILPOINT": f"cache.before_rename:{passage}", "RECMESH_FAILPOINT_FILE": str(hit), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", DIES, folder], env=environment, timeout=60, check=False)
    assert (done.returncode, hit.read_text()) == (-signal.SIGKILL, "cache.before_rename\n")
    assert [path.suffix for path in folder.iterdir()].count(".partial") == 1
    assert on_disk(folder) <= MIB

    cache = PieceCache(folder, MIB)

    pieces = [hash_bytes(bytes([number]) * 50_000) for number in range(100)]
    whole = [number for number, piece in enumerate(pieces) if cache.get(GroupId(bytes(32)), piece) is not None]
    assert whole == list(range(max(0, passage - 18), passage - 1))
    assert {path.suffix for path in folder.iterdir()} <= {""}
    assert on_disk(folder) <= cache.used <= MIB


def test_many_small_pieces_are_taken_up_soon(tmp_path: Path) -> None:
    """A start must not wait for what is only in passing."""
    folder = tmp_path / "cache"
    cache = PieceCache(folder, 2**30)
    for number in range(5000):
        keep(cache, number.to_bytes(4, "big"))
    start = time.monotonic()
    assert PieceCache(folder, 2**30).used == cache.used
    assert time.monotonic() - start < 5
