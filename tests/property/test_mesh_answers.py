"""Whatever the daemon of a mesh or a coordination server answers: it is read or refused, and what is read can be shown, stored and sent back."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from peer.core.mesh import MeshStatus, state_of
from peer.core.mesh_provider import NetworkProvider
from peer.errors import MeshAnswerInvalidError, MeshError, NetworkProviderError, PolicyTextError
from resolver.headscale_control import HeadscaleControl
from resolver.json_fields import LINE_MAX, LIST_MAX
from resolver.network_calls import REASON_MAX
from resolver.tailscale_answers import read_caller, read_status
from resolver.tailscale_control import TailscaleControl
from tests.conftest import LONG
from tests.fake_control import API_KEY, CLIENT_ID, CLIENT_SECRET, HEADSCALE_KEY, POLICY
from tests.fake_tailscaled import OWN, RUNNING
from tests.unit.resolver.fake_hub import served

CASES = 20_000 if LONG else 1500
WHOIS: dict[str, Any] = {
    "Node": {"ID": 2, "StableID": "n2", "Name": "field.mesh.example.", "User": 7, "Tags": ["tag:recmesh"], "Online": True},
    "UserProfile": {"ID": 7, "LoginName": "alice@example.org"},
    "CapMap": {"recmesh.example/cap/sync": [{"role": "peer"}]},
}
MACHINE = {"id": "1", "nodeId": "n1", "name": "lab.mesh.example", "givenName": "lab", "addresses": ["100.64.0.1"], "ipAddresses": ["100.64.0.1"]}
SERVER: dict[str, Any] = {
    "devices": [MACHINE | {"tags": ["tag:recmesh"], "connectedToControl": True}],
    "nodes": [MACHINE | {"tags": ["tag:recmesh"], "online": True}],
    "policy": POLICY,
    "updatedAt": "2026-11-20T17:00:00Z",
    "key": "tskey-auth-fake",
    "expires": "2026-11-20T17:00:00Z",
    "preAuthKey": {"key": "hskey-auth-fake", "expiration": "2026-11-20T17:00:00Z", "aclTags": []},
    "access_token": "token-1",
    "expires_in": 3600,
}
"""What there is in the answers of both, in one."""

TROUBLES = {"message": "test(s) failed", "detail": "it is so", "data": [{"user": "alice", "errors": ["want: Accept, got: Drop"]}]}
TEXTS = ("", " ", "\x1b[2J", "a\nb", "\ud800", "\u202e", "x" * 5000, "100.64.0.1", "::", "0001-01-01T00:00:00Z", "Running", "n1", "7")
NUMBERS = (0, 1, -1, 7, 2**63, 10**400, 1.5, float("nan"), float("inf"))
SECRETS = (API_KEY, CLIENT_SECRET, HEADSCALE_KEY)


def anything(chance: random.Random, depth: int = 0) -> Any:
    """A value of any type."""
    match chance.randrange(7 if depth < 2 else 5):
        case 0:
            return None
        case 1:
            return chance.random() < 0.5
        case 2:
            return chance.choice(NUMBERS)
        case 3 | 4:
            return chance.choice(TEXTS)
        case 5:
            return [anything(chance, depth + 1) for _ in range(chance.choice([0, 1, 3, LIST_MAX + 5]))]
    return {chance.choice(["ID", "Name", "name", "message", "Peer", "\ud800", ""]): anything(chance, depth + 1) for _ in range(chance.randrange(4))}


def changed(chance: random.Random, value: Any) -> Any:
    """The same with one thing changed, left out or put in, somewhere in it."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(sorted(value))
        action = chance.random()
        if action < 0.15:
            return {name: each for name, each in value.items() if name != key}
        if action < 0.25:
            return {**value, chance.choice(TEXTS): anything(chance)}
        return {**value, key: changed(chance, value[key])}
    if isinstance(value, list) and value and chance.random() < 0.7:
        place = chance.randrange(len(value))
        return [*value[:place], changed(chance, value[place]), *value[place + 1 :]]
    return anything(chance)


def several_changed(chance: random.Random, value: Any) -> Any:
    """The same with a few things changed, or none."""
    for _ in range(chance.choice([0, 1, 1, 2, 5])):
        value = changed(chance, value)
    return value


def with_more(chance: random.Random, value: Any) -> Any:
    """The same with fields that nobody knows, in every object that is no list by ids."""
    if isinstance(value, dict):
        is_list = all(isinstance(each, dict) for each in value.values())
        more = {} if is_list else {f"Later{number}": anything(chance) for number in range(2)}
        return {key: with_more(chance, each) for key, each in value.items()} | more
    return [with_more(chance, each) for each in value] if isinstance(value, list) else value


def check_line(value: object) -> None:
    """Raise for what is too long, or more than text on a line."""
    match value:
        case str():
            assert len(value) <= LINE_MAX
            assert value == "" or value.isprintable()
        case tuple() if not hasattr(value, "_fields"):
            assert len(value) <= LIST_MAX
            for each in value:
                check_line(each)
        case tuple() | frozenset():
            for each in value:
                check_line(each)


