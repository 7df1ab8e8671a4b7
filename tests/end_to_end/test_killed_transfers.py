"""Kill -9 in the middle of a transfer between real processes: what is right on the disk does not travel again, counted at a proxy in between."""

import os
from pathlib import Path

import pytest

from peer.cli.sample import write_sample
from tests.counting_proxy import proxy_in_background
from tests.end_to_end.processes import DEADLINE_S, Site, found, join, wait_until

LONG = os.environ.get("RECMESH_TEST_LONG") == "1"
KILLS = 20 if LONG else 2
MIB = 1024 * 1024
SIZE = 40 * MIB
AT = 0.6
BESIDE_MAX = 2 * MIB
"""Bytes of links, events and heads of answers that cross the proxy meanwhile."""


def right_bytes(partial: Path, source: Path) -> int:
    """Bytes of pieces that are right in a partial file, compared one by one with what they should be."""
    right = 0
    with partial.open("rb") as here, source.open("rb") as there:
        while piece := there.read(MIB):
            right += len(piece) if here.read(MIB) == piece else 0
    return right


@pytest.mark.long_story
def test_after_a_kill_at_60_percent_a_peer_fetches_only_what_is_missing(tmp_path: Path) -> None:
    near, far = Site("near", tmp_path / "near"), Site("far", tmp_path / "far")
    kept = []
    with proxy_in_background(f"http://127.0.0.1:{near.listen}") as proxy:
        with (near.folder / "config.toml").open("a") as config:
            config.write(f'\nadvertise = ["{proxy.url}"]\n')
        near.start()
        found(near)
        far.start()
        try:
            join(near, far)
            for number in range(KILLS):
                bag = tmp_path / f"run-{number}.mcap"
                write_sample(bag, SIZE, number)
                proxy.reached.clear()
                proxy.mark = proxy.carried["out"] + int(AT * SIZE)
                blob = near.add(bag)["chunks"][0]["blob_id"]
                assert proxy.reached.wait(DEADLINE_S), far.status()
                far.kill()
                partial = far.folder / "blobs" / "incoming" / f"{blob}.partial"
                kept.append(right_bytes(partial, bag))
                before = proxy.carried["out"]
                far.start()
                wait_until(lambda bag=bag: far.recordings().get(bag.stem, {}).get("state") == "local", "the rest has come")  # type: ignore[misc]
                carried = proxy.carried["out"] - before
                missing = bag.stat().st_size - kept[-1]
                assert missing <= carried <= missing + BESIDE_MAX
                assert (far.folder / "blobs" / blob[:2] / blob[2:4] / blob).read_bytes() == bag.read_bytes()
                bag.unlink()
            assert far.json("verify", "--deep")["ok"] is True
        finally:
            for site in (near, far):
                if site.is_running:
                    site.stop()
    print(f"{len(kept)} kills; kept {[round(each / MIB) for each in kept]} of {SIZE // MIB} MiB")  # noqa: T201
    assert len(kept) == KILLS
    assert min(kept) > 0, "the kills were in the middle of transfers"
