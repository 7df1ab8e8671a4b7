"""A peer as a process under floods: strangers and a member that means harm take what they can get, all at once.

What its memory grows by is read from the operating system. Beside the flood a good link goes on, and each kind of flood is counted: one that did not
happen proves nothing.
"""

import asyncio
import contextlib
import os
import resource
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil
import pytest

from peer.cli.sample import write_sample
from peer.core.certificate import LogKind, certify
from peer.core.encoding import encode
from peer.core.identity import GroupId, KeyPair, PeerId
from peer.core.run import Draft
from peer.store.keys import KeyFiles
from peer.sync import limits, messages
from peer.sync.messages import encode_message
from tests.end_to_end.processes import DEADLINE_S, Site, found, join, wait_until
from tests.integration.hostile_peer import hostile_link, proven
from tests.samples import SampleLog
from tests.sync_site import events_of

pytestmark = pytest.mark.xdist_group("processes")
GROWTH_MAX = 512 * 1024 * 1024
"""64 MiB of queues, 1 MiB that each link may have beyond them, a frame for each unproven connection, and a copy of some of it on its way: far less
than what is thrown at it."""

SILENT = 600
JUNK_SENDERS = 200
NEVER_READING = 40
LOADS = 6
"""Connections over which a member sends the largest frames there are."""

RUNS_OF_A_LOAD = 40
SOURCES = [f"127.0.0.{number}" for number in range(2, 12)]


@dataclass(frozen=True)
class Endpoint:
    """A site in another process, as far as a dialler needs it."""

    peer: PeerId
    endpoint: str


@dataclass
class Flood:
    """What was done, and how much memory it took."""

    victim: psutil.Process
    happened: Counter[str] = field(default_factory=Counter)
    most: int = 0

    def look(self) -> None:
        """At the victim's memory."""
        self.most = max(self.most, self.victim.memory_info().rss)


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Site, Site]]:
    """The victim, a good member that is linked to it, and one that will mean harm, whose peer does not run."""
    folder = tmp_path_factory.mktemp("floods")
    made = victim, good, mallory = tuple(Site(name, folder / name) for name in ("victim", "good", "mallory"))  # type: ignore[misc]
    for site in made:
        site.start()
    found(victim)
    join(victim, good)
    join(victim, mallory)
    wait_until(lambda: len(victim.json("group", "show", "lab")["members"]) == 3, "all are members")
    assert mallory.stop() == 0
    yield victim, good, mallory
    for site in (good, victim):
        assert site.stop() == 0


async def silent_connections(port: int, flood: Flood, end: asyncio.Event) -> None:
    """Connections that say nothing, or half a request, from many addresses; dialled anew when they are closed."""

    async def one(number: int) -> None:
        while not end.is_set():
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(SOURCES[number % len(SOURCES)], 0))
                if number % 2:
                    writer.write(b"GET /sync/v1/link HTTP/1.1\r\nHost: ")
                flood.happened["silent or half-open connections"] += 1
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1):
                        await reader.read()
                writer.close()
            await asyncio.sleep(0.05)

    await asyncio.gather(*(one(number) for number in range(SILENT)))


async def junk_frames(endpoint: str, flood: Flood, end: asyncio.Event) -> None:
    """Strangers that send the largest frame there is, and then nothing."""
    junk = os.urandom(limits.FRAME_SIZE_MAX)

    async def one(number: int) -> None:
        connector = aiohttp.TCPConnector(local_addr=(SOURCES[number % len(SOURCES)], 0))
        async with aiohttp.ClientSession(connector=connector) as http:
            while not end.is_set():
                with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                    async with http.ws_connect(f"{endpoint}/sync/v1/link") as socket:
                        await socket.send_bytes(junk)
                        flood.happened["largest frames of strangers"] += 1
                        async with asyncio.timeout(1):
                            await socket.receive()
                await asyncio.sleep(0.1)

    await asyncio.gather(*(one(number) for number in range(JUNK_SENDERS)))


