"""Hubs that fail, refuse, lie, talk too much or too slowly: shown by a code, survived, asked again later, and told no secret."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from peer.core.identity import KeyPair
from peer.errors import HubBusyError
from peer.transport.tls import own_tls, peer_spki_sha256
from resolver import hub_client
from resolver.base import SourceState
from resolver.hub_client import BODY_SIZE_MAX, HubClient, Outside
from tests.unit.resolver.fake_hub import FakeHub, Fault, refused, served
from tests.unit.resolver.hub_lab import QUICK, Groups, Site, metadata_of, of_our_kind, until

ALPHA, BETA, HUB, OTHER = (KeyPair(bytes([number]) * 32) for number in range(1, 5))
CREDENTIAL = "key-of-alpha"
OK = SourceState("hub", "ok")


def a_site(folder: Path, url: str, **more: Any) -> Site:
    return Site(folder, url, Groups(lab=[ALPHA.peer_id, BETA.peer_id]), ALPHA, **more)


def a_hub() -> FakeHub:
    fake = FakeHub()
    fake.put("agent_beta", {"lab"}, metadata=metadata_of(BETA, "https://10.0.0.2:7850"), capabilities=of_our_kind())
    return fake


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_client, "CALLS_PER_MINUTE_MAX", 10_000)
    monkeypatch.setattr("resolver.hub.delay_ms", lambda _failures, _chance: 20)


def says(status: int, body: bytes = b"{}", **headers: str) -> Fault:
    """Instead of everything."""
    return lambda _request: web.Response(status=status, body=body, headers={name.replace("_", "-"): text for name, text in headers.items()})


def never_answers() -> Fault:
    return lambda _request: asyncio.get_running_loop().create_future()


def never_ends(seconds: float) -> Fault:
    """A body of 100 MB, or one byte now and then: as long as anybody reads."""

    async def pour(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        await answer.prepare(request)
        for _ in range(1600):
            await answer.write(b" " * (1 if seconds else 64 * 1024))
            await asyncio.sleep(seconds)
        return answer

    return pour


FAULTS: dict[str, tuple[Fault, str]] = {
    "401": (lambda _: refused(401, "UNAUTHORIZED"), "hub_refused"),
    "403": (lambda _: refused(403, "FORBIDDEN"), "hub_refused"),
    "404": (says(404, b"<html>"), "hub_answer_invalid"),
    "422": (lambda _: refused(422, "VALIDATION_ERROR"), "hub_refused"),
    "429": (lambda _: refused(429, "TOO_MANY", Retry_After="0"), "hub_busy"),
    "500": (says(500), "hub_unreachable"),
    "503": (says(503, b"<html>"), "hub_unreachable"),
    "garbage": (says(200, b"{]"), "hub_answer_invalid"),
    "nothing": (says(200, b""), "hub_answer_invalid"),
    "a number": (says(201, b"7"), "hub_answer_invalid"),
    "deep": (says(200, b"[" * 200_000), "hub_answer_invalid"),
    "no utf-8": (says(200, b'{"a": "\xff\xfe"}'), "hub_answer_invalid"),
    "packed": (says(200, b"{}", Content_Encoding="br"), "hub_answer_invalid"),
    "100 MB": (never_ends(0), "hub_answer_invalid"),
    "drip": (never_ends(0.05), "hub_unreachable"),
    "silence": (never_answers(), "hub_unreachable"),
    "a path for an id": (says(201, b'{"swarm": {"id": "../../admin"}, "peers": []}'), "hub_answer_invalid"),
    "elsewhere": (says(302, b"", Location="http://127.0.0.1:1/"), "hub_refused"),
}

SLOW = ("drip", "silence")


@pytest.mark.parametrize("name", list(FAULTS))
async def test_a_fault_is_shown_keeps_what_is_known_and_ends_with_the_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """At the first call, and again when all was well."""
    monkeypatch.setattr(hub_client, "BUSY_S", 0.05)
    if name in SLOW:
        monkeypatch.setattr(hub_client, "CALL_TIMEOUT_S", 1.0)
    fake = a_hub()
    fake.fault, code = FAULTS[name]
    async with served(fake.app()) as url, a_site(tmp_path, url).asking() as resolver:
        await until(lambda: resolver.states()[0].state == "failing")
        assert f"[{code}]" in (resolver.states()[0].last_error or "")
        assert resolver.peers() == ()
        fake.fault = None
        await until(lambda: resolver.states() == [OK] and resolver.peers())
        if name == "a path for an id":
            return  # It has its id already.
        fake.fault, _ = FAULTS[name]
        await until(lambda: resolver.states()[0].state == "failing")
        assert CREDENTIAL not in (resolver.states()[0].last_error or "")
        assert [each.peer for each in resolver.peers()] == [BETA.peer_id]


async def test_a_body_is_read_no_further_than_it_may_be_long(tmp_path: Path) -> None:
    """Counted where it is sent: what was poured out is not much more than what fits, with what the sockets hold."""
    fake, poured = a_hub(), 0

    async def pour(request: web.Request) -> web.StreamResponse:
        nonlocal poured
        answer = web.StreamResponse()
        await answer.prepare(request)
        for _ in range(1600):
            await answer.write(b" " * 64 * 1024)
            poured += 64 * 1024
        return answer

    fake.fault = lambda request: pour(request) if not poured else refused(500, "LATER")
    async with served(fake.app()) as url, a_site(tmp_path, url).asking() as resolver:
        await until(lambda: resolver.states()[0].last_error)

    assert BODY_SIZE_MAX <= poured < 16 * BODY_SIZE_MAX


@pytest.mark.parametrize("form", ["seconds", "nothing"])
async def test_a_hub_that_is_busy_is_left_alone_for_as_long_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    monkeypatch.setattr(hub_client, "BUSY_S", 1.0)
    fake, times = a_hub(), list[float]()

    def busy(_request: web.Request) -> web.Response | None:
        times.append(time.monotonic())
        headers = {"Retry_After": "1"} if form == "seconds" else {}
        return refused(429, "RATE_LIMITED", **headers) if len(times) == 3 else None

    fake.fault = busy
    async with served(fake.app()) as url, a_site(tmp_path, url).asking() as resolver:
        await until(lambda: "hub_busy" in (resolver.states()[0].last_error or ""))
        await until(lambda: resolver.states() == [OK])

    assert times[3] - times[2] >= 0.99


async def test_calls_are_few_however_often_there_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted at the hub: a site in a hurry, announcements without end, WebSockets that drop. In each window no more calls than the budget."""
    budget, window_s, windows = 12, 3.0, 2
    monkeypatch.setattr(hub_client, "CALLS_PER_MINUTE_MAX", budget)
    monkeypatch.setattr(hub_client, "MINUTE_S", window_s)
    fake, times, started = a_hub(), list[float](), time.monotonic()

    def count(_request: web.Request) -> None:
        times.append(time.monotonic())

    fake.fault = count
    async with served(fake.app()) as url, a_site(tmp_path, url, pace=QUICK._replace(interval_s=0.001, gap_s=0.0)).asking():
        async with asyncio.timeout(30):
            while len(times) <= windows * budget:
                await fake.announce("map:discovery", "swarm_registered")
                for socket in list(fake.sockets):
                    await socket.close()
                await asyncio.sleep(0.01)

    # Whatever time they took on the way, the first call after so many budgets was sent after as many windows.
    assert all(times[number * budget] - started >= number * window_s for number in range(1, windows + 1))


