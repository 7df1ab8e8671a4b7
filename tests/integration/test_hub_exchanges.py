"""What a hub of somebody else answered once, asked of ours: the same statuses and fields, but for what is listed here with its reason."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.hub_lab import API, Client, HubLab, hub_lab

RECORDED = Path(__file__).parents[3] / "shared" / "design" / "map_hub_exchanges.md"

NOT_SERVED = {
    "health": "says that somebody is here",
    "well-known": "tells strangers about sites",
    "mesh provisioning with no provider -> 503": "networks are not made by hubs of ours",
    "mesh info": "as above",
    "network status": "as above",
    "stats": "counts what the caller may not see",
}
"""Routes of other hubs that ours has not: 404 as for all that is not there, with a key; outside the API there is nothing at all."""

OTHERWISE = {
    "FINDING: agent 2 is NOT a member of the private hive, join still accepted": (403, "a private hive is private"),
    'FINDING: no Authorization in default local mode = admin agent "local" (403 here only because local does not own the swarm)': (401, "no key"),
    "list swarms (works with NO auth)": (401, "no key"),
    "get swarm (NO auth)": (401, "no key"),
}
"""What ours answers otherwise, and why."""

NULL_HERE = {"auth_token_hash"}
"""Fields of which nothing is kept."""

KEYS = {"id", "api_key", "key", "swarm_id"}
"""Fields whose values later requests name."""

pytestmark = [
    pytest.mark.needs("exchanges with a hub"),
    pytest.mark.skipif(not RECORDED.is_file(), reason="recorded exchanges are not here: ../shared/design/map_hub_exchanges.md is missing"),
]


class Exchange(NamedTuple):
    """A request and what was answered."""

    title: str
    method: str
    path: str
    key: str
    is_admin: bool
    body: Any
    status: int
    document: Any


def exchanges() -> list[Exchange]:
    found = []
    text = RECORDED.read_text().split("\n## 11. WebSocket", maxsplit=1)[0]
    for part in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        title, _, rest = part.partition("\n")
        request, answer = re.findall(r"```http\n(.*?)```", rest, re.DOTALL)[:2]
        head, _, body = request.partition("\n\n")
        answer_head, _, document = answer.partition("\n\n")
        method, url = head.split("\n")[0].split(" ")
        bearer = re.search(r"^Authorization: Bearer (\S+)", head, re.MULTILINE)
        found.append(
            Exchange(
                *(title.strip(), method, re.sub(r"^https?://[^/]+", "", url), bearer[1] if bearer else ""),
                *("X-Admin-Key" in head, json.loads(body) if body.strip() else None),
                *(int(answer_head.split(" ")[1]), json.loads(document) if document.strip() else None),
            )
        )
    return found


def frames() -> list[tuple[str, Any]]:
    """Who said it, and what, in order."""
    section = RECORDED.read_text().split("\n## 11. WebSocket", maxsplit=1)[1]
    lines = [line for line in section.splitlines() if line.startswith(("< ", "> "))]
    return [(line[0], json.loads(line[2:]) if line[2] == "{" else line[2:]) for line in lines]


def same_shape(theirs: Any, ours: Any, where: str = "") -> None:
    """Raise unless both have the same fields with the same kinds of values."""
    if where.rpartition(".")[2] in NULL_HERE:
        assert ours is None, where
        return
    assert type(theirs) is type(ours), f"{where}: {theirs!r} there, {ours!r} here"
    if isinstance(theirs, dict):
        assert theirs.keys() == ours.keys(), where
        for key, value in theirs.items():
            same_shape(value, ours[key], f"{where}.{key}")
    elif isinstance(theirs, list):
        for number, value in enumerate(ours[: len(theirs)]):
            same_shape(theirs[number], value, f"{where}[{number}]")


class Replay:
    """One hub of ours, asked what theirs was asked."""

    def __init__(self, lab: HubLab, admin: str) -> None:
        self.lab = lab
        self.admin = admin
        self.names: dict[str, str] = {}
        """What stands here for an id or key there."""

    def here(self, text: str) -> str:
        """With our ids and keys."""
        for theirs, ours in self.names.items():
            text = text.replace(theirs, ours)
        return text

    async def ask(self, exchange: Exchange, key: str | None = None) -> tuple[int, Any]:
        """The same request."""
        client = Client(self.lab.url, self.lab.http, self.here(exchange.key if key is None else key))
        body = json.loads(self.here(json.dumps(exchange.body)))
        if exchange.path == f"{API}/agents/register":
            body["preauth_key"] = await self.lab.key()  # No open registration.
        headers = {"X-Admin-Key": self.admin} if exchange.is_admin else {}
        answer = await client.ask(exchange.method, self.here(exchange.path), body, headers=headers)
        if answer.document is not None and exchange.title not in NOT_SERVED:
            assert answer.headers["content-type"] == "application/json; charset=utf-8"
        return answer.status, answer.document

    def learn(self, theirs: Any, ours: Any) -> None:
        """Remember what stands for what."""
        if isinstance(theirs, dict) and isinstance(ours, dict):
            for key, value in theirs.items():
                if key in KEYS and isinstance(value, str) and isinstance(ours.get(key), str):
                    self.names[value] = ours[key]
                else:
                    self.learn(value, ours.get(key))

    async def one(self, exchange: Exchange, known: str) -> None:
        """Ask, compare."""
        if exchange.title in NOT_SERVED:
            status, _ = await self.ask(exchange, known)
            assert status == 404, exchange.title
            return
        status, document = await self.ask(exchange)
        if exchange.title in OTHERWISE:
            assert status == OTHERWISE[exchange.title][0], exchange.title
            assert document.keys() == {"error", "message"}
            if exchange.key or exchange.status != 200:
                return
            status, document = await self.ask(exchange, known)  # With a key it is as it was there without one.
        assert status == exchange.status, f"{exchange.title}: {document}"
        same_shape(exchange.document, document, exchange.title)
        if status >= 400:
            assert document["error"] == exchange.document["error"], exchange.title
        self.learn(exchange.document, document)


async def test_what_another_hub_answered_ours_answers_too(tmp_path: Path) -> None:
    recorded = exchanges()
    assert len(recorded) > 35
    assert set(NOT_SERVED) | set(OTHERWISE) <= {each.title for each in recorded}
    async with hub_lab(tmp_path) as lab:
        admin = (await lab.peer.post("/api/v1/tokens", {"name": "boss", "tier": "admin"}))["token"]
        replay = Replay(lab, admin)
        first = next(each.document["api_key"] for each in recorded if each.title.startswith("register agent 1"))
        stranger = (await lab.agent("stranger")).key
        for exchange in recorded:
            await replay.one(exchange, first if first in replay.names else stranger)

        await _over_the_socket(replay, recorded, admin)


async def _over_the_socket(replay: Replay, recorded: list[Exchange], admin: str) -> None:
    """The recorded frames, for an agent that is not in the private hive. A swarm is announced once somebody may know of it: it comes with a key."""
    keys = [each.document["api_key"] for each in recorded if each.title.startswith("register agent")]
    one, two = (Client(replay.lab.url, replay.lab.http, replay.here(key)) for key in keys)
    hive = (await one.good("GET", f"{API}/hives/recordings"))["id"]
    made = await one.good("POST", f"{API}/map/preauth-keys", {"hive_id": hive}, headers={"X-Admin-Key": admin})
    swarm = ""
    compared = 0
    async with replay.lab.http.ws_connect(f"{replay.lab.url}/ws?token={two.key}") as socket:
        for side, said in frames():
            kind = said["type"] if isinstance(said, dict) else ""
            if side == ">":
                await (socket.send_str(said) if isinstance(said, str) else socket.send_str(replay.here(json.dumps(said))))
                continue
            if kind == "node_registered":
                continue  # What runs within a peer is its own affair.
            if kind == "swarm_registered":
                swarm = await one.swarm("peer-four", preauth_key=made["key"])
            if kind == "swarm_left_hive":
                await one.ask("DELETE", f"{API}/map/swarms/{swarm}/hives/recordings")
            heard = await socket.receive_json(timeout=20)
            assert heard["type"] == kind
            if said["data"] == {"authenticated": False}:
                assert heard["data"].keys() == {"authenticated", "agent_id", "agent_name"}
            else:
                same_shape(said, heard, kind)
            if "denied" in said["data"]:
                assert heard["data"]["denied"] == said["data"]["denied"]
            compared += 1
    assert compared >= 7
