"""Who may call the admin API: every route with every tier, hosts, origins, tokens, on a real socket."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from peer.api.models import Token, TokenMade
from peer.api.openapi import TIER_FIELD
from peer.core.access import Tier
from tests.integration.running_peer import RunningPeer, running_peer

TOKENS, STATUS, GROUPS = "/api/v1/tokens", "/api/v1/status", "/api/v1/sync/groups"
TIERS = ("viewer", "operator", "admin")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PROPFIND")
PARAMETER = re.compile(r"{[a-z_]+}")
DEADLINE_S = 20.0


@pytest.fixture
async def peer(tmp_path: Path) -> AsyncIterator[RunningPeer]:
    async with running_peer(tmp_path / "data", "alpha") as running:
        yield running


async def secrets_by_tier(peer: RunningPeer) -> dict[str, str]:
    """A token of each tier."""
    made = [await peer.post(TOKENS, {"name": f"one-{tier}", "tier": tier}, TokenMade, status=201) for tier in TIERS]
    return {each["tier"]: each["token"] for each in made}


async def ask(peer: RunningPeer, method: str, path: str, **headers: str) -> tuple[int, str | None]:
    """Status and error code of an answer."""
    async with aiohttp.ClientSession() as stranger, stranger.request(method, peer.url + path, headers=headers, allow_redirects=False) as answer:
        data = b"" if answer.content_type == "text/event-stream" else await answer.read()  # A stream does not end.
        return answer.status, json.loads(data).get("code") if data and answer.content_type == "application/problem+json" else None


def as_bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


async def test_every_route_is_open_to_its_tier_and_those_above_and_closed_to_those_below(peer: RunningPeer) -> None:
    secrets = await secrets_by_tier(peer)
    document = await peer.get("/openapi.json")
    counted = {"refused": 0, "let in": 0}

    for path, operations in document["paths"].items():
        url = PARAMETER.sub("nothing-of-this-name", path)
        for method, operation in operations.items():
            needed = Tier[operation[TIER_FIELD].upper()]
            for tier, secret in {"anyone": "", **secrets}.items():
                status, code = await ask(peer, method.upper(), url, **(as_bearer(secret) if secret else {}))
                where = f"{method} {path} with the tier {tier}"
                if needed is Tier.ANYONE:
                    assert status == 200, where
                elif tier == "anyone":
                    assert (status, code) == (401, "token_invalid"), where
                elif Tier[tier.upper()] < needed:
                    assert (status, code) == (403, "tier_too_low"), where
                else:
                    assert code not in ("tier_too_low", "token_invalid"), where
                    assert status < 500, where
                counted["refused" if status in (401, 403) else "let in"] += 1

    assert counted["refused"] > 20, counted
    assert counted["let in"] > 20, counted
    assert {operation[TIER_FIELD] for operations in document["paths"].values() for operation in operations.values()} == {"anyone", *TIERS}


async def test_what_is_not_there_needs_the_highest_tier(peer: RunningPeer) -> None:
    secrets = await secrets_by_tier(peer)
    document = await peer.get("/openapi.json")
    known = [(method.upper(), re.compile(PARAMETER.sub("[^/]+", path))) for path, operations in document["paths"].items() for method in operations]

    for path in ("/nowhere", "/api/v1/nothing", "/api/v2/status", "/", STATUS + "/", "//api/v1/status", *document["paths"]):
        url = PARAMETER.sub("nothing-of-this-name", path)
        for method in METHODS:
            if any(method == served and pattern.fullmatch(url) for served, pattern in known):
                continue
            for tier in ("viewer", "operator"):
                status, _ = await ask(peer, method, url, **as_bearer(secrets[tier]))
                assert status == 403, f"{method} {path} with {tier}"
            assert (await ask(peer, method, url, **as_bearer(secrets["admin"])))[0] in (404, 405), f"{method} {path}"
            assert (await ask(peer, method, url))[0] == 401, f"{method} {path}"


@pytest.mark.parametrize(
    "authorization",
    [
        "{}",
        "Bearer",
        "Bearer ",
        "Bearer  x",
        "Basic {}",
        "Token {}",
        "Bearer {}0",
        "Bearer x{}",
        "Bearer {},{}",
        "Bearer\t{}",
        "bearer{}",
        "Bearer \u00e9",
    ],
)
async def test_a_token_is_shown_in_one_way(peer: RunningPeer, authorization: str) -> None:
    assert await ask(peer, "GET", STATUS, Authorization=authorization.replace("{}", peer.token)) == (401, "token_invalid")
    assert await ask(peer, "GET", STATUS, Authorization=f"bearer {peer.token}") == (200, None)


async def test_who_shows_no_token_is_told_how_to(peer: RunningPeer) -> None:
    assert "\r\nWWW-Authenticate: Bearer\r\n" in await raw(peer, f"GET {STATUS} HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert "WWW-Authenticate" not in await raw(peer, f"GET {STATUS} HTTP/1.1\r\nHost: evil.example\r\n\r\n")


async def test_a_token_in_the_url_is_none(peer: RunningPeer) -> None:
    for path in (f"{STATUS}?token={peer.token}", f"{STATUS}?access_token={peer.token}", f"//admin:{peer.token}@x{STATUS}"):
        assert (await ask(peer, "GET", path))[0] == 401


async def test_two_tokens_in_one_request_are_none(peer: RunningPeer) -> None:
    answer = await raw(peer, f"GET {STATUS} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {peer.token}\r\nAuthorization: Bearer x\r\n\r\n")

    assert answer.startswith("HTTP/1.1 401 ")


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.evil.example", "x@127.0.0.1", "", "[::1", "127.0.0.1:99999", "0x7f.1"],
)
@pytest.mark.parametrize("path", [STATUS, TOKENS, "/openapi.json", "/nowhere"])
async def test_a_host_that_is_not_ours_is_refused(peer: RunningPeer, host: str, path: str) -> None:
    assert await ask(peer, "GET", path, Host=host, **as_bearer(peer.token)) == (403, "not_allowed")


async def test_hosts_of_this_machine_are_accepted(peer: RunningPeer) -> None:
    for host in ("localhost", "LOCALHOST:80", "127.0.0.1", "[::1]:7851", "192.0.2.7:7851"):
        assert await ask(peer, "GET", STATUS, Host=host, **as_bearer(peer.token)) == (200, None)


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "https://{own}",
        "null",
        "",
        "http://localhost",
        "http://127.0.0.1:1",
        "http://{own}.evil.example",
        "http://{own}/",
        "http://x@{own}",
        "ftp://{own}",
        "{own}",
    ],
)
async def test_a_page_from_elsewhere_is_refused_for_every_method_of_every_route(peer: RunningPeer, origin: str) -> None:
    own = peer.url.removeprefix("http://")
    document = await peer.get("/openapi.json")
    before = await peer.get(GROUPS)

    for path, operations in document["paths"].items():
        for method in (*(each.upper() for each in operations), "OPTIONS"):
            if path.startswith("/health/") and method == "GET":
                continue
            headers = {"Origin": origin.replace("{own}", own), **as_bearer(peer.token)}
            refused = await ask(peer, method, PARAMETER.sub("x", path), **headers)
            assert refused == (403, "origin_refused"), f"{method} {path}"
    assert await peer.get(GROUPS) == before


async def test_the_own_page_may_ask_and_nobody_is_told_to_share(peer: RunningPeer) -> None:
    async with peer.http.get(peer.url + STATUS, headers={"Origin": peer.url}) as answer:
        assert answer.status == 200
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


async def test_two_origins_in_one_request_are_judged_both(peer: RunningPeer) -> None:
    own = peer.url.removeprefix("http://")
    head = f"GET {STATUS} HTTP/1.1\r\nHost: {own}\r\nAuthorization: Bearer {peer.token}\r\n"

    assert (await raw(peer, f"{head}Origin: {peer.url}\r\n\r\n")).startswith("HTTP/1.1 200 ")
    assert (await raw(peer, f"{head}Origin: {peer.url}\r\nOrigin: http://evil.example\r\n\r\n")).startswith("HTTP/1.1 403 ")


async def test_health_needs_nothing_and_tells_nothing(peer: RunningPeer) -> None:
    for path in ("/health/live", "/health/ready"):
        async with aiohttp.ClientSession() as stranger, stranger.get(peer.url + path, headers={"Host": "pod-7", "Origin": "null"}) as answer:
            assert (answer.status, await answer.json()) == (200, {"ok": True})


async def test_a_token_lives_from_its_making_to_its_revocation(peer: RunningPeer) -> None:
    made = await peer.post(TOKENS, {"name": "grafana", "expires_in_ms": 60_000}, TokenMade, status=201)

    assert (made["tier"], made["state"], made["expires_ms"] - made["created_ms"]) == ("viewer", "valid", 60_000)
    assert await ask(peer, "GET", STATUS, **as_bearer(made["token"])) == (200, None)
    assert await peer.get(TOKENS, Token) == [{key: value for key, value in made.items() if key != "token"}]
    assert (await peer.post(TOKENS, {"name": "Grafana"}, status=409))["code"] == "name_taken"
    await peer.call("DELETE", f"{TOKENS}/grafana", model=Token, status=200)
    assert await ask(peer, "GET", STATUS, **as_bearer(made["token"])) == (401, "token_invalid")
    assert (await peer.call("DELETE", f"{TOKENS}/grafana", status=404))["code"] == "not_found"


async def test_an_expired_token_is_refused(peer: RunningPeer) -> None:
    made = await peer.post(TOKENS, {"name": "short", "expires_in_ms": 1}, TokenMade, status=201)

    await peer.until(TOKENS, lambda listed: listed[0]["state"] == "expired")
    assert await ask(peer, "GET", STATUS, **as_bearer(made["token"])) == (401, "token_invalid")


async def test_tokens_survive_a_restart_and_a_lost_log(tmp_path: Path) -> None:
    root = tmp_path / "data"
    async with running_peer(root, "alpha") as peer:
        secret = (await peer.post(TOKENS, {"name": "grafana"}, TokenMade, status=201))["token"]
    for name in ("log.db", "log.db-wal", "log.db-shm"):
        (root / name).unlink(missing_ok=True)

    async with running_peer(root, "alpha") as peer:
        assert await ask(peer, "GET", STATUS, **as_bearer(secret)) == (200, None)


async def test_a_backup_brings_no_token_back(peer: RunningPeer, tmp_path: Path) -> None:
    await peer.post(TOKENS, {"name": "grafana"}, TokenMade, status=201)

    await peer.post("/api/v1/backup", {"directory": str(tmp_path / "backup")}, status=201)

    assert (tmp_path / "backup" / "admin.token").is_file()
    assert not (tmp_path / "backup" / "tokens.json").exists()


async def test_a_damaged_file_of_tokens_lets_in_the_own_one_alone_and_says_so(tmp_path: Path) -> None:
    root = tmp_path / "data"
    async with running_peer(root, "alpha") as peer:
        secret = (await peer.post(TOKENS, {"name": "grafana", "tier": "admin"}, TokenMade, status=201))["token"]
    (root / "tokens.json").write_text("{")

    async with running_peer(root, "alpha") as peer:
        assert await ask(peer, "GET", STATUS, **as_bearer(secret)) == (401, "token_invalid")
        assert "tokens_damaged" in {each["code"] for each in (await peer.get(STATUS))["problems"]}
        assert (await peer.get(TOKENS, status=503))["code"] == "tokens_damaged"
        assert (await peer.post(TOKENS, {"name": "new"}, status=503))["code"] == "tokens_damaged"
        (root / "tokens.json").unlink()
        await peer.post(TOKENS, {"name": "new"}, TokenMade, status=201)
        assert (await peer.get(STATUS))["problems"] == []


async def raw(peer: RunningPeer, text: str) -> str:
    """The head of the answer to bytes that no client library would send."""
    host, _, port = peer.url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(text.encode())
        async with asyncio.timeout(DEADLINE_S):
            return (await reader.readuntil(b"\r\n\r\n")).decode()
    finally:
        writer.close()
        await writer.wait_closed()


def test_names_of_tiers_are_those_of_the_description() -> None:
    everybody: Any = [tier.label for tier in Tier]

    assert everybody == ["anyone", *TIERS]
