"""The audit log of the admin API: who changed what, and who tried to."""

import asyncio
import json
import re
import stat
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from peer.api.access import access_middleware
from peer.api.audit import REFUSED_BURST, REFUSED_PER_MINUTE, audit_middleware
from peer.api.problems import problems_middleware
from peer.api.routes import Route, add_routes
from peer.api.server import listening
from peer.core.access import TOKEN_PREFIX, Caller, Tier
from peer.errors import NotFoundError, StoreError
from tests.integration.running_peer import RunningPeer, running_peer

TOKENS, STATUS, GROUPS = "/api/v1/tokens", "/api/v1/status", "/api/v1/sync/groups"
DEADLINE_S = 20.0
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture
async def peer(tmp_path: Path) -> AsyncIterator[RunningPeer]:
    async with running_peer(tmp_path / "data", "alpha") as running:
        yield running


def lines(peer: RunningPeer) -> list[dict[str, Any]]:
    path = peer.root / "audit.log"
    return [json.loads(each) for each in path.read_text().splitlines()] if path.is_file() else []


def facts(line: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(line[name] for name in ("token", "tier", "method", "route", "path", "status", "code", "remote"))


async def test_every_change_is_a_line_that_names_the_token(peer: RunningPeer) -> None:
    secret = (await peer.post(TOKENS, {"name": "robot", "tier": "operator"}, status=201))["token"]
    headers = {"Authorization": f"Bearer {secret}"}

    await peer.get(STATUS)
    await peer.get(f"{GROUPS}/none", status=404)
    await peer.post("/api/v1/verify", headers=headers, status=200)
    await peer.post(GROUPS, {"name": "lab"}, headers=headers, status=403)
    await peer.post(GROUPS, {"name": "a/b"}, status=400)
    await peer.call("DELETE", f"{TOKENS}/robot", status=200)
    await peer.call("DELETE", "/api/v1/nothing", status=404)

    own, here = ("admin.token", "admin"), "127.0.0.1"
    assert [facts(line) for line in lines(peer)] == [
        (*own, "POST", TOKENS, TOKENS, 201, None, here),
        ("robot", "operator", "POST", "/api/v1/verify", "/api/v1/verify", 200, None, here),
        ("robot", "operator", "POST", GROUPS, GROUPS, 403, "tier_too_low", here),
        (*own, "POST", GROUPS, GROUPS, 400, "name_invalid", here),
        (*own, "DELETE", f"{TOKENS}/{{name}}", f"{TOKENS}/robot", 200, None, here),
        (*own, "DELETE", None, "/api/v1/nothing", 404, "not_found", here),
    ]
    assert all(RFC3339.fullmatch(line["time"]) for line in lines(peer))
    assert stat.S_IMODE((peer.root / "audit.log").stat().st_mode) == 0o600


async def test_attempts_without_a_right_to_call_are_lines_reads_too(peer: RunningPeer) -> None:
    async with aiohttp.ClientSession() as stranger:
        await stranger.get(peer.url + STATUS)
        await stranger.post(peer.url + GROUPS, json={"name": "x"}, headers={"Authorization": "Bearer wrong"})
        await stranger.get(peer.url + STATUS, headers={"Authorization": f"Bearer {peer.token}", "Host": "evil.example"})
        await stranger.get(peer.url + "/health/live")

    assert [(line["token"], line["method"], line["status"], line["code"]) for line in lines(peer)] == [
        (None, "GET", 401, "token_invalid"),
        (None, "POST", 401, "token_invalid"),
        (None, "GET", 403, "not_allowed"),
    ]


async def test_secrets_in_odd_places_are_not_written(peer: RunningPeer) -> None:
    secret = (await peer.post(TOKENS, {"name": "robot"}, status=201))["token"]
    invitation = "recmesh1abcdefghijklmnop"

    await peer.call("DELETE", f"{TOKENS}/{secret}?token={secret}", status=404)
    await peer.post(f"/api/v1/nothing/{invitation}", {"invitation": invitation}, status=404)
    async with aiohttp.ClientSession() as stranger:
        await stranger.get(f"{peer.url}/{secret.upper()}", headers={"Authorization": f"Bearer {peer.token}x"})

    text = (peer.root / "audit.log").read_text()
    assert text.count("[secret]") == 3
    for hidden in (secret.removeprefix(TOKEN_PREFIX), secret.upper(), peer.token, "abcdefghijklmnop"):
        assert hidden not in text


async def test_a_disk_that_fails_breaks_no_request_and_is_shown(peer: RunningPeer) -> None:
    (peer.root / "audit.log").mkdir()

    await peer.post(GROUPS, {"name": "lab"}, status=201)

    (problem,) = (await peer.get(STATUS))["problems"]
    assert problem["code"] == "store_failed"
    assert "audit.log" in problem["text"]
    (peer.root / "audit.log").rmdir()
    await peer.post(f"{GROUPS}/lab/invitations", status=201)
    assert (await peer.get(STATUS))["problems"] == []
    assert len(lines(peer)) == 1


class Audit:
    """A record that a test reads."""

    problem: StoreError | None = None

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def write(self, entry: Mapping[str, object]) -> None:
        self.lines.append(dict(entry))


class ThreeCallers:
    """Tokens without secrets: a name is enough here."""

    def identify(self, secret: str) -> Caller | None:
        return {"v": Caller("v", Tier.VIEWER), "o": Caller("o", Tier.OPERATOR), "a": Caller("a", Tier.ADMIN)}.get(secret)


class Clock:
    """Seconds that a test lets pass."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def serving(routes: Sequence[Route], audit: Audit, clock: Clock, hidden: Sequence[Route] = ()) -> AsyncIterator[aiohttp.ClientSession]:
    """The real layers of the API around `routes`; `hidden` ones are served, and not listed."""
    app = web.Application(
        middlewares=[audit_middleware(audit, clock), problems_middleware(lambda *_: None), access_middleware(ThreeCallers(), "127.0.0.1", routes)]
    )
    add_routes(app, [*routes, *hidden])
    async with listening(app, "127.0.0.1", 0) as address, aiohttp.ClientSession(f"http://{address}") as http:
        yield http


async def nothing(_: web.Request) -> object:
    return {}


@pytest.mark.parametrize(("token", "status"), [("v", 403), ("o", 403), ("a", 200), ("x", 401)])
async def test_a_route_without_a_tier_or_without_a_listing_needs_the_highest(token: str, status: int) -> None:
    listed, hidden = Route("GET", "/api/listed", nothing, "no tier"), Route("GET", "/api/hidden", nothing, "not listed", tier=Tier.ANYONE)

    async with serving([listed], Audit(), Clock(), [hidden]) as http:
        for path in ("/api/listed", "/api/hidden"):
            async with http.get(path, headers={"Authorization": f"Bearer {token}"}) as answer:
                assert answer.status == status


async def test_strangers_cannot_fill_the_file_and_what_was_left_out_is_counted() -> None:
    audit, clock = Audit(), Clock()
    async with serving([], audit, clock) as http:
        for _ in range(5 * REFUSED_BURST):
            await http.post("/api/x")
        assert len(audit.lines) == REFUSED_BURST

        clock.now += 60.0 / REFUSED_PER_MINUTE
        await http.post("/api/x")
        await http.post("/api/x")
        assert [line.get("left_out") for line in audit.lines[REFUSED_BURST:]] == [4 * REFUSED_BURST]

        clock.now += 3600
        for _ in range(5 * REFUSED_BURST):
            await http.get("/api/x")
        assert len(audit.lines) == 2 * REFUSED_BURST + 1


async def test_a_weak_token_that_is_refused_again_and_again_leaves_the_lines_of_others_alone() -> None:
    audit, clock = Audit(), Clock()
    async with serving([Route("POST", "/api/x", nothing, "for admins")], audit, clock) as http:
        for _ in range(3 * REFUSED_BURST):
            await http.post("/api/x", headers={"Authorization": "Bearer v"})
        for _ in range(3 * REFUSED_BURST):
            await http.post("/api/x", headers={"Authorization": "Bearer a"})
        await http.post("/api/x", headers={"Authorization": "Bearer o"})

    assert [sum(line["token"] == name for line in audit.lines) for name in "vao"] == [REFUSED_BURST, 3 * REFUSED_BURST, 1]


async def test_a_change_whose_caller_goes_away_is_a_line_all_the_same() -> None:
    began, audit = asyncio.Event(), Audit()

    async def slow(_: web.Request) -> object:
        began.set()
        await asyncio.Event().wait()
        return {}

    async with serving([Route("POST", "/api/slow", slow, "slow")], audit, Clock()) as http:
        asking = asyncio.create_task(_ask(http, "/api/slow"))
        async with asyncio.timeout(DEADLINE_S):
            await began.wait()
            asking.cancel()
            while not audit.lines:  # noqa: ASYNC110  (nobody tells when a server notices that somebody left)
                await asyncio.sleep(0.01)

    assert [(line["token"], line["status"], line["code"]) for line in audit.lines] == [("a", None, "interrupted")]


async def _ask(http: aiohttp.ClientSession, path: str) -> None:
    async with http.post(path, headers={"Authorization": "Bearer a"}):
        pass


async def test_errors_and_bugs_are_lines_with_their_code() -> None:
    async def missing(_: web.Request) -> object:
        raise NotFoundError("nothing here")

    async def broken(_: web.Request) -> object:
        raise ZeroDivisionError

    audit = Audit()
    routes = [Route("POST", "/api/missing", missing, "raises"), Route("POST", "/api/broken", broken, "has a bug")]
    async with serving(routes, audit, Clock()) as http:
        for path in ("/api/missing", "/api/broken", "/api/missing/" + "x" * 4000):
            await http.post(path, headers={"Authorization": "Bearer a"})

    assert [(line["status"], line["code"]) for line in audit.lines] == [(404, "not_found"), (500, "mesh_error"), (404, "not_found")]
    assert max(len(line["path"]) for line in audit.lines) == 512
