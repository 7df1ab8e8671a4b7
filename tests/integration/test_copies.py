"""Which ways to copy, move or put back a data directory are noticed by its files, so that a new log is opened; as docs/backup.md lists them."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from peer.core.certificate import LogKind
from tests.integration.store_site import running_store
from tests.patience import PATIENCE_S
from tests.samples import GROUP, genesis, note

ROOT = Path(__file__).parents[2]
OTHER_DISK = "/dev/shm"  # noqa: S108  (a file system, not a place for secrets)


def shell(*command: object) -> None:
    """Run a tool; say so where this machine does not have it."""
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"no {command[0]} on this machine")
    subprocess.run([str(each) for each in command], check=True, timeout=PATIENCE_S)


def copy_back(site: Path, copy: Callable[[Path, Path], None]) -> None:
    """Copy away, delete, copy back."""
    aside = site.with_name("aside")
    copy(site, aside)
    shutil.rmtree(site)
    copy(aside, site)


def through_tar(site: Path, target: Path) -> None:
    archive = site.with_name(f"{site.name}.tar")
    shell("tar", "-cpf", archive, "-C", site, ".")
    target.mkdir()
    shell("tar", "-xpf", archive, "-C", target)


def from_another_disk(site: Path) -> None:
    other = Path(OTHER_DISK)
    if not other.is_dir() or other.stat().st_dev == site.stat().st_dev:
        pytest.skip(f"{OTHER_DISK} is no other file system here")
    aside = other / f"recmesh-{site.parent.name}"
    shell("mv", site, aside)
    shell("mv", aside, site)


def rsync_over(site: Path) -> None:
    """An old copy is put over what is there: what did not change is not touched, the keys among it."""
    aside = site.with_name("aside")
    shell("rsync", "-a", f"{site}/", f"{aside}/")
    (site / "log.db").write_bytes((site / "log.db").read_bytes() + bytes(8192))
    shell("rsync", "-a", "--delete", f"{aside}/", f"{site}/")


def write_back_in_place(site: Path) -> None:
    """What a snapshot of the file system or of a virtual machine does: the old bytes, in the files that were there."""
    before = (site / "log.db").read_bytes()
    (site / "log.db").write_bytes(before)


def move_keys(site: Path) -> None:
    for each in (site / "keys").iterdir():
        shell("mv", each, f"{each}.1")
        shell("mv", f"{each}.1", each)


def move_all(site: Path) -> None:
    shell("mv", site, site.with_name("moved"))
    shell("mv", site.with_name("moved"), site)


WAYS: dict[str, tuple[Callable[[Path], None], bool]] = {
    "`cp -a` and back": (lambda site: copy_back(site, lambda a, b: shell("cp", "-a", a, b)), True),
    "`rsync -a` and back": (lambda site: copy_back(site, lambda a, b: shell("rsync", "-a", f"{a}/", f"{b}/")), True),
    "`tar` and back": (lambda site: copy_back(site, through_tar), True),
    "`cp -al` (hard links) and back": (lambda site: copy_back(site, lambda a, b: shell("cp", "-al", a, b)), True),
    "`rsync -a` of an old copy over the directory": (rsync_over, True),
    "`mv` to another file system and back": (from_another_disk, True),
    "`mv` of the key files alone": (move_keys, True),
    "`mv` of the whole directory within a file system": (move_all, False),
    "a snapshot of the file system or virtual machine, rolled back": (write_back_in_place, False),
}


@pytest.mark.parametrize("way", WAYS)
async def test_a_way_to_copy_opens_a_new_log_or_goes_on_as_the_page_says(tmp_path: Path, way: str) -> None:
    act, noticed = WAYS[way]
    site = tmp_path / "site"
    async with running_store(site) as store:
        await store.create_group(genesis())
        await store.write(GROUP, LogKind.DATA, [note()])
        incarnation = store.incarnation

    act(site)

    async with running_store(site) as store:
        (stored,) = await store.write(GROUP, LogKind.DATA, [note()])
        assert (stored.event.header.seq == 0) is noticed
        assert (store.incarnation != incarnation) is noticed
        assert (await store.verify()).ok


def test_the_page_lists_these_ways_and_no_others() -> None:
    rows = re.findall(r"^\| (.+?) \| (new logs|goes on) \|", (ROOT / "docs/backup.md").read_text(), re.MULTILINE)

    assert dict(rows) == {way: "new logs" if noticed else "goes on" for way, (_, noticed) in WAYS.items()}
