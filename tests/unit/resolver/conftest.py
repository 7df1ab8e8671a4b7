"""What tests of resolvers share: a daemon at a socket."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fake_tailscaled import FakeDaemon


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of a socket."""
    return tmp_path / "tailscaled.sock"


@pytest.fixture
async def daemon(path: Path) -> AsyncIterator[FakeDaemon]:
    """One that listens there."""
    fake = FakeDaemon()
    async with fake.on_socket(path):
        yield fake
