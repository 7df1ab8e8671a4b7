"""A peer as a hub, over real HTTP and WebSockets: who gets in, who sees what, who is told."""

import asyncio
import hashlib
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest

from peer.api.hub_models import HubKey, HubKeyMade, HubPeer
from peer.api.status_models import Status
from peer.config import read_config
from peer.errors import ConfigError
from tests.hub_lab import API, DEADLINE_S, KEYS, Answer, HubLab, hub_lab
from tests.integration.running_peer import running_peer

ROUTES = [
    ("POST", "/agents/register"),
    ("POST", "/hives"),
    ("GET", "/hives/lab"),
    ("POST", "/map/swarms"),
    ("GET", "/map/swarms"),
    ("GET", "/map/swarms/swarm_1"),
    ("PUT", "/map/swarms/swarm_1"),
    ("DELETE", "/map/swarms/swarm_1"),
    ("POST", "/map/swarms/swarm_1/heartbeat"),
    ("POST", "/map/swarms/swarm_1/hives"),
    ("DELETE", "/map/swarms/swarm_1/hives/lab"),
    ("GET", "/map/peers/swarm_1"),
    ("POST", "/map/preauth-keys"),
    ("GET", "/map/preauth-keys"),
    ("DELETE", "/map/preauth-keys/pak_1"),
    ("GET", "/map/stats"),
    ("GET", "/nothing"),
]


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[HubLab]:
    async with hub_lab(tmp_path) as made:
        yield made


@pytest.mark.parametrize("secret", ["", "nope", "recmesh_hub_" + "0" * 64])
async def test_without_a_key_there_is_nothing_but_401(lab: HubLab, secret: str) -> None:
    stranger = lab.stranger()
    stranger.key = secret

    answers = {
        (method, path): await stranger.ask(method, API + path, {"name": "x"} if method in ("POST", "PUT") else None) for method, path in ROUTES
    }

    assert {answer.status for answer in answers.values()} <= {401, 429}
    assert answers["GET", "/map/swarms"].document == {"error": "Unauthorized", "message": "Invalid authentication token"}
    assert answers["POST", "/agents/register"].document["error"] == "INVALID_PREAUTH_KEY"
    with pytest.raises(aiohttp.WSServerHandshakeError, match=r"401|429"):
        await lab.http.ws_connect(f"{lab.url}/ws?token={secret}")


async def test_neither_an_admins_token_nor_a_hash_nor_a_pre_auth_key_is_a_key(lab: HubLab) -> None:
    agent = await lab.agent("arm")
    for secret in (lab.peer.token, hashlib.sha256(agent.key.encode()).hexdigest(), await lab.key(), agent.key[:-1], agent.key + "0"):
        other = lab.stranger()
        other.key = secret
        assert (await other.ask("GET", f"{API}/map/swarms")).status == 401


async def test_two_at_once_with_a_key_for_one_are_one(lab: HubLab) -> None:
    secret = await lab.key()
    orders = [{"name": f"arm-{number}", "preauth_key": secret} for number in range(8)]

    answers = await asyncio.gather(*(lab.stranger().ask("POST", f"{API}/agents/register", order) for order in orders))

    assert sorted(answer.status for answer in answers) == [201] + [401] * 7
    assert len(await lab.peer.get("/api/v1/hub/peers", HubPeer)) == 1
    (key,) = await lab.peer.get(KEYS, HubKey)
    assert (key["uses_left"], key["state"]) == (0, "used_up")


async def test_members_of_a_hive_see_one_another_and_nobody_else_sees_anything(lab: HubLab) -> None:
    here, there, other = await lab.agent("here", "lab"), await lab.agent("there", "lab"), await lab.agent("other", "rest")
    one, two, three = await here.swarm("one", metadata={"x": 1}), await there.swarm("two"), await other.swarm("three")

    assert await here.peers(one) == {"two": "online"}
    assert await there.peers(two) == {"one": "online"}
    assert await other.peers(three) == {}
    assert (await other.ask("GET", f"{API}/map/swarms/{one}")).status == (await other.ask("GET", f"{API}/map/swarms/none")).status == 404
    assert (await other.ask("GET", f"{API}/map/peers/{one}")).status == 403
    assert [each["name"] for each in (await other.good("GET", f"{API}/map/swarms"))["data"]] == ["three"]
    assert (await other.ask("GET", f"{API}/hives/lab")).status == 403
    assert (await other.join(three, "lab")).status == 403
    hive = await here.good("GET", f"{API}/hives/lab")
    assert (hive["is_public"], hive["member_count"], hive["user_membership"]) == (False, 2, {"role": "member"})
    assert (await other.good("GET", f"{API}/map/swarms", params={"hive_id": hive["id"]})) == {"data": [], "total": 0}
    page = await there.good("GET", f"{API}/map/swarms", params={"hive_id": hive["id"], "limit": "1", "offset": "1"})
    assert (page["total"], len(page["data"])) == (2, 1)
    shown = await there.good("GET", f"{API}/map/swarms/{one}")
    assert (shown["metadata"], shown["hives"]) == ({"x": 1}, ["lab"])


