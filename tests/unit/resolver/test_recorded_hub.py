"""Exchanges with a hub of somebody else, recorded once: our client asks what was asked there, as it was asked there, and reads what was answered."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import pytest
from aiohttp import web

from peer.core.identity import KeyPair
from peer.errors import HubRefusedError
from resolver.base import SourceState
from resolver.hub import HubPeerResolver
from resolver.hub_answers import PROTOCOL, describe, find_swarm, read_json, read_peers
from resolver.hub_events import _is_announcement
from resolver.hub_presence import HubPresence
from tests.unit.resolver.fake_hub import served
from tests.unit.resolver.hub_lab import Groups, Site, until

RECORDED = Path(__file__).parents[4] / "shared" / "design" / "map_hub_exchanges.md"
ALPHA = KeyPair(b"a" * 32)
FIRST, SECOND, THIRD = "swarm_xpRMgchrzvou5ZvSR9zgI", "swarm_2blEECKQntprbCBLJfzHc", "swarm_DRYeltPe3pifeYVaoJ6GS"
AGENT_1, AGENT_2 = "ooShKhBtciV3m9b2pxKnTTcTZTQQeA7O", "lyogqX49DA2y--EwmQ7hMbDwds1sJvdM"
ADDRESS = "http://127.0.0.1:7702/map"

NOT_ASKED = {
    "health": "nothing depends on it",
    "well-known": "the routes are known",
    "create PRIVATE hive": "others could not join it",
    'FINDING: no Authorization in default local mode = admin agent "local" (403 here only because local does not own the swarm)': "keyed",
    "owner may set any status": "a site that can say so is online",
    "create (needs Bearer AND X-Admin-Key)": "for the hub's operator",
    "without admin key -> 403": "as above",
    "list": "as above",
    "revoke": "as above",
    "mesh provisioning with no provider -> 503": "networks are not had from hubs",
    "mesh info": "as above",
    "network status": "as above",
    "stats": "nobody needs them",
}
"""What our client never asks, and why."""

QUERIES = {"hive_id", "status", "limit", "offset"}

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
    body: Any
    status: int
    headers: dict[str, str]
    answer: bytes


def recorded() -> dict[str, Exchange]:
    """By title; where several have one title, by title and number."""
    found: dict[str, Exchange] = {}
    text = RECORDED.read_text().split("\n## 11. WebSocket", maxsplit=1)[0]
    for part in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        title, _, rest = part.partition("\n")
        request, answer = re.findall(r"```http\n(.*?)```", rest, re.DOTALL)[:2]
        head, _, body = request.partition("\n\n")
        answer_head, _, document = answer.partition("\n\n")
        method, url = head.split("\n")[0].split(" ")
        bearer = re.search(r"^Authorization: Bearer (\S+)", head, re.MULTILINE)
        lines = answer_head.split("\n")
        headers = dict(line.lower().split(": ", maxsplit=1) for line in lines[1:])
        data = json.dumps(json.loads(document), separators=(",", ":"), ensure_ascii=False).encode() if document.strip() else b""
        assert title in NOT_ASKED or len(data) == int(headers.get("content-length", "0")), f"{title}: not what came over the wire"
        name, times = title.strip(), sum(each.startswith(title.strip()) for each in found)
        name = f"{name} {times + 1}" if name in found else name
        path = re.sub(r"^https?://[^/]+", "", url)
        given = json.loads(body) if body.strip() else None
        found[name] = Exchange(name, method, path, bearer[1] if bearer else "", given, int(lines[0].split(" ")[1]), headers, data)
    return found


def fits(asked: Any, there: Any, where: str = "") -> None:
    """Raise unless each field that we send was sent there as well, as the same kind of value; what stands in metadata is ours alone."""
    assert type(asked) is type(there), f"{where}: {asked!r} asked, {there!r} recorded"
    if isinstance(asked, dict) and where != ".metadata":
        assert asked.keys() <= there.keys(), where
        for name, value in asked.items():
            fits(value, there[name], f"{where}.{name}")


@dataclass
class Replay:
    """Answers in this order, and only to what was recorded."""

    script: list[tuple[Exchange, Exchange]]
    """What is asked, and whose answer it gets."""
    wrong: list[str] = field(default_factory=list)
    played: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        if not self.script:
            return web.Response(status=503)
        asked, answered = self.script.pop(0)
        try:
            await self._check(request, asked)
        except AssertionError as error:
            self.wrong.append(f"{asked.title}: {error}")
        self.played.append(answered.title)
        headers = {name: text for name, text in answered.headers.items() if name in {"vary", "content-type", "keep-alive"}}
        return web.Response(status=answered.status, body=answered.answer, headers=headers)

    async def _check(self, request: web.Request, there: Exchange) -> None:
        path, _, _ = there.path.partition("?")
        assert (request.method, request.path) == (there.method, path)
        assert {name for name, _ in parse_qsl(request.query_string)} <= QUERIES
        assert request.headers.get("Authorization") == (f"Bearer {there.key}" if there.key else None)
        data = await request.read()
        if there.body is None:
            assert not data
        else:
            assert request.content_type == "application/json"
            fits(json.loads(data), there.body)


@asynccontextmanager
async def replayed(tmp_path: Path, key: str, *titles: str | tuple[str, str | Exchange]) -> AsyncIterator[tuple[Replay, HubPresence, HubPeerResolver]]:
    """A client with `key` at a hub that answers as recorded under these titles. A pair: asked as under the first, answered as under the second."""
    all_of_them = recorded()

    def pair(title: str | tuple[str, str | Exchange]) -> tuple[Exchange, Exchange]:
        asked, answered = (title, title) if isinstance(title, str) else title
        return all_of_them[asked], all_of_them[answered] if isinstance(answered, str) else answered

    replay = Replay([pair(title) for title in titles])
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", replay.answer)
    async with served(app) as url:
        site = Site(tmp_path, url, Groups(recordings=[ALPHA.peer_id]), ALPHA, credential=key, endpoint="http://127.0.0.1:7701")
        resolver = site.make()
        yield replay, resolver._presence, resolver
        await resolver._client.close()
    assert replay.wrong == []
    assert replay.script == []


async def test_a_site_registers_beats_and_joins(tmp_path: Path) -> None:
    """The hive is new: it is asked for, made, asked for again, and looked at (which was not recorded: it answers as when it was made)."""
    join = "swarm 1 joins"
    shown = recorded()["create hive"]._replace(method="GET", path="/api/v1/hives/recordings", body=None)
    script = ["register swarm 1 (note: hive_sync is sent)", "heartbeat (no body)", (join, "unknown hive -> 404"), "create hive", join]
    async with replayed(tmp_path, AGENT_1, *script) as (replay, presence, _):
        replay.script.append((shown, shown))
        await presence.register()
        assert presence.swarm == FIRST
        await presence.beat()
        await presence.join(frozenset({"recordings"}))

        assert (presence.joined, presence.hive_ids) == ({"recordings"}, {"recordings": "8lR6Ia9B4G4hvmEmT24xG"})


async def test_an_agent_is_registered_and_a_used_up_key_is_left_out(tmp_path: Path) -> None:
    """A pre-auth key is no field of that hub's agents: it passes over what it does not know. `fits` knows the one exception."""
    agents = recorded()["register agent 1 (NO auth required)"]
    asked = agents._replace(body={**agents.body, "preauth_key": "ohpak_x"})
    swarm = "register swarm with pre-auth key -> auto join (returns hive ID, not name)"
    there = recorded()
    full = there["register swarm 1 (note: hive_sync is sent)"]
    keyed = full._replace(body={**full.body, "preauth_key": there[swarm].body["preauth_key"]})
    async with replayed(tmp_path, "ohpak_EmdgiQt5d6KdO-hCtR3qP_FQFccmZXvP") as (replay, presence, _):
        replay.script[:] = [(asked, agents), (keyed, there["bad key -> 401 2"]), (full, there[swarm])]
        await presence.register()

        assert (presence.swarm, presence._client.key) == (THIRD, AGENT_1)