async def test_two_that_wait_for_the_same_call_to_be_old_do_not_both_take_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking and listening do so side by side."""
    monkeypatch.setattr(hub_client, "CALLS_PER_MINUTE_MAX", 2)
    monkeypatch.setattr(hub_client, "MINUTE_S", 0.4)
    client = HubClient("http://127.0.0.1:1", Outside(peer_spki_sha256, lambda _headers, _now: None))
    await client.pace()
    await asyncio.sleep(0.2)
    second_s = time.monotonic()
    await client.pace()

    await asyncio.gather(client.pace(), client.pace())

    assert time.monotonic() - second_s >= 0.4


async def test_who_waited_for_a_call_makes_none_when_the_hub_has_become_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_client, "CALLS_PER_MINUTE_MAX", 1)
    monkeypatch.setattr(hub_client, "MINUTE_S", 0.1)
    client = HubClient("http://127.0.0.1:1", Outside(peer_spki_sha256, lambda _headers, _now: None))
    await client.pace()
    waiting = asyncio.create_task(client.pace())
    await asyncio.sleep(0)
    client._quiet_until = time.monotonic() + 60

    with pytest.raises(HubBusyError):
        await waiting


def test_the_budget_is_far_below_what_a_hub_allows_to_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()

    assert hub_client.CALLS_PER_MINUTE_MAX <= 50


@pytest.mark.parametrize("name", ["none", "401", "500", "garbage", "elsewhere", "packed"])
async def test_no_key_is_logged_shown_or_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    """Whatever libraries log, with a hub that gives the key back in all that it says."""
    caplog.set_level(0)
    fake = a_hub()
    echo = {CREDENTIAL: CREDENTIAL, "error": CREDENTIAL, "message": CREDENTIAL, "status": CREDENTIAL}
    async with served(fake.app()) as url, a_site(tmp_path, f"{url}").asking() as resolver:
        await until(lambda: resolver.peers() and fake.tokens)
        if name != "none":
            fake.fault = lambda request: FAULTS[name][0](request) if name != "401" else web.json_response(echo, status=401)
            await until(lambda: resolver.states()[0].state == "failing")
        await fake.announce(CREDENTIAL, CREDENTIAL)
        said = [str(resolver.states()), str(resolver.peers()), caplog.text, *(path.read_text() for path in tmp_path.iterdir())]

    assert [each for each in said if CREDENTIAL in each] == []


@pytest.fixture
async def secured() -> AsyncIterator[tuple[FakeHub, str]]:
    """A hub with a certificate of its own key."""
    fake = a_hub()
    async with served(fake.app(), tls=own_tls(HUB).context) as url:
        yield fake, url


async def test_a_pinned_hub_is_taken_by_its_key(secured: tuple[FakeHub, str], tmp_path: Path) -> None:
    fake, url = secured
    site = a_site(tmp_path, f"{url}#spki={peer_spki_sha256(HUB.peer_id).hex()}")
    async with site.asking() as resolver:
        await until(resolver.peers)
        await until(lambda: fake.tokens == [f"Bearer {CREDENTIAL}"])  # The WebSocket as well.


async def test_a_hub_with_another_key_is_told_nothing(secured: tuple[FakeHub, str], tmp_path: Path) -> None:
    fake, url = secured
    async with a_site(tmp_path, f"{url}#spki={peer_spki_sha256(OTHER.peer_id).hex()}").asking() as resolver:
        await until(lambda: "hub_key_mismatch" in (resolver.states()[0].last_error or ""))

    assert not fake.calls


async def test_a_hub_that_is_not_pinned_has_to_show_a_certificate_that_counts(secured: tuple[FakeHub, str], tmp_path: Path) -> None:
    fake, url = secured
    async with a_site(tmp_path, url).asking() as resolver:
        await until(lambda: "hub_key_mismatch" in (resolver.states()[0].last_error or ""))

    assert not fake.calls


async def test_a_hub_whose_certificate_was_taken_over_between_two_calls_is_told_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The look at the certificate and the calls are connections of their own: the calls trust that certificate and no other."""
    async with served(a_hub().app(), tls=own_tls(HUB).context) as url:
        site = a_site(tmp_path, f"{url}#spki={peer_spki_sha256(HUB.peer_id).hex()}")
        made = await _context_of(site)
    other = a_hub()
    async with served(other.app(), tls=own_tls(OTHER).context, port=int(url.rpartition(":")[2])):

        async def keep(_client: object, _pin: bytes) -> ssl.SSLContext:
            return made

        monkeypatch.setattr(hub_client.HubClient, "_pinned", keep)
        async with site.asking() as resolver:
            await until(lambda: "hub_key_mismatch" in (resolver.states()[0].last_error or ""))

    assert not other.calls


async def _context_of(site: Site) -> ssl.SSLContext:
    client = site.make()._client
    context = await client.context()
    assert context is not None
    return context
