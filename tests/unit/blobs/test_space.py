"""How much of the disk blobs may take."""

import os
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest

from peer.blobs.disk import Floor, check_room
from peer.blobs.space import Space

MIB = 1 << 20


class Disk(NamedTuple):
    """One of which others delete something."""

    f_bavail: int
    f_frsize: int = 1


def test_without_a_quota_only_the_floor_counts(tmp_path: Path) -> None:
    assert Space(5).floor_of(tmp_path) == Floor(5)
    assert Space(0).missing(tmp_path, MIB) == 0
    assert Space(2**50).missing(tmp_path, MIB) > 2**49


def test_a_quota_leaves_what_is_not_used_of_it(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(bytes(MIB))
    allowed = Space(0, 3 * MIB)
    assert allowed.floor_of(tmp_path) == Floor(0, 2 * MIB)
    assert allowed.missing(tmp_path, 2 * MIB) == 0
    assert allowed.missing(tmp_path, 2 * MIB + 1) == 1
    assert allowed.has_place(tmp_path, 3 * MIB)
    assert not allowed.has_place(tmp_path, 3 * MIB + 1), "more than the quota"
    assert allowed.missing(tmp_path, 4 * MIB) == 2 * MIB
    assert Space(0, MIB // 2).missing(tmp_path, 0) == MIB // 2, "a quota may become smaller than what is there"


def test_what_others_delete_meanwhile_is_no_room_in_the_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is what others write less of it."""
    (tmp_path / "one").write_bytes(bytes(MIB))
    for step in (MIB, -MIB):
        frees = count(100 * MIB, step)
        monkeypatch.setattr(os, "statvfs", lambda _folder, frees=frees: Disk(next(frees)))
        for size, fits in ((2 * MIB, True), (2 * MIB + 1, False)):
            floor = Space(0, 3 * MIB).floor_of(tmp_path)
            for _ in range(3):
                if fits:
                    check_room(tmp_path, size, floor)
                else:
                    with pytest.raises(OSError, match="quota"):
                        check_room(tmp_path, size, floor)