def test_whatever_the_daemon_answers_is_read_or_refused() -> None:
    seen: Counter[str] = Counter()

    @given(st.integers(0, 2**64 - 1))
    def check(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(CASES // 100):
            read: Callable[[bytes], Any]
            read, document = chance.choice([(read_status, RUNNING), (read_caller, WHOIS)])
            data = json.dumps(several_changed(chance, document)).encode()
            if chance.random() < 0.05:
                data = data[: chance.randrange(len(data))]
            try:
                found = read(data)
            except MeshAnswerInvalidError:
                seen["refused"] += 1
                continue
            seen["read"] += 1
            check_line(found)
            if isinstance(found, MeshStatus):
                state_of(found)

    check()
    assert seen["read"] > CASES / 2
    assert seen["refused"] > CASES / 50


@given(st.binary(max_size=64))
def test_any_bytes_are_refused(data: bytes) -> None:
    for read in (read_status, read_caller):
        try:
            read(data)
        except MeshAnswerInvalidError:
            continue
        raise AssertionError(data)


@given(st.integers(0, 2**64 - 1))
def test_fields_that_nobody_knows_change_nothing(seed: int) -> None:
    chance = random.Random(seed)
    found, more = read_status(json.dumps(RUNNING).encode()), with_more(chance, RUNNING)

    assert "Later0" in more["Self"]
    assert read_status(json.dumps(more).encode()) == found
    caller = with_more(chance, {key: each for key, each in WHOIS.items() if key != "CapMap"})
    assert read_caller(json.dumps({**WHOIS, **caller}).encode()) == read_caller(json.dumps(WHOIS).encode())


@given(st.sets(st.sampled_from(sorted(set(OWN) - {"ID"}))))
def test_fields_of_a_machine_that_are_missing_take_no_others_with_them(missing: set[str]) -> None:
    whole = read_status(json.dumps(RUNNING).encode())
    less = {**RUNNING, "Self": {key: each for key, each in OWN.items() if key not in missing}}

    found = read_status(json.dumps(less).encode())

    assert found.peers == whole.peers
    assert found.own is not None
    assert whole.own is not None
    names = {
        "DNSName": "name",
        "TailscaleIPs": "addresses",
        "Tags": "tags",
        "HostName": "host",
        "OS": "system",
        "UserID": "user",
        "Online": "is_online",
    }
    assert all((getattr(found.own, name) == getattr(whole.own, name)) or key in missing for key, name in names.items())


class Server:
    """Answers all as it is told to."""

    made: tuple[int, bytes, dict[str, str]]

    def turn(self, chance: random.Random) -> None:
        """Answer something else from now on."""
        document = SERVER if chance.random() < 0.8 else SERVER | TROUBLES
        data = json.dumps(several_changed(chance, document)).encode()
        if chance.random() < 0.1:
            data = chance.choice([b"", b"\xff{}", data[: len(data) // 2], b"[" * 5000, b'"' + b"\x1b[2J" * 4000 + b'"'])
        status = chance.choice([200] * 8 + [201, 302, 400, 401, 403, 404, 409, 412, 422, 429, 500, 503])
        etag = chance.choice(['"e0b2"', '"e0b2"', "", "\u00e9"])
        self.made = (status, data, {"ETag": etag, "Location": "http://127.0.0.1:9/"})

    async def handle(self, _: web.Request) -> web.Response:
        status, data, headers = self.made
        return web.Response(status=status, body=data, headers=headers, content_type="application/json")


def check_error(error: MeshError) -> None:
    """It is one of those that are told, short, and says no secret."""
    assert isinstance(error, NetworkProviderError | PolicyTextError), repr(error)
    assert len(error.text) <= REASON_MAX + 200
    assert error.text.isprintable()
    assert not [secret for secret in SECRETS if secret in f"{error!r} {error.text} {error.fix} {error.__cause__!r}"]


async def ask_everything(client: NetworkProvider, turn: Callable[[], None], seen: Counter[str]) -> None:
    """Each of its calls is answered, or refused in words of ours; before each the server changes its mind."""

    async def tried(what: str, call: Awaitable[Any]) -> Any:
        turn()
        try:
            found = await call
        except MeshError as error:
            check_error(error)
            seen[f"{what} refused"] += 1
            return None
        seen[f"{what} done"] += 1
        return found

    for device in await tried("devices", client.devices()) or ():
        check_line(device)
    policy = await tried("policy", client.policy())
    if policy is not None:
        await tried("check", client.check(policy.text))
        await tried("write", client.write(policy.text, policy))
    key = await tried("key", client.site_key(["tag:recmesh"], 60))
    if key is not None:
        assert key.secret.isascii()
        assert key.secret.isprintable()


def test_whatever_a_coordination_server_answers_is_read_or_refused() -> None:
    """Over real HTTP, and with each kind of key."""
    seen: Counter[str] = Counter()
    server = Server()

    async def serve(stack: AsyncExitStack) -> list[NetworkProvider]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", server.handle)
        url = await stack.enter_async_context(served(app))
        made = [TailscaleControl(url, "", API_KEY, ""), TailscaleControl(url, "", CLIENT_SECRET, CLIENT_ID), HeadscaleControl(url, HEADSCALE_KEY)]
        for each in made:
            stack.push_async_callback(each.close)
        return list(made)

    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        clients = runner.run(serve(stack))

        @given(st.integers(0, 2**64 - 1))
        def check(seed: int) -> None:
            chance = random.Random(seed)
            for _ in range(CASES // 500):
                runner.run(ask_everything(chance.choice(clients), lambda: server.turn(chance), seen))

        try:
            check()
        finally:
            runner.run(stack.aclose())
    few = {f"{what} {how}" for what in ("devices", "policy", "check", "write", "key") for how in ("done", "refused")} - {
        name for name, count in seen.items() if count >= CASES // 50
    }
    assert not few, seen
