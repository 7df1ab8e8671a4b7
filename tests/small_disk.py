"""A file system that is full soon, for tests that import this into their `conftest.py`."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """8 MiB of it."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "none", folder], check=False, capture_output=True, text=True, timeout=PATIENCE_S
    )
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted here (as user {os.geteuid()}): {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True, timeout=PATIENCE_S)
