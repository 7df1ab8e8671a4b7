"""What a hub lets one agent, one address and everybody together do, and what is said over that. A good client goes on meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from peer.hub import limits
from peer.hub.records import Announcement
from peer.hub.sockets import Sockets
from tests.hub_lab import API, DEADLINE_S, HubLab, hub_lab


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[HubLab]:
    async with hub_lab(tmp_path) as made:
        yield made


async def test_an_agent_has_so_many_requests_a_minute_and_is_told_when_to_come_again(lab: HubLab) -> None:
    here, there = await lab.agent("here"), await lab.agent("there")

    answers = [await here.ask("GET", f"{API}/map/swarms") for _ in range(limits.REQUESTS_PER_MINUTE)]
    over = await here.ask("GET", f"{API}/map/swarms")

    assert {answer.status for answer in answers} == {200}
    assert [int(answer.headers["x-ratelimit-remaining"]) for answer in answers] == list(range(limits.REQUESTS_PER_MINUTE))[::-1]
    assert answers[0].headers["x-ratelimit-limit"] == str(limits.REQUESTS_PER_MINUTE)
    assert over.status == 429
    assert 1 <= int(over.headers["retry-after"]) <= 60
    assert (over.headers["x-ratelimit-remaining"], over.headers["x-ratelimit-reset"]) == ("0", over.headers["retry-after"])
    assert (await there.ask("GET", f"{API}/map/swarms")).status == 200


async def test_guessing_is_slow_and_holds_up_nobody_with_a_key(lab: HubLab) -> None:
    here, guesser, key = await lab.agent("here"), lab.stranger(), await lab.key()
    guesses = 3 * limits.REFUSED_PER_MINUTE
    statuses = []
    for number in range(guesses):
        guesser.key = f"recmesh_hub_{number:064x}"
        answer = await guesser.ask("GET", f"{API}/map/swarms")
        if answer.status == 429:
            assert int(answer.headers["retry-after"]) >= 1
        statuses.append(answer.status)
        statuses.append((await guesser.ask("POST", f"{API}/agents/register", {"name": "x", "preauth_key": f"ohpak_{number:064x}"})).status)

    assert statuses == [401] * limits.REFUSED_PER_MINUTE + [429] * (2 * guesses - limits.REFUSED_PER_MINUTE)
    assert (await here.ask("GET", f"{API}/map/swarms")).status == 200
    assert (await lab.stranger().ask("POST", f"{API}/agents/register", {"name": "there", "preauth_key": key})).status == 201


async def test_bodies_and_documents_have_a_size(lab: HubLab) -> None:
    here = await lab.agent("here")
    order = {"name": "x", "map_endpoint": "https://x.example", "description": "d" * limits.BODY_SIZE_MAX}

    assert (await here.ask("POST", f"{API}/map/swarms", order)).status == 413
    big = {**order, "description": "", "metadata": {"x": "y" * limits.DOCUMENT_SIZE_MAX}}
    assert (await here.ask("POST", f"{API}/map/swarms", big)).status == 422
    fits = {**big, "metadata": {"x": "y" * (limits.DOCUMENT_SIZE_MAX - 10)}}
    assert (await here.ask("POST", f"{API}/map/swarms", fits)).status == 201


async def test_lists_come_in_pages(lab: HubLab, monkeypatch: pytest.MonkeyPatch) -> None:
    here = await lab.agent("here")
    for name in ("a", "b", "c"):
        await here.swarm(name)
    monkeypatch.setattr(limits, "LIST_MAX", 2)

    pages = [await here.good("GET", f"{API}/map/swarms", params={"limit": "200", "offset": str(at)}) for at in (0, 2, 4)]

    assert [[each["name"] for each in page["data"]] for page in pages] == [["c", "b"], ["a"], []]
    assert (await here.good("GET", f"{API}/map/swarms", params={"limit": "-1", "offset": "x"}))["total"] == 3


async def test_sockets_are_few_for_each_and_for_all(lab: HubLab, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = await lab.agent("here"), await lab.agent("there")
    held = [await lab.http.ws_connect(f"{lab.url}/ws?token={here.key}") for _ in range(limits.SOCKETS_PER_AGENT_MAX)]

    with pytest.raises(aiohttp.WSServerHandshakeError, match="503") as refused:
        await lab.http.ws_connect(f"{lab.url}/ws?token={here.key}")

    assert refused.value.headers is not None
    assert refused.value.headers["Retry-After"] == "60"
    monkeypatch.setattr(limits, "SOCKETS_MAX", limits.SOCKETS_PER_AGENT_MAX)
    with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
        await lab.http.ws_connect(f"{lab.url}/ws?token={there.key}")
    for each in held:
        await each.close()
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                await (await lab.http.ws_connect(f"{lab.url}/ws?token={there.key}")).close()
                break
            except aiohttp.WSServerHandshakeError:
                await asyncio.sleep(0.02)


async def test_a_socket_has_so_many_channels(lab: HubLab) -> None:
    here = await lab.agent("here")
    async with lab.ear(here) as ear:
        too_many = await ear.say({"type": "subscribe", "channels": ["x"] * (limits.CHANNELS_MAX + 1)})
        assert too_many["type"] == "agent_offline"
        swarm = await here.swarm()
        lists = [[f"map:swarm:{swarm}", "map:discovery"], [f"c{number}" for number in range(limits.CHANNELS_MAX)]]
        assert [len((await ear.subscribe(*each))["current_channels"]) for each in lists] == [2, 2]


async def test_a_socket_that_fills_its_channels_is_denied_more(lab: HubLab, monkeypatch: pytest.MonkeyPatch) -> None:
    here = await lab.agent("here")
    swarm = await here.swarm()
    monkeypatch.setattr(limits, "CHANNELS_MAX", 1)
    async with lab.ear(here) as ear:
        answer = await ear.subscribe("map:discovery", f"map:swarm:{swarm}")

        assert (answer["subscribed"], answer["denied"]) == (["map:discovery"], [f"map:swarm:{swarm}"])


async def closed(socket: aiohttp.ClientWebSocketResponse) -> bool:
    """True once the other side has ended it."""
    async with asyncio.timeout(DEADLINE_S):
        while (await socket.receive()).type is aiohttp.WSMsgType.TEXT:
            pass
    return True


async def test_who_sends_no_ping_in_json_for_too_long_is_ended_and_who_does_is_not(lab: HubLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PING_TIMEOUT_S", 2.0)
    monkeypatch.setattr(limits, "PING_INTERVAL_S", 0.2)
    here = await lab.agent("here")
    async with lab.ear(here) as silent, lab.ear(here) as alive:
        ended = asyncio.create_task(closed(silent.socket))
        pinged = 0
        while not ended.done():
            await alive.socket.send_json({"type": "ping"})
            await alive.hear("agent_online", ping=True)
            pinged += 1
        assert pinged >= 2
        assert await alive.say({"type": "ping"})


@pytest.mark.parametrize("said", ["x" * (limits.FRAME_SIZE_MAX + 1), b"binary"])
async def test_a_frame_that_is_none_ends_the_socket(lab: HubLab, said: str | bytes) -> None:
    async with lab.ear(await lab.agent("here")) as ear:
        await (ear.socket.send_str(said) if isinstance(said, str) else ear.socket.send_bytes(said))

        assert await closed(ear.socket)


async def test_frames_without_end_end_the_socket(lab: HubLab) -> None:
    async with lab.ear(await lab.agent("here")) as ear:
        for _ in range(limits.FRAMES_PER_MINUTE + 1):
            await ear.socket.send_json({"type": "ping"})

        assert await closed(ear.socket)


async def test_a_client_that_does_not_read_is_given_up(lab: HubLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits is put there all at once here, faster than any client reads."""
    monkeypatch.setattr(limits, "FRAMES_WAITING_MAX", 3)
    held: list[Sockets] = []
    check_room = Sockets.check_room
    monkeypatch.setattr(Sockets, "check_room", lambda self, agent: (held.append(self), check_room(self, agent)))
    here = await lab.agent("here", "lab")
    async with lab.ear(here) as ear:
        await ear.subscribe("map:discovery")

        held[0].announce((Announcement("x", {}, ("map:discovery",), frozenset({here.id})),) * 4, 0)

        assert await closed(ear.socket)
        assert ear.socket.close_code == aiohttp.WSCloseCode.TRY_AGAIN_LATER