async def test_a_hive_that_one_shares_with_nobody_stays_unsaid(lab: HubLab) -> None:
    here, there = await lab.agent("here", "lab"), await lab.agent("there", "lab")
    one = await here.swarm("one")
    await here.good("POST", f"{API}/hives", {"name": "own", "is_public": False})
    await here.join(one, "own")

    assert (await here.good("GET", f"{API}/map/swarms/{one}"))["hives"] == ["lab", "own"]
    assert (await there.good("GET", f"{API}/map/swarms/{one}"))["hives"] == ["lab"]


async def test_who_falls_silent_is_offline_and_announced(tmp_path: Path) -> None:
    async with hub_lab(tmp_path, stale_after=1.0) as lab:
        here, there, other = await lab.agent("here", "lab"), await lab.agent("there", "lab"), await lab.agent("other", "rest")
        one, two = await here.swarm("one"), await there.swarm("two")
        hive = (await here.good("GET", f"{API}/hives/lab"))["id"]
        async with lab.ear(here) as ear, lab.ear(other) as stranger:
            asked = ["map:discovery", f"map:hive:{hive}", f"map:swarm:{two}"]
            assert (await ear.subscribe(*asked))["subscribed"] == asked
            told = await stranger.subscribe(*asked)
            assert (told["subscribed"], told["denied"]) == (asked[:1], asked[1:])

            await there.good("POST", f"{API}/map/swarms/{two}/heartbeat")  # It may have been silent for long enough before anybody listened.
            heard = [await ear.hear("swarm_offline", swarm_id=two) for _ in asked]

            assert [each["channel"] for each in heard] == asked
            async with asyncio.timeout(DEADLINE_S):
                while await here.peers(one) != {"two": "offline"}:  # noqa: ASYNC110  (asked over HTTP)
                    await asyncio.sleep(0.05)
            await there.good("POST", f"{API}/map/swarms/{two}/heartbeat", {})
            await ear.hear("swarm_online", swarm_id=two)
            assert (await stranger.say({"type": "ping"}))["data"] == {"pong": True}  # And nothing else before.


async def test_news_of_hives_are_told_to_their_members(lab: HubLab) -> None:
    here = await lab.agent("here", "lab")
    hive = (await here.good("GET", f"{API}/hives/lab"))["id"]
    async with lab.ear(here) as ear:
        await ear.subscribe("map:discovery", f"map:hive:{hive}")
        there = await lab.agent("there", "lab")
        two = await there.swarm("two")
        assert (await ear.hear())["type"] == "swarm_registered"
        joined = await ear.hear()
        assert joined["type"] == "swarm_joined_hive"
        assert joined["data"] == {"swarm_id": two, "swarm_name": "two", "hive_name": "lab"}
        assert (await there.ask("DELETE", f"{API}/map/swarms/{two}/hives/lab")).document == {"message": 'Swarm left hive "lab"', "hives": []}
        assert (await ear.hear())["type"] == "swarm_left_hive"


async def test_news_are_told_to_who_may_know(lab: HubLab) -> None:
    """All may wait for what is new; of each hear those that may see it."""
    here, other = await lab.agent("here", "lab"), await lab.agent("other", "rest")
    async with lab.ear(other) as ear:
        await ear.subscribe("map:discovery")
        await here.swarm("secret")
        await other.swarm("own")

        assert (await ear.hear())["data"]["name"] == "own"


async def test_the_odd_frames_of_hubs(lab: HubLab) -> None:
    here = await lab.agent("here", "lab")
    async with lab.ear(here) as ear:
        for junk in ("not json", "[]", '{"type": "dance"}', '{"type": "subscribe", "channels": [7]}', "[" * 10_000):
            frame = await ear.say(junk)
            assert (frame["type"], frame["data"]) == ("agent_offline", {"error": "Invalid message format"})
        asked = await ear.subscribe("map:discovery", "map:hive:none", "map:swarm:none", "hive:lab", "hive:none", "everything")
        assert asked["subscribed"] == asked["current_channels"] == ["map:discovery", "hive:lab"]
        assert (await ear.say({"type": "unsubscribe", "channels": ["hive:lab"]}))["data"] == {
            "unsubscribed": ["hive:lab"],
            "current_channels": ["map:discovery"],
        }


