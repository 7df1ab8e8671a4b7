"""Dialling: what becomes of each address, and who hears of it."""

import asyncio
import base64
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from peer.core.certificate import LogKind
from peer.core.identity import PeerId
from peer.core.neighbours import NoNeighbours
from peer.core.run import Draft
from peer.sync import limits
from peer.transport import dialling, links, opening
from tests.counting_proxy import counting_proxy, refusal
from tests.link_lab import Lab, Site, target, wall_ms


class Tried(NoNeighbours):
    """Remembers what was dialled."""

    def __init__(self) -> None:
        self.found: list[tuple[PeerId, str, str | None]] = []

    def tried(self, peer: PeerId, endpoint: str, code: str | None) -> None:
        """One more."""
        self.found.append((peer, endpoint, code))


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    """Sites that end with the test."""
    async with contextlib.AsyncExitStack() as stack:
        yield Lab(tmp_path, stack)


def is_up_to_date(site: Site) -> bool:
    """Whether its one link has brought everything."""
    return site.links.links()[0]["state"] == "up_to_date"


async def silent_port() -> int:
    """A port where nobody listens."""
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port = int(server.sockets[0].getsockname()[1])
    server.close()
    await server.wait_closed()
    return port


async def test_who_looks_after_neighbours_hears_what_became_of_each_address(lab: Lab) -> None:
    """An address where nobody is, and one where somebody else is, each with a code; none for the address where the peer proved itself."""
    tried = Tried()
    a, b, c = await lab.site("a", neighbours=tried), await lab.site("b"), await lab.site("c")
    group = await lab.found(a)
    await b.links.join(await lab.invitation(a, group))
    b.hang_up()
    dead = f"http://127.0.0.1:{await silent_port()}"
    a.links.set_targets([replace(target(b), endpoints=(dead, c.endpoint, b.endpoint))])
    await lab.wait(lambda: len(tried.found) >= 3)

    peer = b.key.peer_id
    assert tried.found[:3] == [(peer, dead, "unreachable"), (peer, c.endpoint, "handshake_failed"), (peer, b.endpoint, None)]
    assert a.links.is_linked(peer)


async def test_an_address_counts_as_good_as_soon_as_the_peer_has_proved_itself_there(lab: Lab) -> None:
    """Not only when the link ends, which may be next year; nor is an end of it a failure of the address."""
    tried = Tried()
    a, b = await lab.site("a"), await lab.site("b", neighbours=tried)
    group = await lab.found(a)
    await b.links.join(await lab.invitation(a, group))

    assert tried.found == [(a.key.peer_id, a.endpoint, None)]
    b.links.set_targets([target(a)])
    a.hang_up()
    await lab.wait(lambda: len(tried.found) == 2)
    assert tried.found[1] == tried.found[0]


@pytest.mark.parametrize("header", ["Retry-After: 2", "date", "after-413"])
async def test_who_asks_to_be_left_alone_is_dialled_when_it_said_and_not_before(lab: Lab, monkeypatch: pytest.MonkeyPatch, header: str) -> None:
    """Though the back-off alone would have been shorter; what it said is shown meanwhile. Then the link comes by itself.

    So it is where a proxy refuses the WebSocket for another reason, and what is tried in its place is asked to wait.
    """
    monkeypatch.setattr(dialling, "delay_ms", lambda _failures, _chance: 50)
    before = [refusal(413)] if header == "after-413" else []
    if before:
        header = "Retry-After: 2"
    if header == "date":
        header = "Date: Tue, 14 Nov 2023 22:13:18 GMT\r\nRetry-After: Tue, 14 Nov 2023 22:13:20 GMT"
    a, b = await lab.site("a"), await lab.site("b")
    group = await lab.found(a)
    await b.links.join(await lab.invitation(a, group))
    b.hang_up()
    async with counting_proxy(a.endpoint) as proxy:
        proxy.faults.extend([*before, refusal(429, header)])
        began = time.monotonic()
        b.links.set_targets([target(a, proxy.url)])
        await lab.wait(lambda: b.links.links()[0]["last_error"] is not None)
        assert "429, and asks us to wait 2 s" in b.links.links()[0]["last_error"]["text"]
        await lab.wait(lambda: b.links.is_linked(a.key.peer_id))
        assert 2.0 <= time.monotonic() - began < 4.0
        assert proxy.happened == {"429": 1, **({"413": 1} if before else {})}


