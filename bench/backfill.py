"""A log of 100 000 events goes from one real process to another: events per second, verified, durable and projected, and memory at both ends."""

import asyncio
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil

from materializer.bodies import RecordingCreate, recording_create
from materializer.edits import recording_tag
from peer.core.certificate import LogKind
from peer.core.identity import EventId
from peer.core.run import Draft
from peer.store.database import open_database
from peer.store.events import opened_event_store
from peer.store.keys import KeyFiles
from tests.end_to_end.processes import Site, found, wait_until

EVENTS = 100_000
TAGS_PER_RECORDING = 3
DEADLINE_S = 300.0
REST_S = 1.0
REST_SHARE = 0.1
"""Of one core: less is computed by who has nothing to do."""
FIRST_EVENTS = 16
"""More than a group has by itself: once a site has them the backfill has begun."""


def write_history(site: Site, count: int) -> None:
    """Fill the one group of a stopped site with `count` small events: recordings with tags."""
    asyncio.run(_write_history(site, count))


async def _write_history(site: Site, count: int) -> None:
    keys = KeyFiles(site.folder / "keys")
    database = await open_database(site.folder / "log.db", "log")
    async with database, opened_event_store(database, keys, keys.peer_key(), lambda: time.time_ns() // 1_000_000) as store:
        group = next(iter(store.replica.groups))
        written = 0
        while written < count:
            creations = min(500, -(-(count - written) // (TAGS_PER_RECORDING + 1)))
            stored = await store.write(group, LogKind.DATA, [_creation(written + index) for index in range(creations)])
            tags = [_tag(each.event.id, index) for each in stored for index in range(TAGS_PER_RECORDING)][: count - written - creations]
            if tags:
                await store.write(group, LogKind.DATA, tags)
            written += creations + len(tags)


def _creation(number: int) -> Draft:
    return recording_create(
        RecordingCreate(name=f"bag-{number:06}", machine="robot-7", created_ns=1_800_000_000_000_000_000 + number, profile="ros2")
    )


def _tag(recording: EventId, number: int) -> Draft:
    return recording_tag(recording, f"tag-{number}", present=True)


class Memory(threading.Thread):
    """Watches the resident size of peers, with the processes that they begin; what several share of it counts once."""

    def __init__(self, *pids: int) -> None:
        super().__init__(daemon=True)
        self._pids = pids
        self.peaks = [0 for _ in pids]
        self._ended = threading.Event()

    def run(self) -> None:
        """Until `end`."""
        while not self._ended.wait(0.05):
            for index, pid in enumerate(self._pids):
                self.peaks[index] = max(self.peaks[index], resident_bytes(pid))

    def end(self) -> list[int]:
        """The peaks, in bytes."""
        self._ended.set()
        self.join()
        return self.peaks


def measure(folder: Path, count: int = EVENTS) -> dict[str, float]:
    """Seconds and bytes of one backfill."""
    sender, receiver = Site("sender", folder / "sender"), Site("receiver", folder / "receiver")
    sender.start()
    found(sender)
    sender.stop()
    write_history(sender, count)
    begun = time.monotonic()
    sender.start()
    started_s = time.monotonic() - begun
    receiver.start()
    assert sender.process is not None
    assert receiver.process is not None
    pids = sender.process.pid, receiver.process.pid
    try:
        wait_until(lambda: sender.group()["view_events"] >= sender.group()["events"], "the sender knows its own history", DEADLINE_S)
        wait_until(lambda: all(is_at_rest(pid) for pid in pids), "both are at rest", DEADLINE_S)
        invitation = sender.command("group", "invite", "lab").stdout.strip()
        memory = Memory(*pids)
        memory.start()
        busy_before = [cpu_seconds(pid) for pid in pids]
        begun = time.monotonic()
        with ThreadPoolExecutor(1) as joining:
            joined = joining.submit(receiver.command, "--timeout", "300s", "group", "join", invitation)
            wait_until(lambda: joined.done() or any(each["events"] > FIRST_EVENTS for each in receiver.status()["groups"]), "it begins", DEADLINE_S)
            first_s, first_events = time.monotonic() - begun, receiver.group()["events"]
            joined.result(DEADLINE_S)
        joined_s = time.monotonic() - begun
        total = sender.group()["events"]
        wait_until(lambda: receiver.group()["view_events"] >= total and sender.group()["view_events"] >= total, "all is projected", DEADLINE_S)
        projected_s = time.monotonic() - begun
        busy = [cpu_seconds(pid) - before for pid, before in zip(pids, busy_before, strict=True)]
        peaks = memory.end()
        assert sender.group()["state_digest"] == receiver.group()["state_digest"]
        return {
            "events": count,
            "sent_events": total,
            "received_events": receiver.group()["view_events"],
            "start_s": started_s,
            "first_s": first_s,
            "first_events": first_events,
            "backfill_s": joined_s,
            "projected_s": projected_s,
            "sender_cpu_s": busy[0],
            "receiver_cpu_s": busy[1],
            "sender_bytes": peaks[0],
            "receiver_bytes": peaks[1],
        }
    finally:
        sender.stop()
        receiver.stop()


def resident_bytes(pid: int) -> int:
    """Of a process alone; with others that it began, each page that they share with anybody counts for its part."""
    process = psutil.Process(pid)
    children = process.children(recursive=True)
    if not children:
        return int(process.memory_info().rss)
    total = 0
    for each in (process, *children):
        with suppress(psutil.NoSuchProcess):
            total += each.memory_full_info().pss
    return total


def cpu_seconds(pid: int) -> float:
    """How long a process and those that it began have been computing: much the same however busy the machine is."""
    process = psutil.Process(pid)
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def is_at_rest(pid: int) -> bool:
    """Whether it has nothing to do. The history was put into the sender a moment ago, and it makes the summaries of lists that it would have long."""
    before = cpu_seconds(pid)
    time.sleep(REST_S)
    return cpu_seconds(pid) - before < REST_S * REST_SHARE


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        told = measure(Path(folder))
    print(f"backfill of {told['events']} events: {told['events'] / told['backfill_s']:,.0f} events/s verified and durable, join included")
    print(f"  projected at the receiver as well: {told['events'] / told['projected_s']:,.0f} events/s")
    rest, rest_s = told["received_events"] - told["first_events"], told["projected_s"] - told["first_s"]
    print(f"  from the first events on, after {told['first_s']:.1f} s: {rest / rest_s:,.0f} events/s, projected as well")
    busy = [told[name] / told["events"] * 1e6 for name in ("sender_cpu_s", "receiver_cpu_s")]
    print(f"  computing: sender {busy[0]:.1f} us an event, receiver {busy[1]:.1f} us")
    print(f"  resident at most: sender {told['sender_bytes'] / 2**20:.0f} MB, receiver {told['receiver_bytes'] / 2**20:.0f} MB")
