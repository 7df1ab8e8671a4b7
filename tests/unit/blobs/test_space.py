"""How much of the disk blobs may take."""

import os
from pathlib import Path

from peer.blobs.space import Space

MIB = 1 << 20


def free(folder: Path) -> int:
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize


def test_without_a_quota_only_the_floor_counts(tmp_path: Path) -> None:
    assert Space(5).floor_of(tmp_path) == 5
    assert Space(0).missing(tmp_path, MIB) == 0
    assert Space(2**50).missing(tmp_path, MIB) > 2**49


def test_a_quota_leaves_what_is_not_used_of_it(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(bytes(MIB))
    allowed = Space(0, 3 * MIB)
    assert abs(free(tmp_path) - allowed.floor_of(tmp_path) - 2 * MIB) < 64 * MIB, "others write to this disk, too"
    assert allowed.missing(tmp_path, 2 * MIB) == 0
    assert allowed.missing(tmp_path, 2 * MIB + 1) == 1
    assert allowed.has_place(tmp_path, 3 * MIB)
    assert not allowed.has_place(tmp_path, 3 * MIB + 1), "more than the quota"
    assert allowed.missing(tmp_path, 4 * MIB) == 2 * MIB
    assert Space(0, MIB // 2).missing(tmp_path, 0) == MIB // 2, "a quota may become smaller than what is there"