async def test_an_operator_need_not_wait_as_long_as_a_server_says(lab: Lab) -> None:
    """`recmesh peer test` and `recmesh peer resume` dial at once; an hour is not over."""
    a, b = await lab.site("a"), await lab.site("b")
    group = await lab.found(a)
    await b.links.join(await lab.invitation(a, group))
    b.hang_up()
    async with counting_proxy(a.endpoint) as proxy:
        proxy.faults.append(refusal(503, "Retry-After: 99999999"))
        b.links.set_targets([target(a, proxy.url)])
        await lab.wait(lambda: b.links.links()[0]["next_try_ms"] is not None)
        assert 3_590_000 < b.links.links()[0]["next_try_ms"] - wall_ms() <= 3_600_000
        dialler = b.links.dialler_of(a.key.peer_id)
        assert dialler is not None
        dialler.hurry()
        await lab.wait(lambda: b.links.is_linked(a.key.peer_id))


async def test_an_address_that_asks_us_to_wait_holds_up_no_other(lab: Lab) -> None:
    a, b = await lab.site("a"), await lab.site("b")
    group = await lab.found(a)
    await b.links.join(await lab.invitation(a, group))
    b.hang_up()
    async with counting_proxy(a.endpoint) as proxy:
        proxy.faults.extend([refusal(429, "Retry-After: 600")] * 3)
        b.links.set_targets([replace(target(a), endpoints=(proxy.url, a.endpoint))])
        for _ in range(2):
            await lab.wait(lambda: is_up_to_date(b))
            b.hang_up()
        await lab.wait(lambda: is_up_to_date(b))
        assert proxy.happened == {"429": 1}


