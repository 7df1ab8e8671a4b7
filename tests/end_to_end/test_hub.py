"""A hub in a process of its own, keys from its command line, a client that is nobody's: who registers, who falls silent, what a kill leaves."""

import asyncio
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest

from peer.core.endpoint import read_endpoint
from peer.transport.tls import spki_sha256
from tests.end_to_end.processes import DEADLINE_S, Site, wait_until

API = "/api/v1"
STALE_S = 4
ENABLED = {"RECMESH_HUB__ENABLED": "true", "RECMESH_HUB__STALE_AFTER": str(STALE_S)}


class Plain:
    """A client that knows nothing of recmesh: httpx, a URL and a key."""

    def __init__(self, site: Site, key: str = "") -> None:
        self.key = key
        self._url = f"http://127.0.0.1:{site.listen}{API}"

    def ask(self, method: str, path: str, body: object = None) -> httpx.Response:
        """One request."""
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        return httpx.request(method, self._url + path, json=body, headers=headers, timeout=DEADLINE_S)

    def register(self, name: str, preauth_key: str) -> httpx.Response:
        """Come with a pre-auth key; the key that it gives is used from then on."""
        answer = self.ask("POST", "/agents/register", {"name": name, "preauth_key": preauth_key})
        if answer.status_code == 201:
            self.key = answer.json()["api_key"]
        return answer

    def swarm(self, name: str) -> str:
        """The id of what is registered."""
        answer = self.ask("POST", "/map/swarms", {"name": name, "map_endpoint": f"https://{name}.example:7850", "map_transport": "http-sse"})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["swarm"]["id"])


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Site]:
    site = Site("hub", tmp_path / "hub")
    yield site
    if site.is_running:
        assert site.stop() == 0


def peers(site: Site) -> dict[str, str]:
    """The state of each peer."""
    return {each["name"]: each["state"] for each in site.ask("GET", "hub/peers")}


def test_who_comes_with_a_key_is_listed_until_it_falls_silent_and_a_kill_takes_nobody_away(hub: Site) -> None:
    hub.start(ENABLED)
    (secret,) = hub.command("hub", "key", "create", "--hive", "lab", "--uses", "2").stdout.split()
    arm, leg = Plain(hub), Plain(hub)
    assert arm.ask("GET", "/map/swarms").status_code == 401
    assert arm.register("arm", secret).status_code == leg.register("leg", secret).status_code == 201
    assert Plain(hub).register("late", secret).status_code == 401
    one, two = arm.swarm("arm"), leg.swarm("leg")
    assert hub.status()["hub"]["peers"] == 2
    assert peers(hub).keys() == {"arm", "leg"}

    heard = asyncio.run(hears_of_silence(hub, (arm, one), (leg, two)))

    assert heard["data"] == {"swarm_id": two, "name": "leg"}
    hub.kill()
    hub.start(ENABLED)
    listed = {each["name"]: each["status"] for each in arm.ask("GET", "/map/swarms").json()["data"]}
    assert listed.keys() == {"arm", "leg"}
    assert listed["leg"] == "offline"
    assert Plain(hub).register("late", secret).status_code == 401
    wait_until(lambda: leg.ask("POST", f"/map/swarms/{two}/heartbeat").is_success and hub.status()["hub"]["peers_online"] > 0, "one is back")
    wait_until(lambda: hub.status()["hub"]["peers_online"] == 0, "all are silent")
    assert peers(hub) == {"arm": "offline", "leg": "offline"}


async def hears_of_silence(hub: Site, mine: tuple[Plain, str], theirs: tuple[Plain, str]) -> Any:
    """What a WebSocket says of somebody who sends one heartbeat and then nothing, while we go on."""
    (client, own), (silent, other) = mine, theirs
    async with aiohttp.ClientSession() as http, http.ws_connect(f"http://127.0.0.1:{hub.listen}/ws?token={client.key}") as socket:
        await socket.send_json({"type": "subscribe", "channels": ["map:discovery", f"map:swarm:{other}"]})
        while "subscribed" not in (await socket.receive_json(timeout=DEADLINE_S))["data"]:
            pass
        await asyncio.to_thread(silent.ask, "POST", f"/map/swarms/{other}/heartbeat")
        beating = asyncio.create_task(beat(client, own))
        try:
            async with asyncio.timeout(DEADLINE_S):
                while True:
                    frame = await socket.receive_json()
                    if frame["type"] == "swarm_offline" and frame["data"]["swarm_id"] == other:
                        return frame
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)


async def beat(client: Plain, swarm: str) -> None:
    """A heartbeat now and then."""
    while True:
        answer = await asyncio.to_thread(client.ask, "POST", f"/map/swarms/{swarm}/heartbeat")
        assert answer.status_code == 200
        await asyncio.sleep(STALE_S / 8)


@pytest.mark.parametrize("point", ["hub.before_commit", "hub.after_commit"])
def test_a_kill_in_the_middle_of_a_registration_leaves_all_or_nothing_of_it(hub: Site, tmp_path: Path, point: str) -> None:
    """The use of the key and the credential are one: who is killed after the commit has used it, whether or not the answer arrived."""
    hit = tmp_path / "hit"
    hub.start(ENABLED)
    secret = hub.ask("POST", "hub/keys", json={})["key"]
    assert hub.stop() == 0
    hub.start({**ENABLED, "RECMESH_FAILPOINT": point, "RECMESH_FAILPOINT_FILE": str(hit)})

    with pytest.raises(httpx.TransportError):
        Plain(hub).register("arm", secret)

    hub.died()
    assert hit.read_text() == f"{point}\n"
    hub.start(ENABLED)
    (key,) = hub.ask("GET", "hub/keys")
    is_done = point == "hub.after_commit"
    assert (key["uses_left"], peers(hub)) == ((0, {"arm": "new"}) if is_done else (1, {}))
    assert Plain(hub).register("leg", secret).status_code == (401 if is_done else 201)


def test_the_url_in_the_status_names_the_key_that_is_shown_there(hub: Site) -> None:
    """Off loopback the hub speaks TLS with its peer's own key, which a client that asks a hub cannot know."""
    hub.start({**ENABLED, "RECMESH_LISTEN": f"0.0.0.0:{hub.listen}", "RECMESH_ADVERTISE": json.dumps([f"https://127.0.0.1:{hub.listen}"])})
    made = hub.ask("POST", "hub/keys", json={})

    endpoint = read_endpoint(hub.status()["hub"]["url"])

    assert made["url"] == str(endpoint)
    assert (endpoint.scheme, endpoint.port) == ("https", hub.listen)
    shown = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", hub.listen), timeout=DEADLINE_S))
    assert endpoint.pin == spki_sha256(shown)
    with httpx.Client(verify=False, timeout=DEADLINE_S) as http:  # noqa: S501  (the pin was looked at)
        answer = http.post(f"{endpoint.url}{API}/agents/register", json={"name": "arm", "preauth_key": made["key"]})
        assert answer.status_code == 201
