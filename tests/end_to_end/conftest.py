"""A peer that the tests of commands share, and the command itself, run in the test's own process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from peer.cli import options
from peer.cli.main import run
from peer.cli.sample import write_sample
from tests.end_to_end.commands import Command, Result
from tests.end_to_end.processes import Site


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A peer with the group `lab` and the recording `first`."""
    folder = tmp_path_factory.mktemp("site")
    running = Site("solo", folder / "data")
    running.start()
    write_sample(folder / "first.mcap", 128 * 1024, 1_790_000_000 * 10**9)
    running.command("group", "create", "lab")
    running.command("recording", "add", str(folder / "first.mcap"), "--tag", "rain", "--machine", "r2")
    yield running
    if running.is_running:
        assert running.stop() == 0


@pytest.fixture
def recmesh(site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run a command of this very program on the shared site, or on whatever `--data` names."""
    for name in ("RECMESH_URL", "RECMESH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RECMESH_DATA", str(site.folder))

    def command(*arguments: str) -> Result:
        capsys.readouterr()
        status = run(arguments)
        vars(options.current).update(vars(options.Options()))
        return Result(status, *capsys.readouterr())

    return command


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    path = tmp_path / "bag.mcap"
    write_sample(path, 64 * 1024, 1)
    return path