class Mute:
    """Something that accepts connections and goes as far as it is told, then says no more."""

    def __init__(self, steps: Sequence[bytes]) -> None:
        self.steps = steps
        self.met = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.met += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            for step in self.steps:
                head = await reader.readuntil(b"\r\n\r\n")
                key = next((line.split(b": ")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")), b"")
                accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())  # noqa: S324  (RFC 6455 says so)
                writer.write(step.replace(b"ACCEPT", accept))
            await reader.read()
        writer.close()


UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n"


@pytest.mark.parametrize(
    ("scheme", "steps", "code"),
    [
        ("https", [], "unreachable"),
        ("http", [], "unreachable"),
        ("http", [b"HTTP/1.1 101 Swit"], "unreachable"),
        ("http", [UPGRADED], "handshake_timeout"),
    ],
    ids=["no-tls", "no-answer", "half-an-answer", "no-hello"],
)
async def test_an_address_that_accepts_and_says_nothing_ends_in_time_and_holds_up_no_other(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, scheme: str, steps: Sequence[bytes], code: str
) -> None:
    """However far it goes: the link at the other address stands long before, and it ends with a code that says what was missing."""
    tried = Tried()
    a, b = await lab.site("a"), await lab.site("b", neighbours=tried)
    group = await lab.found(a)
    await b.links.join(await lab.invitation(a, group))
    b.hang_up()
    mute = Mute(steps)
    async with await asyncio.start_server(mute.serve, "127.0.0.1", 0) as server:
        dead = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        began = time.monotonic()
        b.links.set_targets([replace(target(a), endpoints=(dead, a.endpoint))])
        await lab.wait(lambda: is_up_to_date(b))
        assert time.monotonic() - began < 6.0
        assert mute.met == 1
        assert b.links.links()[0]["address"] == a.endpoint

        monkeypatch.setattr(opening, "CONNECT_TIMEOUT_S", 0.5)
        monkeypatch.setattr(limits, "HANDSHAKE_TIMEOUT_MS", 500)
        del tried.found[:]
        await lab.wait(lambda: len(b.links._connections) == 1)
        b.links.set_targets([target(a, dead)])
        b.hang_up()
        await lab.wait(lambda: bool(tried.found))
        assert tried.found[0] == (a.key.peer_id, dead, code)


async def test_the_address_that_worked_last_is_tried_first(lab: Lab) -> None:
    """And the others still are, when it does not work any more."""
    tried = Tried()
    a, b = await lab.site("a"), await lab.site("b", neighbours=tried)
    group = await lab.found(a)
    await b.links.join(await lab.invitation(a, group))
    b.hang_up()
    dead = f"http://127.0.0.1:{await silent_port()}"
    async with counting_proxy(a.endpoint) as proxy:
        endpoints = (dead, proxy.url, a.endpoint)
        b.links.set_targets([replace(target(a), endpoints=endpoints)])
        await lab.wait(lambda: is_up_to_date(b))
        del tried.found[:]
        b.hang_up()
        await lab.wait(lambda: is_up_to_date(b))
        assert [(endpoint, code) for _, endpoint, code in tried.found] == [(proxy.url, None)]
        proxy.faults.extend([refusal(502)] * 99)
        del tried.found[:]
        b.hang_up()
        await lab.wait(lambda: is_up_to_date(b))
        assert [endpoint for _, endpoint, code in tried.found if code is None] == [a.endpoint]
        assert {endpoint for _, endpoint, _ in tried.found} == set(endpoints)


async def test_a_cable_that_is_cut_is_noticed_on_both_sides_and_both_agree_afterwards(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is closed, nothing comes any more. Dialler and listener give up after two pings; what was written meanwhile arrives by itself."""
    monkeypatch.setattr(limits, "PING_INTERVAL_MS", 400)
    monkeypatch.setattr(links, "TICK_S", 0.05)
    a, b = await lab.site("a"), await lab.site("b")
    group = await lab.found(a)
    await b.links.join(await lab.invitation(a, group))
    b.hang_up()
    async with counting_proxy(a.endpoint) as proxy:
        b.links.set_targets([target(a, proxy.url)])
        await lab.wait(lambda: a.links.is_linked(b.key.peer_id) and b.links.is_linked(a.key.peer_id) and a.tips(group) == b.tips(group))
        both = [a.links.link_to(b.key.peer_id), b.links.link_to(a.key.peer_id)]
        proxy.is_silent = True
        for site in (a, b):
            await site.store.write(group, LogKind.DATA, [Draft("test.note", b"\xa0")] * 3)
        began = time.monotonic()
        await lab.wait(lambda: all(each is not None and each.end is not None for each in both))
        assert time.monotonic() - began < 8.0
        assert [each.end.code for each in both if each is not None and each.end is not None] == ["link_silent"] * 2
        assert proxy.happened["silence"]
        proxy.is_silent = False
        await lab.wait(lambda: a.tips(group) == b.tips(group) and len(a.store.replica.groups[group].tips) >= 3)


async def test_a_peer_that_is_not_heard_of_for_long_is_called_unreachable_and_dialled_all_the_same(lab: Lab) -> None:
    """A word on a screen: it says since when, and goes when the peer is back."""
    a, b = await lab.site("a"), await lab.site("b")
    b.links._sightings._timeout_ms = 300
    group = await lab.found(a)
    await b.links.join(await lab.invitation(a, group))
    b.links.set_targets([target(a, f"http://127.0.0.1:{await silent_port()}")])
    assert b.links.links()[0]["unreachable_since_ms"] is None
    b.hang_up()
    await lab.wait(lambda: b.links.links()[0]["unreachable_since_ms"] is not None)
    link = b.links.links()[0]
    assert link["state"] in {"offline", "connecting"}
    assert abs(link["unreachable_since_ms"] - link["last_seen_ms"]) < 100
    assert 300 <= wall_ms() - link["unreachable_since_ms"] < 10_000
    dialler = b.links.dialler_of(a.key.peer_id)
    assert dialler is not None
    tries = dialler.tries
    await lab.wait(lambda: dialler.tries > tries)
    b.links.set_targets([target(a)])
    await lab.wait(lambda: is_up_to_date(b))
    assert b.links.links()[0]["unreachable_since_ms"] is None
