"""A recording of 2 GiB goes from one real process to another, beside nginx with curl and beside rsync: the same bytes, in turns, on the same disk.

What each of them does is not the same, and is said with every number: this one verifies each piece and the whole, by two hashes, and the file has its
name only once it is on the disk; curl verifies nothing and rsync checks what came as it comes; both leave the bytes to the system to write when it
likes, unless they are followed by `sync` on that file. `RECMESH_BENCH_FOLDER` says where; by default one run is on the disk and one in memory.
"""

import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench.backfill import Memory, cpu_seconds
from peer.cli.sample import write_sample
from tests.end_to_end.processes import Site, found, free_port, join, wait_until

SIZE = int(os.environ.get("RECMESH_BENCH_BYTES", str(2 * 2**30)))
ROUNDS = 3
DEADLINE_S = 300.0
POLL_S = 0.002
NAMES = ("recmesh, verified and synced", "nginx+curl", "nginx+curl, then sync", "rsync", "rsync, then sync")


class Figures(NamedTuple):
    """What was measured."""

    seconds: dict[str, list[float]]
    resident: list[int]
    """Bytes at most, at the sender and at the receiver."""
    busy: list[float]
    """Seconds of computing of one transfer, at both."""


def main() -> None:
    """Measure and print, on the disk and in memory."""
    chosen = os.environ.get("RECMESH_BENCH_FOLDER")
    for place in [Path(chosen)] if chosen else [Path(tempfile.gettempdir()), Path("/dev/shm")]:  # noqa: S108  (in memory)
        if not place.is_dir() or shutil.disk_usage(place).free < 6 * SIZE:
            print(f"transfer on {place}: left out, it has no room")
            continue
        with tempfile.TemporaryDirectory(dir=place) as folder:
            _print(place, measure(Path(folder)))


def _print(place: Path, figures: Figures) -> None:
    best = {name: min(each) for name, each in figures.seconds.items()}
    print(f"transfer of {SIZE / 2**30:g} GiB on loopback, files on {place}; best and median of {ROUNDS}:")
    for name, each in figures.seconds.items():
        said = f"{SIZE / best[name] / 2**20:7,.0f} MB/s  (median {SIZE / statistics.median(each) / 2**20:,.0f})"
        print(f"  {name:30} {said}  {best[name] / best[NAMES[0]]:.2f} times as long as recmesh")
    print(f"  resident at most: sender {figures.resident[0] / 2**20:.0f} MB, receiver {figures.resident[1] / 2**20:.0f} MB")
    print(f"  computing of one transfer: sender {figures.busy[0]:.2f} s, receiver {figures.busy[1]:.2f} s")


def measure(folder: Path) -> Figures:
    """All of them in turns, so that a busy machine is busy for all."""
    bag = folder / "served" / "large.mcap"
    bag.parent.mkdir()
    write_sample(bag, SIZE, 1)
    near, far = Site("near", folder / "near"), Site("far", folder / "far")
    with (far.folder / "config.toml").open("a") as file:
        file.write('\nfetch = "none"\n')
    near.start()
    found(near)
    far.start()
    try:
        join(near, far)
        added = near.add(bag)
        blob = added["chunks"][0]["blob_id"]
        wait_until(lambda: "large" in far.recordings(), "the other site knows of it", DEADLINE_S)
        with _nginx(folder, bag.parent) as web, _rsync_daemon(folder, bag.parent) as module:
            return _in_turns(folder, (near, far), blob, (f"{web}/{bag.name}", f"{module}/{bag.name}"))
    finally:
        near.stop()
        far.stop()


def _in_turns(folder: Path, sites: tuple[Site, Site], blob: str, addresses: tuple[str, str]) -> Figures:
    seconds: dict[str, list[float]] = {name: [] for name in NAMES}
    resident, busy = [0, 0], [0.0, 0.0]
    for number in range(ROUNDS):
        if number:
            _forget(sites[1])
        pids = [site.process.pid for site in sites if site.process is not None]
        memory, before = Memory(*pids), [cpu_seconds(pid) for pid in pids]
        memory.start()
        seconds[NAMES[0]].append(_fetch(sites[1], blob))
        resident = [max(pair) for pair in zip(resident, memory.end(), strict=True)]
        busy = [cpu_seconds(pid) - each for pid, each in zip(pids, before, strict=True)]
        copy = folder / "copy"
        for name, command in ((NAMES[1], ["curl", "-sS", "-o", str(copy), addresses[0]]), (NAMES[3], ["rsync", "-W", addresses[1], str(copy)])):
            seconds[name].append(_timed(command))
            seconds[f"{name}, then sync"].append(seconds[name][-1] + _timed(["sync", str(copy)]))
            assert copy.stat().st_size >= SIZE
            copy.unlink()
    return Figures(seconds, resident, busy)


def _fetch(far: Site, blob: str) -> float:
    """How long the bytes took to be there, whole and synced, seen from outside."""
    path = far.folder / "blobs" / blob[:2] / blob[2:4] / blob
    begun = time.monotonic()
    far.ask("POST", "recordings/large/fetch")
    while not path.exists():
        assert time.monotonic() - begun < DEADLINE_S, far.status()
        time.sleep(POLL_S)
    took = time.monotonic() - begun
    wait_until(lambda: far.recordings()["large"]["state"] == "local", "the bytes are at the other site", DEADLINE_S)
    return took


def _forget(far: Site) -> None:
    """Take the bytes away."""
    far.stop()
    shutil.rmtree(far.folder / "blobs")
    shutil.rmtree(far.folder / "recordings")
    far.start()
    wait_until(lambda: any(link["phase"] == "push" for link in far.status()["links"]), "the sites are linked again", DEADLINE_S)


def _timed(command: list[str]) -> float:
    begun = time.monotonic()
    subprocess.run(command, check=True, timeout=DEADLINE_S)
    return time.monotonic() - begun


@contextlib.contextmanager
def _nginx(folder: Path, served: Path) -> Iterator[str]:
    """One as people set it up to send files: the kernel sends them."""
    port = free_port()
    config = folder / "nginx.conf"
    temporary = " ".join(f"{name}_temp_path {folder}/temporary;" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    config.write_text(
        f"daemon off; user root; worker_processes 1; pid {folder}/nginx.pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; sendfile on; tcp_nopush on; {temporary} server {{ listen 127.0.0.1:{port}; root {served}; }} }}\n"
    )
    with _serving([shutil.which("nginx") or "nginx", "-p", str(folder), "-c", str(config)], port):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def _rsync_daemon(folder: Path, served: Path) -> Iterator[str]:
    port = free_port()
    config = folder / "rsyncd.conf"
    config.write_text(f"use chroot = no\nuid = root\ngid = root\nreverse lookup = no\n[served]\npath = {served}\nread only = yes\n")
    with _serving(["rsync", "--daemon", "--no-detach", "--address=127.0.0.1", f"--port={port}", f"--config={config}"], port):
        yield f"rsync://127.0.0.1:{port}/served"


@contextlib.contextmanager
def _serving(command: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command)
    try:
        wait_until(lambda: _answers(port), f"{command[0]} answers", DEADLINE_S)
        yield
    finally:
        process.terminate()
        process.wait(DEADLINE_S)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), 1.0).close()
        return True
    return False


if __name__ == "__main__":
    main()
