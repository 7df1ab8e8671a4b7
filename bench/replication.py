"""A log of 100 000 events goes from one real process to another, beside as many small documents replicated by PouchDB, as CouchDB does it: in turns.

What each of them does is not the same. This one verifies every event, has it on the disk before it counts, and projects it; to join the group is part
of the time. PouchDB compares revisions and leaves it to the system when the disk has what it wrote; it keeps no view, its processes are there already
when the time begins, and its server neither compresses nor logs. Both keep everything in files. PouchDB comes from npm, into a folder that is deleted
at the end: without node, npm or a way to packages it is left out. `RECMESH_BENCH_EVENTS` and `RECMESH_BENCH_FOLDER` say how many, and where.
"""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench import backfill
from bench.backfill import cpu_seconds

EVENTS = int(os.environ.get("RECMESH_BENCH_EVENTS", str(backfill.EVENTS)))
PACKAGES = {"pouchdb": "9.0.0", "express-pouchdb": "4.2.0", "express": "4.22.3"}
SETTINGS = ((1000, 10), (1000, 2))
"""Documents in a batch, and batches that wait at most: one turn with each. Others were no faster."""
NPM = ("install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts")
INSTALL_S = 300.0
DEADLINE_S = 600.0

_START = """
const PouchDB = require("pouchdb").defaults({ prefix: process.argv[1] + "/" });
const [first, second, third] = process.argv.slice(2).map(Number);
const fail = (error) => { console.error(error); process.exit(1); };
const LIFE_MS = 30 * 60 * 1000;
setTimeout(() => fail("nobody waits for so long"), LIFE_MS).unref();
"""
"""What both programs begin with. The first argument is the folder in which they keep everything, by LevelDB, which is what PouchDB takes in node."""

SERVER = (
    _START
    + """
// Fill a database with as many documents as are asked for, then serve it on a port that the system chooses, until stdin ends.
const { createHash } = require("node:crypto");
const hash = (text) => createHash("sha256").update(text).digest("hex");
const document = (number) => ({
  _id: hash(`event ${number}`).slice(0, 32), type: "recording.tag", recording: hash(`recording ${number >> 2}`), tag: `tag-${number % 4}`,
});
async function serve(count) {
  const db = new PouchDB("db");
  for (let done = 0; done < count; done += 1000) {
    await db.bulkDocs(Array.from({ length: Math.min(1000, count - done) }, (_, index) => document(done + index)));
  }
  const app = require("express")();
  app.use(require("express-pouchdb")(PouchDB, { mode: "minimumForPouchDB", overrideMode: { exclude: ["compression"] } }));
  const server = app.listen(0, "127.0.0.1", () => console.log(server.address().port));
}
process.stdin.on("end", () => process.exit(0)).resume();
serve(first).catch(fail);
"""
)
"""Takes how many documents."""

CLIENT = (
    _START
    + """
// Replicate everything once, and print how long that took, how long it was computed, and how many documents are there then.
async function pull(port, batch_size, batches_limit) {
  const db = new PouchDB("copy");
  await db.info();
  const [begun, busy] = [process.hrtime.bigint(), process.cpuUsage()];
  const told = await PouchDB.replicate(`http://127.0.0.1:${port}/db`, db, { batch_size, batches_limit });
  const seconds = Number(process.hrtime.bigint() - begun) / 1e9;
  const { user, system } = process.cpuUsage(busy);
  const documents = told.ok ? (await db.info()).doc_count : -1;
  await db.close();
  console.log(JSON.stringify({ seconds, computing: (user + system) / 1e6, documents }));
  process.exit(0);
}
pull(first, second, third).catch(fail);
"""
)
"""Takes a port and one of `SETTINGS`."""


class Turn(NamedTuple):
    """One replication by PouchDB."""

    batch: int
    waiting: int
    seconds: float
    sender_cpu_s: float
    receiver_cpu_s: float