async def test_who_is_forgotten_is_nobody_at_once(lab: HubLab) -> None:
    here, there = await lab.agent("here", "lab"), await lab.agent("there", "lab")
    one, two = await here.swarm("one"), await there.swarm("two")
    async with lab.ear(there) as ear:
        gone = await lab.peer.call("DELETE", "/api/v1/hub/peers/there", model=HubPeer)

        assert [each["id"] for each in gone["registered"]] == [two]
        async with asyncio.timeout(DEADLINE_S):
            assert (await ear.socket.receive()).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
    assert (await there.ask("POST", f"{API}/map/swarms/{two}/heartbeat")).status == 401
    assert await here.peers(one) == {}


async def test_a_revoked_key_lets_nobody_in_and_takes_nobody_out(lab: HubLab) -> None:
    secret = await lab.key("lab", uses=5)
    order = {"name": "here", "preauth_key": secret}
    here = (await lab.stranger().good("POST", f"{API}/agents/register", order))["api_key"]
    (key,) = await lab.peer.get(KEYS)

    revoked = await lab.peer.call("DELETE", f"{KEYS}/{key['id']}", model=HubKey)

    assert revoked["uses_left"] == 4
    assert (await lab.stranger().ask("POST", f"{API}/agents/register", {**order, "name": "late"})).status == 401
    client = lab.stranger()
    client.key = here
    assert (await client.ask("GET", f"{API}/map/swarms")).status == 200
    await lab.peer.call("DELETE", f"{KEYS}/{key['id']}", status=404)


async def test_an_admins_token_makes_pre_auth_keys_over_the_hubs_own_routes_and_that_is_written_down(lab: HubLab) -> None:
    here = await lab.agent("here")
    token = (await lab.peer.post("/api/v1/tokens", {"name": "boss", "tier": "admin"}))["token"]
    viewer = (await lab.peer.post("/api/v1/tokens", {"name": "looker", "tier": "viewer"}))["token"]
    path = f"{API}/map/preauth-keys"

    for refused in ("", "x", viewer, lab.peer.token):
        answer = await here.ask("POST", path, {"uses": 2}, headers={"X-Admin-Key": refused})
        assert (answer.status, answer.document) == (403, {"error": "Forbidden", "message": "Admin key required"})
    made = await here.good("POST", path, {"uses": 2, "expires_in_hours": 1}, headers={"X-Admin-Key": token})
    assert (await lab.stranger().ask("POST", f"{API}/agents/register", {"name": "new", "preauth_key": made["key"]})).status == 201
    (listed,) = [each for each in (await here.good("GET", path, headers={"X-Admin-Key": token}))["data"] if each["id"] == made["id"]]
    assert (listed["uses_left"], listed["created_by"]) == (1, here.id)
    assert (await here.ask("DELETE", f"{path}/{made['id']}", headers={"X-Admin-Key": token})).status == 204
    assert (await here.ask("DELETE", f"{path}/{made['id']}", headers={"X-Admin-Key": token})).status == 404
    audit = (lab.peer.root / "audit.log").read_text()
    assert '"boss"' in audit
    assert "hub /api/v1/map/preauth-keys" in audit
    assert made["key"] not in audit


async def test_no_secret_is_kept(lab: HubLab) -> None:
    key = await lab.peer.post(KEYS, {"uses": 2}, HubKeyMade)
    here = await lab.agent("here")

    kept = b"".join(path.read_bytes() for path in lab.peer.root.glob("hub.db*"))

    assert b"here" in kept
    for secret in (key["key"], here.key):
        assert secret.encode() not in kept
        assert secret.rpartition("_")[2].encode() not in kept
        assert bytes.fromhex(secret.rpartition("_")[2]) not in kept
        assert hashlib.sha256(secret.encode()).hexdigest().encode() in kept


