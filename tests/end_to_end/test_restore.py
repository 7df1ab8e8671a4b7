"""An old copy of a data directory is put back, or runs beside the original: nothing is lost, nothing is there twice, and nobody edits anything."""

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from peer.cli.sample import write_sample
from peer.core.certificate import LogKind
from peer.core.encoding import encode
from peer.core.identity import GroupId
from peer.core.run import Draft
from tests.end_to_end.processes import Site, agree, found, free_port, join, wait_until
from tests.integration.store_site import running_store
from tests.patience import PATIENCE_S

LONG = os.environ.get("RECMESH_TEST_LONG") == "1"
SYNCED, OFFLINE = 10, 5
TURNS = 10 if LONG else 1
"""How often original and clone write in turn, once they know of each other."""


class Bags:
    """Small recordings, none like another."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def add(self, site: Site, count: int) -> dict[str, str]:
        """Add so many at `site`; their ids, by name."""
        ids: dict[str, str] = {}
        for _ in range(count):
            self._count += 1
            path = self._folder / f"{site.name}-{self._count:02}.mcap"
            write_sample(path, 4096, self._count)
            ids[path.stem] = site.add(path)["id"]
        return ids


@pytest.fixture
def bags(tmp_path: Path) -> Bags:
    return Bags(tmp_path)


@pytest.fixture
def pair(tmp_path: Path, bags: Bags) -> Iterator[tuple[Site, Site]]:
    """A hub and a site that dials it, with one recording of each."""
    hub, site = Site("hub", tmp_path / "hub/data"), Site("site", tmp_path / "site/data")
    hub.start()
    found(hub)
    site.start()
    join(hub, site)
    bags.add(hub, 1)
    bags.add(site, 1)
    wait_until(lambda: agree([hub, site], 2), "both agree at the begin")
    yield hub, site
    for each in (hub, site):
        if each.is_running:
            each.kill()


def tag(site: Site, recordings: Sequence[str], word: str) -> None:
    """What another site attaches to recordings while it does not run, in its own log."""

    async def write() -> None:
        async with running_store(site.folder, 1_900_000_000_000) as store:
            (group,) = store.replica.groups
            drafts = [Draft("recording.tag", encode({"recording": bytes.fromhex(each), "tag": word, "present": True})) for each in recordings]
            await store.write(GroupId(group), LogKind.DATA, drafts)

    asyncio.run(write())


def check(sites: Sequence[Site], ids: dict[str, str]) -> None:
    """At each site each recording is there once, under its original id, in one view and one state; the logs verify."""
    wait_until(lambda: agree(sites, len(ids) + 2), "all agree")
    for site in sites:
        listed = site.ask("GET", "recordings", params={"limit": "500"})["recordings"]
        assert len(listed) == len(ids) + 2
        assert {each["name"]: each["id"] for each in listed if each["name"] in ids} == ids
        assert site.json("verify", "--deep")["ok"] is True


def cp(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", source, target], check=True, timeout=PATIENCE_S)


def tar(source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    command = f"tar -C {source} -cpf - . | tar -C {target} -xpf -"
    subprocess.run(command, shell=True, check=True, timeout=PATIENCE_S)  # noqa: S602  (paths of this test)


@pytest.mark.parametrize("copy", [cp, tar] if LONG else [cp])
def test_a_copy_that_is_put_back_costs_nothing(pair: tuple[Site, Site], bags: Bags, tmp_path: Path, copy: Callable[[Path, Path], None]) -> None:
    """10 written and synced after the copy, 5 written offline on the old state: all 15 everywhere, once, and the tags of others on the 10."""
    hub, site = pair
    site.stop()
    copy(site.folder, tmp_path / "saved")
    site.start()
    ids = bags.add(site, SYNCED)
    wait_until(lambda: agree([hub, site], SYNCED + 2), "the hub has the ten")
    site.stop()
    hub.stop()
    tag(hub, list(ids.values()), "seen-at-the-hub")
    shutil.rmtree(site.folder)
    copy(tmp_path / "saved", site.folder)

    site.start()
    assert not ids.keys() & site.recordings().keys()
    ids |= bags.add(site, OFFLINE)
    hub.start()

    check([hub, site], ids)
    for each in (hub, site):
        tags = {name: recording["tags"] for name, recording in each.recordings().items() if recording["tags"]}
        assert tags == {key: ["seen-at-the-hub"] for key in list(ids)[:SYNCED]}
        assert each.group()["forks"] == 0


def test_a_backup_made_while_the_peer_writes_is_restored_the_same_way(pair: tuple[Site, Site], bags: Bags, tmp_path: Path) -> None:
    hub, site = pair
    site.command("backup", "create", str(tmp_path / "backup"))
    assert site.json("backup", "verify", str(tmp_path / "backup"))["ok"] is True
    ids = bags.add(site, SYNCED)
    wait_until(lambda: agree([hub, site], SYNCED + 2), "the hub has the ten")
    site.kill()
    hub.stop()
    shutil.rmtree(site.folder)
    cp(tmp_path / "backup", site.folder)

    site.start()
    assert len(site.recordings()) == 2
    ids |= bags.add(site, OFFLINE)
    hub.start()

    check([hub, site], ids)
    assert [each.group()["forks"] for each in (hub, site)] == [0, 0]


def test_a_clone_on_a_second_machine_and_the_original_both_go_on(pair: tuple[Site, Site], bags: Bags, tmp_path: Path) -> None:
    """One peer id at two places, each with links of its own, writing in turn and at once."""
    hub, site = pair
    site.stop()
    clone = Site("clone", tmp_path / "clone/data")
    shutil.rmtree(clone.folder)
    cp(site.folder, clone.folder)
    config = (clone.folder / "config.toml").read_text()
    clone.listen, clone.admin = free_port(), free_port()
    config = re.sub(r"^listen = .*$", f'listen = "127.0.0.1:{clone.listen}"', config, flags=re.MULTILINE)
    (clone.folder / "config.toml").write_text(re.sub(r"^admin = .*$", f'admin = "127.0.0.1:{clone.admin}"', config, flags=re.MULTILINE))
    try:
        site.start()
        ids = bags.add(site, SYNCED)
        wait_until(lambda: agree([hub, site], SYNCED + 2), "the hub has the ten")
        hub.stop()
        clone.start()
        ids |= bags.add(clone, OFFLINE)
        ids |= bags.add(site, 2)
        hub.start()
        check([hub, site, clone], ids)
        for _ in range(TURNS):
            ids |= bags.add(site, 1)
            ids |= bags.add(clone, 1)
        check([hub, site, clone], ids)
        assert [each.group()["forks"] for each in (hub, site, clone)] == [0, 0, 0]
        assert clone.json("id")["peer_id"] == site.json("id")["peer_id"]
    finally:
        if clone.is_running:
            clone.kill()