async def test_the_second_agent_and_the_swarm_with_little_in_it_are_read(tmp_path: Path) -> None:
    there = recorded()
    first = there["register agent 1 (NO auth required)"]
    asked = first._replace(body={**first.body, "preauth_key": "ohpak_x"})
    full = there["register swarm 1 (note: hive_sync is sent)"]
    keyed = full._replace(body={**full.body, "preauth_key": "ohpak_x"}, key=AGENT_2)
    async with replayed(tmp_path, "ohpak_" + "x" * 32) as (replay, presence, _):
        replay.script[:] = [(asked, there["register agent 2"]), (keyed, there["register swarm 2 (minimal body)"])]
        await presence.register()

        assert (presence.swarm, presence._client.key) == (SECOND, AGENT_2)


async def test_an_address_that_is_taken_leads_to_the_swarm_that_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HubPresence, "_address", lambda _self: "http://127.0.0.1:7701/map")
    register, update = "register swarm 1 (note: hive_sync is sent)", "PUT update (hive_sync stripped by zod; metadata kept verbatim)"
    full = recorded()[register]
    changed = recorded()[update]._replace(body=full.body)  # All fields may be changed; there only two were.
    listed = recorded()["list swarms (works with NO auth)"]
    async with replayed(tmp_path, AGENT_1, (register, "duplicate endpoint -> 409")) as (replay, presence, _):
        replay.script += [(listed._replace(key=AGENT_1), listed), (changed, changed)]
        await presence.register()

        assert presence.swarm == FIRST
    assert find_swarm(read_json(listed.answer), ADDRESS) == (SECOND, 2)