async def test_what_is_wrong_is_refused_in_the_words_of_hubs(lab: HubLab) -> None:
    here = await lab.agent("here")
    swarm = await here.swarm("one")

    async def raw(method: str, path: str, data: bytes) -> Answer:
        return await here.ask(method, API + path, data=data, headers={"Content-Type": "application/json"})

    assert (await raw("POST", "/map/swarms", b"{")).status == 400
    assert (await raw("POST", "/map/swarms", b'{"name": "x"}')).document["details"][0]["path"] == ["map_endpoint"]
    assert (await raw("PUT", f"/map/swarms/{swarm}", b'{"status": "asleep"}')).status == 422
    assert (await raw("POST", f"/map/swarms/{swarm}/hives", b"{}")).status == 422
    assert (await raw("POST", f"/map/swarms/{swarm}/heartbeat", b"anything")).status == 200
    for method in ("PATCH", "PUT", "DELETE", "OPTIONS"):
        answer = await here.ask(method, f"{API}/map/swarms")
        assert answer.status == 404
        assert answer.document.keys() == {"message", "error", "statusCode"}


async def test_what_was_kept_is_there_after_a_restart_and_what_is_damaged_begins_anew(tmp_path: Path) -> None:
    async with hub_lab(tmp_path) as lab:
        here, there = await lab.agent("here", "lab"), await lab.agent("there", "lab")
        one, two = await here.swarm("one", metadata={"ü": [1, {"x": None}]}), await there.swarm("two")
        before = await here.good("GET", f"{API}/map/swarms/{one}"), await here.peers(one), await lab.peer.get("/api/v1/hub/peers")
    async with hub_lab(tmp_path) as lab:
        here.url, here.http = lab.url, lab.http
        assert (await here.good("GET", f"{API}/map/swarms/{one}"), await here.peers(one), await lab.peer.get("/api/v1/hub/peers")) == before
        await here.good("POST", f"{API}/map/swarms/{one}/heartbeat")
    path = tmp_path / "hub" / "hub.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE entries SET document = '{}' WHERE id = ?", (two,))
        database.commit()
    for _ in ("what no hub wrote", "what is no database"):
        async with hub_lab(tmp_path) as lab:
            assert (await lab.peer.get("/api/v1/status", Status))["hub"]["peers"] == 0
            assert path.with_name("hub.db.damaged").exists()
        path.write_bytes(os.urandom(8192))


async def test_status_shows_the_hub_and_a_peer_that_is_none_says_so(lab: HubLab, tmp_path: Path) -> None:
    here = await lab.agent("here")
    status = (await lab.peer.get("/api/v1/status", Status))["hub"]
    assert status == {"enabled": True, "url": lab.url, "peers": 1, "peers_online": 0}
    await here.swarm()
    assert (await lab.peer.get("/api/v1/status", Status))["hub"]["peers_online"] == 1

    async with running_peer(tmp_path / "other", "other") as other:
        assert (await other.get("/api/v1/status", Status))["hub"] == {"enabled": False, "url": None, "peers": 0, "peers_online": 0}
        for method, path in (("GET", KEYS), ("POST", KEYS), ("DELETE", f"{KEYS}/x"), ("GET", "/api/v1/hub/peers"), ("DELETE", "/api/v1/hub/peers/x")):
            assert (await other.call(method, path, status=409))["code"] == "hub_disabled"
        async with lab.http.get(f"{other.listen}{API}/map/swarms") as answer:
            assert answer.status == 404


@pytest.mark.parametrize(
    "order", [{"hive": "A B"}, {"hive": "x"}, {"hive": ""}, {"uses": 0}, {"uses": 1001}, {"expires_in_ms": 0}, {"expires_in_ms": 2**60}]
)
async def test_a_key_that_cannot_be_is_refused(lab: HubLab, order: dict[str, object]) -> None:
    assert (await lab.peer.call("POST", KEYS, json=order, status=400))["code"] == "request_invalid"


@pytest.mark.parametrize("is_public", [True, False])
async def test_a_key_is_made_for_no_hive_that_an_agent_made(lab: HubLab, *, is_public: bool) -> None:
    """Who takes a name first would see everybody who comes with the operator's keys for it."""
    mallory = await lab.agent("mallory")
    await mallory.good("POST", f"{API}/hives", {"name": "lab", "is_public": is_public})
    problem = await lab.peer.call("POST", KEYS, json={"hive": "lab"}, status=400)
    assert problem["code"] == "request_invalid"
    assert "mallory" in problem["detail"]

    await lab.peer.call("DELETE", f"/api/v1/hub/peers/{mallory.id}")
    here = await lab.agent("here", "lab")
    assert (await here.good("GET", f"{API}/hives/lab"))["is_public"] is False


def test_a_site_that_nobody_dials_is_no_hub(tmp_path: Path) -> None:

    (tmp_path / "config.toml").write_text('listen = "none"\n[hub]\nenabled = true\n')

    with pytest.raises(ConfigError, match=r"hub\.enabled"):
        read_config(tmp_path / "config.toml")
