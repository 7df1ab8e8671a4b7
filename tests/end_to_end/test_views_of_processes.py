"""Views of real processes: a difference is told by the commands, and views that are computed anew survive kills."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from materializer.digest import PROJECTION_VERSION
from materializer.tables import Ledger, Place, projected_rows
from peer.cli.sample import write_sample
from peer.core.identity import GroupId
from tests.end_to_end.processes import Site, agree, found, join, wait_until

MESSAGES = 4096


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Site, Site]]:
    """Two linked sites of one group with a recording each."""
    sites = Site("first", tmp_path / "first"), Site("second", tmp_path / "second")
    for site in sites:
        site.start()
    found(sites[0])
    join(*sites)
    for number, site in enumerate(sites):
        write_sample(tmp_path / f"run-{number}.mcap", MESSAGES, 1)
        site.add(tmp_path / f"run-{number}.mcap")
    wait_until(lambda: agree(sites, 2), "both have both recordings")
    yield sites
    for site in sites:
        if site.is_running:
            site.kill()


def change(site: Site, name: str, *, version: int = PROJECTION_VERSION) -> str:
    """Let the views of a site say something else of a recording, with the digest of its table, by rules of this version; its id."""
    with closing(sqlite3.connect(site.folder / "views.db", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        number, recording, group_no = connection.execute("SELECT recording_no, id, group_no FROM recordings WHERE name = ?", (name,)).fetchone()
        (group,) = connection.execute("SELECT group_id FROM groups WHERE group_no = ?", (group_no,)).fetchone()
        place, ledger = Place(group_no, GroupId(group)), Ledger()
        for row in projected_rows(connection, "recordings", group_no, number):
            ledger.remove("recordings", place, row)
        connection.execute("UPDATE recordings SET machine = 'wrong' WHERE recording_no = ?", (number,))
        for row in projected_rows(connection, "recordings", group_no, number):
            ledger.add("recordings", place, row)
        ledger.write(connection)
        connection.execute("UPDATE progress SET version = ?", (version,))
        connection.execute("COMMIT")
    return bytes(recording).hex()


def test_commands_tell_of_a_difference_and_what_to_do_about_it(pair: tuple[Site, Site]) -> None:
    wrong = change(pair[1], "run-0")
    for site, other in (pair, pair[::-1]):
        wait_until(lambda site=site: any(each["rows"] for each in site.status()["differences"]), "the row is named")  # type: ignore[misc]
        told = site.command("verify", status=1)
        assert all(part in told.stdout + told.stderr for part in ("views_differ", wrong, other.name))
        (problem,) = json.loads(site.command("--json", "verify", status=1).stdout)["problems"]
        assert problem["code"] == "views_differ"
        shown = site.command("status").stdout
        assert all(part in shown for part in ("[views_differ]", wrong, "recmesh rebuild"))
    pair[1].command("rebuild")
    for site in pair:
        wait_until(lambda site=site: not site.status()["differences"], "the alarm is over")  # type: ignore[misc]
        site.command("verify")


def test_an_upgrade_of_the_rules_that_is_killed_again_and_again_ends_well(pair: tuple[Site, Site], tmp_path: Path) -> None:
    """The present views answer each time; what is killed leaves them as they are, or the new ones."""
    site = pair[1]
    site.stop()
    change(site, "run-0", version=PROJECTION_VERSION - 1)
    for point in ("rebuild.before_commit", "rebuild.after_commit", "rebuild.before_swap"):
        record = tmp_path / point
        site.start({"RECMESH_FAILPOINT": point, "RECMESH_FAILPOINT_FILE": str(record)})
        site.died()
        assert record.read_text().split() == [point]
        with closing(sqlite3.connect(site.folder / "views.db")) as connection:
            assert connection.execute("SELECT version FROM progress").fetchone() == (PROJECTION_VERSION - 1,)
    site.start()
    wait_until(lambda: agree(pair, 2), "both show the same again")
    assert site.recordings()["run-0"]["machine"] != "wrong"
    assert all(each.json("verify")["ok"] for each in pair)
    assert not (site.folder / "views.db.new").exists()