@pytest.mark.parametrize(("title", "code"), [("validation error -> 422", "VALIDATION_ERROR"), ("bad key -> 401", "401")])
async def test_a_refused_registration_is_shown_with_the_hubs_word(tmp_path: Path, title: str, code: str) -> None:
    async with replayed(tmp_path, AGENT_1, ("register swarm 1 (note: hive_sync is sent)", title)) as (_, presence, _):
        with pytest.raises(HubRefusedError, match=re.escape(f"[{code}]")):
            await presence.register()


async def test_a_heartbeat_for_a_swarm_of_somebody_else_ends_the_belief_that_it_is_ours(tmp_path: Path) -> None:
    async with replayed(tmp_path, AGENT_2, "not owner -> 403 3") as (_, presence, _):
        presence.swarm = FIRST
        with pytest.raises(HubRefusedError, match="NOT_SWARM_OWNER"):
            await presence.beat()

        assert presence.swarm is None


async def test_so_does_a_hive_that_it_may_not_join(tmp_path: Path) -> None:
    async with replayed(tmp_path, AGENT_2, "not owner -> 403") as (_, presence, _):
        presence.swarm = FIRST
        with pytest.raises(HubRefusedError, match="NOT_SWARM_OWNER"):
            await presence.join(frozenset({"recordings"}))

        assert presence.swarm is None


async def test_heartbeats_are_answered_alike_with_and_without_a_body(tmp_path: Path) -> None:
    async with replayed(tmp_path, AGENT_1, ("heartbeat (no body)", "heartbeat ({} body)")) as (_, presence, _):
        presence.swarm = FIRST
        await presence.beat()


async def test_hives_are_left(tmp_path: Path) -> None:
    async with replayed(tmp_path, AGENT_2, "leave hive") as (_, presence, _):
        presence.swarm, presence.joined = THIRD, frozenset({"recordings"})
        await presence.join(frozenset())

        assert presence.joined == frozenset()


