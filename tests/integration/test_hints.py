"""Addresses that others told of, over real sockets: where they may lead, and where no byte goes."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from aiohttp import web

from peer.core.dial_networks import DialNetworks
from peer.core.identity import BlobId, GroupId
from peer.errors import AddressNotAllowedError, TransportError
from peer.transport.blob_client import BlobClient
from peer.transport.channel import ChannelRules
from peer.transport.hint_names import LOOKUPS_MAX
from peer.transport.reaching import reach
from tests.link_lab import Lab, Site, target
from tests.samples import key_pair

ALLOWED = "127.0.0.2"
"""A loopback address that the operator names; nobody listens there."""

RULES = ChannelRules(hints=DialNetworks((ip_network(ALLOWED),)))
GROUP = GroupId(bytes(32))


class Trap:
    """A service on loopback that no address from elsewhere may lead to."""

    def __init__(self) -> None:
        self.touched = 0
        self.port = 0


@contextlib.asynccontextmanager
async def open_trap() -> AsyncIterator[Trap]:
    """One that counts who connects."""
    found = Trap()

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.touched += 1
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        found.port = server.sockets[0].getsockname()[1]
        yield found


@pytest.fixture
async def trap() -> AsyncIterator[Trap]:
    """One for a test."""
    async with open_trap() as found:
        yield found


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    """Sites that end with the test."""
    async with contextlib.AsyncExitStack() as stack:
        yield Lab(tmp_path, stack)


def names(patch: pytest.MonkeyPatch, answers: Sequence[Sequence[str]]) -> list[str]:
    """Let `localhost` mean these addresses, one answer after the other and the last for ever; gives what was asked."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def look_up(host: str, port: int, *arguments: int, **options: int) -> list[tuple[object, ...]]:
        if host != "localhost":
            return real(host, port, *arguments, **options)
        asked.append(host)
        found = answers[min(len(asked), len(answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (each, port)) for each in found]

    patch.setattr(socket, "getaddrinfo", look_up)
    return asked


async def dialled(lab: Lab, site: Site, endpoint: str) -> str:
    """The code that dialling a hint ends with."""
    other = key_pair("somebody").peer_id
    site.links.set_targets([replace(target(site, endpoint), peer=other, hints=frozenset({endpoint}))])
    await lab.wait(lambda: bool(site.links.links()[0]["last_error"]))
    error = site.links.links()[0]["last_error"]
    assert error["fix"]
    return str(error["code"])


@pytest.mark.parametrize("host", ["127.0.0.1", "[::ffff:127.0.0.1]", "localhost", "169.254.169.254", "0.0.0.0", "10.255.255.1", "[fd00:ec2::254]"])  # noqa: S104  (dialled, not bound to)
async def test_a_hint_leads_into_no_network_that_is_not_allowed(lab: Lab, trap: Trap, host: str) -> None:
    """Neither with TLS nor, where plain HTTP would be, without: it is refused before a connection is made, and says what to do."""
    site = await lab.site("site")
    assert await dialled(lab, site, f"https://{host}:{trap.port}") == "address_not_allowed"
    if "127" in host and "[" not in host:
        assert await dialled(lab, site, f"http://{host}:{trap.port}") == "address_not_allowed"
    assert trap.touched == 0


async def test_each_address_behind_a_name_is_judged_not_only_the_first(lab: Lab, trap: Trap, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is allowed and dead; the second would answer."""
    site = await lab.site("site", rules=RULES)
    names(monkeypatch, [[ALLOWED, "127.0.0.1"]])
    assert await dialled(lab, site, f"http://localhost:{trap.port}") == "address_not_allowed"
    assert trap.touched == 0


async def test_a_name_that_means_something_else_a_moment_later_leads_nowhere(lab: Lab, trap: Trap, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was judged is connected to; nobody asks for the name again in between."""
    site = await lab.site("site", rules=RULES)
    asked = names(monkeypatch, [[ALLOWED], ["127.0.0.1"]])
    assert await dialled(lab, site, f"http://localhost:{trap.port}") == "unreachable"
    assert len(asked) == 1
    dialler = site.links.dialler_of(key_pair("somebody").peer_id)
    assert dialler is not None
    dialler.hurry()
    await lab.wait(lambda: site.links.links()[0]["last_error"]["code"] == "address_not_allowed")
    assert len(asked) == 2
    assert trap.touched == 0


async def test_what_the_operator_entered_is_dialled_wherever_it_leads(lab: Lab) -> None:
    """And a hint where the operator allows it, or the own listener is."""
    a, b = await lab.site("a"), await lab.site("b")
    c = await lab.site("c", rules=ChannelRules(hints=DialNetworks(loopback=True)))
    group = await lab.found(a)
    for each in (b, c):
        await each.links.join(await lab.invitation(a, group))
        each.hang_up()
    b.links.set_targets([target(a)])
    c.links.set_targets([replace(target(a), hints=frozenset({a.endpoint}))])
    await lab.wait(lambda: b.links.is_linked(a.key.peer_id) and c.links.is_linked(a.key.peer_id))


async def test_of_what_a_hint_led_to_the_latest_is_remembered(trap: Trap) -> None:
    """Bytes are asked for again and again by the same client: it says where it leads now, and keeps no list of all that was."""
    async with BlobClient(key_pair("a"), key_pair("somebody").peer_id, f"http://127.0.0.1:{trap.port}", is_hint=True) as client:
        for _ in range(3):
            with pytest.raises(AddressNotAllowedError):
                await anext(client.read(GROUP, BlobId(bytes(32)), 0, 100))

        assert client._session.connector._dialled.refused == ["127.0.0.1"]  # type: ignore[union-attr]


async def test_bytes_are_not_asked_for_where_a_hint_must_not_lead(trap: Trap) -> None:
    """Nor does a redirect lead there, from wherever it comes."""
    key, other = key_pair("a"), key_pair("somebody").peer_id
    async with BlobClient(key, other, f"http://127.0.0.1:{trap.port}", is_hint=True) as client:
        with pytest.raises(AddressNotAllowedError):
            await anext(client.read(GROUP, BlobId(bytes(32)), 0, 100))
    app = web.Application()
    asked: list[str] = []

    async def lead(request: web.Request) -> web.Response:
        asked.append(request.path)
        raise web.HTTPFound(f"http://127.0.0.1:{trap.port}/")

    app.add_routes([web.get("/{path:.*}", lead)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with BlobClient(key, other, f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
            with pytest.raises(TransportError, match="answers 302"):
                await anext(client.read(GROUP, BlobId(bytes(32)), 0, 100))
    finally:
        await runner.cleanup()
    assert len(asked) == 1
    assert trap.touched == 0


async def test_a_test_of_a_peer_goes_no_further_than_a_link_would(lab: Lab, trap: Trap) -> None:
    """The way of `recmesh peer test`: it says that the address is not allowed, and does not touch it."""
    site = await lab.site("site")
    other, endpoint = key_pair("somebody").peer_id, f"https://127.0.0.1:{trap.port}"
    site.links.set_targets([replace(target(site, endpoint), peer=other, hints=frozenset({endpoint}))])
    reached = await reach(site.links, other, [endpoint])
    assert [(step.step, step.ok) for step in reached.steps] == [("name", False)]
    assert reached.code == "address_not_allowed"
    assert "dial_networks" in reached.fix
    assert trap.touched == 0


async def test_names_that_nobody_answers_for_hold_up_nothing_else(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither threads that other work needs, nor links to whom the operator named; and there are few of them at a time."""
    site, good = await lab.site("site"), await lab.site("good")
    group = await lab.found(good)
    await site.links.join(await lab.invitation(good, group))
    site.hang_up()
    answered, waiting = threading.Event(), []
    real = socket.getaddrinfo

    def never(host: str, *arguments: int, **options: int) -> list[tuple[object, ...]]:
        if host.endswith(".invalid"):
            waiting.append(host)
            answered.wait(60)
            raise socket.gaierror("nobody knows")
        return real(host, *arguments, **options)  # type: ignore[return-value]

    monkeypatch.setattr(socket, "getaddrinfo", never)
    try:
        hints = [f"https://{number}.invalid:1" for number in range(3 * LOOKUPS_MAX)]
        others = [replace(target(site, hint), peer=key_pair(hint).peer_id, hints=frozenset({hint})) for hint in hints]
        site.links.set_targets([target(good, good.endpoint.replace("127.0.0.1", "localhost")), *others])
        await lab.wait(lambda: len(waiting) == LOOKUPS_MAX and site.links.is_linked(good.key.peer_id))
        assert await asyncio.wait_for(asyncio.gather(*(asyncio.to_thread(lambda: 1) for _ in range(64))), 20) == [1] * 64
        assert len(waiting) == LOOKUPS_MAX
    finally:
        answered.set()