def main() -> None:
    """Measure and print."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        print("replication beside PouchDB: left out, it needs node and npm")
        return
    with tempfile.TemporaryDirectory(dir=os.environ.get("RECMESH_BENCH_FOLDER")) as name:
        folder = Path(name)
        if not _installed(npm, folder):
            print("replication beside PouchDB: left out, npm could not install it")
            return
        version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
        _print(version, *measure(node, folder, EVENTS))


def _print(version: str, turns: list[Turn], backfills: list[dict[str, float]]) -> None:
    packages = ", ".join(f"{name} {each}" for name, each in PACKAGES.items())
    print(
        f"replication of {EVENTS} small documents or events on loopback; best of {len(SETTINGS)} turns; node {version.removeprefix('v')}, {packages}:"
    )
    for turn in turns:
        busy = [seconds / EVENTS * 1e6 for seconds in (turn.sender_cpu_s, turn.receiver_cpu_s)]
        said = f"batches of {turn.batch}, {turn.waiting} waiting; computing: sender {busy[0]:.1f} us a document, receiver {busy[1]:.1f} us"
        print(f"  PouchDB  {EVENTS / turn.seconds:8,.0f} documents/s  ({said})")
    for told in backfills:
        busy = [told[name] / EVENTS * 1e6 for name in ("sender_cpu_s", "receiver_cpu_s")]
        said = f"verified, durable, projected, join included; computing: sender {busy[0]:.1f} us an event, receiver {busy[1]:.1f} us"
        print(f"  recmesh  {EVENTS / told['projected_s']:8,.0f} events/s  ({said})")
    slow = EVENTS / min(turn.seconds for turn in turns)
    print(f"  recmesh is {max(EVENTS / told['projected_s'] for told in backfills) / slow:.1f} times as fast as PouchDB, join included")
    print(f"  from the first events on, once it has joined: {max(_rate_once_joined(told) for told in backfills) / slow:.1f} times")


def _rate_once_joined(told: dict[str, float]) -> float:
    return (told["received_events"] - told["first_events"]) / (told["projected_s"] - told["first_s"])


def measure(node: str, folder: Path, count: int) -> tuple[list[Turn], list[dict[str, float]]]:
    """Both in turns, so that a busy machine is busy for both. The packages lie in `folder` already."""
    turns, backfills = list[Turn](), list[dict[str, float]]()
    with _served(node, folder, count) as (port, pid):
        for batch, waiting in SETTINGS:
            before = cpu_seconds(pid)
            copy = folder / f"copy-{len(turns)}"
            told = _pulled(node, folder, copy, (port, batch, waiting))
            assert told["documents"] == count, told
            turns.append(Turn(batch, waiting, told["seconds"], cpu_seconds(pid) - before, told["computing"]))
            shutil.rmtree(copy)
            with tempfile.TemporaryDirectory(dir=folder) as sites:
                backfills.append(backfill.measure(Path(sites), count))
    return turns, backfills


def _installed(npm: str, folder: Path) -> bool:
    """Whether the packages lie in the folder now."""
    named = [f"{name}@{version}" for name, version in PACKAGES.items()]
    with contextlib.suppress(subprocess.TimeoutExpired):
        command = [npm, *NPM, "--prefix", str(folder), *named]
        return subprocess.run(command, check=False, capture_output=True, timeout=INSTALL_S, cwd=folder).returncode == 0
    return False


@contextlib.contextmanager
def _served(node: str, folder: Path, count: int) -> Iterator[tuple[int, int]]:
    """The port at which a full database is served, and the process that does it."""
    place = folder / "served"
    place.mkdir()
    command = [node, "-e", SERVER, str(place), str(count)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "the server of PouchDB ended"
        yield int(line), process.pid
    finally:
        process.terminate()
        process.communicate(timeout=DEADLINE_S)


def _pulled(node: str, folder: Path, copy: Path, settings: tuple[int, int, int]) -> dict[str, float]:
    """What a new process says that replicated everything."""
    copy.mkdir()
    command = [node, "-e", CLIENT, str(copy), *map(str, settings)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=DEADLINE_S, cwd=folder)
    return {str(name): float(value) for name, value in json.loads(done.stdout).items()}


if __name__ == "__main__":
    main()
