"""A large recording is added at one real process and arrives at another: bytes per second, beside the SHA-256 speed of the machine."""

import hashlib
import tempfile
import time
from pathlib import Path

from peer.cli.sample import write_sample
from tests.end_to_end.processes import Site, found, join, wait_until

SIZE = 512 * 2**20
DEADLINE_S = 300.0


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        added, fetched, hashed = measure(Path(folder))
    print(f"add: {SIZE / added / 2**20:,.0f} MB/s read, hashed twice, indexed, copied, synced; {hashed / added:.2f} of SHA-256 alone")
    print(f"fetch: {SIZE / fetched / 2**20:,.0f} MB/s, each piece and the whole verified, synced; {hashed / fetched:.2f} of SHA-256 alone")
    print(f"  SHA-256 of the same bytes: {SIZE / hashed / 2**20:,.0f} MB/s")


def measure(folder: Path) -> tuple[float, float, float]:
    """Seconds to add a file at one site, to have it at another, and to hash it once."""
    bag = folder / "large.mcap"
    write_sample(bag, SIZE, 1)
    begun = time.monotonic()
    with bag.open("rb") as file:
        hashlib.file_digest(file, "sha256")
    hashed = time.monotonic() - begun
    near, far = Site("near", folder / "near"), Site("far", folder / "far")
    near.start()
    found(near)
    far.start()
    try:
        join(near, far)
        begun = time.monotonic()
        near.add(bag)
        added = time.monotonic() - begun
        wait_until(lambda: far.recordings()["large"]["state"] == "local", "the bytes are at the other site", DEADLINE_S)
        fetched = time.monotonic() - begun - added
    finally:
        near.stop()
        far.stop()
    return added, fetched, hashed
