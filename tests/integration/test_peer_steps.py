"""`peer test` says which step failed: name, TCP, TLS, handshake, group. Each step with each cause that a person meets."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from aiohttp import web

from peer.api.models import Peer
from peer.api.peer_models import PeerTested
from tests.integration.running_peer import RunningPeer, running_peer
from tests.tls_proxy import make_certificate
from tests.unit.resolver.fake_hub import served

GROUPS, PEERS = "/api/v1/sync/groups", "/api/v1/sync/peers"
STEPS = ["name", "tcp", "tls", "handshake", "group"]


class Scene(NamedTuple):
    """Alpha tests others: beta, which speaks plain HTTP, and gamma, which shows a certificate of its operator. Something that is no peer at all."""

    alpha: RunningPeer
    beta: RunningPeer
    gamma: RunningPeer
    web_page: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    folder: Path = tmp_path_factory.mktemp("steps")
    files = make_certificate(folder / "tls")
    async with contextlib.AsyncExitStack() as stack:
        settings = {"gamma": {"tls_cert": str(files.certificate), "tls_key": str(files.key)}}
        names = ("alpha", "beta", "gamma")
        peers = [await stack.enter_async_context(running_peer(folder / name, name, **settings.get(name, {}))) for name in names]
        await peers[0].post(GROUPS, {"name": "lab"})
        yield Scene(*peers, await stack.enter_async_context(served(web.Application())))


async def outcome_of(scene: Scene, peer_id: str, endpoint: str, *groups: str) -> Any:
    """What a test of this peer at this address says; the peer is forgotten again."""
    body = {"name": "tested", "peer_id": peer_id, "sync_endpoint": endpoint, "shared_groups": list(groups)}
    await scene.alpha.post(PEERS, body, Peer, status=201)
    try:
        return await scene.alpha.post(f"{PEERS}/{peer_id}/test", {}, PeerTested)
    finally:
        await scene.alpha.call("DELETE", f"{PEERS}/{peer_id}")


CASES = {
    "a name that nobody has": ("beta", "https://nowhere.invalid:1", "name", "unreachable"),
    "a port where nobody listens": ("beta", "https://127.0.0.1:1", "tcp", "unreachable"),
    "a peer that speaks no TLS": ("beta", "https://{beta}", "tls", "unreachable"),
    "another key than the peer's": ("gamma", "https://{gamma}", "tls", "channel_key_mismatch"),
    "another peer": ("other", "http://{beta}", "handshake", "handshake_failed"),
    "something that is no peer": ("beta", "http://{web}", "handshake", "unreachable"),
    "a peer that shares nothing": ("beta", "http://{beta}", "group", "not_a_member"),
}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", list(CASES))
async def test_the_step_that_fails_is_named_with_its_code_and_what_to_do(scene: Scene, case: str) -> None:
    who, endpoint, step, code = CASES[case]
    places = {"beta": scene.beta.listen, "gamma": scene.gamma.listen, "web": scene.web_page}
    hosts = {name: url.partition("//")[2] for name, url in places.items()}
    peer_id = {"beta": scene.beta.peer_id, "gamma": scene.gamma.peer_id, "other": scene.gamma.peer_id}[who]

    found = await outcome_of(scene, peer_id, endpoint.format(**hosts))

    assert (found["ok"], found["failed"], found["code"]) == (False, step, code), found
    assert found["fix"]
    assert [each["step"] for each in found["steps"]] == STEPS[: STEPS.index(step) + 1]
    assert [each["ok"] for each in found["steps"]] == [True] * STEPS.index(step) + [False]


@pytest.mark.asyncio(loop_scope="module")
async def test_all_steps_pass_where_all_is_well(scene: Scene) -> None:
    await scene.beta.post(PEERS, {"name": "alpha", "peer_id": scene.alpha.peer_id, "shared_groups": ["lab"]}, Peer, status=201)

    found = await outcome_of(scene, scene.beta.peer_id, scene.beta.listen, "lab")

    assert (found["ok"], found["failed"], [each["step"] for each in found["steps"]]) == (True, None, STEPS)