async def largest_events(victim: Endpoint, key: KeyPair, group: GroupId, label: str, flood: Flood) -> SampleLog:
    """A member that sends runs as large as they may be, as fast as they are taken, without a look at its credit."""
    log = SampleLog("mallory", group, label=label)
    log.author = key
    log.certificate = certify(key, group, log.key.public, LogKind.DATA)
    body = encode({"a": bytes(60_000)})
    runs = [log.write(*[Draft("test.load", body)] * 4) for _ in range(RUNS_OF_A_LOAD)]
    async with hostile_link(victim.endpoint, victim.peer, key, groups=(group,)) as mallory:
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):
            await mallory.announce(log)
            for run in runs:
                await mallory.say(events_of(group, run))
                flood.happened["largest runs of a member"] += 1
        with contextlib.suppress(AssertionError, ConnectionError, aiohttp.ClientError, TimeoutError):
            await mallory.is_heard_out()
    return log


async def never_reading(victim: Endpoint, key: KeyPair, group: GroupId, logs: list[SampleLog], flood: Flood, end: asyncio.Event) -> None:
    """Links of a member that ask for everything, grant credit without end, and read nothing."""

    async def one() -> None:
        while not end.is_set():
            with contextlib.suppress(ConnectionError, aiohttp.ClientError, OSError, TypeError, AssertionError, TimeoutError):
                async with proven(victim.endpoint, victim.peer, key, groups=(group,)) as (socket, _):
                    for log in logs:
                        await socket.send_bytes(encode_message(messages.Want(group, log.certificate.log, (), search=False)))
                    flood.happened["links that do not read"] += 1
                    while not end.is_set():
                        await socket.send_bytes(encode_message(messages.Credit(limits.CREDIT_INITIAL)))
                        await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)

    await asyncio.gather(*(one() for _ in range(NEVER_READING)))


async def watched(flood: Flood, end: asyncio.Event) -> None:
    """The victim's memory, all the time."""
    while not end.is_set():
        flood.look()
        await asyncio.sleep(0.05)


async def test_floods_do_not_make_a_peer_grow_and_a_good_link_goes_on(sites: tuple[Site, Site, Site], tmp_path: Path) -> None:
    victim, good, mallory = sites
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(files[1], 8192), files[1]))
    assert victim.process is not None
    process = psutil.Process(victim.process.pid)
    flood, end = Flood(process), asyncio.Event()
    before = process.memory_info().rss
    key = KeyFiles(mallory.folder / "keys").peer_key()
    group = GroupId(bytes.fromhex(victim.group()["group_id"]))
    peer = PeerId(bytes.fromhex(victim.status()["peer_id"]))
    endpoint = Endpoint(peer, f"http://127.0.0.1:{victim.listen}")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(watched(flood, end))
        logs = await asyncio.gather(*(largest_events(endpoint, key, group, str(number), flood) for number in range(LOADS)))
        for flooding in (
            silent_connections(victim.listen, flood, end),
            junk_frames(endpoint.endpoint, flood, end),
            never_reading(endpoint, key, group, list(logs), flood, end),
        ):
            tasks.create_task(flooding)
        try:
            for number in range(3):
                bag = tmp_path / f"flood-{number}.mcap"
                write_sample(bag, 128 * 1024, number + 1)
                await asyncio.to_thread(good.add, bag)
                await asyncio.to_thread(arrived(victim, bag.stem))
                await until(lambda number=number: flood.happened["links that do not read"] > number, "some do not read")  # type: ignore[misc]
            await until(lambda: all(flood.happened[kind] >= least for kind, least in LEAST.items()), "the floods happened")
        finally:
            end.set()
    assert flood.most > before, "nobody looked"
    print(f"memory before {before >> 20} MiB, at most {flood.most >> 20} MiB;", dict(flood.happened))  # noqa: T201
    assert flood.most - before < GROWTH_MAX
    assert victim.is_running
    wait_until(lambda: process.num_fds() < 100, "the connections are given up")
    (link,) = [each for each in good.status()["links"] if each["peer_id"] == peer.hex()]
    assert link["state"] in ("up_to_date", "receiving")


LEAST = {
    "silent or half-open connections": SILENT,
    "largest frames of strangers": 50,
    "largest runs of a member": 50,
    "links that do not read": NEVER_READING + 20,
}
"""How often each has to have happened; of the links so many that some were cut off and dialled anew."""


def arrived(site: Site, name: str) -> Callable[[], None]:
    """Waits until a recording and its bytes are there."""

    def wait() -> None:
        wait_until(lambda: site.recordings().get(name, {}).get("state") == "local", f"{name} has arrived")

    return wait


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for it."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():  # noqa: ASYNC110  (what is waited for happens in other tasks)
                await asyncio.sleep(0.05)
    except TimeoutError as error:
        raise AssertionError(f"in vain waited until {what}") from error
