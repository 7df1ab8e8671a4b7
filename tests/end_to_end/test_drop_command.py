"""`recmesh recording drop` at a command line: what it says, what stands against it, and back again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.processes import Site, found, join, wait_until
from tests.end_to_end.test_drop_kills import QUICK, blobs
from tests.mcap_samples import write_mcap


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Site, Site]]:
    """Two sites with a copy each of two recordings."""
    dropper, keeper = Site("dropper", tmp_path / "a"), Site("keeper", tmp_path / "b")
    dropper.start(QUICK)
    found(dropper)
    keeper.start(QUICK)
    join(dropper, keeper)
    for name in ("run", "other"):
        dropper.add(write_mcap(tmp_path / f"{name}.mcap", payload=name.encode()))
    for site in (dropper, keeper):
        wait_until(lambda site=site: [each["copies"] for each in site.ask("GET", "recordings")["recordings"]] == [2, 2], "both say so")  # type: ignore[misc]
    yield dropper, keeper
    for site in (dropper, keeper):
        if site.is_running:
            site.kill()


def test_people_drop_copies_and_get_them_back(pair: tuple[Site, Site]) -> None:
    dropper, keeper = pair
    held = blobs(dropper)

    tried = dropper.command("recording", "drop", "run", "--dry-run").stdout
    assert "would go" in tried
    assert "keeper say that they hold it" in tried
    assert blobs(dropper) == held
    (dropped,) = dropper.json("recording", "drop", "run")
    assert (dropped["state"], [each["name"] for each in dropped["proven"]]) == ("remote", ["keeper"])
    assert dropped["dropped_bytes"] == dropped["size_bytes"] > 0
    assert 0 < blobs(dropper) < held

    refused = keeper.command("recording", "drop", "run", status=1).stderr
    assert "[too_few_copies]" in refused
    assert "not_found" in refused, "whoever dropped its copy does not prove that it has one"
    some = dropper.command("recording", "drop", "run", "other", status=5)
    assert "[no_change]" in some.stderr
    assert "other" in some.stdout
    assert blobs(dropper) == 0
    assert "[not_found]" in dropper.command("recording", "drop", "nothing-like-it", status=1).stderr

    assert few(keeper) == set()
    dropper.command("group", "set", "lab", "min_copies", "2")
    wait_until(lambda: few(keeper) == {"run", "other"}, "there are too few copies")
    dropper.command("recording", "fetch", "run", "other")
    assert blobs(dropper) == held
    wait_until(lambda: not few(keeper), "there are enough again")


def few(site: Site) -> set[str]:
    return {each["name"] for each in site.json("recording", "list", "--few-copies")}