@pytest.mark.parametrize(
    ("title", "key", "swarm", "count"),
    [
        ("swarm 2 joins", AGENT_2, SECOND, 1),
        ("owner of the private hive joins too", AGENT_1, FIRST, 2),
        ("FINDING: agent 2 is NOT a member of the private hive, join still accepted", AGENT_2, SECOND, 2),
    ],
)
async def test_other_joins_are_taken_as_well(tmp_path: Path, title: str, key: str, swarm: str, count: int) -> None:
    there = recorded()
    hive = there[title].body["hive_name"]
    made = there["create PRIVATE hive" if hive == "secret-lab" else "create hive"]
    shown = made._replace(method="GET", path=f"/api/v1/hives/{hive}", body=None, key=key)
    async with replayed(tmp_path, key, title) as (replay, presence, _):
        replay.script.append((shown, shown))
        presence.swarm = swarm
        await presence.join(frozenset({hive}))

        assert presence.joined == {hive}
    assert len(json.loads(there[title].answer)["hives"]) == count


async def test_peers_are_looked_at_as_they_are_listed(tmp_path: Path) -> None:
    """Of the two one names our protocol. It says nothing of its key, so it is nobody: looked at, and left alone."""
    there = recorded()
    public = there["PUT update (hive_sync stripped by zod; metadata kept verbatim)"]
    shown = public._replace(method="GET", path=f"/api/v1/map/swarms/{FIRST}", body=None, key=AGENT_2)
    async with replayed(tmp_path, AGENT_2, "peers of swarm 2 (sees members of the private hive)") as (replay, presence, resolver):
        replay.script.append((shown, shown))
        presence.swarm = SECOND
        await resolver._look()

        (seen,) = resolver._seen.values()
        assert (seen.listed.swarm, seen.listed.hives, seen.listed.online, seen.described) == (FIRST, {"recordings", "secret-lab"}, True, None)
        assert resolver.peers() == ()
    async with replayed(tmp_path, AGENT_1, "peers of swarm 1") as (_, presence, resolver):
        presence.swarm = FIRST
        await resolver._look()
        assert resolver._seen == {}


async def test_peers_of_a_swarm_of_somebody_else_are_refused(tmp_path: Path) -> None:
    async with replayed(tmp_path, AGENT_2, "not owner -> 403 2") as (_, presence, resolver):
        presence.swarm = FIRST
        with pytest.raises(HubRefusedError, match="NOT_SWARM_OWNER"):
            await resolver._look()


async def test_one_swarm_is_read(tmp_path: Path) -> None:
    del tmp_path
    assert describe(read_json(recorded()["get swarm (NO auth)"].answer)) is None
    assert read_peers(read_json(recorded()["peers of swarm 1"].answer)) == []
    assert PROTOCOL in recorded()["register swarm 1 (note: hive_sync is sent)"].body["capabilities"]["protocols"]


def test_of_what_was_said_over_the_websocket_the_announcements_are_reasons_to_look() -> None:
    section = RECORDED.read_text().split("\n## 11. WebSocket", maxsplit=1)[1]
    said = [line[2:] for line in section.splitlines() if line.startswith("< ")]

    found = [json.loads(line)["type"] for line in said if _is_announcement(line)]

    assert found == ["swarm_registered", "swarm_joined_hive", "node_registered", "swarm_left_hive"]
    assert len(said) > len(found)


def test_every_exchange_is_played_here_or_is_none_of_ours() -> None:
    """A title in quotes above is one that a test plays."""
    source = Path(__file__).read_text().split("\nclass Exchange", maxsplit=1)[1]
    left = {title for title in recorded() if f'"{title}"' not in source} - NOT_ASKED.keys()

    assert left == set()
    assert NOT_ASKED.keys() <= recorded().keys()


async def test_a_whole_round_goes_well(tmp_path: Path) -> None:
    """From the first call to the last of a round, in the order in which our client makes them."""
    there = recorded()
    shown = there["create hive"]._replace(method="GET", path="/api/v1/hives/recordings", body=None)
    async with replayed(tmp_path, AGENT_1, "register swarm 1 (note: hive_sync is sent)", "heartbeat (no body)", "swarm 1 joins") as (
        replay,
        presence,
        resolver,
    ):
        replay.script += [(shown, shown), (there["peers of swarm 1"], there["peers of swarm 1"])]
        await resolver._ask()

        assert presence.swarm == FIRST
        assert resolver.states() == [SourceState("hub", "ok")]
        await until(lambda: not replay.script)
